"""What `evaluate` returns and writes: every metric per dataset, with and without relatives of training pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from manifests.errors import UnknownNameError
from trainer.metrics.classified import Confusion
from trainer.metrics.registry import Evidence
from trainer.metrics.result import MetricResult

WITHOUT_RELATED = "without related"
"""Variant of metrics over the samples that share no person, clip or picture with training."""


@dataclass(frozen=True)
class GroupScores:
    """Scores of the samples of which an attribute has one value."""

    attribute: str
    value: str
    samples: int
    results: tuple[MetricResult, ...]


@dataclass(frozen=True)
class DatasetScores:
    """Scores of one dataset."""

    dataset: str
    protocol: str
    role: str
    fold: int | None
    truth: tuple[str, ...]
    """Label sources that the truth came from, in order."""
    samples: int
    """Samples with this role that are scored."""
    missing: int
    """Samples with this role that are not scored, because they have no `lacking`."""
    results: tuple[MetricResult, ...]
    """Every metric over all scored samples."""
    confusion: Confusion | None
    """Truth against prediction of the expression task."""
    lacking: str = "crop"
    """What a scored sample must have: a crop, or a prediction in somebody's file."""
    copies: int = 0
    """Scored samples whose picture is identical to one that the protocol gives to training."""
    seen: int = 0
    """Scored samples that share a person, clip or picture with one that this run trained on or chose by."""
    trained: int = 0
    """Scored samples that this run itself trained on or chose its epoch by: 0 unless they were asked for."""
    clean: tuple[MetricResult, ...] = ()
    """Every metric without `copies` and `seen`."""
    unit: str = ""
    """What was drawn whole for the intervals: subjects, sequences, duplicate groups or samples; "": no intervals."""
    au_cut: float | None = None
    """Intensity from which an AU of the truth counts as present; None: the truth says absent or present itself."""
    notes: tuple[str, ...] = ()
    """What else is to be known of the scores, in words."""
    groups: tuple[GroupScores, ...] = ()
    """The same metrics for subgroups of the samples, where they were asked for."""
    evidence: Mapping[str, Evidence] = field(default_factory=dict, repr=False, compare=False)
    """Task -> truth and prediction of every sample, so that folds can be scored together; not written."""

    @property
    def about(self) -> str:
        """Dataset, protocol, fold and role in words."""
        fold = "" if self.fold is None else f" fold {self.fold}"
        return f"{self.dataset} {self.protocol}{fold} {self.role}"

    def value(self, name: str, *, clean: bool = False) -> float:
        """One metric by name.

        Raises:
            UnknownNameError: The run has no such metric.
        """
        results = {result.name: result.value for result in (self.clean if clean else self.results)}
        if name not in results:
            raise UnknownNameError("metric", name, results)
        return results[name]

    def recalls(self) -> list[tuple[str, float, int]]:
        """Class, recall (NaN: not in the truth) and number of samples of the expression task."""
        if self.confusion is None:
            return []
        table = self.confusion
        return list(zip(table.classes, table.recall.tolist(), table.truths.tolist(), strict=True))


@dataclass(frozen=True)
class Scores:
    """Scores of a run under one protocol and role."""

    run: str
    epoch: int
    """Epoch, from 0, whose weights were scored."""
    datasets: tuple[DatasetScores, ...]
    transductive: tuple[str, ...] = ()
    """Why these are no scores of unseen samples: what taught the run may have seen them."""

    def lines(self) -> Iterator[str]:
        """One fact a line, for people."""
        for reason in self.transductive:
            yield f"TRANSDUCTIVE: {reason}"
        for d in self.datasets:
            yield f"{d.about}: {d.samples:,} samples, truth {', '.join(d.truth)}"
            if d.missing:
                yield f"  {d.missing:,} more have no {d.lacking} and are not scored"
            if d.copies:
                yield f"  {d.copies:,} are pixel-identical to a training picture of the protocol"
            if d.seen:
                yield f"  {d.seen:,} share a person, clip or picture with what THIS RUN, or one it began from, has seen"
            if d.trained:
                yield f"  NOT A RESULT: this run trained on, or chose its epoch by, {d.trained:,} of these samples"
            yield from (f"  {text}" for text in d.notes)
            if d.au_cut is not None:
                yield f"  an AU of the truth counts as present from intensity {d.au_cut:g}"
            intervals = [r.interval for r in d.results if r.interval is not None]
            if intervals:
                drawn = f"{intervals[0].resamples:,} draws of {intervals[0].clusters:,} {d.unit}"
                yield f"  intervals of {intervals[0].level:.0%}: {drawn}"
            related = d.copies or d.seen
            clean = {r.name: f"  ({r.value:.4f} without related)" for r in d.clean if related}
            for result in d.results:
                if result.flags != ("empty",):  # the dataset labels this task
                    yield f"  {_line(result)}{clean.get(result.name, '')}"
            for name, recall, count in d.recalls():
                yield f"  recall {name:10} {'-' if math.isnan(recall) else f'{recall:.3f}'}  n {count:,}"
            yield from _by_group(d.groups)

    def to_json(self) -> str:
        """JSON with every result, NaN as null."""
        tree = {
            "run": self.run,
            "epoch": self.epoch,
            "transductive": list(self.transductive),
            "datasets": [_plain(d) for d in self.datasets],
        }
        return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def _line(result: MetricResult) -> str:
    value = "-" if math.isnan(result.value) else f"{result.value:.4f}"
    drawn = "" if result.interval is None else f"  {result.interval.low:.4f} .. {result.interval.high:.4f}"
    used = f"  n {result.rows_used:,}" if result.rows_used else ""
    flags = f"  [{'; '.join(result.flags)}]" if result.flags else ""
    return f"{result.name:14} {value}{drawn}{used}{flags}"


def _by_group(groups: tuple[GroupScores, ...]) -> Iterator[str]:
    """A table per attribute: metrics as rows, which may be many, and subgroups as columns."""
    for attribute in dict.fromkeys(group.attribute for group in groups):
        mine = [group for group in groups if group.attribute == attribute]
        labelled = {r.name for group in mine for r in group.results if r.rows_used}
        names = [r.name for r in mine[0].results if r.name in labelled]
        widths = [max(len(group.value), 8) for group in mine]
        rows = [("", [group.value for group in mine]), ("samples", [f"{group.samples:,}" for group in mine])]
        for name in names:
            values = (next(r.value for r in group.results if r.name == name) for group in mine)
            rows.append((name, ["-" if math.isnan(value) else f"{value:.4f}" for value in values]))
        yield f"  by {attribute}"
        for name, cells in rows:
            shown = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            yield f"    {name:14}{shown}"


def _plain(scores: DatasetScores) -> dict[str, Any]:
    tree = asdict(replace(scores, confusion=None, evidence={}))
    del tree["evidence"]
    tree["confusion"] = None if scores.confusion is None else scores.confusion.matrix.tolist()
    tree["classes"] = None if scores.confusion is None else list(scores.confusion.classes)
    return {name: finite(value) for name, value in tree.items()}


def finite(value: Any) -> Any:
    """The value with NaN as None, which JSON has a word for."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value
