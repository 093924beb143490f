"""Named alignments: where a face lies in its crop. The only place where a template has numbers.

Marks (reference/alignment.md): V verified in released code, P printed in the paper, D our decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectdata.faces import geometry
from affectdata.faces.detectors import Face
from affectdata.faces.geometry import DegenerateGeometryError, Transform
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


class Needs(Enum):
    """What of a face an alignment looks at."""

    NOTHING = "nothing"
    BOX = "a box"
    FIVE_POINTS = "five points"
    LANDMARKS = "68 points"


Size = tuple[int, int]
Rule = Callable[["Alignment", Face, Size], Transform]
"""From an alignment, a face that has what is needed, and the picture's (width, height), the map into the crop."""


@dataclass(frozen=True)
class Alignment:
    """One named way to cut a face out.

    Attributes:
        name: As in `crops/<name>`.
        width, height: Size of the crop in pixels.
        needs: What of a face `transform` looks at.
        rule: Makes the map.
        source: Where the definition comes from, and how sure we are (V, P, D).
        template: Where the needed points go, of rules that aim at points.
        margin: Of rules that enlarge a box: by which factor.
        border: Value of crop pixels that lie outside the picture.
        symmetric: Whether aligning and flipping commute: flipping the crop equals aligning the flipped picture.
        layers: Of the lake that the template was reckoned from, as keys; they are parents of its crops.
    """

    name: str
    width: int
    height: int
    needs: Needs
    rule: Rule = field(repr=False)  # its repr is an address, and runs are told apart by the repr of what they do
    source: str
    template: Template | None = None
    margin: float = 1.0
    border: int = 0
    symmetric: bool = True
    layers: tuple[str, ...] = field(default=(), compare=False)  # the template holds all that crops depend on

    @property
    def size(self) -> Size:
        """(width, height) of the crop."""
        return self.width, self.height

    def transform(self, face: Face | None, picture: Size) -> Transform:
        """The map from source pixels to crop pixels.

        Args:
            face: In pixels of the picture; not looked at where nothing is needed.
            picture: (width, height) of the source picture.

        Raises:
            DegenerateGeometryError: What is needed is missing, or no transform can be made from it.
        """
        face = face or Face(None, None, None)
        given = {Needs.BOX: face.box, Needs.FIVE_POINTS: face.points, Needs.LANDMARKS: face.landmarks}.get(self.needs)
        if self.needs is not Needs.NOTHING and given is None:
            raise DegenerateGeometryError(f"alignment {self.name} needs {self.needs.value}, and the face has none")
        return self.rule(self, face, picture)


def _similarity(a: Alignment, face: Face, _: Size) -> Transform:
    return geometry.similarity(_known(face.points), _known(a.template))


def _three_points(a: Alignment, face: Face, _: Size) -> Transform:
    return geometry.three_point_affine(geometry.three_points(_known(face.landmarks)), _known(a.template))


def _level_box(a: Alignment, face: Face, _: Size) -> Transform:
    return geometry.level_box(_known(face.points), a.margin, a.width)


def _level_square(a: Alignment, face: Face, _: Size) -> Transform:
    return geometry.level_square(_known(face.points), a.width)


def _oriented(a: Alignment, face: Face, _: Size) -> Transform:
    return geometry.oriented(_known(face.points), a.width)


def _box(a: Alignment, face: Face, _: Size) -> Transform:
    return geometry.box_transform(geometry.enlarged_box(_known(face.box), a.margin), a.size)


def _box_inside(a: Alignment, face: Face, picture: Size) -> Transform:
    whole = geometry.picture_box(*picture)
    box = geometry.enlarged_box(_known(face.box), a.margin)
    inside = np.concatenate([np.maximum(box[:2], whole[:2]), np.minimum(box[2:], whole[2:])])
    return geometry.centre_crop(inside, SHORTER_SIDE, a.width)


def _box_then_centre(a: Alignment, face: Face, _: Size) -> Transform:
    return geometry.box_transform(geometry.enlarged_box(_known(face.box), a.margin * a.width / SHORTER_SIDE), a.size)


def _centre(a: Alignment, _: Face, picture: Size) -> Transform:
    return geometry.centre_crop(geometry.picture_box(*picture), SHORTER_SIDE, a.width)


def _resize(a: Alignment, _: Face, picture: Size) -> Transform:
    return geometry.resize_transform(picture, a.size)


def _as_distributed(a: Alignment, _: Face, picture: Size) -> Transform:
    if picture != a.size:
        raise DegenerateGeometryError(
            f"alignment {a.name} takes crops as the organisers distribute them",
            found=f"a picture of {picture[0]} x {picture[1]}",
            expected=f"{a.width} x {a.height}",
        )
    return geometry.resize_transform(picture, a.size)


def _known(value: ArrayLike | None) -> NDArray[np.float64]:
    return np.asarray(np.nan if value is None else value, np.float64)


SHORTER_SIDE = 256
"""Side to which pictures are resized before their central 224 are taken (vggface2, megraph224, pyfeat224)."""


def _scaled(factor: float, shift: float = 0.0) -> Template:
    return _template(np.array(ARCFACE_112) * factor + (shift, 0.0))


def _template(points: np.ndarray) -> Template:
    return tuple((float(x), float(y)) for x, y in points)


def mean_target(name: str, target: ArrayLike, source: str, layers: tuple[str, ...] = ()) -> Alignment:
    """CMCNN's alignment onto the mean of training faces' three points; `cmcnn_target` finds that mean in a lake.

    Args:
        name: Its name; one that begins with `cmcnn100_sym` gets the mean of the target and its mirror.
        target: (3, 2) eye centres and mouth mean in pixels of the 100 x 100 crop.
        source: What the target is the mean of.
        layers: Where that lies in the lake.
    """
    points = np.asarray(target, np.float64)
    symmetric = name.startswith("cmcnn100_sym")
    if symmetric:
        points = (points + (points * (-1, 1) + (99, 0))[[1, 0, 2]]) / 2
    mark = "D mean made symmetric" if symmetric else "V thuiar/cmcnn"
    return Alignment(
        name,
        100,
        100,
        Needs.LANDMARKS,
        _three_points,
        f"{mark}; target {np.round(points, 4).tolist()}, {source}",
        _template(points),
        symmetric=symmetric,
        layers=layers,
    )


def _arcface(name: str, width: int, height: int, template: Template, source: str, symmetric: bool = False) -> Alignment:
    return Alignment(name, width, height, Needs.FIVE_POINTS, _similarity, source, template, symmetric=symmetric)


def _fixed() -> dict[str, Alignment]:
    """Alignments whose name holds no size."""
    mirror = geometry.mirrored(ARCFACE_112, 112)
    five, box, nothing = Needs.FIVE_POINTS, Needs.BOX, Needs.NOTHING
    hu = "P Hu et al. 2018 ratio 0.2; D reading"
    mean = "RGB mean 129.1863 104.7624 93.5940 (V); D box as vggface2"
    bgr = "V README: box x 1.3 inside the picture, shorter side 256, centre 224; BGR mean 91.4953 103.8827 131.0912 (V)"
    feat = "V py-feat documents: box x 1.2, to 256; D its centre 224"
    made = (
        _arcface("fbn96", 96, 96, _scaled(96 / 112), "P FaceBehaviorNet size; D template arcface112 x 96/112"),
        _arcface(
            "arcface112_sym", 112, 112, _template((np.array(ARCFACE_112) + mirror) / 2), "D arcface112 + mirror", True
        ),
        _arcface("sphere112x96", 96, 112, _scaled(1, SPHERE_SHIFT), "V several public repositories"),
        Alignment("abaw112", 112, 112, nothing, _as_distributed, "as the organisers distribute it; U detector"),
        Alignment("hu_box96", 96, 96, box, _box, hu, margin=1.2),
        Alignment("hu_box96_wide", 96, 96, box, _box, "P option ratio 0.4; D reading", margin=1.4),
        Alignment("jaanet200", 200, 200, five, _level_box, "V PyTorch-JAANet", margin=2.9, border=128),
        Alignment("oriented256", 256, 256, five, _oriented, "V LibreFace; D mouth: mean of its corners"),
        Alignment("vggface1", 224, 224, box, _box_inside, mean, margin=1.3),
        Alignment("vggface2", 224, 224, box, _box_inside, bgr, margin=1.3),
        Alignment("megraph224", 224, 224, nothing, _centre, "V ME-GraphAU: shorter side 256, centre 224"),
        Alignment("pyfeat224", 224, 224, box, _box_then_centre, feat, margin=1.2),
        *(Alignment(f"emotieff{n}", n, n, box, _box, "V EmotiEffLib: plain box") for n in (112, 224, 260)),
    )
    return {a.name: a for a in made}


FIXED = _fixed()

NAMES = (
    *FIXED,
    "arcface<112k or 128k>",
    "levelsquare<n>",
    "resize<n>",
    "cmcnn100-<protocol>[-fold<k>]",
    "cmcnn100_sym-<protocol>[-fold<k>]",
)


def alignment(name: str) -> Alignment:
    """The alignment of that name; those onto the mean of training faces need a lake, see `cmcnn.alignment_of`.

    - `arcface112` and other sizes: multiples of 112 scale the template, multiples of 128 scale it and shift x by
      8 px per 128 (coordinates are multiplied, without a half-pixel shift, as insightface does). A size that is a
      multiple of both follows 112, as insightface does.
    - `levelsquare<n>`: eyes level, a square of twice the eye distance or face height (V wtomin).
    - `resize<n>`: the whole picture to n x n, both axes by their own factor, as datasets distribute it (D).
    - all others: `FIXED`, with their sources.

    `openface112` of alignment.md has no template that anybody verified, and is left out.

    Raises:
        UnknownNameError: No such alignment.
    """
    if name in FIXED:
        return FIXED[name]
    match = re.fullmatch(r"(arcface|levelsquare|resize)([1-9][0-9]{0,3})", name)
    if match is None:
        raise UnknownNameError("alignment", name, NAMES)
    size = int(match[2])
    if match[1] == "resize":
        return Alignment(name, size, size, Needs.NOTHING, _resize, "D plain resize, aspect not kept")
    if match[1] == "levelsquare":
        return Alignment(name, size, size, Needs.FIVE_POINTS, _level_square, "V wtomin")
    if size % 112 == 0:
        return _arcface(name, size, size, _scaled(size / 112), "V insightface")
    if size % 128 == 0:
        return _arcface(name, size, size, _scaled(size / 128, ARCFACE_128_SHIFT * size / 128), "V insightface")
    raise UnknownNameError("alignment", name, NAMES)
