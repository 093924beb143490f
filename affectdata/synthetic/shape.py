"""The shape of a synthetic face: 68 landmarks from identity, action units and pose.

Face units: the distance between the pupils of the average face is 1, the origin lies midway between them, x to
the image's right, y down, z towards the viewer. All tables hold the image-left half and the midline; the other
half is their mirror, so a face without asymmetry is exactly symmetric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.actions import DRAWN_AUS, Acting
from manifests.vocabulary import LANDMARK_MIRROR

Points = NDArray[np.float64]

_HALF = {
    0: (-1.15, -0.05, -0.62), 1: (-1.13, 0.30, -0.60), 2: (-1.08, 0.64, -0.52), 3: (-1.00, 0.97, -0.42),
    4: (-0.87, 1.27, -0.30), 5: (-0.68, 1.52, -0.16), 6: (-0.45, 1.71, -0.04), 7: (-0.22, 1.83, 0.04),
    8: (0.0, 1.87, 0.07),
    17: (-0.92, -0.29, -0.10), 18: (-0.76, -0.41, 0.04), 19: (-0.57, -0.44, 0.12), 20: (-0.38, -0.41, 0.17),
    21: (-0.20, -0.35, 0.20),
    27: (0.0, -0.02, 0.20), 28: (0.0, 0.20, 0.28), 29: (0.0, 0.42, 0.37), 30: (0.0, 0.62, 0.45),
    31: (-0.25, 0.74, 0.20), 32: (-0.13, 0.79, 0.27), 33: (0.0, 0.82, 0.30),
    36: (-0.73, 0.02, -0.02), 37: (-0.60, -0.095, 0.05), 38: (-0.42, -0.095, 0.07), 39: (-0.29, 0.03, 0.06),
    40: (-0.42, 0.085, 0.06), 41: (-0.59, 0.09, 0.04),
    48: (-0.42, 1.16, 0.06), 49: (-0.27, 1.10, 0.15), 50: (-0.10, 1.055, 0.20), 51: (0.0, 1.08, 0.21),
    57: (0.0, 1.335, 0.19), 58: (-0.14, 1.32, 0.18), 59: (-0.29, 1.265, 0.13),
    60: (-0.37, 1.162, 0.07), 61: (-0.13, 1.165, 0.17), 62: (0.0, 1.172, 0.18),
    66: (0.0, 1.178, 0.18), 67: (-0.13, 1.172, 0.17),
}  # fmt: skip
"""The average face at rest: landmark -> (x, y, z) of the image-left half."""

DISPLACEMENTS: Mapping[int, Mapping[int, tuple[float, float]]] = {
    1: {21: (0.01, -0.24), 20: (0.01, -0.18), 19: (0.0, -0.07)},
    2: {17: (-0.01, -0.16), 18: (0.0, -0.21), 19: (0.0, -0.16), 20: (0.0, -0.05)},
    4: {21: (0.09, 0.16), 20: (0.07, 0.14), 19: (0.05, 0.10), 18: (0.02, 0.05), 17: (0.0, 0.02)},
    5: {37: (0.0, -0.085), 38: (0.0, -0.09), 40: (0.0, 0.02), 41: (0.0, 0.02)},
    6: {40: (0.0, -0.055), 41: (0.0, -0.06), 36: (0.01, -0.01), 37: (0.0, 0.015)},
    7: {37: (0.0, 0.055), 38: (0.0, 0.05), 40: (0.0, -0.05), 41: (0.0, -0.05)},
    9: {
        31: (-0.05, -0.10), 32: (-0.01, -0.07), 33: (0.0, -0.05), 30: (0.0, -0.05), 29: (0.0, -0.03),
        21: (0.04, 0.08), 20: (0.02, 0.06), 40: (0.0, -0.02), 39: (0.0, 0.02),
        49: (0.0, -0.05), 50: (0.0, -0.07), 51: (0.0, -0.07), 61: (0.0, -0.02), 62: (0.0, -0.02),
    },
    10: {
        49: (-0.02, -0.09), 50: (-0.02, -0.13), 51: (0.0, -0.12), 61: (0.0, -0.05), 62: (0.0, -0.05),
        66: (0.0, -0.045), 67: (0.0, -0.045), 31: (-0.03, -0.04), 57: (0.0, -0.02), 58: (0.0, -0.02),
    },
    12: {
        48: (-0.20, -0.19), 60: (-0.20, -0.19), 49: (-0.11, -0.08), 59: (-0.11, -0.05), 50: (-0.03, 0.0),
        58: (-0.05, 0.02), 61: (-0.06, -0.04), 67: (-0.06, -0.04), 57: (0.0, 0.02), 31: (-0.02, 0.0),
        3: (-0.02, 0.0), 4: (-0.03, 0.0),
    },
    14: {48: (-0.06, -0.02), 60: (-0.06, -0.02), 49: (-0.03, 0.02), 59: (-0.03, -0.02)},
    15: {48: (-0.02, 0.18), 60: (-0.02, 0.17), 49: (-0.01, 0.06), 59: (-0.02, 0.08), 61: (0.0, 0.01), 67: (0.0, 0.01)},
    17: {
        57: (0.0, -0.09), 58: (0.0, -0.09), 59: (0.0, -0.05), 66: (0.0, -0.07), 67: (0.0, -0.06),
        62: (0.0, -0.07), 61: (0.0, -0.06), 51: (0.0, -0.05), 50: (0.0, -0.05), 49: (0.0, -0.02),
        48: (0.0, 0.02), 60: (0.0, 0.02), 8: (0.0, -0.06), 7: (0.0, -0.05),
    },
    20: {
        48: (-0.21, 0.05), 60: (-0.21, 0.05), 49: (-0.13, 0.04), 59: (-0.13, 0.02), 50: (-0.04, 0.03),
        58: (-0.05, -0.03), 51: (0.0, 0.02), 57: (0.0, -0.03), 61: (-0.07, 0.0), 67: (-0.07, 0.0), 4: (-0.03, 0.0),
    },
    23: {
        48: (0.09, 0.0), 60: (0.09, 0.0), 49: (0.04, 0.02), 50: (0.01, 0.03), 51: (0.0, 0.03),
        57: (0.0, -0.05), 58: (0.02, -0.05), 59: (0.05, -0.03), 61: (0.02, 0.0), 67: (0.02, 0.0),
    },
    24: {
        49: (-0.01, 0.05), 50: (0.0, 0.075), 51: (0.0, 0.065), 57: (0.0, -0.11), 58: (0.0, -0.10),
        59: (0.0, -0.06), 48: (0.01, 0.01), 60: (0.01, 0.01),
    },
    25: {
        61: (0.0, -0.035), 62: (0.0, -0.035), 50: (0.0, -0.02), 51: (0.0, -0.02), 66: (0.0, 0.11),
        67: (0.0, 0.10), 57: (0.0, 0.10), 58: (0.0, 0.09), 59: (0.0, 0.05),
    },
    26: {
        8: (0.0, 0.24), 7: (0.0, 0.23), 6: (0.0, 0.20), 5: (0.0, 0.15), 4: (0.01, 0.09), 3: (0.0, 0.03),
        57: (0.0, 0.23), 58: (0.0, 0.21), 59: (0.0, 0.14), 66: (0.0, 0.22), 67: (0.0, 0.20),
        48: (0.06, 0.07), 60: (0.06, 0.07), 49: (0.03, 0.02),
    },
}  # fmt: skip
"""AU -> landmark -> (dx, dy) in face units at intensity 5, image-left half; linear in the intensity, summed.

The directions are those of the FACS names (facs.md); the sizes are ours, chosen to be seen at 96 pixels. AU26
parts the lips too: in the Du et al. table it never comes without AU25.
"""

_APART = (
    *((upper, lower, 0.035) for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46))),
    *((upper, lower, 0.004) for upper, lower in ((61, 67), (62, 66), (63, 65))),
)
"""(point above, point below, least distance): lids and inner lips, which give way to each other by halves."""

_UPPER_RIMS = ((49, 61), (50, 61), (51, 62), (52, 63), (53, 63))
_LOWER_RIMS = ((59, 67), (58, 67), (57, 66), (56, 65), (55, 65))
_RIM = 0.022
"""Least thickness of a lip; the outer point gives way to the inner one. (outer, inner) points of both lips."""

BROWS, EYES, NOSE, MOUTH = range(17, 27), range(36, 48), range(27, 36), range(48, 68)


@dataclass(frozen=True)
class Build:
    """The bones of one person. Factors are relative to the average face, offsets in face units.

    `brow_asymmetry` and `mouth_asymmetry` lower the image-right side by that much and raise the other.
    """

    face_width: float = 1.0
    jaw_width: float = 1.0
    chin: float = 0.0
    forehead: float = 1.0
    eye_size: float = 1.0
    eye_spacing: float = 0.0
    eye_tilt: float = 0.0
    brow_height: float = 0.0
    brow_arch: float = 0.0
    nose_width: float = 1.0
    nose_length: float = 1.0
    mouth_width: float = 1.0
    mouth_height: float = 0.0
    lip_fullness: float = 1.0
    brow_asymmetry: float = 0.0
    mouth_asymmetry: float = 0.0

    def mirrored(self) -> Build:
        """The build that the mirror shows."""
        return replace(self, brow_asymmetry=-self.brow_asymmetry, mouth_asymmetry=-self.mouth_asymmetry)


@dataclass(frozen=True)
class Pose:
    """Where the head is. Angles in degrees, clockwise on screen; offsets as a share of the picture's side.

    `scale` is the distance of the average pupils as a share of the picture's side; `yaw` > 0 turns the nose to
    the image's right (orthographic, so the far half is foreshortened).
    """

    roll: float = 0.0
    yaw: float = 0.0
    scale: float = 0.23
    dx: float = 0.0
    dy: float = 0.0

    def mirrored(self) -> Pose:
        """The pose that the mirror shows."""
        return replace(self, roll=-self.roll, yaw=-self.yaw, dx=-self.dx)


def mirror_half(half: Mapping[int, tuple[float, ...]]) -> Points:
    """All 68 points from their image-left half: the other side is the mirror image, x negated."""
    width = len(next(iter(half.values())))
    points = np.zeros((68, width))
    for index, values in half.items():
        points[index] = values
        if LANDMARK_MIRROR[index] != index:
            points[LANDMARK_MIRROR[index]] = (-values[0], *values[1:])
    return points


AVERAGE = mirror_half(_HALF)
_MOVES = np.stack([mirror_half(DISPLACEMENTS[au]) for au in DRAWN_AUS]) / 5.0
_SIDE = np.sign(AVERAGE[:, 0])


def resting_shape(build: Build) -> Points:
    """The person's 68 points at rest, in face units.

    Returns:
        float64 [68, 3].
    """
    points = AVERAGE.copy()
    x, y = points[:, 0], points[:, 1]
    low = np.clip((y[:17] + 0.05) / 1.9, 0, 1)
    x[:17] *= build.face_width * (1 + (build.jaw_width - 1) * low)
    y[:17] += build.chin * low
    _scale_about(points, BROWS, (build.face_width, 1.0), (0.0, -0.38))
    y[BROWS] += -build.brow_height + _SIDE[BROWS] * build.brow_asymmetry
    y[[18, 19, 24, 25]] -= build.brow_arch
    for eye, sign in ((range(36, 42), -1), (range(42, 48), 1)):
        _scale_about(points, eye, (build.eye_size, build.eye_size), (sign * 0.5, 0.0))
        y[eye] -= build.eye_tilt * (np.abs(x[eye]) - 0.5)
        x[eye] += sign * build.eye_spacing
    _scale_about(points, NOSE, (build.nose_width, build.nose_length), (0.0, -0.02))
    shift = 0.5 * 0.84 * (build.nose_length - 1) + build.mouth_height
    _scale_about(points, MOUTH, (build.mouth_width, build.lip_fullness), (0.0, 1.175))
    y[MOUTH] += shift + _SIDE[MOUTH] * build.mouth_asymmetry * np.abs(x[MOUTH]) / 0.42
    return points


def _scale_about(points: Points, indices: range, factors: tuple[float, float], centre: tuple[float, float]) -> None:
    points[indices, :2] = (points[indices, :2] - centre) * factors + centre


def acted_shape(rest: Points, acted: Acting) -> Points:
    """The resting shape moved by the AUs: linear in each intensity, then lids and lips kept apart.

    Returns:
        float64 [68, 3], face units.
    """
    points = rest.copy()
    points[:, :2] += np.tensordot(np.asarray(acted.intensities), _MOVES, axes=1)
    y = points[:, 1]
    for above, below, least in _APART:
        overlap = max(0.0, least - (y[below] - y[above]))
        y[above] -= overlap / 2
        y[below] += overlap / 2
    for outer, inner in _UPPER_RIMS:
        y[outer] = min(y[outer], y[inner] - _RIM)
    for outer, inner in _LOWER_RIMS:
        y[outer] = max(y[outer], y[inner] + _RIM)
    return points


def placed(points: Points, pose: Pose, size: int) -> Points:
    """Face units to pixels of a picture of `size` x `size`, pixel centres at integers.

    Args:
        points: float64 [n, 3].

    Returns:
        float64 [n, 2].
    """
    yaw, roll = np.deg2rad(pose.yaw), np.deg2rad(pose.roll)
    x = points[:, 0] * np.cos(yaw) + points[:, 2] * np.sin(yaw)
    y = points[:, 1] - FACE_MIDDLE
    unit = pose.scale * size
    centre_x, centre_y = (size - 1) / 2 + pose.dx * size, (size - 1) / 2 + pose.dy * size
    return np.stack(
        [
            centre_x + unit * (x * np.cos(roll) - y * np.sin(roll)),
            centre_y + unit * (x * np.sin(roll) + y * np.cos(roll)),
        ],
        axis=1,
    )


FACE_MIDDLE = 0.48
"""Height, in face units, of the point that the pose puts in the middle of the picture."""
