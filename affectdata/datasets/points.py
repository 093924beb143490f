"""Landmark files: the iBUG `.pts` grammar (datasets/w300.md)."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.reading import Reject
from affectdata.datasets.text import lines

_DECLARED = re.compile(r"n_points\s*:\s*([0-9]{1,9})$")


def read_pts(data: bytes, about: str, reject: Reject, *, base: int, count: int = 68) -> NDArray[np.float64] | None:
    """Points [count, 2] of one `.pts` file, shifted to base 0, or None with a `bad-landmarks` reject.

    Args:
        base: Coordinate of the first pixel's centre in the file: 1 in iBUG files.
        count: Points that the mark-up has.
    """
    points = read_pts_of(data, about, reject, counts=(count,))
    return None if points is None else points - base


def read_pts_of(data: bytes, about: str, reject: Reject, *, counts: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Points [N, 2] as released, of a file whose mark-up may have any of several counts; else as `read_pts`."""
    # version: 1                  or 1.0
    # n_points:  68               one or two blanks
    # {
    # 446.000 91.000
    # }                           often without a newline
    text = [line.strip() for _, line in lines(data)]
    start = next((n for n, line in enumerate(text) if line.startswith("{")), len(text))
    end = next((n for n, line in enumerate(text) if line.startswith("}") and n > start), None)
    if end is None:
        reject(about, "bad-landmarks", "no { ... } block")
        return None
    rows = [line.split() for line in text[start + 1 : end]]
    try:
        points = np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)
    except ValueError:
        reject(about, "bad-landmarks", "a coordinate that is no number, or a line without two of them")
        return None
    right = points.shape in [(count, 2) for count in counts]
    if not right or not np.isfinite(points).all() or np.abs(points).max(initial=0) > 1e6:
        wanted = " or ".join(map(str, counts))
        reject(about, "bad-landmarks", f"{len(rows)} points, expected {wanted} pairs of finite numbers")
        return None
    declared = next((int(found[1]) for line in text[:start] if (found := _DECLARED.match(line))), len(rows))
    if declared != len(rows):
        reject(about, "bad-landmarks", f"{len(rows)} points, n_points says {declared}")
        return None
    return points
