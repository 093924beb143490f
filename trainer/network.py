"""The network that a recipe describes."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from trainer.losses.masked import MaskedLoss
from trainer.losses.registry import build_loss
from trainer.networks.backbone import BackboneSpec, build_backbone
from trainer.networks.composition import check_composition
from trainer.networks.hard_sharing import HardSharing
from trainer.networks.heads import HeadSpec, au_head, expression_head, landmark_head, va_head
from trainer.recipe import Recipe
from trainer.settings import Tasks


def losses_for(tasks: Tasks) -> dict[str, MaskedLoss]:
    """The loss of each task of a recipe.

    Raises:
        UnknownNameError: No loss or option of this name.
        RecipeError: An option outside its range.
    """
    chosen = {name: getattr(tasks, name) for name in tasks.names}
    return {name: build_loss(task.loss, task.options) for name, task in chosen.items()}


def network_for(recipe: Recipe, size: tuple[int, int]) -> HardSharing:
    """The network of a recipe, checked against its losses and the size of its crops.

    Args:
        recipe: The experiment.
        size: Height and width of the crops, pixels.

    Raises:
        UnknownNameError, WeightsError: As `build_backbone`.
        RecipeError: Network, heads, losses and pictures do not fit each other; the message says what fits.
    """
    chosen = recipe.backbone
    spec = BackboneSpec(chosen.name, chosen.pretrained, chosen.in_chans, chosen.stem, chosen.kwargs)
    network = HardSharing(build_backbone(spec), heads_for(recipe.tasks))
    check_composition(network, losses_for(recipe.tasks), picture=(chosen.in_chans, *size))
    return laid_out(network)


def heads_for(tasks: Tasks) -> list[HeadSpec]:
    """One head per task, in the order of `tasks.names`."""
    heads = []
    if tasks.expression:
        heads.append(expression_head(tasks.expression.space))
    if tasks.va:
        heads.append(va_head())
    if tasks.au:
        heads.append(au_head(tasks.au.set))
    if tasks.landmarks:
        heads.append(landmark_head())
    return heads


def laid_out(network: HardSharing) -> HardSharing:
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


def _relaid(layout: torch.memory_format, _: nn.Module, pictures: tuple[Tensor]) -> tuple[Tensor]:
    return (pictures[0].contiguous(memory_format=layout),)


@torch.no_grad()
def start_at_mean_face(network: HardSharing, points: Tensor) -> None:
    """Set the bias of the landmark head to the mean of the training landmarks.

    The head puts out pixels: from 0 it would spend its first epochs on finding the middle of the picture.

    Args:
        network: Has a head `landmarks`; changed in place.
        points: float32 [N, 68, 2], crop pixels, NaN unknown.
    """
    mean = points.nanmean(0).flatten()
    bias = network.get_parameter("heads.landmarks.bias")
    bias.copy_(torch.where(mean.isfinite(), mean.to(bias.device), bias))
