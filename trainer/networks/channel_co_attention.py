"""Channel co-attention, CCAM (Yu & Xu 2021, section 3.2, eqs. 2-8)."""

from __future__ import annotations

import math

from torch import Tensor, nn


class ChannelCoAttention(nn.Module):
    """Weighs the channels of each task by what they have to do with the channels of the other.

        F_l = f(L; W_l),  F_e = f(E; W_e)   in R^(C x D),  D = floor(delta H W)
        S   = F_e F_l^T / sqrt(D)           in R^(C x C),  S_ij: expression channel i against landmark channel j
        A_e = sum over j of softmax over i of S_ij,   E^c = A_e * E
        A_l = sum over i of softmax over j of S_ij,   L^c = A_l * L

    C2 [D]: the axis that is summed is the one that was not normalised. Summing over the normalised axis gives all
    ones, and the module would do nothing.

    Args:
        positions: H W of the maps, fixed: the linear layers run over it.
        delta: Share of the positions that is kept, in (0, 1).
    """

    def __init__(self, positions: int, delta: float) -> None:
        super().__init__()
        self.depth = max(1, math.floor(delta * positions))
        self.expression, self.landmarks = _mlp(positions, self.depth), _mlp(positions, self.depth)

    def similarity(self, expression: Tensor, landmarks: Tensor) -> Tensor:
        """S [B, C, C] of maps [B, C, H, W]."""
        of_expression, of_landmarks = self.expression(expression.flatten(2)), self.landmarks(landmarks.flatten(2))
        return of_expression @ of_landmarks.transpose(1, 2) / math.sqrt(self.depth)  # type: ignore[no-any-return]  # modules return Any

    def forward(self, expression: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        """E^c and L^c, shaped as the maps [B, C, H, W]."""
        of_expression, of_landmarks = channel_weights(self.similarity(expression, landmarks))
        return of_expression[..., None, None] * expression, of_landmarks[..., None, None] * landmarks


def channel_weights(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """A_e and A_l, [B, C] each, of S [B, C, C]; each sums to C."""
    return similarity.softmax(1).sum(2), similarity.softmax(2).sum(1)


def _mlp(positions: int, depth: int) -> nn.Sequential:
    """[C] Two layers, shared by all channels of a branch."""
    return nn.Sequential(nn.Linear(positions, depth), nn.ReLU(), nn.Linear(depth, depth))
