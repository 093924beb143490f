"""Cross-entropy over the offered classes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from manifests.errors import RecipeError
from trainer.losses.cross_entropy import CrossEntropy, check_offered
from trainer.losses.masked import Labels
from trainer.losses.registry import build_loss

CLASSES = ("neutral", "happiness", "sadness", "surprise", "contempt")
EVERY_ROW = torch.ones(3, dtype=torch.bool)


def _logits() -> torch.Tensor:
    return torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()


def _without_contempt() -> torch.Tensor:
    offered = torch.ones(3, 5, dtype=torch.bool)
    offered[0, 4] = offered[1, 4] = False
    return offered


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_class_that_the_source_did_not_offer_gets_no_gradient(smoothing: float) -> None:
    logits = _logits()
    labels = Labels(torch.tensor([0, 1, 4]), EVERY_ROW, offered=_without_contempt())
    CrossEntropy(label_smoothing=smoothing)(logits, labels).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[:2, 4], torch.zeros(2))
    assert bool((logits.grad[:2, :4] != 0).all())
    assert bool((logits.grad[2] != 0).all())


def test_the_logit_of_a_class_not_offered_changes_no_loss() -> None:
    logits = _logits().detach()
    labels = Labels(torch.tensor([0, 1, 4]), EVERY_ROW, offered=_without_contempt())
    louder = logits.clone()
    louder[:2, 4] = 1e4
    assert torch.equal(CrossEntropy()(louder, labels), CrossEntropy()(logits, labels))


def test_over_the_offered_classes_it_is_the_cross_entropy_of_a_smaller_head() -> None:
    logits = _logits().detach()
    labels = Labels(torch.tensor([0, 1, 2]), EVERY_ROW, offered=torch.tensor([True] * 4 + [False]).expand(3, 5))
    for smoothing in (0.0, 0.1):
        smaller = functional.cross_entropy(logits[:, :4], labels.target, label_smoothing=smoothing)
        torch.testing.assert_close(CrossEntropy(label_smoothing=smoothing)(logits, labels), smaller)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), smoothing=st.sampled_from([0.0, 0.05, 0.3]))
def test_with_every_class_offered_it_equals_the_cross_entropy_of_torch(seed: int, smoothing: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits, target = torch.randn(7, 5, generator=draw) * 5, torch.randint(0, 5, (7,), generator=draw)
    weight = (torch.rand(5, generator=draw) + 0.1).tolist()
    ours = CrossEntropy(label_smoothing=smoothing, class_weight=weight)(
        logits, Labels(target, torch.ones(7, dtype=torch.bool))
    )
    theirs = functional.cross_entropy(
        logits, target, weight=torch.tensor(weight), label_smoothing=smoothing, reduction="none"
    ).mean()
    torch.testing.assert_close(ours, theirs)


def test_a_soft_target_equals_the_cross_entropy_of_torch() -> None:
    logits = _logits().detach()
    soft = torch.softmax(torch.randn(3, 5, generator=torch.Generator().manual_seed(3)), dim=1)
    torch.testing.assert_close(CrossEntropy()(logits, Labels(soft, EVERY_ROW)), functional.cross_entropy(logits, soft))


def test_an_unlabelled_row_that_offers_nothing_is_no_nan() -> None:
    logits = _logits()
    labels = Labels(
        torch.tensor([0, -1, 2]), torch.tensor([True, False, True]), offered=torch.ones(3, 5, dtype=torch.bool)
    )
    assert labels.offered is not None
    labels.offered[1] = False
    loss = CrossEntropy(label_smoothing=0.1)(logits, labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.equal(logits.grad[1], torch.zeros(5))


def test_a_label_outside_the_offered_classes_is_never_a_finite_loss() -> None:
    labels = Labels(torch.tensor([4, 0, 0]), EVERY_ROW, offered=_without_contempt())
    assert CrossEntropy()(_logits(), labels).item() == float("inf")


def test_a_label_outside_the_offered_classes_is_named_before_training() -> None:
    with pytest.raises(RecipeError, match="1 rows with contempt"):
        check_offered(torch.tensor([4, 0, 4]), torch.tensor([True, True, False]), _without_contempt(), CLASSES)
    check_offered(torch.tensor([4, 0, 4]), torch.tensor([False, True, True]), _without_contempt(), CLASSES)


def test_logit_adjustment_adds_the_log_of_the_prior_in_training() -> None:
    logits, target = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([2])
    adjusted = build_loss("ce", {"logit_adjustment": 2.0, "prior": [0.5, 0.3, 0.2]})
    expected = functional.cross_entropy(logits + 2 * torch.tensor([0.5, 0.3, 0.2]).log(), target)
    torch.testing.assert_close(adjusted(logits, Labels(target, torch.tensor([True]))), expected)
    with pytest.raises(RecipeError, match="logit_adjustment"):
        build_loss("ce", {"logit_adjustment": -1.0, "prior": [1.0]})
