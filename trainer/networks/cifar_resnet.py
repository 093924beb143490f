"""The residual networks that He et al. 2016 built for CIFAR-10: 32 x 32 pictures, three stages, depth 6 n + 2.

SJMT (Pons & Masip 2018) trains ResNet-32 and ResNet-110. timm has no network of this layout.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from trainer.networks.trunk import Trunk
from trainer.settings import Part


class Shortcut(StrEnum):
    """What carries a block's input past a change of size (methods.md reading S7)."""

    ZERO_PAD = "zero_pad"
    """Every second pixel, new channels are zero: no parameters (option A of He et al.)."""
    PROJECTION = "projection"
    """A 1 x 1 convolution with stride 2 (option B)."""


class CifarResNetOptions(Part):
    """What `backbone.kwargs` of a cifar_resnet may hold."""

    depth: int = 32
    """6 n + 2 layers: 20, 32, 44, 56, 110, ..."""
    width: int = Field(default=16, ge=1)
    """Channels of the first stage; the second has twice, the third four times as many."""
    side: int = Field(default=32, ge=8)
    """Pictures larger than this are first averaged to it, pixels: crops of 96 are 32 means of 3 x 3."""
    shortcut: Shortcut = Shortcut.ZERO_PAD
    """zero_pad: every second pixel and channels of zeros; projection: a 1 x 1 convolution."""
    pre_activation: bool = False
    """Norm and ReLU before each convolution instead of behind it (He et al. 2016b)."""

    @field_validator("depth")
    @classmethod
    def _whole_blocks(cls, value: int) -> int:
        if value < 8 or (value - 2) % 6:
            raise ValueError("6 n + 2: 8, 14, 20, 32, 110, ...")
        return value


class CifarResNet(Trunk):
    """Pictures (made for 32 x 32) to features [B, 4 width].

    Parameter names are those of the usual PyTorch ports, so that published CIFAR-10 weights load; the padding of the
    shortcuts is theirs too (half of the new channels before the old ones, half behind).
    """

    name = "cifar_resnet"
    Options: ClassVar[type[Part]] = CifarResNetOptions
    first_convs = ("conv1",)

    def __init__(self, picture: tuple[int, int, int], options: CifarResNetOptions) -> None:
        super().__init__(picture, options)
        width, pre = options.width, options.pre_activation
        self.num_features = 4 * width
        self.pre_activation, self.side = pre, options.side
        self.conv1 = _conv(picture[0], width)
        self.bn1 = nn.BatchNorm2d(4 * width if pre else width)
        blocks = (options.depth - 2) // 6
        self.layer1 = _stage(width, width, blocks, options)
        self.layer2 = _stage(width, 2 * width, blocks, options)
        self.layer3 = _stage(2 * width, 4 * width, blocks, options)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: Tensor) -> Tensor:
        """Features [B, 4 width]: the mean of the last map."""
        if max(pictures.shape[2:]) > self.side:
            pictures = functional.interpolate(pictures, size=(self.side, self.side), mode="area")
        maps: Tensor = self.conv1(pictures)
        if not self.pre_activation:
            maps = functional.relu(self.bn1(maps))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        if self.pre_activation:
            maps = functional.relu(self.bn1(maps))
        return maps.mean(dim=(2, 3))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; `stride` 2 halves the map."""

    def __init__(self, inputs: int, outputs: int, stride: int, options: CifarResNetOptions) -> None:
        super().__init__()
        self.pre_activation = pre_activation = options.pre_activation
        self.conv1 = _conv(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(inputs if pre_activation else outputs)
        self.conv2 = _conv(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 and options.shortcut is Shortcut.ZERO_PAD:
            self.shortcut = ZeroPad(outputs - inputs)
        elif stride > 1:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = projection if pre_activation else nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, outputs, H / stride, W / stride]."""
        if self.pre_activation:
            ready = functional.relu(self.bn1(maps))
            inner: Tensor = self.conv2(functional.relu(self.bn2(self.conv1(ready))))
            carried: Tensor = self.shortcut(maps)
            return inner + carried
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        return functional.relu(inner + self.shortcut(maps))


class ZeroPad(nn.Module):
    """Every second pixel of a map, with `channels` new channels of zeros around the old ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before, self.behind = channels // 2, channels - channels // 2

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, C + channels, H / 2, W / 2], rounded up."""
        return functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.behind))


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def _stage(inputs: int, outputs: int, blocks: int, options: CifarResNetOptions) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, 1 if inputs == outputs else 2, options)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1, options) for _ in range(blocks - 1)))
