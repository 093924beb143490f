"""Every alignment name gives the template that alignment.md prints."""

from __future__ import annotations

import numpy as np
import pytest

from affectdata.faces import geometry
from affectdata.faces.alignments import Needs, alignment
from affectdata.faces.detectors import Face
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


def test_only_the_symmetric_template_commutes_with_a_flip() -> None:
    def disagreement(name: str) -> float:
        made = alignment(name)
        flipped_after = geometry.mirrored(geometry.apply(made.transform(face(POINTS), (300, 300)), POINTS), 112)
        mirrored = geometry.mirrored(POINTS, 300)
        flipped_before = geometry.apply(made.transform(face(mirrored), (300, 300)), mirrored)
        return float(np.hypot(*(flipped_after - flipped_before).T).max())

    assert disagreement("arcface112_sym") < 1e-9
    assert 0.5 < disagreement("arcface112") < 1.3


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
