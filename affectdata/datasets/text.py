"""Parsers that readers share: lines, CSV columns, integers, numbers. Every line ends as a row or as a reject."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from affectdata.datasets.reading import Reject
from manifests.errors import DatasetError

REPLACED = "\ufffd"
"""Stands for bytes that are no UTF-8; a path that holds it is refused as `bad-name`."""

MAX_BYTES = 2**31 - 128
"""Largest text that is parsed at once: Arrow counts the bytes of a block in 32 bits."""

_OPEN = "a quote that is not closed: "

_INTEGER = r"^\s*[+-]?[0-9]{1,15}(\.0*)?\s*$"
_NUMBER = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$"
_UNKNOWN = r"(?i)^\s*(nan|na|n/a|null|none)?\s*$"


def decoded(data: bytes) -> str:
    """Text of an annotation file: UTF-8 with or without a byte order mark; other bytes become U+FFFD."""
    return data.decode("utf-8-sig", "replace")


def lines(data: bytes) -> Iterator[tuple[int, str]]:
    """1-based number and text of every line that is not blank; LF, CRLF and a missing last newline are the same."""
    for number, line in enumerate(decoded(data).replace("\r\n", "\n").split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


@dataclass(frozen=True)
class CsvTable:
    """A CSV file as columns of text.

    Args:
        columns: Column name (stripped) -> text; an empty cell is NULL.
        rows: 0-based number of each data row in the file, counted over all rows that are not blank, so that rows
            that were refused leave gaps.
        about: Name of the file for messages.
    """

    columns: Mapping[str, pa.Array]
    rows: NDArray[np.int64]
    about: str

    def where(self, rows: Iterable[int]) -> list[str]:
        """Names of some rows, for rejects."""
        return [f"{self.about} row {self.rows[row]}" for row in rows]

    def refuse(self, mask: NDArray[np.bool_], reject: Reject, reason: str, column: str) -> NDArray[np.bool_]:
        """Reject the rows of a mask, quoting a column; returns the mask of the rows that are left."""
        if mask.any():
            found = self.columns[column].filter(pa.array(mask)).to_pylist()
            reject.many(self.where(np.flatnonzero(mask)), reason, (f"{column} {value!r:.80}" for value in found))
        return ~mask

    def filter(self, mask: NDArray[np.bool_]) -> CsvTable:
        """The rows of a mask."""
        columns = {name: column.filter(pa.array(mask)) for name, column in self.columns.items()}
        return CsvTable(columns, self.rows[mask], self.about)

    def take(self, rows: NDArray[np.integer]) -> CsvTable:
        """Some rows, by their position in this table."""
        columns = {name: column.take(pa.array(rows)) for name, column in self.columns.items()}
        return CsvTable(columns, self.rows[rows], self.about)


def header(data: bytes, delimiter: str = ",") -> list[str]:
    """Names in the first line that is not blank, stripped. Reads no further than 64 kB."""
    first = next((line for _, line in lines(data[:65_536])), "")
    return _fields(first, delimiter)


def csv_table(
    data: bytes, about: str, reject: Reject, *, names: Sequence[str] | None = None, delimiter: str = ","
) -> CsvTable:
    """Parse a whole CSV file held in memory. A cell never spans lines: of any bytes, each line is a row or a reject.

    Args:
        data: Content of the file.
        about: Name of the file for messages.
        reject: Takes rows with too many or too few fields, or a quote that is not closed, as `bad-field-count`.
        names: Column names of a file without a header; by default the first line holds them.

    Raises:
        DatasetError: No header, a repeated name in it, text that is no CSV at all, or more than 2 GiB of it.
    """
    text = decoded(data).lstrip("\r\n")
    if names is None:
        first, _, text = _cut_line(text)
        names = _fields(first, delimiter)
    check_names(names, about)
    return _parsed(text, names, delimiter, about, reject)


def csv_pieces(file: BinaryIO, about: str, reject: Reject, size: int = 1 << 24) -> Iterator[CsvTable]:
    """Parse a CSV file with a header that need not fit into memory, some rows at a time; see `csv_table`.

    Args:
        file: The file, at its start.
        about: Name of the file for messages.
        reject: Takes rows with a wrong number of fields.
        size: Bytes to read at a time.
    """
    names: list[str] = []
    done = 0
    for piece in _line_pieces(file, size):
        text = piece.decode("utf-8", "replace") if names else decoded(piece)
        if not names:
            first, _, text = _cut_line(text.lstrip("\r\n"))
            if not first:
                continue
            names = _fields(first, ",")
            check_names(names, about)
        before = len(reject)
        table = _parsed(text, names, ",", about, reject, done)
        done += len(table.rows) + len(reject) - before
        yield table


def _line_pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The bytes of a file in pieces that end where a line does."""
    rest: list[bytes] = []
    while data := file.read(size):
        lines_end = data.rfind(b"\n") + 1
        if lines_end:
            yield b"".join((*rest, data[:lines_end]))
            rest = []
        rest.append(data[lines_end:])
    if any(rest):
        yield b"".join(rest)


def _parsed(text: str, names: Sequence[str], delimiter: str, about: str, reject: Reject, start: int = 0) -> CsvTable:
    body = _closed(text, delimiter, len(names)).encode("utf-8", "replace")
    if body.startswith(codecs.BOM_UTF8):
        body = codecs.BOM_UTF8 + body  # Arrow takes one away, and this one is data
    if len(body) > MAX_BYTES:
        raise DatasetError(
            f"{about} is too large to be parsed as one table",
            found=f"{len(body):,} bytes",
            expected=f"at most {MAX_BYTES:,}",
            then="write it as Parquet, or leave out columns that are not needed",
        )
    refused: list[tuple[int, str]] = []
    try:
        table = pa_csv.read_csv(
            io.BytesIO(body),
            # One block, so that row numbers are exact.
            read_options=pa_csv.ReadOptions(column_names=list(names), use_threads=False, block_size=len(body) + 64),
            parse_options=_parse_options(delimiter, refused),
            convert_options=convert_options(names),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise DatasetError(f"{about} cannot be parsed as CSV", found=str(error)) from None
        table = pa.table({name: pa.array([], pa.string()) for name in names})
    where = (f"{about} row {start + row}" for row, _ in refused)
    reject.many(where, "bad-field-count", (detail for _, detail in refused))
    rows = start + _kept_rows(table.num_rows, [row for row, _ in refused])
    return CsvTable({name: table.column(name).combine_chunks() for name in names}, rows, about)


def _closed(text: str, delimiter: str, columns: int) -> str:
    """The text with LF line ends, and lines whose quotes do not close made unfit for `columns` columns.

    Arrow would let an open quote swallow all lines up to the next quote. No dataset has line ends in cells.
    """
    text = text.replace("\r\n", "\n").removesuffix("\r").replace("\r", " ")
    if '"' not in text:
        return text
    other = f"[^{delimiter}]*+"
    field = rf'(?:"[^"]*+(?:""[^"]*+)*+"{other}|[^"{delimiter}]{other}|)'
    whole = re.compile(f"{field}(?:{delimiter}{field})*+")
    return "\n".join(
        line if '"' not in line or whole.fullmatch(line) else _OPEN + line[:200].replace('"', "'") + delimiter * columns
        for line in text.split("\n")
    )


def _parse_options(delimiter: str, refused: list[tuple[int, str]]) -> pa_csv.ParseOptions:
    """Arrow options that collect the 0-based number of every row with a wrong field count, and what is wrong."""

    def skip(row: pa_csv.InvalidRow) -> str:
        fields = "" if row.text.startswith(_OPEN) else f"{row.actual_columns} fields: "
        refused.append((row.number - 1, fields + row.text[:200]))
        return "skip"

    return pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip, newlines_in_values=False)


def convert_options(names: Iterable[str]) -> pa_csv.ConvertOptions:
    """Arrow options that keep every column as text, an empty cell as NULL."""
    types = {name: pa.string() for name in names}
    return pa_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)


def _kept_rows(count: int, refused: Sequence[int]) -> NDArray[np.int64]:
    """Row numbers in the file of `count` rows that were kept, given those that were refused."""
    everything = np.arange(count + len(refused), dtype=np.int64)
    return np.delete(everything, [row for row in refused if row < len(everything)])[:count]


def check_names(names: Sequence[str], about: str) -> None:
    """Raise `DatasetError` for a header that is empty or repeats a name."""
    if not any(names):
        raise DatasetError(f"{about} has no header", found="an empty first line", expected="column names")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DatasetError(f"{about} repeats column names", found=", ".join(map(repr, repeated)))


def integers(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Text as int64 (`3` and `3.0` alike) and a mask of cells that are neither an integer nor unknown.

    Empty cells and `nan`, `NA`, `null`, `none` are NULL.
    """
    whole, bad = _typed(column, _INTEGER)
    return pc.cast(pc.replace_substring_regex(whole, r"\.0*$", ""), pa.int64()), bad


def numbers(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Text as float64 and a mask of cells that are neither a finite number nor unknown."""
    whole, bad = _typed(column, _NUMBER)
    values = pc.cast(whole, pa.float64())
    infinite = pc.fill_null(pc.invert(pc.is_finite(values)), False)
    return pc.if_else(infinite, None, values), bad | as_mask(infinite)


def recoded(values: pa.Array, codes: Mapping[object, str | None]) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Names for codes, and a mask of codes that are not in the table. A code that stands for None is NULL."""
    keys = pa.array(list(codes), values.type)
    index = pc.index_in(values, value_set=keys)
    known = pa.array(list(codes.values()), pa.string())
    return pc.take(known, index), as_mask(pc.and_(pc.is_null(index), pc.is_valid(values)))


def as_mask(array: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """A boolean Arrow array as numpy; NULL is False."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    known = pc.fill_null(array, False) if array.null_count else array
    mask: NDArray[np.bool_] = known.to_numpy(zero_copy_only=False).astype(bool, copy=False)
    return mask


def _typed(column: pa.Array, pattern: str) -> tuple[pa.Array, NDArray[np.bool_]]:
    unknown = pc.fill_null(pc.match_substring_regex(column, _UNKNOWN), True)
    right = pc.fill_null(pc.match_substring_regex(column, pattern), False)
    bad = as_mask(pc.invert(pc.or_(unknown, right)))
    text = pc.if_else(right, column, pa.scalar(None, pa.string()))
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(text), r"^\+", ""), bad


def _cut_line(text: str) -> tuple[str, str, str]:
    line, newline, rest = text.partition("\n")
    return line.rstrip("\r"), newline, rest


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise DatasetError("a header that is no CSV", found=f"{line[:80]!r}: {error}") from None
    return [name.strip() for name in row]
