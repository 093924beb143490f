"""Finished chunks of an alignment run: each is written whole or not at all, so that a killed run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from manifests import schema
from manifests.killpoints import reach
from manifests.storage import storage_errors, sync

_CROP_FIELDS = [field for field in schema.CROPS if field.name not in ("sample_id", "shard")]

SCHEMA = pa.schema([*schema.FACES, *(pa.field(field.name, field.type) for field in _CROP_FIELDS)])
"""One row per sample: its faces row, and row, transform and outside share of its crop (NULL without a crop)."""


@dataclass(frozen=True)
class ChunkFiles:
    """Where one chunk lies while its run is under way.

    Attributes:
        folder: The run's scratch folder.
        number: Of the chunk, and of the shard it becomes.
    """

    folder: Path
    number: int

    @property
    def rows(self) -> Path:
        """The table; its presence says that the chunk is finished."""
        return self.folder / f"chunk-{self.number:05d}.parquet"

    @property
    def pixels(self) -> Path:
        """The crops."""
        return self.folder / f"chunk-{self.number:05d}.u8"

    def finished(self, samples: int, crop_bytes: int) -> bool:
        """Whether the chunk is there, complete, and of this many samples."""
        try:
            table = pq.read_table(self.rows, columns=["row"])
            crops = len(table) - table.column("row").null_count
            return len(table) == samples and self.pixels.stat().st_size == crops * crop_bytes
        except (OSError, pa.ArrowException):
            return False

    def write(self, table: pa.Table, crops: NDArray[np.uint8]) -> None:
        """Write the crops, then the table that says they are there; each is synced before it gets its name.

        Raises:
            StorageError: The disk is full or refuses; this chunk's files are removed, earlier chunks stay.
        """
        fresh = [path.with_name(path.name + ".new") for path in (self.pixels, self.rows)]
        try:
            with storage_errors(self.folder):
                with fresh[0].open("wb") as file:
                    file.write(np.ascontiguousarray(crops).data)
                sync(fresh[0])
                reach("chunk-pixels-written")
                fresh[0].replace(self.pixels)
                pq.write_table(table, fresh[1])
                sync(fresh[1])
                fresh[1].replace(self.rows)
                sync(self.folder)
        finally:
            for path in fresh:
                path.unlink(missing_ok=True)
        reach("chunk-renamed")

    def faces(self) -> pa.Table:
        """The chunk's rows of the faces layer."""
        return pq.read_table(self.rows, columns=schema.FACES.names)

    def index(self) -> pa.Table:
        """The chunk's rows of the crops layer."""
        table = pq.read_table(self.rows, columns=["sample_id", *(field.name for field in _CROP_FIELDS)])
        table = table.filter(pc.is_valid(table.column("row")))
        return table.append_column("shard", pa.array([self.number] * len(table), pa.int32()))
