"""What a dataset itself says of where its faces are: boxes, five points and 68 landmarks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.faces import geometry
from affectdata.faces.detectors import Hint
from manifests.lake import Lake
from manifests.layer import Layer

LANDMARK_SOURCES = ("human", "human-*", "auto", "auto-*")
"""Label layers whose landmarks are the dataset's own, in the order in which they win."""


@dataclass(frozen=True)
class Hints:
    """Boxes and five points of all samples, in order of sample_id; NaN is unknown.

    Attributes:
        boxes: float32 (N, 4).
        points: float32 (N, 5, 2).
        layers: Label layers that gave landmarks, as keys; they are parents of what is made from the hints.
        landmarks: float32 (N, 68, 2); None where nobody asked for them.
        landmark_layers: As `layers`, of `landmarks`.
    """

    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    layers: tuple[str, ...]
    landmarks: NDArray[np.float32] | None = None
    landmark_layers: tuple[str, ...] = ()

    def digest(self, rows: range) -> str:
        """Hash of the boxes and five points of neighbouring samples."""
        return _digest(self.boxes[rows.start : rows.stop], self.points[rows.start : rows.stop])

    def landmarks_digest(self, rows: range) -> str:
        """Hash of the landmarks of neighbouring samples."""
        return "" if self.landmarks is None else _digest(self.landmarks[rows.start : rows.stop])

    def taken(self, rows: NDArray[np.int64] | slice) -> Hints:
        """The hints of some samples."""
        landmarks = None if self.landmarks is None else self.landmarks[rows]
        return replace(self, boxes=self.boxes[rows], points=self.points[rows], landmarks=landmarks)

    def of(self, row: int) -> Hint:
        """What is known of one sample; a box or five points count only when complete."""
        box, points = self.boxes[row], self.points[row]
        landmarks = None if self.landmarks is None else self.landmarks[row]
        return Hint(
            box.astype(np.float64) if np.isfinite(box).all() else None,
            points.astype(np.float64) if np.isfinite(points).all() else None,
            None if landmarks is None or np.isnan(landmarks).all() else landmarks.astype(np.float64),
        )


def _digest(*known: NDArray[np.float32]) -> str:
    part = hashlib.blake2b(digest_size=16)
    for values in known:  # every NaN is the same NaN
        part.update(np.where(np.isnan(values), np.float32(np.nan), values).tobytes())
    return part.hexdigest()


def read_hints(lake: Lake, dataset: str, *, landmarks: bool) -> Hints:
    """The dataset's own boxes and points, from `samples` and, if asked, from the landmarks of its label layers."""
    table = lake.read(dataset, "samples", ["sample_id", "box_x1", "box_y1", "box_x2", "box_y2", "points5"])
    boxes = np.column_stack([_floats(table.column(f"box_{edge}")) for edge in ("x1", "y1", "x2", "y2")])
    points = _vectors(table.column("points5"), 10).reshape(-1, 5, 2)
    used = []
    for layer in _landmark_layers(lake, dataset) if landmarks else []:
        if _fill(boxes, points, table.column("sample_id"), lake.read(dataset, layer.key, ["sample_id", "landmarks"])):
            used.append(layer.key)
    return Hints(boxes, points, tuple(used))


def with_landmarks(hints: Hints, lake: Lake, dataset: str) -> Hints:
    """Hints of all samples that also hold the 68 points of the dataset's own label layers."""
    ids = lake.read(dataset, "samples", ["sample_id"]).column("sample_id")
    landmarks = np.full((len(ids), 68, 2), np.nan, np.float32)
    used = []
    for layer in _landmark_layers(lake, dataset):
        rows, found = _known(ids, lake.read(dataset, layer.key, ["sample_id", "landmarks"]))
        fresh = np.isnan(landmarks[rows]).all((1, 2))
        landmarks[rows[fresh]] = found[fresh]
        used += [layer.key] if fresh.any() else []
    return replace(hints, landmarks=landmarks, landmark_layers=tuple(used))


def _landmark_layers(lake: Lake, dataset: str) -> list[Layer]:
    layers = [layer for layer in lake.layers(dataset) if layer.kind == "labels" and not layer.stale]
    return [layer for pattern in LANDMARK_SOURCES for layer in layers if fnmatchcase(layer.name, pattern)]


def _fill(boxes: NDArray[np.float32], points: NDArray[np.float32], ids: pa.ChunkedArray, labels: pa.Table) -> bool:
    """Fill unknown points, and unknown boxes by the tight box of the landmarks; whether anything was filled."""
    rows, landmarks = _known(ids, labels)
    if not len(rows):
        return False
    five = geometry.five_points(landmarks).astype(np.float32)
    fresh = np.isnan(points[rows]).any((1, 2)) & np.isfinite(five).all((1, 2))
    points[rows[fresh]] = five[fresh]
    tight = np.concatenate([np.nanmin(landmarks[fresh], 1), np.nanmax(landmarks[fresh], 1)], axis=1)
    unboxed = np.isnan(boxes[rows[fresh]]).any(1)
    boxes[rows[fresh][unboxed]] = tight[unboxed]
    return bool(fresh.any())


def _known(ids: pa.ChunkedArray, labels: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Row among the samples, and landmarks (n, 68, 2), of each label that has some."""
    labels = labels.filter(pc.is_valid(labels.column("landmarks")))
    rows = np.asarray(pc.index_in(labels.column("sample_id"), value_set=ids.combine_chunks()).to_numpy())
    known = np.isfinite(rows)
    return rows[known].astype(np.int64), _vectors(labels.column("landmarks"), 136).reshape(-1, 68, 2)[known]


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    return np.asarray(column.cast(pa.float32()).to_numpy()).astype(np.float32)


def _vectors(column: pa.ChunkedArray, length: int) -> NDArray[np.float32]:
    """(N, length) of a column of fixed-size lists; NaN for a NULL list and for a NULL in it."""
    result = np.full((len(column), length), np.nan, np.float32)
    known = np.asarray(pc.is_valid(column).to_numpy())
    flat = np.asarray(pc.list_flatten(column).to_numpy()).astype(np.float32)
    result[known] = flat.reshape(-1, length)
    return result
