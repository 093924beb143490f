"""Mean F1 of action units, and what becomes of an AU that has no positive at all."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np

from trainer.metrics.detected import LOGIT_CUT, Counts, Detected
from trainer.metrics.result import Floats, MetricResult, flagged, mean_or_nan


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


def au_f1_logit_cut(cells: Detected) -> MetricResult:
    """`au_f1` with an AU present from .5 on the logit on, as F3R scores it."""
    return replace(au_f1(replace(cells, threshold=LOGIT_CUT)), variant=LOGIT_CUT.policy)
