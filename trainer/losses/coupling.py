"""What couples the tasks: losses over a whole batch, every task's output, the features or the network itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.losses.masked import Labels
from trainer.networks.heads import HeadSpec
from trainer.networks.sharing import TaskNetwork
from trainer.settings import Part


@dataclass(frozen=True)
class Bench:
    """What a coupling is built for.

    Attributes:
        network: The network that will be trained; look at it, do not keep it: `Step` brings it.
        datasets: Names of the recipe's datasets; `Step.dataset` counts them.
    """

    network: TaskNetwork
    datasets: tuple[str, ...]

    def heads(self, coupling: str, *tasks: str) -> tuple[HeadSpec, ...]:
        """The heads of tasks that a coupling needs.

        Raises:
            RecipeError: The recipe lacks one of them.
        """
        specs = {spec.task: spec for spec in self.network.specs}
        missing = [task for task in tasks if task not in specs]
        if missing:
            raise RecipeError(
                f"coupling {coupling}",
                found=f"tasks {', '.join(specs)}",
                expected=f"the tasks {', '.join(tasks)}",
                then=f"add {', '.join(missing)} under tasks, or drop the coupling",
            )
        return tuple(specs[task] for task in tasks)


@dataclass(frozen=True)
class Step:
    """One training step, after the network and before the losses.

    Attributes:
        outputs: What the network put out: [B, J] per task, and features (`trainer.networks.sharing.features_of`).
        labels: What is known, per task.
        rows: bool [B] per task: rows with at least one label of it.
        dataset: int64 [B], position of each row's dataset in the recipe.
        network: The network, for terms over its weights.
        done: Share of the training that lies behind, 0 to 1.
    """

    outputs: Mapping[str, Tensor]
    labels: Mapping[str, Labels]
    rows: Mapping[str, Tensor]
    dataset: Tensor
    network: TaskNetwork
    done: float


@dataclass(frozen=True)
class Term:
    """What a coupling adds to the loss.

    Attributes:
        loss: Scalar, a mean over what it counts, attached to the graph; an exact 0 where there is nothing to count.
        count: How many rows or cells the mean runs over, so that several processes weigh their means as one would;
            None: it depends on no batch (a norm of weights).
        notes: Scalars to write beside the loss into metrics.csv as `<coupling>_<note>`, means over the epoch.
    """

    loss: Tensor
    count: Tensor | None = None
    notes: Mapping[str, Tensor] = field(default_factory=dict)


class Coupling(nn.Module):
    """Base of every coupling: a class in a file of trainer/losses, registered by its presence.

    A subclass sets `name`, and `Options` where it has any, takes `(bench, options)` and refuses with a RecipeError what
    it cannot couple. Its parameters, if it has any, are trained with the network's; `train.groups` matches them as
    `couplings.<name>.*`. Its buffers and parameters are in the resume state, not among the weights of the run.

    Attributes:
        name: What `couplings.name` calls it.
        Options: What `couplings.options` may hold.
        trains: Tasks whose own loss may be `none` because this coupling trains them.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Part]] = Part
    trains: frozenset[str] = frozenset()

    def __init__(self, bench: Bench, options: Any) -> None:  # noqa: ARG002  # what subclasses take
        super().__init__()

    def forward(self, step: Step) -> Term:
        """The term of one step."""
        raise NotImplementedError
