"""AffectNet's label codes and ratings, the same in every release (datasets page, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.reading import Reject, vectors
from affectdata.datasets.text import as_mask, integers, numbers, recoded
from manifests.vocabulary import EXPRESSIONS

CLASSES = EXPRESSIONS[:8]
"""Classes in the order of codes 0-7 [verified >10]: the vocabulary's own order."""

_NAMES: dict[object, str | None] = dict(enumerate(CLASSES)) | {8: None, 9: None, 10: None}
_STATUSES: dict[object, str | None] = {
    **dict.fromkeys(range(8), "ok"), 8: "none_of_these", 9: "uncertain", 10: "not_a_face"
}  # fmt: skip
_NOT_RATED, _TOLERANCE = -2.0, 1e-3
_TEXT = pa.string()

Where = Callable[[NDArray[np.bool_]], list[str]]
"""Names of the items of a mask, for rejects."""


@dataclass(frozen=True)
class Cells:
    """What the files of one release say about some items, as text; NULL where they say nothing.

    Args:
        where: Names items; takes the column that is at fault.
    """

    expression: pa.Array
    valence: pa.Array
    arousal: pa.Array
    where: Callable[[str, NDArray[np.bool_]], list[str]]

    def refuse(self, mask: NDArray[np.bool_], reject: Reject, reason: str, column: str) -> None:
        """Reject the items of a mask, quoting a column."""
        if mask.any():
            found = getattr(self, column).filter(pa.array(mask)).to_pylist()
            reject.many(self.where(column, mask), reason, (f"{column} {value!r:.80}" for value in found))


@dataclass(frozen=True)
class Said:
    """The same as values: one entry per item.

    Args:
        keep: Items with a code that AffectNet has, or none; the others have been refused whole.
        names: Class, NULL for the three codes that are none, and without a code.
        status: Value of `samples.face_status`.
    """

    keep: NDArray[np.bool_]
    names: pa.Array
    status: pa.Array
    valence: pa.Array
    arousal: pa.Array


def said(cells: Cells, reject: Reject) -> Said:
    """Classes and ratings of some items; what is no code, no number or out of range is refused."""
    codes, bad = integers(cells.expression)
    names, wrong = recoded(codes, _NAMES)
    cells.refuse(bad | wrong, reject, "unknown-code", "expression")
    ratings = [_rated(cells, column, ~(bad | wrong), reject) for column in ("valence", "arousal")]
    return Said(~(bad | wrong), names, recoded(codes, _STATUSES)[0], *ratings)


def _rated(cells: Cells, column: str, keep: NDArray[np.bool_], reject: Reject) -> pa.Array:
    """A column of ratings; -2, printed `-2` or `-2.000000`, is no rating."""
    values, bad = numbers(getattr(cells, column))
    values = pc.if_else(pc.less(pc.abs(pc.subtract(values, _NOT_RATED)), _TOLERANCE), None, values)
    outside = as_mask(pc.greater(pc.abs(values), 1.0))
    cells.refuse(bad & keep, reject, "bad-number", column)
    cells.refuse(outside & keep, reject, "out-of-range", column)
    return pc.cast(pc.if_else(pa.array(outside), None, values), pa.float32())


def points_column(points: NDArray[np.floating]) -> pa.Array:
    """Rows [N, 136] as landmarks; a row that holds anything but coordinates of a picture is NULL."""
    return vectors(np.where(plausible(points)[:, None], points, np.nan))


def bad_points(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Rows that hold something, and not 136 coordinates of a picture."""
    empty: NDArray[np.bool_] = np.isnan(points).all(axis=1)
    return ~plausible(points) & ~empty


def plausible(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Rows that hold nothing but coordinates of a picture."""
    inside: NDArray[np.bool_] = (np.abs(points) < 1e6).all(axis=1)  # NaN is not smaller
    return inside


def groups(names: pa.Array) -> pa.Array:
    """`affectnet:<hash>` for pictures with the hashed name of the original release; one picture may have several rows.

    The hash names the picture whatever its folder, suffix or release.
    """
    # 412/0f3c9a7be1d24458a6b07c1e9d3f5a6b8c2d4e6f1a3b5c7d9e0f1a2b.jpg
    found = pc.struct_field(pc.extract_regex(names, r"(?:^|/)(?P<hash>[0-9a-f]{56})\.[A-Za-z]+$"), "hash")
    return pc.binary_join_element_wise(pa.scalar("affectnet"), found, ":")


def padded(numbers_: Sequence[int] | NDArray[np.integer], folder: str) -> pa.Array:
    """Ids whose text order is that of the numbers: `<folder>/000123`."""
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers_, pa.int64()), _TEXT), 6, "0")
    return pc.binary_join_element_wise(pa.scalar(folder), digits, "/")


def roles(split: str, count: int) -> dict[str, pa.Array]:
    """The official protocol's share of a block: its split is its role; other splits take no part."""
    return {"official": pa.array([split] * count, _TEXT)} if split in ("train", "val") else {}
