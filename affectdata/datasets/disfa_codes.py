"""AU codes that stand one line per frame, `frame,code,...`: DISFA, BP4D and BP4D+. Every line is a row or a reject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.frame_lines import frame_lines
from affectdata.datasets.reading import Reject

LAST_FRAME = 999_999
"""Far beyond any of these videos (the longest has 4,845 frames); larger numbers are no frames."""

_BOM = b"\xef\xbb\xbf"


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
        reject: Takes lines that cannot be read, frames below 1 (`out-of-range`), unknown codes (their cell is unknown),
            and lines that repeat a frame; cells on which such lines differ are unknown.
        first: Number of the first line, for messages.
    """
    # 721,0,0,9,0,0,1,1,9,0,1,...,9
    columns = ("frame", *(f"column {place}" for place in range(1, len(names) + 1)))
    table = frame_lines(data.removeprefix(_BOM), columns, pa.int32(), about, reject, first)
    wanted = [place for place, name in enumerate(names) if name is not None]
    line = np.arange(first, first + table.num_rows)
    cells = np.stack([column.fill_null(-1).to_numpy() for column in table.columns], axis=1).astype(np.int64)
    read = np.asarray(table.column("frame").is_valid())
    frames = cells[:, 0]
    stray = read & ((frames < 1) | (frames > LAST_FRAME))
    where = (f"{about} line {number}" for number in line[stray])
    reject.many(where, "out-of-range", (f"frame {frame}" for frame in frames[stray]))
    kept = read & ~stray
    frames, line, codes = frames[kept], line[kept], cells[kept, 1:]
    passed = np.delete(codes, wanted, axis=1)
    codes = codes[:, wanted]
    values, unknown = coding.decoded(codes)
    for row, column in np.argwhere(unknown):
        detail = f"{names[wanted[column]]} of frame {frames[row]} is {codes[row, column]}"
        reject(f"{about} line {line[row]}", coding.reason, detail)
    return Codes(*_once(frames, values, line, about, reject), table.num_rows, passed)


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
