"""Blocks of a reader -> the tables of a generation: checked, without duplicates, sorted by sample_id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.block_checks import BlockChecks, refuse_rows
from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Block, Reject
from affectdata.datasets.text import as_mask
from affectdata.runs import Run, gathered, joined, overlapping, run_of
from manifests.errors import DatasetError
from manifests.schema import SAMPLES

_ROW = "row"
_LABELS, _ROLES = "labels", "protocols"


@dataclass(frozen=True)
class Assembled:
    """Everything that a dataset's readers said, ready to be written piece by piece.

    Args:
        dataset: Name in the lake.
        count: Number of samples.
        items: Items of the source: samples, and what was refused.
        sources: Label sources, sorted.
        protocols: Names of the protocols, sorted.
    """

    dataset: str
    count: int
    items: int
    sources: tuple[str, ...]
    protocols: tuple[str, ...]
    _runs: tuple[Run, ...]
    _explicit: Mapping[str, pa.Table]

    def samples(self, *only: str) -> Iterator[pa.Table]:
        """The samples, in order; or some of their columns, as far as they have them."""
        for run in self._runs:
            rows = run.rows(only or [name for name in run.names if "/" not in name])
            yield rows if only else rows.append_column("dataset", pa.repeat(self.dataset, rows.num_rows))

    def labels(self, source: str, *also: str) -> Iterator[pa.Table]:
        """Label columns with `sample_id`, in order; rows that say nothing are left out.

        Args:
            also: Columns of the samples to be added.
        """
        for run in self._runs:
            rows = run.rows(("sample_id", *also, *_columns(run, _LABELS, source)))
            says = np.zeros(rows.num_rows, dtype=bool)
            names = _columns(run, _LABELS, source)
            for name in names:
                says |= as_mask(pc.is_valid(rows.column(name)))
            rows = rows.rename_columns([name.rpartition("/")[2] for name in rows.column_names])
            yield rows if says.all() else rows.filter(pa.array(says))

    def roles(self, protocol: str) -> Iterator[pa.Table]:
        """Rows of a protocol layer, in order of sample and task."""
        if protocol in self._explicit:
            yield self._explicit[protocol]
            return
        for run in self._runs:
            names = sorted(_columns(run, _ROLES, protocol))
            rows = run.rows(("sample_id", *names))
            tasks = [
                pa.table({_ROW: np.arange(rows.num_rows), "role": rows.column(name)})
                .append_column("task", pa.repeat(name.rpartition("/")[2], rows.num_rows))
                .filter(pc.is_valid(rows.column(name)))
                for name in names
            ]
            if tasks:
                table = pa.concat_tables(tasks)
                if len(tasks) > 1:
                    table = table.sort_by([(_ROW, "ascending"), ("task", "ascending")])
                yield table.add_column(0, "sample_id", rows.column("sample_id").take(table.column(_ROW))).drop([_ROW])


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
    said = _Said(dataset, files, reject)
    runs = [_settled(cluster, reject) for cluster in overlapping(list(gathered(said.rows(blocks))))]
    if not said.seen:
        raise DatasetError(f"{dataset} holds not one sample", found=_worst(reject), then=f"affect info {dataset}")
    explicit = {name: _explicit_rows(dataset, tables, runs) for name, tables in said.explicit.items()}
    return Assembled(
        dataset,
        sum(run.count for run in runs),
        said.seen + said.refused,
        tuple(sorted(said.sources)),
        tuple(sorted(said.protocols | explicit.keys())),
        tuple(runs),
        explicit,
    )


class _Said:
    """What the blocks of a reader say beside their rows, noted while they pass."""

    def __init__(self, dataset: str, files: Listing, reject: Reject) -> None:
        self._dataset, self._files, self._reject = dataset, files, reject
        self._checks = BlockChecks(files, reject)
        self.seen = self.refused = 0
        self.sources: set[str] = set()
        self.protocols: set[str] = set()
        self.explicit: dict[str, list[pa.Table]] = {}

    def rows(self, blocks: Iterable[Block]) -> Iterator[pa.Table]:
        """The usable rows of every block: columns of samples, `labels/<source>/<column>`, `protocols/<name>/<task>`."""
        before = 0
        for block in blocks:
            self.refused += len(self._reject) - before
            self.seen += block.samples.num_rows
            rows = self._wide(block)
            rows = self._files.stored(self._checks.usable(rows)) if rows.num_rows else rows
            if rows.num_rows:
                ids = pc.binary_join_element_wise(self._dataset, rows.column("sample_id"), "/")
                yield rows.set_column(rows.column_names.index("sample_id"), "sample_id", ids)
            before = len(self._reject)
        self.refused += len(self._reject) - before

    def _wide(self, block: Block) -> pa.Table:
        rows = _typed(block.samples)
        self.sources |= block.labels.keys()
        for source, labels in block.labels.items():
            rows = _beside(rows, f"{_LABELS}/{source}", labels)
        for name, said in block.protocols.items():
            if isinstance(said, pa.Table) and "sample_id" in said.column_names:
                self.explicit.setdefault(name, []).append(said)
                continue
            self.protocols.add(name)
            rows = _beside(rows, f"{_ROLES}/{name}", said if isinstance(said, pa.Table) else pa.table({"all": said}))
        return rows


def _typed(table: pa.Table) -> pa.Table:
    """Sample columns in their final types, so that a column that one block leaves empty fits the others."""
    schema = pa.schema([SAMPLES.field(name).remove_metadata().with_nullable(True) for name in table.column_names])
    return table.cast(schema)


def _beside(rows: pa.Table, prefix: str, table: pa.Table) -> pa.Table:
    for name, column in zip(table.column_names, table.columns, strict=True):
        rows = rows.append_column(f"{prefix}/{name}", column)
    return rows


def _columns(run: Run, kind: str, name: str) -> list[str]:
    return [column for column in run.names if column.startswith(f"{kind}/{name}/")]


def _settled(cluster: Sequence[Run], reject: Reject) -> Run:
    """Runs that overlap as one run, in order and without repeated keys."""
    if len(cluster) == 1 and cluster[0].strict:
        return cluster[0]
    rows = joined([run.rows() for run in cluster])
    order, pairs = _order(rows.column("sample_id"))
    return run_of([_agreed(rows, pairs, reject).take(pa.array(order))], strict=True)


def _order(ids: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows in order of id without repeats, and pairs [N, 2] of a row that repeats an id and the first that has it."""
    by_id = pa.table({"id": ids, _ROW: np.arange(len(ids))})
    rows = np.asarray(pc.sort_indices(by_id, sort_keys=[("id", "ascending"), (_ROW, "ascending")])).astype(np.int64)
    named = ids.take(pa.array(rows)).combine_chunks()
    again = np.concatenate([[False], as_mask(pc.equal(named.slice(1), named.slice(0, len(named) - 1)))])
    first = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
    return rows[~again], np.stack([rows[again], rows[first[again]]], axis=1)


def _agreed(rows: pa.Table, pairs: NDArray[np.int64], reject: Reject) -> pa.Table:
    """The rows without labels on which rows of one key differ; every row that repeats a key is refused."""
    if not len(pairs):
        return rows
    differs = np.zeros(rows.num_rows, dtype=bool)
    labels = [name for name in rows.column_names if name.startswith(f"{_LABELS}/")]
    for source in sorted({name.split("/")[1] for name in labels}):
        names = [name for name in labels if name.split("/")[1] == source]
        again, first = (rows.select(names).take(pa.array(pairs[:, side])).to_pylist() for side in (0, 1))
        unlike = np.array([_conflict(a, b) for a, b in zip(again, first, strict=True)], dtype=bool)
        differs[pairs[unlike, 0]] = True
        kept = np.arange(rows.num_rows)
        without = pa.array(kept, mask=np.isin(kept, pairs[unlike, 1]))
        for name in names if unlike.any() else ():
            rows = rows.set_column(rows.column_names.index(name), name, rows.column(name).take(without))
    doubled = np.zeros(rows.num_rows, dtype=bool)
    doubled[pairs[:, 0]] = True
    refuse_rows(rows, differs, "conflicting-duplicate", reject)
    refuse_rows(rows, doubled & ~differs, "duplicate-key", reject)
    return rows


def _conflict(a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    return any(a[name] != b[name] for name in a if a[name] is not None and b[name] is not None)


def _explicit_rows(dataset: str, tables: Sequence[pa.Table], runs: Sequence[Run]) -> pa.Table:
    """Rows of a protocol that names its samples itself, without those that were not kept."""
    table = joined(tables)
    ids = pc.binary_join_element_wise(dataset, table.column("sample_id"), "/")
    table = table.set_column(table.column_names.index("sample_id"), "sample_id", ids)
    keys = pa.chunked_array([run.rows(["sample_id"]).column(0).combine_chunks() for run in runs], pa.string())
    table = table.filter(pc.is_in(ids, value_set=keys.combine_chunks()))
    order = [(name, "ascending") for name in ("sample_id", "task", "fold", "role") if name in table.column_names]
    return table.take(pc.sort_indices(table, sort_keys=order))


def _worst(reject: Reject) -> str:
    counts = reject.counts().most_common(3)
    return "nothing was listed" if not counts else ", ".join(f"{count} x {reason}" for reason, count in counts)
