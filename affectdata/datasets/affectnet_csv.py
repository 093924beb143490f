"""AffectNet's original release: CSVs of nine columns, of which one holds 136 numbers (datasets page, 2 A and B).

The landmarks are nine tenths of the half gigabyte; they are parsed as a table of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from affectdata.datasets.affectnet_labels import Cells, groups, padded, plausible, roles, said
from affectdata.datasets.reading import Block, Folder, Reject, vectors
from affectdata.datasets.text import CsvTable, as_mask, check_names, csv_pieces, numbers
from manifests.errors import DatasetError

COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
"""Columns in the order of the release [verified >10]; found by name."""

_PIECE = 1 << 26
_FEW = 64
_POINTS = [str(number) for number in range(136)]


@dataclass(frozen=True)
class Part:
    """One CSV and its pictures.

    Args:
        path: The CSV.
        pictures: The folder that its paths are relative to.
        flat: The pictures lie in it by their bare names, without the numbered folders.
        split: train, val or extra.
        key: First part of the sample_id.
        human: Classes and ratings are people's.
    """

    path: str
    pictures: str
    flat: bool
    split: str
    key: str
    human: bool


def first_paths(data: bytes) -> list[str]:
    """Picture paths of the first whole lines."""
    rows = data.decode("utf-8", "replace").splitlines()[1:-1] or data.decode("utf-8", "replace").splitlines()[1:]
    return [row.partition(",")[0].strip() for row in rows if row.strip()]


def csv_blocks(folder: Folder, part: Part, reject: Reject) -> Iterator[Block]:
    """The rows of one CSV, some ten thousand at a time."""
    pictures = _Pictures(folder, part)
    for rows in folder.parsed_pieces(part.path, _rows, part, reject):
        yield _block(rows, part, pictures)


def csv_tables(file: BinaryIO, path: str, reject: Reject) -> Iterator[CsvTable]:
    """Pieces of one CSV by clean column names.

    Raises:
        DatasetError: It lacks columns.
    """
    for table in csv_pieces(file, path, reject, _PIECE):
        names = [name.removeprefix("#").strip() for name in table.columns]
        check_names(names, path)
        check_columns(names, path)
        yield replace(table, columns=dict(zip(names, table.columns.values(), strict=True)))


def check_columns(names: list[str], path: str) -> None:
    """Raise `DatasetError` where one of the nine columns is absent."""
    absent = [name for name in COLUMNS if name not in names]
    if absent:
        raise DatasetError(f"{path} lacks columns of AffectNet", found=", ".join(names), expected=", ".join(absent),
                           then="read the list as it was released, with its nine columns")  # fmt: skip


Rows = tuple[pa.Table, pa.Array, dict[str, pa.Table]]
"""Samples without their paths, pictures as the list names them, and label tables by source."""


def _rows(file: BinaryIO, part: Part, reject: Reject) -> Iterator[Rows]:
    for table in csv_tables(file, part.path, reject):
        yield _rows_of(table, part, reject)


def _block(rows: Rows, part: Part, pictures: _Pictures) -> Block:
    samples, names, labels = rows
    return Block(samples.append_column("path", pictures.found(names)), labels, roles(part.split, len(names)))


def _rows_of(table: CsvTable, part: Part, reject: Reject) -> Rows:
    # 412/0f3c9a7b...1a2b.jpg,120,120,803,803,171.4;402.13;180.02;498.7;...;512.5;801.66,1,0.785714,-0.055556
    named = as_mask(pc.is_valid(table.columns[COLUMNS[0]]))
    table = table.filter(table.refuse(~named, reject, "bad-name", COLUMNS[0]))
    columns = table.columns
    cells = Cells(columns["expression"], columns["valence"], columns["arousal"],
                  lambda _, mask: table.where(np.flatnonzero(mask)))  # fmt: skip
    labels = said(cells, reject)
    points, bad = point_rows(columns["facial_landmarks"])
    table.refuse(bad & labels.keep, reject, "bad-landmarks", "facial_landmarks")
    keep = pa.array(labels.keep)
    paths = pc.utf8_trim_whitespace(columns[COLUMNS[0]])
    samples = pa.table({
        "sample_id": padded(table.rows, part.key),
        "group_id": groups(paths),
        "face_status": labels.status,
        **_boxes(table, labels.keep, reject),
        "split": pa.array([part.split] * len(paths), pa.string()),
    })  # fmt: skip
    affect = {"expression": labels.names, "valence": labels.valence, "arousal": labels.arousal}
    marks = {"landmarks": vectors(points)}
    said_by = {"human": affect, "auto": marks} if part.human else {"auto": affect | marks}
    tables = {source: pa.table(found).filter(keep) for source, found in said_by.items()}
    return samples.filter(keep), paths.filter(keep), tables


def _boxes(table: CsvTable, keep: NDArray[np.bool_], reject: Reject) -> dict[str, pa.Array]:
    """Edges of the boxes; NULL where a field is `NULL` or a side is not positive, as on some rows of the release."""
    found = {}
    bad = np.zeros(len(table.rows), dtype=bool)
    for name in COLUMNS[1:5]:
        found[name], wrong = numbers(table.columns[name])
        table.refuse(wrong & keep & ~bad, reject, "bad-box", name)
        bad |= wrong
    x, y, width, height = found.values()
    there = pc.and_kleene(pc.and_(pc.greater(width, 0), pc.greater(height, 0)), pc.and_(pc.is_valid(x), pc.is_valid(y)))
    edges = {"box_x1": x, "box_y1": y, "box_x2": pc.add(x, width), "box_y2": pc.add(y, height)}
    return {edge: pc.cast(pc.if_else(pc.fill_null(there, False), value, None), pa.float32())
            for edge, value in edges.items()}  # fmt: skip


def point_rows(column: pa.Array) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Landmarks float32 [N, 136] of `x0;y0;...;x67;y67`, NaN where a cell is empty or bad, and a mask of the bad."""
    points = np.full((len(column), 136), np.nan, np.float32)
    filled = as_mask(pc.is_valid(column)) & ~as_mask(pc.match_substring_regex(column, r"(?i)^\s*(null)?\s*$"))
    right = as_mask(pc.equal(pc.count_substring(column, ";"), 135)) & filled
    points[right] = _parsed(column.filter(pa.array(right)))
    bad = filled & ~plausible(points)
    points[bad] = np.nan
    return points, bad


def _parsed(cells: pa.Array) -> NDArray[np.float32]:
    """Cells of 136 fields as numbers; a cell with a field that is none is NaN."""
    if not len(cells):
        return np.empty((0, 136), np.float32)
    text = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(cells)], pa.int32()), cells), "\n")[0]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text.as_buffer()),
            read_options=pa_csv.ReadOptions(column_names=_POINTS),
            parse_options=pa_csv.ParseOptions(delimiter=";", quote_char=False, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(_POINTS, pa.float32())),
        )
    except pa.ArrowInvalid:
        # Halving finds the few bad cells of a file in a dozen steps, without a slower parser for all the others.
        if len(cells) <= _FEW:
            return np.concatenate([_one(cells.slice(row, 1)) for row in range(len(cells))])
        half = len(cells) // 2
        return np.concatenate([_parsed(cells.slice(0, half)), _parsed(cells.slice(half))])
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def _one(cell: pa.Array) -> NDArray[np.float32]:
    values, bad = numbers(pc.list_flatten(pc.split_pattern(cell, ";")))
    row = values.to_numpy(zero_copy_only=False).astype(np.float32)[None]
    return np.full_like(row, np.nan) if bad.any() else row


class _Pictures:
    """The pictures below one folder, found whatever the case of their names."""

    def __init__(self, folder: Folder, part: Part) -> None:
        paths = folder.files.paths()
        self._base, self._flat = f"{part.pictures}/" if part.pictures else "", part.flat
        self._paths = paths.filter(pc.starts_with(paths, self._base)) if self._base else paths
        self._tails = pc.utf8_slice_codeunits(self._paths, len(self._base))
        self._lower = pc.utf8_lower(self._tails)

    def found(self, names: pa.Array) -> pa.Array:
        """Paths of the pictures under the root; where there is none, the path that was wanted."""
        tails = pc.replace_substring(names, "\\", "/")
        tails = pc.replace_substring_regex(tails, r"^.*/", "") if self._flat else tails
        wanted = pc.binary_join_element_wise(pa.scalar(self._base), tails, "")
        at = pc.index_in(tails, value_set=self._tails)
        if at.null_count:
            # 1003/b0b1...cacb.jpg in the list, 1003/b0b1...cacb.JPG on disk [one source]
            at = pc.coalesce(at, pc.index_in(pc.utf8_lower(tails), value_set=self._lower))
        return pc.coalesce(pc.take(self._paths, at), wanted)
