"""One linear layer per task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manifests.errors import RecipeError, UnknownNameError
from manifests.vocabulary import (
    AU_SPACES,
    EXPRESSION_SPACES,
    LANDMARK_MIRROR,
    au_column,
)

KINDS = {
    "expression": "classes",
    "compound": "classes",
    "mental_state": "classes",
    "va": "continuous",
    "au": "binary",
    "au_intensity": "continuous",
    "landmarks": "points",
}
"""What the outputs of a task are: logits of exclusive classes, logits of cells, values, or coordinates."""


@dataclass(frozen=True)
class HeadSpec:
    """The outputs of one task, in order.

    Attributes:
        task: One of `manifests.vocabulary.TASKS`.
        outputs: Name of every output; the length is the width of the head.
        kind: See `KINDS`; "" takes the task's own. SJMT treats expressions as `binary` cells.
        whitened: The last layer works in whitened coordinates, see `WhitenedLinear`.
    """

    task: str
    outputs: tuple[str, ...]
    kind: str = ""
    whitened: bool = False

    def __post_init__(self) -> None:
        if self.task not in KINDS:
            raise UnknownNameError("task", self.task, KINDS)
        if not self.outputs or len(set(self.outputs)) < len(self.outputs):
            raise RecipeError(f"head of {self.task}", found=f"outputs {self.outputs}", expected="distinct names")
        kind = self.kind or KINDS[self.task]
        if kind not in KINDS.values():
            raise UnknownNameError("kind of head output", kind, dict.fromkeys(KINDS.values()))
        object.__setattr__(self, "kind", kind)


def expression_head(space: str) -> HeadSpec:
    """Logits over the classes of an expression space, one of `manifests.vocabulary.EXPRESSION_SPACES`."""
    if space not in EXPRESSION_SPACES:
        raise UnknownNameError("expression space", space, EXPRESSION_SPACES)
    return HeadSpec("expression", EXPRESSION_SPACES[space])


def au_head(aus: str | Sequence[int]) -> HeadSpec:
    """One logit per AU of a named set (`fbn17`) or of a list of numbers."""
    if isinstance(aus, str) and aus not in AU_SPACES:
        raise UnknownNameError("AU set", aus, AU_SPACES)
    numbers = AU_SPACES[aus] if isinstance(aus, str) else tuple(aus)
    return HeadSpec("au", tuple(au_column(au) for au in numbers))


def au_intensity_head(aus: str | Sequence[int]) -> HeadSpec:
    """One value (0-5) per AU of a named set or of a list of numbers."""
    return HeadSpec("au_intensity", tuple(f"{name}_intensity" for name in au_head(aus).outputs))


def va_head() -> HeadSpec:
    """Valence and arousal, linear: a score clips them to [-1, 1], training does not bend them."""
    return HeadSpec("va", ("valence", "arousal"))


def landmark_head(*, whitened: bool = False) -> HeadSpec:
    """x and y of the 68 points, interleaved, in crop pixels whether or not the last layer is whitened."""
    outputs = tuple(f"{axis}{point}" for point in range(len(LANDMARK_MIRROR)) for axis in "xy")
    return HeadSpec("landmarks", outputs, whitened=whitened)


class WhitenedLinear(nn.Linear):
    """A linear layer in whitened coordinates whose outputs are not: mean + deviation * (W f + b).

    Mean and deviation are buffers, saved with the weights, so that what a network puts out never needs undoing. Errors
    are compared whitened: every coordinate then weighs alike, however far it wanders (Hu et al. 2018; reading T11: the
    crop is the box, so dividing by it changes nothing).

    Attributes:
        mean, deviation: float32 [outputs], of the training targets; 0 and 1 until `fit`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__(features, outputs)
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """[B, features] to [B, outputs], in the unit of the targets."""
        return self.mean + self.deviation * super().forward(features)

    def whitened(self, values: Tensor) -> Tensor:
        """Targets or outputs [B, outputs] in whitened coordinates; NaN stays NaN."""
        return (values - self.mean) / self.deviation

    @torch.no_grad()
    def fit(self, targets: Tensor) -> None:
        """Take mean and deviation from targets [N, outputs], NaN unknown; a coordinate that is constant keeps 1."""
        mean = targets.nanmean(0).to(self.mean.device)
        spread = (targets - targets.nanmean(0)).square().nanmean(0).sqrt().to(self.mean.device)
        self.mean.copy_(torch.where(mean.isfinite(), mean, self.mean))
        self.deviation.copy_(torch.where(spread.isfinite() & (spread > 0), spread, 1.0))
        self.bias.zero_()


def linear_head(spec: HeadSpec, features: int) -> nn.Linear:
    """A fresh linear layer [B, features] -> [B, outputs]."""
    return (WhitenedLinear if spec.whitened else nn.Linear)(features, len(spec.outputs))
