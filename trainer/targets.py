"""Labels of N samples as dense tensors. A cell that is unknown holds -1 or NaN and no loss or metric reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from manifests import vocabulary as voc

T = TypeVar("T")


def _mapped(record: T, change: Callable[[Tensor], Tensor]) -> T:
    """A dataclass with `change` applied to every tensor in it, however deep."""
    changes: dict[str, Any] = {}
    for field in fields(record):  # type: ignore[arg-type]  # every caller passes one of the dataclasses below
        value = getattr(record, field.name)
        if isinstance(value, Tensor):
            changes[field.name] = change(value)
        elif hasattr(value, "__dataclass_fields__"):
            changes[field.name] = _mapped(value, change)
    return replace(record, **changes)  # type: ignore[type-var]  # as above


class _Record:
    """What every record of tensors can do."""

    def at(self, index: Tensor) -> Self:
        """The rows at `index`, int64 [B]."""
        return _mapped(self, lambda tensor: tensor[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same on another device."""
        return _mapped(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same in page-locked memory, from which copies to a GPU run beside the computation."""
        return _mapped(self, lambda tensor: tensor.pin_memory())


@dataclass(frozen=True)
class ClassTarget(_Record):
    """One of C exclusive classes: expressions of a class space, compound expressions, mental states."""

    code: Tensor
    """int64 [N]: class index, -1 unknown."""
    offered: Tensor
    """bool [N, C]: classes that the annotators could choose."""
    probs: Tensor
    """float32 [N, C], rows sum to 1; a zero row: no distribution, use the class. [N, 0] where soft labels are off."""
    weight: Tensor
    """float32 [N], >= 0."""

    @property
    def mask(self) -> Tensor:
        """bool [N]: the class is known."""
        return self.code >= 0


@dataclass(frozen=True)
class VaTarget(_Record):
    """Valence and arousal."""

    values: Tensor
    """float32 [N, 2] in -1..1; NaN unknown."""
    weight: Tensor
    """float32 [N], >= 0."""

    @property
    def mask(self) -> Tensor:
        """bool [N, 2]: the axis is known."""
        return torch.isfinite(self.values)


@dataclass(frozen=True)
class AuTarget(_Record):
    """K action units."""

    present: Tensor
    """float32 [N, K]: 0 absent, 1 present, between them a probability where soft labels are on; -1 unknown."""
    weight: Tensor
    """float32 [N, K], >= 0."""

    @property
    def mask(self) -> Tensor:
        """bool [N, K]: the cell is known."""
        return self.present >= 0


@dataclass(frozen=True)
class IntensityTarget(_Record):
    """Intensities of K action units."""

    values: Tensor
    """float32 [N, K] in 0..5; NaN unknown."""
    weight: Tensor
    """float32 [N, K], >= 0."""

    @property
    def mask(self) -> Tensor:
        """bool [N, K]: the cell is known."""
        return torch.isfinite(self.values)


@dataclass(frozen=True)
class LandmarkTarget(_Record):
    """68 points in crop pixels, pixel centres at integers."""

    points: Tensor
    """float32 [N, 68, 2]; NaN unknown."""
    weight: Tensor
    """float32 [N], >= 0."""

    @property
    def mask(self) -> Tensor:
        """bool [N, 68]: the point is known."""
        return torch.isfinite(self.points).all(-1)


@dataclass(frozen=True)
class Targets(_Record):
    """Labels of the tasks of a recipe; a task that the recipe has not is None."""

    expression: ClassTarget | None = None
    va: VaTarget | None = None
    au: AuTarget | None = None
    landmarks: LandmarkTarget | None = None
    compound: ClassTarget | None = None
    mental_state: ClassTarget | None = None
    au_intensity: IntensityTarget | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that are there."""
        return tuple(task.name for task in fields(self) if getattr(self, task.name) is not None)

    @classmethod
    def joined(cls, parts: Sequence[Targets]) -> Targets:
        """The samples of all parts, one part after the other; every part has the same tasks."""
        changes: dict[str, Any] = {}
        for task in fields(cls):
            targets = [getattr(part, task.name) for part in parts]
            if targets[0] is not None:
                names = [field.name for field in fields(targets[0])]
                columns = [torch.cat([getattr(target, name) for target in targets]) for name in names]
                changes[task.name] = type(targets[0])(*columns)
        return cls(**changes)


@dataclass(frozen=True)
class Batch(_Record):
    """Pictures with their labels."""

    pixels: Tensor
    """uint8 [B, H, W, C]."""
    keys: Tensor
    """int64 [B]: a hash of each sample_id, from which the augmentation is drawn."""
    index: Tensor
    """int64 [B]: position in the sample set that the batch was taken from."""
    dataset: Tensor
    """int64 [B]: position of each sample's dataset in the recipe."""
    targets: Targets

    def __len__(self) -> int:
        return len(self.keys)


def flipped(targets: Targets, flip: Tensor, width: int, aus: tuple[int, ...]) -> Targets:
    """Labels of mirrored pictures: landmarks mirror and permute, directional AUs swap.

    A directional AU whose partner is not among `aus` becomes unknown where it is flipped.

    Args:
        targets: Labels of B pictures.
        flip: bool [B], which of them are mirrored.
        width: Width of the crop, pixels.
        aus: AU numbers of the columns of `targets.au`.
    """
    au, landmarks = targets.au, targets.landmarks
    if au is not None:
        partners = [aus.index(voc.AU_MIRROR[a]) if voc.AU_MIRROR[a] in aus else -1 for a in aus]
        if partners != list(range(len(aus))):
            source = torch.tensor(partners, device=flip.device)
            present = torch.where(source >= 0, au.present[:, source.clamp(min=0)], -1).to(au.present.dtype)
            swapped = AuTarget(present, au.weight[:, source.clamp(min=0)])
            au = AuTarget(where(flip, swapped.present, au.present), where(flip, swapped.weight, au.weight))
    if landmarks is not None:
        mirrored = landmarks.points[:, list(voc.LANDMARK_MIRROR)]
        mirrored = torch.stack((width - 1 - mirrored[..., 0], mirrored[..., 1]), -1)
        landmarks = replace(landmarks, points=where(flip, mirrored, landmarks.points))
    return replace(targets, au=au, landmarks=landmarks)


def mixed(condition: Tensor, yes: Targets, no: Targets) -> Targets:
    """Of pictures augmented in two ways: the labels that move with them, from `yes` where the condition [B] holds."""
    au, landmarks = no.au, no.landmarks
    if au is not None and yes.au is not None:
        au = AuTarget(where(condition, yes.au.present, au.present), where(condition, yes.au.weight, au.weight))
    if landmarks is not None and yes.landmarks is not None:
        landmarks = replace(landmarks, points=where(condition, yes.landmarks.points, landmarks.points))
    return replace(no, au=au, landmarks=landmarks)


def where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Rows of `yes` where the condition, bool [B], holds, else of `no`; any further dimensions."""
    return torch.where(condition.reshape(-1, *[1] * (yes.dim() - 1)), yes, no)
