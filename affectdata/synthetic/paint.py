"""Painting a synthetic face from its 68 placed landmarks: what is drawn lies where the landmarks say."""

from __future__ import annotations

import cv2
import numpy as np

from affectdata.synthetic.actions import Acting
from affectdata.synthetic.brush import (
    Colour,
    Picture,
    band,
    between,
    curve_through,
    ellipse,
    fill,
    mixed,
    scaled,
    stroke,
)
from affectdata.synthetic.head import Look, Stage


def paint_face(picture: Picture, on: Stage, look: Look, acted: Acting) -> None:
    """Paint head, features and the wrinkles of the acted AUs over a background, in place.

    Args:
        picture: uint8 RGB [size, size, 3].
    """
    head = curve_through(on.outline, closed=True)
    _paint_back(picture, on, look)
    fill(picture, head, look.skin)
    _paint_shades(picture, on, acted)
    _paint_folds(picture, on, look, acted)
    _paint_nose(picture, on, look)
    _paint_mouth(picture, on, look)
    for eye in (0, 1):
        _paint_eye(picture, on, look, eye)
    _paint_brows(picture, on, look)
    _paint_hair(picture, on, look)
    if look.glasses:
        _paint_glasses(picture, on)


def _paint_back(picture: Picture, on: Stage, look: Look) -> None:
    if look.hair_style == "long":
        turns = ((1, 0.22, 0.0), (3, 0.34, 0.3), (4, 0.1, 0.75))
        low = [on.at(index, -x, y) for index, x, y in turns] + [on.at(16 - index, x, y) for index, x, y in turns[::-1]]
        fill(picture, curve_through(np.concatenate([on.crown, low]), closed=True), scaled(look.hair, 0.8))
    fill(picture, on.neck[[0, 1, 6, 7]], scaled(look.skin, 0.78))
    fill(picture, on.neck[[1, 2, 3, 4, 5, 6]], look.shirt)
    for index, side in ((1, -1.0), (15, 1.0)):
        fill(picture, ellipse(on.at(index, side * 0.03, 0.0), 0.14 * on.right, 0.28 * on.down), scaled(look.skin, 0.9))


def _paint_shades(picture: Picture, on: Stage, acted: Acting) -> None:
    """Soft relief: one grey layer (128 = no change), blurred, multiplied into the picture."""
    relief = np.full(picture.shape[:2], 128, np.uint8)
    stroke(relief, curve_through(on.outline, closed=True), 96, 0.22 * on.unit, closed=True)
    for inner, outer, side in ((39, 36, -1.0), (42, 45, 1.0)):
        socket = (on.points[inner] + on.points[outer]) / 2
        fill(relief, ellipse(socket - 0.1 * on.down, 0.36 * on.right, 0.24 * on.down), 112)
        fill(relief, ellipse(on.at(33, side * 0.62, -0.28), 0.27 * on.right, 0.2 * on.down), 138)
    squint = max(acted.intensity(6), 0.6 * acted.intensity(9)) / 5
    for index, side in ((41, -1.0), (46, 1.0)):
        fill(relief, ellipse(on.at(index, side * 0.08, 0.3), 0.34 * on.right, 0.15 * on.down), 128 + 24 * squint)
        stroke(
            relief, np.array([on.at(index, -0.26, 0.13), on.at(index, 0.26, 0.13)]), 128 - 44 * squint, 0.07 * on.unit
        )
    ridge = curve_through(on.points[27:31])
    fill(relief, band(ridge - 0.11 * on.right, ridge - 0.03 * on.right), 118)
    fill(relief, band(ridge + 0.03 * on.right, ridge + 0.11 * on.right), 118)
    stroke(relief, ridge, 142, 0.06 * on.unit)
    fill(relief, ellipse(on.at(57, 0, 0.12), 0.24 * on.right, 0.07 * on.down), 110 - 5 * acted.intensity(17))
    fill(relief, ellipse(on.at(8, 0, -0.24), 0.22 * on.right, 0.12 * on.down), 136 + 3 * acted.intensity(17))
    press = acted.intensity(24) / 5
    for index, dy in ((51, -0.06), (57, 0.06)):
        fill(relief, ellipse(on.at(index, 0, dy), 0.26 * on.right, 0.05 * on.down), 128 + 16 * press)
    cv2.GaussianBlur(relief, (0, 0), 0.07 * on.unit, dst=relief)
    cv2.multiply(picture, cv2.merge([relief] * 3), dst=picture, scale=1 / 128)


def _fold(look: Look, share: float) -> Colour:
    return mixed(look.skin, scaled(look.skin, 0.45), min(1.0, share))


def _paint_folds(picture: Picture, on: Stage, look: Look, acted: Acting) -> None:
    """Furrows: the faint ones of the person's age, and those that AUs carve."""
    fine, broad = 0.03 * on.unit, 0.045 * on.unit
    cheek = 0.10 + 0.25 * look.age + max(acted.intensity(12), acted.intensity(10), acted.intensity(9)) / 9
    for nose, mouth, s in ((31, 48, -1.0), (35, 54, 1.0)):
        ends = np.array([on.at(nose, s * 0.10, -0.06), on.at(nose, s * 0.26, 0.14), on.at(mouth, s * 0.15, -0.04)])
        stroke(picture, curve_through(ends), _fold(look, cheek), broad)
    furrow = acted.intensity(4) / 5
    if furrow:
        for index, s in ((21, -1.0), (22, 1.0)):
            ends = np.array([on.at(index, s * -0.09, -0.10), on.at(index, s * -0.07, 0.14)])
            stroke(picture, ends, _fold(look, 0.2 + 0.8 * furrow), broad)
    wrinkle = acted.intensity(9) / 5
    if wrinkle:
        for y, width in ((0.06, 0.14), (0.16, 0.17), (0.26, 0.15)):
            ends = np.array([on.at(27, -width, y + 0.05), on.at(27, 0, y - 0.02), on.at(27, width, y + 0.05)])
            stroke(picture, curve_through(ends), _fold(look, 0.2 + 0.7 * wrinkle), fine)
    crow = acted.intensity(6) / 5
    if crow:
        for index, s in ((36, -1.0), (45, 1.0)):
            for dy in (-0.10, 0.0, 0.10):
                ends = np.array([on.at(index, s * 0.07, dy * 0.6), on.at(index, s * 0.22, dy * 1.6)])
                stroke(picture, ends, _fold(look, 0.15 + 0.7 * crow), fine)
    _paint_forehead(picture, on, look, acted)
    dimple = acted.intensity(14) / 5
    if dimple:
        for index, s in ((48, -1.0), (54, 1.0)):
            ends = np.array([on.at(index, s * 0.05, -0.11), on.at(index, s * 0.10, 0.0), on.at(index, s * 0.05, 0.11)])
            stroke(picture, curve_through(ends), _fold(look, 0.3 + 0.7 * dimple), broad)


def _paint_forehead(picture: Picture, on: Stage, look: Look, acted: Acting) -> None:
    for au, outer, inner in ((1, 0.0, 0.30), (2, 0.42, 0.80)):
        raised = acted.intensity(au) / 5
        share = 0.2 * look.age + 0.6 * raised
        if share < 0.1:
            continue
        for lift in (0.20, 0.32):
            for side in (-1.0, 1.0):
                spots = [side * outer, side * (outer + inner) / 2, side * inner]
                middle = (on.rest[21] + on.rest[22]) / 2
                line = np.array([middle + x * on.right - (lift + 0.02 * k) * on.down for k, x in enumerate(spots)])
                stroke(picture, curve_through(line), _fold(look, share), 0.03 * on.unit)


def _paint_nose(picture: Picture, on: Stage, look: Look) -> None:
    shadow = _fold(look, 0.55)
    base = curve_through(on.points[31:36])
    stroke(picture, base, shadow, 0.045 * on.unit)
    for index, outer, inner, s in ((32, 31, 32, -1.0), (34, 35, 34, 1.0)):
        wing = np.array([on.at(outer, s * 0.01, -0.12), on.at(outer, s * 0.05, -0.02), on.at(inner, 0, 0.0)])
        stroke(picture, curve_through(wing), shadow, 0.04 * on.unit)
        nostril = ellipse(on.at(index, s * 0.01, -0.015), 0.06 * on.right, 0.03 * on.down)
        fill(picture, nostril, _fold(look, 1.15))


def _paint_mouth(picture: Picture, on: Stage, look: Look) -> None:
    marks = on.points
    outer_top, outer_low = curve_through(marks[48:55]), curve_through(marks[[48, 59, 58, 57, 56, 55, 54]])
    inner_top, inner_low = curve_through(marks[60:65]), curve_through(marks[[60, 67, 66, 65, 64]])
    lip = mixed(mixed(look.skin, (176, 66, 70), 0.35 + 0.5 * look.lips), (60, 20, 24), 0.06)
    gap = np.hypot(*(inner_low - inner_top).T) / on.unit
    fill(picture, np.concatenate([outer_top, outer_low[::-1]]), lip)
    fill(picture, np.concatenate([outer_top, inner_top[::-1]]), scaled(lip, 0.86))
    if gap.max() > 0.05:
        fill(picture, band(inner_top, inner_low), (58, 18, 22))
        with np.errstate(divide="ignore"):
            teeth = np.minimum(0.85, 0.12 / gap)
        fill(picture, band(inner_top, between(inner_top, inner_low, teeth)), (238, 234, 224))
        if gap.max() > 0.22:
            fill(picture, band(between(inner_top, inner_low, 0.72), inner_low), (188, 84, 88))
    line = (70, 26, 28) if look.skin[0] > 130 else (40, 16, 16)
    if gap.max() <= 0.05:
        stroke(picture, between(inner_top, inner_low, 0.5), line, 0.04 * on.unit)
    stroke(picture, np.array([marks[48], marks[60]]), line, 0.04 * on.unit)
    stroke(picture, np.array([marks[64], marks[54]]), line, 0.04 * on.unit)


def _paint_eye(picture: Picture, on: Stage, look: Look, eye: int) -> None:
    ring = on.points[36 + 6 * eye : 42 + 6 * eye]
    upper, lower = curve_through(ring[:4]), curve_through(ring[[0, 5, 4, 3]])
    outline = band(upper, lower)
    reach = 0.25 * on.unit
    low = np.maximum(np.floor(outline.min(axis=0) - 2).astype(int), 0)
    high = np.minimum(np.ceil(outline.max(axis=0) + 3).astype(int), picture.shape[1::-1])
    if (high <= low).any():
        return
    window = picture[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(window.shape[:2], np.uint8)
    fill(mask, outline - low, 255)
    ball = np.empty_like(window)
    ball[:] = (240, 238, 234)
    centre = on.pupils[eye] - low
    for radius, colour in ((0.82, scaled(look.iris, 0.6)), (0.68, look.iris), (0.36, (14, 12, 12))):
        fill(ball, ellipse(centre, radius * 0.72 * reach * _X, radius * 0.72 * reach * _Y), colour)
    fill(ball, ellipse(centre - 0.22 * reach * (_X + _Y), 0.14 * reach * _X, 0.14 * reach * _Y), (250, 250, 250))
    stroke(ball, upper - low, (150, 140, 140), 0.06 * on.unit)
    share = mask[..., None].astype(np.float32) / 255
    window[:] = np.rint(window * (1 - share) + ball * share).astype(np.uint8)
    crease = upper - (0.075 + 0.02 * np.sin(np.linspace(0, np.pi, len(upper))))[:, None] * on.down
    stroke(picture, crease[2:-1], _fold(look, 0.5), 0.03 * on.unit)
    stroke(picture, lower, _fold(look, 0.6), 0.03 * on.unit)
    stroke(picture, upper, (34, 24, 22), 0.06 * on.unit)


_X, _Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def _paint_brows(picture: Picture, on: Stage, look: Look) -> None:
    colour = mixed(scaled(look.hair, 0.75), look.skin, 0.15)
    for brow in (on.points[17:22], on.points[26:21:-1]):
        ridge = curve_through(brow)
        run = np.linspace(0, 1, len(ridge))
        half = (0.018 + 0.038 * np.minimum(1, 1.6 * run)) * look.brow_thickness
        fill(picture, band(ridge - half[:, None] * on.down, ridge + half[:, None] * on.down), colour)


def _paint_hair(picture: Picture, on: Stage, look: Look) -> None:
    if look.hair_style == "bald":
        return
    depth = {"short": 0.22, "long": 0.26, "fringe": 0.42}[look.hair_style]
    forehead = on.outline[17:]
    run = np.linspace(1, -1, len(forehead))
    drop = depth * np.clip(1 - 0.5 * np.abs(run - 0.8 * look.parting), 0.25, 1)
    drop[[0, -1]] = 0.12
    hairline = curve_through(forehead + drop[:, None] * on.down)
    fill(picture, band(curve_through(on.crown), hairline), look.hair)
    for share in (0.3, 0.6):
        line = between(curve_through(on.crown), hairline, share)
        stroke(picture, line[4:-4], scaled(look.hair, 1.12), 0.03 * on.unit)


def _paint_glasses(picture: Picture, on: Stage) -> None:
    rims = [on.rest[36:42].mean(axis=0), on.rest[42:48].mean(axis=0)]
    for centre in rims:
        outline = ellipse(centre + 0.03 * on.down, 0.42 * on.right, 0.32 * on.down)
        stroke(picture, outline, (40, 36, 36), 0.035 * on.unit, closed=True)
    stroke(picture, np.array([rims[0] + 0.42 * on.right, rims[1] - 0.42 * on.right]), (40, 36, 36), 0.035 * on.unit)
