"""From the outcomes of a chunk's samples to its table and its crops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.faces.chunks import SCHEMA
from affectdata.faces.work import Outcome


def packed(outcomes: Sequence[Outcome], size: tuple[int, int], channels: int) -> tuple[pa.Table, NDArray[np.uint8]]:
    """A chunk's table and its crops.

    Args:
        outcomes: In order of sample_id.
        size: (width, height) of a crop.
        channels: Of a crop.

    Returns:
        The table (`chunks.SCHEMA`) and uint8 (n, height, width, channels) for the n samples that have a crop.
    """
    rows: list[dict[str, object]] = []
    crops: list[NDArray[np.uint8]] = []
    for outcome in outcomes:
        row = _face_row(outcome)
        if outcome.crop is not None:
            row |= {"row": len(crops), "transform": outcome.crop.transform.ravel(), "outside": outcome.crop.outside}
            crops.append(outcome.crop.pixels)
        rows.append(row)
    pixels = np.stack(crops) if crops else np.empty((0, size[1], size[0], channels), np.uint8)
    return pa.Table.from_pylist(rows, schema=SCHEMA), pixels


def _face_row(outcome: Outcome) -> dict[str, object]:
    found = outcome.detection
    row: dict[str, object] = {
        "sample_id": outcome.sample_id,
        "status": found.status,
        "faces": found.faces,
        "rule": found.rule,
        "width": outcome.width,
        "height": outcome.height,
        "pixel_hash": outcome.pixel_hash,
    }
    if found.face is not None:
        if found.face.box is not None:
            row |= dict(zip(("box_x1", "box_y1", "box_x2", "box_y2"), found.face.box.tolist(), strict=True))
        row |= {"points5": None if found.face.points is None else found.face.points.ravel(), "score": found.face.score}
    return row
