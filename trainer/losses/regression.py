"""Squared and absolute error of continuous outputs."""

from __future__ import annotations

from torch import Tensor

from trainer.losses.masked import Labels, MaskedLoss, Reduction, known, reduce


class SquaredError(MaskedLoss):
    """Masked squared error; output and target [B, J] in the same unit, result in its square.

    Args:
        reduction: See `Reduction`.
    """

    name = "mse"
    fits = frozenset({"continuous", "points"})

    def __init__(self, *, reduction: str = Reduction.CELLS) -> None:
        super().__init__()
        self.reduction = Reduction(reduction)

    def forward(self, output: Tensor, labels: Labels) -> Tensor:
        """Scalar loss; `labels.mask` is [B, J]."""
        loss = (output.float() - known(labels.target, labels.mask)).square()
        return reduce(loss, labels.mask, labels.weight, how=self.reduction, space=labels.space)


class AbsoluteError(MaskedLoss):
    """Masked absolute error; output and target [B, J] in the same unit (the landmark loss of Hu et al. 2018).

    Args:
        reduction: See `Reduction`.
    """

    name = "l1"
    fits = frozenset({"continuous", "points"})

    def __init__(self, *, reduction: str = Reduction.CELLS) -> None:
        super().__init__()
        self.reduction = Reduction(reduction)

    def forward(self, output: Tensor, labels: Labels) -> Tensor:
        """Scalar loss; `labels.mask` is [B, J]."""
        loss = (output.float() - known(labels.target, labels.mask)).abs()
        return reduce(loss, labels.mask, labels.weight, how=self.reduction, space=labels.space)
