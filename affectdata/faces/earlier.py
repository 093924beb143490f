"""What the published layers hold already: chunks that need not be made again, and faces that need not be found again.

Each layer that `align` writes names its chunks in its facts, with the number of rows that each has there. A chunk's
key is a hash of all that it depends on, so an equal key is an equal chunk, whatever became of the rest.
"""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from affectdata.faces.chunks import SCHEMA, ChunkFiles
from manifests import schema
from manifests.crops import RAW, shard_name
from manifests.layer import Layer
from manifests.storage import link_or_copy, storage_errors, sync

CHUNKS = "chunks"
"""Fact of a layer: its chunks in order, as `<key>:<rows>`, blanks between them."""


def chunk_list(chunks: list[tuple[str, int]]) -> dict[str, str]:
    """The fact that names a layer's chunks, (key, rows) each."""
    return {CHUNKS: " ".join(f"{key}:{rows}" for key, rows in chunks)}


class ChunkedLayer:
    """A published layer, read chunk by chunk; chunks are looked up by key.

    Args:
        layer: None, or a layer that names no chunks, holds none.
    """

    def __init__(self, layer: Layer | None, columns: list[str]) -> None:
        self.layer, self._columns = layer, columns
        named = layer.facts.extra.get(CHUNKS, "").split() if layer else []
        pairs = [(key, int(rows)) for key, rows in (entry.split(":") for entry in named)]
        starts = accumulate((rows for _, rows in pairs), initial=0)
        placed = enumerate(zip(pairs, starts, strict=False))
        self._places = {key: (n, start, rows) for n, ((key, rows), start) in placed}
        self._file: pq.ParquetFile | None = None
        self._held: tuple[int, pa.Table] = (-1, pa.table({}))

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def number(self, key: str) -> int:
        """Which chunk of the layer that is, from 0."""
        return self._places[key][0]

    def rows(self, key: str) -> pa.Table:
        """The rows of a chunk; chunks are read fastest in their order."""
        _, start, count = self._places[key]
        if self.layer is None or not count:
            return SCHEMA.empty_table().select(self._columns)
        if self._file is None:
            self._file = pq.ParquetFile(self.layer.path)
        parts, first = [], 0
        for group in range(self._file.metadata.num_row_groups):
            end = first + self._file.metadata.row_group(group).num_rows
            if first < start + count and end > start:
                low = max(start - first, 0)
                parts.append(self._group(group).slice(low, min(start + count, end) - first - low))
            first = end
        return pa.concat_tables(parts)

    def _group(self, group: int) -> pa.Table:
        if self._held[0] != group and self._file is not None:
            self._held = group, self._file.read_row_group(group, columns=self._columns)
        return self._held[1]


class Earlier:
    """Chunks that lie in the published layers of a dataset, of this geometry and detector.

    Args:
        layers: Those of the dataset by key, stale ones too.
        faces, crops, landmarks: Keys of the layers; `landmarks` is empty where no landmarker looks.
    """

    def __init__(self, layers: dict[str, Layer], faces: str, crops: str, landmarks: str = "") -> None:
        self._faces = ChunkedLayer(layers.get(faces), schema.FACES.names)
        self._crops = ChunkedLayer(layers.get(crops), [name for name in schema.CROPS.names if name != "shard"])
        self._marks = ChunkedLayer(layers.get(landmarks), ["sample_id", "landmarks", "landmarks_weight"])

    def faces(self, key: str) -> pa.Table | None:
        """The faces rows of a chunk by the key of its faces; None where it is not there."""
        return self._faces.rows(key) if key in self._faces else None

    def take(self, files: ChunkFiles, faces: str, crops: str, landmarks: str = "") -> bool:
        """Make a chunk's files from the published layers, its crops by a hard link; whether all of it was there."""
        if faces not in self._faces or crops not in self._crops or (landmarks and landmarks not in self._marks):
            return False
        table = self._faces.rows(faces)
        for layer, key in ((self._crops, crops), (self._marks, landmarks)):
            if key:
                table = _beside(table, layer.rows(key))
        for field in SCHEMA:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        fresh = files.rows.with_name(files.rows.name + ".taken.new")
        with storage_errors(files.folder):
            files.pixels.unlink(missing_ok=True)
            shard = self._shard(crops)
            link_or_copy(shard, files.pixels) if shard.exists() else files.pixels.touch()
            pq.write_table(table.select(SCHEMA.names).cast(SCHEMA), fresh)
            sync(fresh)
            fresh.replace(files.rows)
        return files.finished()

    def _shard(self, key: str) -> Path:
        layer = self._crops.layer
        if layer is None:
            raise KeyError(key)
        name = shard_name(layer.name, self._crops.number(key), layer.facts.extra.get("store", RAW))
        return layer.path.parent / Path(name).name


def _beside(table: pa.Table, other: pa.Table) -> pa.Table:
    """The columns of `other` beside those of `table`, row by `sample_id`, NULL where it has no such row."""
    at = pc.index_in(table.column("sample_id"), value_set=other.column("sample_id").combine_chunks())
    for name in other.column_names[1:]:
        table = table.append_column(name, other.column(name).take(at))
    return table
