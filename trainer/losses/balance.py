"""How often training labels say what: weights, priors and label spaces that a loss takes from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainer.losses.masked import Labels

BALANCED = "balanced"
"""What an option says where the training labels decide."""


def decided(options: Mapping[str, Any], labels: Labels | None) -> dict[str, Any]:
    """Options of a loss with what the training labels decide written out.

    `class_weight: balanced` becomes n / (C n_c), `pos_weight: balanced` absent / present, and `logit_adjustment: tau`
    gains the `prior` of the classes (Menon et al. 2021). A class or AU without labels gets weight 1.

    Args:
        options: As a recipe says.
        labels: Of all training samples; None: nothing is trained, and what they would decide is left out.
    """
    made = dict(options)
    for name, count in (("class_weight", class_weight), ("pos_weight", pos_weight)):
        if made.get(name) == BALANCED:
            del made[name]
            if labels is not None:
                made[name] = count(labels)
    if made.get("logit_adjustment"):
        if labels is None:
            del made["logit_adjustment"]
        else:
            made["prior"] = prior(labels)
    return made


def class_counts(labels: Labels) -> Tensor:
    """Labelled samples of each class, float64 [C]; of a soft label each class's share."""
    if labels.target.ndim == 1:
        classes = 0 if labels.offered is None else labels.offered.shape[1]
        return torch.bincount(labels.target[labels.mask], minlength=classes).double()
    mask = labels.mask if labels.mask.ndim > 1 else labels.mask[:, None]
    return torch.where(mask, labels.target.double(), 0.0).sum(0)


def class_weight(labels: Labels) -> list[float]:
    """n / (C n_c): over the labelled samples their mean is 1."""
    counts = class_counts(labels)
    seen = counts > 0
    weight = counts.sum() / (seen.sum() * counts.clamp(min=1e-9))
    return [float(value) for value in torch.where(seen, weight, 1.0)]


def prior(labels: Labels) -> list[float]:
    """Share of each class, at least half a sample's, so that its logarithm is finite."""
    counts = class_counts(labels).clamp(min=0.5)
    return [float(value) for value in counts / counts.sum()]


def pos_weight(labels: Labels) -> list[float]:
    """Absent over present per output."""
    mask = labels.mask
    present = torch.where(mask, labels.target.double(), 0.0).sum(0)
    absent = mask.sum(0) - present
    usable = (present > 0) & (absent > 0)
    return [float(value) for value in torch.where(usable, absent / present.clamp(min=1e-9), 1.0)]


def spaces(labels: Labels, dataset: Tensor, datasets: int) -> Tensor:
    """How many outputs each dataset annotates, for the reduction `space`: int64 [datasets]."""
    mask = labels.mask.reshape(len(labels.mask), -1)
    return torch.stack([mask[dataset == number].any(0).sum() for number in range(datasets)])
