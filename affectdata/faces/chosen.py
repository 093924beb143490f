"""Which samples of a dataset an alignment run takes."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.faces.options import AlignOptions
from manifests import schema
from manifests.errors import AffectError, QueryError, StaleLayerError
from manifests.lake import Lake
from manifests.statement import Where, brief, parse_where

MEDIA_COLUMNS = ["sample_id", "path", "member", "frame"]
_FRAME_COLUMNS = [*MEDIA_COLUMNS, "frame_index"]


@dataclass(frozen=True)
class Chosen:
    """The samples of a run.

    Attributes:
        samples: `MEDIA_COLUMNS`, in order of sample_id.
        rows: Of the samples in the layer `samples`.
        layers: Selections that were looked at, as keys.
        facts: What says which samples were chosen; empty for all of them.
    """

    samples: pa.Table
    rows: NDArray[np.int64]
    layers: tuple[str, ...]
    facts: dict[str, str]


def chosen(lake: Lake, dataset: str, options: AlignOptions) -> Chosen:
    """The samples that `where`, `only`, `exclude`, `every` and `limit` leave.

    Raises:
        QueryError: `where` is not one expression over the columns of `samples`.
        UnknownNameError: No such selection.
        StaleLayerError: A selection was made from other samples.
        AffectError: Nothing is left.
    """
    wanted = _parsed(options.where) if options.where else None
    columns = [*_FRAME_COLUMNS, *sorted((wanted.columns if wanted else frozenset()) - set(_FRAME_COLUMNS))]
    table = lake.read(dataset, "samples", columns)
    keep = np.ones(len(table), bool)
    if wanted is not None:
        keep &= _holds(wanted.sql, table)
    ids = table.column("sample_id")
    if options.only:
        keep &= np.any([_listed(lake, dataset, name, ids) for name in options.only], axis=0)
    for name in options.exclude:
        keep &= ~_listed(lake, dataset, name, ids)
    if options.every > 1:
        number = pc.coalesce(table.column("frame"), table.column("frame_index"))
        # what has no number is no frame of anything
        keep &= np.asarray(pc.fill_null(number, 0)) % options.every == 0
    rows = np.flatnonzero(keep)
    limit = options.limit if options.limit is not None and options.limit < len(rows) else None
    rows = rows[:limit]
    if not len(rows) and len(table):
        raise AffectError(
            f"align: no sample of {dataset} is left", found=f"{len(table)} samples before the options chose among them"
        )
    said: dict[str, object] = {"where": options.where, "only": " ".join(options.only)}
    said |= {
        "exclude": " ".join(options.exclude),
        "every": options.every if options.every > 1 else None,
        "limit": limit,
    }
    layers = tuple(f"selections/{name}" for name in dict.fromkeys([*options.only, *options.exclude]))
    facts = {name: f"{value}" for name, value in said.items() if value}
    return Chosen(table.select(MEDIA_COLUMNS).take(pa.array(rows)), rows, layers, facts)


def _parsed(text: str) -> Where:
    try:
        return parse_where(text, schema.SAMPLES.names)
    except QueryError as error:
        then = "affect sql 'describe samples' shows the columns"
        raise QueryError(error.about, found=error.found, expected=error.expected, then=then) from None


def _holds(sql: str, table: pa.Table) -> NDArray[np.bool_]:
    """Whether a checked expression holds for each row; where it gives NULL it does not."""
    with duckdb.connect(":memory:", config={"python_enable_replacements": False}) as connection:
        connection.execute("SET enable_external_access = false")
        numbered = table.append_column("row", pa.array(np.arange(len(table))))
        try:
            kept = connection.from_arrow(numbered).filter(duckdb.SQLExpression(sql)).project('"row"').to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(f"where: {sql}", found=brief(error)) from None
    result = np.zeros(len(table), bool)
    result[np.asarray(kept.column("row"))] = True
    return result


def _listed(lake: Lake, dataset: str, name: str, ids: pa.ChunkedArray) -> NDArray[np.bool_]:
    layer = lake.layer(dataset, f"selections/{name}")
    if layer.stale:
        raise StaleLayerError(
            f"{layer.key} of {dataset} may not be used", found=layer.stale, then=layer.facts.command or "make it again"
        )
    listed = lake.read(dataset, layer.key, ["sample_id"]).column("sample_id").combine_chunks()
    return np.asarray(pc.is_in(ids, value_set=listed)).astype(bool)
