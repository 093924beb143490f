"""Random splits in which few samples of each class train and all others are scored (methods.md S15)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Codes = NDArray[np.int64]

UNLABELLED = "unlabelled"
"""What stands for the class of a sample without one."""


def random_splits(
    ids: pa.ChunkedArray, groups: Codes, strata: pa.Array, how: tuple[int, int, int]
) -> tuple[pa.Table, Counter[str]]:
    """Rows of a protocol, and how many samples have which role in which split.

    A sample whose cluster holds a labelled one has a row per split; where that cluster is scored, an unlabelled one is
    ignored. Those of clusters without a label always train.

    Args:
        ids: sample_id [N].
        groups: Cluster of each, numbered from 0; a cluster is never split.
        strata: Class of each, or `UNLABELLED`.
        how: Number of splits, samples of a class that train at most, seed of the first split.
    """
    splits, per_class, seed = how
    names = strata.unique().filter(pc.not_equal(strata.unique(), UNLABELLED)).sort()
    code = np.asarray(pc.fill_null(pc.index_in(strata, value_set=names), -1)).astype(np.int64)
    labelled = np.isin(groups, groups[code >= 0])
    rows, inner = np.flatnonzero(labelled), np.unique(groups[labelled], return_inverse=True)[1].astype(np.int64)
    bare = ids.filter(pa.array(~labelled))
    tables = [protocol_rows(bare, np.full(len(bare), "train", object), pa.nulls(len(bare), pa.int16()))]
    counts: Counter[str] = Counter({"train in every split": len(bare)} if len(bare) else {})
    for number in range(splits):
        trains = few_per_class(inner, code[rows], per_class, seed + number)
        role = np.where(trains, "train", np.where(code[rows] >= 0, "test", "ignore")).astype(object)
        counts.update(f"split {number} {name}" for name in role.tolist())
        tables.append(protocol_rows(ids.take(pa.array(rows)), role, pa.array(np.full(len(rows), number, np.int16))))
    return pa.concat_tables(tables).sort_by([("sample_id", "ascending"), ("fold", "ascending")]), counts


def protocol_rows(ids: pa.ChunkedArray, role: NDArray[np.object_], fold: pa.Array) -> pa.Table:
    """Rows for every task: sample_id, task, role and fold, [N] each."""
    columns = {"sample_id": ids, "task": pa.repeat("all", len(ids)), "role": pa.array(role.tolist(), pa.string())}
    return pa.table(columns | {"fold": fold})


def few_per_class(groups: Codes, classes: Codes, count: int, seed: int) -> NDArray[np.bool_]:
    """Which rows train where few do: of each class up to `min(count, n // 2)` of its n rows, whole clusters at random.

    A cluster that would give a class too many stays out, so that a class of few large clusters gets fewer.

    Args:
        groups: (N,) cluster of each row, numbered from 0 without gaps.
        classes: (N,) class of each row, numbered from 0; -1: none, which asks for nothing.
        count: Rows of a class at most.
    """
    sizes = np.bincount(classes[classes >= 0])
    room = np.minimum(count, sizes // 2)
    chosen = np.zeros(int(groups.max()) + 1, bool)
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(groups))[:-1])
    for group in np.random.default_rng(seed).permutation(len(members)).tolist():
        known = classes[members[group]]
        wanted = np.bincount(known[known >= 0], minlength=len(sizes))
        if wanted.any() and (wanted <= room).all():
            room, chosen[group] = room - wanted, True
    return np.asarray(chosen[groups], bool)
