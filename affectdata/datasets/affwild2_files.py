"""Annotation files of Aff-Wild2 as label columns: one line per frame, or for MTL one line per listed picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.frame_lines import cut_header, frame_lines
from affectdata.datasets.reading import Reject
from affectdata.datasets.text import as_mask, csv_table, integers, numbers
from manifests.vocabulary import au_column

CLASSES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
"""Classes in the order of the codes [verified >10]; `other` only where the header names it."""

AUS12 = (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)
AUS8 = (1, 2, 4, 6, 12, 15, 20, 25)

VA_HEADER = ("valence", "arousal")
EXPR_HEADERS = {tuple(name.title() for name in CLASSES[:count]): CLASSES[:count] for count in (7, 8)}
AU_HEADERS = {tuple(f"AU{au}" for au in aus): aus for aus in (AUS8, AUS12)}
MTL_HEADER = ("image", "valence", "arousal", "expression", "aus")
_HEADERS: Mapping[str, Mapping[tuple[str, ...], tuple[object, ...]]] = {
    "va": {VA_HEADER: VA_HEADER},
    "expression": EXPR_HEADERS,
    "au": AU_HEADERS,
    "mtl": {MTL_HEADER: AUS12},
}
"""Task -> header -> what it announces."""

_MTL_FIELDS = (*MTL_HEADER[:4], *(f"AU{au}" for au in AUS12))


@dataclass(frozen=True)
class Marks:
    """What one file says of one track: labels by frame number.

    Args:
        numbers: Frame numbers as the dataset counts them, from 1, ascending, without repeats.
        labels: Label columns, a row per number.
    """

    numbers: NDArray[np.int64]
    labels: pa.Table

    @property
    def known(self) -> NDArray[np.int64]:
        """Numbers of the frames with any label."""
        says = np.zeros(len(self.numbers), dtype=bool)
        for column in self.labels.columns:
            says |= as_mask(pc.is_valid(column))
        return self.numbers[says]

    def at(self, numbers: NDArray[np.int64]) -> pa.Table:
        """The labels of some frames, NULL for those that the file does not have."""
        if np.array_equal(numbers, self.numbers):
            return self.labels
        place = np.searchsorted(self.numbers, numbers)
        there = np.append(self.numbers, -1)[place] == numbers
        return self.labels.take(pa.array(place, mask=~there))


def known_header(task: str, header: tuple[str, ...]) -> bool:
    """Whether a file of that task may begin so; names are compared without case."""
    return header_of(task, header) is not None


def header_of(task: str, header: tuple[str, ...]) -> tuple[object, ...] | None:
    """What a header announces: the names of VA, the classes of EXPR in order, or the AUs; None for another header."""
    known = _HEADERS[task]
    lower = {tuple(name.lower() for name in names): said for names, said in known.items()}
    return lower.get(tuple(name.lower() for name in header))


@dataclass(frozen=True)
class _Lines:
    """Where the rows of a file stand in it, so that a refusal names the line."""

    about: str
    numbers: NDArray[np.int64]
    reject: Reject

    def refuse(self, mask: NDArray[np.bool_], reason: str, name: str, values: NDArray[np.generic]) -> None:
        rows = np.flatnonzero(mask)
        where = (f"{self.about} line {number}" for number in self.numbers[rows].tolist())
        self.reject.many(where, reason, (f"{name} {value:g}" for value in values[rows].tolist()))


def read_track(data: bytes, task: str, announced: tuple[object, ...], about: str, reject: Reject) -> Marks | None:
    """One file of one track and task: data line k is frame number k. None, with a reject, for another header."""
    # valence,arousal        Neutral,Anger,...,Other        AU1,AU2,AU4,...,AU26
    # -0.063,0.3             7                              0,0,1,0,1,0,0,0,0,0,1,0
    # -5,-5                  -1                             -1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1
    header, lines = cut_header(data)
    if header_of(task, header) != announced:
        reject(about, "unknown-header", ",".join(header)[:200])
        return None
    kind, names = pa.int32(), [au_column(int(str(au))) for au in announced] if task == "au" else ["expression"]
    if task == "va":
        kind, names = pa.float32(), list(VA_HEADER)
    table = frame_lines(lines, names, kind, about, reject, first=2)
    numbers = np.arange(1, table.num_rows + 1)
    return Marks(numbers, _labels(table, announced, _Lines(about, numbers + 1, reject)))


def read_mtl(data: bytes, about: str, reject: Reject) -> dict[str, Marks]:
    """A multi-task list: track -> its listed pictures. A repeated line counts once; of unlike ones, none does."""
    # image,valence,arousal,expression,aus                       five names, but sixteen fields a line
    # 128/00019.jpg,0.14,0.21,-1,0,0,0,1,0,0,1,0,0,0,1,0
    # video7/00104.jpg,-5.0,-5.0,0,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1
    _, lines = cut_header(data)
    # Behind a line end a byte order mark is data: only at the start of a file is it none.
    table = csv_table(b"\n" + lines, about, reject, names=_MTL_FIELDS)
    image = pc.fill_null(pc.utf8_trim_whitespace(table.columns["image"]), "")
    named = as_mask(pc.match_substring_regex(image, r"^[^/]+/[0-9]{5}\.jpg$"))
    table = table.filter(table.refuse(~named, reject, "bad-name", "image"))
    image = image.filter(pa.array(named))
    columns = {}
    for name in _MTL_FIELDS[1:]:
        values, bad = (numbers if name in VA_HEADER else integers)(table.columns[name])
        table.refuse(bad, reject, "bad-number", name)
        columns[name] = pc.cast(values, pa.float32()) if name in VA_HEADER else values
    names = [*VA_HEADER, "expression", *map(au_column, AUS12)]
    typed = pa.table(dict(zip(names, columns.values(), strict=True)))
    labels = _labels(typed, CLASSES, _Lines(about, table.rows + 2, reject))
    order = pc.sort_indices(image)
    return _by_track(image.take(order), labels.take(order), about, reject)


def _by_track(image: pa.Array, labels: pa.Table, about: str, reject: Reject) -> dict[str, Marks]:
    """Sorted pictures and their labels -> track -> marks."""
    if not len(image):
        return {}
    again = np.append(False, as_mask(pc.equal(image.slice(1), image.slice(0, len(image) - 1))))
    first = np.maximum.accumulate(np.where(again, 0, np.arange(len(image))))
    unlike = np.zeros(len(image), dtype=bool)
    for column in labels.columns:
        values = column.combine_chunks()
        other = values.take(pa.array(first))
        same = pc.or_(pc.fill_null(pc.equal(values, other), False), pc.and_(pc.is_null(values), pc.is_null(other)))
        unlike |= ~as_mask(same)
    for mask, reason in ((again & unlike, "conflicting-duplicate"), (again & ~unlike, "duplicate-key")):
        names = image.filter(pa.array(mask)).to_pylist()
        reject.many((f"{about} {name}" for name in names), reason, ("the picture is listed again" for _ in names))
    keep = ~again & ~np.isin(np.arange(len(image)), first[unlike])
    image, labels = image.filter(pa.array(keep)), labels.filter(pa.array(keep))
    tracks = pc.replace_substring_regex(image, "/.*$", "")
    number = pc.cast(pc.utf8_slice_codeunits(image, -9, -4), pa.int64()).to_numpy()
    starts = np.flatnonzero(np.append(True, as_mask(pc.not_equal(tracks.slice(1), tracks.slice(0, len(tracks) - 1)))))
    ends = np.append(starts[1:], len(tracks))
    return {
        tracks[int(start)].as_py(): Marks(number[start:end], labels.slice(start, end - start))
        for start, end in zip(starts, ends, strict=True)
        if end > start
    }


def _labels(table: pa.Table, classes: tuple[object, ...], lines: _Lines) -> pa.Table:
    """Codes as labels: -5 in either field of VA, -1 of EXPR and of each AU are unknown."""
    columns: dict[str, pa.Array] = {}
    values = {
        name: _filled(column, -5 if name in VA_HEADER else -1)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    if affect := {name: values.pop(name) for name in VA_HEADER if name in values}:
        unknown = np.logical_or(*(column == -5 for column in affect.values()))
        for name, column in affect.items():
            outside = (np.abs(column) > 1) & ~unknown
            lines.refuse(outside, "out-of-range", name, column)
            unknown |= outside
        columns |= {name: pa.array(column, mask=unknown) for name, column in affect.items()}
    for name, column in values.items():
        names = classes if name == "expression" else ("absent", "present")
        unknown = column < 0
        if len(column) and not -1 <= column.min() <= column.max() < len(names):
            wrong = (column < -1) | (column >= len(names))
            lines.refuse(wrong, "unknown-code", name, column)
            unknown |= wrong
        if name == "expression":
            columns[name] = pa.array(names, pa.string()).take(pa.array(column, mask=unknown))
        else:
            columns[name] = pa.array(np.where(unknown, 0, column).astype(np.int8), mask=unknown)
    return pa.table(columns)


def _filled(column: pa.ChunkedArray, unknown: int) -> NDArray[np.float32 | np.int32]:
    values: NDArray[np.float32 | np.int32] = (pc.fill_null(column, unknown) if column.null_count else column).to_numpy()
    return values
