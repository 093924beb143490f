"""Who the scored samples are: gender, age, ethnicity as released, and the size of the face, for scores by subgroup."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import UnknownNameError
from manifests.lake import Lake

Names = npt.NDArray[np.object_]

UNKNOWN = "unknown"
"""Samples of which the dataset does not say it."""

FACE_SIZES = (32, 64, 128, 256)
"""Bounds of the face sizes, pixels of the source picture (D: doublings about the sizes that networks take)."""


def subgroups(lake: Lake, dataset: str, ids: pa.Array, attribute: str, detector: str = "") -> Names:
    """The subgroup of each sample.

    Args:
        lake, dataset: Where the samples are.
        ids: sample_id [N].
        attribute: One of `ATTRIBUTES`.
        detector: Faces layer that gives the sizes of faces; "": none.

    Returns:
        Text [N]; `unknown` where the dataset does not say.

    Raises:
        UnknownNameError: No such attribute.
    """
    if attribute not in ATTRIBUTES:
        raise UnknownNameError("attribute", attribute, ATTRIBUTES)
    return ATTRIBUTES[attribute](lake, dataset, ids, detector)


def _released(column: str) -> Callable[[Lake, str, pa.Array, str], Names]:
    def of(lake: Lake, dataset: str, ids: pa.Array, _: str) -> Names:
        return _text(_column(lake, dataset, "samples", ids, column))

    return of


def _age(lake: Lake, dataset: str, ids: pa.Array, _: str) -> Names:
    """The bracket as released, or the decade of an age in years."""
    years = _column(lake, dataset, "samples", ids, "age").cast(pa.float64())
    decade = pc.multiply(pc.floor(pc.divide(years, 10.0)), 10.0).cast(pa.int32())
    last = pc.add(decade, 9).cast(pa.string())
    bracket = pc.binary_join_element_wise(decade.cast(pa.string()), last, "-")
    return _text(pc.coalesce(_column(lake, dataset, "samples", ids, "age_group"), bracket))


def _face_size(lake: Lake, dataset: str, ids: pa.Array, detector: str) -> Names:
    """The root of the area of the face's box, in classes of doubling size."""
    layer = f"faces/{detector}"
    if not detector or not lake.has(dataset, layer):
        return np.full(len(ids), UNKNOWN, object)
    edges = [_column(lake, dataset, layer, ids, f"box_{edge}").cast(pa.float64()) for edge in ("x1", "y1", "x2", "y2")]
    x1, y1, x2, y2 = (np.asarray(edge.to_numpy(zero_copy_only=False), np.float64) for edge in edges)
    size = np.sqrt(np.clip(x2 - x1, 0, None) * np.clip(y2 - y1, 0, None))
    names = [f"under {FACE_SIZES[0]} px"]
    names += [f"{low}-{high} px" for low, high in pairwise(FACE_SIZES)]
    names += [f"{FACE_SIZES[-1]} px and over"]
    found = np.array(names, object)[np.digitize(np.nan_to_num(size), FACE_SIZES)]
    return np.where(np.isnan(size), UNKNOWN, found)


ATTRIBUTES: dict[str, Callable[[Lake, str, pa.Array, str], Names]] = {
    "gender": _released("gender"),
    "age": _age,
    "ethnicity": _released("ethnicity"),
    "face_size": _face_size,
}
"""What scores can be given by."""


def _column(lake: Lake, dataset: str, layer: str, ids: pa.Array, column: str) -> pa.Array:
    table = lake.read(dataset, layer, ["sample_id", column])
    at = pc.index_in(ids, value_set=table["sample_id"].combine_chunks())
    return table[column].combine_chunks().take(at)


def _text(values: pa.Array) -> Names:
    return np.array(pc.fill_null(values.cast(pa.string()), UNKNOWN).to_pylist(), object)
