"""Whether the metrics that somebody asks for fit the tasks of a run, said before anything is trained or predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from manifests.errors import RecipeError, UnknownNameError
from manifests.vocabulary import EXPRESSION_SPACES, au_column
from trainer.metrics.classified import Classified, classified
from trainer.metrics.detected import detected
from trainer.metrics.located import located
from trainer.metrics.rated import INTENSITY_RANGE, rated
from trainer.metrics.registry import NAMES, Evidence, metric
from trainer.metrics.result import MetricInputError
from trainer.recipe import Recipe
from trainer.scoring import ABAW_MTL, evidence_lacks, evidence_over, split_name, tasks_of
from trainer.tasks import Tasks

USELESS = ("au_trivial_acc",)
"""Metrics that do not depend on the prediction."""


def check_asked(tasks: Tasks, names: Sequence[str], kind: str = "metric", then: str = "") -> None:
    """Refuse metrics that predictions of these tasks cannot be scored by.

    Args:
        tasks: What is predicted, over which classes and AUs.
        names: As `trainer.scoring.score` has them.
        kind, then: What asks for them, and what to do where there is none of a name, for the message.

    Raises:
        UnknownNameError: A metric of none of these tasks, or no such class space or AU set.
        MetricInputError: A metric over other classes or AUs than those of the tasks.
    """
    evidence = _of_nothing(tasks)
    for name in names:
        stem, over = split_name(name)
        if not _is_of(tasks, stem):
            raise UnknownNameError(kind, name, [known for known in (*NAMES, ABAW_MTL) if _is_of(tasks, known)], then)
        if stem == ABAW_MTL:
            check_asked(tasks, ("abaw_va", "abaw_expr", "abaw_au"), kind)
            continue
        rows = evidence[metric(stem).task]
        if over and (lacking := evidence_lacks(rows, over)):
            raise MetricInputError(f"{kind} {name} does not fit what is predicted", found=lacking)
        metric(stem).score(_narrowed(rows, over))


def _is_of(tasks: Tasks, name: str) -> bool:
    try:
        return set(tasks_of(name)) <= set(tasks.names)
    except UnknownNameError:
        return False


def _narrowed(rows: Evidence, over: str) -> Evidence:
    if over and isinstance(rows, Classified):
        return replace(rows, classes=EXPRESSION_SPACES[over])
    return evidence_over(rows, over)


def _of_nothing(tasks: Tasks) -> dict[str, Evidence]:
    """Evidence of one sample that nothing is known of: a metric takes it, or says what it needs."""
    blank = np.zeros(1, np.int64)
    found: dict[str, Evidence] = {
        task: classified(blank, blank, blank, classes=getattr(tasks, task).classes)
        for task in ("expression", "compound", "mental_state")
        if task in tasks.names
    }
    if tasks.va:
        found["va"] = rated(np.full((1, 2), np.nan), np.zeros((1, 2)), videos=blank)
    if tasks.au:
        cells = np.zeros((1, len(tasks.au.aus)))
        found["au"] = detected(cells, cells, cells, aus=tasks.au.aus)
    if tasks.au_intensity:
        axes = [au_column(au) for au in tasks.au_intensity.aus]
        cells = np.zeros((1, len(axes)))
        found["au_intensity"] = rated(cells, cells, cells, axes=axes, scale=INTENSITY_RANGE)
    if tasks.landmarks:
        found["landmarks"] = located(np.full((1, 68, 2), np.nan), np.zeros((1, 68, 2)))
    return found


def check_selection(recipe: Recipe) -> None:
    """Refuse selection metrics that the tasks of the recipe do not give.

    Raises:
        UnknownNameError: A metric of no task of the recipe.
        MetricInputError: A metric over other classes or AUs than those of the tasks.
        RecipeError: A metric that does not depend on the prediction, or one of videos: no epoch is scored by them.
    """
    check_asked(recipe.tasks, recipe.selection.metrics, "selection metric", "name some of these in selection.metrics")
    for name in recipe.selection.metrics:
        if split_name(name)[0] in USELESS:
            raise RecipeError(f"selection metric {name}", expected="a metric that depends on the prediction")
        if name.endswith("_video_mean"):
            raise RecipeError(f"selection metric {name}", expected="a metric of all selection samples together")
