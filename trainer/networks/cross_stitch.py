"""Cross-stitch networks (Misra et al. 2016): CSN of Yu & Xu 2021, and a baseline of Hu et al. 2018."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.sharing import FEATURES, Parts, TaskNetwork
from trainer.networks.staged import By, branches
from trainer.networks.weights import WeightsReport
from trainer.settings import Part

OWN = 0.9
"""C11 [D] First share of a task's own features; the others divide the rest."""


class CrossStitchUnit(nn.Module):
    """x_t <- sum over u of A[t, u] x_u, with A learned.

    Args:
        tasks: T, two or more.
        channels: 1 for one number per pair of tasks, or the channels of the maps.
    """

    def __init__(self, tasks: int, channels: int = 1) -> None:
        super().__init__()
        start = torch.full((tasks, tasks), (1 - OWN) / (tasks - 1)).fill_diagonal_(OWN)
        self.share = nn.Parameter(start[..., None].repeat(1, 1, channels))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """T maps [B, C, H, W] or vectors [B, F] to as many."""
        shape = (1, -1, *[1] * (features[0].ndim - 2))
        rows = [[weight.reshape(shape) * x for weight, x in zip(row, features, strict=True)] for row in self.share]
        return [torch.stack(row).sum(0) for row in rows]


class CrossStitchOptions(Part):
    """Where the units are, and how fine."""

    by: By = "block"
    """Where a ResNet is cut; a unit follows each stage."""
    stem: bool = True
    """A unit after the first stage too. Hu et al. [D]: one per residual block, so none after the stem."""
    per_channel: bool = False
    """One weight per channel instead of one per pair of tasks."""


class CrossStitch(TaskNetwork):
    """One backbone per task, and a unit after stages and, where widths agree, after the first fully connected layer.

    Every picture runs through every backbone, since a stitched map needs the maps of all tasks; a batch that mixes
    datasets normalises each backbone over all of it.

    C11 [D]: the units learn at ten times the rate: `train.groups` of the recipes says so.

    Args:
        parts: A backbone and a head per task.
        options: Where the units are.

    Raises:
        RecipeError: A single task, or a backbone that cannot be cut.
    """

    name = "cross-stitch"
    Options = CrossStitchOptions

    def __init__(self, parts: Parts, options: CrossStitchOptions) -> None:
        super().__init__(parts, options)
        count = len(parts.tasks)
        if count < 2:
            raise RecipeError("tasks of the sharing scheme cross-stitch", found=", ".join(parts.tasks), expected="two")
        trunks, heads = branches(parts, by=options.by)
        self.trunks, self.heads = nn.ModuleDict(trunks), nn.ModuleDict(heads)
        self.features = {task: head.width for task, head in heads.items()}
        self.first_unit = 0 if options.stem else 1
        shapes = trunks[parts.tasks[0]].shapes[self.first_unit :]
        self.units = nn.ModuleList(CrossStitchUnit(count, shape[0] if options.per_channel else 1) for shape in shapes)
        weighted = any(isinstance(module, nn.Linear) for head in heads.values() for module in head.first.modules())
        # A pooled map has no weights between the last unit and here: a second unit there would be the same one twice.
        same = weighted and len({head.width for head in heads.values()}) == 1
        self.vector_unit = CrossStitchUnit(count) if same else None

    @property
    def reports(self) -> list[WeightsReport]:
        """What became of the pretrained weights of each backbone."""
        return [trunk.report for trunk in self.trunks.values()]  # type: ignore[misc]  # of a `Staged`

    def forward(self, pictures: Tensor, rows: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:  # noqa: ARG002  # not selective
        """Outputs by task, and `features/<task>` [B, F]."""
        maps = [pictures for _ in self.specs]
        stages = zip(*(trunk.stages for trunk in self.trunks.values()), strict=True)
        for position, abreast in enumerate(stages):
            maps = [stage(features) for stage, features in zip(abreast, maps, strict=True)]
            if position >= self.first_unit:
                maps = self.units[position - self.first_unit](maps)
        vectors = [head.first(features) for head, features in zip(self.heads.values(), maps, strict=True)]  # type: ignore[operator]  # of a `Head`
        if self.vector_unit is not None:
            vectors = self.vector_unit(vectors)
        outputs: dict[str, Tensor] = {}
        for (task, head), vector in zip(self.heads.items(), vectors, strict=True):
            outputs[task], outputs[f"{FEATURES}/{task}"] = head.answers(vector), vector  # type: ignore[operator]  # of a `Head`
        return outputs
