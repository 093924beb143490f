"""PS-MCNN (Cao, Li & Zhang 2018) without its local constraint loss, as Yu & Xu 2021 compare with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.basedcnn import POOLED, BaseDcnn, block, dcnn_head
from trainer.networks.sharing import FEATURES, Parts, TaskNetwork
from trainer.networks.staged import shapes_of
from trainer.settings import Part

GIVEN = 32
"""C12 [D] Channels that each task network gives to the shared one, at most."""


class PsMcnn(TaskNetwork):
    """A network per task (TS) and a shared one (S), in BaseDCNN's widths.

    C12 [D]: block l + 1 of TS_t reads concat(TS_t, S) of block l; block l + 1 of S reads concat(S, the first 32
    channels of each TS_t). Each head's first layer reads its task's last map, a shared layer reads that of S, and both
    vectors are joined; all first layers are as wide as that of the expressions. Every picture runs through all.

    Args:
        parts: The backbone is basedcnn; its options give the widths.
        options: None.

    Raises:
        RecipeError: Another backbone, or a single task.
    """

    name = "ps-mcnn"

    def __init__(self, parts: Parts, options: Part) -> None:
        super().__init__(parts, options)
        plain = parts.trunk().network
        if not isinstance(plain, BaseDcnn) or len(parts.tasks) < 2:
            raise RecipeError(
                "sharing scheme ps-mcnn",
                found=f"backbone {parts.backbone.name}, tasks {', '.join(parts.tasks)}",
                expected="backbone basedcnn, two tasks or more",
            )
        sizes, picture = plain.options, parts.picture
        last = shapes_of(plain.stages, picture)[-1]
        own, shared = input_widths(picture[0], sizes.channels, len(parts.tasks))
        self.own = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        width = sizes.widths("expression")[0]
        joined = {task: (width, *sizes.widths(task)[1:]) for task in parts.tasks}
        for spec in parts.heads:
            with parts.drawn_for(spec.task):
                self.own[spec.task] = _blocks(own, sizes.channels)
                self.heads[spec.task] = dcnn_head(spec, sizes.model_copy(update={"hidden": joined}), last, joined=2)
        self.shared = _blocks(shared, sizes.channels)
        flat = last[0] * last[1] * last[2]
        self.shared_first = nn.Sequential(nn.Flatten(), nn.Linear(flat, width), nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, pictures: Tensor, rows: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:  # noqa: ARG002  # not selective
        """Outputs by task, and `features/<task>` [B, F], the joined vectors."""
        maps, common = dict.fromkeys(self.heads, pictures), pictures
        for position, shared in enumerate(self.shared):
            if position:
                given = [features[:, :GIVEN] for features in maps.values()]
                maps = {task: torch.cat([features, common], 1) for task, features in maps.items()}
                common = torch.cat([common, *given], 1)
            maps = {task: self.own[task][position](features) for task, features in maps.items()}  # type: ignore[index]  # a ModuleList
            common = shared(common)
        of_all = self.shared_first(common)
        outputs: dict[str, Tensor] = {}
        for task, head in self.heads.items():
            vector = torch.cat([head.first(maps[task]), of_all], 1)  # type: ignore[operator]  # of a `Head`
            outputs[task], outputs[f"{FEATURES}/{task}"] = head.answers(vector), vector  # type: ignore[operator]  # of a `Head`
        return outputs


def input_widths(in_chans: int, channels: Sequence[int], tasks: int) -> tuple[list[int], list[int]]:
    """Channels that each block of a task network, and of the shared network, reads."""
    own, shared = [in_chans], [in_chans]
    for width in channels[:-1]:
        own.append(2 * width)
        shared.append(width + tasks * min(GIVEN, width))
    return own, shared


def _blocks(inputs: Sequence[int], widths: Sequence[int]) -> nn.ModuleList:
    layers = enumerate(zip(inputs, widths, strict=True))
    return nn.ModuleList(block(read, width, position in POOLED) for position, (read, width) in layers)
