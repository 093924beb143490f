"""From a study to the commands that are missing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from manifests.errors import AffectError, StaleLayerError
from manifests.lake import Lake
from trainer.reproduction.job import Job, with_needs
from trainer.reproduction.study import Row, Step, Study, filled
from trainer.reproduction.workshop import Command, Painting, Workshop


def pending(
    study: Study, workshop: Workshop, planned: Sequence[Job], only: Sequence[str] = ()
) -> list[Command | Painting]:
    """What is missing, in order: the lake's layers, then for each run its labels, its training and its scores.

    What is there is not done again, a begun run goes on.

    Args:
        study, workshop: What, and where.
        planned: As of `jobs`.
        only: Rows whose runs are trained, and with them those that they need; empty: all.

    Raises:
        UnknownNameError: `only` names no row.
        AffectError: It names a row that is printed only; or a path is missing that the user has to name.
        RunError: A run of any row was made with other settings.
        StaleLayerError: A layer of the lake is older than what it was made from.
    """
    chosen: list[Row] = []
    for name in only or [row.name for row in study.rows if row.runs]:
        row = study.row(name)
        if not row.runs:
            trained = ", ".join(one.name for one in study.rows if one.runs)
            raise AffectError(f"row {name} is printed only", expected=f"a row that is trained: {trained}")
        with_needs(study, row, chosen)
    state = {job.name: job.run for job in planned}  # refuses other settings before the first command
    lake, made = workshop.lake(), set[str]()
    found: list[Command | Painting] = list(_preparation(study, workshop, lake, made))
    for job in planned:
        run = state[job.name]
        if job.row not in chosen or (run is not None and job.is_scored(run)):
            continue
        if run is None:
            needed = [step for step in job.before if not _is_there(step, lake, made)]
            found += [_command(workshop, shlex.split(step.command)) for step in needed]
            found.append(_command(workshop, _training(job, workshop)))
        found.append(_command(workshop, _scoring(job, workshop)))
    return found


def _preparation(study: Study, workshop: Workshop, lake: Lake | None, made: set[str]) -> Iterator[Command | Painting]:
    for name, paint in study.paint.items():
        if not (folder := workshop.data / name).is_dir():
            yield Painting(folder, workshop.samples or paint.samples, paint.seed, paint.variant)
    for step in study.prepare:
        if not _is_there(step, lake, made):
            _check_paths(study, workshop)
            yield _command(workshop, shlex.split(filled(step.command, workshop.given())))


def _is_there(step: Step, lake: Lake | None, made: set[str]) -> bool:
    """Whether the lake has what the step makes, or an earlier step of this plan makes it."""
    dataset, _, key = step.makes.partition("/")
    there = step.makes in made
    made.add(step.makes)
    if there or lake is None or not lake.has(dataset, key):
        return there
    layer = lake.layer(dataset, key)
    if layer.stale:
        raise StaleLayerError(f"{key} of {dataset} is stale", found=layer.stale, then=f"affect drop {dataset} {key}")
    return True


def _check_paths(study: Study, workshop: Workshop) -> None:
    missing = [name for name in study.paths if name not in workshop.paths]
    if missing:
        raise AffectError(
            f"{study.paper} on {study.data} needs files of yours",
            expected="; ".join(f"{name}: {study.paths[name]}" for name in missing),
            then=" ".join(f"--with {name}=PATH" for name in missing),
        )


def _command(workshop: Workshop, arguments: Sequence[str]) -> Command:
    return Command(("--lake", str(workshop.folder / "lake"), *arguments))


def _training(job: Job, workshop: Workshop) -> list[str]:
    place = ["--run", job.name, "--runs", str(workshop.runs), "--device", workshop.device]
    if job.begun:
        return ["train", str(job.folder / "recipe.yaml"), *place, "--resume"]
    sets = [part for name, value in job.changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    return ["train", job.base.name, *place, *sets]


def _scoring(job: Job, workshop: Workshop) -> list[str]:
    asked = [name if name in job.own else f"{name}:{protocol}" for name, protocol in job.scored.items()]
    named = [part for name in asked for part in ("-d", name)] if asked != list(job.own) else []
    place = ["--runs", str(workshop.runs), "--device", workshop.device]
    return ["evaluate", job.name, *named, *place, "--resamples", "0"]
