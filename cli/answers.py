"""Writing the answer to a question: to the terminal, or batch by batch to a file or pipe, however long it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cli.printing import Grid, note, show, show_record, width, write_csv, write_json
from manifests.errors import QueryError, StorageError
from manifests.storage import storage_errors

if TYPE_CHECKING:
    import pyarrow as pa


class AnswerForm(StrEnum):
    """How `affect sql` writes its answer."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


_BY_SUFFIX = {".csv": AnswerForm.csv, ".json": AnswerForm.json, ".parquet": AnswerForm.parquet}

TERMINAL_ROWS = 200
"""Rows that a terminal gets unless it asks for more; a pipe or file gets all."""


def answer_form(form: AnswerForm | None, out: Path | None) -> AnswerForm:
    """The form asked for, else the one that the file's name says, else a table.

    Raises:
        QueryError: A form that needs a file, or a file whose name says nothing.
        StorageError: No file may be there.
    """
    if out is not None:
        check_place(out)
    if form is AnswerForm.parquet and out is None:
        raise QueryError("Parquet is not written to the terminal", then="name a file: --out FILE.parquet")
    if form is None and out is not None:
        if out.suffix not in _BY_SUFFIX:
            raise QueryError(f"--out {out}", expected=f"a name ending in {', '.join(_BY_SUFFIX)}, or --format")
        return _BY_SUFFIX[out.suffix]
    if form is AnswerForm.table and out is not None:
        raise QueryError("a table is for the terminal", then="--format csv, json or parquet with --out")
    return form or AnswerForm.table


def check_place(file: Path) -> Path:
    """The name of a file to write, if a file may be there: said before the work, not after it.

    Raises:
        StorageError: Its folder is none, or the name is that of a folder.
    """
    if not file.parent.is_dir():
        raise StorageError(
            f"{file} cannot be written",
            found=f"no folder {file.parent}",
            then=f"mkdir -p {file.parent}, or another name",
        )
    if file.is_dir():
        raise StorageError(f"{file} cannot be written", found="a folder of that name", expected="the name of a file")
    return file


def write_answer(answer: pa.RecordBatchReader, form: AnswerForm, out: Path | None, most_rows: int | None) -> None:
    """Write every row of an answer.

    Args:
        answer: Batches of rows.
        form: How.
        out: File that appears whole or not at all; None: standard output.
        most_rows: Rows of a table at most, 0 for all; None: 200 on a terminal, all elsewhere.

    Raises:
        StorageError: The disk refuses.
    """
    if form is AnswerForm.table:
        _show_table(answer, (TERMINAL_ROWS if sys.stdout.isatty() else 0) if most_rows is None else most_rows)
    elif out is None:
        _write_text(sys.stdout, form, answer)
    else:
        with _whole_file(out) as fresh:
            if form is AnswerForm.parquet:
                rows = _write_parquet(fresh, answer)
            else:
                with fresh.open("w", encoding="utf-8", newline="") as file:
                    rows = _write_text(file, form, answer)
        note(f"{rows:,} rows written to {out}")


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside the file, which takes its place when all is written."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with storage_errors(path):
            yield fresh
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _show_table(answer: pa.RecordBatchReader, most: int) -> None:
    rows: list[tuple[object, ...]] = []
    more = 0
    for batch in answer:
        room = batch.num_rows if not most else max(0, most - len(rows))
        rows += _rows(batch.slice(0, room))
        more += batch.num_rows - min(room, batch.num_rows)
    grid = Grid(answer.schema.names, rows)
    if rows and (len(answer.schema) > _WIDEST or (not sys.stdout.isatty() and width(grid) > _LONGEST)):
        _show_records(answer.schema.names, rows)
    else:
        show(grid)
    if more:
        note(f"... and {more:,} more rows: --rows 0 shows all, --out FILE.csv keeps them")


_WIDEST = 16
"""More columns than can be read side by side: each row is then shown as lines `column value`."""

_LONGEST = 200
"""Characters of a line of a table in a pipe, above which it is shown so too; a terminal folds its cells."""


def _show_records(names: list[str], rows: list[tuple[object, ...]]) -> None:
    for number, row in enumerate(rows, 1):
        known = [(name, value) for name, value in zip(names, row, strict=True) if value is not None]
        show_record(known, title=f"row {number} (unknown columns left out)")


def _rows(batch: pa.RecordBatch) -> list[tuple[object, ...]]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True)) if batch.num_rows else []


def _write_text(file: TextIO, form: AnswerForm, answer: pa.RecordBatchReader) -> int:
    write = write_csv if form is AnswerForm.csv else write_json
    return write(file, answer.schema.names, (row for batch in answer for row in _rows(batch)))


def _write_parquet(path: Path, answer: pa.RecordBatchReader) -> int:
    import pyarrow.parquet as pq

    count = 0
    with pq.ParquetWriter(path, answer.schema, compression="zstd") as writer:
        for batch in answer:
            writer.write_batch(batch)
            count += batch.num_rows
    return count
