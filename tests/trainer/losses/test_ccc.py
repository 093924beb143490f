"""The concordance loss: its value, and the batches on which the quotient means nothing."""

from __future__ import annotations

import pytest
import torch

from trainer.losses.ccc import ConcordanceLoss
from trainer.losses.masked import Labels

TRUTH = torch.tensor([-0.5, 0.0, 0.2, 0.7])
GUESS = torch.tensor([-0.1, 0.2, 0.3, 0.6])


def _column(*values: torch.Tensor) -> torch.Tensor:
    return torch.stack(values, dim=1)


def _all(target: torch.Tensor, **more: torch.Tensor) -> Labels:
    return Labels(target, torch.ones_like(target, dtype=torch.bool), **more)


def test_the_worked_example_of_reading_b1() -> None:
    loss = ConcordanceLoss()(_column(GUESS), _all(_column(TRUTH)))
    assert loss.item() == pytest.approx(1 - 0.796296, abs=1e-6)


def test_it_is_not_the_printed_form_with_squared_variances() -> None:
    assert 1 - ConcordanceLoss()(_column(GUESS), _all(_column(TRUTH))).item() != pytest.approx(3.546, abs=0.1)


def test_each_axis_has_its_own_mask() -> None:
    guess = _column(GUESS, torch.tensor([0.2, 0.2, 0.4, 0.5]))
    labels = _all(_column(TRUTH, torch.tensor([0.1, 0.4, 0.3, 0.6])))
    labels.mask[:, 1] = False
    assert ConcordanceLoss()(guess, labels).item() == pytest.approx(1 - 0.796296, abs=1e-6)
    labels.mask[:, 1] = True
    assert ConcordanceLoss()(guess, labels).item() == pytest.approx(1 - 0.723148, abs=1e-6)


@pytest.mark.parametrize(
    ("guess", "truth"),
    [
        (torch.tensor([0.3]), torch.tensor([0.5])),
        (torch.tensor([0.3, 0.3, 0.3]), torch.tensor([0.3, 0.3, 0.3])),
        (torch.tensor([0.1, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.1])),
    ],
    ids=["one row", "constant and equal", "constant and equal, inexact in binary"],
)
def test_a_batch_without_a_correlation_adds_an_exact_zero(guess: torch.Tensor, truth: torch.Tensor) -> None:
    output = _column(guess).requires_grad_()
    loss = ConcordanceLoss()(output, _all(_column(truth)))
    loss.backward()
    assert loss.item() == 0
    assert output.grad is not None
    assert torch.equal(output.grad, torch.zeros_like(output))


def test_a_constant_output_against_varying_truth_still_learns() -> None:
    output = torch.full((4, 1), 0.2).requires_grad_()
    loss = ConcordanceLoss()(output, _all(_column(TRUTH)))
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=1e-6)
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
    assert output.grad.abs().max() > 0


def test_an_axis_below_the_minimum_is_left_out_of_the_mean() -> None:
    guess, labels = _column(GUESS, GUESS), _all(_column(TRUTH, TRUTH))
    labels.mask[2:, 1] = False
    assert ConcordanceLoss(minimum=3)(guess, labels).item() == pytest.approx(1 - 0.796296, abs=1e-6)
    assert ConcordanceLoss(minimum=5)(guess, labels).item() == 0


def test_a_weight_of_two_is_the_row_twice() -> None:
    twice = torch.tensor([0, 1, 1, 2, 3])
    weight = torch.tensor([1.0, 2.0, 1.0, 1.0])[:, None]
    weighted = ConcordanceLoss()(_column(GUESS), _all(_column(TRUTH), weight=weight))
    repeated = ConcordanceLoss()(_column(GUESS[twice]), _all(_column(TRUTH[twice])))
    torch.testing.assert_close(weighted, repeated)
