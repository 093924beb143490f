"""The worked examples A-J of metrics.md, to the precision they are printed with."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.vocabulary import EXPRESSION_SPACES
from trainer.metrics import accuracy, au_accuracy, au_intensity, ccc, f1, rating_error
from trainer.metrics.au_f1 import ZeroPolicy, au_f1
from trainer.metrics.classified import Classified, classified, confusion
from trainer.metrics.composites import abaw2_expr
from trainer.metrics.detected import LOGIT_CUT, Detected, detected
from trainer.metrics.located import Located, Normaliser, area_under_curve, failure_rate, located, nme
from trainer.metrics.rated import INTENSITY_RANGE, Rated, rated
from trainer.metrics.registry import metric


def close(value: float) -> object:
    """Equal to a value printed with six decimals (or exact)."""
    return pytest.approx(value, abs=1e-6)


def digits(text: str) -> np.ndarray:
    return np.array([int(digit) for digit in text])


def names(count: int) -> tuple[str, ...]:
    return tuple("abcdefgh"[:count])


@pytest.fixture
def example_a() -> Classified:
    return classified(digits("0000112222"), digits("0001112023"), classes=names(4))


@pytest.fixture
def example_b() -> Classified:
    return classified(digits("0000001112"), digits("0000011101"), classes=EXPRESSION_SPACES["expr7"][:3])


def test_a_confusion(example_a: Classified) -> None:
    table = confusion(example_a)
    assert table.matrix.tolist() == [[3, 1, 0, 0], [0, 2, 0, 0], [1, 0, 2, 1], [0, 0, 0, 0]]
    np.testing.assert_allclose(table.recall, [0.75, 1, 0.5, np.nan])
    np.testing.assert_allclose(table.normalised[2], [0.25, 0, 0.5, 0.25])


def test_a_scores(example_a: Classified) -> None:
    assert accuracy.top1(example_a).value == close(0.7)
    assert accuracy.uar(example_a).value == close(0.75)
    assert accuracy.uar_zero(example_a).value == close(0.5625)
    assert f1.macro_f1(example_a).value == close(0.554167)
    assert f1.macro_f1(example_a).per_label == pytest.approx((0.75, 0.8, 2 / 3, 0))
    assert f1.macro_f1_present(example_a).value == close(0.738889)
    assert f1.f1_of_macro_pr(example_a).value == close(0.582589)
    assert f1.f1_of_macro_pr_present(example_a).value == close(0.776786)


def test_a_absent_class_is_flagged(example_a: Classified) -> None:
    assert accuracy.uar(example_a).flags == ("absent d",)
    assert f1.macro_f1(example_a).flags == ("absent d",)


def test_b_scores(example_b: Classified) -> None:
    assert accuracy.top1(example_b).value == close(0.7)
    assert accuracy.uar(example_b).value == close(0.5)
    assert f1.macro_f1(example_b).value == close(0.468254)
    assert f1.f1_of_macro_pr(example_b).value == close(0.470588)


def test_b_abaw2_expression_score() -> None:
    """The printed .544730 is over the example's three classes; the registered score takes the protocol's seven."""
    rows = classified(digits("0000001112"), digits("0000011101"), classes=EXPRESSION_SPACES["expr7"])
    printed = 0.67 * 0.468254 + 0.33 * 0.70
    assert printed == close(0.544730)
    assert abaw2_expr(rows).value == close(0.67 * 3 / 7 * (0.8333333333 + 0.5714285714) / 3 + 0.33 * 0.70)


def test_c_a_class_absent_everywhere() -> None:
    rows = classified(digits("0011"), digits("0111"), classes=names(3))
    assert f1.macro_f1_sklearn(rows).value == close(0.733333)
    assert f1.macro_f1(rows).value == close(0.488889)
    assert f1.macro_f1(rows).flags == ("absent c", "counted as 0: c")


@pytest.fixture
def example_d() -> Detected:
    unknown = np.nan
    truth = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, unknown], [1, unknown, 0], [0, 0, 0]]
    chance = [[0.9, 0.1, 0.2], [0.4, 0.2, 0.1], [0.7, 0.6, 0.3], [0.1, 0.55, 0.9], [0.8, 0.9, 0.1], [0.2, 0.1, 0.4]]
    return detected(np.array(truth), np.array(chance), aus=(1, 2, 4))


def test_d_counts(example_d: Detected) -> None:
    counts = example_d.counts()
    assert counts.tp.tolist() == [2, 1, 0]
    assert counts.fp.tolist() == [1, 1, 0]
    assert counts.fn.tolist() == [1, 0, 0]
    assert counts.tn.tolist() == [2, 3, 5]


@pytest.mark.parametrize(("policy", "value"), [("zero", 4 / 9), ("one", 7 / 9), ("drop", 2 / 3), ("eps", 4 / 9)])
def test_d_zero_policies(example_d: Detected, policy: str, value: float) -> None:
    result = au_f1(example_d, ZeroPolicy(policy))
    assert result.value == close(value)
    assert result.flags == (f"1 of 3 AUs hit the zero policy {policy}",)


def test_d_accuracies(example_d: Detected) -> None:
    assert au_accuracy.au_acc_mean(example_d).value == close((4 / 6 + 4 / 5 + 1) / 3)
    assert au_accuracy.au_acc_mean(example_d).value == pytest.approx(0.8222, abs=5e-5)
    assert au_accuracy.au_acc_cells(example_d).value == close(0.8125)
    assert au_accuracy.emotionet_au(example_d).value == pytest.approx(0.6333, abs=5e-5)
    assert au_accuracy.au_trivial_acc(example_d).value == close((3 / 6 + 4 / 5 + 1) / 3)


def test_d_a_cut_on_the_logit_is_another_cut_on_the_probability(example_d: Detected) -> None:
    assert LOGIT_CUT.cuts[0] == pytest.approx(0.6225, abs=5e-5)
    result = metric("au_f1_logit_cut_0.5").score(example_d)
    assert result.per_label == pytest.approx((2 / 3, 0, 0))
    assert (result.variant, result.threshold_policy) == ("logit_cut_0.5", "logit_cut_0.5")


@pytest.fixture
def example_f() -> Rated:
    truth = np.array([[-0.5, 0.1], [0, 0.4], [0.2, 0.3], [0.7, 0.6]])
    guess = np.array([[-0.1, 0.2], [0.2, 0.2], [0.3, 0.4], [0.6, 0.5]])
    return rated(truth, guess)


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        (ccc.concordance, 0.796296),
        (ccc.concordance_mixed, 1.061728),
        (ccc.concordance_sample, 0.813239),
        (ccc.concordance_eps, 0.796248),
    ],
)
def test_f_forms_of_ccc(example_f: Rated, formula: object, value: float) -> None:
    assert callable(formula)
    assert ccc.ccc(example_f, "valence", formula).value == close(value)


def test_f_other_scores(example_f: Rated) -> None:
    assert rating_error.pcc(example_f, "valence").value == close(0.999730)
    assert rating_error.rmse(example_f, "valence").value == close(0.234521)
    assert rating_error.mae(example_f, "valence").value == close(0.20)
    assert rating_error.sagr(example_f, "valence").value == close(0.75)
    assert ccc.ccc(example_f, "arousal").value == close(0.65)
    assert ccc.p_va(example_f).value == close(0.723148)
    assert ccc.ccc_va_pooled(example_f).value == close(0.785978)


@pytest.mark.parametrize(("n", "inflation"), [(2, 2), (4, 1.3333), (16, 1.0667), (103, 1.0098)])
def test_f_inflation_of_the_mixed_form(n: int, inflation: float) -> None:
    truth, guess = np.random.default_rng(0).uniform(-1, 1, (2, n))
    assert ccc.concordance_mixed(truth, guess) / ccc.concordance(truth, guess) == pytest.approx(inflation, abs=5e-5)


def test_g_videos() -> None:
    truth = np.array([[0, 0.1, 0.2, 0.6, 0.7, 0.8]]).T
    shifted = rated(truth - 0.3, truth, axes=("valence",), videos=np.array(list("xxxyyy")))
    assert ccc.ccc_video_mean(shifted, "valence").value == close(0.129032)
    assert ccc.ccc(shifted, "valence").value == close(0.682353)
    assert ccc.ccc_video_mean(shifted, "valence").aggregation == "video_mean"


def test_h_the_form_with_squared_variances_is_not_ours(example_f: Rated) -> None:
    truth, guess = example_f.axis("valence")
    printed = 2 * 0.1075 / (truth.var() ** 2 + guess.var() ** 2 + (truth.mean() - guess.mean()) ** 2)
    assert printed == close(3.546026)
    assert ccc.ccc(example_f, "valence").value <= 1


def _eyes(images: int = 1) -> np.ndarray:
    """Example I's eyes: corners at (30, 40), (40, 40) and (60, 40), (70, 40), so pupils at 35 and 65."""
    points = np.tile(np.array([50.0, 60.0]), (images, 68, 1))
    points[:, 36:42] = [[30, 40], [32, 40], [38, 40], [40, 40], [38, 40], [32, 40]]
    points[:, 42:48] = [[60, 40], [62, 40], [68, 40], [70, 40], [68, 40], [62, 40]]
    return points


def test_i_normalisers() -> None:
    truth = _eyes()
    rows = located(truth, truth + np.array([0.6, 0.8]))
    assert nme(rows, Normaliser.INTER_OCULAR).value == close(0.025)
    assert nme(rows, Normaliser.INTER_PUPIL).value == close(0.033333)
    assert nme(rows, Normaliser.BOX).value == close(1 / np.sqrt(40 * 20))


@pytest.fixture
def example_j() -> Located:
    truth = _eyes(5)
    return located(truth, truth + np.array([0.02, 0.03, 0.05, 0.09, 0.20])[:, None, None] * [0, 40])


@pytest.mark.parametrize(
    ("limit", "failures", "area", "grid"), [(0.08, 0.4, 0.35, 0.35025), (0.10, 0.2, 0.42, 0.42027)]
)
def test_j_cumulative_curve(example_j: Located, limit: float, failures: float, area: float, grid: float) -> None:
    assert failure_rate(example_j, Normaliser.INTER_OCULAR, limit).value == close(failures)
    exact = area_under_curve(example_j, Normaliser.INTER_OCULAR, limit).value
    assert exact == close(area)
    assert abs(exact - grid) < 5e-4


def test_intensity_agreement_ignores_a_shift_that_the_squared_error_sees() -> None:
    truth, guess = np.arange(6.0)[:, None], np.array([[0.0, 1, 1, 3, 3, 5]]).T
    for shift, error in ((0, 2 / 6), (1, None)):
        rows = rated(truth, guess + shift, axes=("au12",), scale=(INTENSITY_RANGE[0], 6.0))
        assert au_intensity.au_icc31(rows).value == close(0.961165)
        if error is not None:
            assert au_intensity.au_mse(rows).value == close(error)
            assert au_intensity.au_mae(rows).value == close(2 / 6)
        else:
            assert au_intensity.au_mse(rows).value > 0.5
