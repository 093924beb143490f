"""The masked-loss contract: what is unlabelled enters no loss and moves no gradient.

    t  <- where(m, t, 0)          before any arithmetic, so that NaN or sentinels never enter
    l  <- elementwise loss from logits, never from probabilities
    l  <- where(m, l, 0)
    L  <- reduce(l, m, w)

Every loss of this package follows it (methods.md 0.2) and computes in float32, whatever the autocast.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import torch
from torch import Tensor, nn

from manifests.errors import RecipeError


class Reduction(StrEnum):
    """How elementwise losses become one number; n_i is the number of labelled cells of row i."""

    CELLS = "cells"
    """sum(m w l) / max(1, sum(m)): every labelled cell counts the same."""
    ROWS = "rows"
    """Mean over the rows with n_i > 0 of sum_j(m w l) / n_i: every labelled image counts the same."""
    WEIGHTED_ROWS = "weighted_rows"
    """Mean over the rows with sum_j(m w) > 0 of sum_j(m w l) / sum_j(m w): weights compare the cells of one image and
    never images, so that those of one cell a row (classes) say nothing (methods.md 2.3, reading B7)."""
    BATCH_TOTAL = "batch_total"
    """sum(m w l) / (B J): shrinks when outputs are added."""
    SPACE = "space"
    """Mean over rows of sum_j(m w l) / size of the row's label space: an unknown cell still counts below."""


@dataclass(frozen=True)
class Labels:
    """What is known about one task in one batch of B rows.

    Attributes:
        target: Class indices [B] or class distributions [B, C] for a classifier; values [B, J] elsewhere.
            Whatever stands where `mask` is false is never read: NaN and sentinels are fine there.
        mask: Bool, [B] for a classifier, else [B, J]; true where the target is known.
        weight: Weights >= 0 of the shape of `mask`; None means 1.
        offered: Bool [B, C], the classes that the row's annotators could choose; None means all.
        space: Int [B], number of outputs that the row's dataset annotates; needed by `space` only. Rows of
            size 0 (the dataset does not annotate the task) are outside that mean.
    """

    target: Tensor
    mask: Tensor
    weight: Tensor | None = None
    offered: Tensor | None = None
    space: Tensor | None = None


class MaskedLoss(nn.Module):
    """Base of every loss: called with logits or values [B, J] and `Labels`, returns a scalar in float32.

    Attributes:
        name: Registry name.
        fits: Kinds of head output the loss is made for (`trainer.networks.heads.HeadSpec.kind`).
        minimum: Labelled rows in a batch below which it is 0.
        reduction: See `Reduction`.
    """

    name: ClassVar[str]
    fits: ClassVar[frozenset[str]]
    minimum: int = 1
    reduction: Reduction = Reduction.CELLS

    def forward(self, output: Tensor, labels: Labels) -> Tensor:
        raise NotImplementedError

    def count(self, labels: Labels) -> Tensor:
        """How much of a batch the loss is a mean over: its share in the loss of a batch of which it is a part."""
        return counted(labels.mask, labels.weight, how=self.reduction, space=labels.space)


def known(target: Tensor, mask: Tensor) -> Tensor:
    """The target in float32, with 0 wherever it is unknown."""
    return torch.where(mask, target, torch.zeros((), dtype=target.dtype, device=target.device)).float()


def reduce(
    loss: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
    *,
    how: Reduction = Reduction.CELLS,
    space: Tensor | None = None,
) -> Tensor:
    """One number from elementwise losses; an exact 0 that stays attached to the graph when nothing is labelled.

    Args:
        loss: [B, J] or [B], elementwise; its values at unlabelled cells are dropped.
        mask: Bool, shape of `loss`.
        weight: Shape of `loss`, >= 0; None means 1. Weights enter no divisor but that of `weighted_rows`.
        how: See `Reduction`.
        space: Int [B], required by `space`.

    Raises:
        RecipeError: `space` is asked for and the batch does not carry it.
    """
    if loss.ndim == 1:
        loss, mask, weight = loss[:, None], mask[:, None], None if weight is None else weight[:, None]
    kept = torch.where(mask, loss, 0.0) * _weighing(mask, weight)
    divisor = _row_divisor(mask, weight, how, space)
    if divisor is not None:
        kept = (kept.sum(dim=1) / divisor.where(divisor > 0, 1)).where(divisor > 0, 0.0)
    return kept.sum() / counted(mask, weight, how=how, space=space).clamp(min=1)


def counted(
    mask: Tensor, weight: Tensor | None = None, *, how: Reduction = Reduction.CELLS, space: Tensor | None = None
) -> Tensor:
    """How many rows or cells the mean of `reduce` runs over, an int64 scalar; its arguments and refusals are those.

    The mean over a batch is that of the means over its parts, each weighed by its count.
    """
    if mask.ndim == 1:
        mask, weight = mask[:, None], None if weight is None else weight[:, None]
    divisor = _row_divisor(mask, weight, how, space)
    if divisor is not None:
        return (divisor > 0).sum()
    return (mask if how is Reduction.CELLS else torch.ones_like(mask)).sum()


def _row_divisor(mask: Tensor, weight: Tensor | None, how: Reduction, space: Tensor | None) -> Tensor | None:
    """What each row's sum is divided by, [B], 0 for a row outside the mean; None: the mean runs over cells."""
    match how:
        case Reduction.CELLS | Reduction.BATCH_TOTAL:
            return None
        case Reduction.ROWS:
            return mask.sum(dim=1)
        case Reduction.WEIGHTED_ROWS:
            return _weighing(mask, weight).sum(dim=1)
        case Reduction.SPACE if space is not None:
            return space
    raise RecipeError(
        "the reduction `space` divides by the size of each row's label space",
        found="a batch without label spaces",
        then="choose cells, rows or batch_total",
    )


def _weighing(mask: Tensor, weight: Tensor | None) -> Tensor:
    return torch.where(mask, 1.0 if weight is None else weight.float(), 0.0)
