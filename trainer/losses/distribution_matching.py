"""Distribution matching: what the AU head says is compared with what the expression head implies about AUs.

Kollias, Sharmanska & Zafeiriou 2019, eq. 2 and 3; methods.md 2.5. For every image, labelled or not,

    p_i = sigmoid(AU logit i)          q_i = sum_e softmax(expression logits)_e A[e, i]

and the two are drawn together. The print leaves open in which direction; the readings B9 and B12-B15 say which form
works, and the printed one is kept to show that it does not: -p log q has a free minimum at "no AU is ever present".
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from affectdata.labels.relatedness import relatedness
from trainer.losses.coupling import Bench, Coupling, Step, Term
from trainer.losses.emotion_prior import expression_and_aus, prior_of
from trainer.settings import Part

SMALLEST = 1e-6
"""q is kept in [SMALLEST, 1 - SMALLEST]."""


class Gradient(StrEnum):
    """Which head learns, and from which form (reading B14)."""

    TARGET_P = "target_p"
    """Cross-entropy; the AU head is the target and the expression head learns."""
    TARGET_Q = "target_q"
    """Cross-entropy; the expression head is the target and the AU head learns."""
    SYMMETRIC = "symmetric"
    """Mean of both."""
    JOINT = "joint"
    """KL of p to q with gradients through both heads."""
    PRINTED = "printed"
    """-p log q with gradients through both heads, eq. 3 as is: collapses to all AUs off.

    Full cross-entropy with gradients through both is not offered: it lowers the entropy of p too, and ends at "all
    AUs off, always neutral"."""


class MatchingOptions(Part):
    """What the recipe may say about the coupling distribution_matching."""

    table: str = "du2014"
    """Relatedness table: du2014, affwild2, or the path of a TOML file that `affect relate` wrote."""
    weighted: bool = False
    """false: p(AU | emotion) is 1 for every listed AU; true: its fraction for an observational one."""
    gradient: Gradient = Gradient.TARGET_P
    """Which head learns: target_p, target_q, symmetric, joint; printed: the paper's eq. 3, which collapses."""
    owner_mean: bool = False
    """Divide by the number of emotions that list the AU, as one example of the paper does and its eq. 2 does not."""
    mean_over_aus: bool = False
    """Mean over AUs instead of their sum."""
    mask_unlisted: bool = False
    """Leave out the AUs that the likeliest expression does not list: the table is silent about them."""
    floor: float = Field(default=0.0, ge=0, lt=0.5)
    """Smallest implied probability; 0 as printed."""


class DistributionMatching(Coupling):
    """Matches the expression head and the AU head on every row of the batch, labelled or not."""

    name = "distribution_matching"
    Options: ClassVar[type[Part]] = MatchingOptions
    prior: Tensor

    def __init__(self, bench: Bench, options: MatchingOptions) -> None:
        super().__init__(bench, options)
        expression, au = expression_and_aus(bench, self.name)
        self.options = options
        prior = prior_of(relatedness(options.table), expression.outputs, au.outputs, weighted=options.weighted)
        self.register_buffer("prior", prior)

    def forward(self, step: Step) -> Term:
        """The mean over all rows."""
        choice = self.options.model_dump(exclude={"table", "weighted"})
        loss = distribution_matching(step.outputs["expression"], step.outputs["au"], self.prior, **choice)
        return Term(loss, torch.tensor(len(step.dataset), device=loss.device))


def implied_aus(expression: Tensor, prior: Tensor, *, owner_mean: bool = False) -> Tensor:
    """q [B, K] of eq. 2 from expression probabilities [B, C] and the prior [C, K].

    Args:
        expression: Rows sum to 1.
        prior: p(AU | expression), 0 where the table lists nothing (neutral's whole row).
        owner_mean: Divide by the number of emotions that own the AU, as the paper's example for AU2 does and eq. 2
            does not (reading B12).
    """
    implied = expression @ prior
    return implied / (prior > 0).sum(dim=0).clamp(min=1) if owner_mean else implied


def distribution_matching(
    expression_logits: Tensor,
    au_logits: Tensor,
    prior: Tensor,
    *,
    gradient: str = Gradient.TARGET_P,
    owner_mean: bool = False,
    mean_over_aus: bool = False,
    mask_unlisted: bool = False,
    floor: float = 0.0,
) -> Tensor:
    """Scalar loss in float32 over all rows of the batch, whatever labels they have.

    Sum over the AUs that some expression owns (a column of the prior that is all 0 would push its AU to 0 on every
    image, reading B9), mean over rows (B15).

    Args:
        expression_logits: [B, C].
        au_logits: [B, K].
        prior: [C, K] in [0, 1], without gradient.
        gradient: See `Gradient`.
        owner_mean: See `implied_aus`.
        mean_over_aus: Mean over owned AUs instead of their sum.
        mask_unlisted: Leave out, row by row, the AUs that the likeliest expression does not list: there q is near 0
            only because the table is silent.
        floor: Smallest q; 0 as printed (but for `SMALLEST`).
    """
    q = implied_aus(functional.softmax(expression_logits.float(), dim=1), prior, owner_mean=owner_mean)
    q = q.clamp(max(SMALLEST, floor), 1 - SMALLEST)
    cells = _divergence(au_logits.float(), q, Gradient(gradient))
    counted = (prior > 0).any(dim=0).expand_as(cells)
    if mask_unlisted:
        counted = counted & (prior[expression_logits.argmax(dim=1)] > 0)
    per_row = torch.where(counted, cells, 0.0).sum(dim=1)
    if mean_over_aus:
        per_row = per_row / counted.sum(dim=1).clamp(min=1)
    return per_row.sum() / max(1, len(per_row))


def _divergence(logits: Tensor, q: Tensor, gradient: Gradient) -> Tensor:
    """Elementwise loss [B, K] between sigmoid(logits) and q."""
    p = torch.sigmoid(logits)
    match gradient:
        case Gradient.TARGET_P:
            return _cross_entropy(p.detach(), q)
        case Gradient.TARGET_Q:
            return functional.binary_cross_entropy_with_logits(logits, q.detach(), reduction="none")
        case Gradient.SYMMETRIC:
            return 0.5 * (_divergence(logits, q, Gradient.TARGET_P) + _divergence(logits, q, Gradient.TARGET_Q))
        case Gradient.JOINT:
            entropy = -p * functional.logsigmoid(logits) - (1 - p) * functional.logsigmoid(-logits)
            return _cross_entropy(p, q) - entropy
        case Gradient.PRINTED:
            return -p * q.log()


def _cross_entropy(p: Tensor, q: Tensor) -> Tensor:
    return -(p * q.log() + (1 - p) * (1 - q).log())
