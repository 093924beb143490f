"""A backbone cut into stages, so that a sharing scheme can join or part tasks between any two of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.backbone import Backbone
from trainer.networks.heads import HeadSpec, linear_head
from trainer.networks.sharing import Parts, read
from trainer.networks.weights import WeightsReport

Shape = tuple[int, int, int]
"""Channels, height and width of a map."""

By = Literal["block", "layer"]
"""Where a ResNet is cut. block: the stem (convolution and pool) is the first stage, then each residual block is one;
layer: the stem and `layer1` together are the first of four."""


class Head(nn.Module):
    """From the last map to the outputs of one task: a vector, then the rest.

    It is cut after the vector because cross-stitch and PS-MCNN join the tasks there once more, and because adversarial
    domain alignment looks at that vector.

    Args:
        first: [B, C, H, W] to the vector [B, width].
        hidden: [B, width], or more where vectors are joined, to the input of `output`.
        output: The linear layer whose outputs are the task's.
        width: Length of the vector.
    """

    def __init__(self, first: nn.Module, hidden: nn.Module, output: nn.Linear, width: int) -> None:
        super().__init__()
        self.first, self.width = first, width
        self.rest = nn.Sequential(hidden, output)

    def answers(self, vector: Tensor) -> Tensor:
        """Outputs float32 [B, J] of the vector [B, width], in float32 whatever the autocast."""
        return read(self.rest, vector)


class Staged(nn.Module):
    """Stages that run one after the other, and the heads that fit the last of them.

    Attributes:
        stages: Each takes the map that the one before it gives; the first takes the picture.
        shapes: Channels, height and width of what each stage gives.
        report: What became of pretrained weights.
    """

    def __init__(self, stages: Sequence[nn.Module], picture: Shape, report: WeightsReport) -> None:
        super().__init__()
        self.stages, self.report = nn.ModuleList(stages), report
        self.shapes = shapes_of(self.stages, picture)

    @abstractmethod
    def head(self, spec: HeadSpec, *, joined: int = 1) -> Head:
        """A fresh head for the last map; `joined`: how many vectors are joined at its cut."""


class StagedTrunk:
    """What a network of our own has that can be cut: see `trainer.networks.basedcnn`."""

    @abstractmethod
    def staged(self, picture: Shape, report: WeightsReport) -> Staged:
        """The network's stages for pictures of this shape."""


class StagedResNet(Staged):
    """A timm ResNet; a head is a global average pool and a linear layer.

    Args:
        backbone: A network with the stem `conv1`, `bn1`, `act1`, `maxpool` and `layer1` ... `layer4` of blocks.
        picture: Channels, height and width of the pictures.
        by: See `By`.
        hidden: Width of a linear layer between pool and output, nothing in between (the release of CMCNN); 0: none.

    Raises:
        RecipeError: Another kind of network.
    """

    def __init__(self, backbone: Backbone, picture: Shape, *, by: By = "block", hidden: int = 0) -> None:
        network = backbone.network
        if not all(hasattr(network, name) for name in ("conv1", "bn1", "act1", "maxpool", "layer4")):
            raise RecipeError(
                f"backbone {backbone.spec.name} cannot be cut into stages",
                found="a network that is no ResNet",
                expected="basedcnn, or a timm ResNet such as resnet18 or resnet34",
            )
        stem = nn.Sequential(*(network.get_submodule(name) for name in ("conv1", "bn1", "act1", "maxpool")))
        layers = [network.get_submodule(f"layer{number}") for number in (1, 2, 3, 4)]
        blocks = [stem, *chain.from_iterable(layer.children() for layer in layers)]
        whole = [nn.Sequential(stem, layers[0]), *layers[1:]]
        super().__init__(blocks if by == "block" else whole, picture, backbone.report)
        self.hidden = hidden

    def head(self, spec: HeadSpec, *, joined: int = 1) -> Head:
        """Pool, [linear,] linear."""
        width = self.shapes[-1][0]
        first = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        hidden = nn.Linear(joined * width, self.hidden) if self.hidden else nn.Identity()
        return Head(first, hidden, linear_head(spec, self.hidden or joined * width), width)


def branches(parts: Parts, *, by: By = "block", hidden: int = 0) -> tuple[dict[str, Staged], dict[str, Head]]:
    """A staged backbone and a head per task, their first weights drawn from seed and task alone.

    Raises:
        RecipeError: A backbone that cannot be cut.
    """
    trunks: dict[str, Staged] = {}
    heads: dict[str, Head] = {}
    for spec in parts.heads:
        backbone = parts.trunk(spec.task)
        trunks[spec.task] = (
            backbone.network.staged(parts.picture, backbone.report)
            if isinstance(backbone.network, StagedTrunk)
            else StagedResNet(backbone, parts.picture, by=by, hidden=hidden)
        )
        with parts.drawn_for(f"head {spec.task}"):
            heads[spec.task] = trunks[spec.task].head(spec)
    return trunks, heads


@torch.no_grad()
def shapes_of(stages: nn.ModuleList, picture: Shape) -> tuple[Shape, ...]:
    """What each stage gives for one blank picture, in evaluation mode so that no running statistic moves.

    Raises:
        RecipeError: The picture is too small for the stages.
    """
    shapes: list[Shape] = []
    features, training = torch.zeros(1, *picture), stages.training
    stages.eval()
    try:
        for stage in stages:
            features = stage(features)
            shapes.append((features.shape[1], features.shape[2], features.shape[3]))
    except RuntimeError as error:
        raise RecipeError(
            f"stage {len(shapes) + 1} of {len(stages)} cannot take what pictures of {picture[1]} x {picture[2]} become",
            found=str(error).splitlines()[0],
            then="choose a larger alignment",
        ) from None
    finally:
        stages.train(training)
    return tuple(shapes)
