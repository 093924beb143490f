"""Numbers that stand one line per video frame: millions of lines, parsed by Arrow with one call per file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from affectdata.datasets.reading import Reject
from affectdata.datasets.text import MAX_BYTES
from manifests.errors import DatasetError

_INTEGER = re.compile(rb"[+-]?[0-9]{1,9}(\.0*)?")
_NUMBER = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_LINE_END = re.compile(rb"\r\n|\r|\n")


def cut_header(data: bytes) -> tuple[tuple[str, ...], bytes]:
    """Names in the first line, stripped, and the lines after it; UTF-8 with or without a byte order mark."""
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    end = _LINE_END.search(data)
    first, rest = (data[: end.start()], data[end.end() :]) if end else (data, b"")
    return tuple(name.strip() for name in first.decode("utf-8", "replace").split(",")), rest


def frame_lines(
    data: bytes, names: Sequence[str], kind: pa.DataType, about: str, reject: Reject, first: int = 1
) -> pa.Table:
    """Comma-separated numbers, one line per frame; row k is line k, whatever stands in the others.

    Args:
        data: The lines, without a header. Blank lines at the end are none.
        names: Columns; every line has as many fields.
        kind: int32, or float32 for finite numbers.
        about: Name of the file for messages.
        reject: Takes lines with too few or too many fields (`bad-field-count`) or with another text than a number
            (`bad-number`); their row is NULL.
        first: Number of the first line, for messages.

    Raises:
        DatasetError: More than 2 GiB of text.
    """
    body = data.rstrip()
    if len(body) > MAX_BYTES:
        raise DatasetError(f"{about} is too large", found=f"{len(body):,} bytes", expected=f"at most {MAX_BYTES:,}")
    schema = pa.schema([(name, kind) for name in names])
    if not body:
        return schema.empty_table()
    table = _parsed(body, schema)
    if table is not None and not any(column.null_count or not _finite(column) for column in table.columns):
        return table
    mended = b"\n".join(_mended(body, schema, about, reject, first)) + b"\n"
    table = _parsed(mended, schema)
    if table is None:
        raise DatasetError(f"{about} cannot be parsed", found=f"{mended[:80]!r}", expected=", ".join(names))
    return table


def _parsed(body: bytes, schema: pa.Schema) -> pa.Table | None:
    """The lines as columns, or None where one of them has other fields or is no number."""
    size = len(body) + 64
    reading = pa_csv.ReadOptions(column_names=schema.names, use_threads=False, block_size=size)
    parsing = pa_csv.ParseOptions(quote_char=False, ignore_empty_lines=False)
    converting = pa_csv.ConvertOptions(column_types=schema, null_values=[""])
    try:
        return pa_csv.read_csv(pa.BufferReader(body), reading, parsing, converting)
    except pa.ArrowInvalid:
        return None


def _finite(column: pa.ChunkedArray) -> bool:
    return not pa.types.is_floating(column.type) or bool(pc.all(pc.is_finite(column)).as_py())


def _mended(body: bytes, schema: pa.Schema, about: str, reject: Reject, first: int) -> Iterator[bytes]:
    """The lines in one spelling; those that cannot be read are refused, and are left without values."""
    integral = pa.types.is_integer(schema.types[0])
    for number, line in enumerate(_LINE_END.split(body), start=first):
        fields = [field.strip() for field in line.split(b",")]
        cells = [_spelled(field, integral) for field in fields]
        if len(fields) != len(schema) or None in cells:
            reason = "bad-field-count" if len(fields) != len(schema) else "bad-number"
            reject(f"{about} line {number}", reason, line[:80].decode("utf-8", "backslashreplace"))
            cells = [b""] * len(schema)
        yield b",".join(cell for cell in cells if cell is not None)


def _spelled(field: bytes, integral: bool) -> bytes | None:
    """A number as Arrow reads it; None for any other text."""
    if integral:
        return b"%d" % int(field.partition(b".")[0]) if _INTEGER.fullmatch(field) else None
    value = float(field) if _NUMBER.fullmatch(field) else math.inf
    # What float32 cannot hold is not finite either.
    return repr(value).encode() if abs(value) < 3e38 else None
