"""Every metric by its name.

The default forms are the ones to publish; a suffix names a variant that re-scores an older paper. Landmark curves
carry their limit in the name: `fr_io@0.08`, `auc_ip@0.1`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from manifests.errors import UnknownNameError
from trainer.metrics import accuracy, au_accuracy, au_intensity, ccc, composites, f1, rating_error
from trainer.metrics.au_f1 import ZeroPolicy, au_f1, au_f1_logit_cut
from trainer.metrics.classified import Classified
from trainer.metrics.detected import LOGIT_CUT, Detected
from trainer.metrics.located import Located, Normaliser, area_under_curve, failure_rate, nme
from trainer.metrics.rated import VALENCE_AROUSAL, Rated
from trainer.metrics.result import MetricInputError, MetricResult

Evidence = Classified | Detected | Rated | Located
E = TypeVar("E", Classified, Detected, Rated, Located)
DEFAULTS = {
    "expression": ("top1", "uar", "macro_f1"),
    "clip": ("clip_top1", "clip_uar", "clip_macro_f1"),
    "compound": ("compound_top1", "compound_uar", "compound_macro_f1"),
    "mental_state": ("mental_state_top1", "mental_state_uar", "mental_state_macro_f1"),
    "au": ("au_f1", "au_acc_mean", "au_trivial_acc"),
    "va": ("p_va", "ccc_valence", "ccc_arousal", "rmse_valence", "rmse_arousal"),
    "au_intensity": ("au_icc31", "au_mse", "au_mae"),
    "landmarks": ("nme_io", "fr_io@0.08", "auc_io@0.08"),
}
"""What an evaluation prints for a task when nobody asks for more, the primary metric first."""


@dataclass(frozen=True)
class Metric:
    """One entry of the registry.

    Attributes:
        name: As recipes and the command line write it.
        task: The task whose predictions it scores.
        higher_is_better: Direction, for model selection.
        score: Takes the task's evidence and raises MetricInputError for any other.
    """

    name: str
    task: str
    higher_is_better: bool
    score: Callable[[Evidence], MetricResult]


def _metrics(
    task: str, kind: type[E], scores: Iterable[tuple[str, Callable[[E], MetricResult]]], *, higher: bool = True
) -> dict[str, Metric]:
    return {name: Metric(name, task, higher, partial(_checked, name, kind, score)) for name, score in scores}


def _checked(name: str, kind: type[E], score: Callable[[E], MetricResult], evidence: Evidence) -> MetricResult:
    if not isinstance(evidence, kind):
        raise MetricInputError(
            f"the metric {name}", found=f"{type(evidence).__name__} rows", expected=f"{kind.__name__} rows"
        )
    return score(evidence)


def _named(*scores: Callable[[E], MetricResult]) -> list[tuple[str, Callable[[E], MetricResult]]]:
    return [(score.__name__, score) for score in scores]


def _of_task(task: str, *scores: Callable[[Classified], MetricResult]) -> dict[str, Metric]:
    """Metrics of expressions for another task of classes, under names of its own."""

    def named(name: str, score: Callable[[Classified], MetricResult]) -> Callable[[Classified], MetricResult]:
        return lambda rows: replace(score(rows), name=name)

    names = [(f"{task}_{score.__name__}", score) for score in scores]
    return _metrics(task, Classified, [(name, named(name, score)) for name, score in names])


def _per_axis(
    **scores: Callable[[Rated, str], MetricResult],
) -> list[tuple[str, Callable[[Rated], MetricResult]]]:
    return [
        (name.replace("ccc", f"ccc_{axis}", 1) if name.startswith("ccc") else f"{name}_{axis}", _on(score, axis))
        for name, score in scores.items()
        for axis in VALENCE_AROUSAL
    ]


def _on(score: Callable[[Rated, str], MetricResult], axis: str) -> Callable[[Rated], MetricResult]:
    return lambda rows: score(rows, axis)


METRICS: dict[str, Metric] = {
    **_metrics("expression", Classified, _named(
        accuracy.top1, accuracy.uar, accuracy.uar_zero, accuracy.class_binary_acc,
        f1.macro_f1, f1.macro_f1_present, f1.macro_f1_sklearn, f1.f1_of_macro_pr, f1.f1_of_macro_pr_present,
        composites.abaw2_expr, composites.abaw_expr,
    )),
    **_metrics("compound", Classified, _named(composites.abaw_ce, composites.emotionet_expr)),
    **_of_task("compound", accuracy.top1, accuracy.uar, f1.macro_f1),
    **_of_task("clip", accuracy.top1, accuracy.uar, f1.macro_f1),
    **_of_task("mental_state", accuracy.top1, accuracy.uar, f1.macro_f1),
    **_metrics("au", Detected, _named(
        au_f1, au_accuracy.au_acc_cells, au_accuracy.au_acc_mean, au_accuracy.au_trivial_acc, au_accuracy.emotionet_au,
        composites.abaw2_au, composites.abaw_au,
    )),
    **_metrics("au", Detected, [
        (f"au_f1_{policy}", partial(au_f1, policy=policy)) for policy in ZeroPolicy if policy is not ZeroPolicy.ZERO
    ]),
    **_metrics("au", Detected, [(f"au_f1_{LOGIT_CUT.policy}", au_f1_logit_cut)]),
    **_metrics("au_intensity", Rated, _named(au_intensity.au_icc31)),
    **_metrics("au_intensity", Rated, _named(au_intensity.au_mse, au_intensity.au_mae), higher=False),
    **_metrics("va", Rated, _named(ccc.p_va, ccc.ccc_va_pooled, composites.abaw2_va, composites.abaw_va)),
    **_metrics("va", Rated, _per_axis(
        ccc=ccc.ccc,
        ccc_mixed=partial(ccc.ccc, formula=ccc.concordance_mixed),
        ccc_sample=partial(ccc.ccc, formula=ccc.concordance_sample),
        ccc_eps=partial(ccc.ccc, formula=ccc.concordance_eps),
        ccc_video_mean=ccc.ccc_video_mean,
        pcc=rating_error.pcc,
        sagr=rating_error.sagr,
    )),
    **_metrics("va", Rated, _per_axis(rmse=rating_error.rmse, mae=rating_error.mae), higher=False),
    **_metrics("landmarks", Located, [(f"nme_{by}", partial(nme, by=by)) for by in Normaliser], higher=False),
}  # fmt: skip
_CURVES = {f"fr_{by}": (failure_rate, by, False) for by in Normaliser} | {
    f"auc_{by}": (area_under_curve, by, True) for by in Normaliser
}

NAMES = (*METRICS, *(f"{curve}@0.08" for curve in _CURVES))
"""Every metric, a curve with the limit that it is printed at by default."""


def metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        UnknownNameError: No metric has this name; the message lists those there are, nearest first.
    """
    if name in METRICS:
        return METRICS[name]
    stem, _, limit = name.partition("@")
    if stem in _CURVES and _is_positive(limit):
        score, by, higher = _CURVES[stem]
        curve = partial(score, by=by, limit=float(limit))
        return _metrics("landmarks", Located, [(name, curve)], higher=higher)[name]
    raise UnknownNameError("metric", name, NAMES)


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False
