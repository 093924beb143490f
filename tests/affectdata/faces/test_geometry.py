"""Geometry follows alignment.md to 1e-5, and its maps undo and compose as maps should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectdata.faces import geometry
from affectdata.faces.alignments import ARCFACE_112
from manifests.vocabulary import LANDMARK_MIRROR

POINTS = np.array([(120, 110), (180, 118), (150, 150), (124, 182), (172, 188)], float)
"""Test points of alignment.md section 1."""

MATRIX = np.array([[0.577082, 0.041727, -36.316826], [-0.041727, 0.577082, -8.204925]])


@st.composite
def similarities(draw: st.DrawFn) -> np.ndarray:
    scale = draw(st.floats(0.02, 20))
    angle = draw(st.floats(-np.pi, np.pi))
    shift = draw(st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)))
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[a, -b, shift[0]], [b, a, shift[1]]])


def points(count: int) -> st.SearchStrategy[np.ndarray]:
    coordinate = st.floats(-500, 5000, allow_nan=False)
    return st.lists(st.tuples(coordinate, coordinate), min_size=count, max_size=count).map(np.array)


@pytest.mark.parametrize("fit", [geometry.similarity, geometry.similarity_complex])
def test_the_similarity_of_the_reference_points_is_the_reference_matrix(fit) -> None:
    matrix = fit(POINTS, ARCFACE_112)
    assert matrix == pytest.approx(MATRIX, abs=1e-5)
    assert geometry.scale(matrix) == pytest.approx(0.578588, abs=1e-6)
    residual = geometry.apply(matrix, POINTS) - ARCFACE_112
    assert np.sqrt((residual**2).sum(1).mean()) == pytest.approx(1.254063, abs=1e-5)


@given(similarities(), points(5))
def test_svd_and_complex_form_agree_and_recover_a_similarity(map_: np.ndarray, source: np.ndarray) -> None:
    if np.ptp(source, axis=0).max() < 1:
        return
    target = geometry.apply(map_, source)
    svd = geometry.similarity(source, target)
    assert svd == pytest.approx(geometry.similarity_complex(source, target), rel=1e-6, abs=1e-4)
    assert geometry.apply(svd, source) == pytest.approx(target, rel=1e-7, abs=1e-4)


def test_forgetting_to_swap_the_mirrored_points_is_caught_by_the_scale() -> None:
    swapped = geometry.mirrored(POINTS, 300)
    unswapped = POINTS * (-1, 1) + (299, 0)
    assert geometry.scale(geometry.similarity(unswapped, ARCFACE_112)) == pytest.approx(0.142, abs=1e-3)
    residual = geometry.apply(geometry.similarity(swapped, ARCFACE_112), swapped) - ARCFACE_112
    assert np.sqrt((residual**2).sum(1).mean()) == pytest.approx(1.255, abs=1e-3)


@given(similarities(), points(7))
def test_a_point_mapped_into_the_crop_and_back_moves_less_than_a_hundredth_pixel(
    map_: np.ndarray, source: np.ndarray
) -> None:
    assert np.abs(geometry.to_source(geometry.to_crop(source, map_), map_) - source).max() < 0.01


def test_the_three_point_map_gives_the_reference_matrix_and_its_anisotropy() -> None:
    matrix = geometry.three_point_affine([(30, 40), (70, 42), (51, 80)], [(20, 20), (70, 20), (50, 80)])
    printed = [[1.245186, 0.096277, -21.206675], [-0.077022, 1.540436, -39.306804]]
    assert matrix == pytest.approx(np.array(printed), abs=1e-5)
    assert geometry.anisotropy(matrix) == pytest.approx(1.5434 / 1.2476, abs=1e-3)
    assert geometry.anisotropy(matrix) < geometry.ANISOTROPY_LIMIT < geometry.anisotropy([[3, 0, 0], [0, 1, 0]])
    assert geometry.anisotropy(MATRIX) == pytest.approx(1)
    with pytest.raises(geometry.DegenerateGeometryError, match="no affine map"):
        geometry.three_point_affine([(0, 0), (1, 1), (2, 2)], [(20, 20), (70, 20), (50, 80)])


@given(similarities(), similarities(), points(3))
def test_composing_maps_equals_applying_them_in_turn(outer: np.ndarray, inner: np.ndarray, source: np.ndarray) -> None:
    both = geometry.apply(geometry.compose(outer, inner), source)
    assert both == pytest.approx(geometry.apply(outer, geometry.apply(inner, source)), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("count", [5, 68])
@given(data=st.data(), width=st.integers(1, 5000))
def test_mirroring_twice_changes_nothing(count: int, data: st.DataObject, width: int) -> None:
    source = data.draw(points(count))
    assert geometry.mirrored(geometry.mirrored(source, width), width) == pytest.approx(source, abs=1e-9)


@given(points(68), st.integers(1, 5000))
def test_five_points_of_the_mirrored_face_are_the_mirrored_five_points(source: np.ndarray, width: int) -> None:
    after = geometry.five_points(geometry.mirrored(source, width))
    assert after == pytest.approx(geometry.mirrored(geometry.five_points(source), width), abs=1e-6)


def test_mirrored_landmarks_follow_the_published_order() -> None:
    source = np.stack([np.arange(68.0), np.zeros(68)], 1)
    assert (geometry.mirrored(source, 100)[:, 0] == 99 - np.array(LANDMARK_MIRROR)).all()


def test_resizing_moves_points_by_the_half_pixel_rule() -> None:
    half = geometry.resize_transform((112, 112), (96, 96))
    assert geometry.apply(half, [[55.5, 55.5]]) == pytest.approx(np.array([[47.5, 47.5]]))


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 512))
def test_the_box_of_the_whole_picture_gives_the_resize(width: int, height: int, size: int) -> None:
    box = (-0.5, -0.5, width - 0.5, height - 0.5)
    resize = geometry.resize_transform((width, height), (size, size))
    assert geometry.box_transform(box, (size, size)) == pytest.approx(resize, rel=1e-9, abs=1e-9)


def test_unknown_points_stay_unknown_in_the_crop() -> None:
    assert np.isnan(geometry.to_crop([[np.nan, np.nan]], MATRIX)).all()


@pytest.mark.parametrize("bad", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), 7.0)])
def test_points_that_span_no_face_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(geometry.DegenerateGeometryError, match="no similarity fits"):
        geometry.similarity(bad, ARCFACE_112)


@pytest.mark.parametrize("bad", [(5, 5, 5, 9), (5, 5, 1, 9), (0, 0, np.inf, 1)])
def test_boxes_without_area_are_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(geometry.DegenerateGeometryError, match="without area"):
        geometry.box_transform(bad, (96, 96))


def test_the_outside_share_counts_the_pixels_beyond_the_picture() -> None:
    shifted = np.array([[1.0, 0, 10], [0, 1, 0]])
    assert geometry.outside_share(shifted, (100, 50), (100, 50)) == pytest.approx(0.1)
    assert geometry.outside_share(np.eye(3)[:2], (100, 50), (100, 50)) == 0
    assert geometry.outside_share(np.array([[1.0, 0, 500], [0, 1, 0]]), (100, 50), (100, 50)) == 1


@given(arrays(np.float64, (3, 2, 3), elements=st.floats(-50, 50)))
def test_stretches_are_the_singular_values(transforms: np.ndarray) -> None:
    largest, smallest = geometry.stretches(transforms)
    expected = np.linalg.svd(transforms[..., :2], compute_uv=False)
    assert np.stack([largest, smallest], -1) == pytest.approx(expected, abs=1e-9)
