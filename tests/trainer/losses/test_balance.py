"""What training labels decide: weights, priors and label spaces; an unlabelled cell counts nowhere."""

from __future__ import annotations

import pytest
import torch

from trainer.losses.balance import decided, spaces
from trainer.losses.masked import Labels

CLASSES = Labels(torch.tensor([0, 0, 0, 1, -1]), torch.tensor([True] * 4 + [False]), None, torch.ones(5, 3).bool())
CELLS = Labels(torch.tensor([[1, 0], [0, 0], [0, -1.0]]), torch.tensor([[True, True], [True, True], [True, False]]))


def test_class_weights_are_inverse_frequencies_of_mean_one() -> None:
    weight = decided({"class_weight": "balanced", "label_smoothing": 0.1}, CLASSES)
    assert weight == {"label_smoothing": 0.1, "class_weight": pytest.approx([4 / 6, 2, 1])}


def test_soft_labels_count_by_their_shares() -> None:
    soft = Labels(torch.tensor([[0.75, 0.25], [0.75, 0.25], [9, 9]]), torch.tensor([True, True, False]))
    assert decided({"class_weight": "balanced"}, soft)["class_weight"] == pytest.approx([2 / 3, 2])


def test_positive_weights_are_absent_over_present() -> None:
    assert decided({"pos_weight": "balanced"}, CELLS) == {"pos_weight": [2.0, 1.0]}


def test_a_prior_is_finite_for_a_class_that_never_occurs() -> None:
    made = decided({"logit_adjustment": 1.0}, CLASSES)
    assert made["prior"] == pytest.approx([3 / 4.5, 1 / 4.5, 0.5 / 4.5])


def test_without_training_labels_nothing_is_decided() -> None:
    asked = {"class_weight": "balanced", "pos_weight": "balanced", "logit_adjustment": 1.0}
    assert decided(asked, None) == {}


def test_a_label_space_is_what_a_dataset_ever_annotates() -> None:
    assert spaces(CELLS, torch.tensor([0, 1, 1]), 3).tolist() == [2, 2, 0]
    assert spaces(CELLS, torch.tensor([0, 0, 1]), 2).tolist() == [2, 1]
