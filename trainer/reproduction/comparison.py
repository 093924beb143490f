"""What the runs of a study say, beside what the paper prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import RunError
from manifests.lake import Lake
from manifests.protocols import identity, units
from trainer.evidence import scorer
from trainer.metrics.result import Floats, Interval
from trainer.metrics.uncertainty import RESAMPLES, Statistic, interval_of, resampled
from trainer.recipe import differences
from trainer.reproduction.job import Job
from trainer.reproduction.order import Pair, pairs
from trainer.reproduction.study import Column, Study
from trainer.run import Run
from trainer.scoring import lower_is_better


@dataclass(frozen=True)
class Cell:
    """One method by one metric, in the paper's unit.

    Attributes:
        values: Seed -> score.
        mean: Their mean, with an interval over seeds and scored samples together.
    """

    values: Mapping[int, float]
    mean: Interval


@dataclass(frozen=True)
class Block:
    """One metric: every method, and the printed columns it is compared with.

    Attributes:
        cells: Row -> ours; a row without a run is not there.
        orders: Printed column -> every two methods of which the paper and we have numbers.
        samples: Scored samples, and of what unit the intervals draw.
    """

    column: Column
    lower_is_better: bool
    cells: Mapping[str, Cell]
    orders: Mapping[str, tuple[Pair, ...]]
    samples: int
    unit: str


@dataclass(frozen=True)
class Comparison:
    """A whole table.

    Attributes:
        seeds: Those that were asked for.
        missing: Row -> seeds without a finished and scored run.
        changed: Field -> (in the package's recipe, here), where all runs of the table agree in both.
        changed_in: Row -> the same, where they do not.
        notes: What else a reader must know: scored samples that training has seen, teachers that have.
    """

    study: Study
    blocks: tuple[Block, ...]
    seeds: tuple[int, ...]
    missing: Mapping[str, tuple[int, ...]]
    changed: Mapping[str, tuple[object, object]]
    changed_in: Mapping[str, Mapping[str, tuple[object, object]]]
    notes: tuple[str, ...]


def compare(
    study: Study, planned: Sequence[Job], lake: Lake, seeds: Sequence[int], *, resamples: int = RESAMPLES
) -> Comparison:
    """The table of a study from the runs that are there.

    The interval of a mean draws, `resamples` times, whole people (videos, duplicate groups) of the scored samples and,
    of n > 1 seeds, n - 1 of them with replacement, so that it holds what another test set and another start would
    change; n - 1 because n draws of so few seeds are too narrow (Hesterberg 2015, What teachers should know
    about the bootstrap). Differences of two methods
    draw the same people and seeds for both.

    Args:
        study: The rows, columns and printed numbers.
        planned: Runs of all rows; those that are not finished and scored leave their cell blank.
        lake: Where people and pictures are told apart.
        seeds: Those that were asked for.
        resamples: Draws; 0: no intervals.

    Raises:
        RunError: Runs that scored different samples, or one that was made with other settings.
    """
    runs = [(job, run) for job in planned if (run := job.run) is not None and job.is_scored(run)]
    blocks = [_block(study, column, runs, lake, resamples) for column in study.columns]
    done = {(job.row.name, job.seed) for job, _ in runs}
    lacking = {(job.row.name, job.seed) for job in planned if job.name not in {there.name for there, _ in runs}}
    missing = {
        row.name: gone
        for row in study.rows
        if row.runs and (gone := tuple(seed for seed in seeds if (row.name, seed) not in done - lacking))
    }
    changed, changed_in = _changes(planned)
    return Comparison(
        study, tuple(blocks), tuple(seeds), missing, changed, changed_in, tuple(_notes([run for _, run in runs]))
    )


def _block(study: Study, column: Column, runs: Sequence[tuple[Job, Run]], lake: Lake, resamples: int) -> Block:
    scores: dict[str, dict[int, Statistic]] = {}
    ids: pa.Array | None = None
    for job, run in runs:
        if column.dataset not in job.scored or job.seed in scores.get(job.row.name, {}):
            continue
        table = run.predictions(column.dataset, job.wanted.protocol.report)
        found = scorer(table, column.metric)
        if found is None:
            continue
        mine = table["sample_id"].combine_chunks()
        if ids is not None and not ids.equals(mine):
            raise RunError(
                f"runs of {study.paper} scored different samples of {column.dataset}",
                found=f"{len(mine):,} of run {run.name}, {len(ids):,} of others",
                then=f"affect evaluate {run.path} again, or train it again",
            )
        ids = mine
        scores.setdefault(job.row.name, {})[job.seed] = found
    unit, clusters = ("", np.empty(0, np.int64)) if ids is None else _clusters(lake, column.dataset, ids)
    drawn = _Drawn(scores, clusters, resamples, column.scale)
    cells = {row: Cell(drawn.values[row], drawn.mean(row)) for row in scores}
    lower = lower_is_better(column.metric)
    orders = {
        key: tuple(
            pairs(
                {row.name: row.printed[key] for row in study.rows if key in row.printed},
                drawn.difference,
                lower_is_better=lower,
            )
        )
        for key in column.beside
    }
    return Block(column, lower, cells, orders, 0 if ids is None else len(ids), unit)


def _clusters(lake: Lake, dataset: str, ids: pa.Array) -> tuple[str, np.ndarray]:
    who = identity(lake, dataset)
    return units(who.take(pc.index_in(ids, value_set=who["sample_id"].combine_chunks())))


class _Drawn:
    """Scores of every row and seed on the same draws of people.

    Args:
        scores: Row -> seed -> score of given sample rows.
        clusters: int64 [N], what is drawn whole.
        resamples: Draws.
        scale: What values are multiplied with.
    """

    def __init__(
        self, scores: Mapping[str, Mapping[int, Statistic]], clusters: np.ndarray, resamples: int, scale: float
    ) -> None:
        flat = [(row, seed, score) for row, mine in scores.items() for seed, score in mine.items()]
        everything = np.arange(len(clusters))
        self.values: dict[str, dict[int, float]] = {row: {} for row in scores}
        for row, seed, score in flat:
            self.values[row][seed] = scale * score(everything)
        drawn = np.empty((resamples, len(flat)))
        if flat and resamples:
            drawn = scale * resampled(lambda rows: [score(rows) for *_, score in flat], clusters, resamples=resamples)
        self.drawn = {(row, seed): drawn[:, n] for n, (row, seed, _) in enumerate(flat)}
        self.resamples, self.people = resamples, len(np.unique(clusters))

    def mean(self, row: str) -> Interval:
        """Mean over seeds."""
        seeds = list(self.values[row])
        values = np.array([self.values[row][seed] for seed in seeds])
        return self._interval(values, np.stack([self.drawn[row, seed] for seed in seeds], 1))

    def difference(self, one: str, other: str) -> Interval | None:
        """Mean difference over the seeds that both have; None without one, or where it is undefined."""
        seeds = [seed for seed in self.values.get(one, {}) if seed in self.values.get(other, {})]
        values = np.array([self.values[one][seed] - self.values[other][seed] for seed in seeds])
        if not seeds or np.isnan(values).any():
            return None
        drawn = np.stack([self.drawn[one, seed] - self.drawn[other, seed] for seed in seeds], 1)
        return self._interval(values, drawn)

    def _interval(self, values: Floats, drawn: Floats) -> Interval:
        """Interval of the mean of `values` [S] from their scores on draws, [resamples, S]."""
        count = len(values)
        rng = np.random.default_rng(count)
        seeds = rng.integers(0, count, (self.resamples, max(1, count - 1)))
        means = np.take_along_axis(drawn, seeds, 1).mean(1) if self.resamples else np.empty(0)
        return interval_of(float(values.mean()), means, self.people)


Changes = Mapping[str, tuple[object, object]]


def _changes(planned: Sequence[Job]) -> tuple[Changes, Mapping[str, Changes]]:
    """How the runs differ from the package's recipes: what all share, and by row what they do not.

    Data (datasets, sources, protocol) are left out: `about` of the study speaks of them.
    """
    data = ("datasets", "sources", "protocol.", "train.seed")
    by_row: dict[str, dict[str, tuple[object, object]]] = {}
    for job in planned:
        mine = by_row.setdefault(job.row.name, {})
        for name, old, new in differences(job.base, job.wanted):
            if not name.startswith(data):
                mine.setdefault(name, (old, new))
    first = next(iter(by_row.values()), {})
    shared = {
        name: change
        for name, change in first.items()
        if all(repr(m.get(name)) == repr(change) for m in by_row.values())
    }
    own = {row: {name: change for name, change in mine.items() if name not in shared} for row, mine in by_row.items()}
    return shared, {row: mine for row, mine in own.items() if mine}


def _notes(runs: Sequence[Run]) -> list[str]:
    dropped: dict[str, int] = {}
    seen = 0
    reasons: dict[str, None] = {}
    for run in runs:
        for dataset, counts in run.facts.dropped.items():
            dropped[dataset] = max(dropped.get(dataset, 0), int(counts.get("dropped", 0)))
        seen += sum(d["seen"] + d["trained"] for d in (run.scores or {"datasets": []})["datasets"])
        reasons |= dict.fromkeys(run.facts.transductive)
    lines = [
        f"{dataset}: {count:,} training pictures left training because they share a person, clip or identical picture "
        "with a scored one"
        for dataset, count in dropped.items()
        if count
    ]
    lines += [f"NOT CLEAN: {seen:,} scored pictures (over all runs) are related to what trained"] if seen else []
    return [*lines, *(f"TRANSDUCTIVE: {reason}" for reason in reasons)]
