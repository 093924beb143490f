"""Sigmoid cross-entropy, cell by cell: action units, or emotions as independent outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trainer.losses.masked import Labels, MaskedLoss, Reduction, known, reduce


class BinaryCrossEntropy(MaskedLoss):
    """Masked binary cross-entropy from logits [B, K]; targets in [0, 1], each cell with its own mask and weight.

    l = -[p t ln s(z) + (1 - t) ln(1 - s(z))], s the sigmoid, p the positive weight (methods.md 1.1).

    Args:
        pos_weight: K weights > 0 of the positive side of each output; None means 1. In a recipe also `balanced`:
            absent over present in the training labels.
        reduction: See `Reduction`.
    """

    name = "bce"
    fits = frozenset({"binary"})
    pos_weight: Tensor | None

    def __init__(self, *, pos_weight: Sequence[float] | None = None, reduction: str = Reduction.CELLS) -> None:
        super().__init__()
        self.reduction = Reduction(reduction)
        weight = None if pos_weight is None else torch.tensor(pos_weight, dtype=torch.float32)
        self.register_buffer("pos_weight", weight)

    def forward(self, output: Tensor, labels: Labels) -> Tensor:
        """Scalar loss; `labels.mask` is [B, K]."""
        target = known(labels.target, labels.mask)
        loss = functional.binary_cross_entropy_with_logits(
            output.float(), target, pos_weight=self.pos_weight, reduction="none"
        )
        return reduce(loss, labels.mask, labels.weight, how=self.reduction, space=labels.space)
