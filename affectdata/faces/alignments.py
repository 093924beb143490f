"""Named alignments: where a face lies in its crop. The only place where a template has numbers.

Marks (reference/alignment.md): V verified in released code, P printed in the paper, D our decision.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import numpy as np

from affectdata.faces import geometry
from affectdata.faces.detectors import Face
from affectdata.faces.geometry import Transform
from manifests.errors import UnknownNameError

Template = tuple[tuple[float, float], ...]

ARCFACE_112: Template = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""V insightface: left eye, right eye, nose tip, left and right mouth corner in 112 x 112."""

ARCFACE_128_SHIFT = 8.0
"""V insightface: sizes that are multiples of 128 move the template right by 8 px per 128."""

SPHERE_SHIFT = -8.0
"""V (several public repositories): 112 high, 96 wide, the same template moved left by 8 px."""

NAMES = ("arcface<112k or 128k>", "arcface112_sym", "fbn96", "resize<n>", "sphere112x96")


class Needs(Enum):
    """What of a face an alignment looks at."""

    NOTHING = "nothing"
    BOX = "a box"
    FIVE_POINTS = "five points"
    LANDMARKS = "68 points"


@dataclass(frozen=True)
class Alignment:
    """One named way to cut a face out.

    Attributes:
        name: As in `crops/<name>`.
        width, height: Size of the crop in pixels.
        template: Where the five points go; None: the whole picture is resized, whatever is in it.
        border: Value of crop pixels that lie outside the picture.
        source: Where the definition comes from, and how sure we are.
    """

    name: str
    width: int
    height: int
    template: Template | None
    border: int
    source: str

    @property
    def needs(self) -> Needs:
        """What of a face `transform` looks at."""
        return Needs.NOTHING if self.template is None else Needs.FIVE_POINTS

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the crop."""
        return self.width, self.height

    def transform(self, face: Face | None, picture: tuple[int, int]) -> Transform:
        """The map from source pixels to crop pixels.

        Args:
            face: In pixels of the picture; not looked at where nothing is needed.
            picture: (width, height) of the source picture.

        Raises:
            DegenerateGeometryError: What is needed is missing, or no transform can be made from it.
        """
        if self.template is None:
            return geometry.resize_transform(picture, self.size)
        points = None if face is None else face.points
        return geometry.similarity(np.full((5, 2), np.nan) if points is None else points, self.template)


def alignment(name: str) -> Alignment:
    """The alignment of that name.

    - `arcface112` and other sizes: multiples of 112 scale the template, multiples of 128 scale it and shift x by
      8 px per 128 (coordinates are multiplied, without a half-pixel shift, as insightface does). A size that is a
      multiple of both follows 112, as insightface does.
    - `arcface112_sym`: the template averaged with its mirror, so that flips and alignment commute (D).
    - `fbn96`: FaceBehaviorNet's 96 x 96 (P); its template is not printed, ours is arcface112 x 96/112 (D).
    - `sphere112x96`: 112 high, 96 wide (V).
    - `resize<n>`: the whole picture to n x n, both axes by their own factor, as datasets distribute it (D).

    Raises:
        UnknownNameError: No such alignment.
    """
    if name == "fbn96":
        return Alignment(name, 96, 96, _scaled(96 / 112), 0, "P FaceBehaviorNet size; D template arcface112 x 96/112")
    if name == "arcface112_sym":
        mirror = geometry.mirrored(ARCFACE_112, 112)
        return Alignment(name, 112, 112, _template((np.array(ARCFACE_112) + mirror) / 2), 0, "D arcface112 + mirror")
    if name == "sphere112x96":
        return Alignment(name, 96, 112, _scaled(1, SPHERE_SHIFT), 0, "V several public repositories")
    match = re.fullmatch(r"(arcface|resize)([1-9][0-9]{0,3})", name)
    if match is None:
        raise UnknownNameError("alignment", name, NAMES)
    size = int(match[2])
    if match[1] == "resize":
        return Alignment(name, size, size, None, 0, "D plain resize, aspect not kept")
    if size % 112 == 0:
        return Alignment(name, size, size, _scaled(size / 112), 0, "V insightface")
    if size % 128 == 0:
        template = _scaled(size / 128, ARCFACE_128_SHIFT * size / 128)
        return Alignment(name, size, size, template, 0, "V insightface")
    raise UnknownNameError("alignment", name, NAMES)


def _scaled(factor: float, shift: float = 0.0) -> Template:
    return _template(np.array(ARCFACE_112) * factor + (shift, 0.0))


def _template(points: np.ndarray) -> Template:
    return tuple((float(x), float(y)) for x, y in points)
