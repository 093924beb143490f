"""Hard parameter sharing (Caruana 1997): one backbone, one linear head per task."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from trainer.networks.sharing import FEATURES, Parts, TaskNetwork, read
from trainer.settings import Part


class HardSharing(TaskNetwork):
    """All tasks read the same features; a picture without a task's label still shapes nothing of its head.

    Args:
        parts: One backbone and one linear head per task are built of it.
        options: None.
    """

    name = "hard"

    def __init__(self, parts: Parts, options: Part | None = None) -> None:
        super().__init__(parts, options)
        self.backbone = parts.trunk()
        self.heads = nn.ModuleDict({spec.task: parts.head(spec, self.backbone.features) for spec in parts.heads})

    def forward(self, pictures: Tensor, rows: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:  # noqa: ARG002  # not selective
        """Outputs by task, and `features` [B, F]."""
        features = self.backbone(pictures)
        return {task: read(head, features) for task, head in self.heads.items()} | {FEATURES: features}
