"""Planar geometry of faces, in plain NumPy.

Coordinates are (x, y), x to the right, y down, pixel centres at integers: the centre of the top-left pixel
is (0, 0) and a picture of width W spans [-0.5, W - 0.5]. Left and right are image sides. A transform is a
2 x 3 array M that takes a source point p to M [x y 1]^T. Conventions and test values: reference/alignment.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manifests.errors import AffectError
from manifests.vocabulary import FIVE_POINTS_MIRROR, LANDMARK_MIRROR, LANDMARK_PARTS

Points = NDArray[np.float64]
"""(..., 2) coordinates in pixels."""
Transform = NDArray[np.float64]
"""(2, 3) affine map in pixels."""

NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT = 30, 48, 54
"""Indices in the 68-point order (landmarks68.md, variant P)."""

_MIRRORS = {5: FIVE_POINTS_MIRROR, 68: LANDMARK_MIRROR}


class DegenerateGeometryError(AffectError):
    """Points or a box that no transform can be made from: coinciding, not finite or without area."""


def similarity(source: ArrayLike, target: ArrayLike) -> Transform:
    """The least-squares rotation, scale and shift that takes source points to target points.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns",
    eq. 40-43; alignment.md section 1.

    Args:
        source: (n, 2) points, n >= 2.
        target: (n, 2) points.

    Raises:
        DegenerateGeometryError: The source points coincide or are not finite.
    """
    points, goal = _pairs(source, target)
    mean_source, mean_target = points.mean(0), goal.mean(0)
    centred, centred_goal = points - mean_source, goal - mean_target
    u, d, vt = np.linalg.svd(centred_goal.T @ centred / len(points))
    e = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * e) @ vt
    scale = (d @ e) / (centred**2).sum(1).mean()
    return _affine(scale * rotation, mean_target - scale * rotation @ mean_source)


def similarity_complex(source: ArrayLike, target: ArrayLike) -> Transform:
    """As `similarity`, from complex numbers instead of an SVD: no reflection is possible, and it is faster.

    With x, y the points as complex numbers, a = sum(conj(xc) yc) / sum(|xc|^2); alignment.md section 1.
    """
    points, goal = _pairs(source, target)
    x, y = points @ (1, 1j), goal @ (1, 1j)
    xc, yc = x - x.mean(), y - y.mean()
    a = np.vdot(xc, yc) / np.vdot(xc, xc).real
    t = y.mean() - a * x.mean()
    return np.array([[a.real, -a.imag, t.real], [a.imag, a.real, t.imag]])


def three_point_affine(source: ArrayLike, target: ArrayLike) -> Transform:
    """The affine map that takes three points exactly onto three; it may shear and stretch, see `anisotropy`.

    Solves M [x y 1]^T = target; alignment.md section 1.

    Raises:
        DegenerateGeometryError: The source points lie on a line or are not finite.
    """
    points, goal = _pairs(source, target)
    if len(points) != 3 or abs(np.linalg.det(np.column_stack([points, np.ones(3)]))) < np.finfo(np.float32).eps:
        raise DegenerateGeometryError(
            "no affine map fits these points", found=f"{points.tolist()}", expected="three points not on a line"
        )
    return np.asarray(np.linalg.solve(np.column_stack([points, np.ones(3)]), goal).T, np.float64)


ANISOTROPY_LIMIT = 1.5
"""D alignment.md: a map that stretches one direction more than this times another is flagged."""


def stretches(transform: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest and smallest stretch of transforms (..., 2, 3): their singular values, crop pixels per source pixel."""
    m = np.asarray(transform, np.float64)
    a, b, c, d = m[..., 0, 0], m[..., 0, 1], m[..., 1, 0], m[..., 1, 1]
    mean, half = np.hypot(a + d, c - b) / 2, np.hypot(a - d, c + b) / 2
    return np.asarray(mean + half), np.asarray(abs(mean - half))


def anisotropy(transform: ArrayLike) -> NDArray[np.float64]:
    """Largest over smallest stretch of transforms (..., 2, 3), 1 for a similarity; inf where one is 0."""
    largest, smallest = stretches(transform)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(smallest > 0, largest / smallest, np.inf), np.float64)


def three_points(landmarks: ArrayLike) -> Points:
    """CMCNN's three points from 68: eye centres (36-41, 42-47) and the mean of the mouth (48-67).

    V thuiar/cmcnn. Args: (..., 68, 2); unknown points NaN. Returns (..., 3, 2), NaN where a needed point is unknown.
    """
    points = np.asarray(landmarks, np.float64)
    parts = [*(list(LANDMARK_PARTS[part]) for part in ("left_eye", "right_eye")), list(range(MOUTH_LEFT, 68))]
    return np.stack([points[..., part, :].mean(-2) for part in parts], axis=-2)


def level_box(points5: ArrayLike, margin: float, size: int) -> Transform:
    """JAA-Net's map: eyes level, square about the five points, the longer side of their box x margin to the crop.

    V PyTorch-JAANet; alignment.md section 2: scale (size - 1) / (2 half), M = [scale R, scale (half - c)].

    Raises:
        DegenerateGeometryError: Points that coincide or are not finite.
    """
    points, rotation = _levelled(points5)
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2, 0.5 * margin * float((high - low).max())
    scale = (size - 1) / (2 * half)
    return _affine(scale * rotation, scale * (half - centre))


def level_square(points5: ArrayLike, size: int) -> Transform:
    """Eyes level; the square of side 2 max(eye distance, eye-to-mouth height) centred midway between eyes and mouth.

    V wtomin. The square's edges go to the crop's edges. Mouth: the mean of its corners.

    Raises:
        DegenerateGeometryError: Points that coincide or are not finite.
    """
    points, rotation = _levelled(points5)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    half = max(float(points[1, 0] - points[0, 0]), abs(float(mouth[1] - eyes[1])))
    centre = (eyes + mouth) / 2
    return compose(box_transform([*(centre - half), *(centre + half)], (size, size)), _affine(rotation, np.zeros(2)))


def oriented_quad(points5: ArrayLike) -> Points:
    """Corners (4, 2) of the FFHQ-style turned square: top left, bottom left, bottom right, top right.

    V LibreFace; Karras et al. 2019; alignment.md section 2.
    """
    points, _ = _pairs(points5, points5)
    eye, eyes, mouth = points[1] - points[0], points[:2].mean(0), points[3:].mean(0)
    down = mouth - eyes
    x = eye - down[::-1] * (-1, 1)
    length = float(np.hypot(*x))
    if not length:
        raise DegenerateGeometryError("no turned square fits these points", found=f"{points.tolist()}")
    x *= max(2.0 * float(np.hypot(*eye)), 1.8 * float(np.hypot(*down))) / length
    y, centre = x[::-1] * (-1, 1), eyes + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def oriented(points5: ArrayLike, size: int) -> Transform:
    """The map of `oriented_quad` onto the edges of a square crop."""
    edge = size - 0.5
    return three_point_affine(oriented_quad(points5)[:3], [(-0.5, -0.5), (-0.5, edge), (edge, edge)])


def centre_crop(box: ArrayLike, shorter: int, size: int) -> Transform:
    """A box resized so that its shorter side has `shorter` pixels, of which the central square of `size` is kept."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    box_transform(box, (size, size))  # refuses a box without area
    half = min(x2 - x1, y2 - y1) / 2 * size / shorter
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    return box_transform([cx - half, cy - half, cx + half, cy + half], (size, size))


def picture_box(width: int, height: int) -> NDArray[np.float64]:
    """The box of a whole picture."""
    return np.array([-0.5, -0.5, width - 0.5, height - 0.5])


def _levelled(points5: ArrayLike) -> tuple[Points, NDArray[np.float64]]:
    """Points turned about the origin so that the first two are level, and the rotation that does it."""
    points, _ = _pairs(points5, points5)
    dx, dy = points[1] - points[0]
    length = float(np.hypot(dx, dy))
    if not length:
        raise DegenerateGeometryError("eyes in one place", found=f"{points[:2].tolist()}", expected="two eyes apart")
    rotation = np.array([[dx, dy], [-dy, dx]]) / length
    return points @ rotation.T, rotation


def coincide(points: ArrayLike) -> bool:
    """Whether points (n, 2) span nothing: all in one place, or not finite."""
    known = np.asarray(points, np.float64)
    spread = ((known - known.mean(0)) ** 2).sum(1).mean()
    return not (np.isfinite(spread) and spread > np.finfo(np.float32).eps)


def _pairs(source: ArrayLike, target: ArrayLike) -> tuple[Points, Points]:
    points, goal = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if points.shape != goal.shape or points.ndim != 2 or points.shape[1] != 2:
        raise DegenerateGeometryError(
            "point sets do not match", found=f"{points.shape} and {goal.shape}", expected="(n, 2)"
        )
    if coincide(points) or not np.isfinite(goal).all():
        raise DegenerateGeometryError(
            "no similarity fits these points", found=f"{points.tolist()}", expected="finite points that differ"
        )
    return points, goal


def resize_transform(source: tuple[int, int], target: tuple[int, int]) -> Transform:
    """The map of a plain resize by the half-pixel rule p' = (p + 0.5) r - 0.5, one factor per axis.

    Args:
        source: (width, height) in pixels.
        target: (width, height) in pixels.
    """
    rx, ry = target[0] / source[0], target[1] / source[1]
    return np.array([[rx, 0.0, (rx - 1) / 2], [0.0, ry, (ry - 1) / 2]])


def box_transform(box: ArrayLike, size: tuple[int, int]) -> Transform:
    """The map that takes a box (x1, y1, x2, y2) onto a whole crop of (width, height) pixels.

    The box's edges go to the crop's edges -0.5 and size - 0.5, so the box (-0.5, -0.5, W - 0.5, H - 0.5)
    of a whole picture gives `resize_transform`.

    Raises:
        DegenerateGeometryError: A box without area.
    """
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    if not (np.isfinite([x1, y1, x2, y2]).all() and x2 > x1 and y2 > y1):
        raise DegenerateGeometryError("a box without area", found=f"{[x1, y1, x2, y2]}", expected="x1 < x2, y1 < y2")
    rx, ry = size[0] / (x2 - x1), size[1] / (y2 - y1)
    return np.array([[rx, 0.0, -0.5 - rx * x1], [0.0, ry, -0.5 - ry * y1]])


def square_box(box: ArrayLike) -> NDArray[np.float64]:
    """The square about the box's centre whose side is the box's longer side."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    cx, cy, half = (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) / 2
    return np.array([cx - half, cy - half, cx + half, cy + half])


def enlarged_box(box: ArrayLike, factor: float) -> NDArray[np.float64]:
    """A box about the same centre whose width and height are `factor` times as large."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    cx, cy, dx, dy = (x1 + x2) / 2, (y1 + y2) / 2, factor * (x2 - x1) / 2, factor * (y2 - y1) / 2
    return np.array([cx - dx, cy - dy, cx + dx, cy + dy])


def centre_square(width: int, height: int) -> NDArray[np.float64]:
    """The largest square box centred in a picture."""
    half = min(width, height) / 2
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return np.array([cx - half, cy - half, cx + half, cy + half])


def apply(transform: ArrayLike, points: ArrayLike) -> Points:
    """Points (..., 2) carried through a transform; unknown (NaN) points stay NaN."""
    m = np.asarray(transform, np.float64)
    return np.asarray(points, np.float64) @ m[:, :2].T + m[:, 2]


def inverse(transform: ArrayLike) -> Transform:
    """The transform that undoes this one.

    Raises:
        DegenerateGeometryError: It maps the plane onto a line or a point.
    """
    m = np.asarray(transform, np.float64)
    if abs(np.linalg.det(m[:, :2])) < np.finfo(np.float64).tiny:
        raise DegenerateGeometryError("a transform that cannot be undone", found=f"{m.tolist()}")
    linear: NDArray[np.float64] = np.asarray(np.linalg.inv(m[:, :2]), np.float64)
    return _affine(linear, -(linear @ m[:, 2]))


def compose(outer: ArrayLike, inner: ArrayLike) -> Transform:
    """The transform that applies `inner` first and `outer` to its result."""
    a, b = np.asarray(outer, np.float64), np.asarray(inner, np.float64)
    return _affine(a[:, :2] @ b[:, :2], a[:, :2] @ b[:, 2] + a[:, 2])


def to_crop(points: ArrayLike, transform: ArrayLike) -> Points:
    """Points of the source picture (landmarks, pupils, box corners) in pixels of the crop."""
    return apply(transform, points)


def to_source(points: ArrayLike, transform: ArrayLike) -> Points:
    """Points of the crop (predictions) in pixels of the source picture."""
    return apply(inverse(transform), points)


def scale(transform: ArrayLike) -> float:
    """Crop pixels per source pixel: the geometric mean over directions."""
    return float(np.sqrt(abs(np.linalg.det(np.asarray(transform, np.float64)[:, :2]))))


def five_points(landmarks: ArrayLike) -> Points:
    """Five points from 68, variant P of landmarks68.md: eye centres, nose tip, mouth corners.

    Args:
        landmarks: (..., 68, 2); unknown points NaN.

    Returns:
        (..., 5, 2) in the order of `vocabulary.FIVE_POINTS`; NaN where a needed point is unknown.
    """
    points = np.asarray(landmarks, np.float64)
    eyes = [points[..., list(LANDMARK_PARTS[part]), :].mean(-2) for part in ("left_eye", "right_eye")]
    rest = [points[..., index, :] for index in (NOSE_TIP, MOUTH_LEFT, MOUTH_RIGHT)]
    return np.stack([*eyes, *rest], axis=-2)


def mirrored(points: ArrayLike, width: int) -> Points:
    """Points of the picture mirrored left to right: x -> W - 1 - x, then names swap sides. An involution.

    Args:
        points: (..., 5, 2) or (..., 68, 2).
        width: Width of the picture in pixels.

    Raises:
        DegenerateGeometryError: Another number of points.
    """
    old = np.asarray(points, np.float64)
    if old.ndim < 2 or old.shape[-2] not in _MIRRORS:
        raise DegenerateGeometryError("no mirror order for these points", found=f"{old.shape}", expected="5 or 68")
    new = old[..., list(_MIRRORS[old.shape[-2]]), :].copy()
    new[..., 0] = width - 1 - new[..., 0]
    return new


def outside_share(transform: ArrayLike, crop: tuple[int, int], source: tuple[int, int]) -> float:
    """Share of the crop's pixels whose centre lies outside the source picture, 0 to 1.

    Args:
        transform: Source to crop.
        crop: (width, height) of the crop.
        source: (width, height) of the source picture.
    """
    back = inverse(transform)
    limits = np.array(source) - 0.5

    def inside(points: Points) -> NDArray[np.bool_]:
        return np.asarray(((points >= -0.5) & (points <= limits)).all(-1))

    w, h = crop
    corners = np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]], np.float64)
    if inside(apply(back, corners)).all():  # a crop is convex: nothing of it can lie outside
        return 0.0
    pixels = np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1)
    return float(1 - inside(apply(back, pixels)).mean())


def _affine(linear: NDArray[np.float64], shift: NDArray[np.float64]) -> Transform:
    return np.column_stack([linear, shift])
