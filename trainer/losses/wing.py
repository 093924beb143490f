"""The wing loss of landmark regression."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manifests.errors import RecipeError
from trainer.losses.masked import Labels, MaskedLoss, Reduction, known, reduce


class WingLoss(MaskedLoss):
    """Masked wing loss (Feng et al. 2018; Yu & Xu 2021 eq. 14; methods.md 4.5).

    wing(x) = w ln(1 + x / eps) if x < w, else x - M, with x = |y - yhat| and M = w - w ln(1 + w / eps).
    Output and target [B, J] in pixels: on unit coordinates it is practically (w / eps) |x| and its design is lost.

    Args:
        width: w, pixels, > 0.
        curvature: eps, pixels, > 0.
        scale: What errors are multiplied with before anything else, > 0: 100 / 224 takes a 224-pixel picture for the
            100-pixel one that width and curvature are meant for (C4 [D]).
        reduction: See `Reduction`.
    """

    name = "wing"
    fits = frozenset({"points"})

    def __init__(
        self, *, width: float = 10.0, curvature: float = 2.0, scale: float = 1.0, reduction: str = Reduction.CELLS
    ) -> None:
        super().__init__()
        if min(width, curvature, scale) <= 0:
            raise RecipeError(
                "width, curvature and scale of the loss wing",
                found=f"{width}, {curvature}, {scale}",
                expected="all > 0",
            )
        self.width, self.curvature, self.scale = width, curvature, scale
        self.reduction = Reduction(reduction)

    def forward(self, output: Tensor, labels: Labels) -> Tensor:
        """Scalar loss; `labels.mask` is [B, J]."""
        error = self.scale * (output.float() - known(labels.target, labels.mask)).abs()
        offset = self.width - self.width * math.log1p(self.width / self.curvature)
        near = self.width * torch.log1p(error / self.curvature)
        loss = torch.where(error < self.width, near, error - offset)
        return reduce(loss, labels.mask, labels.weight, how=self.reduction, space=labels.space)
