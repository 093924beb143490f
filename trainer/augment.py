"""Crops to network input: channels, random changes, normalisation; all on the device, in batches.

The random numbers of a picture depend on (seed, epoch, sample_id, how often the epoch drew it before) alone: not on
its place in the batch, the number of processes, or what else was drawn. So a resumed or distributed run draws what
one whole run draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.settings import Augment, Input
from trainer.targets import Batch, Targets, flipped, mixed, where

_GOLDEN = 0x9E3779B97F4A7C15
_DRAWS = 13
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, as OpenCV turns colour to gray."""


def uniforms(keys: Tensor, seed: int, epoch: int, draws: int = _DRAWS) -> Tensor:
    """Uniform numbers in [0, 1) from a counter-based hash (splitmix64, Steele et al. 2014).

    Args:
        keys: int64 [B], one per sample.
        seed: Seed of the run.
        epoch: Number of the epoch.
        draws: Numbers per sample.

    Returns:
        float32 [B, draws], independent of the order of `keys`.
    """
    stream = _mixed(torch.tensor(_signed(seed * _GOLDEN + epoch), device=keys.device))
    counter = torch.tensor([_signed((i + 1) * _GOLDEN) for i in range(draws)], device=keys.device)
    bits = _mixed(_mixed(keys ^ stream)[:, None] + counter)
    return _shifted(bits, 40).to(torch.float32) / (1 << 24)


def repeated(keys: Tensor, repeats: Tensor) -> Tensor:
    """Keys of samples that an epoch draws several times: its own for each time, the sample's for the first.

    Args:
        keys: int64 [B].
        repeats: int64 [B], how often the sample was drawn before in the epoch.
    """
    return keys ^ _mixed(repeats)


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; int64 has only the arithmetic one."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """uint8 [B, H, W, C] as float32 [B, channels, H, W] in 0..255: gray repeated, or colour to luma."""
    # Converted and put in order in one pass: a copy of its own takes as long again.
    images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    return (images * images.new_tensor(LUMA).reshape(1, 3, 1, 1)).sum(1, keepdim=True)


def normalised(images: Tensor, settings: Input) -> Tensor:
    """(image - mean) / std per channel; or of each picture, std at least 1 / sqrt(C H W)."""
    if settings.per_image:
        variance, mean = torch.var_mean(images, (1, 2, 3), correction=0, keepdim=True)
        return (images - mean) / variance.sqrt().clamp(min=1 / math.sqrt(images[0].numel()))
    mean, std = (images.new_tensor(v).reshape(1, -1, 1, 1) for v in (settings.mean, settings.std))
    return (images - mean).div_(std)  # in place: fresh memory costs as much as the division


class Augmenter:
    """Random changes of pictures and of the labels that move with them.

    Args:
        settings: Which changes, and how large.
        seed: Seed of the run.
        aus: AU numbers of the columns of the AU targets.
        mean: Value that erased rectangles take, per channel or one for all, 0-255.
        own: Settings of datasets, by position in the recipe, that are augmented unlike the others.
    """

    def __init__(
        self,
        settings: Augment,
        seed: int,
        aus: tuple[int, ...] = (),
        mean: tuple[float, ...] = (0.0,),
        own: Mapping[int, Augment] | None = None,
    ):
        self.settings, self.seed, self.aus, self.mean = settings, seed, aus, mean
        self.own = {
            number: Augmenter(changed, seed, aus, mean)
            for number, changed in (own or {}).items()
            if changed != settings
        }

    def __call__(self, images: Tensor, batch: Batch, epoch: int) -> tuple[Tensor, Targets]:
        """Changed pictures and labels, in float32 whatever the autocast: bfloat16 knows pixel 100.5 as 100.

        Args:
            images: float32 [B, C, H, W], 0-255.
            batch: The samples they come from (keys and targets).
            epoch: Number of the epoch.
        """
        with torch.autocast(images.device.type, enabled=False):
            result = self._changed(images, batch, epoch)
            for number, other in self.own.items():
                mine, (pixels, targets) = batch.dataset == number, other(images, batch, epoch)
                result = where(mine, pixels, result[0]), mixed(mine, targets, result[1])
            return result

    def _changed(self, images: Tensor, batch: Batch, epoch: int) -> tuple[Tensor, Targets]:
        u, targets, s = uniforms(batch.keys, self.seed, epoch), batch.targets, self.settings
        if s.flip:
            flip = u[:, 0] < 0.5
            images = torch.where(flip[:, None, None, None], images.flip(-1), images)
            targets = flipped(targets, flip, images.shape[-1], self.aus)
        if s.pad:
            images, targets = self._cut(images, targets, u[:, 10:12])
        if s.shift or s.rotate or s.scale:
            matrix = self._motion(u[:, 1:5], images.shape[-2], images.shape[-1])
            if s.moved < 1:
                matrix = where(
                    u[:, 12] < s.moved, matrix, matrix.new_tensor([[1.0, 0, 0], [0, 1, 0]]).expand_as(matrix)
                )
            images, targets = warped(images, matrix), moved(targets, matrix)
        if s.brightness or s.contrast:
            images = self._relit(images, u[:, 5:7])
        if s.noise:
            images = self._noisy(images, batch.keys, epoch)
        if s.erase:
            images = self._erased(images, u[:, 7:10])
        return images, targets

    def _cut(self, images: Tensor, targets: Targets, u: Tensor) -> tuple[Tensor, Targets]:
        """Whole pixels of shift, as cutting out of the padded picture gives them."""
        pad, (height, width) = self.settings.pad, images.shape[-2:]
        corner = (u * (2 * pad + 1)).long()  # of the part that is cut out
        y = (corner[:, 1, None] + torch.arange(height, device=u.device))[:, None, :, None]
        x = (corner[:, 0, None] + torch.arange(width, device=u.device))[:, None, None, :]
        rows = torch.arange(len(images), device=u.device)[:, None, None, None]
        channels = torch.arange(images.shape[1], device=u.device)[None, :, None, None]
        matrix = torch.eye(2, 3, device=u.device).repeat(len(images), 1, 1)
        matrix[:, :, 2] = pad - corner.float()
        return F.pad(images, (pad, pad, pad, pad))[rows, channels, y, x], moved(targets, matrix)

    def _noisy(self, images: Tensor, keys: Tensor, epoch: int) -> Tensor:
        u = uniforms(keys, self.seed, epoch, _DRAWS + images[0].numel())[:, _DRAWS:]
        normal = torch.erfinv((2 * u - 1).clamp(-1 + 1e-6, 1 - 1e-6)) * math.sqrt(2)
        return (images + normal.reshape(images.shape) * self.settings.noise * 255).clamp(0, 255)

    def _motion(self, u: Tensor, height: int, width: int) -> Tensor:
        """Forward maps of pixels, float32 [B, 2, 3]: turn and scale about the centre, then shift."""
        s, d = self.settings, 2 * u - 1
        angle, size = d[:, 0] * math.radians(s.rotate), 1 + d[:, 1] * s.scale
        a, b = size * torch.cos(angle), size * torch.sin(angle)
        cx, cy = (width - 1) / 2, (height - 1) / 2
        tx = cx - a * cx + b * cy + d[:, 2] * s.shift * width
        ty = cy - b * cx - a * cy + d[:, 3] * s.shift * height
        return torch.stack((torch.stack((a, -b, tx), -1), torch.stack((b, a, ty), -1)), 1)

    def _relit(self, images: Tensor, u: Tensor) -> Tensor:
        d = (2 * u - 1)[..., None, None, None]
        mean = images.mean((1, 2, 3), keepdim=True)
        lit = (images - mean) * (1 + d[:, 1] * self.settings.contrast) + mean + d[:, 0] * self.settings.brightness * 255
        return lit.clamp(0, 255)

    def _erased(self, images: Tensor, u: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        # One number decides whether and, stretched back to [0, 1), how much.
        area = 0.02 + 0.18 * u[:, 0] / self.settings.erase
        side = area.sqrt()
        left, top = (u[:, 1] * (1 - side) * width), (u[:, 2] * (1 - side) * height)
        x = torch.arange(width, device=images.device)
        y = torch.arange(height, device=images.device)
        columns = (x >= left[:, None]) & (x < (left + side * width)[:, None])
        rows = (y >= top[:, None]) & (y < (top + side * height)[:, None])
        hole = rows[:, :, None] & columns[:, None, :] & (u[:, 0] < self.settings.erase)[:, None, None]
        return torch.where(hole[:, None], images.new_tensor(self.mean).reshape(1, -1, 1, 1), images)


def warped(images: Tensor, matrix: Tensor) -> Tensor:
    """Pictures moved by forward maps: out(p) = in(M^-1 p), bilinear, border 0.

    Args:
        images: float32 [B, C, H, W].
        matrix: float32 [B, 2, 3], source pixel to output pixel, pixel centres at integers.
    """
    height, width = images.shape[-2:]
    linear = torch.linalg.inv(matrix[:, :, :2])
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device, dtype=images.dtype),
        torch.arange(width, device=images.device, dtype=images.dtype),
        indexing="ij",
    )
    points = torch.stack((x, y), -1).reshape(1, -1, 2) - matrix[:, None, :, 2]
    source = torch.einsum("bij,bnj->bni", linear, points).reshape(-1, height, width, 2)
    grid = (2 * source + 1) / source.new_tensor((width, height)) - 1
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def moved(targets: Targets, matrix: Tensor) -> Targets:
    """Labels of pictures moved by forward maps [B, 2, 3]: landmarks go along."""
    if targets.landmarks is None:
        return targets
    points = torch.einsum("bij,bnj->bni", matrix[:, :, :2], targets.landmarks.points) + matrix[:, None, :, 2]
    return replace(targets, landmarks=replace(targets.landmarks, points=points))
