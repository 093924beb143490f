"""Networks that are not timm's: a picture in, one feature vector out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from trainer.settings import Part


class Trunk(nn.Module):
    """Base of every backbone of our own: a class in a file of trainer/networks, registered by its presence.

    A subclass sets `name` (none of timm's), and `Options` where it has any, takes `(picture, options)` with the
    channels, height and width of what will be fed, and sets `num_features`. `backbone.kwargs` of a recipe are its
    options.

    Attributes:
        name: What `backbone.name` calls it.
        Options: What `backbone.kwargs` may hold.
        num_features: Length of the feature vector.
        first_convs: Convolutions that see the picture: pretrained ones are adapted to its number of channels.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Part]] = Part
    num_features: int
    first_convs: tuple[str, ...] = ()

    def __init__(self, picture: tuple[int, int, int], options: Any) -> None:  # noqa: ARG002  # what subclasses take
        super().__init__()

    def forward(self, pictures: Tensor) -> Tensor:
        """Features [B, num_features] of pictures float [B, C, H, W]."""
        raise NotImplementedError

    def converted(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Tensors of a weights file under the names, and for the input, of this network."""
        return weights
