"""What every sharing scheme is: a network that reads pictures and answers every task of a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.backbone import Backbone, BackboneSpec, build_backbone
from trainer.networks.heads import HeadSpec, linear_head
from trainer.networks.weights import WeightsReport
from trainer.settings import Part

FEATURES = "features"
"""Name of the features among a network's outputs; `features/<task>` where each task has its own."""


@dataclass(frozen=True)
class Parts:
    """What a scheme builds a network of.

    Attributes:
        backbone: Every trunk is built from it.
        heads: One per task.
        picture: Channels, height and width of what will be fed.
        seed: Seed of the run.
    """

    backbone: BackboneSpec
    heads: tuple[HeadSpec, ...]
    picture: tuple[int, int, int]
    seed: int = 1

    def __post_init__(self) -> None:
        tasks = self.tasks
        if not tasks or len(set(tasks)) < len(tasks):
            raise RecipeError("heads of a network", found=", ".join(tasks) or "none", expected="one head per task")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""
        return tuple(head.task for head in self.heads)

    def trunk(self, task: str = "") -> Backbone:
        """A backbone of its own; with a task, its random weights depend on seed and task alone."""
        with self.drawn_for(task):
            return build_backbone(self.backbone, self.picture)

    def head(self, spec: HeadSpec, features: int, task: str = "") -> nn.Linear:
        """A linear layer [B, features] -> [B, outputs]; with a task, its weights depend on seed and task alone."""
        with self.drawn_for(f"head {task}" if task else ""):
            return linear_head(spec, features)

    @contextmanager
    def drawn_for(self, key: str) -> Iterator[None]:
        """Random numbers that depend on seed and key alone; without a key, the next of the common ones."""
        if not key:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            digest = hashlib.blake2b(f"{self.seed} {key}".encode(), digest_size=8).digest()
            torch.manual_seed(int.from_bytes(digest, "little") >> 1)
            yield


class TaskNetwork(nn.Module):
    """Base of every sharing scheme: a class in a file of trainer/networks, registered by its presence.

    A subclass sets `name`, and `Options` where it has any, builds its modules in `__init__(parts, options)`, keeps the
    module that ends in a task's outputs as `self.heads[task]`, and refuses with a RecipeError what it cannot be built
    of.

    Attributes:
        name: What `sharing.scheme` calls it.
        Options: What `sharing.options` may hold.
        selective: `forward` takes `rows` too and computes each task on its own rows only.
        specs: The heads, in the order of the recipe.
        heads: One module per task.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Part]] = Part
    selective: ClassVar[bool] = False
    heads: nn.ModuleDict

    def __init__(self, parts: Parts, options: Any = None) -> None:  # noqa: ARG002  # what subclasses take
        super().__init__()
        self.specs = parts.heads

    def forward(self, pictures: Tensor, rows: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Outputs by task: float32 logits or values [B, len(spec.outputs)]; and features, see `FEATURES`.

        Args:
            pictures: float [B, C, H, W].
            rows: bool [B] per task; only a `selective` network is given them. Outputs of other rows are 0.
        """
        raise NotImplementedError

    @property
    def reports(self) -> list[WeightsReport]:
        """What became of the pretrained weights of each trunk."""
        return [module.report for module in self.modules() if isinstance(module, Backbone)]

    def only_for(self, task: str) -> Iterator[nn.Parameter]:
        """The parameters that no other task's outputs depend on: its head, and what a scheme has besides."""
        yield from self.heads[task].parameters()

    def last_layer(self, task: str) -> nn.Linear:
        """The layer whose outputs are the task's."""
        linear = [module for module in self.heads[task].modules() if isinstance(module, nn.Linear)]
        return linear[-1]


def read(head: nn.Module, features: Tensor) -> Tensor:
    """A head's outputs in float32 whatever the autocast: bfloat16 would round landmarks to half a pixel."""
    with torch.autocast(features.device.type, enabled=False):
        outputs: Tensor = head(features.float())
    return outputs


def features_of(outputs: Mapping[str, Tensor], task: str) -> Tensor:
    """The features [B, F] that a task's head has read.

    Raises:
        RecipeError: The sharing scheme gives none.
    """
    for name in (f"{FEATURES}/{task}", FEATURES):
        if name in outputs:
            return outputs[name]
    raise RecipeError(
        f"features of the task {task}",
        found=f"outputs {', '.join(outputs)}",
        expected="a sharing scheme that gives them",
    )


def attached(value: Tensor, modules: Sequence[nn.Module]) -> Tensor:
    """The value, with a gradient of exactly 0 for every parameter of modules that had nothing to compute."""
    for module in modules:
        for parameter in module.parameters():
            value = value + 0.0 * parameter.sum()
    return value
