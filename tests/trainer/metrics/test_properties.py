"""Rules that hold for all inputs (metrics.md 8), and agreement with torchmetrics and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional as other
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manifests.vocabulary import AU_SPACES, EXPRESSION_SPACES
from trainer.metrics.ccc import concordance, concordance_mixed
from trainer.metrics.classified import Classified, classified
from trainer.metrics.detected import Detected, detected
from trainer.metrics.f1 import macro_f1, macro_f1_sklearn
from trainer.metrics.located import Located, located
from trainer.metrics.rated import Rated, rated
from trainer.metrics.registry import METRICS, Evidence, metric

SEEDS = st.integers(0, 100_000)
CLASSES = EXPRESSION_SPACES["expr7"]
AUS = AU_SPACES["affwild2_12"]
NEEDS_ANOTHER_LIST = ("abaw_expr", "abaw_ce", "emotionet_expr")
NAMES = [*(name for name in METRICS if name not in NEEDS_ANOTHER_LIST), "fr_io@0.08", "auc_io@0.1"]


def _rows(task: str, seed: int, fill: float = math.nan) -> Evidence:
    """Random rows of a task in which about a third of the cells is masked and holds `fill`."""
    draw = np.random.default_rng(seed)
    count = 12
    if task in ("expression", "compound", "mental_state", "clip"):
        mask, truth = draw.random(count) < 0.7, draw.integers(0, 7, count).astype(float)
        return classified(np.where(mask, truth, fill), draw.random((count, 7)), mask, classes=CLASSES)
    if task == "au":
        mask, truth = draw.random((count, 12)) < 0.7, draw.integers(0, 2, (count, 12)).astype(float)
        return detected(np.where(mask, truth, fill), np.where(mask, draw.random((count, 12)), fill), mask, aus=AUS)
    if task == "landmarks":
        mask, truth = draw.random(count) < 0.7, draw.random((count, 68, 2)) * 100
        guess = truth + draw.normal(size=truth.shape)
        hidden = ~mask[:, None, None]
        return located(np.where(hidden, fill, truth), np.where(hidden, fill, guess), mask)
    axes, scale = (("valence", "arousal"), (-1.0, 1.0)) if task == "va" else (("au01", "au02"), (0.0, 5.0))
    mask, truth = draw.random((count, 2)) < 0.7, draw.uniform(*scale, (count, 2))
    guess = np.where(mask, draw.uniform(*scale, (count, 2)), fill)
    return rated(np.where(mask, truth, fill), guess, mask, axes=axes, scale=scale, videos=np.repeat(np.arange(3), 4))


def _same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_the_order_of_rows_changes_no_metric(name: str, seed: int) -> None:
    chosen = metric(name)
    rows = _rows(chosen.task, seed)
    order = np.random.default_rng(seed).permutation(12)
    assert _same(chosen.score(rows).value, chosen.score(rows.take(order)).value)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(("mixed", "sample", "eps", "icc31"))])
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_every_row_twice_changes_no_metric(name: str, seed: int) -> None:
    chosen = metric(name)
    rows = _rows(chosen.task, seed)
    assert isinstance(rows, Classified | Detected | Rated | Located)
    once, twice = chosen.score(rows), chosen.score(rows.take(np.tile(np.arange(12), 2)))
    assume("too_few" not in once.flags)
    if isinstance(rows, Rated):
        assume((rows.valid.sum(axis=0) > 1).all())
    if name.endswith("video_mean"):
        assume(not any("left out" in flag for flag in once.flags))
    assert _same(once.value, twice.value)
    assert twice.rows_used == 2 * once.rows_used


def test_every_row_twice_changes_the_mixed_ccc() -> None:
    truth, guess = np.random.default_rng(0).uniform(-1, 1, (2, 6))
    twice = concordance_mixed(np.tile(truth, 2), np.tile(guess, 2))
    assert twice != pytest.approx(concordance_mixed(truth, guess), abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, fill=st.sampled_from([-1.0, 999.0, -5.0, 1e300, math.inf]))
def test_what_stands_in_a_masked_cell_never_matters(name: str, seed: int, fill: float) -> None:
    chosen = metric(name)
    clean, dirty = (chosen.score(_rows(chosen.task, seed, value)) for value in (math.nan, fill))
    assert repr(clean) == repr(dirty)  # every digit and flag; NaN is unequal to itself


def test_ccc_of_itself_its_negative_and_a_constant() -> None:
    truth = np.random.default_rng(0).normal(size=50)
    truth -= truth.mean()
    assert concordance(truth, truth) == pytest.approx(1)
    assert concordance(truth, -truth) == pytest.approx(-1)
    assert concordance(truth, np.full(50, 0.1)) == 0


def test_ccc_never_exceeds_one_and_the_mixed_form_does() -> None:
    draw = np.random.default_rng(0)
    beyond = 0
    for _ in range(1000):
        truth = draw.uniform(-1, 1, draw.integers(2, 21))
        guess = truth + draw.normal(0, 0.1, len(truth))
        assert abs(concordance(truth, guess)) <= 1 + 1e-12
        beyond += concordance_mixed(truth, guess) > 1
    assert beyond > 0


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 12))
def test_the_fixed_class_list_matters_exactly_when_a_class_is_absent_from_both(seed: int, count: int) -> None:
    truth, guess = np.random.default_rng(seed).integers(0, 4, (2, count))
    rows = classified(truth, guess, classes=CLASSES[:4])
    assume(macro_f1(rows).value > 0)
    missing = len(set(truth) | set(guess)) < 4
    assert (macro_f1(rows).value != pytest.approx(macro_f1_sklearn(rows).value)) == missing


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 40))
def test_classification_agrees_with_torchmetrics(seed: int, count: int) -> None:
    truth, guess = np.random.default_rng(seed).integers(0, 7, (2, count))
    rows = classified(truth, guess, classes=CLASSES)
    pair = torch.from_numpy(guess), torch.from_numpy(truth)
    theirs = {
        "top1": other.classification.multiclass_accuracy(*pair, 7, average="micro"),
        "macro_f1_sklearn": other.classification.multiclass_f1_score(*pair, 7, average="macro"),
    }
    for name, value in theirs.items():
        assert metric(name).score(rows).value == pytest.approx(value.item(), abs=1e-6)
    recall = other.classification.multiclass_recall(*pair, 7, average=None).numpy()
    assert metric("uar").score(rows).value == pytest.approx(recall[np.unique(truth)].mean(), abs=1e-6)
    assert metric("uar_zero").score(rows).value == pytest.approx(recall.mean(), abs=1e-6)
    f1 = other.classification.multiclass_f1_score(*pair, 7, average=None).numpy()
    assert metric("macro_f1").score(rows).value == pytest.approx(f1.mean(), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS)
def test_action_units_agree_with_torchmetrics(seed: int) -> None:
    rows = _rows("au", seed)
    assert isinstance(rows, Detected)
    ignored = torch.from_numpy(np.where(rows.valid, rows.truth, -1))
    chance = torch.from_numpy(rows.probability)
    f1 = other.classification.multilabel_f1_score(chance, ignored, 12, average=None, ignore_index=-1)
    assert metric("au_f1").score(rows).per_label == pytest.approx(f1.tolist(), abs=1e-6)
    right = other.classification.multilabel_accuracy(chance, ignored, 12, average=None, ignore_index=-1)
    assert metric("au_acc_mean").score(rows).per_label == pytest.approx(right.tolist(), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, count=st.integers(3, 40))
def test_continuous_scores_agree_with_torchmetrics(seed: int, count: int) -> None:
    truth, guess = np.random.default_rng(seed).uniform(-1, 1, (2, count, 2))
    rows = rated(truth, guess)
    pair = torch.from_numpy(guess[:, 0]), torch.from_numpy(truth[:, 0])
    assert metric("pcc_valence").score(rows).value == pytest.approx(other.pearson_corrcoef(*pair).item(), abs=1e-6)
    assert metric("mae_valence").score(rows).value == pytest.approx(other.mean_absolute_error(*pair).item())
    rmse = other.mean_squared_error(*pair, squared=False).item()
    assert metric("rmse_valence").score(rows).value == pytest.approx(rmse)
    # torchmetrics takes n - 1 moments throughout; bringing ours to that form is a change of the bias term alone.
    dx = rows.truth[:, 0].mean() - rows.predicted[:, 0].mean()
    sample = 2 * np.cov(truth[:, 0], guess[:, 0])[0, 1] / (truth[:, 0].var(ddof=1) + guess[:, 0].var(ddof=1) + dx**2)
    assert other.concordance_corrcoef(*pair).item() == pytest.approx(sample, abs=1e-6)
    assert metric("ccc_valence_sample").score(rows).value == pytest.approx(sample, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 40))
def test_classification_agrees_with_scikit_learn(seed: int, count: int) -> None:
    sklearn = pytest.importorskip(
        "sklearn.metrics", reason="scikit-learn is not installed; torchmetrics checks the same"
    )
    truth, guess = np.random.default_rng(seed).integers(0, 7, (2, count))
    rows = classified(truth, guess, classes=CLASSES)
    assert metric("macro_f1_sklearn").score(rows).value == pytest.approx(
        sklearn.f1_score(truth, guess, average="macro")
    )
    labels = list(range(7))
    fixed = sklearn.f1_score(truth, guess, labels=labels, average="macro", zero_division=0)
    assert metric("macro_f1").score(rows).value == pytest.approx(fixed)
    np.testing.assert_array_equal(
        sklearn.confusion_matrix(truth, guess, labels=labels).sum(), metric("top1").score(rows).rows_used
    )
