"""What AffectNet's releases of small files share: numbered items in two folders per split (datasets page, 2 C and D).

Over a million files: names are sorted out as columns, contents are read some thousand items at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.affectnet_csv import csv_tables
from affectdata.datasets.affectnet_labels import Cells, Said, padded, roles, said
from affectdata.datasets.reading import Block, Folder, Reject
from affectdata.datasets.text import as_mask

ITEMS = 20_000
"""Items of a block: bounds what is held while reading."""

MAX_BYTES = 1 << 20
"""Larger files are no annotation of one face; they are refused unread."""

ID = "(?P<id>0|[1-9][0-9]{0,8})"
"""Ids are decimal, without leading zeros, with gaps."""

_NEAR = 1e-3


@dataclass(frozen=True)
class Half:
    """One split of a release: folders `images` and `annotations` below one folder.

    Args:
        path: That folder.
        split: train, val or extra.
        key: First part of the sample_id.
        rows: The CSV whose row numbers the ids are, where it lies beside; empty otherwise.
    """

    path: str
    split: str
    key: str
    rows: str = ""

    @property
    def inside(self) -> str:
        """The folder of the annotations."""
        return f"{self.path}/annotations"


def annotation_files(folder: Folder, half: Half, suffix: str) -> list[str]:
    """Every annotation file of a half; other files that lie there, such as Thumbs.db, are strays."""
    return [f"{half.inside}/{name}" for name in folder.files.names(half.inside) if name.endswith(suffix)]


def matched(
    names: pa.Array, pattern: str, folder: str, reject: Reject
) -> tuple[NDArray[np.int64], Mapping[str, pa.Array]]:
    """Ids and the other groups of a pattern over file names; names that do not match are refused."""
    found = pc.extract_regex(names, pattern)
    right = pc.is_valid(found)
    strays = names.filter(pc.invert(right)).to_pylist()
    reject.many(
        [f"{folder}/{name}" for name in strays], "bad-name", ("not an id without leading zeros" for _ in strays)
    )
    found = found.filter(right)
    parts = {field.name: pc.struct_field(found, field.name) for field in found.type}
    return pc.cast(parts["id"], pa.int64()).to_numpy(), parts


def picture_ids(folder: Folder, half: Half, reject: Reject) -> NDArray[np.int64]:
    """Ids of the pictures of a half."""
    inside = f"{half.path}/images"
    found = pa.array([name for name in folder.files.names(inside) if name.endswith(".jpg")], pa.string())
    return matched(found, rf"^{ID}\.jpg$", inside, reject)[0]


def chunks(ids: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The ids, `ITEMS` at a time."""
    for start in range(0, len(ids), ITEMS):
        yield ids[start : start + ITEMS]


def absent(half: Half, names: list[str], reject: Reject) -> None:
    """Report annotation files that an item should have; it stays, without what they say."""
    reject.many([f"{half.inside}/{name}" for name in names], "missing-annotation", ("no such file" for _ in names))


def item_block(
    half: Half, ids: NDArray[np.int64], keep: NDArray[np.bool_], facts: Mapping[str, pa.Array],
    labels: Mapping[str, pa.Table],
) -> Block:  # fmt: skip
    """The kept items of a half as a Block."""
    stems = pc.cast(pa.array(ids), pa.string())
    samples = pa.table({
        "sample_id": padded(ids, half.key),
        "path": pc.binary_join_element_wise(pa.scalar(f"{half.path}/images/"), stems, pa.scalar(".jpg"), ""),
        "split": pa.array([half.split] * len(ids), pa.string()),
        **facts,
    })  # fmt: skip
    kept = pa.array(keep)
    chosen = {source: table.filter(kept) for source, table in labels.items()}
    return Block(samples.filter(kept), chosen, roles(half.split, int(keep.sum())))


@dataclass(frozen=True)
class Listed:
    """What each row of the original CSV says, to check that an id is the number of its row [inferred]."""

    about: str
    names: pa.Array
    statuses: pa.Array
    ratings: Mapping[str, NDArray[np.float64]]

    @staticmethod
    def beside(folder: Folder, half: Half) -> Listed | None:
        """The rows of the CSV beside a half, or None."""
        if not half.rows:
            return None
        found = list(folder.parsed_pieces(half.rows, _said_by_row, half.rows))
        if not found:
            return None
        pieces, numbers = zip(*found, strict=True)
        rows = np.concatenate(numbers)
        place = np.full(int(rows.max(initial=-1)) + 1, -1)
        place[rows] = np.arange(len(rows))
        by_row = pa.concat_tables(pieces).combine_chunks().take(pa.array(place, mask=place < 0))
        names, statuses = (by_row.column(name).combine_chunks() for name in ("name", "status"))
        ratings = {name: _floats(by_row.column(name)) for name in ("valence", "arousal")}
        return Listed(half.rows, names, statuses, ratings)

    def refused(self, half: Half, ids: NDArray[np.int64], labels: Said, reject: Reject) -> NDArray[np.bool_]:
        """Mask of items whose class or rating is not that of their row; they are refused as `id-mismatch`."""
        beyond = ids >= len(self.names)
        at = pa.array(np.where(beyond, 0, ids), mask=beyond)
        unlike = beyond | as_mask(pc.not_equal(pc.take(self.names, at), labels.names))
        # A row without a class is none for an item that has one.
        unlike |= as_mask(pc.not_equal(pc.take(self.statuses, at), labels.status))
        for name, values in self.ratings.items():
            theirs = _floats(pc.take(pa.array(values), at))
            unlike |= np.abs(_floats(getattr(labels, name)) - theirs) > _NEAR
        unlike &= labels.keep
        names = labels.names.filter(pa.array(unlike)).to_pylist()
        details = [f"{name}, but row {row} of {self.about} says otherwise"
                   for row, name in zip(ids[unlike].tolist(), names, strict=True)]  # fmt: skip
        reject.many([f"{half.inside}/{number}" for number in ids[unlike].tolist()], "id-mismatch", details)
        return unlike


def _said_by_row(file: BinaryIO, path: str) -> Iterator[tuple[pa.Table, NDArray[np.int64]]]:
    """Class, status and ratings of some rows of the original CSV, and their numbers."""
    quiet = Reject()
    for table in csv_tables(file, path, quiet):
        cells = Cells(table.columns["expression"], table.columns["valence"], table.columns["arousal"],
                      lambda _, mask: [""] * int(mask.sum()))  # fmt: skip
        found = said(cells, quiet)
        columns = {"name": found.names, "status": found.status, "valence": found.valence, "arousal": found.arousal}
        yield pa.table(columns), table.rows


def _floats(values: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """Numbers with NaN for NULL."""
    found: NDArray[np.float64] = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False) if isinstance(
        values, pa.Array) else pc.cast(values, pa.float64()).to_numpy()  # fmt: skip
    return found
