"""Landmark files: the iBUG `.pts` grammar (datasets/w300.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.reading import Reject
from affectdata.datasets.text import lines


def read_pts(data: bytes, about: str, reject: Reject, *, base: int, count: int = 68) -> NDArray[np.float64] | None:
    """Points [count, 2] of one `.pts` file, shifted to base 0, or None with a `bad-landmarks` reject.

    Args:
        base: Coordinate of the first pixel's centre in the file: 1 in iBUG files.
        count: Points that the mark-up has.
    """
    # version: 1
    # n_points: 68
    # {
    # 115.167 88.500
    # }
    text = [line.strip() for _, line in lines(data)]
    if "{" not in text or "}" not in text:
        reject(about, "bad-landmarks", "no { ... } block")
        return None
    rows = [line.split() for line in text[text.index("{") + 1 : text.index("}")]]
    try:
        points = np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)
    except ValueError:
        reject(about, "bad-landmarks", "a coordinate that is no number, or a line without two of them")
        return None
    if points.shape != (count, 2) or not np.isfinite(points).all() or np.abs(points).max(initial=0) > 1e6:
        reject(about, "bad-landmarks", f"{len(rows)} points, expected {count} pairs of finite numbers")
        return None
    return points - base
