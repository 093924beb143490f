"""Which samples make up each batch: a pure function of seed, epoch and rank, so that any batch can be made again."""

from __future__ import annotations

import math
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


@dataclass(frozen=True)
class Order:
    """The order of `size` training samples, which lie in their store one after the other.

    Every epoch is cut into `len(order)` batches whose sizes differ by at most one, so that no sample is left
    over and no batch is a stump. Each rank of a distributed run takes every `world`-th sample of each global
    batch: any number of processes sees the same global batches.

    Args:
        size: Number of samples.
        batch: Samples per global batch, at most.
        seed: Seed of the run.
        rank, world: This process and the number of processes.
        blocks: Shuffle blocks of `BLOCK` neighbours inside windows of `WINDOW` blocks instead of single samples.
        weights: Relative frequency of each sample, float [size]; samples are then drawn with replacement.

    Raises:
        RecipeError: No samples, or fewer samples per batch than processes.
    """

    size: int
    batch: int
    seed: int
    rank: int = 0
    world: int = 1
    blocks: bool = False
    weights: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RecipeError("training has no samples", then="affect coverage shows what is labelled")
        if min(self.batch, self.size // len(self)) < self.world:
            raise RecipeError(
                f"{self.batch} samples per batch cannot be shared by {self.world} processes",
                found=f"{self.size} samples in {len(self)} batches",
                expected="at least one sample per process and batch",
                then="raise train.batch or use fewer devices",
            )

    def __len__(self) -> int:
        return math.ceil(self.size / self.batch)

    def epoch(self, epoch: int) -> Indices:
        """All samples in the order of an epoch, int64 [size]; the same on every rank."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        if self.weights is not None:
            drawn = np.cumsum(self.weights / self.weights.sum())
            return np.minimum(np.searchsorted(drawn, random.random(self.size), side="right"), self.size - 1)
        return _by_blocks(self.size, random) if self.blocks else random.permutation(self.size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Indices]:
        """This rank's part of each batch of an epoch, from batch `start` on; within a batch sorted.

        No step depends on the order inside its batch, and a store gathers neighbours faster.
        """
        order = self.epoch(epoch)
        edges = np.linspace(0, self.size, len(self) + 1).round().astype(np.int64)
        for first, last in zip(edges[start:-1], edges[start + 1 :], strict=True):
            yield np.sort(order[first + self.rank : last : self.world])

    def repeats(self, epoch: int, start: int = 0) -> Iterator[Indices]:
        """How often each sample of `batches` was drawn before in the epoch, over all ranks: int64, aligned with it."""
        order = self.epoch(epoch)
        by_sample = np.argsort(order, kind="stable")
        first = np.searchsorted(order[by_sample], order[by_sample])
        count = np.empty_like(order)
        count[by_sample] = np.arange(self.size) - first
        edges = np.linspace(0, self.size, len(self) + 1).round().astype(np.int64)
        for begin, end in zip(edges[start:-1], edges[start + 1 :], strict=True):
            mine = slice(begin + self.rank, end, self.world)
            yield count[mine][np.argsort(order[mine], kind="stable")]


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
