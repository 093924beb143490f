"""Which samples make up each batch: a pure function of seed, epoch and rank, so that any batch can be made again."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manifests.errors import RecipeError

Indices = npt.NDArray[np.int64]

BLOCK = 256
"""Rows that a store larger than memory is read in at a time (cold: 14,000 rows/s instead of 2,700)."""

WINDOW = 64
"""Blocks whose rows are mixed with each other; 64 x 256 crops of 96 x 96 x 3 take 450 MB of page cache."""

SPAN = BLOCK * WINDOW
"""Samples of one window: an epoch in blocks is used window by window."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One process's share of global batches that are the same for any number of processes.

    Args:
        rank, world: This process and the number of processes.
        blocks: Shuffle blocks of `BLOCK` neighbours inside windows of `WINDOW` blocks instead of single samples.
        epoch_share: Share of its batches that an epoch uses.
    """

    rank: int = 0
    world: int = 1
    blocks: bool = False
    epoch_share: float = 1.0


class Order(ABC):
    """Which samples make up each global batch of each epoch; each rank takes every `world`-th sample of a batch."""

    share: Share

    @abstractmethod
    def epoch(self, epoch: int) -> Indices:
        """The samples of an epoch, batch after batch, int64; the same on every rank."""

    @property
    @abstractmethod
    def edges(self) -> Indices:
        """Where the batches of an epoch begin and end, int64 [batches + 1]."""

    @property
    def redraws(self) -> bool:
        """Whether an epoch may hold a sample more than once."""
        return True

    def __len__(self) -> int:
        return len(self.edges) - 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[Indices]:
        """This rank's part of each batch of an epoch, from batch `start` on; within a batch sorted.

        No step depends on the order inside its batch, and a store gathers neighbours faster.
        """
        order = self.epoch(epoch)
        for mine in self._mine(start):
            yield np.sort(order[mine])

    def repeats(self, epoch: int, start: int = 0) -> Iterator[Indices]:
        """How often each sample of `batches` was drawn before in the epoch, over all ranks: int64, aligned with it."""
        order = self.epoch(epoch)
        by_sample = np.argsort(order, kind="stable")
        first = np.searchsorted(order[by_sample], order[by_sample])
        count = np.empty_like(order)
        count[by_sample] = np.arange(len(order)) - first
        for mine in self._mine(start):
            yield count[mine][np.argsort(order[mine], kind="stable")]

    def _mine(self, start: int) -> Iterator[slice]:
        edges = self.edges
        for first, last in zip(edges[start:-1].tolist(), edges[start + 1 :].tolist(), strict=True):
            yield slice(first + self.share.rank, last, self.share.world)

    def _check(self) -> None:
        smallest = int(np.diff(self.edges).min())
        if smallest < self.share.world:
            raise RecipeError(
                f"batches of {smallest} samples cannot be shared by {self.share.world} processes",
                found=f"{len(self)} batches in an epoch",
                expected="at least one sample per process and batch",
                then="raise train.batch or use fewer devices",
            )


@dataclass(frozen=True)
class Pooled(Order):
    """All samples together, each once per epoch, or drawn by weight.

    Every epoch is cut into batches whose sizes differ by at most one, so that no sample is left over and no batch is
    a stump. A limited epoch takes the first batches of its own shuffle.

    Args:
        size: Number of samples, which lie in their store one after the other.
        batch: Samples per global batch, at most.
        seed: Seed of the run.
        weights: Relative frequency of each sample, float [size]; samples are then drawn with replacement.

    Raises:
        RecipeError: No samples, or fewer samples per batch than processes.
    """

    size: int
    batch: int
    seed: int
    share: Share = Share()
    weights: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RecipeError("training has no samples", then="affect coverage shows what is labelled")
        self._check()

    @property
    def redraws(self) -> bool:
        return self.weights is not None

    @property
    def edges(self) -> Indices:
        count = math.ceil(self.size / self.batch)
        whole = np.linspace(0, self.size, count + 1).round().astype(np.int64)
        return whole[: limited(count, self.share) + 1]

    def epoch(self, epoch: int) -> Indices:
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        if self.weights is not None:
            drawn = np.cumsum(self.weights / self.weights.sum())
            order = np.minimum(np.searchsorted(drawn, random.random(self.size), side="right"), self.size - 1)
        else:
            order = shuffled(self.size, random, self.share.blocks)
        return order[: self.edges[-1]]


@dataclass(frozen=True)
class Stream:
    """A set of samples, one shuffled pass after the other without end.

    Args:
        name: Task or dataset whose samples they are; its passes depend on the seed and this name alone.
        samples: Their positions, sorted, int64 [n].
    """

    name: str
    samples: Indices

    def __post_init__(self) -> None:
        if not len(self.samples):
            raise RecipeError(
                f"no training sample in the set {self.name}", then="affect coverage shows what is labelled"
            )

    def taken(self, first: int, count: int, seed: int, blocks: bool) -> Indices:
        """`count` samples from place `first` of the stream on, int64 [count]."""
        size = len(self.samples)
        passes = range(first // size, -(-(first + count) // size))
        order = np.concatenate([self._pass(number, seed, blocks) for number in passes])
        begin = first - passes.start * size
        return order[begin : begin + count]

    def _pass(self, number: int, seed: int, blocks: bool) -> Indices:
        digest = hashlib.blake2b(f"{seed} {self.name}".encode(), digest_size=8).digest()
        random = np.random.Generator(np.random.Philox(key=[int.from_bytes(digest, "little"), number]))
        return self.samples[shuffled(len(self.samples), random, blocks)]


@dataclass(frozen=True)
class Quotas(Order):
    """Every batch takes a fixed number of samples of each set; sets that end sooner start over.

    Args:
        streams: The sets.
        quota: Samples of each set per global batch.
        steps: Batches of a whole epoch.
        seed: Seed of the run.
    """

    streams: tuple[Stream, ...]
    quota: tuple[int, ...]
    steps: int
    seed: int
    share: Share = Share()

    def __post_init__(self) -> None:
        self._check()

    @classmethod
    def of_first(cls, streams: tuple[Stream, ...], quota: tuple[int, ...], seed: int, share: Share) -> Quotas:
        """An epoch is one pass of the first set."""
        return cls(streams, quota, math.ceil(len(streams[0].samples) / quota[0]), seed, share)

    @classmethod
    def aligned(cls, streams: tuple[Stream, ...], batch: int, seed: int, share: Share) -> Quotas:
        """All sets end an epoch together (Kollias et al. 2019; methods.md 2.8).

        S = ceil(sum(n) / batch) steps of b_t = ceil(n_t / S) samples.
        """
        sizes = [len(stream.samples) for stream in streams]
        steps = math.ceil(sum(sizes) / batch)
        return cls(streams, tuple(math.ceil(n / steps) for n in sizes), steps, seed, share)

    @property
    def edges(self) -> Indices:
        return np.arange(limited(self.steps, self.share) + 1, dtype=np.int64) * sum(self.quota)

    def epoch(self, epoch: int) -> Indices:
        steps = len(self)
        parts = [
            stream.taken(epoch * steps * quota, steps * quota, self.seed, self.share.blocks).reshape(steps, quota)
            for stream, quota in zip(self.streams, self.quota, strict=True)
        ]
        return np.concatenate(parts, 1).ravel()


@dataclass(frozen=True)
class Turns(Order):
    """Sets take turns, one whole batch each, until the largest has ended; smaller ones start over.

    Args:
        streams: The sets.
        batch: Samples per global batch.
        seed: Seed of the run.
    """

    streams: tuple[Stream, ...]
    batch: int
    seed: int
    share: Share = Share()

    def __post_init__(self) -> None:
        self._check()

    @property
    def edges(self) -> Indices:
        rounds = math.ceil(max(len(stream.samples) for stream in self.streams) / self.batch)
        return np.arange(limited(rounds, self.share) * len(self.streams) + 1, dtype=np.int64) * self.batch

    def epoch(self, epoch: int) -> Indices:
        rounds = len(self) // len(self.streams)
        taken = [
            stream.taken(epoch * rounds * self.batch, rounds * self.batch, self.seed, self.share.blocks)
            for stream in self.streams
        ]
        return np.stack([part.reshape(rounds, self.batch) for part in taken], 1).ravel()


def limited(batches: int, share: Share) -> int:
    """Batches of a limited epoch, at least one."""
    return max(1, math.ceil(round(batches * share.epoch_share, 9)))


def shuffled(size: int, random: np.random.Generator, blocks: bool) -> Indices:
    """0 ... size - 1 in random order; with `blocks`, so that few blocks are in use at a time."""
    return _by_blocks(size, random) if blocks else random.permutation(size)


def _by_blocks(size: int, random: np.random.Generator) -> Indices:
    """A shuffle that touches `WINDOW` blocks of `BLOCK` neighbours at a time; a last, shorter block comes last."""
    blocks = random.permutation(size // BLOCK)
    if size % BLOCK:
        blocks = np.append(blocks, size // BLOCK)
    windows = []
    for first in range(0, len(blocks), WINDOW):
        rows = (blocks[first : first + WINDOW, None] * BLOCK + np.arange(BLOCK)).ravel()
        windows.append(random.permutation(rows[rows < size]))
    return np.concatenate(windows)


def class_weights(codes: Indices) -> npt.NDArray[np.float64]:
    """Frequencies that make every class equally frequent; samples without a class (-1) keep their share.

    Args:
        codes: Class index of each sample, int64 [N]; -1: unknown.

    Returns:
        float64 [N], mean 1.
    """
    known = codes >= 0
    counts = np.bincount(codes[known]) if known.any() else np.ones(1, np.int64)
    weights = np.ones(len(codes))
    weights[known] = known.sum() / (np.count_nonzero(counts) * counts[codes[known]])
    return weights


def sequential(size: int, batch: int, rank: int = 0, world: int = 1) -> Iterator[Indices]:
    """Every sample once, in order, for scoring; rank r takes batches r, r + world, ..."""
    for first in range(rank * batch, size, batch * world):
        yield np.arange(first, min(first + batch, size), dtype=np.int64)
