"""Predictions and truth to the metrics of each task (reference/metrics.md), and to the score that chooses an epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from manifests import vocabulary as voc
from manifests.errors import UnknownNameError
from manifests.vocabulary import au_column
from trainer.metrics.classified import Classified, Confusion, classified, confusion
from trainer.metrics.composites import abaw_mtl
from trainer.metrics.detected import Detected, detected
from trainer.metrics.located import located
from trainer.metrics.rated import INTENSITY_RANGE, Rated, rated
from trainer.metrics.registry import DEFAULTS, Evidence, metric
from trainer.metrics.result import Ints, MetricInputError, MetricResult
from trainer.metrics.uncertainty import bootstrap_all
from trainer.predictions import Predictions
from trainer.targets import Targets
from trainer.tasks import Tasks

ABAW_MTL = "abaw_mtl"
"""The one metric over several tasks: it wants evidence of all of `MULTI_TASK`, of the same rows."""

MULTI_TASK = ("va", "expression", "au")

_OVER = re.compile(r"(?P<name>[^\[\]]+)\[(?P<over>[^\[\]]+)\]")


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: whole clusters (people, videos, duplicate groups), never single frames.

    Attributes:
        clusters: int64 [N], the cluster of each scored sample.
        unit: What a cluster is, in words.
        resamples: How many draws.
    """

    clusters: npt.NDArray[np.int64]
    unit: str
    resamples: int

    def at(self, rows: npt.NDArray[np.bool_]) -> Resampling:
        """The same for the rows where `rows`, bool [N], is true."""
        return replace(self, clusters=self.clusters[rows])


def evidence_of(
    tasks: Tasks, predictions: Predictions, truth: Targets, videos: Ints | None = None
) -> dict[str, Evidence]:
    """Task -> truth and prediction of N samples, frames of `videos`, int64 [N]; only tasks that have both."""
    found: dict[str, Evidence] = {}
    expression = evidence_expression(tasks, predictions, truth)
    if expression is not None:
        found["expression"] = expression
    if predictions.va is not None and truth.va is not None:
        found["va"] = rated(truth.va.values.numpy(), predictions.va, truth.va.mask.numpy(), videos=videos)
    if tasks.au is not None and predictions.au is not None and truth.au is not None:
        present = (truth.au.present >= 0.5).numpy()
        found["au"] = detected(present, predictions.au, truth.au.mask.numpy(), aus=tasks.au.aus)
    if tasks.au_intensity is not None and predictions.au_intensity is not None and truth.au_intensity is not None:
        values, mask = truth.au_intensity.values.numpy(), truth.au_intensity.mask.numpy()
        axes = [au_column(au) for au in tasks.au_intensity.aus]
        found["au_intensity"] = rated(values, predictions.au_intensity, mask, axes=axes, scale=INTENSITY_RANGE)
    if predictions.landmarks is not None and truth.landmarks is not None:
        points, mask = truth.landmarks.points.numpy(), truth.landmarks.mask.numpy()
        found["landmarks"] = located(points, predictions.landmarks, mask)
    for task in ("compound", "mental_state"):
        chances, target = getattr(predictions, task), getattr(truth, task)
        if chances is not None and target is not None:
            classes = getattr(tasks, task).classes
            found[task] = classified(target.code.numpy(), chances, target.mask.numpy(), classes=classes)
    return found


def evidence_expression(
    tasks: Tasks, predictions: Predictions, truth: Targets, classes: Sequence[str] = ()
) -> Classified | None:
    """Truth and predicted classes, or None where the run has no expression head.

    Args:
        tasks, predictions, truth: As for `score`.
        classes: Only these: samples of another class are not scored, and only these are predicted.
    """
    if tasks.expression is None or predictions.expression is None or truth.expression is None:
        return None
    known = tasks.expression.classes
    code, chances, mask = truth.expression.code.numpy(), predictions.expression, truth.expression.mask.numpy()
    if classes:
        kept = [known.index(name) for name in classes]
        among = np.isin(code, kept)
        new = np.full(len(known), -1)
        new[kept] = np.arange(len(kept))
        code, chances, mask = np.where(among, new[code], -1), chances[:, kept], mask & among
    return classified(code, chances, mask, classes=tuple(classes) or known)


def confusion_of(tasks: Tasks, predictions: Predictions, truth: Targets) -> Confusion | None:
    """Confusion matrix of the expression task, or None where the run has no expression head."""
    rows = evidence_expression(tasks, predictions, truth)
    return None if rows is None else confusion(rows)


def score(
    tasks: Tasks,
    predictions: Predictions,
    truth: Targets,
    asked: Sequence[str] = (),
    resampling: Resampling | None = None,
    videos: Ints | None = None,
) -> list[MetricResult]:
    """The metrics of every task of a run: those of `DEFAULTS`, then those that are asked for.

    Args:
        tasks: Tasks of the recipe.
        predictions: Predictions of N samples.
        truth: Their truth, masked per cell; a task without truth gives NaN with the flag `empty`.
        asked: Further metrics, by name; `top1[expr7]` or `au_f1[disfa8]` names the class space or AU set to score
            over. What the run cannot give is NaN with a flag that says why; tasks that it lacks are left out.
        resampling: Also give each metric its interval.
        videos: int64 [N], the video that each sample is a frame of; None: they are of none.

    Raises:
        UnknownNameError: No metric, class space or AU set of that name.
    """
    evidence = evidence_of(tasks, predictions, truth, videos)
    results: list[MetricResult] = []
    for task, rows in evidence.items():
        own = [name for name in asked if tasks_of(name) == (task,)]
        plain = list(dict.fromkeys([*DEFAULTS[task], *(name for name in own if not split_name(name)[1])]))
        results += scored(plain, rows, resampling)
        for name in dict.fromkeys(name for name in own if split_name(name)[1]):
            stem, over = split_name(name)
            narrowed = _narrowed(rows, over, (tasks, predictions, truth))
            if isinstance(narrowed, str):
                results.append(MetricResult(name, math.nan, flags=(narrowed,)))
            else:
                results += [replace(result, name=name) for result in scored([stem], narrowed, resampling)]
    if ABAW_MTL in asked and set(MULTI_TASK) <= evidence.keys():
        results.append(_multi_task(evidence, resampling))
    return results


def pooled(parts: Sequence[Mapping[str, Evidence]], names: Sequence[str]) -> dict[str, float]:
    """Metrics over the scored samples of several folds together: one value, not a mean of values.

    Args:
        parts: Evidence of each fold, as of `evidence_of`.
        names: Metrics, as `score` names them; those over another class space than the runs', those that the runs
            cannot give and those of single videos are left out.
    """
    found: dict[str, float] = {}
    for name in names:
        stem, over = split_name(name)
        if name == ABAW_MTL or not all(metric(stem).task in part for part in parts):
            continue
        rows = _joined([part[metric(stem).task] for part in parts])
        if over and (not isinstance(rows, Detected) or evidence_lacks(rows, over)):
            continue
        with suppress(MetricInputError):
            found[name] = metric(stem).score(evidence_over(rows, over)).value
    return found


def _joined(parts: Sequence[Evidence]) -> Evidence:
    """The rows of all parts, one after the other; what is not one value per row is that of the first."""
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(parts[0])
        if isinstance(getattr(parts[0], field.name), np.ndarray)
    }
    return replace(parts[0], **columns)  # type: ignore[arg-type]  # the fields of its own class


def split_name(name: str) -> tuple[str, str]:
    """`au_f1[disfa8]` -> (au_f1, disfa8)."""
    match = _OVER.fullmatch(name)
    return (match["name"], match["over"]) if match else (name, "")


def tasks_of(name: str) -> tuple[str, ...]:
    """The tasks whose predictions a metric scores.

    Raises:
        UnknownNameError: No metric has this name.
    """
    return MULTI_TASK if name == ABAW_MTL else (metric(split_name(name)[0]).task,)


def _narrowed(rows: Evidence, over: str, whole: tuple[Tasks, Predictions, Targets]) -> Evidence | str:
    """The evidence over a class space or AU set only, or why the run cannot give it."""
    if lacking := evidence_lacks(rows, over):
        return lacking
    if isinstance(rows, Classified):
        return evidence_expression(*whole, voc.EXPRESSION_SPACES[over]) or rows
    return evidence_over(rows, over)


def evidence_lacks(rows: Evidence, over: str) -> str:
    """What a class space or AU set has that the evidence has not, in words; "" where it can be narrowed to it.

    Raises:
        UnknownNameError: No such class space or AU set, or evidence that cannot be narrowed.
    """
    if isinstance(rows, Detected):
        if over not in voc.AU_SPACES:
            raise UnknownNameError("AU set", over, voc.AU_SPACES)
        lacking = [au_column(au) for au in voc.AU_SPACES[over] if au not in rows.aus]
        return f"needs {', '.join(lacking)} too" if lacking else ""
    if over not in voc.EXPRESSION_SPACES:
        raise UnknownNameError("class space", over, voc.EXPRESSION_SPACES)
    if not isinstance(rows, Classified) or not set(rows.classes) <= set(voc.EXPRESSIONS):
        raise UnknownNameError("metric over a class space", over, ("top1", "uar", "macro_f1"))
    lacking = [name for name in voc.EXPRESSION_SPACES[over] if name not in rows.classes]
    return f"needs the class {', '.join(lacking)} too" if lacking else ""


def evidence_over(rows: Evidence, over: str) -> Evidence:
    """The evidence of AUs over an AU set that it does not lack; other evidence, and over "", as it is."""
    return rows.only(voc.AU_SPACES[over]) if over and isinstance(rows, Detected) else rows


def scored(names: Sequence[str], rows: Evidence, resampling: Resampling | None) -> list[MetricResult]:
    """Metrics by name over the evidence of one task, with intervals where they are asked for."""
    results, defined = [], []
    for name in names:
        try:
            result = replace(metric(name).score(rows), name=name)  # which a variant keeps apart from its default
        except MetricInputError as error:  # a composite over another class list than the run's
            results.append(MetricResult(name, math.nan, flags=(f"needs {error.expected}",)))
            continue
        results.append(result)
        # Of a mean over videos a draw would need a video that is drawn twice to count as two.
        defined += [name] if result.aggregation == "pooled" else []
    if resampling is None or not defined or not resampling.resamples:
        return results
    metrics = [metric(name) for name in defined]

    def values(drawn: Ints) -> list[float]:
        again = rows.take(drawn)
        return [each.score(again).value for each in metrics]

    intervals = bootstrap_all(values, resampling.clusters, resamples=resampling.resamples)
    drawn = dict(zip(defined, intervals, strict=True))
    return [replace(r, interval=drawn.get(name)) for name, r in zip(names, results, strict=True)]


def _multi_task(evidence: Mapping[str, Evidence], resampling: Resampling | None) -> MetricResult:
    va, expression, au = evidence["va"], evidence["expression"], evidence["au"]
    if not (isinstance(va, Rated) and isinstance(expression, Classified) and isinstance(au, Detected)):
        raise MetricInputError(ABAW_MTL, expected="VA, expression and AU evidence")
    try:
        result = abaw_mtl(va, expression, au)
    except MetricInputError as error:
        return MetricResult(ABAW_MTL, math.nan, flags=(f"needs {error.expected}",))
    if resampling is None or not resampling.resamples:
        return result
    (interval,) = bootstrap_all(
        lambda drawn: (abaw_mtl(va.take(drawn), expression.take(drawn), au.take(drawn)).value,),
        resampling.clusters,
        resamples=resampling.resamples,
    )
    return replace(result, interval=interval)


def selection_score(results: Iterable[MetricResult], names: Sequence[str]) -> float:
    """Sum of the named metrics, those where lower is better subtracted; NaN counts as the worst, 0 or 1.

    A metric that is undefined (a class head that says one class only, nothing labelled) must not make every epoch
    incomparable.
    """
    value = {result.name: result.value for result in results}
    total = 0.0
    for name in names:
        undefined, higher = math.isnan(value[name]), not lower_is_better(name)
        total += (0.0 if undefined else value[name]) if higher else -(1.0 if undefined else value[name])
    return total


def lower_is_better(name: str) -> bool:
    """Whether a metric is an error."""
    return name != ABAW_MTL and not metric(split_name(name)[0]).higher_is_better
