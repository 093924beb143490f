"""Picture and landmarks of a synthetic face agree, and nothing but the face tells the label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from affectdata.synthetic.actions import BASIC, DRAWN_AUS, Acting, acting
from affectdata.synthetic.face import (
    Identity,
    Parameters,
    draw_parameters,
    landmarks_of,
    mirrored_landmarks,
    render,
)
from affectdata.synthetic.head import Look
from affectdata.synthetic.scene import DIM, Domain
from affectdata.synthetic.scene import PLAIN as EVEN
from affectdata.synthetic.shape import Build, Pose, acted_shape, resting_shape
from manifests.vocabulary import LANDMARK_MIRROR

SEEDS = st.integers(0, 2**32 - 1)
DOMAINS = st.sampled_from((EVEN, DIM))
PLAIN = Parameters(identity=Identity(Build(), Look(hair_style="bald", skin=(232, 190, 152), age=0.0, lips=1.0)))
ANY_ACTING = st.builds(
    lambda levels: Acting("neutral", tuple(map(float, levels))),
    st.lists(st.integers(0, 5), min_size=len(DRAWN_AUS), max_size=len(DRAWN_AUS)),
)


def _acted(**levels: float) -> Parameters:
    return replace(PLAIN, acting=acting("neutral", {int(name[2:]): level for name, level in levels.items()}))


def _heights(parameters: Parameters, points: list[int]) -> float:
    return float(landmarks_of(parameters)[points, 1].mean())


@pytest.mark.parametrize(
    ("au", "points", "direction"),
    [
        (1, [21, 22], -1),
        (2, [17, 18, 25, 26], -1),
        (4, [20, 21, 22, 23], 1),
        (5, [37, 38, 43, 44], -1),
        (6, [40, 41, 46, 47], -1),
        (7, [37, 38, 43, 44], 1),
        (9, [31, 35], -1),
        (10, [50, 51, 52], -1),
        (12, [48, 54], -1),
        (15, [48, 54], 1),
        (17, [8, 57], -1),
        (24, [57], -1),
        (25, [57, 66], 1),
        (26, [8, 57], 1),
    ],
)
def test_an_au_moves_its_landmarks_the_way_it_is_named(au: int, points: list[int], direction: int) -> None:
    heights = [_heights(_acted(**{f"au{au}": level}), points) for level in (0, 2, 5)]
    assert np.all(np.diff(heights) * direction > 0.2)


@pytest.mark.parametrize(("au", "sign"), [(12, 1), (14, 1), (20, 1), (23, -1)])
def test_aus_that_widen_or_narrow_the_mouth_do(au: int, sign: int) -> None:
    widths = [float(np.ptp(landmarks_of(_acted(**{f"au{au}": level}))[48:60, 0])) for level in (0, 5)]
    assert sign * (widths[1] - widths[0]) > 2


@pytest.mark.parametrize("au", DRAWN_AUS)
def test_every_au_changes_the_picture(au: int) -> None:
    rest, moved = render(_acted()).image, render(_acted(**{f"au{au}": 5})).image
    changed = np.abs(rest.astype(int) - moved.astype(int)).max(axis=2) > 20
    assert changed.sum() > 25


@settings(deadline=None)
@given(ANY_ACTING, SEEDS)
def test_lids_never_cross_and_lips_keep_a_rim(acted: Acting, seed: int) -> None:
    build = draw_parameters(np.random.default_rng(seed)).identity.build
    y = acted_shape(resting_shape(build), acted)[:, 1]
    lids = ((37, 41), (38, 40), (43, 47), (44, 46))
    lips = ((49, 61), (50, 61), (51, 62), (61, 67), (62, 66), (63, 65), (66, 57), (67, 58), (67, 59))
    for above, below in (*lids, *lips):
        assert y[below] > y[above]


@settings(deadline=None)
@given(SEEDS, DOMAINS)
def test_mirrored_parameters_give_mirrored_landmarks(seed: int, domain: Domain) -> None:
    parameters = draw_parameters(np.random.default_rng(seed), domain=domain)
    mirrored = mirrored_landmarks(landmarks_of(parameters), 160)
    np.testing.assert_allclose(landmarks_of(parameters.mirrored()), mirrored, atol=1e-3)
    assert parameters.mirrored().mirrored() == parameters


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_mirrored_parameters_give_the_mirrored_picture(seed: int) -> None:
    parameters = draw_parameters(np.random.default_rng(seed))
    still = replace(parameters, scene=replace(parameters.scene, noise=0.0, texture=0.0), gaze=(0.0, 0.0))
    flipped = render(still).image[:, ::-1].astype(int)
    difference = np.abs(render(still.mirrored()).image.astype(int) - flipped)
    # The highlight of each eye lies on the side of the light, not of the face: a few pixels differ.
    assert difference.mean() < 1.5


def test_a_face_without_asymmetry_is_symmetric() -> None:
    shape = resting_shape(Build())
    np.testing.assert_allclose(shape[list(LANDMARK_MIRROR)] * (-1, 1, 1), shape, atol=1e-12)


def _colour_at(image: NDArray[np.uint8], point: NDArray[np.float32]) -> NDArray[np.int64]:
    x, y = np.rint(point).astype(int)
    return image[y, x].astype(np.int64)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from(BASIC), DOMAINS)
def test_lip_pixels_lie_between_the_outer_and_the_inner_lip_points(seed: int, category: str, domain: Domain) -> None:
    drawn = draw_parameters(np.random.default_rng(seed), category, PLAIN.identity, domain)
    face = render(replace(drawn, scene=PLAIN.scene, pose=replace(drawn.pose, yaw=0.0)))
    marks = face.landmarks
    below_lip = _colour_at(face.image, marks[57] + 1.6 * (marks[57] - marks[66]))
    lip = _colour_at(face.image, (marks[57] + marks[66]) / 2)
    # Lips are redder than the skin around them: less green for their red.
    assert lip[0] / max(1, lip[1]) > 1.15 * below_lip[0] / max(1, below_lip[1])


@pytest.mark.parametrize("domain", [EVEN, DIM], ids=["even", "dim"])
@pytest.mark.parametrize("category", BASIC)
def test_brow_pixels_lie_on_the_brow_points(category: str, domain: Domain) -> None:
    drawn = draw_parameters(np.random.default_rng(11), category, PLAIN.identity, domain)
    face = render(replace(drawn, scene=PLAIN.scene))
    skin = float(np.mean(PLAIN.identity.look.skin))
    for point in face.landmarks[[18, 19, 20, 23, 24, 25]]:
        assert _colour_at(face.image, point).mean() < 0.62 * skin


def test_an_open_mouth_is_dark_or_toothed_and_a_closed_one_is_not() -> None:
    opened = render(_acted(au25=5, au26=5))
    middle = (opened.landmarks[62] + opened.landmarks[66]) / 2
    teeth = 0.85 * opened.landmarks[62] + 0.15 * opened.landmarks[66]
    assert _colour_at(opened.image, middle).mean() < 90
    assert _colour_at(opened.image, teeth).mean() > 170


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from((48, 96, 100, 160)))
def test_the_same_parameters_give_the_same_bytes(seed: int, size: int) -> None:
    first, second = (render(draw_parameters(np.random.default_rng(seed)), size) for _ in range(2))
    assert first.image.shape == (size, size, 3)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.landmarks.tobytes() == second.landmarks.tobytes()
    assert (first.acting, first.valence, first.arousal) == (second.acting, second.valence, second.arousal)


@settings(deadline=None)
@given(SEEDS, DOMAINS)
def test_the_whole_face_lies_inside_the_picture(seed: int, domain: Domain) -> None:
    marks = landmarks_of(draw_parameters(np.random.default_rng(seed), domain=domain))
    assert marks.min() > 0
    assert marks.max() < 159


def test_person_pose_and_light_are_drawn_the_same_way_for_every_expression() -> None:
    moments = []
    for category in BASIC:
        rng = np.random.default_rng(5)
        faces = [draw_parameters(rng, category) for _ in range(400)]
        moments.append(
            [
                (p.pose.roll / 6, p.pose.yaw / 8, p.pose.scale / 0.02, p.pose.dx / 0.03, p.scene.gain / 0.1,
                 p.scene.noise / 1.5, p.identity.look.skin[0] / 40, p.identity.build.mouth_width / 0.07)
                for p in faces
            ]
        )  # fmt: skip
    means = np.array(moments).mean(axis=1)
    # Each quantity is scaled to a spread of about 1, so a mean of 400 is known to 0.05.
    assert np.ptp(means, axis=0).max() < 0.35


def test_landmarks_follow_the_size_of_the_picture() -> None:
    large, small = landmarks_of(PLAIN, 192), landmarks_of(PLAIN, 48)
    np.testing.assert_allclose((large + 0.5) / 4 - 0.5, small, atol=1e-4)


@settings(deadline=None)
@given(SEEDS, st.sampled_from(BASIC))
def test_a_domain_changes_no_label_of_what_is_acted(seed: int, category: str) -> None:
    even, dim = (draw_parameters(np.random.default_rng(seed), category, domain=domain) for domain in (EVEN, DIM))
    assert even.acting == dim.acting
    assert even.identity == dim.identity
    face = replace(dim, pose=even.pose)
    np.testing.assert_array_equal(landmarks_of(face), landmarks_of(even))


@pytest.mark.parametrize(("domain", "least"), [(EVEN, 38), (DIM, 32)], ids=["even", "dim"])
def test_yunet_finds_the_faces_and_their_eyes(shared: Path, domain: Domain, least: int) -> None:
    detector = cv2.FaceDetectorYN.create(str(shared / "weights" / "yunet.onnx"), "", (160, 160), 0.6)
    rng = np.random.default_rng(2)
    faces = [render(draw_parameters(rng, domain=domain)) for _ in range(40)]
    found = 0
    for face in faces:
        _, seen = detector.detect(cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR))
        if seen is None:
            continue
        eyes = np.array([face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0)])
        error = np.hypot(*(seen[0, 4:8].reshape(2, 2) - eyes).T).mean() / np.hypot(*(eyes[1] - eyes[0]))
        found += bool(error < 0.2)
    assert found >= least


def test_a_pose_moves_the_middle_of_the_face_where_it_says() -> None:
    moved = replace(PLAIN, pose=Pose(dx=0.1, dy=-0.05))
    shift = landmarks_of(moved) - landmarks_of(PLAIN)
    np.testing.assert_allclose(shift, np.tile((16.0, -8.0), (68, 1)), atol=1e-3)
