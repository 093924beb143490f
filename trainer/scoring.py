"""Predictions and truth to the metrics of each task (reference/metrics.md); which of them may choose an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from manifests.errors import RecipeError, UnknownNameError
from trainer.metrics.accuracy import top1, uar
from trainer.metrics.au_accuracy import au_acc_mean, au_trivial_acc
from trainer.metrics.au_f1 import au_f1
from trainer.metrics.ccc import ccc, p_va
from trainer.metrics.classified import Classified, Confusion, classified, confusion
from trainer.metrics.detected import Detected, detected
from trainer.metrics.f1 import macro_f1
from trainer.metrics.located import Located, Normaliser, located, nme
from trainer.metrics.rated import Rated, rated
from trainer.metrics.rating_error import rmse
from trainer.metrics.result import MetricResult
from trainer.predictions import Predictions
from trainer.recipe import Recipe
from trainer.settings import Tasks
from trainer.targets import Targets

EXPRESSION: tuple[Callable[[Classified], MetricResult], ...] = (top1, uar, macro_f1)
AU: tuple[Callable[[Detected], MetricResult], ...] = (au_f1, au_acc_mean, au_trivial_acc)
VA: tuple[Callable[[Rated], MetricResult], ...] = (
    p_va,
    lambda rows: ccc(rows, "valence"),
    lambda rows: ccc(rows, "arousal"),
    lambda rows: rmse(rows, "valence"),
    lambda rows: rmse(rows, "arousal"),
)
LANDMARKS: tuple[Callable[[Located], MetricResult], ...] = (lambda rows: nme(rows, Normaliser.INTER_OCULAR),)

NAMES = {
    "expression": ("top1", "uar", "macro_f1"),
    "va": ("p_va", "ccc_valence", "ccc_arousal", "rmse_valence", "rmse_arousal"),
    "au": ("au_f1", "au_acc_mean", "au_trivial_acc"),
    "landmarks": ("nme_io",),
}
"""Task -> names of its metrics, the primary one first."""

LOWER_IS_BETTER = ("rmse_valence", "rmse_arousal", "nme_io")
USELESS = ("au_trivial_acc",)
"""Metrics that do not depend on the prediction."""


def evidence_expression(tasks: Tasks, predictions: Predictions, truth: Targets) -> Classified | None:
    """Truth and predicted classes, or None where the run has no expression head."""
    if tasks.expression is None or predictions.expression is None or truth.expression is None:
        return None
    target = truth.expression
    return classified(
        target.code.numpy(), predictions.expression, target.mask.numpy(), classes=tasks.expression.classes
    )


def confusion_of(tasks: Tasks, predictions: Predictions, truth: Targets) -> Confusion | None:
    """Confusion matrix of the expression task, or None where the run has no expression head."""
    rows = evidence_expression(tasks, predictions, truth)
    return None if rows is None else confusion(rows)


def score(tasks: Tasks, predictions: Predictions, truth: Targets) -> list[MetricResult]:
    """Every metric of every task of a run, in the order of `NAMES`.

    Args:
        tasks: Tasks of the recipe.
        predictions: Predictions of N samples.
        truth: Their truth, masked per cell; a task without truth gives NaN with the flag `empty`.
    """
    results: list[MetricResult] = []
    expression = evidence_expression(tasks, predictions, truth)
    if expression is not None:
        results += [metric(expression) for metric in EXPRESSION]
    if predictions.va is not None and truth.va is not None:
        rows = rated(truth.va.values.numpy(), predictions.va, truth.va.mask.numpy())
        results += [metric(rows) for metric in VA]
    if tasks.au is not None and predictions.au is not None and truth.au is not None:
        present = (truth.au.present >= 0.5).numpy()
        cells = detected(present, predictions.au, truth.au.mask.numpy(), aus=tasks.au.aus)
        results += [metric(cells) for metric in AU]
    if predictions.landmarks is not None and truth.landmarks is not None:
        points = located(truth.landmarks.points.numpy(), predictions.landmarks, truth.landmarks.mask.numpy())
        results += [metric(points) for metric in LANDMARKS]
    return results


def check_selection(recipe: Recipe) -> None:
    """Refuse selection metrics that the tasks of the recipe do not give.

    Raises:
        UnknownNameError: A metric of no task of the recipe.
        RecipeError: A metric that does not depend on the prediction.
    """
    known = [name for task in recipe.tasks.names for name in NAMES[task]]
    for name in recipe.selection.metrics:
        if name not in known:
            raise UnknownNameError("selection metric", name, known)
        if name in USELESS:
            raise RecipeError(f"selection metric {name}", expected="a metric that depends on the prediction")


def selection_score(results: Iterable[MetricResult], names: Sequence[str]) -> float:
    """Sum of the named metrics, those where lower is better subtracted; NaN counts as the worst, 0 or 1.

    A metric that is undefined (a class head that says one class only, nothing labelled) must not make every epoch
    incomparable.
    """
    value = {result.name: result.value for result in results}
    total = 0.0
    for name in names:
        undefined = math.isnan(value[name])
        total += -(1.0 if undefined else value[name]) if name in LOWER_IS_BETTER else 0.0 if undefined else value[name]
    return total


def renamed(results: Iterable[MetricResult], variant: str) -> list[MetricResult]:
    """The results under a variant name, such as `without_copies`."""
    return [replace(r, variant=f"{r.variant} {variant}".strip()) for r in results]
