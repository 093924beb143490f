"""Weights from a local file, read without pickle, and a report of what of them was used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises when it refuses to unpickle

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from manifests.errors import WeightsError

WEIGHTS_VARIABLE = "AFFECT_WEIGHTS"
"""Environment variable that names a folder of weights; what lies there wins over the network."""

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""What a weights file may be called; all but the first are PyTorch checkpoints."""

_PREFIXES = ("module.", "model.", "backbone.network.", "backbone.")
"""What DataParallel, Lightning and our own runs put before a backbone's keys."""
_WRAPPERS = ("state_dict", "model", "state_dict_ema")
"""Keys under which checkpoints of other trainers keep the weights."""


@dataclass(frozen=True)
class WeightsReport:
    """What became of the keys of a weights file.

    Attributes:
        source: Where the weights came from; "" for random initialisation.
        sha256: SHA-256 of the file, or of the loaded tensors where timm fetched them; "" for random initialisation.
        loaded: Keys of the network that were set.
        missing: Keys of the network that the file lacks; they keep their random values.
        unexpected: Keys of the file that the network has no place for.
        mismatched: Keys present in both with different shapes, as `key: file shape, network shape`.
        replaced: Outputs that are new although the source has some, as `task: its outputs -> ours`.
    """

    source: str = ""
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    sha256: str = ""
    replaced: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, str]:
        """Source and SHA-256, as `facts.json` records them; empty for random initialisation."""
        return {"source": self.source, "sha256": self.sha256} if self.source else {}

    def lines(self) -> list[str]:
        """The report in words, one line per kind of key, with the first few names."""
        if not self.source:
            return ["weights: random"]
        lines = [f"weights: {len(self.loaded)} tensors from {self.source}"]
        for what in ("replaced", "missing", "unexpected", "mismatched"):
            keys: tuple[str, ...] = getattr(self, what)
            if keys:
                more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
                lines.append(f"  {what}: {', '.join(keys[:5])}{more}")
        return lines


def local_weights(name: str) -> Path | None:
    """The file of a pretrained network in the folder that `AFFECT_WEIGHTS` names, if there is one."""
    folder = os.environ.get(WEIGHTS_VARIABLE)
    if not folder:
        return None
    files = (Path(folder) / f"{name}{suffix}" for suffix in WEIGHT_SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a PyTorch checkpoint read with `weights_only=True`.

    Raises:
        WeightsError: The file is absent, damaged, holds no tensors, or needs unpickling of anything but tensors.
    """
    if not file.is_file():
        raise WeightsError(f"weights file {file}", found="no such file", expected="a .safetensors or .pth file")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsError(
            f"weights file {file} cannot be read safely",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected="safetensors, or a PyTorch checkpoint of tensors only",
            then="convert it to safetensors where you trust it",
        ) from None
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    named = content if isinstance(content, Mapping) else {}
    tensors = {key: value for key, value in named.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"weights file {file}", found="no tensors", expected="a state dict")
    return tensors


def load_weights(
    network: nn.Module,
    file: Path,
    *,
    first_convs: tuple[str, ...] = (),
    convert: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
) -> WeightsReport:
    """Set the network's tensors from a file wherever key and shape agree.

    Args:
        network: Changed in place.
        file: See `read_weights`.
        first_convs: Names of the convolutions that see the picture; their weights are adapted to the network's
            number of input channels (RGB to grey: summed).
        convert: From the names and the input that the file was made for to the network's.

    Raises:
        WeightsError: Nothing in the file fits the network, or the file cannot be read.
    """
    own = network.state_dict()
    given = _best_prefix(dict(convert(read_weights(file))), own)
    for conv in first_convs:
        key = f"{conv}.weight"
        if key in given and key in own and given[key].shape[1] != own[key].shape[1]:
            given[key] = adapt_input_conv(own[key].shape[1], given[key])
    loaded = {key: value for key, value in given.items() if key in own and value.shape == own[key].shape}
    if not loaded:
        raise WeightsError(
            f"weights file {file}",
            found=f"keys like {', '.join(list(given)[:3])}",
            expected=f"keys like {', '.join(list(own)[:3])}",
            then="choose the backbone that the weights were trained with",
        )
    network.load_state_dict(loaded, strict=False)
    return WeightsReport(
        source=file.name,
        sha256=file_sha256(file),
        loaded=tuple(loaded),
        missing=tuple(key for key in own if key not in given),
        unexpected=tuple(key for key in given if key not in own),
        mismatched=tuple(
            f"{key}: {tuple(value.shape)}, {tuple(own[key].shape)}"
            for key, value in given.items()
            if key in own and key not in loaded
        ),
    )


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes of tensors, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _best_prefix(given: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the prefix that makes most keys known to the network."""
    readings = [
        {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        for prefix in ("", *_PREFIXES)
    ]
    return max(readings, key=lambda reading: len(reading.keys() & own.keys()))
