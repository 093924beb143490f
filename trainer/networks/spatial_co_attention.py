"""Spatial co-attention, SCAM (Yu & Xu 2021, section 3.3, eqs. 9-13)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpatialCoAttention(nn.Module):
    """One map of places that matter to both tasks.

        F   = [max over channels; mean over channels] of [L; E]   in R^(2 x H x W)
        A_s = sigmoid(F * W_s),   E^s = A_s * E,   L^s = A_s * L

    C3 [D]: W_s is 2 x 7 x 7 (printed 1 x 7 x 7, which does not take two maps) without bias, then batch norm; the
    release has 3 x 3 and batch norm.

    Args:
        kernel: Side of W_s, odd.
        bn: Batch norm before the sigmoid.
    """

    def __init__(self, kernel: int = 7, *, bn: bool = True) -> None:
        super().__init__()
        norm = [nn.BatchNorm2d(1)] if bn else []
        self.attend = nn.Sequential(nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False), *norm, nn.Sigmoid())

    def places(self, expression: Tensor, landmarks: Tensor) -> Tensor:
        """A_s [B, 1, H, W], in 0..1, of maps [B, C, H, W]."""
        both = torch.cat([landmarks, expression], 1)
        weights: Tensor = self.attend(torch.cat([both.amax(1, keepdim=True), both.mean(1, keepdim=True)], 1))
        return weights

    def forward(self, expression: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        """E^s and L^s, shaped as the maps."""
        places = self.places(expression, landmarks)
        return places * expression, places * landmarks
