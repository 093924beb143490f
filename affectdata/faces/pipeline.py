"""From samples to outcomes: threads decode, detect and cut, networks run on batches, everything comes out in order.

Each stage is a few threads that work a little ahead of what is taken from it, so memory is bounded by the number of
threads and not by the length of a chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from affectdata.faces.work import Item, Looked, Outcome, Worker

_PICTURES, _FRAMES = 16, 2
"""Samples that one thread takes at a time: whose pictures it decodes itself; whose frames were decoded ahead."""

_WAITING = 8
"""Samples without a face, in batches, that may wait until a batch of faces is full."""

Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True, eq=False)
class Part:
    """Neighbouring samples of one chunk: what is to be done, or what became of them.

    Attributes:
        last: Nothing of the chunk follows.
    """

    samples: list[Item]
    last: bool


@dataclass(frozen=True, eq=False)
class Done:
    """Outcomes of neighbouring samples of one chunk; `last` as in `Part`."""

    outcomes: list[Outcome]
    last: bool


@dataclass(frozen=True, eq=False)
class _Seen:
    looked: list[Looked]
    last: bool


class Pipeline:
    """Runs the samples of chunk after chunk through a worker.

    Args:
        worker: What is done with a sample.
        threads: Threads that decode, detect and cut.
        batch: Windows that a landmarker looks at together. Batches never span two chunks, so that a chunk does not
            depend on the ones before it.
    """

    def __init__(self, worker: Worker, threads: int, batch: int) -> None:
        self._worker, self._threads, self._batch = worker, threads, batch

    def run(self, chunks: Iterable[Iterable[Item]]) -> Iterator[Done]:
        """The outcomes of all samples in order; a chunk without samples gives nothing."""
        with ExitStack() as stack:
            stack.enter_context(_one_opencv_thread_each())

            def threads(count: int, name: str) -> Executor:
                pool = ThreadPoolExecutor(count, thread_name_prefix=f"align-{name}")
                stack.callback(pool.shutdown, cancel_futures=True)
                return pool

            crew, ahead = threads(self._threads, "work"), 2 * self._threads
            read = in_order(threads(1, "read"), self._read, _parts(chunks), 2)
            seen = in_order(crew, self._look, read, ahead)
            if self._worker.landmarker is None:
                yield from (Done([looked.outcome for looked in part.looked], part.last) for part in seen)
                return
            marked = in_order(threads(1, "network"), self._mark, self._batches(seen), 2)
            yield from in_order(crew, self._finish, marked, max(2, self._threads // 4))

    def _read(self, part: Part) -> Part:
        """Frames of videos are decoded here, by one thread and so in order; pictures by the threads that look."""
        ahead = (item.media.frame is not None and self._worker.needs_picture(item) for item in part.samples)
        items = [
            replace(item, picture=self._worker.decoded(item.media)) if wanted else item
            for item, wanted in zip(part.samples, ahead, strict=True)
        ]
        return Part(items, part.last)

    def _look(self, part: Part) -> _Seen:
        return _Seen(list(self._worker.look_all(part.samples)), part.last)

    def _batches(self, parts: Iterable[_Seen]) -> Iterator[_Seen]:
        """The same samples in order, cut anew where a batch of windows is full or a chunk ends."""
        waiting: list[Looked] = []
        windows = 0
        for part in parts:
            for n, looked in enumerate(part.looked):
                waiting.append(looked)
                windows += looked.window is not None
                last = part.last and n == len(part.looked) - 1
                if last or windows == self._batch or len(waiting) == _WAITING * self._batch:
                    yield _Seen(waiting, last)
                    waiting, windows = [], 0

    def _mark(self, part: _Seen) -> tuple[_Seen, tuple[np.ndarray, np.ndarray] | None]:
        windows = [looked.window.pixels for looked in part.looked if looked.window is not None]
        landmarker = self._worker.landmarker
        return part, landmarker.points(np.stack(windows)) if windows and landmarker is not None else None

    def _finish(self, marked: tuple[_Seen, tuple[np.ndarray, np.ndarray] | None]) -> Done:
        part, found = marked
        left = iter(zip(*found, strict=True)) if found is not None else iter(())
        outcomes = [
            looked.outcome if looked.window is None else self._worker.finish(looked, *next(left))
            for looked in part.looked
        ]
        return Done(outcomes, part.last)


def in_order(pool: Executor, work: Callable[[Input], Output], inputs: Iterable[Input], ahead: int) -> Iterator[Output]:
    """Results in the order of the inputs, of which at most `ahead` are in work or wait to be taken."""
    running: deque[Future[Output]] = deque()
    try:
        for item in inputs:
            running.append(pool.submit(work, item))
            if len(running) >= ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def _parts(chunks: Iterable[Iterable[Item]]) -> Iterator[Part]:
    for chunk in chunks:
        waiting: list[Item] = []
        full = 0
        for item in chunk:
            # A full part is kept until it is known that something follows it.
            if full and len(waiting) >= full:
                yield Part(waiting, last=False)
                waiting = []
            waiting.append(item)
            full = _PICTURES if item.media.frame is None else _FRAMES
        if waiting:
            yield Part(waiting, last=True)


@contextmanager
def _one_opencv_thread_each() -> Iterator[None]:
    """OpenCV without threads of its own: ours are as many as there are cores."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
