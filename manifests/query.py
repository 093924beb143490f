"""Questions to a lake: a DuckDB connection that reads its views and nothing else.

Views: `manifest` (see `manifests.manifest`), `samples`, `labels` (every label layer, with `dataset` and `source`),
`faces` (`detector`), `protocols` (`protocol`), `selections` (`selection`) and `rejects`. Stale layers are left out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from manifests import schema
from manifests.cached import Count, ManifestView, Progress, counts_sql
from manifests.errors import QueryError
from manifests.lake import Lake, Layer
from manifests.manifest import MANIFEST, empty_select, file_list, quoted, quoted_name
from manifests.resolve import DEFAULT_SOURCES, resolve, stale_warning
from manifests.statement import Select, Where, brief, known_column, parse_select
from manifests.statement import parse_where as _parse_where

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DEFAULT_SOURCES", "LakeConnection", "Relation", "connect", "manifest_table", "parse_where"]

_NAME_COLUMN = {"labels": "source", "faces": "detector", "protocols": "protocol", "selections": "selection"}
"""Views over many layers of one kind -> the column that says which layer a row is from."""

VIEWS = ("manifest", "samples", *_NAME_COLUMN, "rejects")


class Relation:
    """The answer to a question, computed when it is read; reading it twice computes it twice.

    Raises:
        QueryError: From every method, when DuckDB refuses while it computes.
    """

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self._relation = relation
        self.columns: list[str] = list(relation.columns)
        self.types: list[str] = [str(kind) for kind in relation.types]

    def df(self) -> pd.DataFrame:
        """The rows as a pandas data frame."""
        frame: pd.DataFrame = self._read("df")
        return frame

    def arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self._read("to_arrow_table")

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows as tuples."""
        rows: list[tuple[Any, ...]] = self._read("fetchall")
        return rows

    def limit(self, rows: int) -> Relation:
        """The first rows only."""
        return Relation(self._relation.limit(rows))

    def _read(self, how: str) -> Any:
        try:
            return getattr(self._relation, how)()
        except duckdb.Error as error:
            raise _refused(error) from None


def _refused(error: duckdb.Error) -> QueryError:
    return QueryError("DuckDB refuses this question", found=brief(error), then="affect sql 'describe manifest'")


class LakeConnection:
    """A connection over one lake as it is now: later publications do not change its views."""

    def __init__(self, lake: Lake, manifest: ManifestView, warnings: Sequence[str]) -> None:
        self._manifest = manifest
        self._connection = _sandbox(lake)
        layers = [layer for layer in lake.layers() if layer.kind in VIEWS]
        for kind in VIEWS[1:]:
            sql = _layers_sql(kind, [layer for layer in layers if layer.kind == kind and not layer.stale])
            self._connection.execute(f"CREATE VIEW {kind} AS {sql}")
        stale = [stale_warning(layer) for layer in layers if layer.stale]
        self._warnings = list(dict.fromkeys([*warnings, *stale]))

    @property
    def warnings(self) -> list[str]:
        """What the views leave out and why, in words."""
        return self._warnings + self._manifest.warnings

    def sql(self, text: str) -> Relation:
        """The answer to exactly one SELECT.

        Raises:
            QueryError: Anything but one SELECT over the views, or one that DuckDB refuses.
        """
        select = parse_select(text, VIEWS)
        cursor = self._connection.cursor()
        try:
            if "manifest" not in select.tables:
                return Relation(cursor.sql(select.sql))
            return Relation(self._over_manifest(cursor, select))
        except duckdb.Error as error:
            raise _refused(error) from None

    def counts(self) -> list[Count]:
        """Samples of the manifest by dataset, expression and tasks known together."""
        counted = self._manifest.counts()
        if counted is None:
            counted = [Count(*row) for row in self.sql(counts_sql("manifest")).fetchall()]
        return counted

    def _over_manifest(self, cursor: duckdb.DuckDBPyConnection, select: Select) -> duckdb.DuckDBPyRelation:
        """A question on a cursor whose own view `manifest` has the columns that the question names.

        Binding hundreds of columns of every dataset would take longer than the answer.
        """
        named = None if select.words is None else select.words & frozenset(MANIFEST.names)
        cursor.execute(f"CREATE TEMP VIEW manifest AS {self._manifest.sql(named)}")
        try:
            return cursor.sql(select.sql)
        except duckdb.BinderException:
            if named is None or self._manifest.cached:
                raise
        # Every column, so that the message can suggest the one that was meant.
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW manifest AS {self._manifest.sql()}")
        return cursor.sql(select.sql)


def connect(
    lake: Lake,
    sources: Sequence[str] = DEFAULT_SOURCES,
    *,
    au_cut: Mapping[str, float] | None = None,
    cached: bool = True,
    progress: Progress | None = None,
) -> LakeConnection:
    """A connection over a lake that answers one SELECT at a time, reads the lake only, and writes nothing.

    Args:
        sources: Label sources of the manifest, names or patterns with `*`, the first wins.
        au_cut: Dataset -> intensity (0-5) from which on an AU counts as present.
        cached: Keep the resolved manifest in the lake's cache. Without, every question joins the layers anew.
        progress: Told about each dataset whose manifest must be resolved first.

    Raises:
        SourceOrderError: A pattern is unknown or ambiguous.
        UnknownNameError: `au_cut` names a dataset that is not in the lake.
    """
    resolved = resolve(lake, sources, au_cut=au_cut)
    view = ManifestView(lake, resolved.datasets, cached=cached, progress=progress)
    return LakeConnection(lake, view, resolved.warnings)


def manifest_table(
    lake: Lake,
    datasets: Iterable[str] | None,
    columns: Sequence[str],
    *,
    sources: Sequence[str] = DEFAULT_SOURCES,
    where: str | None = None,
    au_cut: Mapping[str, float] | None = None,
) -> pa.Table:
    """Columns of the manifest of some datasets (None: all), sorted by sample_id, in the types of `MANIFEST`.

    Args:
        where: One expression over the manifest's columns, see `parse_where`.

    Raises:
        UnknownNameError: No such dataset.
        QueryError: No such column, `where` is not one expression, or DuckDB refuses it.
        SourceOrderError: A pattern is unknown or ambiguous.
    """
    condition = parse_where(where) if where else None
    names = None if datasets is None else sorted(set(datasets))
    columns = [known_column(column, MANIFEST.names) for column in columns]
    needed = {"sample_id", *columns, *(condition.columns if condition else ())}
    view = ManifestView(lake, resolve(lake, sources, au_cut=au_cut, datasets=names).datasets)
    try:
        relation = _sandbox(lake).sql(view.sql(needed))
        if condition is not None:
            relation = relation.filter(duckdb.SQLExpression(condition.sql))
        table = relation.sort("sample_id").project(", ".join(f'"{column}"' for column in columns)).to_arrow_table()
    except duckdb.Error as error:
        raise _refused(error) from None
    return table.cast(pa.schema([MANIFEST.field(column).remove_metadata() for column in columns]))


def parse_where(text: str) -> Where:
    """One expression over the columns of the manifest, such as `mask_va and split = 'train'`, checked.

    Raises:
        QueryError: It does not parse, is more than an expression, or names a column that the manifest lacks.
    """
    return _parse_where(text, MANIFEST.names)


def _sandbox(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A connection that reads files of the lake only; `parse_select` keeps even these from a user's text."""
    folders = sorted({str(p) for path in lake.paths for p in (path, path.resolve())})
    connection = duckdb.connect(
        ":memory:",
        config={
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": str(Path(tempfile.gettempdir()) / f"affect-sql-{os.getpid()}"),
        },
    )
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute(f"SET allowed_directories = [{', '.join(quoted(folder) for folder in folders)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _layers_sql(kind: str, layers: Sequence[Layer]) -> str:
    """A SELECT over every layer of a kind, with the columns `dataset` and, where layers have names, theirs."""
    own = schema.KINDS[kind]
    added = [name for name in ("dataset", _NAME_COLUMN.get(kind, "")) if name and name not in own.names]
    if not layers:
        return empty_select(pa.schema([*((name, pa.string()) for name in added), *own]))
    # One scan over all files instead of a union: its columns are bound once, and a filter on `source` skips files.
    said = {"dataset": _lookup({str(layer.path): layer.dataset for layer in layers})}
    said |= {name: _lookup({str(x.path): x.name for x in layers}) for name in added if name != "dataset"}
    columns = ", ".join(f"{said.get(name, quoted_name(name))} as {quoted_name(name)}" for name in [*added, *own.names])
    files = file_list(layer.path for layer in layers)
    return f"select {columns} from read_parquet({files}, filename = true)"


def _lookup(table: Mapping[str, str]) -> str:
    keys, values = (", ".join(quoted(text) for text in side) for side in (table.keys(), table.values()))
    return f"map([{keys}], [{values}])[filename]"
