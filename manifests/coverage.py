"""What is labelled: per dataset and source from the layers themselves, and per dataset in the manifest.

Layers are counted from their footers alone (`manifests.footers`), the manifest when its cache is filled or, uncached,
by one question to its view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pyarrow as pa

from manifests.cached import Count
from manifests.errors import UnknownNameError
from manifests.footers import known_counts, tally_of
from manifests.lake import Lake, Layer
from manifests.query import LakeConnection
from manifests.resolve import check_patterns
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
    name -> rows, in the order of the vocabulary; `aus` has the AUs that are coded at all. `votes` are rows with the
    votes of raters, which are no class until a rule makes one of them.
    """

    dataset: str
    source: str
    rows: int
    tasks: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]]
    aus: Mapping[int, AUCount]
    votes: int = 0
    stale: str = ""


@dataclass(frozen=True)
class Coverage:
    """Coverage of many label layers, and as tables for printing."""

    layers: tuple[LayerCoverage, ...]

    @property
    def tasks(self) -> pa.Table:
        """dataset, source, rows, one column per task, votes, stale (NULL: fresh)."""
        kinds = [("dataset", pa.string()), ("source", pa.string())]
        kinds += [(name, pa.int64()) for name in ("rows", *TASKS, "votes")]
        rows = [
            {"dataset": x.dataset, "source": x.source, "rows": x.rows, **x.tasks}
            | {"votes": x.votes, "stale": x.stale or None}
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
    return Coverage(tuple(_layer_coverage(layer) for layer in labels if layer.dataset in wanted))


def labelled_rows(layer: Layer) -> dict[str, int]:
    """Task -> rows that a label layer labels for it, tasks without any left out; empty for every other layer."""
    tasks = _layer_coverage(layer).tasks if layer.kind == "labels" else {}
    return {task: count for task, count in tasks.items() if count}


def manifest_coverage(connection: LakeConnection) -> tuple[ManifestCoverage, ...]:
    """What the manifest of a connection knows, per dataset, in the order of their names."""
    by_dataset: dict[str, list[Count]] = {}
    for count in connection.counts():
        by_dataset.setdefault(count.dataset, []).append(count)
    found = []
    for dataset, counts in sorted(by_dataset.items()):
        patterns: Counter[frozenset[str]] = Counter()
        classes = Counter(dict.fromkeys(VOCABULARIES["expression"].names, 0))
        for count in counts:
            patterns[frozenset(task for bit, task in enumerate(TASKS) if count.known >> bit & 1)] += count.samples
            if count.expression is not None:
                classes[count.expression] += count.samples
        found.append(ManifestCoverage(dataset, sum(count.samples for count in counts), patterns, classes))
    return tuple(found)


def _table(rows: Sequence[tuple[object, ...]], texts: Sequence[str], numbers: Sequence[str]) -> pa.Table:
    schema = pa.schema([(name, pa.string()) for name in texts] + [(name, pa.int64()) for name in numbers])
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def _layer_coverage(layer: Layer) -> LayerCoverage:
    known, tally = known_counts(layer.path), tally_of(layer.path)
    aus = {au: (au_column(au), au_column(au, "intensity")) for au in AUS}
    return LayerCoverage(
        layer.dataset,
        layer.name,
        layer.rows,
        {task: tally.tasks[task] for task in TASKS},
        {
            task: {name: tally.classes[task][name] for name in vocabulary.names if name in tally.classes[task]}
            for task, vocabulary in VOCABULARIES.items()
            if tally.classes[task]
        },
        {
            au: AUCount(known.get(value, 0), tally.present[value], known.get(intensity, 0))
            for au, (value, intensity) in aus.items()
            if value in known or intensity in known
        },
        known.get("expression_votes", 0),
        layer.stale,
    )
