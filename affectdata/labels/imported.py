"""`affect ingest-labels`: labels that another tool or person made for samples of the lake, as a source of their own.

The file is read by the same map as a dataset of one's own (`affect info table`); `[samples]` says by which columns a
row finds its sample: `id`, `image`, or `sequence` with `frame_index`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.listing import Listing, list_files
from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.table import label_columns, labelling_of, sample_columns, table_of
from affectdata.datasets.table_cells import Cells
from affectdata.datasets.table_map import LabelColumns, TableMap, load_map, parse_map
from manifests.errors import LabelRuleError, RejectLimitError, StaleLayerError
from manifests.lake import Lake, Layer
from manifests.layer import SOURCE_NAME, LayerFacts
from manifests.matching import frame_keys, matched
from manifests.protocols import NEVER_TRUTH
from manifests.schema import conform

MAX_UNMATCHED = 0.01
"""Largest share of rows without a sample, or refused, that passes unasked."""


_PARTS = "files"
"""Entry of the layer's `extra` by which an import is known: what was read, see `_parts`."""


@dataclass(frozen=True)
class Frames:
    """For tools that write one file per video: the sequence of every row, and what turns their frame into ours."""

    sequence: str = ""
    offset: int = 0


@dataclass(frozen=True)
class ImportSummary:
    """What became of the rows of a file."""

    dataset: str
    source: str
    rows: int
    matched: int
    labelled: int
    rejects: Mapping[str, int]

    def lines(self) -> Iterator[str]:
        """One fact a line, for people."""
        yield f"{self.dataset}: labels/{self.source}, {self.labelled:,} samples labelled by {self.rows:,} rows"
        for reason, count in self.rejects.items():
            yield f"  rejected {count:,}: {reason}"


def ingest_labels(
    lake: Lake,
    dataset: str,
    file: Path,
    source: str,
    map_path: Path,
    *,
    frames: Frames | None = None,
    max_rejects: float = MAX_UNMATCHED,
) -> ImportSummary:
    """Publish the labels of a file as a layer of a dataset; an import of the same name is replaced.

    With `frames.sequence` only what it said of that sequence is replaced: files per video add up to one layer.

    Args:
        file: CSV or Parquet; it is only read.
        source: Name of the layer, such as `tool-openface`.
        map_path: TOML map with `[samples]` and one `[labels.<source>]`.
        frames: How rows of a file per video find their frames.
        max_rejects: Largest share of rows that may be refused or have no sample.

    Raises:
        DatasetError: The file or the map cannot be read.
        LabelRuleError: A name that says another origin or is that of a layer which was not imported, or a map that
            names no key or another source, or differs from that of the other sequences; or rows that name several
            samples each.
        StaleLayerError: The other sequences were imported for samples that have changed.
        RejectLimitError: Too many rows were refused; nothing was published.
    """
    chosen = _checked(parse_map(load_map(str(map_path)), str(map_path)), source)
    earlier = _earlier(lake, dataset, source)
    fingerprints = lake.fingerprints(dataset)
    samples = lake.read(dataset, "samples", ["sample_id", "path", "frame", "sequence_id", "frame_index"])
    reject = Reject()
    folder = _folder_of(file, chosen.labels[source])
    table = table_of(folder, file.name, reject)
    cells = Cells(table, chosen.missing, chosen.codes, reject)
    frames = frames or Frames()
    row = _places(chosen, cells, samples, dataset, frames)
    missing = row < 0
    lost = table.where(np.flatnonzero(missing))
    reject.many(lost, "rating-without-image", ("no such sample" for _ in lost))
    first = _first(row)
    again = np.flatnonzero(~missing & ~first)
    reject.many(table.where(again), "duplicate-key", _names(samples, row[again]))
    labels = pa.table(label_columns(folder, chosen.labels[source], cells))
    kept = np.flatnonzero(~missing & first)
    kept = kept[np.argsort(row[kept], kind="stable")]
    labels = labels.take(pa.array(kept)).add_column(0, "sample_id", samples["sample_id"].take(pa.array(row[kept])))
    labels = labels.filter(_says(labels))
    _check_limit(dataset, file, reject, len(table.rows), max_rejects)
    parts = _parts(earlier, chosen, file, frames)
    if len(parts) > 1:
        labels = _beside(lake.read(dataset, f"labels/{source}"), labels, samples, frames.sequence)
    facts = _facts(chosen, source, dataset, file, parts)
    named = f" --sequence {frames.sequence}" if frames.sequence else ""
    named += f" --frame-offset {frames.offset}" if frames.offset else ""
    command = f"affect ingest-labels {dataset} {file.name} --source {source} --map {map_path.name}{named}"
    facts = replace(facts, command=command)
    with lake.publish(dataset, command=facts.command) as step:
        step.write("labels", source, labels, facts, {"samples": fingerprints["samples"]})
    counts = dict(sorted(reject.counts().items()))
    return ImportSummary(dataset, source, len(table.rows), len(kept), labels.num_rows, counts)


def _checked(chosen: TableMap, source: str) -> TableMap:
    if not SOURCE_NAME.match(source) or source.split("-")[0] in NEVER_TRUTH:
        raise LabelRuleError(
            f"label source {source!r}", expected="tool-<name>, auto-<name>, human-<name> or derived-<name>"
        )
    if set(chosen.labels) != {source}:
        raise LabelRuleError(
            f"the map labels {', '.join(chosen.labels) or 'nothing'}", expected=f"exactly [labels.{source}]"
        )
    if not (chosen.samples.id or chosen.samples.image or chosen.samples.frame_index):
        raise LabelRuleError(
            "the map does not say how a row finds its sample",
            expected="[samples] with id, image, or sequence and frame_index",
        )
    return chosen


def _folder_of(file: Path, columns: LabelColumns) -> Folder:
    """The folder of the file with nothing else in it, which may hold millions; with all of it for `.pts` files."""
    root = file.absolute().parent
    if isinstance(columns.landmarks, str):
        return Folder(root, list_files(root))
    return Folder(root, Listing({"": {file.name: 0}}, []))


def _places(chosen: TableMap, cells: Cells, samples: pa.Table, dataset: str, frames: Frames) -> NDArray[np.int64]:
    """Row of `samples` of each row of the file; -1 where there is none.

    Raises:
        LabelRuleError: A row names a place of several samples, and not which of them.
    """
    given = sample_columns(chosen.samples, cells)
    if chosen.samples.id:
        ids = given["sample_id"]
        asked = pc.if_else(pc.starts_with(ids, f"{dataset}/"), ids, pc.binary_join_element_wise(dataset, ids, "/"))
        known = samples["sample_id"].combine_chunks()
    elif chosen.samples.image and chosen.samples.frame:
        asked = frame_keys(given["path"], given["frame"])
        known = frame_keys(samples["path"], samples["frame"])
    elif chosen.samples.image:
        asked, known = given["path"], samples["path"].combine_chunks()
    else:
        sequences = given.get("sequence_id", pa.array([frames.sequence] * len(cells.table.rows), pa.string()))
        asked = frame_keys(sequences, pc.add(given["frame_index"], pa.scalar(frames.offset, pa.int32())))
        known = frame_keys(samples["sequence_id"], samples["frame_index"])
    place, vague = matched(asked, known)
    if vague.any():
        shown = ", ".join(cells.table.where(np.flatnonzero(vague)[:3]))
        raise LabelRuleError(
            f"{int(vague.sum()):,} rows name a place of several samples of {dataset}, and not which of them",
            found=shown,
            expected="[samples] with id, which names one face; or image and frame, for frames of a video",
        )
    return place


def _first(row: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a row is the first that names its sample."""
    first = np.zeros(len(row), bool)
    first[np.unique(row, return_index=True)[1]] = True
    return first


def _names(samples: pa.Table, rows: NDArray[np.int64]) -> list[str]:
    names: list[str] = samples["sample_id"].take(pa.array(rows)).to_pylist()
    return names


def _says(labels: pa.Table) -> pa.Array:
    says = np.zeros(labels.num_rows, bool)
    for name in labels.column_names[1:]:
        says |= np.asarray(pc.is_valid(labels[name]))
    return pa.array(says)


def _check_limit(dataset: str, file: Path, reject: Reject, rows: int, max_rejects: float) -> None:
    if len(reject) <= max_rejects * rows:
        return
    counts = ", ".join(f"{count:,} x {reason}" for reason, count in sorted(reject.counts().items()))
    enough = min(1.0, ceil(1000 * len(reject) / max(rows, 1)) / 1000)  # rounded down it would be refused again
    raise RejectLimitError(
        f"{file.name}: {len(reject):,} of {rows:,} rows have no sample in {dataset} or were refused",
        found=counts,
        expected=f"at most {max_rejects:.2%}; rating-without-image: the lake has no sample that the row names",
        then=f"look at [samples] of the map, or allow them: --max-rejects {enough:.3f}",
    )


def _earlier(lake: Lake, dataset: str, source: str) -> Layer | None:
    """The layer of this name, if it was imported too; labels of a reader, a rule or a network are never replaced."""
    if not lake.has(dataset, f"labels/{source}"):
        return None
    layer = lake.layer(dataset, f"labels/{source}")
    if _PARTS not in layer.facts.extra:
        raise LabelRuleError(
            f"label source {source} of {dataset} is there and was not imported",
            found=layer.facts.command or "no word of what made it",
            expected="another --source, such as tool-<name>",
        )
    return layer


def _parts(earlier: Layer | None, chosen: TableMap, file: Path, frames: Frames) -> dict[str, str]:
    """Sequence, or '' for all -> the file it was read from, with its SHA-256 and offset, in a word."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    mine = {frames.sequence: f"{file.name} {digest} {frames.offset}"}
    others: dict[str, str] = json.loads(earlier.facts.extra[_PARTS]) if earlier else {}
    if earlier is None or not frames.sequence or not set(others) - {frames.sequence}:
        return mine
    if earlier.stale:
        raise StaleLayerError(
            f"{earlier.key} of {earlier.dataset} is stale",
            found=earlier.stale,
            then=f"affect drop {earlier.dataset} {earlier.key}, then import every file again",
        )
    if earlier.facts.extra["map"] != _digest(chosen):
        raise LabelRuleError(
            f"{earlier.key} of {earlier.dataset} was imported with another map",
            expected="one map for every sequence of a source",
            then=f"affect drop {earlier.dataset} {earlier.key}, or another --source",
        )
    return dict(sorted((others | mine).items()))


def _beside(old: pa.Table, labels: pa.Table, samples: pa.Table, sequence: str) -> pa.Table:
    """What was imported for other sequences, and the labels of this one."""
    mine = samples.filter(pc.equal(samples["sequence_id"], sequence))["sample_id"].combine_chunks()
    kept = old.filter(pc.invert(pc.is_in(old["sample_id"], value_set=mine)))
    fresh = conform(labels, "labels", f"labels of {sequence}")
    return pa.concat_tables([kept.cast(fresh.schema), fresh]).sort_by("sample_id")


def _digest(chosen: TableMap) -> str:
    return hashlib.sha256(chosen.model_dump_json().encode()).hexdigest()


def _facts(chosen: TableMap, source: str, dataset: str, file: Path, parts: Mapping[str, str]) -> LayerFacts:
    labelling = labelling_of(chosen, source, chosen.labels[source])
    extra = {_PARTS: json.dumps(parts, sort_keys=True), "map": _digest(chosen)}
    return LayerFacts(
        fingerprint=hashlib.sha256(f"{extra} {dataset}".encode()).hexdigest()[:32],
        offered={task: list(classes) for task, classes in labelling.offered.items()},
        unit=dict(labelling.unit),
        rule=labelling.rule or f"imported from {file.name}",
        au_cut=labelling.au_cut,
        landmark_base=labelling.landmark_base,
        extra=extra,
    )
