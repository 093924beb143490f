"""Anti-aliased drawing with OpenCV: smooth curves through points, filled and stroked at sub-pixel places."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Curve = NDArray[np.float64]
Colour = tuple[float, float, float]

_SHIFT = 4
_SAMPLES = 5


@cache
def _spline(points: int, closed: bool) -> NDArray[np.float64]:
    """Matrix [curve samples, points] of a Catmull-Rom spline: curve = matrix @ points."""
    t = np.arange(_SAMPLES) / _SAMPLES
    blend = 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    segments = points if closed else points - 1
    matrix = np.zeros((segments * _SAMPLES + (not closed), points))
    for segment in range(segments):
        for k in range(4):
            at = segment + k - 1
            column = at % points if closed else min(max(at, 0), points - 1)
            matrix[segment * _SAMPLES : (segment + 1) * _SAMPLES, column] += blend[k]
    if not closed:
        matrix[-1, -1] = 1.0
    return matrix


def curve_through(points: Curve, *, closed: bool = False) -> Curve:
    """A smooth curve through the points, in their order: float64 [samples, 2]."""
    curve: Curve = _spline(len(points), closed) @ points
    return curve


def between(first: Curve, second: Curve, share: NDArray[np.float64] | float) -> Curve:
    """The curve that lies `share` of the way from `first` to `second`, sample by sample."""
    curve: Curve = first + (second - first) * np.reshape(share, (-1, 1))
    return curve


def band(first: Curve, second: Curve) -> Curve:
    """The closed outline between two curves that run the same way."""
    return np.concatenate([first, second[::-1]])


def _fixed(points: Curve) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def fill(picture: Picture, outline: Curve, colour: Colour | float) -> None:
    """Fill a closed outline, in place."""
    cv2.fillPoly(picture, [_fixed(outline)], colour, cv2.LINE_AA, _SHIFT)


def stroke(picture: Picture, line: Curve, colour: Colour | float, width: float, *, closed: bool = False) -> None:
    """Draw a line of `width` pixels (at least 1), in place."""
    cv2.polylines(picture, [_fixed(line)], closed, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def ellipse(centre: NDArray[np.float64], right: NDArray[np.float64], down: NDArray[np.float64]) -> Curve:
    """Outline of the ellipse with these half axes: float64 [24, 2]."""
    return centre + _CIRCLE[:, :1] * right + _CIRCLE[:, 1:] * down


_CIRCLE = np.stack([np.cos(np.arange(24) * np.pi / 12), np.sin(np.arange(24) * np.pi / 12)], axis=1)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that lies `share` of the way from `first` to `second`."""
    return tuple((1 - share) * a + share * b for a, b in zip(first, second, strict=True))  # type: ignore[return-value]  # three of three


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter, within 0-255."""
    return tuple(min(255.0, factor * value) for value in colour)  # type: ignore[return-value]  # three of three
