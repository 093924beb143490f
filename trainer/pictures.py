"""Pictures that a teacher is to look at: crops of samples, named by all that decides what the network sees."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.crops import CropStore

_AT_ONCE = 1 << 16
"""Names that are made at once; Python's strings of all pictures would fill the memory."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """N pictures of one dataset, sorted by sample_id.

    Args:
        store: Where their crops lie.
        ids: sample_id [N].
        row: Row in the store, int64 [N].
        names: Names [N], see `picture_names`.
    """

    store: CropStore
    ids: pa.Array
    row: npt.NDArray[np.int64]
    names: pa.Array

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, candidates: pa.Table, store: CropStore) -> Pictures:
        """Those of the candidates (sample_id, pixel_hash) that have a crop."""
        row = store.locate(candidates["sample_id"].combine_chunks())
        candidates, row = candidates.filter(pa.array(row >= 0)), row[row >= 0]
        return cls(store, candidates["sample_id"].combine_chunks(), row, picture_names(candidates, store, row))


def picture_names(candidates: pa.Table, store: CropStore, row: npt.NDArray[np.int64]) -> pa.Array:
    """Names of what the network sees: the sample, its source pixels, how they were cut and, as JPEGs, how well kept.

    Where no faces layer has hashed the pixels, the crop layer as a whole stands for them.
    """
    parts = [
        _names(candidates.slice(first, _AT_ONCE), store, row[first : first + _AT_ONCE])
        for first in range(0, len(row), _AT_ONCE)
    ]
    return pa.concat_arrays([pa.array([], pa.string()), *parts])


def _names(candidates: pa.Table, store: CropStore, row: npt.NDArray[np.int64]) -> pa.Array:
    pixels = pc.fill_null(candidates["pixel_hash"], store.layer.facts.fingerprint).to_pylist()
    cuts = store.transform[row].astype("<f4").tobytes()
    size = len(cuts) // max(len(row), 1)
    kept = f"{store.shape} {store.layer.facts.extra.get('quality', '')}"
    ids = candidates["sample_id"].to_pylist()
    return pa.array(
        [
            hashlib.blake2b(
                f"{name} {pixel} {kept}".encode() + cuts[i * size : (i + 1) * size], digest_size=16
            ).hexdigest()
            for i, (name, pixel) in enumerate(zip(ids, pixels, strict=True))
        ],
        pa.string(),
    )
