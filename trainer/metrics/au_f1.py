"""Mean F1 of action units, and what becomes of an AU that has no positive at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

import numpy as np

from trainer.metrics.detected import Counts, Detected
from trainer.metrics.result import Floats, MetricInputError, MetricResult, flagged, mean_or_nan


class ZeroPolicy(StrEnum):
    """The F1 of an AU without a positive in truth and prediction."""

    ZERO = "zero"
    """0, the default."""
    ONE = "one"
    """1 (F3R, verified in released code)."""
    DROP = "drop"
    """The AU is left out of the mean."""
    EPS = "eps"
    """1e-20 added to numerator and denominators as ME-GraphAU does: 0."""


def per_au_f1(counts: Counts, policy: ZeroPolicy = ZeroPolicy.ZERO) -> Floats:
    """F1 of each AU, [K]; NaN for an AU without a labelled cell, and under `drop` for one without a positive."""
    undefined = {ZeroPolicy.ZERO: 0.0, ZeroPolicy.ONE: 1.0, ZeroPolicy.DROP: np.nan, ZeroPolicy.EPS: 0.0}[policy]
    f1 = np.where(np.isnan(counts.f1), undefined, counts.f1)
    return np.where(counts.cells > 0, f1, np.nan)


def _hit(counts: Counts, policy: ZeroPolicy) -> str:
    hits = int(((counts.cells > 0) & np.isnan(counts.f1)).sum())
    return f"{hits} of {len(counts.tp)} AUs hit the zero policy {policy}" if hits else ""


def au_f1(cells: Detected, policy: ZeroPolicy = ZeroPolicy.ZERO) -> MetricResult:
    """Mean over the labelled AUs of the positive-class F1; an AU without a labelled cell is left out and flagged."""
    counts = cells.counts()
    f1 = per_au_f1(counts, policy)
    variant = "" if policy is ZeroPolicy.ZERO else str(policy)
    value = mean_or_nan(f1[~np.isnan(f1)])
    return cells.result("au_f1", value, f1, variant=variant, flags=flagged(_hit(counts, policy)))


def au_f1_over_folds(
    folds: Sequence[Detected], aggregation: str = "pooled", policy: ZeroPolicy = ZeroPolicy.ZERO
) -> MetricResult:
    """`au_f1` of a folded protocol; report both aggregations.

    Args:
        folds: The scored rows of each fold, all over the same AUs.
        aggregation: `fold_mean`, the metric of each fold, then their mean (ME-GraphAU); `pooled`,
            counts added over folds, then F1.
        policy: See `ZeroPolicy`.

    Raises:
        MetricInputError: No fold, folds over different AUs, or an unknown aggregation.
    """
    if not folds or len({fold.aus for fold in folds}) > 1 or aggregation not in ("pooled", "fold_mean"):
        raise MetricInputError(
            "folds of action units",
            found=f"{len(folds)} folds, AU sets {sorted({fold.aus for fold in folds})}, aggregation {aggregation!r}",
            expected="one AU set, and fold_mean or pooled",
        )
    if aggregation == "pooled":
        counts = sum((fold.counts() for fold in folds[1:]), folds[0].counts())
        f1 = per_au_f1(counts, policy)
        value, flags = mean_or_nan(f1[~np.isnan(f1)]), flagged(_hit(counts, policy))
    else:
        per_fold = [au_f1(fold, policy) for fold in folds]
        stacked = np.array([result.per_label for result in per_fold])
        f1 = np.array([mean_or_nan(column[~np.isnan(column)]) for column in stacked.T])
        values = np.array([result.value for result in per_fold])
        value = mean_or_nan(values[~np.isnan(values)])
        flags = tuple(f"fold {n}: {flag}" for n, fold in enumerate(per_fold) for flag in fold.flags)
    policies = {fold.threshold.policy for fold in folds}
    one = au_f1(folds[0], policy)
    used = sum(int(fold.valid.any(axis=1).sum()) for fold in folds)
    return replace(
        one,
        value=value,
        per_label=tuple(map(float, f1)),
        rows_used=used,
        rows_masked=sum(len(fold.valid) for fold in folds) - used,
        threshold_policy=", ".join(sorted(policies)),
        aggregation=aggregation,
        flags=flags if used else ("empty",),
    )
