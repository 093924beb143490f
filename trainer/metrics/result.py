"""What one scored number says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifests.errors import AffectError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
AnyArray = NDArray[Any]


class MetricInputError(AffectError):
    """Truth or predictions that cannot be scored: a surviving sentinel, a NaN prediction, shapes that differ."""


@dataclass(frozen=True)
class Interval:
    """A value and its percentile interval.

    Attributes:
        value: The statistic of all rows.
        low: Lower bound.
        high: Upper bound.
        level: Coverage, 0.95.
        resamples: Resamples drawn.
        undefined: Resamples on which the statistic was NaN; they are left out of the percentiles.
        clusters: Clusters that were drawn from.
    """

    value: float
    low: float
    high: float
    level: float
    resamples: int
    undefined: int
    clusters: int


@dataclass(frozen=True)
class MetricResult:
    """One number with everything that is needed to compare it with another.

    Attributes:
        name: The metric.
        value: The number; NaN when it is undefined, and then a flag says why.
        variant: Which form of the metric; "" is the default, the one to publish.
        rows_used: Rows (for cell-wise metrics: rows with at least one valid cell) that entered.
        rows_masked: Rows that did not, because nothing in them is labelled.
        labels: The classes, AUs, axes or points it runs over, in order.
        per_label: One value per label where the metric is a mean over them; NaN where undefined.
        threshold_policy: How probabilities became decisions; "" where none is needed.
        aggregation: pooled or video_mean; of several folds see `trainer.across`.
        flags: What a reader must know: `empty`, `too_few`, `degenerate`, `absent ...`, `clipped 0.012`.
        interval: By resampling people, videos or duplicate groups; None where nobody asked for it.
    """

    name: str
    value: float
    variant: str = ""
    rows_used: int = 0
    rows_masked: int = 0
    labels: tuple[str, ...] = ()
    per_label: tuple[float, ...] = ()
    threshold_policy: str = ""
    aggregation: str = "pooled"
    flags: tuple[str, ...] = ()
    interval: Interval | None = None


def flagged(*flags: str) -> tuple[str, ...]:
    """The flags that were raised, without the empty ones."""
    return tuple(flag for flag in flags if flag)


def mean_or_nan(values: Floats) -> float:
    """Mean of the values, NaN of none (numpy would warn)."""
    return float(values.mean()) if values.size else float("nan")


def ratio(numerator: AnyArray, denominator: AnyArray, empty: float = float("nan")) -> Floats:
    """Element-wise quotient in float64, `empty` where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient: Floats = np.divide(top, bottom, out=np.full(top.shape, empty), where=bottom != 0)
    return quotient


def same_shape(what: str, truth: AnyArray, other: AnyArray) -> None:
    """Refuse arrays that do not describe the same rows.

    Raises:
        MetricInputError: The shapes differ.
    """
    if truth.shape != other.shape:
        raise MetricInputError(f"{what}: truth and the rest differ in shape", found=f"{truth.shape} and {other.shape}")
