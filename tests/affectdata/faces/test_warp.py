"""What is drawn into a picture lands in the crop where the transform says, at every scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from affectdata.faces import geometry
from affectdata.faces.warp import resized, warped

SIZE = 96


def dot(width: int, height: int, centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """A soft white dot on black; radii along x and y."""
    y, x = np.mgrid[:height, :width]
    spread = ((x - centre[0]) / radius[0]) ** 2 / 2 + ((y - centre[1]) / radius[1]) ** 2 / 2
    return (255 * np.exp(-spread)).round().astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image.astype(float) / image.sum(dtype=float)
    return np.array([(weight * x).sum(), (weight * y).sum()])


@settings(deadline=None, max_examples=60)
@given(st.floats(0.08, 3), st.floats(-np.pi, np.pi), st.floats(0.3, 0.7), st.floats(0.3, 0.7), st.integers(300, 900))
def test_a_drawn_dot_lands_where_the_transform_says(scale: float, angle: float, u: float, v: float, width: int) -> None:
    height = width - 73
    spot = np.array([u * width, v * height])
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    goal = np.array([SIZE * 0.45, SIZE * 0.55])
    linear = np.array([[a, -b], [b, a]])
    transform = np.column_stack([linear, goal - linear @ spot])
    crop = warped(dot(width, height, spot, np.full(2, 2.0 / scale)), transform, (SIZE, SIZE))
    assume(crop.sum(dtype=int) > 2000)
    assert np.hypot(*(centroid(crop) - geometry.to_crop(spot, transform))) < 0.1


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 400), st.integers(20, 400), st.integers(16, 300), st.integers(16, 300))
def test_a_resized_dot_follows_the_half_pixel_rule(width: int, height: int, new_width: int, new_height: int) -> None:
    spot = np.array([width * 0.45, height * 0.6])
    factors = np.array([new_width / width, new_height / height])
    radius = 1.2 / np.minimum(factors, 1)
    assume((spot > 4 * radius).all() and (spot + 4 * radius < (width, height)).all())
    small = resized(dot(width, height, spot, radius), (new_width, new_height))
    predicted = geometry.apply(geometry.resize_transform((width, height), (new_width, new_height)), spot)
    assert small.shape == (new_height, new_width)
    assert np.abs((centroid(small) - predicted) / np.maximum(factors, 1)).max() < 0.1


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    fine = np.indices((480, 480)).sum(0).astype(np.uint8) % 2 * 255  # a checkerboard of single pixels
    crop = warped(fine, np.array([[0.2, 0, 0], [0, 0.2, 0]]), (96, 96))
    inner = crop[4:-4, 4:-4]
    assert inner.mean() == pytest.approx(127.5, abs=6)
    assert inner.std() < 12


def test_the_border_has_the_value_of_the_alignment_and_the_share_that_is_recorded() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    shift = np.array([[1.0, 0, 40], [0, 1, 0]])
    crop = warped(white, shift, (100, 100), border=128)
    assert (crop == 128).mean() == pytest.approx(geometry.outside_share(shift, (100, 100), (100, 100)))
    assert (crop[:, 40:] == 255).all()


def test_a_crop_beside_the_picture_is_all_border() -> None:
    away = np.array([[0.1, 0, 5000], [0, 0.1, 5000]])
    assert not warped(np.full((300, 300), 255, np.uint8), away, (96, 96)).any()


def test_the_same_size_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    assert (resized(image, (48, 48)) == image).all()


@settings(deadline=None, max_examples=60)
@given(st.floats(4, 30), st.floats(1, 7), st.floats(-np.pi, np.pi), st.floats(-np.pi, np.pi))
def test_a_fine_checkerboard_becomes_even_grey_however_it_is_shrunk_and_stretched(
    shrink: float, stretch: float, before: float, after: float
) -> None:
    def turned(angle: float) -> np.ndarray:
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    image = (np.indices((700, 700)).sum(0) % 2 * 255).astype(np.uint8)
    linear = turned(after) @ np.diag([1 / shrink, 1 / shrink / stretch]) @ turned(before)
    transform = np.column_stack([linear, 16 - linear @ (350, 350)])
    crop = warped(image, transform, (33, 33), border=128).astype(float)
    assert np.abs(crop - 127.5).max() < 12


def test_a_direction_that_is_shrunk_alone_is_averaged_too() -> None:
    stripes = np.repeat((np.arange(640) % 2 * 255).astype(np.uint8)[None], 64, axis=0)
    for squeeze in (2, 4):
        crop = warped(stripes, np.array([[1 / squeeze, 0, (1 / squeeze - 1) / 2], [0, 1, 0]]), (100, 40))
        assert np.abs(crop[2:, 2:].astype(float) - 127.5).max() < 3


@settings(deadline=None, max_examples=100)
@given(st.floats(1.5, 4), st.floats(3, 7), st.floats(-np.pi, np.pi), st.floats(-np.pi, np.pi))
def test_waves_as_short_as_a_crop_pixel_become_grey_along_the_direction_that_is_squeezed_most(
    shrink: float, stretch: float, before: float, after: float
) -> None:
    def turned(angle: float) -> np.ndarray:
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    y, x = np.mgrid[:400, :400] - 200.0
    squeezed = turned(before)[1]
    waves = np.cos(2 * np.pi * (x * squeezed[0] + y * squeezed[1]) / (shrink * stretch))
    linear = turned(after) @ np.diag([1 / shrink, 1 / shrink / stretch]) @ turned(before)
    transform = np.column_stack([linear, 8 - linear @ (200, 200)])
    crop = warped(np.where(waves > 0, 255, 0).astype(np.uint8), transform, (17, 17), border=128)
    # aliased, most of them show their whole contrast, 127.5
    assert np.abs(crop[3:-3, 3:-3].astype(float) - 127.5).max() < 64
