"""Mark-ups with fewer points than 68, by the points of the iBUG 68 that they keep (datasets page landmarks68, 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIXTY_SIX = tuple(i for i in range(68) if i not in (60, 64))
"""DISFA: without the corners of the inner lip [verified 3]."""

SIXTY_FIVE = tuple(range(65))
"""Menpo: without the lower inner lip [one source]."""

FIFTY_ONE = tuple(range(17, 68))
"""Without the jaw [verified 3]."""

FORTY_NINE = (*range(17, 60), 61, 62, 63, 65, 66, 67)
"""BP4D, GFT: without the jaw and the corners of the inner lip [verified 3]."""


def spread(points: NDArray[np.floating], kept: tuple[int, ...]) -> NDArray[np.float32]:
    """The points at their places among the 68; the others are NaN, which `reading.vectors` stores as NULL.

    Args:
        points: [N, len(kept), 2], pixels.
        kept: Which of the 68 they are.

    Returns:
        float32 [N, 136], x y interleaved.
    """
    found = np.full((len(points), 68, 2), np.nan, np.float32)
    found[:, list(kept)] = points
    return found.reshape(len(points), 136)
