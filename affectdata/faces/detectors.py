"""Finding the face of a sample: the protocol, the registry, and the choice among several faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from affectdata.faces.geometry import Points
from manifests.errors import UnknownNameError

FOUND, NO_FACE, OTHER_FACES, NO_POINTS = "found", "no-face", "only-other-faces", "no-points"
"""Statuses of the faces layer that a detector gives; the engine adds reasons of undecodable pictures."""

Image = NDArray[np.uint8]
"""(height, width, 3) RGB or (height, width) grey."""
Box = NDArray[np.float64]
"""(x1, y1, x2, y2), edges in pixels, pixel centres at integers."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one picture: box, five points (5, 2), score and 68 landmarks (68, 2), each None where unknown."""

    box: Box | None
    points: Points | None
    score: float | None
    landmarks: Points | None = None


@dataclass(frozen=True, eq=False)
class Hint:
    """What the dataset says of where its face is: a box, five points and 68 landmarks, each None where it does not."""

    box: Box | None = None
    points: Points | None = None
    landmarks: Points | None = None


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector says of one picture.

    Attributes:
        status: `found`, or why there is no face.
        faces: Number of faces seen; None where nothing looked.
        rule: How the face was chosen.
        face: The chosen face.
    """

    status: str
    faces: int | None = None
    rule: str | None = None
    face: Face | None = None


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector may be told.

    Attributes:
        max_side: Pictures with a longer side are shrunk to it for detection, in pixels. YuNet sees faces of about
            10 to 300 px (OpenCV Zoo, README), so large pictures must be shrunk.
        score: Faces below this confidence are not seen. One face is chosen per sample, so a missed face costs a
            sample while a weak second candidate costs little: hence 0.6 and not cv2's 0.9, at which YuNet sees 27 %
            of 1,500 FER2013 pictures (89 % at 0.6; lower scores begin to see faces where there are none).
        nms: Boxes that overlap more than this count as one face; cv2's default, and face-alignment's.
        device: Of networks that run in torch: `cpu`, `cuda` or `cuda:1`.
    """

    max_side: int = 640
    score: float = 0.6
    nms: float = 0.3
    device: str = "cpu"


class Detector(Protocol):
    """Finds the face of a sample. `find` is called from several threads at once."""

    @property
    def name(self) -> str:
        """As in `faces/<name>`."""

    @property
    def facts(self) -> dict[str, str]:
        """What its results depend on: versions, hashes of weights, settings."""

    @property
    def gives_points(self) -> bool:
        """Whether it can give five points."""

    def find(self, image: Image, hint: Hint) -> Detection:
        """The sample's face in its picture."""


@runtime_checkable
class BatchDetector(Detector, Protocol):
    """A detector whose network runs on a device: many pictures at once are faster than one after another."""

    def find_all(self, images: Sequence[Image], hints: Sequence[Hint]) -> list[Detection]:
        """As `find` on each; pictures of equal size share a batch. Called from several threads at once."""


@dataclass(frozen=True)
class WholeDetector:
    """Looks for nothing: the picture is the face, as in datasets that distribute crops."""

    name: str = "whole"
    facts: dict[str, str] = field(default_factory=dict)
    gives_points: bool = False

    def find(self, image: Image, hint: Hint) -> Detection:  # noqa: ARG002 - the protocol's parameters
        """Always found, without box or points."""
        return Detection(FOUND, rule="whole picture", face=Face(None, None, None))


@dataclass(frozen=True)
class DatasetDetector:
    """The five points or landmarks that the dataset itself gives."""

    name: str = "dataset"
    facts: dict[str, str] = field(default_factory=dict)
    gives_points: bool = True

    def find(self, image: Image, hint: Hint) -> Detection:  # noqa: ARG002 - the protocol's parameters
        """The dataset's own face; `no-points` where it gives none."""
        if hint.points is None:
            return Detection(NO_POINTS)
        return Detection(FOUND, 1, "as the dataset says", Face(hint.box, hint.points, None, hint.landmarks))


DETECTORS = ("dataset", "sfd", "whole", "yunet")


def detector(name: str, settings: DetectorSettings) -> Detector:
    """The detector of that name.

    Raises:
        UnknownNameError: No such detector.
        WeightsError: Its weights are not to be had.
    """
    if name == "whole":
        return WholeDetector()
    if name == "dataset":
        return DatasetDetector()
    if name == "yunet":
        from affectdata.faces.yunet import YuNet

        return YuNet(settings)
    if name == "sfd":
        from affectdata.faces.sfd import Sfd

        return Sfd(settings)
    raise UnknownNameError("detector", name, DETECTORS)


def choose(faces: list[Face], hint: Hint, size: tuple[int, int]) -> Detection:
    """The one face of a sample among those seen in its picture.

    The face that the dataset names wins: the one whose box holds most of the dataset's five points (nearest mean
    point among equals), or overlaps the dataset's box most. If no face seen matches what the dataset names, none is
    taken: another person's face would be worse than none. Where the dataset names no face, the largest and most
    central is taken: the maximum of box area - 2 x squared distance to the picture's centre (V facenet,
    align_dataset_mtcnn.py).

    Args:
        faces: Faces with boxes.
        hint: What the dataset says.
        size: (width, height) of the picture.
    """
    if not faces:
        return Detection(NO_FACE, 0)
    boxes = np.array([face.box for face in faces])
    if hint.points is not None and np.isfinite(hint.points).all():
        held = _points_held(boxes, hint.points)
        distance = np.hypot(*(_centres(boxes) - hint.points.mean(0)).T)
        best, rule, matches = int(np.lexsort((distance, -held))[0]), "dataset points", held.max() > 0
    elif hint.box is not None and np.isfinite(hint.box).all():
        overlap = _overlaps(boxes, hint.box)
        best, rule, matches = int(np.argmax(overlap)), "dataset box", overlap.max() > 0
    else:
        offset = ((_centres(boxes) - (np.array(size) - 1) / 2) ** 2).sum(1)
        best, rule, matches = int(np.argmax(_areas(boxes) - 2 * offset)), "largest central", True
    if not matches:
        return Detection(OTHER_FACES, len(faces), rule)
    return Detection(FOUND, len(faces), rule if len(faces) > 1 else "only face", faces[best])


def _centres(boxes: Box) -> Points:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _areas(boxes: Box) -> NDArray[np.float64]:
    return np.asarray(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1), np.float64)


def _points_held(boxes: Box, points: Points) -> NDArray[np.int64]:
    after, before = points >= boxes[:, None, :2], points <= boxes[:, None, 2:]
    return np.asarray((after & before).all(-1).sum(-1), np.int64)


def _overlaps(boxes: Box, box: Box) -> NDArray[np.float64]:
    """Intersection over union of each box with one."""
    common = np.concatenate([np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])], axis=1)
    shared = _areas(common)
    return shared / (_areas(boxes) + _areas(box) - shared)
