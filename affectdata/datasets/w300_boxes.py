"""The MATLAB files of 300-W that say where a detector saw each face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.matlab import Value, read_mat
from affectdata.datasets.reading import Reject
from affectdata.datasets.w300_places import plain


@dataclass(frozen=True)
class Boxes:
    """Boxes of one subset as released.

    Args:
        detector: Plain name of the picture -> x0, y0, x1, y1 of the detector.
        tight: The same around the landmarks.
    """

    detector: Mapping[str, NDArray[np.float64]]
    tight: Mapping[str, NDArray[np.float64]]


def read_boxes(data: bytes, about: str, reject: Reject) -> Boxes | None:
    """One `bounding_boxes_<subset>.mat`, or None with a `bad-box` reject."""
    # bounding_boxes: 1 x N cells of a struct: imgName '134212_1.jpg', bb_detector [x0 y0 x1 y1], bb_ground_truth [...]
    detector: dict[str, NDArray[np.float64]] = {}
    tight: dict[str, NDArray[np.float64]] = {}
    try:
        cells = read_mat(data).get("bounding_boxes")
        if not isinstance(cells, list):
            raise ValueError("no cells named bounding_boxes")
        for cell in cells:
            name, *edges = _entry(cell)
            if all(np.isfinite(e).all() and e[2] > e[0] and e[3] > e[1] for e in edges):
                detector[name], tight[name] = edges
            else:
                reject(f"{about} {name}", "bad-box", f"{edges[0]} {edges[1]}")
    except ValueError as error:
        reject(about, "bad-box", f"not a file of boxes: {error}")
        return None
    return Boxes(detector, tight)


def _entry(cell: Value) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """Plain name, detector's box and tight box of one cell."""
    if not isinstance(cell, dict):
        raise ValueError("a cell that is no struct")
    name, *edges = (cell.get(key) for key in ("imgName", "bb_detector", "bb_ground_truth"))
    if not isinstance(name, str) or not all(isinstance(e, np.ndarray) and e.size == 4 for e in edges):
        raise ValueError(f"a struct of {', '.join(cell)}")
    detector, tight = (np.asarray(e, np.float64).ravel() for e in edges)
    return plain(name.rpartition(".")[0]), detector, tight


def shifted(
    boxes: Boxes, names: list[str], points: NDArray[np.float64], about: str, reject: Reject
) -> NDArray[np.float64]:
    """Detector boxes [N, 4] of some pictures, 0-based; NaN where there is none.

    No document gives the base of the boxes: the tight ones, held against the landmarks [N, 68, 2] (0-based), tell.
    Where they fit neither base, or no entry is a picture of the subset, the file is refused.
    """
    found = np.full((len(names), 4), np.nan)
    known = [n for n, name in enumerate(names) if name in boxes.tight and np.isfinite(points[n]).all()]
    if strange := sorted(boxes.detector.keys() - set(names)):
        reject(about, "id-mismatch", f"{len(strange)} of {len(boxes.detector)} are no pictures here: {strange[0]}, ...")
    if not known:
        return found
    tight = np.array([boxes.tight[names[n]] for n in known])
    apart = np.concatenate([tight[:, :2] - points[known].min(axis=1), tight[:, 2:] - points[known].max(axis=1)])
    base = float(np.median(apart))
    if min(abs(base), abs(base - 1)) > 0.25:
        reject(about, "bad-box", f"boxes around the landmarks lie {base:.2f} pixels beside them, expected 0 or 1")
        return found
    for n, name in enumerate(names):
        if name in boxes.detector:
            found[n] = boxes.detector[name] - round(base)
    return found
