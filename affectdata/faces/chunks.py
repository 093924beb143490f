"""Chunks of an alignment run: where they end, and the files of those that are finished.

A chunk ends where the samples say so, not after so many of them: samples that are added change the chunks beside
them and no other one. Each is written whole or not at all, so that a killed run goes on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests import schema
from manifests.killpoints import reach
from manifests.storage import storage_errors, sync

_CROP_FIELDS = [field for field in schema.CROPS if field.name not in ("sample_id", "shard")]
_MARK_FIELDS = [schema.LABELS.field(name) for name in ("landmarks", "landmarks_weight")]

SCHEMA = pa.schema(
    [*schema.FACES, *(pa.field(field.name, field.type) for field in _CROP_FIELDS), *_MARK_FIELDS],
)
"""One row per sample: its faces row; row, transform and outside share of its crop (NULL without a crop); its landmarks
in pixels of the source (NULL where no landmarker looked)."""

_LEAST, _MOST = 4, 4
"""A chunk holds at least a fourth of the samples that chunks hold on average, and at most four times as many."""


def chunk_ranges(samples: pa.Table, average: int) -> list[range]:
    """Where chunks begin and end: rows that follow each other.

    Samples of one picture or one video stay together unless they are too many for a chunk; after them a chunk ends
    if a hash of their first `sample_id` falls below their share of an average chunk. Whoever adds samples changes
    the chunk that they fall into and a few behind it, until an old end is met again (content-defined chunking;
    Muthitacharoen, Chen and Mazieres 2001, "A low-bandwidth network file system", section 3.1).

    Args:
        samples: sample_id, path and member, in order of sample_id.
        average: Samples per chunk on average.
    """
    least, most = max(1, average // _LEAST), average * _MOST
    ids = samples.column("sample_id")
    ranges, start = [], 0
    for first, stop in _pieces(samples, most):
        if stop - start > most:
            ranges.append(range(start, first))
            start = first
        share = (stop - first) / max(1, average - least)
        if stop - start >= least and _fraction(ids[first].as_py()) < share:
            ranges.append(range(start, stop))
            start = stop
    return [*ranges, range(start, len(samples))] if start < len(samples) else ranges


def _pieces(samples: pa.Table, most: int) -> Iterator[tuple[int, int]]:
    """First row and end of neighbours that share a file or an archive member; longer ones in pieces of `most`."""
    count = samples.num_rows
    differs = np.zeros(max(0, count - 1), bool)
    for name in ("path", "member"):
        column = samples.column(name).combine_chunks()
        before, after = column.slice(0, max(0, count - 1)), column.slice(1)
        same = pc.or_(pc.fill_null(pc.equal(before, after), False), pc.and_(pc.is_null(before), pc.is_null(after)))
        differs |= ~np.asarray(same)
    # labels without a picture share nothing
    differs |= np.asarray(pc.is_null(samples.column("path")))[1:]
    ends = [*(np.flatnonzero(differs) + 1).tolist(), count] if count else []
    first = 0
    for end in ends:
        while first < end:
            yield first, min(first + most, end)
            first = min(first + most, end)


def _fraction(text: str) -> float:
    """A hash of a text, evenly spread over 0..1."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


@dataclass(frozen=True)
class ChunkFiles:
    """A finished chunk, or the place of one that is to be made, in the scratch folder of its run.

    Attributes:
        folder: The run's scratch folder; may lie on a disk that several machines share.
        key: Hash of everything that the chunk depends on.
        samples: Number of its samples.
        crop_bytes: Bytes of one crop; None where they differ, as JPEGs do.
    """

    folder: Path
    key: str
    samples: int
    crop_bytes: int | None

    @property
    def rows(self) -> Path:
        """The table; its presence says that the chunk is finished."""
        return self.folder / f"chunk-{self.key}.parquet"

    @property
    def pixels(self) -> Path:
        """The crops."""
        return self.folder / f"chunk-{self.key}.pixels"

    def finished(self) -> bool:
        """Whether the chunk is there and complete."""
        try:
            table = self.table(["row", "offset", "length"])
            crops = len(table) - table.column("row").null_count
            size = (
                crops * self.crop_bytes if self.crop_bytes is not None else pc.sum(table.column("length")).as_py() or 0
            )
            return len(table) == self.samples and self.pixels.stat().st_size == size
        except (OSError, pa.ArrowException):
            return False

    @property
    def crops(self) -> int:
        """Crops of a finished chunk."""
        return self.samples - int(self.table(["row"]).column("row").null_count)

    @property
    def landmarked(self) -> int:
        """Samples of a finished chunk that have landmarks."""
        return len(self.landmarks())

    def table(self, columns: list[str]) -> pa.Table:
        """Columns of a finished chunk."""
        return pq.read_table(self.rows, columns=columns)

    def faces(self) -> pa.Table:
        """The chunk's rows of the faces layer."""
        return self.table(schema.FACES.names)

    def index(self, shard: int) -> pa.Table:
        """The chunk's rows of the crops layer."""
        table = self.table(["sample_id", *(field.name for field in _CROP_FIELDS)])
        table = table.filter(pc.is_valid(table.column("row")))
        return table.append_column("shard", pa.array([shard] * len(table), pa.int32()))

    def landmarks(self) -> pa.Table:
        """The chunk's rows of the layer of landmarks."""
        table = self.table(["sample_id", *(field.name for field in _MARK_FIELDS)])
        return table.filter(pc.is_valid(table.column("landmarks")))


class ChunkWriter:
    """Writes one chunk: crops as they come, then the table that says they are there; each synced before it is named.

    A block that raises leaves nothing behind. Two processes may make the same chunk: the later one replaces the
    earlier one by the same bytes.

    Raises:
        StorageError: The disk is full or refuses; this chunk's files are removed, others stay.
    """

    def __init__(self, files: ChunkFiles) -> None:
        self._files = files
        mark = f".{gethostname()}-{os.getpid()}.new"
        self._fresh_pixels, self._fresh_rows = (path.with_name(path.name + mark) for path in (files.pixels, files.rows))
        with storage_errors(files.folder):
            self._file = self._fresh_pixels.open("wb")

    def append(self, crop: bytes) -> None:
        """Add the next crop."""
        with storage_errors(self._files.folder):
            self._file.write(crop)

    def finish(self, table: pa.Table) -> None:
        """Write the chunk's table (`SCHEMA`)."""
        with storage_errors(self._files.folder):
            self._file.close()
            sync(self._fresh_pixels)
            reach("chunk-pixels-written")
            self._fresh_pixels.replace(self._files.pixels)
            pq.write_table(table, self._fresh_rows)
            sync(self._fresh_rows)
            self._fresh_rows.replace(self._files.rows)
            sync(self._files.folder)
        reach("chunk-renamed")

    def discard(self) -> None:
        """Remove what was written and not finished."""
        self._file.close()
        for path in (self._fresh_pixels, self._fresh_rows):
            path.unlink(missing_ok=True)
