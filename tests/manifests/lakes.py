"""Lakes made by hand: a few samples per dataset, and what each source says of each of them, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from manifests.lake import Lake, LayerFacts
from manifests.query import connect

Cells = Mapping[str, Any]
"""What is known of one sample: column -> value."""

SAMPLES = 8
ORDER = ("human", "auto", "teacher-a")
CUT = 2.0
ASKED = {
    "expression": pa.string(),
    "expression_weight": pa.float32(),
    "compound": pa.string(),
    "valence": pa.float32(),
    "arousal": pa.float32(),
    "va_weight": pa.float32(),
    "au01": pa.int8(),
    "au01_side": pa.string(),
    "au01_weight": pa.float32(),
    "au01_intensity": pa.float32(),
    "au02": pa.int8(),
}
MADE = (
    *("expression_source", "compound_source", "va_source", "expression_offered"),
    *("au01_source", "au02_source", "au01_intensity_source"),
    *("mask_expression", "mask_compound", "mask_va", "mask_au", "mask_au_intensity", "mask_landmarks"),
)
COLUMNS = ("sample_id", *ASKED, *MADE)


def ids(dataset: str = "set") -> list[str]:
    return [f"{dataset}/{n}" for n in range(SAMPLES)]


def table(rows: Sequence[Cells], dataset: str = "set") -> pa.Table:
    """A label layer; a sample of which nothing is said has no row."""
    said = [(name, row) for name, row in zip(ids(dataset), rows, strict=True) if row]
    columns = {name: pa.array([row.get(name) for _, row in said], kind) for name, kind in ASKED.items()}
    return pa.table({"sample_id": pa.array([name for name, _ in said], pa.string())} | columns)


def add_samples(lake: Lake, dataset: str = "set", fingerprint: str = "one") -> None:
    with lake.publish(dataset, command="test") as step:
        rows = pa.table({"sample_id": ids(dataset), "dataset": [dataset] * SAMPLES})
        step.write("samples", "", rows, LayerFacts(fingerprint=fingerprint))


def add_labels(lake: Lake, source: str, rows: Sequence[Cells], dataset: str = "set", **facts: Any) -> None:
    with lake.publish(dataset, command="test") as step:
        step.write("labels", source, table(rows, dataset), LayerFacts(**facts), parents=["samples"])


def manifest(lake: Lake, sources: Sequence[str] = ORDER, *, cached: bool = False) -> list[dict[str, Any]]:
    text = f"select {', '.join(COLUMNS)} from manifest order by sample_id"
    rows: list[dict[str, Any]] = connect(lake, sources, cached=cached).sql(text).arrow().to_pylist()
    return rows
