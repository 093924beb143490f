"""Columns of a user's table as typed values: missing marks and codes applied, what does not fit refused by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.points import read_pts
from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.text import CsvTable, as_mask, numbers
from manifests.errors import DatasetError, UnknownNameError
from manifests.vocabulary import Vocabulary

_UNKNOWN = r"(?i)^\s*(nan|na|n/a|null|none)?\s*$"
_NUMERIC = r"^\s*[+-]?[0-9]+(\.0*)?\s*$"


@dataclass(frozen=True)
class Cells:
    """The cells of one table.

    Args:
        table: Columns of text.
        missing: Column, or `*` -> cells that mean unknown.
        codes: Column -> cell -> what it stands for.
        reject: Takes cells that do not fit; their sample stays, with NULL there.
    """

    table: CsvTable
    missing: Mapping[str, Sequence[str | float | int]]
    codes: Mapping[str, Mapping[str, str]]
    reject: Reject

    def text(self, column: str) -> pa.Array:
        """Trimmed text; unknown is NULL.

        Raises:
            DatasetError: The table has no such column, or its cells have no entry in the column's code table.
        """
        cells = pc.utf8_trim_whitespace(self._column(column))
        marks = [*self.missing.get(column, ()), *self.missing.get("*", ())]
        absent = pc.or_(pc.match_substring_regex(cells, _UNKNOWN), self._marked(cells, marks))
        return self._decoded(column, pc.if_else(absent, pa.scalar(None, pa.string()), cells))

    def require(self, columns: Iterable[str]) -> None:
        """Refuse a map that speaks of columns that the table has not.

        Raises:
            UnknownNameError: Names the nearest columns.
        """
        for column in columns:
            self._column(column)

    def number(self, column: str, low: float, high: float, *, whole: bool = False) -> pa.Array:
        """float64 in a closed range; cells that are no number or lie outside are refused."""
        values, bad = numbers(self.text(column))
        self._refuse(bad, "bad-number", column)
        outside = as_mask(pc.or_(pc.less(values, low), pc.greater(values, high)))
        if whole:
            outside |= as_mask(pc.not_equal(values, pc.floor(values)))
        self._refuse(outside, "out-of-range", column)
        return pc.if_else(pa.array(outside), None, values)

    def matrix(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """Several number columns side by side [N, columns]; unknown, and a column without name, is NaN."""
        values = np.full((len(self.table.rows), len(columns)), np.nan)
        for place, column in enumerate(columns):
            if column:
                values[:, place] = self.number(column, -1e6, 1e6).to_numpy(zero_copy_only=False)
        return values

    def names(self, column: str, vocabulary: Vocabulary) -> pa.Array:
        """Names of a vocabulary by any spelling of them.

        Raises:
            DatasetError: The cells are integers and no code table says what they mean.
        """
        cells = self.text(column)
        found = [str(cell) for cell in pc.unique(cells).drop_null().to_pylist()]
        if found and column not in self.codes and all(cell.lstrip("+-").replace(".", "").isdigit() for cell in found):
            raise DatasetError(
                f"{self.table.about}: column {column} holds codes, and no table says what they mean (no-code-table)",
                found=", ".join(sorted(found)[:20]),
                expected=f"names of {', '.join(vocabulary.names)}",
                then=f"add [codes.{column}] to the map, with one line per code",
            )
        names = {}
        for cell in found:
            try:
                names[cell] = vocabulary.canonical(cell)
            except UnknownNameError:
                continue
        return self._renamed(cells, names, "unknown-code", column)

    def mapped(self, column: str, names: Mapping[str, str], reason: str) -> pa.Array:
        """What each cell stands for; cells that are not in the table are refused for `reason`."""
        return self._renamed(self.text(column), names, reason, column)

    def pts(self, column: str, folder: Folder, base: int) -> NDArray[np.float64]:
        """68 points [N, 136] from `.pts` files that a column names; an empty cell is NaN."""
        points = np.full((len(self.table.rows), 136), np.nan)
        for row, path in enumerate(self.text(column).to_pylist()):
            if path is None:
                continue
            if path not in folder.files:
                self.reject(self.table.where([row])[0], "missing-annotation", path)
            elif (found := folder.parsed(path, read_pts, path, self.reject, base=base)) is not None:
                points[row] = found.ravel()
        return points

    def _column(self, name: str) -> pa.Array:
        if name not in self.table.columns:
            raise UnknownNameError(f"column of {self.table.about}", name, self.table.columns, "mend the map")
        return self.table.columns[name]

    def _marked(self, cells: pa.Array, marks: Sequence[str | float | int]) -> pa.Array:
        """Cells that equal a mark as text, or as a number where both are numbers (-5 and -5.0)."""
        same = pc.is_in(cells, value_set=pa.array([str(mark) for mark in marks], pa.string()))
        wanted = [float(mark) for mark in marks if not isinstance(mark, str)]
        if not wanted:
            return same
        return pc.or_(same, pc.is_in(numbers(cells)[0], value_set=pa.array(wanted, pa.float64())))

    def _decoded(self, column: str, cells: pa.Array) -> pa.Array:
        table = self.codes.get(column)
        if table is None:
            return cells
        # A code column that went through a spreadsheet or pandas holds 3.0 for 3.
        whole = pc.match_substring_regex(cells, _NUMERIC)
        keys = pc.if_else(whole, pc.replace_substring_regex(cells, r"\.0*$", ""), cells)
        return self._renamed(keys, table, "unknown-code", column)

    def _renamed(self, cells: pa.Array, names: Mapping[str, str], reason: str, column: str) -> pa.Array:
        index = pc.index_in(cells, value_set=pa.array(list(names), pa.string()))
        self._refuse(as_mask(pc.and_(pc.is_null(index), pc.is_valid(cells))), reason, column)
        return pa.array(list(names.values()), pa.string()).take(index)

    def _refuse(self, mask: NDArray[np.bool_], reason: str, column: str) -> None:
        self.table.refuse(mask, self.reject, reason, column)
