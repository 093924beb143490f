"""Agreement on AU intensities (0-5): ICC(3,1), squared and absolute error, each a mean over AUs."""

from __future__ import annotations

import numpy as np

from trainer.metrics.rated import Rated
from trainer.metrics.result import Floats, MetricResult


def icc31(truth: Floats, guess: Floats) -> float:
    """ICC(3,1) = (BMS - EMS) / (BMS + EMS) of two raters; NaN for fewer than two rows or no variance at all.

    It does not see a constant shift between the raters: report the squared error beside it.
    """
    count = len(truth)
    if count < 2:
        return float("nan")
    ratings = np.stack([truth, guess], axis=1)
    grand, rows, raters = ratings.mean(), ratings.mean(axis=1), ratings.mean(axis=0)
    between = 2 * ((rows - grand) ** 2).sum() / (count - 1)
    residual = ((ratings - rows[:, None] - raters[None, :] + grand) ** 2).sum() / (count - 1)
    total = between + residual
    return float((between - residual) / total) if total > 0 else float("nan")


def au_icc31(rows: Rated) -> MetricResult:
    """Mean over AUs of ICC(3,1); AUs where it is undefined are left out and flagged."""
    return rows.mean_over_axes("au_icc31", icc31, rows.axes)


def au_mse(rows: Rated) -> MetricResult:
    """Mean over AUs of the mean squared error."""
    return rows.mean_over_axes("au_mse", lambda truth, guess: float(((truth - guess) ** 2).mean()), rows.axes)


def au_mae(rows: Rated) -> MetricResult:
    """Mean over AUs of the mean absolute error."""
    return rows.mean_over_axes("au_mae", lambda truth, guess: float(np.abs(truth - guess).mean()), rows.axes)
