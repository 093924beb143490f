"""Smaller mark-ups land on the same points of the face, as their mirror pairs show."""

from __future__ import annotations

import numpy as np
import pytest

from affectdata.datasets.point_sets import FIFTY_ONE, FORTY_NINE, SIXTY_FIVE, SIXTY_SIX, spread
from manifests.vocabulary import LANDMARK_MIRROR

# Mirror permutation of the 49 points as published trackers use it, 0-based.
P49 = [
    *(9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 10, 11, 12, 13, 18, 17, 16, 15, 14, 28, 27, 26, 25, 30, 29),
    *(22, 21, 20, 19, 24, 23, 37, 36, 35, 34, 33, 32, 31, 42, 41, 40, 39, 38, 45, 44, 43, 48, 47, 46),
]


@pytest.mark.parametrize(("kept", "count"), [(SIXTY_SIX, 66), (SIXTY_FIVE, 65), (FIFTY_ONE, 51), (FORTY_NINE, 49)])
def test_points_stand_where_they_belong_and_the_others_are_unknown(kept: tuple[int, ...], count: int) -> None:
    points = np.random.default_rng(0).random((3, count, 2))
    found = spread(points, kept).reshape(3, 68, 2)
    assert np.allclose(found[:, list(kept)], points)
    assert np.isnan(found).all(axis=2).sum() == 3 * (68 - count)


def test_the_mirror_of_the_49_is_that_of_the_68() -> None:
    assert [FORTY_NINE.index(LANDMARK_MIRROR[i]) for i in FORTY_NINE] == P49
