"""Hard parameter sharing (Caruana 1997): one backbone, one linear head per task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.backbone import Backbone
from trainer.networks.heads import HeadSpec, linear_head


class HardSharing(nn.Module):
    """All tasks read the same features; a picture without a task's label still shapes nothing of its head.

    Args:
        backbone: Pictures to features.
        heads: One per task.

    Raises:
        RecipeError: No head, or two for one task.
    """

    def __init__(self, backbone: Backbone, heads: Sequence[HeadSpec]) -> None:
        super().__init__()
        tasks = [head.task for head in heads]
        if not tasks or len(set(tasks)) < len(tasks):
            raise RecipeError("heads of a network", found=", ".join(tasks) or "none", expected="one head per task")
        self.backbone = backbone
        self.specs = tuple(heads)
        self.heads = nn.ModuleDict({head.task: linear_head(head, backbone.features) for head in heads})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Outputs by task from pictures [B, C, H, W] float: float32 logits or values [B, len(spec.outputs)].

        The heads compute in float32 whatever the autocast: bfloat16 would round landmarks to half a pixel.
        """
        features = self.backbone(pictures)
        with torch.autocast(pictures.device.type, enabled=False):
            return {task: head(features.float()) for task, head in self.heads.items()}
