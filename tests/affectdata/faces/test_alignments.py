"""Every alignment name gives the template that alignment.md prints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectdata.faces import geometry
from affectdata.faces.alignments import FIXED, Alignment, Needs, alignment, mean_target
from affectdata.faces.detectors import Face
from affectdata.faces.warp import warped
from manifests.errors import UnknownNameError

POINTS = np.array([(120, 110), (180, 118), (150, 150), (124, 182), (172, 188)], float)


def face(points: np.ndarray) -> Face:
    return Face(None, points, None)


TEMPLATES = {
    "arcface112": "38.2946 51.6963 73.5318 51.5014 56.0252 71.7366 41.5493 92.3655 70.7299 92.2041",
    "arcface128": "46.2946 51.6963 81.5318 51.5014 64.0252 71.7366 49.5493 92.3655 78.7299 92.2041",
    "sphere112x96": "30.2946 51.6963 65.5318 51.5014 48.0252 71.7366 33.5493 92.3655 62.7299 92.2041",
    "fbn96": "32.823943 44.311114 63.027257 44.144057 48.021600 61.488514 35.613686 79.170429 60.625629 79.032086",
    "arcface112_sym": "37.8814 51.59885 73.1186 51.59885 55.5 71.7366 40.9097 92.2848 70.0903 92.2848",
}
"""As printed in alignment.md section 2."""

SIZES = {"arcface112": (112, 112), "arcface128": (128, 128), "sphere112x96": (96, 112), "fbn96": (96, 96)}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_named_template_is_the_printed_one(name: str) -> None:
    printed = [float(number) for number in TEMPLATES[name].split()]
    assert np.ravel(alignment(name).template) == pytest.approx(printed, abs=1e-6)


@pytest.mark.parametrize("name", SIZES)
def test_a_named_alignment_has_the_printed_size(name: str) -> None:
    assert alignment(name).size == SIZES[name]


def test_sizes_scale_the_template_without_a_half_pixel_shift() -> None:
    assert alignment("arcface224").template == pytest.approx(np.array(alignment("arcface112").template) * 2)
    assert alignment("arcface256").template == pytest.approx(np.array(alignment("arcface128").template) * 2)


WORKED = np.array([(100, 100), (160, 104), (131, 136), (108, 166), (152, 168)], float)
"""Points of the worked values of alignment.md section 2."""


def test_jaanet200_gives_the_worked_values() -> None:
    matrix = alignment("jaanet200").transform(face(WORKED), (300, 300))
    printed = [[1.048178, 0.069879, -43.890688], [-0.069879, 1.048178, -32.640249]]
    assert matrix == pytest.approx(np.array(printed), abs=1e-6)
    eyes = geometry.apply(matrix, WORKED[:2])
    assert eyes == pytest.approx(np.array([(67.914917, 65.189655), (131.085083, 65.189655)]), abs=1e-6)
    assert geometry.scale(matrix) == pytest.approx(1.050504, abs=1e-6)
    assert np.degrees(np.arctan2(-matrix[1, 0], matrix[0, 0])) == pytest.approx(3.814075, abs=1e-6)
    assert alignment("jaanet200").border == 128


def test_oriented256_gives_the_worked_corners() -> None:
    printed = [(13.641713, -15.551397), (5.948603, 224.858287), (246.358287, 232.551397), (254.051397, -7.858287)]
    assert geometry.oriented_quad(WORKED) == pytest.approx(np.array(printed), abs=1e-6)
    landed = geometry.apply(alignment("oriented256").transform(face(WORKED), (300, 300)), printed)
    assert landed == pytest.approx(np.array([(-0.5, -0.5), (-0.5, 255.5), (255.5, 255.5), (255.5, -0.5)]), abs=1e-5)


@pytest.mark.parametrize("size", [112, 224])
def test_levelsquare_has_the_worked_side_and_level_eyes(size: int) -> None:
    matrix = alignment(f"levelsquare{size}").transform(face(WORKED), (300, 300))
    assert size / geometry.scale(matrix) == pytest.approx(129.712071, abs=1e-6)
    landed = geometry.apply(matrix, WORKED)
    assert landed[0, 1] == pytest.approx(landed[1, 1])
    assert (landed[:2].mean(0) + landed[3:].mean(0)) / 2 == pytest.approx([(size - 1) / 2] * 2)


BOX = np.array([100.0, 60, 180, 160])


def test_box_alignments_enlarge_the_box_as_they_say() -> None:
    def seen(name: str, box: np.ndarray, picture: tuple[int, int] = (400, 300)) -> list[float]:
        made = alignment(name)
        corners = [[-0.5, -0.5], [made.width - 0.5, made.height - 0.5]]
        return geometry.to_source(corners, made.transform(Face(box, None, None), picture)).ravel().tolist()

    assert seen("hu_box96", BOX) == pytest.approx([92, 50, 188, 170])
    assert seen("hu_box96_wide", BOX) == pytest.approx([84, 40, 196, 180])
    assert seen("emotieff224", BOX) == pytest.approx(BOX.tolist())
    assert seen("pyfeat224", BOX) == pytest.approx([140 - 42, 110 - 52.5, 140 + 42, 110 + 52.5])
    half = 52 * 224 / 256  # box x 1.3 is 104 wide; its shorter side becomes 256
    assert seen("vggface2", BOX) == pytest.approx([140 - half, 110 - half, 140 + half, 110 + half])
    near = seen("vggface2", np.array([0.0, 60, 80, 160]))  # what lies outside the picture is left out first
    assert near[0] + near[2] == pytest.approx(-0.5 + 92)
    assert seen("megraph224", BOX, (512, 512)) == pytest.approx([31.5, 31.5, 479.5, 479.5])


def test_crops_of_the_challenge_are_taken_as_they_are() -> None:
    made = alignment("abaw112")
    assert made.transform(None, (112, 112)) == pytest.approx(np.eye(2, 3))
    with pytest.raises(geometry.DegenerateGeometryError, match="organisers"):
        made.transform(None, (113, 112))


def landmarks(five: np.ndarray, seed: int = 0) -> np.ndarray:
    """68 points whose five points are `five`, the mouth's others scattered about it."""
    points = np.tile(five[2], (68, 1)) + np.random.default_rng(seed).uniform(-3, 3, (68, 2))
    points[36:42], points[42:48], points[48:68] = five[0], five[1], five[3:].mean(0)
    points[30], points[48], points[54] = five[2], five[3], five[4]
    return points


def made_of(name: str) -> Alignment:
    """The alignment of a name, with the mean of two faces for CMCNN's target."""
    return mean_target(name, [(31, 38), (67, 39), (49, 75)], "test") if name.startswith("cmcnn") else alignment(name)


FACED = [*FIXED, "arcface112", "arcface128", "levelsquare112", "resize48", "cmcnn100-p", "cmcnn100_sym-p"]
PICTURE = (320, 280)


@st.composite
def upright_faces(draw: st.DrawFn) -> Face:
    """Faces of any size and place, turned by up to 60 degrees."""
    scale, angle = draw(st.floats(0.3, 3)), draw(st.floats(-1.05, 1.05))
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    shift = np.array([draw(st.floats(60, 260)), draw(st.floats(60, 220))])
    noise = draw(st.lists(st.floats(-2, 2), min_size=10, max_size=10))
    shape = WORKED - WORKED.mean(0) + np.reshape(noise, (5, 2))
    points = shape @ np.array([[a, b], [-b, a]]) + shift
    box = np.concatenate([points.min(0) - 10, points.max(0) + 10])
    return Face(box, points, 0.9, landmarks(points))


def flipped(before: Face, width: int) -> Face:
    x1, y1, x2, y2 = before.box
    mirrored = [geometry.mirrored(points, width) for points in (before.points, before.landmarks)]
    return Face(np.array([width - 1 - x2, y1, width - 1 - x1, y2]), mirrored[0], 0.9, mirrored[1])


def disagreement(made: Alignment, before: Face) -> float:
    """Pixels between aligning then flipping and flipping then aligning, at worst over 68 points."""
    picture = made.size if made.name == "abaw112" else PICTURE
    after = geometry.mirrored(geometry.apply(made.transform(before, picture), before.landmarks), made.width)
    turned = flipped(before, picture[0])
    return float(np.abs(after - geometry.apply(made.transform(turned, picture), turned.landmarks)).max())


@pytest.mark.parametrize("name", FACED)
@settings(max_examples=25, deadline=None)
@given(before=upright_faces())
def test_a_point_mapped_into_the_crop_and_back_moves_less_than_a_hundredth_pixel(name: str, before: Face) -> None:
    made = made_of(name)
    matrix = made.transform(before, made.size if name == "abaw112" else PICTURE)
    back = geometry.to_source(geometry.to_crop(before.landmarks, matrix), matrix)
    assert np.abs(back - before.landmarks).max() < 0.01


@pytest.mark.parametrize("name", [name for name in FACED if made_of(name).symmetric])
@settings(max_examples=25, deadline=None)
@given(before=upright_faces())
def test_symmetric_alignments_and_flips_commute(name: str, before: Face) -> None:
    assert disagreement(made_of(name), before) < 0.05


@pytest.mark.parametrize("name", [name for name in FACED if not made_of(name).symmetric])
def test_the_others_do_not(name: str) -> None:
    assert disagreement(made_of(name), Face(BOX, POINTS, 0.9, landmarks(POINTS))) > 0.1


def test_the_arcface_template_is_off_by_what_the_reference_says() -> None:
    made = alignment("arcface112")
    after = geometry.mirrored(geometry.apply(made.transform(face(POINTS), (300, 300)), POINTS), 112)
    mirrored = geometry.mirrored(POINTS, 300)
    apart = after - geometry.apply(made.transform(face(mirrored), (300, 300)), mirrored)
    assert 1.29 < np.hypot(*apart.T).max() < 1.30  # printed with its third digit cut off: 1.29895


@pytest.mark.parametrize("name", FACED)
def test_a_dot_drawn_on_a_face_lies_in_the_crop_where_its_landmark_goes(name: str) -> None:
    made = made_of(name)
    picture = made.size if name == "abaw112" else PICTURE
    points = POINTS * 0.3 if name == "abaw112" else POINTS
    matrix = made.transform(Face(BOX, points, 0.9, landmarks(points)), picture)
    spot = points[2]
    y, x = np.mgrid[: picture[1], : picture[0]]
    radius = 1.5 / min(1.0, geometry.scale(matrix))
    dot = (255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * radius**2))).round().astype(np.uint8)
    crop = warped(dot, matrix, made.size).astype(float)
    cy, cx = np.mgrid[: made.height, : made.width]
    seen = np.array([(crop * cx).sum(), (crop * cy).sum()]) / crop.sum()
    assert np.hypot(*(seen - geometry.apply(matrix, spot))) < 0.3


@pytest.mark.parametrize("name", FACED)
def test_the_text_of_an_alignment_is_the_same_in_every_process_and_of_no_other(name: str) -> None:
    assert " at 0x" not in repr(made_of(name))
    assert sum(repr(made_of(name)) == repr(made_of(other)) for other in FACED) == 1


@pytest.mark.parametrize(("name", "what"), [("hu_box96", "a box"), ("jaanet200", "five points"), ("cmcnn100-p", "68")])
def test_what_a_face_lacks_is_named(name: str, what: str) -> None:
    with pytest.raises(geometry.DegenerateGeometryError, match=what):
        made_of(name).transform(Face(None, None, None), PICTURE)


def test_resize_takes_the_whole_picture_and_needs_no_points() -> None:
    made = alignment("resize48")
    assert made.needs is Needs.NOTHING
    corners = [[-0.5, -0.5], [199.5, 99.5]]
    assert geometry.apply(made.transform(None, (200, 100)), corners) == pytest.approx(
        np.array([[-0.5, -0.5], [47.5, 47.5]])
    )


def test_missing_points_are_refused_with_the_reason() -> None:
    with pytest.raises(geometry.DegenerateGeometryError):
        alignment("arcface112").transform(None, (100, 100))


@pytest.mark.parametrize("name", ["arcface111", "arcface0", "resize0", "resize", "fbn97", "arcface112x", "../x", ""])
def test_an_unknown_alignment_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match="fbn96"):
        alignment(name)
