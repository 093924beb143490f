"""Measures of a face say what they promise, in their units, and a mirror changes just what it must."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import cv2
import duckdb
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from affectdata.faces import geometry
from affectdata.faces.detectors import Face
from affectdata.faces.measures import (
    CANONICAL,
    FACE_MODEL,
    SIDE,
    Measures,
    Pose,
    canonical_face,
    face_size,
    measures,
    perceptual_hash,
    pose,
    sharpness,
)
from affectdata.faces.warp import warped
from affectdata.media import decode, decode_bytes
from affectdata.synthetic.face import draw_parameters, render
from manifests.schema import FACES


def turned(roll: float, yaw: float, pitch: float) -> np.ndarray:
    """Five points of the model head, turned, seen from far: first pitch, then yaw, then roll."""
    r, a, b = np.radians([roll, -yaw, -pitch])
    rz = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    ry = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rx = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return 10 * (np.array(FACE_MODEL) @ (rz @ ry @ rx).T)[:, :2] + 200


def bits(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


ANGLE = st.floats(-85, 85)
POINTS = st.lists(st.tuples(st.floats(0, 400), st.floats(0, 400)), min_size=5, max_size=5).map(np.array)


@given(roll=st.floats(-175, 175), yaw=ANGLE, pitch=ANGLE)
def test_the_pose_of_the_model_head_is_found(roll: float, yaw: float, pitch: float) -> None:
    found = pose(turned(roll, yaw, pitch))
    assert (found.roll, found.yaw, found.pitch) == pytest.approx((roll, yaw, pitch), abs=1e-4)


def test_angles_have_the_signs_that_are_documented() -> None:
    straight = turned(0, 0, 0)
    nose = straight[2] - straight[[0, 1]].mean(0)
    assert turned(10, 0, 0)[1, 1] > turned(10, 0, 0)[0, 1]  # image-right eye lower
    assert (turned(0, 20, 0)[2] - turned(0, 20, 0)[[0, 1]].mean(0))[0] > nose[0]  # nose to the image's right
    assert (turned(0, 0, 20)[2] - turned(0, 0, 20)[[0, 1]].mean(0))[1] < nose[1]  # nose up


@given(POINTS, st.integers(401, 900))
def test_a_mirror_changes_the_sign_of_roll_and_yaw_alone(points: np.ndarray, width: int) -> None:
    assume(np.linalg.svd(points - points.mean(0), compute_uv=False)[1] > 1)
    found, mirrored = pose(points), pose(geometry.mirrored(points, width))
    assume(found is not None and mirrored is not None)
    assume(abs(found.yaw) < 89 and abs(abs(found.pitch) - 180) > 1 and abs(abs(found.roll) - 180) > 1)
    assert (mirrored.roll, mirrored.yaw, mirrored.pitch) == pytest.approx(
        (-found.roll, -found.yaw, found.pitch), abs=1e-4
    )


@given(st.floats(0.2, 5), st.floats(-300, 300))
def test_pose_depends_on_neither_size_nor_place(scale: float, shift: float) -> None:
    points = turned(5, 20, -10)
    assert list(asdict(pose(points * scale + shift)).values()) == pytest.approx([5, 20, -10], abs=1e-4)


def test_points_on_a_line_have_no_pose_and_no_points_give_no_measure_of_them() -> None:
    line = np.column_stack([np.arange(5.0), np.zeros(5)]) * 10
    assert pose(line) is None
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    for points in (None, np.full((5, 2), 7.0), np.full((5, 2), np.nan)):
        found = measures(picture, Face(np.array([10.0, 10, 30, 50]), points, None))
        assert (found.eye_distance, found.roll, found.yaw, found.pitch) == (None,) * 4
        assert found.face_size == pytest.approx(np.sqrt(20 * 40))
        assert found.sharpness > 0
    whole = measures(picture, Face(None, None, None))
    assert whole.face_size is None
    boxed = canonical_face(picture, np.array([-0.5, -0.5, 59.5, 59.5]), None)
    assert np.abs(canonical_face(picture, None, None)[2:-2, 2:-2].astype(int) - boxed[2:-2, 2:-2]).max() <= 1


def test_every_measure_is_a_column_of_the_faces_layer() -> None:
    assert {field.name for field in fields(Measures)} <= set(FACES.names)
    assert {field.name for field in fields(Pose)} <= {field.name for field in fields(Measures)}


def test_a_box_without_area_has_no_size() -> None:
    assert face_size(None) is None
    assert face_size(np.array([5.0, 5, 5, 9])) is None
    assert face_size(np.array([0.0, 0, np.nan, 9])) is None


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    padded = np.pad(grey.astype(np.float64), 1, mode="reflect")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    assert sharpness(grey) == pytest.approx(laplacian.var(), rel=1e-6)


def drawn(seed: int) -> np.ndarray:
    picture = render(draw_parameters(np.random.default_rng(seed), "happiness"), 160)
    return cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY)


def test_blur_and_enlargement_lower_sharpness() -> None:
    grey = drawn(1)
    small = cv2.resize(grey, (40, 40), interpolation=cv2.INTER_AREA)
    sharp, soft, enlarged = (
        sharpness(canonical_face(p, None, None)) for p in (grey, cv2.GaussianBlur(grey, (0, 0), 3), small)
    )
    assert sharp > 2 * soft
    assert sharp > 2 * enlarged


def test_the_hash_follows_its_definition() -> None:
    grey = drawn(2)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    n = np.arange(32)
    basis = np.cos(np.pi * (2 * n[None] + 1) * n[:, None] / 64)
    low = (basis @ small @ basis.T)[1:9, 1:9]  # orthonormal scale is one positive factor beyond frequency 0
    expected = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    assert f"{int(perceptual_hash(grey), 16):064b}" == expected


@pytest.mark.parametrize("quality", [95, 70, 40])
def test_the_hash_survives_recompression_resizing_and_brightness(quality: int) -> None:
    for seed in range(4):
        grey = canonical_face(drawn(seed), None, None)
        before = perceptual_hash(grey)
        jpeg = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        assert bits(before, perceptual_hash(decode_bytes(jpeg, "x", gray=True))) <= 4
        assert bits(before, perceptual_hash(cv2.resize(grey, (80, 80), interpolation=cv2.INTER_AREA))) <= 4
        assert bits(before, perceptual_hash(np.uint8(grey * 0.7 + 30))) <= 4


def test_different_pictures_differ_in_many_bits_and_a_flat_one_hashes_to_zero() -> None:
    noise = [np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), np.uint8) for seed in range(5)]
    hashes = [perceptual_hash(cv2.GaussianBlur(picture, (0, 0), 8)) for picture in noise]
    assert min(bits(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 12
    assert perceptual_hash(np.full((SIDE, SIDE), 90, np.uint8)) == "0" * 16


def test_sql_counts_the_bits_in_which_two_hashes_differ() -> None:
    query = "select bit_count(xor(('0x' || a)::ubigint, ('0x' || b)::ubigint)) from (values (?, ?)) t(a, b)"
    assert duckdb.execute(query, ["ff00000000000001", "0f00000000000000"]).fetchone() == (5,)


def test_a_mirrored_picture_gives_the_mirrored_face() -> None:
    rng = np.random.default_rng(3)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (200, 240), np.uint8), (0, 0), 2)
    points = geometry.apply([[1.2, 0.1, 20], [-0.1, 1.2, 30]], CANONICAL)
    one = canonical_face(picture, None, points)
    other = canonical_face(picture[:, ::-1].copy(), None, geometry.mirrored(points, 240))
    assert np.abs(one[:, ::-1].astype(int) - other).mean() < 1


def test_real_faces_are_close_to_frontal_and_their_hashes_survive_recompression(shared: Path) -> None:
    root = shared / "data" / "london_faces"
    eyes = np.loadtxt(root / "pupils.csv", delimiter=",", skiprows=1, usecols=(1, 2, 3, 4), max_rows=12)
    names = np.loadtxt(root / "pupils.csv", delimiter=",", skiprows=1, usecols=0, max_rows=12, dtype=str)
    for name, row in zip(names, eyes, strict=True):
        picture = decode(root, str(name))
        # Points of the template brought to the hand-marked pupils: what is tested is the hash, not a detector.
        points = geometry.apply(geometry.similarity(CANONICAL[:2], row.reshape(2, 2)), CANONICAL)
        jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes()
        one, other = (measures(p, Face(None, points, None)) for p in (picture, decode_bytes(jpeg, "x")))
        assert bits(one.perceptual_hash, other.perceptual_hash) <= 4
        assert abs(one.roll) < 8
        assert abs(one.yaw) < 1
        assert one.eye_distance == pytest.approx(np.hypot(*(row[2:] - row[:2])))
        assert warped(picture, geometry.similarity(points, CANONICAL), (SIDE, SIDE)).shape == (SIDE, SIDE, 3)
