"""CMCNN (Yu & Xu 2021): two branches that exchange attended features after every stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.channel_co_attention import ChannelCoAttention
from trainer.networks.sharing import FEATURES, Parts, TaskNetwork
from trainer.networks.spatial_co_attention import SpatialCoAttention
from trainer.networks.staged import By, branches
from trainer.networks.weights import WeightsReport
from trainer.settings import Part

BRANCHES = ("expression", "landmarks")


class CmcnnOptions(Part):
    """The co-attention modules."""

    delta: float = Field(default=0.2, gt=0, lt=1)
    """[C] Share of a map's positions that channel co-attention keeps: 0.2 for RAF-DB and SFEW 2, 0.5 for CK+ and
    Oulu-CASIA."""
    kernel: Annotated[int, Field(ge=1, multiple_of=1)] = 7
    """Side of the kernel of spatial co-attention, odd. C3 [D]: 7 as printed; the release has 3."""
    bn: bool = True
    """[C] Batch norm before the sigmoid of spatial co-attention."""
    fixed: tuple[float, float] | None = None
    """Hold the weights of channel and spatial part where they are, in both branches: (1, 0) is the paper's CMCNN-C,
    (0, 1) its CMCNN-S; null: learned."""
    by: By = "layer"
    """Where a ResNet is cut; an exchange follows each stage. [C] After its four layers."""
    hidden: int = Field(default=0, ge=0)
    """On a ResNet, width of a linear layer between pool and outputs; [C] 512."""


class CoAttentionExchange(nn.Module):
    """Co-ATT: both attentions, then the exchange of eq. 1.

        L_out = a1 E^c + a2 L^s,   E_out = b1 L^c + b2 E^s

    Each branch receives the other task's channel-weighted features; there is no identity path. The four scalars are
    free and start at 0.5 [C].

    Args:
        positions: H W of the maps.
        options: Of the modules.
    """

    def __init__(self, positions: int, options: CmcnnOptions) -> None:
        super().__init__()
        self.channel = ChannelCoAttention(positions, options.delta)
        self.spatial = SpatialCoAttention(options.kernel, bn=options.bn)
        channel, spatial = options.fixed or (0.5, 0.5)
        free = options.fixed is None
        self.a1, self.a2, self.b1, self.b2 = (
            nn.Parameter(torch.tensor(value), requires_grad=free) for value in (channel, spatial, channel, spatial)
        )

    def forward(self, expression: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        """E_out and L_out of the maps E_in and L_in, [B, C, H, W] each."""
        e_channel, l_channel = self.channel(expression, landmarks)
        e_spatial, l_spatial = self.spatial(expression, landmarks)
        return self.b1 * l_channel + self.b2 * e_spatial, self.a1 * e_channel + self.a2 * l_spatial


class Cmcnn(TaskNetwork):
    """Two equal backbones for expression and landmarks, an exchange after every stage, the last before the heads.

    On BaseDCNN with the paper's sizes: 99,518,511 parameters (delta .2, heads of RAF-DB, kernel 7, 7 classes).
    C4 [D]: on a ResNet too the map of places weighs both branches, as printed. Every picture runs through both.

    Args:
        parts: A backbone and a head per task.
        options: Of the co-attention modules.

    Raises:
        RecipeError: Other tasks, or a backbone that cannot be cut.
    """

    name = "cmcnn"
    Options = CmcnnOptions

    def __init__(self, parts: Parts, options: CmcnnOptions) -> None:
        super().__init__(parts, options)
        if sorted(parts.tasks) != sorted(BRANCHES):
            raise RecipeError(
                "tasks of the sharing scheme cmcnn", found=", ".join(parts.tasks), expected=" and ".join(BRANCHES)
            )
        trunks, heads = branches(parts, by=options.by, hidden=options.hidden)
        self.trunks, self.heads = nn.ModuleDict(trunks), nn.ModuleDict(heads)
        self.features = {task: head.width for task, head in heads.items()}
        sizes = [height * width for _, height, width in trunks[BRANCHES[0]].shapes]
        self.exchanges = nn.ModuleList(CoAttentionExchange(positions, options) for positions in sizes)

    @property
    def reports(self) -> list[WeightsReport]:
        """What became of the pretrained weights of each branch."""
        return [trunk.report for trunk in self.trunks.values()]  # type: ignore[misc]  # of a `Staged`

    def forward(self, pictures: Tensor, rows: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:  # noqa: ARG002  # not selective
        """Outputs by task, and `features/<task>` [B, F]."""
        expression, landmarks = pictures, pictures
        stages = zip(*(self.trunks[task].stages for task in BRANCHES), self.exchanges, strict=True)  # type: ignore[arg-type]  # of a `Staged`
        for of_expression, of_landmarks, exchange in stages:
            expression, landmarks = exchange(of_expression(expression), of_landmarks(landmarks))
        outputs: dict[str, Tensor] = {}
        for task, features in zip(BRANCHES, (expression, landmarks), strict=True):
            head = self.heads[task]
            vector = head.first(features)  # type: ignore[operator]  # of a `Head`
            outputs[task], outputs[f"{FEATURES}/{task}"] = head.answers(vector), vector  # type: ignore[operator]  # of a `Head`
        return outputs

    def exchange_weights(self) -> dict[str, float]:
        """Means over the exchanges of a1, a2, b1, b2 (eq. 23): how much of each branch is channel, how much place."""
        return {
            name: float(torch.stack([getattr(exchange, name).detach() for exchange in self.exchanges]).mean())
            for name in ("a1", "a2", "b1", "b2")
        }
