"""A feature pyramid (Lin et al. 2017) whose pooled levels, side by side, are the feature vector: the trunk of F3R.

He et al. 2021, section 3.1; methods.md 5.1. The pyramid itself is torchvision's, which the authors used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from manifests.errors import RecipeError
from trainer.networks.backbone import BackboneSpec, build_backbone
from trainer.networks.trunk import Trunk
from trainer.settings import Part

LEVELS = ("P2", "P3", "P4", "P5", "pool")
"""Maps from the finest to the coarsest; `pool` is every second pixel of P5. The text of the paper pools the first
four, its Fig. 4 and the release all five (reading F1)."""


class FeaturePyramidOptions(Part):
    """What `backbone.kwargs` of a feature_pyramid may hold."""

    trunk: str = "resnet50.tv_in1k"
    """timm name of the network whose maps are fused."""
    pretrained: bool | str = True
    """The trunk's weights, as `backbone.pretrained` says it; the pyramid itself always starts at random."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `timm.create_model` for the trunk."""
    channels: int = Field(default=256, ge=1)
    """Channels of every map."""
    levels: Literal[4, 5] = 5
    """5, or 4 without the subsampled last map."""
    frozen: tuple[str, ...] = ("conv1", "bn1", "layer1")
    """Parts of the trunk that do not train, by their names in timm."""
    train_norms: bool = False
    """false: batch norms keep their affine part and their statistics. That needs pretrained weights."""


class FeaturePyramid(Trunk):
    """Pictures to features [B, levels x channels]: the mean of each map, finest level first.

    As the authors' release has it, all batch norms of the trunk and its first stage are fixed (reading F2).

    Raises:
        RecipeError: A trunk without maps of four sizes or without a part that is to be frozen; or norms fixed at
            random weights, which normalise nothing.
    """

    name = "feature_pyramid"
    Options: ClassVar[type[Part]] = FeaturePyramidOptions

    def __init__(self, picture: tuple[int, int, int], options: FeaturePyramidOptions) -> None:
        super().__init__(picture, options)
        if not options.pretrained and not options.train_norms:
            raise RecipeError(
                "backbone feature_pyramid",
                found="batch norms that are fixed in a trunk of random weights",
                expected="norms that have seen pictures",
                then="set pretrained in backbone.kwargs, or train_norms: true",
            )
        self.levels, self.channels = LEVELS[: options.levels], options.channels
        self.num_features = options.levels * options.channels
        # A Backbone, so that the report on its weights is found among the network's.
        spec = BackboneSpec(options.trunk, options.pretrained, picture[0], kwargs=options.kwargs)
        self.trunk = build_backbone(spec, picture)
        widths = _map_channels(self.trunk.network)
        self.trunk.network.prune_intermediate_layers(len(widths), prune_head=True)  # type: ignore[operator]  # timm ships no types
        if not options.train_norms:
            self.trunk.network = freeze_batch_norm_2d(self.trunk.network)
        _freeze(self.trunk.network, options.frozen)
        self.pyramid = FeaturePyramidNetwork(
            widths, options.channels, LastLevelMaxPool() if options.levels == 5 else None
        )

    def maps(self, pictures: Tensor) -> dict[str, Tensor]:
        """The map of each level, [B, channels, h, w]; the finest has a quarter of the picture's side."""
        found = self.trunk.network.forward_intermediates(pictures, indices=4, intermediates_only=True)  # type: ignore[operator]  # as above
        fused = self.pyramid(OrderedDict((str(number), level) for number, level in enumerate(found)))
        return dict(zip(self.levels, fused.values(), strict=True))

    def forward(self, pictures: Tensor) -> Tensor:
        """Features [B, levels x channels]."""
        return torch.cat([level.mean(dim=(2, 3)) for level in self.maps(pictures).values()], dim=1)


def level_contribution(weight: Tensor, features: Tensor, levels: int) -> Tensor:
    """Share of each pyramid level in the outputs of one task: [levels], sums to 1 (Fig. 4 of He et al. 2021).

    c_l = sum over outputs o and features d of level l of |W_od| mean_images |f_d|, normalised (reading F11: the paper
    says "times the relative size of the input"). NaN where all of it is 0.

    Args:
        weight: [J, levels x channels], weight of the task's linear head.
        features: [N, levels x channels], of the pictures that the statement is about; ones give the shares of the
            weights alone.
        levels: Number of levels.
    """
    share = weight.detach().abs().sum(dim=0) * features.detach().abs().mean(dim=0)
    by_level = share.reshape(levels, -1).sum(dim=1)
    return by_level / by_level.sum()


def _map_channels(trunk: nn.Module) -> list[int]:
    """Channels of the last four maps of a timm network."""
    stages = [stage if isinstance(stage, dict) else vars(stage) for stage in list(getattr(trunk, "feature_info", ()))]
    shrinks = [int(stage["reduction"]) for stage in stages[-4:]]
    if len(shrinks) < 4 or sorted(set(shrinks)) != shrinks or not hasattr(trunk, "forward_intermediates"):
        raise RecipeError(
            f"a feature pyramid on {type(trunk).__name__}",
            found="a network without maps of four sizes",
            expected="a convolutional timm network, such as resnet50 or mobilenetv2_100",
        )
    return [int(stage["num_chs"]) for stage in stages[-4:]]


def _freeze(trunk: nn.Module, parts: Sequence[str]) -> None:
    names = [name for name, _ in trunk.named_children()]
    for part in parts:
        if part not in names:
            raise RecipeError(
                f"frozen part {part!r} of the trunk {type(trunk).__name__}", expected=f"one of {', '.join(names)}"
            )
        trunk.get_submodule(part).requires_grad_(False)
