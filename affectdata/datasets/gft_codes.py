"""One CSV of GFT: frame numbers and AU codes by the dataset page's description, which nobody could verify."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.text import CsvTable, as_mask, csv_table, decoded, header, integers, numbers
from manifests.errors import DatasetError
from manifests.vocabulary import AUS

FRAMES = 1800
MISSING = (9, -999)
HIGHEST = {"occurrence": 1, "intensity": 5}

Coded = tuple[NDArray[np.int64], Mapping[int, NDArray[np.float64]]]
"""Frame numbers, each once and ascending, and AU -> code of each; NaN is unknown."""


def read_file(folder: Folder, path: str, kind: str, reject: Reject) -> Coded:
    """The codes of one participant and kind; `kind` is a key of `HIGHEST`.

    Raises:
        DatasetError: A header without AUs, or neither a header nor a fitting option `columns`.
    """
    return folder.parsed(path, _coded, path, kind, folder.options["columns"], reject)


def _coded(data: bytes, path: str, kind: str, given: str, reject: Reject) -> Coded:
    # frame,AU1,AU2,AU4,AU5,AU6,...             (invented, layout [unverified])
    # 1,0,0,0,0,1,...
    # 2,0,0,0,9,1,...
    body, columns = _body(data, path, given, reject)
    width = len(header(data))
    table = csv_table(body, path, reject, names=[str(place) for place in range(width)])
    frames, bad = integers(table.columns["0"])
    keep = table.refuse(bad | as_mask(pc.is_null(frames)), reject, "bad-number", "0")
    outside = as_mask(pc.or_(pc.less(frames, 1), pc.greater(frames, FRAMES)))
    keep &= table.refuse(outside, reject, "out-of-range", "0")
    table = table.filter(keep)
    return _once(table, integers(table.columns["0"])[0].to_numpy(), _codes(table, columns, kind, reject), reject)


def _codes(table: CsvTable, columns: Mapping[int, str], kind: str, reject: Reject) -> dict[int, NDArray[np.float64]]:
    found = {}
    for au, column in columns.items():
        values, bad = numbers(table.columns[column])
        table.refuse(bad, reject, "bad-number", column)
        codes = values.to_numpy(zero_copy_only=False).astype(float)
        codes[np.isin(codes, MISSING)] = np.nan
        wrong = (codes < 0) | (codes > HIGHEST[kind]) | ((kind == "occurrence") & (codes % 1 != 0) & ~np.isnan(codes))
        table.refuse(wrong, reject, "unknown-code", column)
        codes[wrong] = np.nan
        found[au] = codes
    return found


def _once(
    table: CsvTable, frames: NDArray[np.int64], codes: Mapping[int, NDArray[np.float64]], reject: Reject
) -> Coded:
    """Each frame once; where its rows differ in an AU, it keeps no code at all."""
    unique, first, place = np.unique(frames, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[place] != np.arange(len(frames)))
    unlike = np.zeros(len(again), dtype=bool)
    for values in codes.values():
        a, b = values[again], values[first[place[again]]]
        unlike |= (a != b) & ~np.isnan(a) & ~np.isnan(b)
    for reason, mask in (("conflicting-duplicate", unlike), ("duplicate-key", ~unlike)):
        rows = again[mask]
        reject.many(table.where(rows), reason, (f"frame {frame}" for frame in frames[rows]))
    kept = {au: values[first] for au, values in codes.items()}
    for values in kept.values():
        values[place[again[unlike]]] = np.nan
    return unique, kept


def _body(data: bytes, path: str, listed: str, reject: Reject) -> tuple[bytes, dict[int, str]]:
    """The data lines of a file, and AU -> number of its column; from the header, or else from `--columns`."""
    cells = header(data)
    if _is_header(cells):
        columns: dict[int, str] = {}
        for place, cell in enumerate(cells[1:], start=1):
            au = _au(cell)
            if au is None or au in columns:
                reject(path, "unknown-header", f"column {place + 1} {cell!r:.60}")
            else:
                columns[au] = str(place)
        if columns:
            return _after_header(data), columns
        raise DatasetError(f"{path} names no AU (unknown-header)", found=", ".join(cells)[:200],
                           expected="a frame number, then columns such as AU1, AU01 or 1")  # fmt: skip
    given = [whole_number("columns", cell) for cell in listed.split(",") if cell.strip()]
    if len(given) != len(cells) - 1 or len(set(given)) != len(given) or not set(given) <= set(AUS):
        raise DatasetError(
            f"{path} has no header, and --columns does not say what its columns are (no-column-map)",
            found=f"{len(cells) - 1} columns after the frame, {len(given)} numbers in --columns",
            expected="one AU number for each column, each once",
            then="affect ingest gft PATH --columns 1,2,4,...",
        )
    return data, {au: str(place) for place, au in enumerate(given, start=1)}


def _after_header(data: bytes) -> bytes:
    """What follows the first line that is not blank."""
    rest = data
    while rest:
        line, _, rest = rest.partition(b"\n")
        if decoded(line).strip():
            return rest
    return b""


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a first line names columns: its first cell is no number, or AU numbers ascend beyond any code."""
    if not _is_number(cells[0]):
        return True
    aus = [_au(cell) or 0 for cell in cells[1:]]
    ascend = all(a < b for a, b in pairwise(aus))
    return bool(aus) and min(aus) > 0 and ascend and any(au > HIGHEST["intensity"] and au not in MISSING for au in aus)


def looks_right(folder: Folder, path: str) -> bool:
    """Whether the first line names AUs, or holds numbers alone."""
    try:
        cells = header(folder.head(path))
    except DatasetError:
        return False
    if len(cells) < 2:
        return False
    named = _is_header(cells) and any(_au(cell) for cell in cells[1:])
    return named or all(_is_number(cell) or cell.lower() in ("", "nan") for cell in cells)


def _au(cell: str) -> int | None:
    match = re.fullmatch(r"(?i)\s*(?:AU)?\s*0*([0-9]{1,2})\s*", cell)
    return int(match[1]) if match and int(match[1]) in AUS else None


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[+-]?[0-9]+(\.[0-9]*)?\s*", cell) is not None


def whole_number(option: str, text: str) -> int:
    """The number in an option.

    Raises:
        DatasetError: It is none.
    """
    if re.fullmatch(r"\s*[0-9]{1,6}\s*", text):
        return int(text)
    raise DatasetError(f"--{option}", found=repr(text), expected="whole numbers from 0 on")
