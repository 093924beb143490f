"""From heat maps, one per landmark, to points: the highest cell, moved a quarter cell towards its higher neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def peaks(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """The points of heat maps, in cells with centres at integers, and the heat at each.

    V face-alignment, utils.get_preds_fromhm (as Newell et al. 2016 and Bulat & Tzimiropoulos 2017): the quarter step
    is taken along both axes unless the highest cell lies on the map's rim.

    Args:
        heatmaps: float (N, P, h, w).

    Returns:
        float32 (N, P, 2) as (x, y), and (N, P) heat, both on the maps' device.
    """
    import torch

    count, points, height, width = heatmaps.shape
    flat = heatmaps.reshape(count, points, height * width)
    heat, index = flat.max(-1)
    x, y = index % width, index // width
    inner = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)

    def step(stride: int) -> Tensor:
        after = flat.gather(-1, (index + stride).clamp(max=height * width - 1)[..., None])
        before = flat.gather(-1, (index - stride).clamp(min=0)[..., None])
        return torch.where(inner, 0.25 * torch.sign(after - before)[..., 0], 0.0)

    return torch.stack([x + step(1), y + step(width)], -1).float(), heat.float()
