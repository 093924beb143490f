"""The first source that knows wins, task by task and AU by AU, and nothing else ever changes a value."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.errors import SourceOrderError, UnknownNameError
from manifests.lake import Lake, LayerFacts
from manifests.query import connect, manifest_table
from manifests.resolve import DEFAULT_SOURCES, resolve

Cells = Mapping[str, Any]
Labels = Mapping[str, Sequence[Cells]]
"""Source -> one mapping of known cells per sample."""

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

labels_of_lakes = st.fixed_dictionaries(dict.fromkeys(ORDER, partly_whole))
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


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


def facts_of(source: str) -> dict[str, Any]:
    offered = {"expression": ["neutral", "fear", "anger"]} if source == "auto" else {}
    return {"au_cut": CUT if source == "human" else None, "offered": offered}


def filled(folder: Path, labels: Labels, sources: Iterable[str] = ORDER) -> Lake:
    lake = Lake(folder, create=True)
    with lake.publish("set", command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ids(), "dataset": ["set"] * SAMPLES}))
        for source in sources:
            step.write("labels", source, table(labels[source]), LayerFacts(**facts_of(source)), parents=["samples"])
    return lake


def manifest(lake: Lake, sources: Sequence[str] = ORDER, *, cached: bool = False) -> list[dict[str, Any]]:
    text = f"select {', '.join(COLUMNS)} from manifest order by sample_id"
    rows: list[dict[str, Any]] = connect(lake, sources, cached=cached).sql(text).arrow().to_pylist()
    return rows


def expected_row(labels: Labels, sample: int) -> dict[str, Any]:
    """The rules of the manifest, one sample at a time, in plain Python."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"sample_id": ids()[sample]}
    spoken = [(source, labels[source][sample]) for source in ORDER]
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


@few
@given(labels_of_lakes)
def test_the_manifest_follows_the_rules_row_by_row(labels: Labels) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = filled(Path(folder), labels)
        expected = [expected_row(labels, sample) for sample in range(SAMPLES)]
        assert manifest(lake) == expected


@few
@given(labels_of_lakes)
def test_a_lower_source_never_changes_what_a_higher_one_says(labels: Labels) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = filled(Path(folder), labels)
        for above, below in zip(manifest(lake, ORDER[:1]), manifest(lake), strict=True):
            known = {name: value for name, value in above.items() if value is not None and not name.startswith("mask_")}
            assert {name: below[name] for name in known} == known
            assert all(below[name] for name, value in above.items() if name.startswith("mask_") and value)


@few
@given(labels_of_lakes, st.permutations(ORDER))
def test_dropping_a_layer_restores_the_manifest_and_order_of_ingestion_does_not_matter(
    labels: Labels, order: Sequence[str]
) -> None:
    *first, last = order
    fewer = [source for source in ORDER if source != last]
    with tempfile.TemporaryDirectory() as folder:
        lake = filled(Path(folder), labels, first)
        before = manifest(lake, fewer)
        add_labels(lake, last, labels[last], **facts_of(last))
        assert manifest(lake) == [expected_row(labels, sample) for sample in range(SAMPLES)]
        lake.drop("set", f"labels/{last}")
        assert manifest(lake, fewer) == before


def one(**said: Any) -> list[Cells]:
    return [said] * SAMPLES


def test_two_layers_under_one_pattern_must_be_ordered_by_name(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human-abaw3", one(expression="fear"))
    add_labels(lake, "human-abaw5", one(expression="anger"))
    with pytest.raises(SourceOrderError) as error:
        connect(lake)
    assert "human-abaw3" in str(error.value)
    assert "human-abaw5" in str(error.value)
    typed = error.value.then.removeprefix("--sources ").split(",")
    assert typed == ["human", "human-abaw3", "human-abaw5", "human-*", "auto"]
    assert manifest(lake, typed)[0]["expression"] == "fear"
    assert manifest(lake, ["human-abaw5", "human-*"])[0]["expression"] == "anger"


def test_layers_that_share_no_task_column_need_no_order(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human-one", one(expression="fear"))
    add_labels(lake, "human-two", one(valence=0.5))
    row = manifest(lake, DEFAULT_SOURCES)[0]
    assert (row["expression_source"], row["va_source"]) == ("human-one", "human-two")


def test_an_intensity_with_a_cut_speaks_of_the_au_too(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human-one", one(au01=1))
    add_labels(lake, "human-two", one(au01_intensity=3.0))
    assert manifest(lake, DEFAULT_SOURCES)[0]["au01"] == 1
    with pytest.raises(SourceOrderError, match="au01"):
        connect(lake, au_cut={"set": 2})


def test_a_source_that_nothing_in_the_lake_has_is_an_error_with_the_known_names(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(au01=1))
    add_labels(lake, "co-du2014", one(au01=1))
    with pytest.raises(SourceOrderError, match="did you mean co-du2014") as error:
        connect(lake, ["co-du2041"])
    assert "human" in error.value.expected
    with pytest.raises(SourceOrderError, match="teacher-"):
        connect(lake, ["teacher-*"])
    with pytest.raises(SourceOrderError, match="a name or a pattern"):
        connect(lake, ["human' or 1=1"])


def test_a_source_of_another_dataset_is_no_error(lake: Lake) -> None:
    add_samples(lake, "a")
    add_labels(lake, "human", one(au01=1), "a")
    add_samples(lake, "b")
    add_labels(lake, "co-du2014", one(au01=0), "b")
    sources = [row["au01_source"] for row in manifest(lake, ["co-du2014", "human"])]
    assert sources == ["human"] * SAMPLES + ["co-du2014"] * SAMPLES


def test_a_stale_layer_is_left_out_with_a_warning(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(expression="fear"))
    add_samples(lake, fingerprint="two")
    resolved = resolve(lake)
    assert resolved.datasets[0].sources == ()
    assert "set labels/human is left out: it is stale" in resolved.warnings[0]
    connection = connect(lake)
    assert connection.warnings == list(resolved.warnings)
    assert connection.sql("select count(expression) from manifest").fetchall() == [(0,)]


def test_a_dataset_without_samples_is_left_out_with_a_warning(lake: Lake) -> None:
    with lake.publish("set", command="test") as step:
        step.write("labels", "human", table(one(au01=1)))
    resolved = resolve(lake)
    assert resolved.datasets == ()
    assert "no samples" in resolved.warnings[0]


def test_a_cut_given_by_the_reader_wins_over_the_cut_of_the_layer(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(au01_intensity=1.5), au_cut=CUT)

    def present(**cut: float) -> list[int]:
        return manifest_table(lake, ["set"], ["au01"], sources=["human"], au_cut=cut)["au01"].to_pylist()

    assert present() == [0] * SAMPLES
    assert present(set=1.5) == [1] * SAMPLES
    with pytest.raises(UnknownNameError, match="sett"):
        present(sett=1.0)


def test_a_coded_au_is_never_overwritten_by_a_cut_or_a_lower_source(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(au01=0, au01_intensity=5.0), au_cut=CUT)
    add_labels(lake, "auto", one(au01=1))
    row = manifest(lake, ["human", "auto"])[0]
    assert (row["au01"], row["au01_source"], row["au01_intensity"]) == (0, "human", 5.0)


def test_every_dataset_has_the_same_columns_and_types(lake: Lake) -> None:
    for dataset, said in (("a", {"expression": "fear"}), ("b", {"au01": 1})):
        add_samples(lake, dataset)
        add_labels(lake, "human", one(**said), dataset)
    for cached in (True, False):
        both = connect(lake, cached=cached).sql("select * from manifest")
        parts = [connect(lake, cached=cached).sql(f"select * from manifest where dataset = '{d}'") for d in "ab"]
        assert both.columns == parts[0].columns == parts[1].columns
        assert both.types == parts[0].types == parts[1].types


def test_the_upper_lake_of_a_stack_adds_its_layers(lake: Lake, tmp_path: Path) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(expression="fear"))
    mine = Lake([lake.home, tmp_path / "mine"], create=True)
    with mine.publish("set", command="test") as step:
        step.write("labels", "teacher-a", table(one(expression="anger", au01=1)), parents=["samples"])
    row = manifest(mine, ["human", "teacher-a"], cached=True)[0]
    assert (row["expression"], row["expression_source"], row["au01_source"]) == ("fear", "human", "teacher-a")
    assert not lake.cache.exists()
    assert mine.cache.is_dir()
