"""Boxes and five points beside SFEW in the repack of a cross-domain benchmark (datasets/sfew.md 1)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.reading import Folder, Reject, vectors
from affectdata.datasets.sfew_tree import Place
from affectdata.datasets.text import decoded, lines

_EDGES = ("box_x1", "box_y1", "box_x2", "box_y2")
_SLACK = 0.1
"""Share of the box by which a point may lie outside of it."""


def side_files(folder: Folder, place: Place, kind: str) -> dict[str, str]:
    """Stem -> path of the text files of one class, beside `imgs` or one folder higher."""
    # SFEW/Train/imgs/<Emotion>/<stem>.png with Annotations/Bboxs/<Emotion>/<stem>.txt
    base = place.path.rpartition("/")[0].rpartition("/")[0]
    for above in (base, base.rpartition("/")[0]):
        path = "/".join(filter(None, (above, "Annotations", kind, place.label)))
        if names := folder.files.names(path, "*.txt"):
            return {name[:-4]: f"{path}/{name}" for name in names}
    return {}


def box_and_points(folder: Folder, place: Place, stems: list[str], reject: Reject) -> dict[str, pa.Array]:
    """Columns box_* and points5 of some pictures, NULL where there is none or where it is refused."""
    boxes, marks = np.full((len(stems), 4), np.nan), np.full((len(stems), 10), np.nan)
    box_files, point_files = (side_files(folder, place, kind) for kind in ("Bboxs", "Landmarks_5"))
    for row, stem in enumerate(stems):
        points = None
        if path := point_files.get(stem):
            points = folder.parsed(path, read_points, path, reject)
        if points is not None:
            marks[row] = points.ravel()
        if path := box_files.get(stem):
            box = folder.parsed(path, read_box, path, points, reject)
            boxes[row] = np.nan if box is None else box
    columns: dict[str, pa.Array] = {
        name: pa.array(boxes[:, i], pa.float32(), from_pandas=True) for i, name in enumerate(_EDGES)
    }
    return columns | {"points5": vectors(marks)}


def read_points(data: bytes, about: str, reject: Reject) -> NDArray[np.float64] | None:
    """Five points [5, 2], or None with a reject. Their order (eyes, nose, mouth) is unconfirmed, so it is checked."""
    points = _numbers([line.split() for _, line in lines(data)])
    if points is None or points.shape != (5, 2):
        reject(about, "bad-landmarks", "five lines of two numbers expected")
        return None
    (left, right, _, mouth_left, mouth_right) = points
    if left[0] >= right[0] or mouth_left[0] >= mouth_right[0] or left[1] + right[1] >= mouth_left[1] + mouth_right[1]:
        reject(about, "bad-landmarks", "not in the order of image-left eye, right eye, nose, mouth corners")
        return None
    return points


def read_box(data: bytes, about: str, points: NDArray[np.float64] | None, reject: Reject) -> NDArray[np.float64] | None:
    """Edges x1 y1 x2 y2, or None with a reject. The order of the four numbers is unconfirmed: the points decide."""
    edges = _numbers([decoded(data).split()])
    if edges is None or edges.shape != (1, 4):
        reject(about, "bad-box", f"four integers expected: {decoded(data)[:80]!r}")
        return None
    low, high = edges[0, :2], edges[0, 2:]
    if points is None:
        reject(about, "bad-box", "without five points the order of its fields cannot be checked")
        return None
    slack = _SLACK * (high - low)
    if (high <= low).any() or (points < low - slack).any() or (points > high + slack).any():
        reject(about, "bad-box", f"the five points do not lie in x1 y1 x2 y2 = {decoded(data)[:80]!r}")
        return None
    return np.asarray(edges[0])


def _numbers(rows: list[list[str]]) -> NDArray[np.float64] | None:
    try:
        values = np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)
    except ValueError:
        return None
    return values if np.isfinite(values).all() and np.abs(values).max(initial=0) < 1e6 else None
