"""Progress of long steps: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Moves a bar: what is being done, how much of it is done, how much there is (0: unknown), what else is to say."""

    def __call__(self, what: str, done: int, total: int, said: str = "", /) -> None:
        """Show where the step stands now."""


@contextmanager
def progress() -> Iterator[Advance]:
    """A function that moves a bar of standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total, _said="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def advance(what: str, done: int, total: int, said: str = "", /) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total or None, said="")
            bars.update(tasks[what], completed=done, total=total or None, said=said)

        yield advance
