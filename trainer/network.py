"""The network that a recipe describes, with the losses and couplings that train it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import trainer.losses
import trainer.networks
from trainer.losses.balance import decided
from trainer.losses.coupling import Bench, Coupling
from trainer.losses.masked import Labels, MaskedLoss
from trainer.losses.registry import build_loss
from trainer.networks.backbone import BackboneSpec
from trainer.networks.composition import check_composition, check_trained
from trainer.networks.heads import (
    HeadSpec,
    WhitenedLinear,
    au_head,
    au_intensity_head,
    landmark_head,
    va_head,
)
from trainer.networks.sharing import Parts, TaskNetwork
from trainer.recipe import Recipe
from trainer.registry import build, registered
from trainer.tasks import Tasks

NO_LOSS = "none"
"""What a recipe calls the loss of a task that a coupling trains."""


def losses_for(tasks: Tasks, trained: Mapping[str, Labels] | None = None) -> dict[str, MaskedLoss]:
    """The loss of each task of a recipe that has one of its own.

    Args:
        tasks: Of the recipe.
        trained: Labels of all training samples per task, where options count them; see `trainer.losses.balance`.

    Raises:
        UnknownNameError: No loss or option of this name.
        RecipeError: An option outside its range.
    """
    settings = {name: getattr(tasks, name) for name in tasks.names}
    return {
        name: build_loss(task.loss, decided(task.options, trained[name] if trained else None))
        for name, task in settings.items()
        if task.loss != NO_LOSS
    }


def couplings_for(recipe: Recipe, network: TaskNetwork) -> dict[str, Coupling]:
    """The couplings of a recipe, by name, for a network.

    Raises:
        UnknownNameError: No coupling of this name.
        RecipeError: Options, tasks or network that a coupling does not take; or a task that nothing trains.
    """
    known = registered(trainer.losses, Coupling)
    bench = Bench(network, tuple(d.name for d in recipe.datasets))
    built = {choice.name: build(bench, "coupling", choice.name, known, choice.options) for choice in recipe.couplings}
    check_trained(network, losses_for(recipe.tasks), built.values())
    return built


def network_for(recipe: Recipe, size: tuple[int, int]) -> TaskNetwork:
    """The network of a recipe, checked against its losses and the size of its crops.

    Args:
        recipe: The experiment.
        size: Height and width of the crops, pixels.

    Raises:
        UnknownNameError, WeightsError: As `build_backbone`; or no sharing scheme of this name.
        RecipeError: Network, heads, losses and pictures do not fit each other; the message says what fits.
    """
    b = recipe.backbone
    spec = BackboneSpec(b.name, b.pretrained, b.in_chans, b.stem, b.kwargs)
    parts = Parts(spec, tuple(heads_for(recipe.tasks)), (b.in_chans, *size), recipe.train.seed)
    schemes = registered(trainer.networks, TaskNetwork)
    network = build(parts, "sharing scheme", recipe.sharing.scheme, schemes, recipe.sharing.options)
    check_composition(network, losses_for(recipe.tasks), parts)
    return laid_out(network)


def heads_for(tasks: Tasks) -> list[HeadSpec]:
    """One head per task, in the order of `tasks.names`."""
    heads = []
    if tasks.expression:
        heads.append(class_head("expression", tasks.expression.classes, tasks.expression.outputs))
    if tasks.compound:
        heads.append(class_head("compound", tasks.compound.classes, tasks.compound.outputs))
    if tasks.mental_state:
        heads.append(class_head("mental_state", tasks.mental_state.classes, tasks.mental_state.outputs))
    if tasks.va:
        heads.append(va_head())
    if tasks.au:
        heads.append(au_head(tasks.au.set))
    if tasks.au_intensity:
        heads.append(au_intensity_head(tasks.au_intensity.set))
    if tasks.landmarks:
        heads.append(landmark_head(whitened=tasks.landmarks.whiten))
    return heads


def class_head(task: str, classes: tuple[str, ...], outputs: str) -> HeadSpec:
    """Logits over classes: exclusive ones, or independent cells."""
    return HeadSpec(task, classes, "binary" if outputs == "independent" else "classes")


def laid_out(network: TaskNetwork) -> TaskNetwork:
    """The network, and each batch it is given, in the memory layout in which it is fast and safe.

    Channels last is that layout: 10 times faster in bfloat16 on a CPU. But there the weight gradient of a 1 x 1
    convolution with a stride over fewer than 16 channels (the stem of RepVGG) writes beyond its memory in oneDNN
    (found with PyTorch 2.15 on x86: 3 channels at 96 pixels abort the process), so such networks stay as they are.
    """
    strided = (
        module.kernel_size == (1, 1) and module.stride != (1, 1) and module.in_channels < 16
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    )
    layout = torch.contiguous_format if any(strided) else torch.channels_last
    network.register_forward_pre_hook(partial(_relaid, layout))
    return network.to(memory_format=layout)


def _relaid(layout: torch.memory_format, _: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return (given[0].contiguous(memory_format=layout), *given[1:])


@torch.no_grad()
def start_at_mean_face(network: TaskNetwork, points: Tensor) -> None:
    """Let the landmark head begin with the mean of the training landmarks, and whiten by them where it whitens.

    The head puts out pixels: from 0 it would spend its first epochs on finding the middle of the picture.

    Args:
        network: Has a head `landmarks`; changed in place.
        points: float32 [N, 68, 2], crop pixels, NaN unknown.
    """
    layer = network.last_layer("landmarks")
    if isinstance(layer, WhitenedLinear):
        layer.fit(points.flatten(1))
        return
    mean, bias = points.nanmean(0).flatten(), layer.bias
    bias.copy_(torch.where(mean.isfinite(), mean.to(bias.device), bias))
