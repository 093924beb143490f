"""Bootstrap intervals over subjects, videos or duplicate groups, never over frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trainer.metrics.result import AnyArray, Floats, Interval, Ints, MetricInputError

Statistic = Callable[[Ints], float]
"""A score of the pooled rows with the given indices (repeats allowed)."""

RESAMPLES = 2000
"""Number of draws (metrics.md 6)."""


def bootstrap(
    statistic: Statistic, clusters: AnyArray, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile interval of a statistic under resampling of whole clusters.

    Args:
        statistic: Called with row indices: first with all rows, then with those of each resample, e.g.
            `lambda rows: uar(evidence.take(rows)).value`.
        clusters: [N], the subject, video or duplicate group of every row.
        resamples: Number of draws.
        level: Coverage.
        seed: Of the draws; the same seed and clusters give the same resamples.

    Raises:
        MetricInputError: No row.
    """
    (interval,) = bootstrap_all(lambda rows: (statistic(rows),), clusters, resamples=resamples, level=level, seed=seed)
    return interval


def bootstrap_all(
    statistics: Callable[[Ints], Sequence[float]],
    clusters: AnyArray,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """As `bootstrap`, for several statistics of the same resamples."""
    whole = statistics(np.arange(len(clusters)))
    drawn = resampled(statistics, clusters, resamples=resamples, seed=seed)
    count = len(np.unique(np.asarray(clusters)))
    return [interval_of(value, values, count, level=level) for value, values in zip(whole, drawn.T, strict=True)]


def resampled(
    statistics: Callable[[Ints], Sequence[float]], clusters: AnyArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Scores of every resample of whole clusters, float64 [resamples, statistics]; see `bootstrap`."""
    drawn = [list(statistics(rows)) for rows in _resamples(_members(clusters), resamples, seed)]
    return np.asarray(drawn, np.float64).reshape(resamples, -1)


def interval_of(value: float, drawn: Floats, clusters: int, *, level: float = 0.95) -> Interval:
    """Percentile interval of a value from its scores on resamples, [resamples]; undefined ones are counted."""
    defined = drawn[~np.isnan(drawn)]
    return Interval(value, *_percentiles(defined, level), level, len(drawn), len(drawn) - len(defined), clusters)


def paired_difference(
    ours: Statistic,
    theirs: Statistic,
    clusters: AnyArray,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of `ours - theirs`, both scored on the same resamples."""
    return bootstrap(lambda rows: ours(rows) - theirs(rows), clusters, resamples=resamples, level=level, seed=seed)


def _members(clusters: AnyArray) -> list[Ints]:
    """Row indices of each cluster."""
    if len(clusters) == 0:
        raise MetricInputError("a bootstrap", found="no row", expected="at least one cluster")
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


def _resamples(members: list[Ints], count: int, seed: int) -> Iterator[Ints]:
    draw = np.random.default_rng(seed)
    for _ in range(count):
        yield np.concatenate([members[cluster] for cluster in draw.integers(0, len(members), len(members))])


def _percentiles(values: Floats, level: float) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("nan")
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
