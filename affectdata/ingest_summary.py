"""What one ingest did, counted and put in words; and how it compares with the counts that were published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.datasets.card import Published
from manifests.schema import TASK_COLUMNS
from manifests.vocabulary import VOCABULARIES


@dataclass(frozen=True)
class SourceCounts:
    """How much one label source says.

    Args:
        labelled: Task -> samples with a label; `votes` counts raw votes.
        classes: Split -> class column -> class -> samples.
    """

    labelled: Mapping[str, int]
    classes: Mapping[str, Mapping[str, Mapping[str, int]]]


@dataclass(frozen=True)
class RejectCount:
    """Rejects of one reason, and whether the CARD foresees them."""

    count: int
    expected: bool


@dataclass(frozen=True)
class IngestSummary:
    """What an ingest read, refused and wrote.

    Args:
        dataset: Name in the lake.
        reader: Name of the reader.
        variant: Distribution that was recognised.
        samples: Number of samples.
        splits: Split -> samples.
        sources: Label source -> what it says; empty when nothing had changed.
        rejects: Reason -> count.
        layers: Keys of the layers that were written.
        warnings: What the user should know.
        unchanged: Nothing was written: the lake already holds exactly this.
        annotations: Annotation files of the distribution.
        opened: Those of them that were read; of the others, it was known what they hold.
    """

    dataset: str
    reader: str
    variant: str
    samples: int
    splits: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, SourceCounts] = field(default_factory=dict)
    rejects: Mapping[str, RejectCount] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unchanged: bool = False
    annotations: int = 0
    opened: int = 0

    def lines(self) -> list[str]:
        """One fact a line, for people."""
        if self.unchanged:
            return [f"{self.dataset}: unchanged, {self.samples:,} samples ({self.variant}); nothing was written"]
        rest = self.samples - sum(self.splits.values())
        named = {**self.splits, **({"no split": rest} if rest and self.splits else {})}
        splits = ", ".join(f"{split} {count:,}" for split, count in named.items())
        text = [f"{self.dataset}: {self.samples:,} samples" + (f" ({splits})" if splits else "")]
        text.append(f"  distribution: {self.variant}")
        if known := self.annotations - self.opened:
            text.append(f"  read {self.opened:,} of {self.annotations:,} annotation files, {known:,} unchanged")
        for source, counts in self.sources.items():
            text += [f"  {line}" for line in _source_lines(source, counts, self.samples)]
        if not self.rejects:
            text.append("  no rejects")
        for reason, reject in self.rejects.items():
            text.append(f"  rejected {reject.count:,}: {reason}" + (" (expected)" if reject.expected else ""))
        return text + [f"  warning: {warning}" for warning in self.warnings]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def count_source(tables: Iterable[pa.Table]) -> SourceCounts:
    """Counts of one source's label columns; a column `split` names the split of each row."""
    labelled: Counter[str] = Counter()
    classes: dict[str, dict[str, Counter[str]]] = {}
    for labels in tables:
        labelled.update(dict(_tasks_known(labels)))
        splits = labels.column("split") if "split" in labels.column_names else pa.nulls(labels.num_rows, pa.string())
        for name in (name for name in VOCABULARIES if name in labels.column_names):
            known = pa.table({"split": splits, "class": labels.column(name)}).filter(pc.is_valid(labels.column(name)))
            for row in known.group_by(["split", "class"]).aggregate([([], "count_all")]).to_pylist():
                by_class = classes.setdefault(row["split"] or "", {}).setdefault(name, Counter())
                by_class[row["class"]] += row["count_all"]
    ordered = [task for task in (*TASK_COLUMNS, "votes") if labelled[task]]
    return SourceCounts(
        {task: labelled[task] for task in ordered}, {split: classes[split] for split in sorted(classes)}
    )


def _tasks_known(labels: pa.Table) -> Iterator[tuple[str, int]]:
    for task, columns in TASK_COLUMNS.items():
        present = [labels.column(name) for name in columns if name in labels.column_names]
        if task != "va" or len(present) == len(columns):
            yield task, _rows_known(present, pc.and_ if task == "va" else pc.or_)
    if "expression_votes" in labels.column_names:
        yield "votes", len(labels) - labels.column("expression_votes").null_count


def count_splits(tables: Iterable[pa.Table]) -> dict[str, int]:
    """Split -> samples, in order of name; samples without a split are left out."""
    counted: Counter[str] = Counter()
    for samples in tables:
        if "split" in samples.column_names:
            for row in pc.value_counts(samples.column("split").drop_null()).to_pylist():
                counted[row["values"]] += row["counts"]
    return dict(sorted(counted.items()))


def differences(
    published: Iterable[Published],
    variant: str,
    samples: int,
    splits: Mapping[str, int],
    sources: Mapping[str, SourceCounts],
) -> Iterator[str]:
    """What was read and was published otherwise, in words; parts of the dataset that are absent are passed over."""
    for entry in published:
        if not is_comparable(entry, variant, splits, sources):
            continue
        read = read_counts(entry, samples, splits, sources)
        unlike = [
            f"{name or 'all'} {read.get(name, 0):,} of {count:,}"
            for name, count in entry.counts.items()
            if not entry.fits(name, read.get(name, 0))
        ]
        if unlike and entry.counts.get("", 0) > 2 * read[""]:
            unlike = [f"{read['']:,} of {entry.counts['']:,}"]
        if unlike:
            column = "" if entry.source == "samples" or entry.column == "expression" else entry.column
            where = " ".join(filter(None, (entry.source, entry.split, column)))
            yield f"{where} differs from the published counts ({entry.sure}): {', '.join(unlike)}"


def is_comparable(
    entry: Published, variant: str, splits: Mapping[str, int], sources: Mapping[str, SourceCounts]
) -> bool:
    """Whether published counts are of what was read: this variant, a split that is there, a source that says it."""
    if (entry.variants and variant not in entry.variants) or (entry.split and not splits.get(entry.split)):
        return False
    return entry.source == "samples" or _is_labelled(sources.get(entry.source), entry.column)


def _is_labelled(counts: SourceCounts | None, column: str) -> bool:
    return counts is not None and any(column in columns for columns in counts.classes.values())


def read_counts(
    entry: Published, samples: int, splits: Mapping[str, int], sources: Mapping[str, SourceCounts]
) -> dict[str, int]:
    """Class -> samples that were read, for the classes of a published entry; the key `""` counts all of them.

    Args:
        samples: All samples, also those without a split.
    """
    if entry.source == "samples":
        return {"": splits.get(entry.split, 0) if entry.split else samples}
    by_split = sources[entry.source].classes
    chosen = [by_split.get(entry.split, {})] if entry.split else list(by_split.values())
    totals: dict[str, int] = {"": 0}
    for columns in chosen:
        for name, count in columns.get(entry.column, {}).items():
            totals[name] = totals.get(name, 0) + count
            totals[""] += count
    return totals


def _source_lines(source: str, counts: SourceCounts, samples: int) -> Iterator[str]:
    tasks = ", ".join(f"{task} {count:,}" for task, count in counts.labelled.items())
    yield f"labels/{source}: {tasks or 'nothing labelled'} of {samples:,}"
    for split, columns in counts.classes.items():
        for column, classes in columns.items():
            order = [name for name in VOCABULARIES[column].names if name in classes]
            each = ", ".join(f"{name} {classes[name]:,}" for name in order)
            yield f"  {split or 'no split'} {column} {sum(classes.values()):,}: {each}"


def _rows_known(columns: list[pa.ChunkedArray], combine: Callable[..., pa.ChunkedArray]) -> int:
    """Rows that know the task: any of its columns, or all of them where only together they are a label."""
    if not columns:
        return 0
    return int(pc.sum(reduce(combine, (pc.is_valid(column) for column in columns))).as_py() or 0)
