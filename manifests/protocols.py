"""Who trains and who is scored: the roles of a protocol, and the keys that must never lie on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.errors import ProtocolError, StaleLayerError, UnknownNameError
from manifests.lake import Lake, Layer
from manifests.vocabulary import TASKS

KEYS = ("subject", "sequence", "group", "pixels")
"""What two samples may share. Subjects and sequences are named within a dataset, groups and pixels across."""

_COLUMNS = {"subject": "subject_id", "sequence": "sequence_id", "group": "group_id", "pixels": "pixel_hash"}
_LOCAL = ("subject", "sequence")

NEVER_TRUTH = ("co", "teacher", "landmarks")
"""First words of sources that are never truth for scoring: rules and networks cannot be judged by themselves."""


def protocol_layer(lake: Lake, dataset: str, protocol: str) -> Layer:
    """The layer of a protocol, fresh.

    Raises:
        UnknownNameError: The lake has no such dataset, or the dataset no such protocol.
        StaleLayerError: Its samples have changed since it was made.
    """
    lake.layer(dataset, "samples")
    known = [layer.name for layer in lake.layers(dataset) if layer.kind == "protocols"]
    if protocol not in known:
        raise UnknownNameError(
            f"protocol of {dataset}", protocol, known, f"affect folds {dataset} --name {protocol} ..."
        )
    layer = lake.layer(dataset, f"protocols/{protocol}")
    if layer.stale:
        raise StaleLayerError(
            f"protocol {protocol} of {dataset} is stale", found=layer.stale, then=f"affect drop {dataset} {layer.key}"
        )
    return layer


def truth_sources(lake: Lake, dataset: str, protocol: str) -> tuple[str, ...]:
    """Label sources that the protocol accepts as truth for scoring, in order.

    Raises:
        ProtocolError: The protocol names a source that a rule or a network made.
    """
    truth = tuple(protocol_layer(lake, dataset, protocol).facts.truth) or ("human",)
    return check_truth(truth, f"protocol {protocol} of {dataset}")


def check_truth(sources: tuple[str, ...], about: str) -> tuple[str, ...]:
    """The sources, if scoring may take them as truth.

    Raises:
        ProtocolError: One of them is what a rule or a network made.
    """
    for source in sources:
        if source.split("-")[0] in NEVER_TRUTH:
            raise ProtocolError(
                f"{about} names {source} as truth",
                expected="labels that people gave, or a rule over them: human, human-*, derived-*, auto, tool-*",
                then="score against human labels; co-*, teacher-* and landmarks-* may only train",
            )
    return sources


def roles(lake: Lake, dataset: str, protocol: str, *, task: str = "all", fold: int | None = None) -> pa.Table:
    """Role of every sample that the protocol names: columns sample_id, role; sorted by sample_id.

    In fold f a sample has the role of its row with fold f or NULL; a sample with rows of other folds only is
    `train`. A row of the asked task wins over a row of task `all`.

    Raises:
        UnknownNameError: No such protocol or task.
        ProtocolError: The protocol has folds and none, or an absent one, was asked for; or rows contradict.
    """
    if task not in (*TASKS, "all"):
        raise UnknownNameError("task", task, (*TASKS, "all"))
    table = lake.read(dataset, protocol_layer(lake, dataset, protocol).key)
    table = table.filter(pc.is_in(table["task"], value_set=pa.array(sorted({task, "all"}))))
    folds = sorted(set(table["fold"].drop_null().unique().to_pylist()))
    if (fold is None) != (not folds) or (fold is not None and fold not in folds):
        raise ProtocolError(
            f"protocol {protocol} of {dataset}: {'no fold was named' if fold is None else f'fold {fold}'}",
            expected=f"one of its folds: {', '.join(map(str, folds))}" if folds else "no fold: this protocol has none",
        )
    own = pc.equal(table["task"], task) if task != "all" else pa.array([True] * table.num_rows)
    here = pc.or_kleene(pc.is_null(table["fold"]), pc.equal(table["fold"], fold if fold is not None else -1))
    here = pc.fill_null(here, False)
    # The strongest row of each sample: of this task and fold first, then task `all`, then other folds (train).
    rank = pc.add(pc.multiply(pc.cast(here, pa.int8()), 2), pc.cast(own, pa.int8()))
    role = pc.if_else(here, table["role"], "train")
    ranked = pa.table({"sample_id": table["sample_id"], "role": role, "rank": rank})
    best = ranked.group_by("sample_id").aggregate([("rank", "max")])
    kept = ranked.join(best, "sample_id").filter(pc.field("rank") == pc.field("rank_max"))
    result = kept.group_by(["sample_id", "role"]).aggregate([]).sort_by("sample_id")
    if result.num_rows != best.num_rows:
        twice = result.group_by("sample_id").aggregate([("role", "count")]).filter(pc.field("role_count") > 1)
        raise ProtocolError(
            f"protocol {protocol} of {dataset} gives {twice.num_rows} samples two roles",
            found=str(twice["sample_id"][0]),
        )
    return result.select(["sample_id", "role"])


def identity(lake: Lake, dataset: str) -> pa.Table:
    """What identifies the samples of a dataset: sample_id, dataset, subject_id, sequence_id, group_id, pixel_hash.

    `pixel_hash` comes from any fresh faces layer and is NULL where none has looked at the picture.
    """
    columns = ["sample_id", "dataset", "subject_id", "sequence_id", "group_id"]
    table = lake.read(dataset, "samples", columns)
    pixel_hash = pa.nulls(table.num_rows, pa.string())
    for layer in faces_layers(lake, dataset):
        faces = lake.read(dataset, layer.key, ["sample_id", "pixel_hash"])
        at = pc.index_in(table["sample_id"], value_set=faces["sample_id"].combine_chunks())
        pixel_hash = pc.coalesce(pixel_hash, faces["pixel_hash"].combine_chunks().take(at))
    return table.append_column("pixel_hash", pixel_hash)


def faces_layers(lake: Lake, dataset: str) -> list[Layer]:
    """The layers that `identity` takes pixel hashes from: the fresh faces layers."""
    return [layer for layer in lake.layers(dataset) if layer.kind == "faces" and not layer.stale]


def unseen_pictures(lake: Lake, dataset: str) -> int:
    """Samples with a picture that no fresh faces layer has looked at: one may be a copy of any other.

    A picture that was looked at and could not be read has a row without a hash, and is no copy of anything.
    """
    samples = lake.read(dataset, "samples", ["sample_id", "path"])
    left = samples.filter(pc.is_valid(samples["path"]))["sample_id"]
    for layer in faces_layers(lake, dataset):
        seen = lake.read(dataset, layer.key, ["sample_id"])["sample_id"].combine_chunks()
        left = left.filter(pc.invert(pc.is_in(left, value_set=seen)))
    return len(left)


def known_keys(samples: pa.Table) -> tuple[str, ...]:
    """Keys of which at least one sample of an `identity` table has a value."""
    return tuple(key for key in KEYS if samples[_COLUMNS[key]].null_count < samples.num_rows)


def clusters(samples: pa.Table, keys: Sequence[str] = KEYS) -> NDArray[np.int64]:
    """Number of the cluster of each row of an `identity` table: samples linked by any key, also through others.

    A NULL key links nothing.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = samples.num_rows
    rows: list[NDArray[np.int64]] = []
    nodes: list[NDArray[np.int64]] = []
    total = count
    for key in keys:
        codes = _key_values(samples, key).dictionary_encode().combine_chunks()
        known = np.asarray(pc.is_valid(codes.indices))
        rows.append(np.flatnonzero(known))
        nodes.append(np.asarray(codes.indices.drop_null(), dtype=np.int64) + total)
        total += len(codes.dictionary)
    row, node = np.concatenate([*rows, np.empty(0, np.int64)]), np.concatenate([*nodes, np.empty(0, np.int64)])
    graph = coo_array((np.ones(len(row), np.int8), (row, node)), shape=(total, total))
    _, labels = connected_components(graph, directed=False)
    return np.unique(labels[:count], return_inverse=True)[1].astype(np.int64)


def units(samples: pa.Table) -> tuple[str, NDArray[np.int64]]:
    """What is drawn whole when a score's uncertainty is asked for, and its number for each row of an `identity` table.

    People where the dataset names them, else sequences, else groups of identical pictures (metrics.md 6 and 7: never
    single frames of a video); a row without a value stands alone.
    """
    known = known_keys(samples)
    key = next((key for key in ("subject", "sequence", "pixels") if key in known), "")
    name = {"subject": "subjects", "sequence": "sequences", "pixels": "duplicate groups"}.get(key, "samples")
    return name, clusters(samples, (key,) if key else ())


def leaks(train: pa.Table, scored: pa.Table, keys: Sequence[str] = KEYS) -> dict[str, NDArray[np.bool_]]:
    """Per key, which training rows share it with a scored row. Both are `identity` tables; NULL matches nothing."""
    return {
        key: np.asarray(
            pc.is_in(_key_values(train, key), value_set=_key_values(scored, key).drop_null().unique()).combine_chunks()
        )
        for key in keys
    }


def _key_values(samples: pa.Table, key: str) -> pa.ChunkedArray:
    values = samples[_COLUMNS[key]]
    return pc.binary_join_element_wise(samples["dataset"], values, "/") if key in _LOCAL else values
