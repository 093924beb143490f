"""What is labelled: per dataset and source from the layers themselves, and per dataset in the manifest.

Counts come from Parquet footers where these suffice. Read are only the columns of which one must know values
(classes, present AUs) or combinations (valence with arousal, any AU).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase

import duckdb
import pyarrow as pa

from manifests.errors import UnknownNameError
from manifests.footers import known_counts
from manifests.lake import Lake, Layer
from manifests.manifest import quoted
from manifests.query import LakeConnection
from manifests.resolve import check_patterns
from manifests.schema import TASK_COLUMNS
from manifests.vocabulary import AUS, TASKS, VOCABULARIES, au_column


@dataclass(frozen=True)
class AUCount:
    """Rows of one source that code an AU, those of them that say present, and rows that give its intensity."""

    known: int
    present: int
    intensity: int


@dataclass(frozen=True)
class LayerCoverage:
    """What one label source of one dataset knows.

    `tasks` has every task: rows labelled for it (va: both known; au, au_intensity: any known). `classes` has task ->
    name -> rows, in the order of the vocabulary; `aus` has the AUs that are coded at all.
    """

    dataset: str
    source: str
    rows: int
    tasks: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]]
    aus: Mapping[int, AUCount]
    stale: str = ""


@dataclass(frozen=True)
class Coverage:
    """Coverage of many label layers, and as tables for printing."""

    layers: tuple[LayerCoverage, ...]

    @property
    def tasks(self) -> pa.Table:
        """dataset, source, rows, one column per task, stale (NULL: fresh)."""
        kinds = [("dataset", pa.string()), ("source", pa.string())]
        kinds += [(name, pa.int64()) for name in ("rows", *TASKS)]
        rows = [
            {"dataset": x.dataset, "source": x.source, "rows": x.rows, "stale": x.stale or None, **x.tasks}
            for x in self.layers
        ]
        return pa.Table.from_pylist(rows, schema=pa.schema([*kinds, ("stale", pa.string())]))

    @property
    def classes(self) -> pa.Table:
        """dataset, source, task, class, rows."""
        rows = [
            (x.dataset, x.source, task, name, count)
            for x in self.layers
            for task, counts in x.classes.items()
            for name, count in counts.items()
        ]
        return _table(rows, ("dataset", "source", "task", "class"), ("rows",))

    @property
    def aus(self) -> pa.Table:
        """dataset, source, au, known, present, intensity."""
        rows = [
            (x.dataset, x.source, f"AU{au}", n.known, n.present, n.intensity)
            for x in self.layers
            for au, n in x.aus.items()
        ]
        return _table(rows, ("dataset", "source", "au"), ("known", "present", "intensity"))


@dataclass(frozen=True)
class ManifestCoverage:
    """What the resolved manifest knows of one dataset. `patterns` maps the tasks known together to samples."""

    dataset: str
    samples: int
    patterns: Mapping[frozenset[str], int]
    expressions: Mapping[str, int]

    def labelled(self, *tasks: str) -> int:
        """Samples that are labelled for all of these tasks.

        Raises:
            UnknownNameError: No such task.
        """
        for task in tasks:
            if task not in TASKS:
                raise UnknownNameError("task", task, TASKS)
        return sum(count for known, count in self.patterns.items() if known.issuperset(tasks))


def coverage(lake: Lake, *, sources: Sequence[str] | None = None, datasets: Iterable[str] | None = None) -> Coverage:
    """What every label layer knows, whatever other layers say; stale layers are counted and marked.

    Args:
        sources: Only label sources that match one of these names or patterns with `*`.
        datasets: Only these.

    Raises:
        UnknownNameError: No such dataset.
        SourceOrderError: A name that no dataset has as a label source.
    """
    names = lake.datasets()
    for name in datasets or ():
        if name not in names:
            raise UnknownNameError("dataset in the lake", name, names, f"affect ingest {name} PATH")
    wanted = names if datasets is None else sorted(set(datasets))
    labels = [layer for layer in lake.layers() if layer.kind == "labels"]
    if sources is not None:
        check_patterns(sources, {layer.name for layer in labels})
        labels = [x for x in labels if any(fnmatchcase(x.name, pattern) for pattern in sources)]
    labels = [layer for layer in labels if layer.dataset in wanted]
    with duckdb.connect(":memory:") as connection, ThreadPoolExecutor(os.cpu_count()) as pool:
        return Coverage(tuple(pool.map(lambda layer: _layer_coverage(connection, layer), labels)))


def manifest_coverage(connection: LakeConnection) -> tuple[ManifestCoverage, ...]:
    """What the manifest of a connection knows, per dataset, in the order of their names."""
    masks = ", ".join(f"mask_{task}" for task in TASKS)
    rows = connection.sql(f"select dataset, expression, {masks}, count(*) from manifest group by all").fetchall()
    found = []
    for dataset in sorted({row[0] for row in rows}):
        mine = [row for row in rows if row[0] == dataset]
        patterns: dict[frozenset[str], int] = {}
        classes = dict.fromkeys(VOCABULARIES["expression"].names, 0)
        for _, expression, *known, count in mine:
            tasks = frozenset(task for task, is_known in zip(TASKS, known, strict=True) if is_known)
            patterns[tasks] = patterns.get(tasks, 0) + count
            if expression is not None:
                classes[expression] += count
        found.append(ManifestCoverage(dataset, sum(row[-1] for row in mine), patterns, classes))
    return tuple(found)


def _table(rows: Sequence[tuple[object, ...]], texts: Sequence[str], numbers: Sequence[str]) -> pa.Table:
    schema = pa.schema([(name, pa.string()) for name in texts] + [(name, pa.int64()) for name in numbers])
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def _layer_coverage(connection: duckdb.DuckDBPyConnection, layer: Layer) -> LayerCoverage:
    known = known_counts(layer.path)
    counts = _Questions(connection, layer, known)
    tasks = {
        "va": counts.all_known(("valence", "arousal")),
        "au": counts.any_known(TASK_COLUMNS["au"]),
        "au_intensity": counts.any_known(TASK_COLUMNS["au_intensity"]),
    }
    present = {au: counts.total(au_column(au)) for au in AUS if au_column(au) in known}
    answers = counts.answer()
    whole = {task: known.get(task, 0) for task in ("expression", "compound", "mental_state", "landmarks")}
    return LayerCoverage(
        layer.dataset,
        layer.name,
        layer.rows,
        {task: whole[task] if task in whole else answers[tasks[task]] for task in TASKS},
        {task: counts.classes(task) for task in VOCABULARIES if task in known},
        {
            au: AUCount(
                known.get(au_column(au), 0),
                answers[present[au]] if au in present else 0,
                known.get(au_column(au, "intensity"), 0),
            )
            for au in AUS
            if au_column(au) in known or au_column(au, "intensity") in known
        },
        layer.stale,
    )


class _Questions:
    """Collects what must be counted in one layer, so that one scan answers all that the footer does not."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, layer: Layer, known: Mapping[str, int]) -> None:
        self._connection = connection.cursor()
        self._file = f"read_parquet({quoted(str(layer.path))})"
        self._known, self._rows = known, layer.rows
        self._asked: list[str] = []

    def _ask(self, sql: str) -> str:
        self._asked.append(sql)
        return sql

    def all_known(self, columns: Collection[str]) -> str:
        """Rows that know all of these columns."""
        counts = [self._known.get(column, 0) for column in columns]
        if 0 in counts or sum(count < self._rows for count in counts) < 2:
            return self._ask(str(min(counts)))
        return self._ask(f"count_if({' and '.join(f'{column} is not null' for column in columns)})")

    def any_known(self, columns: Collection[str]) -> str:
        """Rows that know any of these columns."""
        counts = {column: self._known[column] for column in columns if column in self._known}
        if len(counts) < 2 or self._rows in counts.values():
            return self._ask(str(max(counts.values(), default=0)))
        return self._ask(f"count_if({' or '.join(f'{column} is not null' for column in counts)})")

    def total(self, column: str) -> str:
        """Sum of a column."""
        return self._ask(f"sum({column})::BIGINT")

    def answer(self) -> dict[str, int]:
        """Every question asked so far with its answer."""
        asked = list(dict.fromkeys(self._asked))
        answers = {text: int(text) for text in asked if text.isdigit()}
        open_ = [text for text in asked if text not in answers]
        if open_:
            row = self._connection.execute(f"select {', '.join(open_)} from {self._file}").fetchall()[0]
            answers |= dict(zip(open_, row, strict=True))
        return answers

    def classes(self, task: str) -> dict[str, int]:
        """Class -> rows, for a task whose column holds names."""
        rows = self._connection.execute(f"select {task}, count(*) from {self._file} group by 1").fetchall()
        found = dict(rows)
        return {name: found.get(name, 0) for name in VOCABULARIES[task].names if name in found}
