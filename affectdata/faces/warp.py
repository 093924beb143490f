"""Cutting a crop out of a picture: bilinear, and anti-aliased when it shrinks."""

from __future__ import annotations

import math

import numpy as np

from affectdata.faces import geometry
from affectdata.faces.detectors import Image
from affectdata.faces.geometry import Transform

_MARGIN = 2
"""Source pixels kept around a crop, in crop pixels: bilinear sampling reaches one pixel further."""

_BORNE = 0.1
"""Share of a pixel that a crop may shrink without averaging."""

_MOST = 8
"""Times that a crop is cut out larger at most: a face so squeezed is none, and memory is bounded."""


def resized(image: Image, size: tuple[int, int]) -> Image:
    """The whole picture at another (width, height), half-pixel rule; each axis averages when it shrinks.

    Follows `geometry.resize_transform`; the same size gives the same array.
    """
    import cv2

    height, width = image.shape[:2]
    shrunk = (min(size[0], width), min(size[1], height))
    if shrunk != (width, height):
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return image


def warped(image: Image, transform: Transform, size: tuple[int, int], border: int = 0) -> Image:
    """The crop that a transform cuts out of a picture.

    When the transform shrinks, the part of the picture that the crop needs is first shrunk by area averaging, and
    the transform is composed with the inverse of that resize: every source pixel counts, and points still land
    where the transform says. It is shrunk by the larger stretch only; what the transform shrinks further along
    another direction is cut out larger and averaged down.

    Args:
        image: (H, W) or (H, W, 3).
        transform: Source pixel to crop pixel.
        size: (width, height) of the crop.
        border: Value of crop pixels whose source lies outside the picture.

    Returns:
        uint8 (height, width) or (height, width, 3).
    """
    import cv2

    largest, smallest = (float(stretch) for stretch in geometry.stretches(transform))
    if largest < 1:
        image, shift = _needed_part(image, transform, size, largest)
        height, width = image.shape[:2]
        small = (max(1, round(width * largest)), max(1, round(height * largest)))
        shrink = geometry.resize_transform((width, height), small)
        transform = geometry.compose(transform, geometry.inverse(geometry.compose(shrink, shift)))
        image = resized(image, small)
    further = _times_larger(min(largest, 1.0), smallest)
    cut = (size[0] * further, size[1] * further)
    result: Image = cv2.warpAffine(
        image,
        geometry.compose(geometry.resize_transform(size, cut), transform),
        cut,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(border, border, border),
    )
    return resized(result, size)


def _times_larger(along: float, across: float) -> int:
    """How many times larger a crop is cut out so that no direction is shrunk more than bilinear sampling bears."""
    if across * _MOST <= along:
        return _MOST
    return math.ceil(along / across - _BORNE)


def _needed_part(image: Image, transform: Transform, size: tuple[int, int], scale: float) -> tuple[Image, Transform]:
    """The part of the picture that a crop looks at, and the shift from the picture to it."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float64) - 0.5
    reach = geometry.apply(geometry.inverse(transform), corners)
    margin = _MARGIN / scale
    x1, y1 = np.clip(np.floor(reach.min(0) - margin).astype(int), 0, (width - 1, height - 1)).tolist()
    x2, y2 = np.clip(np.ceil(reach.max(0) + margin).astype(int) + 1, (x1 + 1, y1 + 1), (width, height)).tolist()
    return image[y1:y2, x1:x2], np.array([[1.0, 0.0, -x1], [0.0, 1.0, -y1]])
