"""A head ready to be painted: the look of a person, and the placed face with the parts that no landmark marks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.brush import Colour, Curve
from affectdata.synthetic.shape import Build, Points, Pose, placed, resting_shape

SKINS: tuple[Colour, ...] = (
    (255, 224, 196), (244, 205, 172), (232, 190, 152), (214, 164, 124), (188, 136, 98), (152, 104, 72), (112, 76, 54),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (28, 22, 20),
    (62, 40, 26),
    (104, 68, 40),
    (168, 124, 70),
    (206, 172, 110),
    (150, 150, 152),
)
IRISES: tuple[Colour, ...] = ((70, 44, 26), (96, 66, 36), (72, 96, 62), (82, 116, 150), (110, 120, 126))
HAIR_STYLES = ("bald", "short", "fringe", "long")


@dataclass(frozen=True)
class Look:
    """Colours and hair of one person. RGB 0-255; `age` 0-1 deepens the folds that every face has.

    `parting` (-1..1) is the side on which the fringe parts.
    """

    skin: Colour = SKINS[1]
    hair: Colour = HAIRS[1]
    iris: Colour = IRISES[0]
    lips: float = 0.4
    hair_style: str = "short"
    parting: float = 0.0
    brow_thickness: float = 1.0
    age: float = 0.3
    glasses: bool = False
    shirt: Colour = (90, 100, 130)

    def mirrored(self) -> Look:
        """The look that the mirror shows."""
        return replace(self, parting=-self.parting)


@dataclass(frozen=True)
class Stage:
    """The placed face and its local axes: what every brush stroke is measured by.

    Attributes:
        points: float64 [68, 2], pixels.
        rest: The landmarks of the same person and pose without any AU, float64 [68, 2], pixels.
        right, down: One face unit along the face's own axes, in pixels.
        outline: Jaw and forehead, a closed outline.
        crown: The outline of the hair, from the image's right to its left.
        pupils: Both pupils, image-left first.
        neck: Neck and shoulders, a closed outline.
    """

    points: Curve
    rest: Curve
    right: NDArray[np.float64]
    down: NDArray[np.float64]
    outline: Curve
    crown: Curve
    pupils: Curve
    neck: Curve

    @property
    def unit(self) -> float:
        """Pixels per face unit."""
        return float(np.hypot(*self.down))

    def at(self, index: int, x: float = 0.0, y: float = 0.0) -> NDArray[np.float64]:
        """A place `x`, `y` face units away from a landmark, in pixels."""
        place: NDArray[np.float64] = self.points[index] + x * self.right + y * self.down
        return place


_FOREHEAD = np.array(
    [(1.14, -0.38, -0.55), (1.02, -0.74, -0.40), (0.78, -1.02, -0.25), (0.42, -1.20, -0.12), (0.0, -1.26, -0.08),
     (-0.42, -1.20, -0.12), (-0.78, -1.02, -0.25), (-1.02, -0.74, -0.40), (-1.14, -0.38, -0.55)]
)  # fmt: skip
_NECK = np.array([(-0.62, 1.1, -0.4), (-0.66, 2.3, -0.4), (-1.9, 2.75, -0.4), (-2.2, 4.5, -0.4)])


def stage(points: Points, build: Build, gaze: tuple[float, float], pose: Pose, size: int) -> Stage:
    """Place a face and the parts of a head that no landmark marks.

    Args:
        points: The acted shape in face units, float64 [68, 3].
        gaze: Pupil offset in face units.
    """
    forehead = _FOREHEAD * (build.face_width, build.forehead, 1.0)
    crown = (_FOREHEAD - (0, 0.1, 0)) * (1.1 * build.face_width, 1.18 * build.forehead, 1.3)
    pupils = np.array([points[36:42].mean(axis=0), points[42:48].mean(axis=0)])
    # Lids move over the eyeball, not with it: the pupils keep the height of the eyes at rest.
    rest = resting_shape(build)
    pupils[:, 1] = [rest[36:42, 1].mean(), rest[42:48, 1].mean()]
    pupils[:, :2] += gaze
    neck = np.concatenate([_NECK, _NECK[::-1] * (-1, 1, 1)]) * (build.face_width, 1.0, 1.0)
    origin, right, down = placed(np.array([(0.0, 0, 0), (1.0, 0, 0), (0, 1.0, 0)]), replace(pose, yaw=0.0), size)
    marks = placed(points, pose, size)
    return Stage(
        points=marks,
        rest=placed(rest, pose, size),
        right=right - origin,
        down=down - origin,
        outline=np.concatenate([marks[:17], placed(forehead, pose, size)]),
        crown=placed(crown, pose, size),
        pupils=placed(pupils, pose, size),
        neck=placed(neck, pose, size),
    )
