"""The 13 convolutions of VGG-FACE (Parkhi et al. 2015) with two new fully connected layers: FaceBehaviorNet's trunk.

Kollias, Sharmanska & Zafeiriou 2019; methods.md 2.6. Every task reads the same last feature, so that whatever shares
this backbone shares both FC layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.trunk import Trunk
from trainer.settings import Part

LAYOUT = (2, 2, 3, 3, 3)
"""3 x 3 convolutions of each block; a 2 x 2 max-pool ends a block. Also VGG-16's, configuration D."""

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of each block."""


class VggFaceOptions(Part):
    """What `backbone.kwargs` of vgg_face may hold."""

    hidden: int = Field(default=4096, ge=1)
    """Outputs of fc6 and fc7."""
    drop_rate: float = Field(default=0.5, ge=0, lt=1)
    """Dropout behind each of them."""
    width: int = Field(default=64, ge=1)
    """Channels of the first block; the others keep their proportion to it."""
    pixel_mean: tuple[float, float, float] | None = None
    """Mean, R G B in 0-255, that pretrained weights expect to be subtracted from pixels; the change to this recipe's
    input, (pixel - 127.5) / 127.5, is folded into the first convolution. VGG-FACE: [129.1863, 104.7624, 93.5940]."""


class VggFace(Trunk):
    """Pictures of one fixed size, sides multiples of 32, to features [B, hidden].

    Parameter names are those of torchvision's VGG-16 (`features.0` ... `features.28`); fc6 and fc7 are new, whatever
    weights are loaded: VGG-FACE's own FC layers stand on a map of 7 x 7, these on 3 x 3 at 96 pixels.

    Raises:
        RecipeError: A side that five poolings do not divide.
    """

    name = "vgg_face"
    Options: ClassVar[type[Part]] = VggFaceOptions
    first_convs = ("features.0",)

    def __init__(self, picture: tuple[int, int, int], options: VggFaceOptions) -> None:
        super().__init__(picture, options)
        in_chans, height, width = picture
        if height % 32 or width % 32:
            raise RecipeError(
                "backbone vgg_face",
                found=f"pictures of {height} x {width}",
                expected="sides that are multiples of 32: it halves them five times",
                then="alignment: fbn96",
            )
        self.options = options
        self.num_features = options.hidden
        channels = [options.width * full // WIDTHS[0] for full in WIDTHS]
        self.features = _convolutions(in_chans, channels)
        self.fc6 = nn.Linear(channels[-1] * (height // 32) * (width // 32), options.hidden)
        self.fc7 = nn.Linear(options.hidden, options.hidden)
        self.dropout = nn.Dropout(options.drop_rate)

    def converted(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The convolutions of a VGG-16, with `pixel_mean` folded into the first."""
        kept = {name: value for name, value in weights.items() if name.split(".")[-3:-2] == ["features"]}
        mean = self.options.pixel_mean
        first = next((name.removesuffix("weight") for name in kept if name.endswith("features.0.weight")), None)
        if mean is None or first is None:
            return kept
        weight, bias = folded(kept[f"{first}weight"], kept[f"{first}bias"], mean=mean)
        return kept | {f"{first}weight": weight, f"{first}bias": bias}

    def forward(self, pictures: Tensor) -> Tensor:
        """Features [B, hidden], of which dropout has zeroed some while training."""
        flat = self.features(pictures).flatten(1)
        hidden = self.dropout(self.fc6(flat).relu())
        last: Tensor = self.dropout(self.fc7(hidden).relu())
        return last


def _convolutions(in_chans: int, channels: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = in_chans
    for count, outputs in zip(LAYOUT, channels, strict=True):
        for _ in range(count):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # there is a bias
            layers += [conv, nn.ReLU(inplace=True)]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def folded(
    weight: Tensor, bias: Tensor, *, mean: tuple[float, ...], scale: float = 127.5, shift: float = 127.5
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that was trained on `pixel - mean`, for `(pixel - shift) / scale` (B18).

    w' = scale w, b' = b + sum_c (shift - mean_c) sum_kernel w_c. Exact except where the zero padding reaches into the
    kernel: there 0 stood for the mean and now stands for `shift`. Without it the first activations of VGG-FACE weights
    on [-1, 1] are about 100 times too small.

    Args:
        weight: [outputs, inputs, h, w].
        bias: [outputs].
        mean: Per input channel, 0-255.
        scale, shift: Of the new input.
    """
    offset = torch.tensor([shift - value for value in mean], dtype=weight.dtype)
    return weight * scale, bias + weight.sum(dim=(2, 3)) @ offset
