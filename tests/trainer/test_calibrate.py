"""A temperature makes an over-sure network honest, changes no decision, and is judged on other samples."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.lake import Lake
from trainer.calibrate import (
    Calibration,
    TaskCalibration,
    best_cut,
    cut_of,
    expected_calibration_error,
    fit_cells,
    fit_classes,
    halves_of,
    tempered,
    tempered_cells,
)
from trainer.predictions import Predictions


def over_sure(count: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities that are true, then sharpened; and classes drawn from the true ones."""
    rng = np.random.default_rng(3)
    true = rng.dirichlet(np.ones(4), count).astype(np.float32)
    code = np.array([rng.choice(4, p=p / p.sum()) for p in true.astype(float)])
    return tempered(true, 1 / sharpness), code


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_that_sharpened_is_found_again(sharpness: float) -> None:
    probs, code = over_sure(4000, sharpness)
    found = fit_classes(probs, code, np.arange(4000) % 2 == 0)
    assert found.temperature == pytest.approx(sharpness, rel=0.08)
    assert found.after < 0.03
    if sharpness != 1:
        assert found.after < found.before


def test_cells_are_calibrated_alike() -> None:
    rng = np.random.default_rng(0)
    true = rng.random(6000).astype(np.float32)
    present = rng.random(6000) < true
    found = fit_cells(tempered_cells(true, 0.4), present, np.arange(6000) % 2 == 0)
    assert found.temperature == pytest.approx(2.5, rel=0.08)
    assert found.after < 0.03 < found.before


def test_a_temperature_that_does_not_help_the_other_half_is_not_used() -> None:
    sure, sure_code = over_sure(1000, 3.0)
    shy, shy_code = over_sure(1000, 1 / 3)
    found = fit_classes(np.concatenate([sure, shy]), np.concatenate([sure_code, shy_code]), np.arange(2000) < 1000)
    assert found.temperature == 1
    assert found.after == found.before
    assert "not calibrated" in next(Calibration({"expression": found}).lines())


def test_a_person_lies_in_one_half_in_every_order(lake: Lake) -> None:
    ids = np.array([f"toy/{number:03d}" for number in range(200)], object)
    people = [f"person{number // 4}" for number in range(200)]
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": ["toy"] * 200, "subject_id": people}))
    keys = np.random.default_rng(0).integers(0, 1 << 60, 200)
    halves = halves_of(lake, "toy", ids, keys)
    assert all(len(set(halves[first : first + 4])) == 1 for first in range(0, 200, 4))
    assert 20 < halves.sum() < 180
    order = np.random.default_rng(1).permutation(200)
    assert (halves_of(lake, "toy", ids[order], keys[order]) == halves[order]).all()


def test_too_few_labels_leave_the_probabilities_alone() -> None:
    probs, code = over_sure(20, 3.0)
    found = fit_classes(probs, code, np.arange(20) % 2 == 0)
    assert (found.temperature, found.cells) == (1.0, 20)
    assert "not calibrated" in next(Calibration({"expression": found}).lines())


@given(st.floats(0.05, 20), st.integers(0, 1000))
def test_no_temperature_changes_a_class_or_which_aus_lie_above_one_half(temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw = Predictions(rng.dirichlet(np.ones(5), 8).astype(np.float32), None, rng.random((8, 3), np.float32))
    task = TaskCalibration(temperature, 100)
    found = Calibration({"expression": task, "au": task}).apply(raw)
    assert found.expression is not None
    assert found.au is not None
    assert raw.expression is not None
    assert raw.au is not None
    assert (found.expression.max(1) == found.expression[np.arange(8), raw.expression.argmax(1)]).all()
    assert ((found.au >= 0.5) == (raw.au >= 0.5)).all()
    assert found.expression.sum(1) == pytest.approx(1, abs=1e-5)


def test_the_calibration_error_of_a_worked_example() -> None:
    # Two bins: .9 twice with one right (gap .4), .6 once and right (gap .4).
    error = expected_calibration_error(np.array([0.9, 0.9, 0.6]), np.array([1.0, 0.0, 1.0]))
    assert error == pytest.approx((2 * 0.4 + 0.4) / 3)


def test_a_cut_is_where_f1_is_highest_and_near_one_half_among_equals() -> None:
    assert best_cut(np.array([0.1, 0.2, 0.3, 0.9]), np.array([False, True, True, True])) == 0.2
    assert best_cut(np.array([0.1, 0.9]), np.array([False, True])) == 0.5
    assert best_cut(np.array([0.9]), np.array([False])) == 0.5


def test_no_cut_is_fitted_on_a_handful_of_cells() -> None:
    probs, present = np.linspace(0, 1, 60), (np.arange(60) >= 12).astype(np.float32)
    assert cut_of(probs, present) == 0.2
    present[:20] = -1
    assert cut_of(probs, present) == 0.5
