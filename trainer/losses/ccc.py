"""One minus Lin's concordance correlation coefficient, the loss of valence and arousal."""

from __future__ import annotations

import torch
from torch import Tensor

from manifests.errors import RecipeError
from trainer.losses.masked import Labels, MaskedLoss, known

SMALLEST_DENOMINATOR = 1e-12
"""Below it (spreads and bias all under 1e-6) float32 moments are rounding noise and the quotient means nothing."""


class ConcordanceLoss(MaskedLoss):
    """Mean over axes of 1 - CCC over the labelled rows of the batch, each axis with its own mask.

    ccc = 2 s_xy / (s_x^2 + s_y^2 + (mean_x - mean_y)^2), population moments (methods.md 2.1, reading B1); with cell
    weights, weighted moments. Output and target [B, A], linear (no tanh). Range 0..2.

    An axis with fewer than `minimum` labelled rows, or with constant and equal output and target (0/0), adds an
    exact 0 with zero gradient and is left out of the mean.

    Args:
        minimum: Labelled rows that an axis needs, >= 2. FaceBehaviorNet's recipe takes 16.
    """

    name = "ccc"
    fits = frozenset({"continuous"})

    def __init__(self, *, minimum: int = 2) -> None:
        super().__init__()
        if minimum < 2:
            raise RecipeError("minimum of the loss ccc", found=f"{minimum}", expected="2 rows or more")
        self.minimum = minimum

    def forward(self, output: Tensor, labels: Labels) -> Tensor:
        """Scalar loss; `labels.mask` is [B, A]."""
        mask = labels.mask if labels.weight is None else labels.mask & (labels.weight > 0)
        weight = mask.float() if labels.weight is None else torch.where(mask, labels.weight.float(), 0.0)
        share = weight / weight.sum(dim=0).clamp(min=torch.finfo(torch.float32).tiny)
        x, y = torch.where(mask, output.float(), 0.0), known(labels.target, mask)
        mean_x, mean_y = (share * x).sum(dim=0), (share * y).sum(dim=0)
        dx, dy = x - mean_x, y - mean_y
        covariance = (share * dx * dy).sum(dim=0)
        spread = (share * (dx.square() + dy.square())).sum(dim=0) + (mean_x - mean_y).square()
        usable = (mask.sum(dim=0) >= self.minimum) & (spread > SMALLEST_DENOMINATOR)
        ccc = 2 * covariance / torch.where(usable, spread, 1.0)
        return torch.where(usable, 1 - ccc, 0.0).sum() / usable.sum().clamp(min=1)
