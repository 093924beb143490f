"""A timm network without its classifier, or one of our own: a picture in, one feature vector out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

import trainer.networks
from manifests.errors import RecipeError, UnknownNameError, WeightsError
from trainer.networks.hub import HUB, hub_weights
from trainer.networks.trunk import Trunk
from trainer.networks.weights import (
    WEIGHT_SUFFIXES,
    WEIGHTS_VARIABLE,
    WeightsReport,
    load_weights,
    local_weights,
    tensors_sha256,
)
from trainer.registry import build, registered


class Stem(StrEnum):
    """How much the stem of a network shrinks the picture.

    ImageNet stems expect 224 pixels: at 48, a ResNet's last map is 2 x 2. Kernels keep their size, so that
    pretrained weights still fit.
    """

    IMAGENET = "imagenet"
    """As published: a ResNet's by 4."""
    HALF = "half"
    """Half of that: the max-pool is removed, or where there is none the first convolution gets stride 1."""
    SMALL = "small"
    """Not at all: stride 1 and no max-pool."""


@dataclass(frozen=True)
class BackboneSpec:
    """A recipe's choice of backbone.

    Attributes:
        name: timm name, `resnet18` or with a weights tag `resnet18.a1_in1k`; or a name of `trunks()`.
        pretrained: False for random weights; True for timm's weights of that name; a timm name with its tag; a local
            .safetensors or .pth file; or a name on the Hugging Face hub, see `trainer.networks.hub`.
        in_chans: Channels of the picture, 1 or 3; pretrained first convolutions are adapted.
        stem: See `Stem`.
        kwargs: Passed on to timm, e.g. `{"channels": [32, 64, 128, 256]}` for a ResNet of half the width; or the
            options of a trunk of our own.
    """

    name: str
    pretrained: bool | str = False
    in_chans: int = 3
    stem: str = Stem.IMAGENET
    kwargs: Mapping[str, Any] = field(default_factory=dict)


class Backbone(nn.Module):
    """A built backbone: pictures [B, in_chans, H, W] float to features [B, features].

    Attributes:
        spec: What it was built from.
        features: Length of the feature vector.
        report: What became of the pretrained weights.
    """

    def __init__(self, spec: BackboneSpec, network: nn.Module, report: WeightsReport) -> None:
        super().__init__()
        self.spec, self.network, self.report = spec, network, report
        # Some networks keep a hidden layer between pooling and classifier (MobileNetV3: 576 -> 1024).
        self.features = int(getattr(network, "head_hidden_size", None) or network.num_features)  # type: ignore[arg-type]  # timm ships no types

    def forward(self, pictures: Tensor) -> Tensor:
        """Features [B, features]."""
        features: Tensor = self.network(pictures)
        return features


def trunks() -> dict[str, type[Trunk]]:
    """The networks of our own, by name."""
    return registered(trainer.networks, Trunk)


def build_backbone(spec: BackboneSpec, picture: tuple[int, int, int] | None = None) -> Backbone:
    """The backbone of a recipe.

    Args:
        spec: What the recipe says.
        picture: Channels, height and width of what will be fed; only networks of our own depend on its size.

    Raises:
        UnknownNameError: There is no network, or no stem, of this name; lists the nearest.
        RecipeError: The network does not take the given options, or its stem cannot be changed.
        WeightsError: Pretrained weights that are absent, damaged or of another network.
    """
    if spec.stem not in list(Stem):
        raise UnknownNameError("stem", spec.stem, list(Stem))
    if spec.name in trunks():
        return _own(spec, picture or (spec.in_chans, 224, 224))
    architecture = spec.name.split(".")[0]
    if not timm.is_model(architecture):
        known = [*trunks(), *timm.list_models()]
        nearest = get_close_matches(architecture, known, n=12, cutoff=0.4)
        then = f"timm.list_models() lists every name of timm; ours are {', '.join(trunks()) or 'none'}"
        raise UnknownNameError("backbone", architecture, nearest, then)
    (file, source), hub_name = _weights_of(spec)
    network = _create(spec, hub_name)
    _shrink_less(network, Stem(spec.stem), spec.name)
    if file is not None:
        report = replace(load_weights(network, file, first_convs=_first_convs(network)), source=source)
    elif hub_name:
        state = network.state_dict()
        report = WeightsReport(f"timm {hub_name}", tuple(state), sha256=tensors_sha256(state))
    else:
        report = WeightsReport()
    return Backbone(spec, network, report)


def _own(spec: BackboneSpec, picture: tuple[int, int, int]) -> Backbone:
    """A network of our own; its weights come from a file, or from `<name>.*` in the folder of weights."""
    if spec.stem != Stem.IMAGENET:
        raise RecipeError(
            f"stem {spec.stem} of backbone {spec.name}", expected="stem: imagenet; its options say the rest"
        )
    network = build(picture, "backbone", spec.name, trunks(), spec.kwargs)
    if spec.pretrained is False:
        return Backbone(spec, network, WeightsReport())
    file, source = _named(local_weights(spec.name)) if spec.pretrained is True else _file_of(spec.pretrained)
    if file is None:
        raise WeightsError(
            f"pretrained weights of {spec.name}",
            found="none on this machine, and none to download",
            then=f"save them as {spec.name}.safetensors in a folder and set {WEIGHTS_VARIABLE} to it, or name the file",
        )
    report = load_weights(network, file, first_convs=network.first_convs, convert=network.converted)
    return Backbone(spec, network, replace(report, source=source))


Named = tuple[Path | None, str]
"""A weights file, and the name under which a run records it."""


def _named(file: Path | None) -> Named:
    return file, "" if file is None else file.name


def _file_of(pretrained: str) -> Named:
    """A name on the hub, or a path."""
    if pretrained.startswith(HUB):
        found = hub_weights(pretrained)
        return found.file, found.source
    return _named(Path(pretrained))


def _weights_of(spec: BackboneSpec) -> tuple[Named, str]:
    """The local file to read the weights from, or the timm name to download; neither for random weights."""
    if spec.pretrained is False:
        return _named(None), ""
    text = spec.pretrained if isinstance(spec.pretrained, str) else ""
    if text.startswith(HUB) or Path(text).suffix in WEIGHT_SUFFIXES:
        return _file_of(text), ""
    architecture = spec.name.split(".")[0]
    known = timm.list_pretrained(f"{architecture}.*")
    wanted = spec.name if spec.pretrained is True else str(spec.pretrained)
    name = f"{architecture}.{_default_tag(architecture)}" if wanted == architecture else wanted
    if name not in known:
        raise UnknownNameError(
            f"pretrained weights of {architecture}:", name, known, "choose one, a local file, or pretrained: false"
        )
    local = _named(local_weights(name))
    return (local, "") if local[0] else (local, name)


def _default_tag(architecture: str) -> str:
    configuration = timm.models.get_pretrained_cfg(architecture)
    return str(configuration.tag) if configuration else ""


def _create(spec: BackboneSpec, hub_name: str) -> nn.Module:
    name = hub_name or spec.name.split(".")[0]
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=bool(hub_name), num_classes=0, in_chans=spec.in_chans, **spec.kwargs
        )
    except OSError as error:
        raise WeightsError(
            f"pretrained weights {name}",
            found=f"they cannot be downloaded: {str(error).splitlines()[0]}",
            expected="a connection to the Hugging Face hub, or the file on this machine",
            then=f"save it as {name}.safetensors in a folder and set {WEIGHTS_VARIABLE} to it, or pretrained: false",
        ) from None
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError) as error:
        raise RecipeError(
            f"backbone {spec.name}",
            found=f"kwargs {dict(spec.kwargs)}: {str(error).splitlines()[0]}",
            expected="options that this timm network takes, and with pretrained weights also its widths",
        ) from None
    return network


def _first_convs(network: nn.Module) -> tuple[str, ...]:
    configuration: Mapping[str, Any] = getattr(network, "default_cfg", None) or {}
    names = configuration.get("first_conv") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _shrink_less(network: nn.Module, stem: Stem, name: str) -> None:
    if stem is Stem.IMAGENET:
        return
    convs = [network.get_submodule(path) for path in _first_convs(network)]
    strided = [conv for conv in convs if isinstance(conv, nn.Conv2d) and conv.stride != (1, 1)]
    if any(conv.kernel_size == conv.stride for conv in strided):
        raise RecipeError(
            f"stem {stem} of backbone {name}",
            found="a stem that cuts the picture into patches",
            expected="a convolution with overlapping windows",
            then="make the patches smaller instead: kwargs: {patch_size: 2}",
        )
    pooled = isinstance(getattr(network, "maxpool", None), nn.MaxPool2d | nn.Sequential)
    if not pooled and not strided:
        raise RecipeError(f"stem {stem} of backbone {name}", found="a stem that does not shrink", then="stem: imagenet")
    if pooled:
        network.maxpool = nn.Identity()
    if stem is Stem.SMALL or not pooled:
        for conv in strided:
            conv.stride = (1, 1)
