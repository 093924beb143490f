"""Which sample a row of somebody else's file is about: rows are found by keys, and a key that is vague finds none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def matched(asked: pa.Array, known: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The place in `known` of each key that was asked for, and which of these keys stand there more than once.

    A NULL is no key: a row without a path is not about a sample without one.

    Args:
        asked: Keys [N], text.
        known: Keys of the samples [M], text.

    Returns:
        int64 [N], the first place, -1 where there is none; bool [N].
    """
    place = np.asarray(pc.fill_null(pc.index_in(asked, value_set=known), -1)).astype(np.int64)
    place[np.asarray(pc.is_null(asked)).astype(bool)] = -1
    counted = pc.value_counts(known)
    repeated = counted.filter(pc.greater(counted.field("counts"), 1)).field("values")
    return place, np.asarray(pc.is_in(asked, value_set=repeated)).astype(bool) & (place >= 0)


def frame_keys(places: pa.Array | pa.ChunkedArray, frames: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One key for a video or sequence and the number of a frame; a NULL number is none, a NULL place gives NULL."""
    numbers = pc.fill_null(pc.cast(frames, pa.string()), "")
    joined = pc.binary_join_element_wise(places, numbers, "#")  # a number has no #: the last one parts them
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
