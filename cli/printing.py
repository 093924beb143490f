"""Tables for people, JSON and CSV for programs. A pipe gets plain text: no colour, no box, nothing cut off."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, TextIO

import typer


class Form(StrEnum):
    """How rows are shown."""

    table = "table"
    json = "json"
    csv = "csv"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON array of objects.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV with a header line.")]


@dataclass(frozen=True)
class Grid:
    """Rows under named columns; None is an unknown or absent value."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def form_of(as_json: bool, as_csv: bool) -> Form:
    """The form that the two flags ask for."""
    if as_json and as_csv:
        raise typer.BadParameter("say one of --json and --csv")
    return Form.json if as_json else Form.csv if as_csv else Form.table


def show(grid: Grid, form: Form = Form.table, *, title: str = "") -> None:
    """Print rows to standard output; the title belongs to the table form only."""
    if form is Form.json:
        write_json(sys.stdout, grid.columns, grid.rows)
    elif form is Form.csv:
        write_csv(sys.stdout, grid.columns, grid.rows)
    elif sys.stdout.isatty():
        _rich_table(grid, title)
    else:
        _plain_table(grid, title)


def show_record(values: Sequence[tuple[str, object]], title: str) -> None:
    """Print one row as lines `column value`; a pipe gets long values folded, as a terminal folds them itself."""
    if sys.stdout.isatty():
        show(Grid(("column", "value"), values), title=title)
        return
    print(title)
    indent = min(max((len(name) for name, _ in values), default=0) + 2, _FOLD_AT // 2)
    for name, value in values:
        head = name.ljust(indent) if len(name) < indent else f"{name}\n{' ' * indent}"
        print(head + f"\n{' ' * indent}".join(folded(_text(value), _FOLD_AT - indent)))


def folded(text: str, room: int) -> Iterator[str]:
    """Pieces that end behind a space, of at most `room` characters where no word is longer; together the text."""
    while len(text) > room:
        cut = text.rfind(" ", 0, room) + 1 or text.find(" ", room) + 1 or len(text)
        yield text[:cut]
        text = text[cut:]
    if text:
        yield text


def width(grid: Grid) -> int:
    """Characters of the longest line of the table that a pipe gets."""
    columns = zip(grid.columns, *grid.rows, strict=True)
    return sum(max(len(_text(cell)) for cell in column) + 2 for column in columns) - 2


def say(lines: Iterable[str]) -> None:
    """Print lines of plain text; square brackets in them are text, not markup."""
    for line in lines:
        print(line)


def note(text: str) -> None:
    """Something beside the answer: goes to standard error, so that a pipe carries the answer alone."""
    sys.stdout.flush()  # in a log that takes both, the answer so far comes first
    print(text, file=sys.stderr)


def write_json(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """One array, one object a line; the number of rows."""
    count = 0
    file.write("[")
    for row in rows:
        record = {name: json_value(value) for name, value in zip(columns, row, strict=True)}
        file.write((",\n " if count else "\n ") + json.dumps(record, ensure_ascii=False))
        count += 1
    file.write("\n]\n" if count else "]\n")
    return count


def write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """A header line, then one line a row; unknown is an empty field, a list is JSON. The number of rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([csv_value(value) for value in row])
        count += 1
    return count


def json_value(value: object) -> object:
    """The value as JSON has it: NaN and infinities are null, times and the like are text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    return str(value)


def csv_value(value: object) -> object:
    """The value as one CSV field: a list is JSON."""
    return json.dumps(json_value(value), ensure_ascii=False) if isinstance(value, list | tuple | dict) else value


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(item) for item in value)}]"
    return str(value)


def _is_number(grid: Grid, column: int) -> bool:
    values = [row[column] for row in grid.rows if row[column] is not None]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


_FOLD_OVER = 30
"""Columns up to this wide are never broken; wider ones are folded to what room there is, at least this much."""

_FOLD_AT = 120
"""Characters of a line of a record in a pipe; a word is never broken."""

_NO_LIMIT = 100_000


def _rich_table(grid: Grid, title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.collapse_padding = True
    cells = [[_text(value) for value in row] for row in grid.rows]
    widths = [max(len(text) for text in (name, *(row[n] for row in cells))) for n, name in enumerate(grid.columns)]
    for n, name in enumerate(grid.columns):
        justify: Literal["left", "right"] = "right" if _is_number(grid, n) else "left"
        narrow = widths[n] <= _FOLD_OVER
        table.add_column(
            Text(name), justify=justify, overflow="fold", no_wrap=narrow, min_width=min(widths[n], _FOLD_OVER)
        )
    for row in cells:
        table.add_row(*map(Text, row))
    # Rather lines that the terminal wraps than names and numbers cut apart.
    needed = Console(width=_NO_LIMIT).measure(table).minimum
    Console(width=max(Console().width, needed)).print(table)


def _plain_table(grid: Grid, title: str) -> None:
    cells = [list(grid.columns), *([_text(value) for value in row] for row in grid.rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(grid.columns))]
    right = [_is_number(grid, n) for n in range(len(grid.columns))]
    if title:
        print(title)
    for row in cells:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        print("  ".join(padded).rstrip())
