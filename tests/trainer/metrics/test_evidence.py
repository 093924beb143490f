"""What a metric takes in: masks are per cell, sentinels raise, nothing valid is NaN with a flag."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.errors import UnknownNameError
from manifests.vocabulary import AU_SPACES, EXPRESSION_SPACES
from trainer.metrics.ccc import ccc
from trainer.metrics.classified import classified
from trainer.metrics.composites import abaw_mtl
from trainer.metrics.detected import Threshold, detected, tuned
from trainer.metrics.located import Normaliser, located, nme
from trainer.metrics.rated import rated
from trainer.metrics.registry import DEFAULTS, METRICS, Evidence, metric
from trainer.metrics.result import MetricInputError

CLASSES = EXPRESSION_SPACES["expr7"]
AUS = AU_SPACES["affwild2_12"]


def _nothing(task: str) -> Evidence:
    match task:
        case "expression" | "compound" | "mental_state" | "clip":
            return classified(np.full(4, -1), np.zeros(4, int), np.zeros(4, bool), classes=CLASSES)
        case "au":
            return detected(np.full((4, 12), 999), np.full((4, 12), np.nan), np.zeros((4, 12), bool), aus=AUS)
        case "va":
            return rated(np.full((4, 2), -5.0), np.full((4, 2), np.nan), np.zeros((4, 2), bool), videos=np.arange(4))
        case "au_intensity":
            return rated(np.full((4, 2), np.nan), np.zeros((4, 2)), axes=("au01", "au02"), scale=(0, 5))
        case _:
            return located(np.full((4, 68, 2), np.nan), np.zeros((4, 68, 2)))


ANY_LIST = [name for name in METRICS if name not in ("abaw_expr", "abaw_ce", "emotionet_expr")]


@pytest.mark.parametrize("name", [*ANY_LIST, "fr_io@0.08", "auc_box@0.1"])
def test_no_valid_data_is_nan_with_a_flag(name: str) -> None:
    chosen = metric(name)
    result = chosen.score(_nothing(chosen.task))
    assert np.isnan(result.value)
    assert result.flags == ("empty",)
    assert result.rows_used == 0
    assert result.rows_masked == 4


@pytest.mark.parametrize("sentinel", [-1, 7, 9, 999])
def test_a_sentinel_in_a_labelled_row_is_refused(sentinel: int) -> None:
    with pytest.raises(MetricInputError, match=str(sentinel)):
        classified(np.array([0, sentinel]), np.array([0, 0]), classes=CLASSES)


@pytest.mark.parametrize("sentinel", [-1, 9, 999, 0.5])
def test_a_sentinel_in_a_labelled_au_cell_is_refused(sentinel: float) -> None:
    with pytest.raises(MetricInputError, match=str(sentinel)):
        detected(np.array([[0, sentinel]]), np.array([[0.1, 0.2]]), aus=(1, 2))


@pytest.mark.parametrize("sentinel", [-5.0, -2.0, 1.5])
def test_a_sentinel_among_valence_and_arousal_is_refused(sentinel: float) -> None:
    with pytest.raises(MetricInputError, match=str(sentinel)):
        rated(np.array([[0.5, sentinel]]), np.array([[0.1, 0.2]]))


def test_a_nan_prediction_of_a_labelled_cell_is_refused() -> None:
    with pytest.raises(MetricInputError, match="NaN"):
        classified(np.array([0]), np.full((1, 7), np.nan), classes=CLASSES)
    with pytest.raises(MetricInputError, match="nan"):
        detected(np.array([[1]]), np.array([[np.nan]]), aus=(1,))
    with pytest.raises(MetricInputError, match="NaN"):
        rated(np.zeros((1, 2)), np.full((1, 2), np.nan))
    with pytest.raises(MetricInputError, match="NaN"):
        located(np.zeros((1, 68, 2)), np.full((1, 68, 2), np.nan))


def test_logits_in_place_of_probabilities_are_refused() -> None:
    with pytest.raises(MetricInputError, match="sigmoid"):
        detected(np.array([[1, 0]]), np.array([[3.2, -1.0]]), aus=(1, 2))


def test_arrays_of_different_rows_are_refused() -> None:
    with pytest.raises(MetricInputError, match="shape"):
        classified(np.zeros(3, int), np.zeros(4, int), classes=CLASSES)
    with pytest.raises(MetricInputError, match="8 columns"):
        classified(np.zeros(3, int), np.zeros((3, 8)), classes=CLASSES)
    with pytest.raises(MetricInputError, match="shape"):
        located(np.zeros((2, 5, 2)), np.zeros((2, 5, 2)))


def test_scores_are_read_by_their_largest_column() -> None:
    scores = np.zeros((2, 7))
    scores[0, 3] = scores[1, 6] = 1
    assert classified(np.array([3, 6]), scores, classes=CLASSES).predicted.tolist() == [3, 6]


def test_predictions_outside_the_scale_are_clipped_and_the_share_is_kept() -> None:
    rows = rated(np.array([[0.0, 0], [1.0, 0.5]]), np.array([[0.0, 0], [1.4, 0.5]]))
    result = ccc(rows, "valence")
    assert result.value == pytest.approx(1)
    assert result.flags == ("clipped 0.5000",)
    assert ccc(rows, "arousal").flags == ()


def test_one_row_and_constants_have_no_correlation() -> None:
    one, same = np.array([[0.3, 0.3]]), np.full((5, 2), 0.1)
    assert ccc(rated(one, one), "valence").flags == ("too_few",)
    assert ccc(rated(same, same), "valence").flags == ("degenerate",)
    assert np.isnan(ccc(rated(same, same), "valence").value)


def test_an_image_without_a_usable_normaliser_is_skipped_and_flagged() -> None:
    truth = np.random.default_rng(0).uniform(0, 100, (3, 68, 2))
    truth[1, 45] = truth[1, 36] + 0.5
    guess = truth + 1
    result = nme(located(truth, guess), Normaliser.INTER_OCULAR)
    assert (result.rows_used, result.flags) == (2, ("skipped 1",))
    truth[2, 36] = np.nan
    assert nme(located(truth, guess), Normaliser.INTER_OCULAR).rows_masked == 1
    by_point = located(truth, guess, np.isfinite(truth).all(axis=2))
    assert nme(by_point, Normaliser.INTER_OCULAR).flags == ("skipped 2",)
    assert nme(by_point, Normaliser.BOX).rows_used == 3


def test_thresholds_are_tuned_on_other_rows_and_say_so() -> None:
    truth = np.array([[1, 1], [1, 0], [0, 0], [0, 0]])
    chance = np.array([[0.35, 0.9], [0.32, 0.6], [0.1, 0.55], [0.2, 0.1]])
    elsewhere = detected(truth, chance, aus=(1, 2))
    cuts = tuned(elsewhere)
    assert cuts.policy == "val_tuned"
    assert cuts.cuts == (0.3, 0.65)
    assert len(tuned(elsewhere, policy="test_tuned", per_au=False).cuts) == 1
    with pytest.raises(MetricInputError, match="3 cuts"):
        detected(truth, chance, aus=(1, 2), threshold=Threshold("val_tuned", (0.1, 0.2, 0.3)))


def test_an_au_without_a_labelled_cell_is_left_out_and_named() -> None:
    rows = detected(np.array([[1, np.nan], [0, np.nan]]), np.array([[0.9, 0.5], [0.1, 0.5]]), aus=(1, 26))
    result = metric("au_f1").score(rows)
    assert result.value == 1
    assert result.flags == ("unlabelled au26",)


@pytest.mark.parametrize("name", ["abaw2_expr", "abaw_expr", "abaw_ce", "emotionet_expr"])
@pytest.mark.parametrize("classes", [CLASSES[:5], EXPRESSION_SPACES["expr8-contempt"][1:]])
def test_a_composite_refuses_another_class_list(name: str, classes: tuple[str, ...]) -> None:
    """Also one of the same length: the seven compounds of C-EXPR-DB are not seven expressions."""
    rows = classified(np.zeros(3, int), np.zeros(3, int), classes=classes)
    with pytest.raises(MetricInputError, match=name):
        metric(name).score(rows)


@pytest.mark.parametrize("name", ["abaw2_au", "abaw_au"])
def test_a_composite_refuses_another_au_list(name: str) -> None:
    with pytest.raises(MetricInputError, match="12"):
        metric(name).score(detected(np.zeros((2, 11)), np.zeros((2, 11)), aus=AUS[:11]))


def test_the_multi_task_score_is_the_sum_of_its_three_tasks() -> None:
    draw = np.random.default_rng(0)
    ratings = rated(draw.uniform(-1, 1, (9, 2)), draw.uniform(-1, 1, (9, 2)))
    rows = classified(draw.integers(0, 8, 9), draw.integers(0, 8, 9), classes=EXPRESSION_SPACES["expr8-other"])
    cells = detected(draw.integers(0, 2, (9, 12)), draw.uniform(0, 1, (9, 12)), aus=AUS)
    total = abaw_mtl(ratings, rows, cells)
    assert total.value == pytest.approx(sum(total.per_label))
    parts = [metric(name).score(each) for name, each in (("abaw_va", ratings), ("abaw_expr", rows), ("abaw_au", cells))]
    assert total.per_label == pytest.approx([part.value for part in parts])


def test_a_metric_refuses_the_rows_of_another_task() -> None:
    with pytest.raises(MetricInputError, match="Detected"):
        metric("au_f1").score(_nothing("expression"))


@pytest.mark.parametrize("name", ["macrof1", "auc_io@", "auc_io@-1", "fr@0.08"])
def test_a_misspelt_metric_is_refused_with_the_known_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="macro_f1"):
        metric(name)


def test_the_defaults_exist_and_errors_are_better_when_lower() -> None:
    for task, names in DEFAULTS.items():
        assert all(metric(name).task == task for name in names)
    lower = {name for name, each in METRICS.items() if not each.higher_is_better}
    assert lower == {
        "rmse_valence", "rmse_arousal", "mae_valence", "mae_arousal", "au_mse", "au_mae", "nme_io", "nme_ip", "nme_box"
    }  # fmt: skip
    assert not metric("fr_io@0.08").higher_is_better
    assert metric("auc_io@0.08").higher_is_better
