"""The disk that an alignment run needs, known before it is taken."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from affectdata.faces.plan import Plan
from affectdata.faces.work import Item, Media
from manifests.errors import StorageError

_TRIED = 32
"""Crops that are made to estimate what JPEGs take."""


@dataclass(frozen=True)
class DiskNeed:
    """What the crops will take at most (JPEGs: about), and what is free where the lake lies, in bytes."""

    need: int
    free: int
    estimated: bool = False

    def __str__(self) -> str:
        about = "about" if self.estimated else "at most"
        return f"needs {about} {self.need / 1e9:.2f} GB of disk, {self.free / 1e9:.2f} GB are free"


def disk_need(plan: Plan, left: Sequence[range]) -> DiskNeed:
    """Disk for the crops of the chunks that are left; of JPEGs an estimate, from some crops that are made for it.

    Raises:
        StorageError: More than is free, unless the options say to go on.
    """
    samples = sum(map(len, left))
    jpeg = plan.options.quality is not None
    crop = _jpeg_bytes(plan, left) if jpeg else plan.crop_bytes
    need = DiskNeed(samples * crop, shutil.disk_usage(plan.lake.home).free, jpeg)
    if need.need > need.free and not plan.options.ignore_space:
        smaller = "a smaller alignment or --gray" if jpeg else "--store jpeg:95, a smaller alignment or --gray"
        raise StorageError(
            f"crops of {samples} samples of {plan.dataset} do not fit",
            found=f"{need.free / 1e9:.2f} GB free in {plan.lake.home}",
            expected=f"{need.need / 1e9:.2f} GB: {samples} x {crop} bytes",
            then=f"free space, choose {smaller}, or --ignore-space if many have no face",
        )
    return need


def _jpeg_bytes(plan: Plan, left: Sequence[range]) -> int:
    """Mean bytes of some crops, of pictures spread over the chunks that are left; raw ones if none can be had."""
    first = [rows.start for rows in left][:: len(left) // _TRIED + 1]
    columns = plan.samples.take(first).to_pydict().values()
    media = [Media(*values) for values in zip(*columns, strict=True)]
    looked = [plan.worker.look(Item(m, plan.hints.of(row))) for m, row in zip(media, first, strict=True)]
    crops = [seen.outcome.crop for seen in looked if seen.outcome.crop is not None]
    return max(1, sum(len(crop.data) for crop in crops) // len(crops)) if crops else plan.crop_bytes
