"""Hard parameter sharing up to a layer (Caruana 1997): HPS of Yu & Xu 2021, RN(6) ... RN(32) of Hu et al. 2018."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from pydantic import Field
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.separate import spread
from trainer.networks.sharing import FEATURES, Parts, TaskNetwork, attached
from trainer.networks.staged import Staged, StagedResNet, branches
from trainer.networks.weights import WeightsReport
from trainer.settings import Part


class HpsOptions(Part):
    """How much is shared."""

    layers: int | None = Field(default=None, ge=0)
    """Convolutions of residual blocks that are shared, with all that lies before them; null: the whole backbone."""


class HardParameterSharing(TaskNetwork):
    """The first stages of the backbone are one for all tasks, the rest is each task's own.

    A task's own stages see the rows of that task alone. Shared stages see all rows together [D], so that their batch
    norms are trained under the statistics that they are scored with.

    Args:
        parts: A backbone and a head per task; shared stages are the first task's.
        options: How much is shared.

    Raises:
        RecipeError: A backbone that cannot be cut, or not there.
    """

    name = "hps"
    Options = HpsOptions
    selective = True

    def __init__(self, parts: Parts, options: HpsOptions) -> None:
        super().__init__(parts, options)
        trunks, heads = branches(parts)
        one = trunks[parts.tasks[0]]
        count = len(one.stages) if options.layers is None else stages_of_layers(one, options.layers)
        self._report = one.report
        self.shared = one.stages[:count]
        self.own = nn.ModuleDict({task: trunk.stages[count:] for task, trunk in trunks.items()})
        self.heads = nn.ModuleDict(heads)
        self.features = {task: head.width for task, head in heads.items()}

    @property
    def reports(self) -> list[WeightsReport]:
        """What became of the pretrained weights."""
        return [self._report]

    def forward(self, pictures: Tensor, rows: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Outputs by task, and `features/<task>` [B, F]; both 0 in rows that are not the task's."""
        for stage in self.shared:
            pictures = stage(pictures)
        outputs: dict[str, Tensor] = {}
        for task, head in self.heads.items():
            mine = None if rows is None or bool(rows[task].all()) else rows[task]
            if mine is not None and not bool(mine.any()):
                nothing = pictures.new_zeros((len(pictures), self.last_layer(task).out_features))
                outputs[f"{FEATURES}/{task}"] = pictures.new_zeros((len(pictures), head.width))  # type: ignore[arg-type]  # of a `Head`
                outputs[task] = attached(nothing, [self.own[task], head])
                continue
            features = pictures if mine is None else pictures[mine]
            for stage in self.own[task]:  # type: ignore[attr-defined]  # a ModuleList
                features = stage(features)
            vector = head.first(features)  # type: ignore[operator]  # of a `Head`
            outputs[f"{FEATURES}/{task}"] = spread(vector, mine)
            outputs[task] = spread(head.answers(vector), mine)  # type: ignore[operator]  # of a `Head`
        return outputs

    def only_for(self, task: str) -> Iterator[nn.Parameter]:
        """What comes after the shared layers."""
        yield from chain(self.own[task].parameters(), self.heads[task].parameters())


def stages_of_layers(trunk: Staged, layers: int) -> int:
    """How many stages hold the stem and the first `layers` block convolutions of a ResNet.

    T8 [D]: RN(6), RN(14), RN(26) and RN(32) of Hu et al. share conv1 and so many convolutions, two per block; they
    are the ends of ResNet-34's layers.

    Raises:
        RecipeError: The number does not end a block, or the backbone is no ResNet.
    """
    most = 2 * (len(trunk.stages) - 1)
    if not isinstance(trunk, StagedResNet) or layers % 2 or layers > most:
        raise RecipeError(
            "sharing.options.layers of the scheme hps",
            found=str(layers),
            expected=f"an even number up to {most}, two per residual block, on a ResNet; or null",
        )
    return 1 + layers // 2
