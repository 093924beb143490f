"""Blocks of a reader -> the tables of a generation: checked, without duplicates, sorted by sample_id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Block, Reject
from affectdata.datasets.text import REPLACED, as_mask
from manifests.errors import DatasetError
from manifests.schema import SAMPLES

_UNSAFE = r"(^|/)\.\.(/|$)|^/|^[A-Za-z]:|\x00"
_UNTIDY = r"\\|//|^\./|/\./|/$"
_ROW = "row"


@dataclass(frozen=True)
class Assembled:
    """Everything that a dataset's readers said, ready to be written.

    Args:
        samples: One row per sample, sorted.
        labels: Source -> label columns with `sample_id`, sorted; rows that say nothing are left out.
        protocols: Name -> rows of a protocol layer, sorted.
        items: Items of the source: samples, and what was refused.
    """

    samples: pa.Table
    labels: Mapping[str, pa.Table]
    protocols: Mapping[str, pa.Table]
    items: int


def assemble(dataset: str, blocks: Iterable[Block], files: Listing, reject: Reject) -> Assembled:
    """Put blocks together.

    Args:
        dataset: Name in the lake; it goes in front of every sample_id.
        blocks: What the reader yields.
        files: Files of the root, against which every path is checked.
        reject: Takes samples whose media are missing or lie outside the root, and repeated keys. Where rows of one
            key differ in a label, no label of that source is kept: which of them is right cannot be known.

    Raises:
        DatasetError: Not one sample.
    """
    samples, labels, roles, tables = _collected(blocks)
    if samples is None:
        raise DatasetError(f"{dataset} holds not one sample", found=_worst(reject), then=f"affect info {dataset}")
    items = samples.num_rows + len(reject)
    samples = _tidy_paths(samples)
    keep = _usable(samples, files, reject)
    ids = pc.binary_join_element_wise(pa.scalar(dataset), samples.column("sample_id"), "/")
    samples = samples.set_column(samples.column_names.index("sample_id"), "sample_id", ids)
    order, pairs = _order(ids, keep)
    labels = _agreed(labels, pairs, reject, samples)
    place = np.full(samples.num_rows, -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    chosen = samples.take(pa.array(order))
    chosen = chosen.append_column("dataset", pa.array([dataset] * chosen.num_rows, pa.string()))
    key = chosen.column("sample_id")
    ordered = {source: _ordered(table, place, key) for source, table in labels.items()}
    protocols = {name: _role_rows(_ordered(table, place, key)) for name, table in roles.items()}
    for name, table in tables.items():
        protocols[name] = _explicit_rows(dataset, table, key)
    return Assembled(chosen, ordered, protocols, items)


def _collected(
    blocks: Iterable[Block],
) -> tuple[pa.Table | None, dict[str, pa.Table], dict[str, pa.Table], dict[str, pa.Table]]:
    """Samples, labels and roles of all blocks, the last two with the row of their sample; explicit protocols."""
    samples: list[pa.Table] = []
    labels: dict[str, list[pa.Table]] = {}
    roles: dict[str, list[pa.Table]] = {}
    tables: dict[str, list[pa.Table]] = {}
    start = 0
    for block in blocks:
        count = block.samples.num_rows
        rows = pa.array(np.arange(start, start + count))
        samples.append(_typed(block.samples))
        for source, table in block.labels.items():
            labels.setdefault(source, []).append(table.append_column(_ROW, rows))
        for name, said in block.protocols.items():
            if isinstance(said, pa.Table):
                tables.setdefault(name, []).append(said)
            else:
                roles.setdefault(name, []).append(pa.table({"role": said, _ROW: rows}))
        start += count
    return _joined(samples) if start else None, _each(labels), _each(roles), _each(tables)


def _typed(table: pa.Table) -> pa.Table:
    """Sample columns in their final types, so that a column that one block leaves empty fits the others."""
    schema = pa.schema([SAMPLES.field(name).remove_metadata().with_nullable(True) for name in table.column_names])
    return table.cast(schema)


def _joined(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def _each(tables: dict[str, list[pa.Table]]) -> dict[str, pa.Table]:
    return {name: _joined(parts) for name, parts in tables.items()}


def _tidy_paths(samples: pa.Table) -> pa.Table:
    """Paths with '/' between parts, as annotations of Windows users may not have them."""
    if "path" not in samples.column_names:
        return samples
    paths = samples.column("path")
    if not as_mask(pc.match_substring_regex(paths, _UNTIDY)).any():
        return samples
    for pattern, with_ in ((r"\\", "/"), (r"/+(\./+)*", "/"), (r"^\./|/$", "")):
        paths = pc.replace_substring_regex(paths, pattern, with_)
    return samples.set_column(samples.column_names.index("path"), "path", paths)


def _usable(samples: pa.Table, files: Listing, reject: Reject) -> NDArray[np.bool_]:
    """Which samples have a name and, where they name a file, one that lies under the root."""
    ids = samples.column("sample_id")
    nameless = as_mask(pc.is_null(ids)) | as_mask(pc.equal(ids, "")) | as_mask(pc.match_substring(ids, REPLACED))
    _refuse(samples, nameless, "bad-name", reject)
    keep = ~nameless
    if "path" not in samples.column_names:
        return keep
    paths = samples.column("path")
    checks = {
        "unsafe-path": as_mask(pc.match_substring_regex(paths, _UNSAFE)),
        "bad-name": as_mask(pc.match_substring(paths, REPLACED)),
    }
    absent = ~as_mask(pc.is_in(paths, value_set=files.paths())) & as_mask(pc.is_valid(paths))
    frames = samples.column("frame") if "frame" in samples.column_names else None
    video = np.zeros(len(absent), dtype=bool) if frames is None else as_mask(pc.is_valid(frames))
    checks |= {"missing-video": absent & video, "missing-image": absent & ~video}
    for reason, mask in checks.items():
        _refuse(samples, mask & keep, reason, reject)
        keep &= ~mask
    return keep


def _refuse(samples: pa.Table, mask: NDArray[np.bool_], reason: str, reject: Reject) -> None:
    if mask.any():
        rows = samples.select([n for n in ("sample_id", "path") if n in samples.column_names]).filter(pa.array(mask))
        where = [str(name) for name in rows.column("sample_id").to_pylist()]
        paths = rows.column("path").to_pylist() if "path" in rows.column_names else [None] * len(where)
        reject.many(where, reason, (path or "" for path in paths))


def _order(ids: pa.ChunkedArray, keep: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to keep, in order of sample_id, and pairs [N, 2] of a row that repeats a key and the first that has it."""
    kept = np.flatnonzero(keep)
    by_id = pa.table({"id": ids.take(pa.array(kept)), _ROW: kept})
    order = pc.sort_indices(by_id, sort_keys=[("id", "ascending"), (_ROW, "ascending")])
    rows = np.asarray(kept[order.to_numpy()])
    if len(rows) < 2:
        return rows, np.empty((0, 2), dtype=np.int64)
    named = ids.take(pa.array(rows)).combine_chunks()
    again = np.concatenate([[False], as_mask(pc.equal(named.slice(1), named.slice(0, len(named) - 1)))])
    first = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
    return rows[~again], np.stack([rows[again], rows[first[again]]], axis=1)


def _agreed(
    labels: dict[str, pa.Table], pairs: NDArray[np.int64], reject: Reject, samples: pa.Table
) -> dict[str, pa.Table]:
    """The labels without those on which rows of one key differ; every row that repeats a key is refused."""
    if not len(pairs):
        return labels
    differs = np.zeros(samples.num_rows, dtype=bool)
    agreed = {}
    for source, table in labels.items():
        at = np.full(samples.num_rows, -1, dtype=np.int64)
        at[table.column(_ROW).to_numpy()] = np.arange(table.num_rows)
        both = pairs[(at[pairs] >= 0).all(axis=1)]
        values = table.drop_columns([_ROW])
        again, first = (values.take(pa.array(at[both[:, side]])).to_pylist() for side in (0, 1))
        unlike = np.array([_conflict(a, b) for a, b in zip(again, first, strict=True)], dtype=bool)
        differs[both[unlike, 0]] = True
        agreed[source] = table.filter(pa.array(~np.isin(table.column(_ROW).to_numpy(), both[unlike, 1])))
    doubled = np.zeros(samples.num_rows, dtype=bool)
    doubled[pairs[:, 0]] = True
    _refuse(samples, differs, "conflicting-duplicate", reject)
    _refuse(samples, doubled & ~differs, "duplicate-key", reject)
    return agreed


def _conflict(a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    return any(a[name] != b[name] for name in a if a[name] is not None and b[name] is not None)


def _ordered(table: pa.Table, place: NDArray[np.int64], key: pa.ChunkedArray) -> pa.Table:
    """Rows whose sample was kept and that say something, in the order of the samples, with `sample_id` in front."""
    to = place[table.column(_ROW).to_numpy()]
    values = table.drop_columns([_ROW])
    says = np.zeros(table.num_rows, dtype=bool)
    for column in values.columns:
        says |= as_mask(pc.is_valid(column))
    rows = np.flatnonzero(says & (to >= 0))
    rows = rows[np.argsort(to[rows], kind="stable")]
    return values.take(pa.array(rows)).add_column(0, "sample_id", key.take(pa.array(to[rows])))


def _role_rows(table: pa.Table) -> pa.Table:
    return table.append_column("task", pa.array(["all"] * table.num_rows, pa.string()))


def _explicit_rows(dataset: str, table: pa.Table, key: pa.ChunkedArray) -> pa.Table:
    ids = pc.binary_join_element_wise(pa.scalar(dataset), table.column("sample_id"), "/")
    table = table.set_column(table.column_names.index("sample_id"), "sample_id", ids)
    table = table.filter(pc.is_in(ids, value_set=key.combine_chunks()))
    keys = [(name, "ascending") for name in ("sample_id", "task", "fold", "role") if name in table.column_names]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def _worst(reject: Reject) -> str:
    counts = reject.counts().most_common(3)
    return "nothing was listed" if not counts else ", ".join(f"{count} x {reason}" for reason, count in counts)
