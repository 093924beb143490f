"""Rows in order of sample_id that wait, compressed, until all of a dataset has been read.

Blocks that follow each other in order become one run; runs that overlap are sorted together. So a dataset whose
reader yields its videos in order is never in memory whole, and any other one comes out the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectdata.datasets.text import as_mask

RUN_ROWS = 131_072
"""Rows that are gathered into one run."""

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True)
class Run:
    """Rows between two ids, compressed.

    Args:
        first: Smallest sample_id.
        last: Largest sample_id.
        strict: The rows are in order, and no id repeats.
        count: Number of rows.
        names: Columns.
    """

    first: str
    last: str
    strict: bool
    count: int
    names: tuple[str, ...]
    data: pa.Buffer

    def rows(self, names: Iterable[str] | None = None) -> pa.Table:
        """The rows, or some columns of them; columns that the run does not have are left out."""
        chosen = self.names if names is None else frozenset(names)
        wanted = [at for at, name in enumerate(self.names) if name in chosen]
        options = pa.ipc.IpcReadOptions(included_fields=wanted)
        return pa.ipc.open_stream(self.data, options=options).read_all()


def run_of(tables: Sequence[pa.Table], strict: bool) -> Run:
    """A run of tables that hold at least one row; with `strict`, in order also across tables."""
    rows = joined(tables)
    ids = rows.column("sample_id").chunk(0)
    ends = {"min": ids[0], "max": ids[-1]} if strict else pc.min_max(ids)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_COMPRESSED) as stream:
        stream.write_table(rows)
    first, last = (str(ends[end]) for end in ("min", "max"))
    return Run(first, last, strict, rows.num_rows, tuple(rows.column_names), sink.getvalue())


def gathered(tables: Iterable[pa.Table]) -> Iterator[Run]:
    """Runs of tables as they come: tables in order after each other are one run, up to `RUN_ROWS` rows."""
    waiting: list[pa.Table] = []
    count, last = 0, ""
    for rows in tables:
        ids = rows.column("sample_id")
        strict = _strict(ids)
        if waiting and (not strict or count >= RUN_ROWS or str(ids[0]) <= last):
            yield run_of(waiting, strict=True)
            waiting, count = [], 0
        if strict:
            waiting.append(rows)
            count, last = count + rows.num_rows, str(ids[-1])
        else:
            yield run_of([rows], strict=False)
    if waiting:
        yield run_of(waiting, strict=True)


def overlapping(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs in order of their ids, those that overlap together, in the order in which they came."""
    place = {id(run): at for at, run in enumerate(runs)}
    together: list[Run] = []
    last = ""
    for run in sorted(runs, key=lambda run: (run.first, place[id(run)])):
        if together and run.first > last:
            yield sorted(together, key=lambda run: place[id(run)])
            together = []
        last = max(last, run.last) if together else run.last
        together.append(run)
    if together:
        yield sorted(together, key=lambda run: place[id(run)])


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables below each other, NULL where one lacks a column, each column in one piece."""
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def _strict(ids: pa.ChunkedArray) -> bool:
    if len(ids) < 2:
        return True
    ids = ids.combine_chunks()
    return bool(np.all(as_mask(pc.less(ids.slice(0, len(ids) - 1), ids.slice(1)))))
