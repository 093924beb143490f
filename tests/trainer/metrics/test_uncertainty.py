"""Bootstrap over clusters."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.metrics.accuracy import top1, uar
from trainer.metrics.classified import classified
from trainer.metrics.result import Ints, MetricInputError
from trainer.metrics.uncertainty import bootstrap, bootstrap_all, paired_difference


def _right(seed: int = 0, rows: int = 400) -> np.ndarray:
    return (np.random.default_rng(seed).random(rows) < 0.7).astype(float)


def test_whole_clusters_are_drawn_and_nothing_else() -> None:
    clusters = np.array(["a", "b", "a", "c", "b", "a"])
    sizes = {"a": [0, 2, 5], "b": [1, 4], "c": [3]}

    def whole(rows: Ints) -> float:
        drawn = np.bincount(rows, minlength=6)
        return float(all(len(set(drawn[members])) == 1 for members in sizes.values()))

    interval = bootstrap(whole, clusters, resamples=200)
    assert interval.low == 1
    assert interval.clusters == 3


def test_the_interval_of_independent_rows_is_the_binomial_one() -> None:
    right = _right()
    interval = bootstrap(lambda rows: right[rows].mean(), np.arange(400))
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert interval.value == right.mean()
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    assert interval.low < interval.value < interval.high


def test_rows_that_repeat_within_a_cluster_do_not_narrow_the_interval() -> None:
    right = np.repeat(_right(rows=40), 10)
    by_cluster = bootstrap(lambda rows: right[rows].mean(), np.repeat(np.arange(40), 10), resamples=500)
    by_frame = bootstrap(lambda rows: right[rows].mean(), np.arange(400), resamples=500)
    assert by_cluster.high - by_cluster.low > 2 * (by_frame.high - by_frame.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    right = _right()
    first, second = (bootstrap(lambda rows: right[rows].mean(), np.arange(400), resamples=50) for _ in range(2))
    assert first == second


def test_a_paired_difference_uses_the_same_resamples_for_both() -> None:
    right = _right()
    nothing = paired_difference(
        lambda rows: right[rows].mean(), lambda rows: right[rows].mean(), np.arange(400), resamples=50
    )
    assert (nothing.low, nothing.value, nothing.high) == (0, 0, 0)


def test_resamples_without_a_score_are_counted_and_left_out() -> None:
    rows = classified(np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([True, False, False]), classes=("a", "b"))
    interval = bootstrap(lambda drawn: top1(rows.take(drawn)).value, np.arange(3), resamples=100)
    assert 0 < interval.undefined < 100
    assert interval.low == interval.high == 1


def test_a_metric_is_recomputed_on_the_pooled_rows() -> None:
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 3, 300)
    rows = classified(truth, np.where(draw.random(300) < 0.8, truth, 0), classes=("a", "b", "c"))
    interval = bootstrap(lambda drawn: uar(rows.take(drawn)).value, np.repeat(np.arange(60), 5), resamples=300)
    assert interval.low < uar(rows).value < interval.high


def test_no_row_is_refused() -> None:
    with pytest.raises(MetricInputError, match="no row"):
        bootstrap(lambda rows: float(rows.sum()), np.empty(0, int))


def test_several_statistics_get_the_intervals_that_each_would_get_alone() -> None:
    right, clusters = _right(), np.arange(400) // 4
    both = bootstrap_all(lambda rows: (right[rows].mean(), right[rows].std()), clusters, resamples=60)
    alone = [bootstrap(lambda rows, f=f: f(right[rows]), clusters, resamples=60) for f in (np.mean, np.std)]  # type: ignore[misc]  # bound per statistic
    assert both == alone
