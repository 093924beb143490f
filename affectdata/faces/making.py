"""Making chunks: each is a job that holds all it needs, so that another process or machine can do it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from affectdata.faces.alignments import Alignment
from affectdata.faces.chunks import SCHEMA, ChunkFiles, ChunkWriter
from affectdata.faces.detectors import DetectorSettings, detector
from affectdata.faces.hints import Hints
from affectdata.faces.landmarkers import LandmarkerSettings, landmarker
from affectdata.faces.options import AlignOptions
from affectdata.faces.packing import chunk_row
from affectdata.faces.pipeline import Pipeline
from affectdata.faces.work import Item, Media, Worker

Told = Callable[[int, int], None]
"""Is told of samples that are done, and how many of them have a crop."""


@dataclass(frozen=True, eq=False)
class Job:
    """One chunk to be made.

    Attributes:
        files: Where it goes.
        media: `chosen.MEDIA_COLUMNS` of its samples.
        hints: Of its samples.
        faces: Their rows of the faces layer, if their faces were found before.
    """

    files: ChunkFiles
    media: pa.Table
    hints: Hints
    faces: pa.Table | None

    def items(self) -> Iterator[Item]:
        """The samples."""
        known = [None] * len(self.media) if self.faces is None else self.faces.to_pylist()
        columns = [column.to_pylist() for column in self.media.columns]
        for row, (values, face) in enumerate(zip(zip(*columns, strict=True), known, strict=True)):
            yield Item(Media(*values), self.hints.of(row), face)


@dataclass(frozen=True)
class Crew:
    """What a worker is made of; unlike its networks, this can be sent to another process.

    Attributes:
        root: Folder of the dataset's media.
        alignment: Where faces go.
        detector: Name of the detector.
        options: Of the run.
    """

    root: Path
    alignment: Alignment
    detector: str
    options: AlignOptions

    def worker(self) -> Worker:
        """A worker with networks of its own.

        Raises:
            UnknownNameError: No such detector or landmarker.
            WeightsError: Weights are not to be had.
        """
        o = self.options
        finder = detector(self.detector, DetectorSettings(o.max_side, o.score, device=o.device))
        asked = LandmarkerSettings(device=o.device, detector=self.detector)
        marker = landmarker(o.landmarks, asked) if o.landmarks else None
        return Worker(self.root, finder, marker, self.alignment, o.channels, o.no_face, o.quality)


def make(jobs: Iterable[Job], worker: Worker, options: AlignOptions, told: Told) -> None:
    """Make chunk after chunk; each is there, whole, as soon as its last sample is done.

    Raises:
        StorageError: The disk is full or refuses; chunks that are finished stay.
    """
    begun: deque[Job] = deque()

    def samples() -> Iterator[Iterator[Item]]:
        for job in jobs:
            begun.append(job)
            yield job.items()

    writer: ChunkWriter | None = None
    rows: list[dict[str, object]] = []
    crops = offset = 0
    jpeg = worker.quality is not None
    try:
        for done in Pipeline(worker, options.workers, options.batch).run(samples()):
            writer = writer or ChunkWriter(begun[0].files)
            before = crops
            for outcome in done.outcomes:
                rows.append(chunk_row(outcome, crops, offset if jpeg else None))
                if outcome.crop is not None:
                    writer.append(outcome.crop.data)
                    crops, offset = crops + 1, offset + len(outcome.crop.data)
            told(len(done.outcomes), crops - before)
            if done.last:
                writer.finish(pa.Table.from_pylist(rows, schema=SCHEMA))
                begun.popleft()
                writer, rows, crops, offset = None, [], 0, 0
    finally:
        if writer is not None:
            writer.discard()
