"""Counts of labels: from footers alone, equal to counting every row, and the same after a rewrite by another tool."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import footers
from manifests.coverage import AUCount, LayerCoverage, coverage, manifest_coverage
from manifests.errors import SourceOrderError, UnknownNameError
from manifests.lake import Lake, LayerFacts
from manifests.query import connect
from manifests.schema import LABELS, TASK_COLUMNS
from manifests.vocabulary import TASKS, VOTES

Row = dict[str, Any]
rows_of_labels = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "expression": st.sampled_from(["neutral", "fear", "contempt"]),
            "mental_state": st.sampled_from(["hesitant", "arrogant"]),
            "valence": st.just(0.5),
            "arousal": st.just(-0.5),
            "au04": st.sampled_from([0, 1]),
            "au12": st.sampled_from([0, 1]),
            "au12_intensity": st.just(3.0),
            "au17_intensity": st.just(1.0),
            "landmarks": st.sampled_from([[1.0] * 136, [1.0, None] * 68]),
        },
    ),
    min_size=1,
    max_size=12,
)


def labels(rows: list[Row], dataset: str = "set") -> pa.Table:
    names = sorted({name for row in rows for name in row})
    columns = {name: pa.array([row.get(name) for row in rows], LABELS.field(name).type) for name in names}
    return pa.table({"sample_id": [f"{dataset}/{n:03d}" for n in range(len(rows))]} | columns)


def publish(lake: Lake, sources: dict[str, list[Row]], dataset: str = "set", fingerprint: str = "one") -> None:
    with lake.publish(dataset, command="test") as step:
        ids = [f"{dataset}/{n:03d}" for n in range(max(map(len, sources.values())))]
        facts = LayerFacts(fingerprint=fingerprint)
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": [dataset] * len(ids)}), facts)
        for source, rows in sources.items():
            step.write("labels", source, labels(rows, dataset), parents=["samples"])


def counted(rows: list[Row]) -> dict[str, int]:
    """Rows labelled per task, counted one by one."""
    every = {"va": all}
    return {
        task: sum(every.get(task, any)(column in row for column in columns) for row in rows)
        for task, columns in TASK_COLUMNS.items()
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows_of_labels)
def test_coverage_equals_counting_every_row(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder, create=True)
        publish(lake, {"human": rows})
        (found,) = coverage(lake).layers
    assert (found.dataset, found.source, found.rows, found.stale) == ("set", "human", len(rows), "")
    assert dict(found.tasks) == counted(rows)
    for task in ("expression", "mental_state"):
        names = [row[task] for row in rows if task in row]
        assert dict(found.classes.get(task, {})) == {name: names.count(name) for name in names}
    for au, count in found.aus.items():
        cells = [row[f"au{au:02d}"] for row in rows if f"au{au:02d}" in row]
        intensities = [row for row in rows if f"au{au:02d}_intensity" in row]
        assert count == AUCount(len(cells), sum(cells), len(intensities))
    assert set(found.aus) == {int(name[2:4]) for row in rows for name in row if name.startswith("au")}


def test_votes_are_counted_and_are_no_class(lake: Lake) -> None:
    votes = [3.0, 7.0, *[None] * (len(VOTES) - 2)]
    publish(lake, {"human-ferplus": [{"expression_votes": votes}, {}, {"expression_votes": votes}]})
    found = coverage(lake)
    (row,) = found.tasks.to_pylist()
    assert (row["rows"], row["votes"], row["expression"]) == (3, 2, 0)
    assert not found.layers[0].classes


@pytest.mark.parametrize("keep_tally", [True, False])
def test_a_file_whose_tally_is_missing_or_not_its_own_is_counted_anew(tmp_path: Path, keep_tally: bool) -> None:
    rows = [{"au12": 1, "expression": "fear"}, {"au12": 0}, {"valence": 0.5, "arousal": 0.5}]
    lake = Lake(tmp_path / "lake", create=True)
    publish(lake, {"human": rows})
    file = lake.layer("set", "labels/human").path
    tally_of_all = pq.read_metadata(file).metadata[footers.TALLY_KEY]
    copy = tmp_path / "copy.parquet"
    metadata = {footers.TALLY_KEY: tally_of_all} if keep_tally else {}
    pq.write_table(pq.read_table(file).slice(1).replace_schema_metadata(metadata), copy)
    tally = footers.tally_of(copy)
    assert (tally.rows, tally.present["au12"], tally.classes["expression"]["fear"], tally.tasks["va"]) == (2, 0, 0, 1)


def test_columns_without_statistics_are_read(tmp_path: Path) -> None:
    file = tmp_path / "bare.parquet"
    pq.write_table(labels([{"au12": 1}, {}, {"au12": 0}]), file, write_statistics=False)
    assert footers.known_counts(file) == {"sample_id": 3, "au12": 2}


def test_a_list_with_unknown_points_is_known_and_a_null_list_is_not(tmp_path: Path) -> None:
    file = tmp_path / "points.parquet"
    rows: list[Row] = [{"landmarks": [1.0, None] * 68}, {}, {"landmarks": [None] * 136}]
    pq.write_table(labels(rows), file, row_group_size=2)
    assert footers.known_counts(file)["landmarks"] == 2


def test_coverage_can_be_asked_of_some_sources_and_datasets(lake: Lake) -> None:
    publish(lake, {"human": [{"au12": 1}], "co-du2014": [{"au12": 1}]}, "a")
    publish(lake, {"human": [{"expression": "fear"}]}, "b")

    def named(found: tuple[LayerCoverage, ...]) -> list[tuple[str, str]]:
        return [(x.dataset, x.source) for x in found]

    assert named(coverage(lake).layers) == [("a", "co-du2014"), ("a", "human"), ("b", "human")]
    assert named(coverage(lake, sources=("human",)).layers) == [("a", "human"), ("b", "human")]
    assert named(coverage(lake, sources=("co-*",), datasets=["a"]).layers) == [("a", "co-du2014")]
    with pytest.raises(UnknownNameError, match="dataset"):
        coverage(lake, datasets=["c"])
    with pytest.raises(SourceOrderError, match="teacher-x"):
        coverage(lake, sources=("teacher-x",))


def test_tables_hold_the_same_numbers_and_mark_stale_layers(lake: Lake) -> None:
    publish(lake, {"human": [{"expression": "fear", "au12": 1}, {"au12": 0}]})
    with lake.publish("set", command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ["set/000"], "dataset": ["set"]}), LayerFacts("two"))
    found = coverage(lake)
    (row,) = found.tasks.to_pylist()
    assert (row["rows"], row["expression"], row["au"], row["landmarks"]) == (2, 1, 2, 0)
    assert "samples has changed" in row["stale"]
    classes = {"dataset": "set", "source": "human", "task": "expression", "class": "fear", "rows": 1}
    assert found.classes.to_pylist() == [classes]
    aus = {"dataset": "set", "source": "human", "au": "AU12", "known": 2, "present": 1, "intensity": 0}
    assert found.aus.to_pylist() == [aus]


def test_an_empty_lake_has_empty_coverage(lake: Lake) -> None:
    found = coverage(lake)
    assert (found.layers, found.tasks.num_rows, found.classes.num_rows, found.aus.num_rows) == ((), 0, 0, 0)
    assert manifest_coverage(connect(lake)) == ()


@pytest.mark.parametrize("cached", [True, False])
def test_the_manifest_counts_tasks_known_together(lake: Lake, cached: bool) -> None:
    human: list[Row] = [{"valence": 0.5, "arousal": 0.5, "au12": 1}, {"expression": "fear"}, {}]
    auto: list[Row] = [{"expression": "anger"}, {"expression": "anger", "au12": 0}, {}]
    publish(lake, {"human": human, "auto": auto})
    (found,) = manifest_coverage(connect(lake, cached=cached))
    assert (found.dataset, found.samples) == ("set", 3)
    assert [found.labelled(task) for task in TASKS] == [2, 0, 0, 1, 2, 0, 0]
    assert (found.labelled("va", "au"), found.labelled("expression", "au"), found.labelled()) == (1, 2, 3)
    assert {name: n for name, n in found.expressions.items() if n} == {"fear": 1, "anger": 1}
    with pytest.raises(UnknownNameError, match="task"):
        found.labelled("emotion")
