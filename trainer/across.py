"""Scores of several runs together: the mean and spread over folds or seeds, and folds as one."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from trainer.scores import DatasetScores, Scores, finite
from trainer.scoring import pooled


@dataclass(frozen=True)
class Spread:
    """One metric over several runs.

    Attributes:
        name: The metric.
        mean: Mean of the runs' values.
        deviation: Sample standard deviation of them, with n - 1.
        pooled: The metric over the samples of all folds together; NaN where the runs score the same samples, or the
            metric is not one that can be.
    """

    name: str
    mean: float
    deviation: float
    pooled: float


@dataclass(frozen=True)
class Across:
    """Several runs on one dataset and role of one protocol.

    Attributes:
        folds: The runs' folds, in their order; several runs of one fold are seeds.
        spreads: Every metric that all runs have.
    """

    dataset: str
    protocol: str
    role: str
    runs: tuple[str, ...]
    folds: tuple[int | None, ...]
    spreads: tuple[Spread, ...]

    @property
    def is_folded(self) -> bool:
        """Whether every run scored a fold of its own."""
        return len(set(self.folds)) == len(self.folds)

    def lines(self) -> Iterator[str]:
        """One fact a line, for people."""
        over = f"folds {', '.join(map(str, self.folds))}" if self.is_folded else f"{len(self.runs)} runs"
        yield f"{self.dataset} {self.protocol} {self.role}: {over}"
        yield f"  {'':14} {'mean':>8} {'sd':>8}" + (f" {'pooled':>8}" if self.is_folded else "")
        for spread in self.spreads:
            values = [spread.mean, spread.deviation, *([spread.pooled] if self.is_folded else [])]
            yield f"  {spread.name:14}" + "".join(f" {'-' if math.isnan(v) else f'{v:.4f}':>8}" for v in values)


def across(scores: Sequence[Scores]) -> list[Across]:
    """What several runs say together, for every dataset, protocol and role that at least two of them scored."""
    groups: dict[tuple[str, str, str], list[tuple[str, DatasetScores]]] = {}
    for one in scores:
        for d in one.datasets:
            groups.setdefault((d.dataset, d.protocol, d.role), []).append((one.run, d))
    return [_together(*key, found) for key, found in groups.items() if len(found) > 1]


def _together(dataset: str, protocol: str, role: str, found: Sequence[tuple[str, DatasetScores]]) -> Across:
    scored = [d for _, d in found]
    folds = tuple(d.fold for d in scored)
    values = [{r.name: r.value for r in d.results if r.flags != ("empty",)} for d in scored]
    names = [name for name in values[0] if all(name in other for other in values)]
    together = pooled([d.evidence for d in scored], names) if len(set(folds)) == len(folds) else {}
    spreads = (
        Spread(name, *_mean_and_deviation([v[name] for v in values]), together.get(name, math.nan)) for name in names
    )
    return Across(dataset, protocol, role, tuple(run for run, _ in found), folds, tuple(spreads))


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    if any(math.isnan(value) for value in values):
        return math.nan, math.nan
    return statistics.fmean(values), statistics.stdev(values)


def several_to_json(scores: Sequence[Scores], together: Sequence[Across]) -> str:
    """Every run's scores and what they say together, NaN as null."""
    tree = {"runs": [json.loads(one.to_json()) for one in scores], "across": [finite(asdict(x)) for x in together]}
    return json.dumps(tree, indent=1, ensure_ascii=False)
