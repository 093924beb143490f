"""Coefficients of agreement equal textbook examples and independent implementations, and hold their bounds."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from affectdata.labels.agreement import (
    Agreement,
    agreement,
    cohen_kappa,
    fleiss_kappa,
    icc_agreement,
    interval_alpha,
    nominal_alpha,
)
from manifests.errors import SourceOrderError, StaleLayerError
from manifests.lake import Lake
from manifests.layer import LayerFacts

RATINGS = arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(2, 4)), elements=st.integers(-5, 5).map(float))
CODES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40).map(np.array)


def test_fleiss_kappa_of_the_worked_example() -> None:
    """Ten subjects, fourteen raters, five categories: kappa 0.210 (the example of Fleiss' kappa in encyclopedias)."""
    votes = np.array(
        [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
         [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]], float
    )  # fmt: skip
    assert fleiss_kappa(votes).value == pytest.approx(0.210, abs=5e-4)


def test_icc_of_shrout_and_fleiss() -> None:
    """Shrout and Fleiss 1979, table 2: six targets, four judges, ICC(2,1) = .29."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    assert icc_agreement(ratings).value == pytest.approx(0.29, abs=5e-3)


@given(CODES)
def test_cohens_kappa_is_that_of_scikit_learn(pairs: np.ndarray) -> None:
    if len(np.unique(pairs)) > 1:
        ours = cohen_kappa(pairs[:, 0], pairs[:, 1], 4).value
        assert ours == pytest.approx(
            cohen_kappa_score(pairs[:, 0], pairs[:, 1], labels=range(4)), abs=1e-9, nan_ok=True
        )


def brute_alpha(ratings: np.ndarray, interval: bool) -> float:
    """Krippendorff's alpha over every ordered pair of values, unit by unit and in all."""

    def distance(a: float, b: float) -> float:
        return (a - b) ** 2 if interval else float(a != b)

    within = sum(distance(a, b) / (len(unit) - 1) for unit in ratings for a, b in permutations(unit, 2))
    everything = list(permutations(ratings.ravel(), 2))
    expected = sum(distance(a, b) for a, b in everything) / len(everything)
    return 1 - within / ratings.size / expected if expected else float("nan")


@given(RATINGS)
@settings(max_examples=40)
def test_alphas_are_those_of_every_pair_of_values(ratings: np.ndarray) -> None:
    votes = (ratings[:, :, None] == np.arange(-5, 6)).sum(1).astype(float)
    assert nominal_alpha(votes).value == pytest.approx(brute_alpha(ratings, interval=False), abs=1e-9, nan_ok=True)
    assert interval_alpha(ratings).value == pytest.approx(brute_alpha(ratings, interval=True), abs=1e-9, nan_ok=True)


@given(RATINGS)
@settings(max_examples=40)
def test_icc_is_that_of_its_analysis_of_variance(ratings: np.ndarray) -> None:
    n, k = ratings.shape
    rows, columns, all_ = ratings.mean(1), ratings.mean(0), ratings.mean()
    msr, msc = k * ((rows - all_) ** 2).sum() / (n - 1), n * ((columns - all_) ** 2).sum() / (k - 1)
    mse = ((ratings - rows[:, None] - columns + all_) ** 2).sum() / ((n - 1) * (k - 1))
    below = msr + (k - 1) * mse + k / n * (msc - mse)
    if abs(below) > 1e-6:
        assert icc_agreement(ratings).value == pytest.approx((msr - mse) / below, abs=1e-6)


@given(RATINGS)
@settings(max_examples=30)
def test_the_order_of_samples_and_of_raters_does_not_matter_and_one_is_the_most(
    ratings: np.ndarray,
) -> None:
    for coefficient in (icc_agreement, interval_alpha):
        value = coefficient(ratings).value
        assert np.isnan(value) or value <= 1 + 1e-9
        assert coefficient(ratings[::-1, ::-1]).value == pytest.approx(value, abs=1e-6, nan_ok=True)


def test_the_interval_holds_the_value_and_repeats_and_one_unit_has_none() -> None:
    ratings = np.random.default_rng(1).normal(size=(60, 1)) + np.random.default_rng(2).normal(size=(60, 2)) / 2
    sums, units = icc_agreement(ratings), np.arange(60) // 3
    low, high = sums.interval(units)
    assert low < sums.value < high
    assert sums.interval(units) == (low, high)
    assert np.isnan(sums.interval(np.zeros(60, int))).all()


COUNT = 40
DRAW = np.random.default_rng(5)
VALENCE = DRAW.uniform(-0.8, 0.8, COUNT).astype(np.float32)
INTENSITY = DRAW.integers(0, 6, COUNT).astype(np.float32)
SECOND = {
    "valence": (VALENCE + DRAW.uniform(-0.2, 0.2, COUNT)).astype(np.float32),
    "au12_intensity": np.clip(INTENSITY + DRAW.integers(-1, 2, COUNT), 0, 5).astype(np.float32),
}
SMILES, FROWNS = INTENSITY >= 2, DRAW.random(COUNT) < 0.5


def rated_twice(lake: Lake) -> Lake:
    """Ten people, four faces each. The second rater misses the first eight faces and leaves some cells open."""
    ids = pa.array([f"d/{i:02d}" for i in range(COUNT)])
    people = pa.array([f"s{i // 4}" for i in range(COUNT)])
    names = np.where(SMILES, "happiness", "sadness")
    first: dict[str, Any] = {"valence": VALENCE, "au12_intensity": INTENSITY, "au12": SMILES.astype(np.int8)}
    gap = np.arange(COUNT) % 5 == 0
    second: dict[str, Any] = {
        "valence": pa.array(SECOND["valence"], mask=gap),
        "au12_intensity": pa.array(SECOND["au12_intensity"]),
        "au12": pa.array((SECOND["au12_intensity"] >= 2).astype(np.int8)),
        "expression": pa.array(np.where(FROWNS, "anger", names).tolist()),
    }
    with lake.publish("d", command="x") as step:
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": pa.repeat("d", COUNT), "subject_id": people}))
        step.write(
            "labels",
            "human-a",
            pa.table({"sample_id": ids, **first, "expression": names.tolist()}),
            parents=["samples"],
        )
        # Rows of two layers lie at other places: what is compared is found by sample_id.
        step.write("labels", "human-b", pa.table({"sample_id": ids, **second}).slice(8), parents=["samples"])
    return lake


def found(rows: list[Agreement], column: str, coefficient: str) -> Agreement:
    (row,) = (row for row in rows if row.column == column and row.coefficient == coefficient)
    return row


def test_two_labellings_of_a_lake_are_compared_where_both_know_a_cell(lake: Lake) -> None:
    rows = agreement(rated_twice(lake), "d")
    both = np.arange(8, COUNT)
    for column, ratings, kept in (
        ("valence", (VALENCE, SECOND["valence"]), both[both % 5 != 0]),
        ("au12_intensity", (INTENSITY, SECOND["au12_intensity"]), both),
    ):
        pair = np.stack(ratings, 1)[kept].astype(np.float64)
        for sums in (icc_agreement(pair), interval_alpha(pair)):
            row = found(rows, column, sums.name)
            assert row.value == pytest.approx(sums.value, abs=1e-9)
            assert row.low < row.value < row.high
            assert (row.between, row.samples, row.units) == ("human-a and human-b", len(kept), 8)
    said = np.stack([SMILES, SECOND["au12_intensity"] >= 2], 1)[both].astype(int)
    kappa = cohen_kappa_score(said[:, 0], said[:, 1])
    assert found(rows, "au12", "Cohen's kappa").value == pytest.approx(kappa, abs=1e-9)
    words = [np.where(SMILES, 0, 1)[both], np.where(FROWNS, 2, np.where(SMILES, 0, 1))[both]]
    kappa = cohen_kappa_score(*words)
    assert found(rows, "expression", "Cohen's kappa").value == pytest.approx(kappa, abs=1e-9)
    assert {row.column for row in rows} == {"valence", "au12_intensity", "au12", "expression"}


def test_only_the_labellings_that_were_asked_for_are_compared_and_none_that_is_stale(lake: Lake) -> None:
    rated_twice(lake)
    assert agreement(lake, "d", ["human-a"]) == []
    with pytest.raises(SourceOrderError):
        agreement(lake, "d", ["human-a", "human-nobody"])
    with lake.publish("d", command="x") as step:
        samples = lake.read("d", "samples")
        step.write("samples", "", samples, LayerFacts(fingerprint="other"))
    with pytest.raises(StaleLayerError):
        agreement(lake, "d")
