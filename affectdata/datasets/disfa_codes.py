"""AU codes that stand one line per frame, `frame,code,...`: DISFA, BP4D and BP4D+. Every line is a row or a reject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.reading import Reject
from affectdata.datasets.text import as_mask, csv_table, decoded, integers

LAST_FRAME = 999_999
"""Far beyond any of these videos (the longest has 4,845 frames); larger numbers are no frames."""


@dataclass(frozen=True)
class Codes:
    """What one file says.

    Args:
        frames: int64 [N], rising, as the file numbers them.
        values: float32 [N, columns]; NaN is unknown.
        lines: Lines of the file, bad ones included.
        passed: Columns that were passed over, as they stand there: int64 [lines that have a frame, columns].
    """

    frames: NDArray[np.int64]
    values: NDArray[np.float32]
    lines: int
    passed: NDArray[np.int64]

    def at(self, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """The values of other frames, rising too: NaN where this file is silent."""
        found = np.full((len(frames), self.values.shape[1]), np.nan, np.float32)
        if len(self.frames) and len(frames):
            place = np.searchsorted(self.frames, frames).clip(max=len(self.frames) - 1)
            same = self.frames[place] == frames
            found[same] = self.values[place[same]]
        return found


@dataclass(frozen=True)
class Coding:
    """Which codes a file may hold: code -> value (NaN: unknown), and the reason to refuse another."""

    values: Mapping[int, float]
    reason: str

    def decoded(self, codes: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values of the codes, and where a code is none of ours."""
        top = max(self.values)
        table, known = np.full(top + 2, np.nan, np.float32), np.zeros(top + 2, dtype=bool)
        table[list(self.values)], known[list(self.values)] = list(self.values.values()), True
        place = np.where((codes < 0) | (codes > top), top + 1, codes)
        return table[place], ~known[place]


def read_codes(
    data: bytes, names: Sequence[str | None], coding: Coding, about: str, reject: Reject, *, first: int = 1
) -> Codes:
    """Codes of each frame.

    Args:
        data: Lines without a header: the frame, then one code for each name.
        names: Columns after the frame; None passes one over.
        coding: What the codes mean.
        about: Name of the file for messages.
        reject: Takes lines that cannot be read, frames below 1 (`out-of-range`; all lines of a file that begins with
            frame 0, whose numbers must be another count), unknown codes (their cell is unknown), and lines that
            repeat a frame; cells on which such lines differ are unknown.
        first: Number of the first line, for messages.
    """
    # 721,0,0,9,0,0,1,1,9,0,1,...,9
    wanted = [place for place, name in enumerate(names) if name is not None]
    lines, line, cells = _cells(data, len(names) + 1, about, reject, first)
    frames = cells[:, 0]
    stray = (frames < 1) | (frames > LAST_FRAME) | (frames[:1] == 0).any()
    where = (f"{about} line {number}" for number in line[stray])
    reject.many(where, "out-of-range", (f"frame {frame}, counted from 1" for frame in frames[stray]))
    kept = ~stray
    frames, line, codes = frames[kept], line[kept], cells[kept, 1:]
    passed = np.delete(codes, wanted, axis=1)
    codes = codes[:, wanted]
    values, unknown = coding.decoded(codes)
    for row, column in np.argwhere(unknown):
        detail = f"{names[wanted[column]]} of frame {frames[row]} is {codes[row, column]}"
        reject(f"{about} line {line[row]}", coding.reason, detail)
    return Codes(*_once(frames, values, line, about, reject), lines, passed)


def _cells(
    data: bytes, columns: int, about: str, reject: Reject, first: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Number of lines; number and int64 cells [N, columns] of those that hold nothing but integers."""
    before = len(reject)
    table = csv_table(data, about, reject, names=[f"column {place}" for place in range(columns)])
    lines = len(table.rows) + len(reject) - before
    # All columns at once, and each text once: a file has up to a hundred columns of few codes.
    encoded = pa.concat_arrays(list(table.columns.values())).dictionary_encode()
    values = integers(encoded.dictionary)[0].take(encoded.indices)
    cells = values.fill_null(0).to_numpy(zero_copy_only=False).reshape(columns, -1).T
    unread = ~as_mask(values.is_valid()).reshape(columns, -1).all(axis=0)
    line = table.rows + first
    where = (f"{about} line {number}" for number in line[unread])
    reject.many(where, "bad-number", ("a cell that is no integer" for _ in range(int(unread.sum()))))
    return lines, line[~unread], cells[~unread]


def cut_header(data: bytes) -> tuple[tuple[str, ...], bytes]:
    """Cells of the first line, stripped, and the lines after it."""
    first, _, rest = decoded(data).lstrip("\r\n").partition("\n")
    return tuple(cell.strip() for cell in first.split(",")), rest.encode()


def _once(
    frames: NDArray[np.int64], values: NDArray[np.float32], line: NDArray[np.int64], about: str, reject: Reject
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each frame once, rising."""
    order = np.argsort(frames, kind="stable")
    frames, values, line = frames[order], values[order], line[order]
    again = np.concatenate([[False], frames[1:] == frames[:-1]]) if len(frames) else np.zeros(0, dtype=bool)
    if not again.any():
        return frames, values
    first = np.maximum.accumulate(np.where(again, 0, np.arange(len(frames))))
    for row in np.flatnonzero(again):
        one, other = values[first[row]], values[row]
        unlike = (one != other) & ~(np.isnan(one) & np.isnan(other))
        reason = "conflicting-duplicate" if unlike.any() else "duplicate-key"
        reject(f"{about} line {line[row]}", reason, f"frame {frames[row]} again")
        one[unlike] = np.nan
    return frames[~again], values[~again]
