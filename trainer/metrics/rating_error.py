"""Correlation, errors and sign agreement of one continuous axis."""

from __future__ import annotations

import numpy as np

from trainer.metrics.ccc import undefined
from trainer.metrics.rated import Rated
from trainer.metrics.result import MetricResult, flagged


def pcc(rows: Rated, axis: str) -> MetricResult:
    """Pearson's correlation; NaN when truth or prediction is constant (`degenerate`) or rows are `too_few`."""
    truth, guess = rows.axis(axis)
    value = float("nan")
    if len(truth) > 1 and np.ptp(truth) > 0 and np.ptp(guess) > 0:
        dx, dy = truth - truth.mean(), guess - guess.mean()
        value = float((dx * dy).sum() / np.sqrt((dx * dx).sum() * (dy * dy).sum()))
    return rows.result(f"pcc_{axis}", value, [axis], flags=flagged(undefined(len(truth), value)))


def rmse(rows: Rated, axis: str) -> MetricResult:
    """Root of the mean squared error, in the unit of the axis."""
    truth, guess = rows.axis(axis)
    return rows.result(f"rmse_{axis}", float(np.sqrt(((truth - guess) ** 2).mean())) if len(truth) else np.nan, [axis])


def mae(rows: Rated, axis: str) -> MetricResult:
    """Mean absolute error, in the unit of the axis."""
    truth, guess = rows.axis(axis)
    return rows.result(f"mae_{axis}", float(np.abs(truth - guess).mean()) if len(truth) else np.nan, [axis])


def sagr(rows: Rated, axis: str) -> MetricResult:
    """Share of rows whose prediction has the sign of the truth; 0 is a sign of its own (emonet)."""
    truth, guess = rows.axis(axis)
    agree = np.sign(truth) == np.sign(guess)
    return rows.result(f"sagr_{axis}", float(agree.mean()) if len(truth) else np.nan, [axis])
