"""The 66 tracked points of DISFA: a small MATLAB level-5 file per frame, variable `pts`, 66 x 2 (datasets page 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.matlab import read_mat
from affectdata.datasets.reading import Reject

MAX_BYTES = 1 << 16
"""A file holds 1,056 bytes of coordinates; what is larger, or would be when unpacked, is none of them."""

_FARTHEST = 1e5


def read_points(data: bytes, about: str, reject: Reject, *, base: int) -> NDArray[np.float64] | None:
    """Points [66, 2] of one file, shifted to base 0, or None with a `bad-landmarks` reject.

    Args:
        base: Coordinate of the first pixel's centre in the file.
    """
    try:
        points = _array(data)
    except ValueError as error:
        reject(about, "bad-landmarks", str(error))
        return None
    if points.shape != (66, 2) or not np.isfinite(points).all() or np.abs(points).max() > _FARTHEST:
        shape = " x ".join(map(str, points.shape))
        reject(about, "bad-landmarks", f"pts of {shape} numbers, expected 66 x 2 finite ones")
        return None
    return points - base


def _array(data: bytes) -> NDArray[np.float64]:
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data):,} bytes, expected at most {MAX_BYTES:,}")
    points = read_mat(data, only="pts", most_bytes=MAX_BYTES).get("pts")
    if not isinstance(points, np.ndarray):
        raise ValueError("no variable pts of numbers")
    return points
