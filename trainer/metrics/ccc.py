"""Lin's concordance correlation coefficient in the forms that published numbers were computed with.

    ccc = 2 s_xy / (s_x^2 + s_y^2 + (mean_x - mean_y)^2)

Only `ccc` (population moments, all frames of all videos pooled) is to be published. Fewer than two rows give NaN
with the flag `too_few`, constant and equal truth and prediction (0/0) NaN with `degenerate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from trainer.metrics.rated import Rated
from trainer.metrics.result import Floats, MetricInputError, MetricResult, flagged, mean_or_nan


def concordance(truth: Floats, guess: Floats) -> float:
    """Population CCC of two vectors; NaN for 0/0 and for fewer than two rows, exactly 0 for a constant guess."""
    if len(truth) < 2:
        return float("nan")
    return _quotient(2 * _covariance(truth, guess), _variance(truth) + _variance(guess) + _bias(truth, guess))


def concordance_mixed(truth: Floats, guess: Floats) -> float:
    """Covariance divided by n - 1, variances by n: ccc * n / (n - 1), may exceed 1 (EmotiEffLib notebooks)."""
    return concordance(truth, guess) * len(truth) / (len(truth) - 1) if len(truth) > 1 else float("nan")


def concordance_sample(truth: Floats, guess: Floats) -> float:
    """n - 1 standard deviations with the raw-sum correlation (training losses of wtomin and Kollias)."""
    if len(truth) < 2:
        return float("nan")
    inflation = len(truth) / (len(truth) - 1)
    spread = inflation * (_variance(truth) + _variance(guess))
    return _quotient(2 * inflation * _covariance(truth, guess), spread + _bias(truth, guess))


def concordance_eps(truth: Floats, guess: Floats) -> float:
    """Guess clipped to +-.99, 1e-5 added in the correlation and in the denominator (F3R's scorer)."""
    if len(truth) < 2:
        return float("nan")
    guess = np.clip(guess, -0.99, 0.99)
    root = np.sqrt(_variance(truth) * _variance(guess))
    correlation = _covariance(truth, guess) * len(truth) / (root * len(truth) + 1e-5)
    return float(2 * correlation * root / (_variance(truth) + _variance(guess) + _bias(truth, guess) + 1e-5))


def _variance(values: Floats) -> float:
    return 0.0 if (values == values[0]).all() else float(values.var())  # a mean is inexact, a constant is not


def _covariance(truth: Floats, guess: Floats) -> float:
    if (truth == truth[0]).all() or (guess == guess[0]).all():
        return 0.0
    return float(((truth - truth.mean()) * (guess - guess.mean())).mean())


def _bias(truth: Floats, guess: Floats) -> float:
    return 0.0 if np.array_equal(truth, guess) else float((truth.mean() - guess.mean()) ** 2)


def _quotient(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else float("nan")


def undefined(count: int, value: float) -> str:
    """The flag that says why a correlation of `count` rows has no value, or ""."""
    if not np.isnan(value):
        return ""
    return "too_few" if count < 2 else "degenerate"


def ccc(rows: Rated, axis: str, formula: Callable[[Floats, Floats], float] = concordance) -> MetricResult:
    """CCC of one axis over all its labelled rows, pooled."""
    truth, guess = rows.axis(axis)
    value = formula(truth, guess)
    variant = formula.__name__.removeprefix("concordance").removeprefix("_")
    return rows.result(f"ccc_{axis}", value, [axis], variant=variant, flags=flagged(undefined(len(truth), value)))


def ccc_video_mean(rows: Rated, axis: str) -> MetricResult:
    """Mean of the CCC of each video; videos where it is undefined are left out and counted in a flag.

    Raises:
        MetricInputError: The rows carry no videos.
    """
    if not len(rows.videos):
        raise MetricInputError("ccc_video_mean", found="rows of no video", expected="the video of every row")
    column = rows.axes.index(axis)
    labelled = rows.valid[:, column]
    names = np.unique(rows.videos[labelled])
    each = np.array([concordance(*rows.take(np.flatnonzero(rows.videos == name)).axis(axis)) for name in names])
    skipped = int(np.isnan(each).sum())
    flags = flagged(f"left out {skipped} of {len(names)} videos" if skipped else "")
    result = rows.result(f"ccc_{axis}", mean_or_nan(each[~np.isnan(each)]), [axis], variant="video_mean", flags=flags)
    return replace(result, aggregation="video_mean")


def ccc_va_pooled(rows: Rated) -> MetricResult:
    """CCC of the values of all axes concatenated into one vector (CAGE); never compare it with the mean."""
    pairs = [rows.axis(axis) for axis in rows.axes]
    truth, guess = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    value = concordance(truth, guess)
    return rows.result("ccc_va_pooled", value, rows.axes, flags=flagged(undefined(len(truth), value)))


def p_va(rows: Rated) -> MetricResult:
    """(ccc_valence + ccc_arousal) / 2, the score of the ABAW challenges."""
    each = [ccc(rows, axis) for axis in rows.axes]
    value = float(np.mean([result.value for result in each]))
    flags = tuple(dict.fromkeys(flag for result in each for flag in result.flags if not flag.startswith("clipped")))
    result = rows.result("p_va", value, rows.axes, flags=flags)
    return replace(result, per_label=tuple(axis.value for axis in each))
