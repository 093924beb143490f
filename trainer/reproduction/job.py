"""The runs of a study: one per experiment and seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from manifests.errors import RunError
from trainer.metrics.registry import metric
from trainer.recipe import Recipe, differences, load
from trainer.reproduction.study import SEEDS, Row, Step, Study, filled
from trainer.reproduction.workshop import Workshop
from trainer.run import FACTS, Run
from trainer.scoring import split_name


@dataclass(frozen=True)
class Asked:
    """What of a study is wanted.

    Attributes:
        seeds: One run of every experiment for each.
        changes: Fields of every recipe, over those of the study.
    """

    seeds: tuple[int, ...] = SEEDS
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run of a row.

    Attributes:
        base: The recipe as the package has it.
        wanted: The recipe that is trained.
        changes: What is set to get from one to the other.
        before: Commands that it needs, with everything filled in.
        scored: Dataset to score it on -> protocol.
    """

    row: Row
    seed: int
    folder: Path
    base: Recipe
    wanted: Recipe
    changes: Mapping[str, object]
    before: tuple[Step, ...]
    scored: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def own(self) -> tuple[str, ...]:
        """Datasets that it trains on."""
        return tuple(d.name for d in self.wanted.datasets)

    @property
    def begun(self) -> bool:
        """Whether its folder is there."""
        return (self.folder / FACTS).exists()

    @property
    def run(self) -> Run | None:
        """The run, if it is finished.

        Raises:
            RunError: A run of that name was made by another recipe.
        """
        if not self.begun:
            return None
        run = Run(self.folder, finished=False)
        different = differences(run.recipe, self.wanted)
        if different:
            raise RunError(
                f"run {self.folder} was made with other settings",
                found="; ".join(f"{name} {old}" for name, old, _ in different[:4]),
                expected="; ".join(f"{name} {new}" for name, _, new in different[:4]),
                then="give the same options as then; another --folder, or removing the run, starts anew",
            )
        return run if run.facts.state == "finished" else None

    def is_scored(self, run: Run) -> bool:
        """Whether its scores are those of the study: protocol, role and every dataset."""
        tree: dict[str, Any] = run.scores or {}
        found = {(d["dataset"], d["protocol"], d["role"]) for d in tree.get("datasets", [])}
        role = self.wanted.protocol.report
        return {(name, protocol, role) for name, protocol in self.scored.items()} <= found


def jobs(study: Study, workshop: Workshop, asked: Asked) -> list[Job]:
    """Every run of every row, in an order in which each finds what it needs: the first seed of all rows comes first.

    Raises:
        RecipeError: A change does not fit.
    """
    order: list[Row] = []
    for row in study.rows:
        with_needs(study, row, order)
    return [job for seed in asked.seeds for row in order for job in _of_row(study, row, seed, workshop, asked)]


def with_needs(study: Study, row: Row, order: list[Row]) -> None:
    """Append a row to `order`, behind the rows that it needs; one that is there already stays."""
    for name in row.needs:
        with_needs(study, study.row(name), order)
    if row not in order:
        order.append(row)


def _of_row(study: Study, row: Row, seed: int, workshop: Workshop, asked: Asked) -> Iterator[Job]:
    given = workshop.given(seed=str(seed))
    made = []
    for key, experiment in row.runs.items():
        parts = [study.paper, row.name, *([key] if len(row.runs) > 1 else []), str(seed)]
        base = load(experiment.recipe)
        changes = filled({**study.set, **row.set, **experiment.set}, given)
        changes |= {**asked.changes, "train.seed": seed}
        before = tuple(step.model_copy(update=filled(step.model_dump(), given)) for step in experiment.before)
        made.append(Job(row, seed, workshop.runs / "-".join(parts), base, base.replace(changes), changes, before, {}))
    owned = {name for job in made for name in job.own}
    for job in made:
        wanted = job.wanted
        foreign = _foreign(study, wanted, owned)
        scored = {name: wanted.protocol_of(name) for name in job.own}
        yield replace(job, scored=scored | {name: study.protocols.get(name, wanted.protocol.name) for name in foreign})


def _foreign(study: Study, recipe: Recipe, owned: set[str]) -> list[str]:
    """Datasets of columns on which no run of the row was trained, where they ask for a task that the recipe has."""
    asked: dict[str, set[str]] = {}
    for column in study.columns:
        asked.setdefault(column.dataset, set()).add(metric(split_name(column.metric)[0]).task)
    return [name for name, tasks in asked.items() if name not in owned and tasks & set(recipe.tasks.names)]
