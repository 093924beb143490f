"""Batches: gathered as uint8 from packed crops by threads, while the device computes."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manifests.crops import CropStore, large_pages
from trainer.augment import repeated
from trainer.data import Samples
from trainer.sampling import SPAN, Indices, Order, sequential
from trainer.targets import Batch

T = TypeVar("T")

THREADS = 2
"""Threads that gather batches; copying pixels holds no lock of Python's."""

AHEAD = 2
"""Batches that are made or lie ready while one is computed on."""


class TrainLoader:
    """Training batches of one epoch after the other; `set_epoch` (which Lightning calls) chooses the epoch.

    Args:
        samples: What to draw from.
        order: In which order.
        pin: Batches in page-locked memory, for copies to a GPU.
    """

    def __init__(self, samples: Samples, order: Order, *, pin: bool = False) -> None:
        self.samples, self.order = samples, order
        self._buffers = Buffers(samples.shape, pin=pin)
        self.epoch = 0
        self.start = 0
        """Batch with which the next iteration starts, once."""
        self.sampler = self  # where Lightning looks for `set_epoch`

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing is read before the first batch is asked for, so not before `set_epoch`.
        start, self.start = self.start, 0
        batches = self.order.batches(self.epoch, start)
        if self.order.share.blocks:
            batches = self._read_ahead(batches, start)
        if not self.order.redraws:
            yield from prefetched(batches, self._batch)
        else:
            yield from prefetched(zip(batches, self.order.repeats(self.epoch, start), strict=True), self._drawn_batch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.epoch = epoch

    def _read_ahead(self, batches: Iterator[Indices], start: int) -> Iterator[Indices]:
        """The batches; the system is asked to read each window while the one before it is used."""
        order = self.order.epoch(self.epoch)
        asked = used = int(self.order.edges[start])
        for index in batches:
            while asked < len(order) and used + SPAN >= asked:
                self.samples.prefetch(order[asked : asked + SPAN])
                asked += SPAN
            used += len(index) * self.order.share.world
            yield index

    def _batch(self, index: Indices) -> Batch:
        return batch_at(self.samples, index, self._buffers)

    def _drawn_batch(self, drawn: tuple[Indices, Indices]) -> Batch:
        """A batch in which the second picture of a sample is augmented unlike the first."""
        batch = self._batch(drawn[0])
        return replace(batch, keys=repeated(batch.keys, torch.from_numpy(drawn[1])))


class ScoreLoader:
    """Every sample once, in order; rank r of `world` takes every world-th batch."""

    def __init__(self, samples: Samples, batch: int, *, rank: int = 0, world: int = 1, pin: bool = False) -> None:
        self.samples, self.batch, self.rank, self.world = samples, batch, rank, world
        self._buffers = Buffers(samples.shape, pin=pin)

    def __len__(self) -> int:
        return len(range(self.rank * self.batch, len(self.samples), self.batch * self.world))

    def __iter__(self) -> Iterator[Batch]:
        order = sequential(len(self.samples), self.batch, self.rank, self.world)
        yield from prefetched(order, lambda index: batch_at(self.samples, index, self._buffers))


class Buffers:
    """Memory for pixels that is used again once nobody holds it: fresh pages cost as much as filling them.

    Args:
        shape: Height, width, channels.
        pin: Page-locked memory, which PyTorch itself keeps for reuse until copies out of it have ended.
    """

    def __init__(self, shape: tuple[int, int, int], *, pin: bool = False) -> None:
        self.shape, self.pin = shape, pin
        self._kept: list[tuple[npt.NDArray[np.uint8], weakref.ref[npt.NDArray[np.uint8]]]] = []
        self._lock = threading.Lock()

    def take(self, count: int) -> Tensor:
        """uint8 [count, H, W, C], its content undefined."""
        if self.pin:
            return torch.empty((count, *self.shape), dtype=torch.uint8, pin_memory=True)
        with self._lock:
            for number, (memory, part) in enumerate(self._kept):
                # A tensor, and whatever views it, keeps the array alive that it was made from.
                if part() is None and len(memory) >= count:
                    return self._handed_out(number, memory, count)
            fresh = large_pages(count * math.prod(self.shape)).reshape(count, *self.shape)
            self._kept = self._kept[-AHEAD - THREADS :]
            return self._handed_out(len(self._kept), fresh, count)

    def _handed_out(self, number: int, memory: npt.NDArray[np.uint8], count: int) -> Tensor:
        part = memory[:count]
        self._kept[number : number + 1] = [(memory, weakref.ref(part))]
        return torch.from_numpy(part)


def batch_at(samples: Samples, index: Indices, buffers: Buffers | None = None) -> Batch:
    """The batch of samples at positions `index`, int64 [B]; pinned where the buffers are."""
    at = torch.from_numpy(index)
    pixels = samples.gather(index, None if buffers is None else buffers.take(len(index)))
    batch = Batch(pixels, samples.keys[at], at, torch.from_numpy(samples.dataset[index]), samples.targets.at(at))
    return batch.pin_memory() if buffers is not None and buffers.pin else batch


def prefetched(order: Iterator[T], make: Callable[[T], Batch]) -> Iterator[Batch]:
    """`make` of every item of `order`, in its order, made by `THREADS` threads that stay `AHEAD` items ahead.

    An exception of a thread is raised here; leaving the loop early ends the threads.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batches")
    waiting: deque[Future[Batch]] = deque()
    try:
        for item in order:
            waiting.append(pool.submit(make, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for batch in waiting:
            batch.cancel()
        pool.shutdown()


def hold_in_memory(stores: Sequence[CropStore], processes: int = 1) -> bool:
    """Read the stores into memory where that takes no more than half of it; whether they now lie there.

    Args:
        stores: Packed crops.
        processes: How many processes of this machine each hold a copy.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if processes * sum(store.nbytes for store in stores) >= total / 2:
        return False
    for store in stores:
        store.hold()
    return True
