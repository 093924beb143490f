"""No sharing: one backbone and one linear head per task, each trained on the rows of its own task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from torch import Tensor, nn

from trainer.networks.sharing import FEATURES, Parts, TaskNetwork, attached, read
from trainer.settings import Part


class Separate(TaskNetwork):
    """T networks side by side, as single tasks are trained and as the tensor trace norm couples them (Hu et al. 2018).

    First weights depend on seed and task alone, so that what is not coupled equals T separate runs.

    Args:
        parts: A backbone and a linear head per task are built of it.
        options: None.
    """

    name = "separate"
    selective = True

    def __init__(self, parts: Parts, options: Part | None = None) -> None:
        super().__init__(parts, options)
        trunks = {task: parts.trunk(task) for task in parts.tasks}
        self.backbones = nn.ModuleDict(trunks)
        self.features = {task: trunk.features for task, trunk in trunks.items()}
        self.heads = nn.ModuleDict(
            {spec.task: parts.head(spec, self.features[spec.task], spec.task) for spec in parts.heads}
        )

    def forward(self, pictures: Tensor, rows: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Outputs by task, and `features/<task>` [B, F]; both 0 in rows that are not the task's."""
        outputs: dict[str, Tensor] = {}
        for spec in self.specs:
            task, head, backbone = spec.task, self.heads[spec.task], self.backbones[spec.task]
            mine = None if rows is None or bool(rows[task].all()) else rows[task]
            if mine is not None and not bool(mine.any()):
                features = pictures.new_zeros((len(pictures), self.features[task]))
                answer = attached(pictures.new_zeros((len(pictures), len(spec.outputs))), [backbone, head])
            else:
                features = backbone(pictures if mine is None else pictures[mine])
                answer = read(head, features)
                features, answer = spread(features, mine), spread(answer, mine)
            outputs |= {task: answer, f"{FEATURES}/{task}": features}
        return outputs

    def only_for(self, task: str) -> Iterator[nn.Parameter]:
        """The whole network of the task."""
        yield from chain(self.backbones[task].parameters(), self.heads[task].parameters())


def spread(values: Tensor, rows: Tensor | None) -> Tensor:
    """Values [n, J] at the rows [B] that are true; 0 elsewhere."""
    if rows is None:
        return values
    return values.new_zeros((len(rows), values.shape[1])).masked_scatter(rows[:, None], values)
