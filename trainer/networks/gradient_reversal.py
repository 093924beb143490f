"""Gradient reversal (Ganin & Lempitsky 2015)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradients[0], None


def reversed_gradient(features: Tensor, factor: float) -> Tensor:
    """The features as they are; their gradient is -factor times what arrives."""
    result: Tensor = _Reversal.apply(features, factor)
    return result


def reversal_ramp(done: float) -> float:
    """2 / (1 + exp(-10 p)) - 1: 0 at the start, .4621 at p = .1, .9999 at the end, so that a classifier that knows
    nothing yet does not push the features."""
    return 2 / (1 + math.exp(-10 * done)) - 1
