"""The manifest: one row per sample, every label resolved, masked and traced to its source.

Columns: those of `samples`; the value and weight columns of `labels`; `mask_<task>` for every task;
`<task>_source` for tasks that one source wins whole, `auNN_source` and `auNN_intensity_source` for AUs, which are
won cell by cell; `expression_offered`, the classes that the winner's annotators could choose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from manifests import schema
from manifests.footers import known_counts, tally_of
from manifests.resolve import LabelSource, Resolution
from manifests.vocabulary import AUS, TASKS, au_column

_WHOLE_TASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "expression": (("expression",), ("expression_probs", "expression_weight")),
    "compound": (("compound",), ("compound_weight",)),
    "mental_state": (("mental_state",), ("mental_state_weight",)),
    "va": (("valence", "arousal"), ("va_weight",)),
    "landmarks": (("landmarks",), ("landmarks_weight",)),
}
"""Task -> columns that make a source the winner if it knows any, and columns that follow the winner."""


def _manifest_schema() -> pa.Schema:
    def text(name: str, about: str) -> pa.Field:
        return pa.field(name, pa.string(), metadata={"about": about})

    fields = [*schema.SAMPLES, *(f for f in schema.LABELS if f.name != "sample_id")]
    fields.append(text("expression_offered", "classes the annotators could choose, comma-joined; NULL: all"))
    fields += [text(f"{task}_source", f"the source that won {task}") for task in _WHOLE_TASKS]
    for au in AUS:
        fields.append(text(au_column(au, "source"), f"the source that won AU{au}"))
        fields.append(text(au_column(au, "intensity_source"), f"the source that won the intensity of AU{au}"))
    fields += [pa.field(f"mask_{t}", pa.bool_(), metadata={"about": _MASK_ABOUT.get(t, f"{t} known")}) for t in TASKS]
    return pa.schema(fields)


_MASK_ABOUT = {
    "va": "valence and arousal both known",
    "au": "any AU known",
    "au_intensity": "any AU intensity known",
}

MANIFEST = _manifest_schema()
"""Arrow schema of the manifest, the same for every dataset."""

_DUCKDB_TYPES = {
    pa.string(): "VARCHAR",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.bool_(): "BOOLEAN",
}


def duckdb_type(kind: pa.DataType) -> str:
    """The DuckDB type that a Parquet column of this Arrow type is read as."""
    return "FLOAT[]" if pa.types.is_fixed_size_list(kind) else _DUCKDB_TYPES[kind]


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """A column's name as an SQL identifier: some are words of SQL."""
    return '"' + name.replace('"', '""') + '"'


def file_list(files: Iterable[Path]) -> str:
    """Paths as an SQL list."""
    return "[" + ", ".join(quoted(str(file)) for file in files) + "]"


def empty_select(columns: pa.Schema) -> str:
    """A SELECT that has these columns and no row."""
    return (
        "select " + ", ".join(f"NULL::{duckdb_type(f.type)} as {quoted_name(f.name)}" for f in columns) + " where false"
    )


def known_columns(resolution: Resolution) -> list[str]:
    """Columns of the manifest that may hold anything but NULL in this dataset."""
    return [n for n, sql in _expressions(resolution, MANIFEST.names).items() if not sql.startswith("NULL::")]


def stored_manifest_sql(files: Iterable[Path], stored: Collection[str]) -> str:
    """One SELECT over files that each hold some of these columns, with every column of `MANIFEST`."""
    columns = [f.name if f.name in stored else f"NULL::{duckdb_type(f.type)} as {f.name}" for f in MANIFEST]
    return f"select {', '.join(columns)} from read_parquet({file_list(files)}, union_by_name = true)"


def manifest_sql(resolution: Resolution, columns: Collection[str] | None = None) -> str:
    """One SELECT that gives the manifest of one dataset.

    Args:
        columns: Only these columns of `MANIFEST`, in its order; layers that none of them needs are not joined.
    """
    wanted = [name for name in MANIFEST.names if columns is None or name in columns] or ["sample_id"]
    expressions = _expressions(resolution, wanted)
    chosen = ", ".join(f"{expressions[name]} as {name}" for name in wanted)
    joins = [f"from read_parquet({quoted(str(resolution.samples.path))}) as s"]
    joins += [
        f"left join ({_layer_sql(source)}) as l{n} on l{n}.sample_id = s.sample_id"
        for n, source in enumerate(resolution.sources)
        if f"l{n}." in chosen
    ]
    return f"select {chosen} " + " ".join(joins)


def _layer_sql(source: LabelSource) -> str:
    """A layer with whether each row knows any AU: told before the join, which then carries one column, not eighty."""
    coded = [name for name in schema.TASK_COLUMNS["au"] if name in source.known]
    rated = [name for name in schema.TASK_COLUMNS["au_intensity"] if name in source.known]
    tasks, rows = tally_of(source.layer.path).tasks, source.layer.rows
    any_au = "true" if tasks["au"] == rows else _any_known([*coded, *(rated if source.au_cut is not None else ())])
    any_intensity = "true" if tasks["au_intensity"] == rows else _any_known(rated)
    table = f"read_parquet({quoted(str(source.layer.path))})"
    return f"select *, {any_au} as any_au, {any_intensity} as any_au_intensity from {table}"


def _any_known(columns: Sequence[str]) -> str:
    return "(" + " or ".join(f"{column} is not null" for column in columns) + ")" if columns else "false"


class _Sources:
    """Writes expressions over the joined label sources of one dataset; source n is joined as `l<n>`."""

    def __init__(self, sources: Sequence[LabelSource]) -> None:
        self.sources = sources

    def first(self, column: str) -> str:
        """The value of the first source that knows this column."""
        cells = [f"l{n}.{column}" for n, source in self.asked(column) if column in source.known]
        return _coalesce(cells, MANIFEST.field(column).type)

    def asked(self, *keys: str) -> Iterator[tuple[int, LabelSource]]:
        """Number and source, in order, down to the first that knows one of these columns for every sample."""
        for n, source in enumerate(self.sources):
            yield n, source
            if any(source.knows_all(key) for key in keys):
                return

    def winner(
        self,
        keys: Sequence[str],
        knows: Callable[[int, LabelSource], str],
        value: Callable[[int, LabelSource], str],
    ) -> str:
        """`value` of the first source for which the condition `knows` holds; an empty condition never does.

        To know one of the columns `keys` is enough for the condition to hold.
        """
        cases = [(knows(n, source), value(n, source)) for n, source in self.asked(*keys)]
        cases = [(condition, result) for condition, result in cases if condition]
        while cases and cases[-1][1] == "NULL":
            cases.pop()
        return "case " + " ".join(f"when {c} then {v}" for c, v in cases) + " end" if cases else ""


def _coalesce(cells: Sequence[str], kind: pa.DataType) -> str:
    if not cells:
        return f"NULL::{duckdb_type(kind)}"
    return cells[0] if len(cells) == 1 else f"coalesce({', '.join(cells)})"


def _cell(n: int, source: LabelSource, column: str) -> str:
    return f"l{n}.{column}" if column in source.known else "NULL"


def _expressions(resolution: Resolution, wanted: Collection[str]) -> dict[str, str]:
    """Column of `MANIFEST` -> the SQL expression that gives it, for these columns at least."""
    joined = _Sources(resolution.sources)
    known = known_counts(resolution.samples.path)
    found = {name: f"s.{name}" if name in known else "" for name in schema.SAMPLES.names}
    found |= {"sample_id": "s.sample_id", "dataset": quoted(resolution.dataset)}
    found["expression_votes"] = joined.first("expression_votes")
    for task, (keys, followers) in _WHOLE_TASKS.items():
        found |= _whole_task(joined, task, keys, followers)
    stems = {name.partition("_")[0] for name in wanted}
    for au in AUS:
        if au_column(au) in stems:
            found |= _au_cell(joined, au) | _intensity_cell(joined, au)
    found |= _masks(joined, found)
    return {name: found[name] or f"NULL::{duckdb_type(MANIFEST.field(name).type)}" for name in wanted}


def _whole_task(joined: _Sources, task: str, keys: Sequence[str], followers: Sequence[str]) -> dict[str, str]:
    def knows(n: int, source: LabelSource) -> str:
        known = [f"l{n}.{key} is not null" for key in keys if key in source.known]
        return f"({' or '.join(known)})" if known else ""

    def column(name: str) -> str:
        return joined.winner(keys, knows, lambda n, source: _cell(n, source, name))

    found = {name: column(name) for name in (*keys, *followers)}
    if len(keys) == 1:
        found[keys[0]] = joined.first(keys[0])
    found[f"{task}_source"] = joined.winner(keys, knows, lambda _, source: quoted(source.name))
    if task == "expression":
        found["expression_offered"] = joined.winner(keys, knows, lambda _, source: _offered(source))
    return found


def _offered(source: LabelSource) -> str:
    offered = source.layer.facts.offered.get("expression")
    return quoted(",".join(offered)) if offered else "NULL"


def _au_cell(joined: _Sources, au: int) -> dict[str, str]:
    """One AU: the first source that codes it, or its intensity with a cut; side, probability and weight follow."""
    value, intensity = au_column(au), au_column(au, "intensity")

    def present(n: int, source: LabelSource) -> str:
        coded = [f"l{n}.{value}"] if value in source.known else []
        if source.au_cut is not None and intensity in source.known:
            coded.append(f"(l{n}.{intensity} >= {float(source.au_cut)!r}::FLOAT)::TINYINT")
        return _coalesce(coded, pa.int8()) if coded else ""

    def knows(n: int, source: LabelSource) -> str:
        return f"{present(n, source)} is not null" if source.speaks_of_au(au) else ""

    def column(name: str) -> str:
        return joined.winner([value], knows, lambda n, source: _cell(n, source, name))

    cells = [cell for n, source in joined.asked(value) if (cell := present(n, source))]
    return {
        value: _coalesce(cells, pa.int8()),
        au_column(au, "side"): column(au_column(au, "side")),
        au_column(au, "prob"): column(au_column(au, "prob")),
        au_column(au, "weight"): column(au_column(au, "weight")),
        au_column(au, "source"): joined.winner([value], knows, lambda _, source: quoted(source.name)),
    }


def _intensity_cell(joined: _Sources, au: int) -> dict[str, str]:
    column = au_column(au, "intensity")

    def knows(n: int, source: LabelSource) -> str:
        return f"l{n}.{column} is not null" if column in source.known else ""

    return {
        column: joined.first(column),
        f"{column}_source": joined.winner([column], knows, lambda _, source: quoted(source.name)),
    }


def _masks(joined: _Sources, found: dict[str, str]) -> dict[str, str]:
    masks = {f"mask_{t}": f"({found[t]} is not null)" for t in ("expression", "compound", "mental_state", "landmarks")}
    pair = [found[column] for column in ("valence", "arousal")]
    masks["mask_va"] = " and ".join(f"({value} is not null)" for value in pair) if all(pair) else "false"
    for task in ("au", "au_intensity"):
        masks[f"mask_{task}"] = _any_cell_mask(joined, task)
    return masks


def _any_cell_mask(joined: _Sources, task: str) -> str:
    """Whether any source knows any cell of the task, without asking those that never do."""
    speakers = []
    for n, source in enumerate(joined.sources):
        rows = tally_of(source.layer.path).tasks
        if source.complete and rows[task] == source.layer.rows:
            return "true"
        if rows[task] or (task == "au" and source.au_cut is not None and rows["au_intensity"]):
            speakers.append(f"coalesce(l{n}.any_{task}, false)")
    return f"({' or '.join(speakers)})" if speakers else "false"
