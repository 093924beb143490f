"""Synthetic faces, and twins: fake copies of datasets in their true layouts, quirks included.

The twins are the files of this folder that define `DATASET`, `VARIANTS` and `write`; adding a file adds a twin.
Pictures are painted from parameters (`face.render`), so every label is known by construction.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from manifests.errors import DatasetError, UnknownNameError

if TYPE_CHECKING:
    from affectdata.synthetic.face import Face, Parameters, draw_parameters, landmarks_of, render
    from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

__all__ = [
    "Face",
    "LabelTruth",
    "Parameters",
    "RejectTruth",
    "RoleTruth",
    "SampleTruth",
    "Truth",
    "Twin",
    "draw_parameters",
    "landmarks_of",
    "render",
    "twins",
    "write_twin",
]

_HOMES = {
    **dict.fromkeys(("Face", "Parameters", "draw_parameters", "landmarks_of", "render"), "face"),
    **dict.fromkeys(("LabelTruth", "RejectTruth", "RoleTruth", "SampleTruth", "Truth"), "truth"),
}

LEAST_SAMPLES = 24
"""A twin needs room for its quirks."""


class Twin(Protocol):
    """A file of this folder that writes one dataset's fake copy."""

    DATASET: str
    VARIANTS: tuple[str, ...]

    def write(self, root: Path, *, samples: int, seed: int, variant: str) -> Truth:
        """Write the tree under `root` and say what a correct reader must find there."""
        ...


@cache
def twins() -> dict[str, Twin]:
    """Dataset -> the file of this folder that writes its twin."""
    files = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found: dict[str, Any] = {file.DATASET: file for file in files if hasattr(file, "write")}
    return dict(sorted(found.items()))


def write_twin(dataset: str, root: Path, *, samples: int, seed: int, variant: str | None = None) -> Truth:
    """Write a fake copy of a dataset's true layout under `root`; the same arguments give the same bytes.

    Args:
        root: A folder that is absent or empty.
        samples: Number of pictures before the quirks add theirs, at least `LEAST_SAMPLES`.
        variant: One of the twin's `VARIANTS`; None takes the first.

    Raises:
        UnknownNameError: No such twin or variant.
        DatasetError: `root` holds something, or `samples` is too small for the quirks.
    """
    known = twins()
    if dataset not in known:
        raise UnknownNameError("synthetic twin", dataset, known)
    twin = known[dataset]
    variant = twin.VARIANTS[0] if variant is None else variant
    if variant not in twin.VARIANTS:
        raise UnknownNameError(f"variant of {dataset}", variant, twin.VARIANTS)
    if samples < LEAST_SAMPLES:
        raise DatasetError(f"twin of {dataset}", found=f"{samples} samples", expected=f"at least {LEAST_SAMPLES}")
    if root.exists() and any(root.iterdir()):
        raise DatasetError(f"{root}", found="a folder that holds something", expected="an absent or empty folder")
    root.mkdir(parents=True, exist_ok=True)
    return twin.write(root, samples=samples, seed=seed, variant=variant)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
