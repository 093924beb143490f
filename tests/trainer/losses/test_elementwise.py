"""Binary cross-entropy, squared and absolute error, wing: values against torch and the reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from trainer.losses.binary_cross_entropy import BinaryCrossEntropy
from trainer.losses.masked import Labels
from trainer.losses.regression import AbsoluteError, SquaredError
from trainer.losses.wing import WingLoss


def _batch() -> tuple[torch.Tensor, Labels]:
    draw = torch.Generator().manual_seed(0)
    labels = Labels(torch.rand(9, 5, generator=draw).round(), torch.rand(9, 5, generator=draw) < 0.5)
    return torch.randn(9, 5, generator=draw) * 3, labels


def test_binary_cross_entropy_is_that_of_torch_over_the_labelled_cells() -> None:
    logits, labels = _batch()
    positive = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
    theirs = functional.binary_cross_entropy_with_logits(
        logits[labels.mask], labels.target[labels.mask], pos_weight=positive.expand(9, 5)[labels.mask]
    )
    torch.testing.assert_close(BinaryCrossEntropy(pos_weight=positive.tolist())(logits, labels), theirs)


def test_a_confident_logit_stays_finite() -> None:
    labels = Labels(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool))
    assert BinaryCrossEntropy()(torch.tensor([[-1e4, 1e4]]), labels).item() == pytest.approx(1e4)


def test_an_absent_au_with_logit_one_costs_what_1_minus_sigma_says_and_not_sigma_of_1_minus_x() -> None:
    """1.3133; F3R's eq. 3 taken literally would give .6931 (methods.md 5.8, reading F3)."""
    labels = Labels(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    assert BinaryCrossEntropy()(torch.ones(1, 1), labels).item() == pytest.approx(1.3133, abs=5e-5)


@pytest.mark.parametrize(("reduction", "value"), [("weighted_rows", 0.417182), ("rows", 0.349042)])
def test_the_worked_values_of_a_co_annotated_happiness(reduction: str, value: float) -> None:
    """AU12, AU25 and, with its fraction .51, AU6; both divisors of reading B7."""
    labels = Labels(torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.tensor([[1.0, 1.0, 0.51]]))
    logits = torch.logit(torch.tensor([[0.8, 0.7, 0.4]]))
    assert BinaryCrossEntropy(reduction=reduction)(logits, labels).item() == pytest.approx(value, abs=1e-6)


def test_squared_and_absolute_error_are_those_of_torch_over_the_labelled_cells() -> None:
    output, labels = _batch()
    seen, truth = output[labels.mask], labels.target[labels.mask]
    torch.testing.assert_close(SquaredError()(output, labels), functional.mse_loss(seen, truth))
    torch.testing.assert_close(AbsoluteError()(output, labels), functional.l1_loss(seen, truth))


@pytest.mark.parametrize(
    ("error", "value"), [(1.0, 4.054651), (10.0, 17.917595), (20.0, 27.917595), (0.01, 10 * math.log1p(0.005))]
)
def test_the_printed_values_of_the_wing_loss(error: float, value: float) -> None:
    labels = Labels(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    for sign in (-1, 1):
        assert WingLoss()(torch.tensor([[sign * error]]), labels).item() == pytest.approx(value, abs=2e-6)


def test_the_wing_loss_is_continuous_at_its_width() -> None:
    labels = Labels(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    below, above = (WingLoss()(torch.tensor([[x]]), labels).item() for x in (10 - 1e-5, 10 + 1e-5))
    assert below == pytest.approx(above, abs=1e-4)


def test_the_wing_loss_starts_with_the_slope_width_over_curvature() -> None:
    output = torch.tensor([[1e-6]], requires_grad=True)
    WingLoss()(output, Labels(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))).backward()
    assert output.grad is not None
    assert output.grad.item() == pytest.approx(5, rel=1e-5)


def test_the_wing_loss_of_a_larger_picture_can_be_that_of_the_smaller() -> None:
    labels = Labels(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    assert WingLoss(scale=100 / 224)(torch.tensor([[2.24]]), labels).item() == pytest.approx(4.054651, abs=2e-6)
