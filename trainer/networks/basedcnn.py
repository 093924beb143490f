"""BaseDCNN (Yu & Xu 2021, table 1, after Li & Deng 2018): six convolutional blocks and fully connected heads."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import Field
from torch import Tensor, nn

from trainer.networks.heads import HeadSpec, linear_head
from trainer.networks.staged import Head, Shape, Staged, StagedTrunk, shapes_of
from trainer.networks.trunk import Trunk
from trainer.networks.weights import WeightsReport
from trainer.settings import Part

POOLED = (0, 1, 3)
"""[P] Positions of the blocks that end in a max-pool."""
HIDDEN: Mapping[str, tuple[int, ...]] = MappingProxyType({"expression": (2000, 512), "landmarks": (512,)})
"""[C] Widths between the last map and the outputs, as the release has them for RAF-DB; (2000, 128) and (2048,) for
its smaller sets. A task that is not named gets those of the landmarks."""
NORMED = ("expression", "compound", "mental_state")
"""[C] Tasks whose hidden layers are batch-normalised: the release normalises those of its classifier alone."""


class DcnnOptions(Part):
    """Sizes of a BaseDCNN; the defaults are the paper's."""

    channels: tuple[int, ...] = Field(default=(64, 96, 128, 128, 256, 256), min_length=1)
    """[P] Channels of each block."""
    hidden: dict[str, tuple[int, ...]] = Field(default={})
    """Task -> widths of its fully connected layers where they differ from the release's for RAF-DB."""
    release_head: bool = False
    """Leave out the ReLU before the classifier, as the release does. C1 [D]: the print has it."""

    def widths(self, task: str) -> tuple[int, ...]:
        """Widths of the hidden layers of a task."""
        return self.hidden.get(task) or HIDDEN.get(task, HIDDEN["landmarks"])


class BaseDcnn(Trunk, StagedTrunk):
    """One branch: 1 x 100 x 100 to 256 x 12 x 12 in six stages; 1,201,440 parameters.

    Args:
        picture: Channels, height and width of the pictures; the paper's are 1 x 100 x 100.
        options: Sizes.
    """

    name = "basedcnn"
    Options = DcnnOptions

    def __init__(self, picture: Shape, options: DcnnOptions) -> None:
        super().__init__(picture, options)
        self.options = options
        widths = (picture[0], *options.channels)
        blocks = [block(widths[n], widths[n + 1], n in POOLED) for n in range(len(options.channels))]
        self.stages = nn.ModuleList(blocks)
        channels, height, width = shapes_of(self.stages, picture)[-1]
        self.num_features = channels * height * width

    def forward(self, pictures: Tensor) -> Tensor:
        """The last map as one vector, [B, num_features]."""
        for stage in self.stages:
            pictures = stage(pictures)
        return pictures.flatten(1)

    def staged(self, picture: Shape, report: WeightsReport) -> Staged:
        """Its six blocks, and heads of fully connected layers."""
        return StagedDcnn(self, picture, report)


class StagedDcnn(Staged):
    """The blocks of a BaseDCNN with its heads."""

    def __init__(self, network: BaseDcnn, picture: Shape, report: WeightsReport) -> None:
        super().__init__(list(network.stages), picture, report)
        self.options = network.options

    def head(self, spec: HeadSpec, *, joined: int = 1) -> Head:
        """See `dcnn_head`."""
        return dcnn_head(spec, self.options, self.shapes[-1], joined=joined)


def block(inputs: int, channels: int, pooled: bool) -> nn.Sequential:
    """3 x 3 convolution, batch norm (eps 1e-3 [C]), ReLU, and where `pooled` a 2 x 2 max-pool."""
    layers = [nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels, eps=1e-3), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pooled else []))


def dcnn_head(spec: HeadSpec, options: DcnnOptions, last: Shape, *, joined: int = 1) -> Head:
    """Linear layers with ReLU after all but the last; batch norm for classifiers. No dropout.

    Args:
        spec: The task's outputs.
        options: Widths of the hidden layers.
        last: Shape of the map that the head reads.
        joined: How many vectors enter the second layer.
    """
    widths, normed = options.widths(spec.task), spec.task in NORMED
    inputs = (joined * widths[0], *widths[1:])
    hidden: list[nn.Module] = []
    for position in range(1, len(widths)):
        bare = options.release_head and position == len(widths) - 1
        hidden += _layer(inputs[position - 1], widths[position], normed, relu=not bare)
    first = nn.Sequential(nn.Flatten(), *_layer(last[0] * last[1] * last[2], widths[0], normed))
    return Head(first, nn.Sequential(*hidden), linear_head(spec, inputs[-1]), widths[0])


def _layer(inputs: int, width: int, normed: bool, *, relu: bool = True) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    return layers + [nn.BatchNorm1d(width)] * normed + [nn.ReLU()] * relu
