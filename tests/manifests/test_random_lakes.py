"""What holds of every lake: rules of the manifest, over random datasets, sources, orders and gaps."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.cached import cached_manifest
from manifests.lake import Lake, LayerFacts
from manifests.resolve import resolve
from tests.manifests.lakes import COLUMNS, CUT, SAMPLES, Cells, add_labels, ids, manifest, table

Labels = Mapping[str, Mapping[str, Sequence[Cells]]]
"""Dataset -> source -> one mapping of known cells per sample."""

DATASETS = ("one", "two", "three")
SOURCES = ("human", "human-again", "auto", "co-du2014", "teacher-a")
SEVERAL = 2
"""No lake has fewer datasets, and no dataset fewer sources."""

half = st.sampled_from([0.0, 0.5, 1.0])
values = {
    "expression": st.sampled_from(["neutral", "fear", "anger"]),
    "expression_weight": half,
    "compound": st.sampled_from(["awed", "appalled"]),
    "valence": half,
    "arousal": half,
    "va_weight": half,
    "au01": st.sampled_from([0, 1]),
    "au01_side": st.sampled_from(["left", "both"]),
    "au01_weight": half,
    "au01_intensity": st.sampled_from([0.0, 1.5, 2.0, 5.0]),
    "au02": st.sampled_from([0, 1]),
}
sparse = st.lists(st.fixed_dictionaries({}, optional=values), min_size=SAMPLES, max_size=SAMPLES)
whole = st.lists(st.fixed_dictionaries(values), min_size=SAMPLES, max_size=SAMPLES)
partly_whole = st.builds(
    lambda rows, full, names: [row | {n: known[n] for n in names} for row, known in zip(rows, full, strict=True)],
    *(sparse, whole, st.sets(st.sampled_from(sorted(values)))),
)
"""Some columns known for every sample: the resolver then asks no lower source for them."""

labels_of_lakes = st.dictionaries(
    st.sampled_from(DATASETS),
    st.dictionaries(st.sampled_from(SOURCES), partly_whole, min_size=SEVERAL, max_size=4),
    min_size=SEVERAL,
)
orders = st.permutations(SOURCES)
few = settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def facts_of(source: str) -> dict[str, Any]:
    offered = {"expression": ["neutral", "fear", "anger"]} if source == "auto" else {}
    return {"au_cut": CUT if source == "human" else None, "offered": offered}


def layers_of(labels: Labels) -> list[tuple[str, str]]:
    return [(dataset, source) for dataset, said in labels.items() for source in said]


def filled(folder: Path, labels: Labels, layers: Iterable[tuple[str, str]]) -> Lake:
    """A lake into which these layers came one after the other, neighbours of one dataset in one step."""
    lake = Lake(folder, create=True)
    for dataset, run in groupby(layers, itemgetter(0)):
        with lake.publish(dataset, command="test") as step:
            if not lake.has(dataset, "samples"):
                rows = pa.table({"sample_id": ids(dataset), "dataset": [dataset] * SAMPLES})
                step.write("samples", "", rows, LayerFacts(fingerprint="one"))
            for _, source in run:
                facts = LayerFacts(**facts_of(source))
                step.write("labels", source, table(labels[dataset][source], dataset), facts, ["samples"])
    return lake


def asked(labels: Labels, order: Sequence[str]) -> list[str]:
    """The sources that any dataset has, first wins; a source that none has would be refused."""
    return [source for source in order if any(source in said for said in labels.values())]


def manifest_bytes(lake: Lake, sources: Sequence[str]) -> list[bytes]:
    """The files of the resolved manifest, made anew."""
    shutil.rmtree(lake.cache, ignore_errors=True)
    return [file.read_bytes() for file in cached_manifest(lake, resolve(lake, sources).datasets)]


def expected_row(
    labels: Mapping[str, Sequence[Cells]], order: Sequence[str], dataset: str, sample: int
) -> dict[str, Any]:
    """The rules of the manifest, one sample at a time, in plain Python."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"sample_id": ids(dataset)[sample]}
    spoken = [(source, labels[source][sample]) for source in order if source in labels]
    wholes = {
        "expression": (("expression",), ("expression", "expression_weight")),
        "compound": (("compound",), ("compound",)),
        "va": (("valence", "arousal"), ("valence", "arousal", "va_weight")),
    }
    for task, (keys, columns) in wholes.items():
        for source, said in spoken:
            if any(key in said for key in keys):
                row |= {column: said.get(column) for column in columns} | {f"{task}_source": source}
                if task == "expression" and source == "auto":
                    row["expression_offered"] = "neutral,fear,anger"
                break
    for au in ("au01", "au02"):
        for source, said in spoken:
            present = said.get(au)
            if present is None and source == "human" and f"{au}_intensity" in said:
                present = int(said[f"{au}_intensity"] >= CUT)
            if present is not None:
                row |= {au: present, f"{au}_source": source}
                if au == "au01":
                    row |= {column: said.get(column) for column in ("au01_side", "au01_weight")}
                break
    for source, said in spoken:
        if "au01_intensity" in said:
            row |= {"au01_intensity": said["au01_intensity"], "au01_intensity_source": source}
            break
    return row | {
        "mask_expression": row["expression"] is not None,
        "mask_compound": row["compound"] is not None,
        "mask_va": row["valence"] is not None and row["arousal"] is not None,
        "mask_au": row["au01"] is not None or row["au02"] is not None,
        "mask_au_intensity": row["au01_intensity"] is not None,
        "mask_landmarks": False,
    }


def expected(labels: Labels, order: Sequence[str]) -> list[dict[str, Any]]:
    return [expected_row(labels[name], order, name, n) for name in sorted(labels) for n in range(SAMPLES)]


@few
@given(labels_of_lakes, orders)
def test_the_manifest_follows_the_rules_row_by_row(labels: Labels, order: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = filled(Path(folder), labels, layers_of(labels))
        assert manifest(lake, asked(labels, order)) == expected(labels, order)


@few
@given(labels_of_lakes, orders, st.integers(1, len(SOURCES) - 1))
def test_a_lower_source_never_changes_what_a_higher_one_says(labels: Labels, order: Sequence[str], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = filled(Path(folder), labels, layers_of(labels))
        sources = asked(labels, order)
        fewer, more = manifest(lake, sources[: max(1, min(cut, len(sources) - 1))]), manifest(lake, sources)
        for above, below in zip(fewer, more, strict=True):
            known = {name: value for name, value in above.items() if value is not None and not name.startswith("mask_")}
            assert {name: below[name] for name in known} == known
            assert all(below[name] for name, value in above.items() if name.startswith("mask_") and value)


@few
@given(labels_of_lakes, orders, st.data())
def test_dropping_a_layer_restores_the_manifest_bit_by_bit(
    labels: Labels, order: Sequence[str], data: st.DataObject
) -> None:
    layers = layers_of(labels)
    dataset, source = data.draw(st.sampled_from(layers))
    fewer = {name: {s: rows for s, rows in labels[name].items() if (name, s) != (dataset, source)} for name in labels}
    with tempfile.TemporaryDirectory() as folder:
        lake = filled(Path(folder), labels, [layer for layer in layers if layer != (dataset, source)])
        before = manifest_bytes(lake, asked(fewer, order))
        add_labels(lake, source, labels[dataset][source], dataset, **facts_of(source))
        assert manifest(lake, asked(labels, order)) == expected(labels, order)
        lake.drop(dataset, f"labels/{source}")
        assert manifest_bytes(lake, asked(fewer, order)) == before


@few
@given(labels_of_lakes, orders, st.data())
def test_order_of_ingestion_does_not_matter(labels: Labels, order: Sequence[str], data: st.DataObject) -> None:
    sources = asked(labels, order)
    found = []
    for layers in (layers_of(labels), data.draw(st.permutations(layers_of(labels)))):
        with tempfile.TemporaryDirectory() as folder:
            found.append(manifest_bytes(filled(Path(folder), labels, layers), sources))
    assert found[0] == found[1]
