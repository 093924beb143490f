"""Roles are read as published, and nothing that identifies a sample is missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import ProtocolError, StaleLayerError, UnknownNameError
from manifests.lake import Lake, LayerFacts
from manifests.protocols import KEYS, clusters, identity, leaks, roles, truth_sources, units

COLUMNS = ("subject_id", "sequence_id", "group_id", "pixel_hash")


def people(**columns: list[str | None]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    nothing: list[str | None] = [None] * rows
    return pa.table(
        {
            "sample_id": [f"d/{i:03d}" for i in range(rows)],
            "dataset": columns.get("dataset", ["d"] * rows),
            **{name: pa.array(columns.get(name, nothing), pa.string()) for name in COLUMNS},
        }
    )


def with_protocol(lake: Lake, rows: list[tuple[str, str, str, int | None]], truth: list[str] | None = None) -> Lake:
    ids = sorted({row[0] for row in rows})
    with lake.publish("d", command="x") as step:
        step.source(Path("/data"), "one")
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": ["d"] * len(ids)}), LayerFacts("one"))
        columns = dict(
            zip(("sample_id", "task", "role", "fold"), map(list, zip(*sorted(rows), strict=True)), strict=True)
        )
        columns["fold"] = pa.array(columns["fold"], pa.int16())
        step.write("protocols", "p", pa.table(columns), LayerFacts(truth=truth or []), parents=["samples"])
    return lake


def asked(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["sample_id"].to_pylist(), table["role"].to_pylist(), strict=True))


def test_a_protocol_without_folds_gives_its_roles(lake: Lake) -> None:
    with_protocol(lake, [("a", "all", "train", None), ("b", "all", "test", None)])
    assert asked(roles(lake, "d", "p")) == {"a": "train", "b": "test"}


def test_a_sample_of_another_fold_trains(lake: Lake) -> None:
    with_protocol(lake, [("a", "all", "test", 0), ("b", "all", "test", 1), ("c", "all", "ignore", None)])
    assert asked(roles(lake, "d", "p", fold=0)) == {"a": "test", "b": "train", "c": "ignore"}
    assert asked(roles(lake, "d", "p", fold=1)) == {"a": "train", "b": "test", "c": "ignore"}


def test_the_row_of_a_task_wins_over_the_row_for_all_tasks(lake: Lake) -> None:
    with_protocol(lake, [("a", "all", "train", None), ("a", "va", "test", None), ("b", "all", "train", None)])
    assert asked(roles(lake, "d", "p", task="va")) == {"a": "test", "b": "train"}
    assert asked(roles(lake, "d", "p", task="au")) == {"a": "train", "b": "train"}


@pytest.mark.parametrize("fold", [None, 7])
def test_a_fold_must_be_one_of_the_protocols(lake: Lake, fold: int | None) -> None:
    with_protocol(lake, [("a", "all", "test", 0), ("b", "all", "test", 1)])
    with pytest.raises(ProtocolError, match="one of its folds: 0, 1"):
        roles(lake, "d", "p", fold=fold)


def test_a_sample_with_two_roles_is_refused(lake: Lake) -> None:
    with_protocol(lake, [("a", "all", "train", None), ("a", "all", "test", None)])
    with pytest.raises(ProtocolError, match="two roles"):
        roles(lake, "d", "p")


def test_an_unknown_protocol_names_the_command_that_makes_one(lake: Lake) -> None:
    with_protocol(lake, [("a", "all", "train", None)])
    with pytest.raises(UnknownNameError, match="affect folds d --name q"):
        roles(lake, "d", "q")


def test_a_stale_protocol_is_refused(lake: Lake) -> None:
    with_protocol(lake, [("a", "all", "train", None)])
    with lake.publish("d", command="x") as step:
        step.write("samples", "", pa.table({"sample_id": ["a"], "dataset": ["d"]}), LayerFacts("two"))
    with pytest.raises(StaleLayerError, match="samples has changed"):
        roles(lake, "d", "p")


@pytest.mark.parametrize("source", ["co-du2014", "teacher-run1", "landmarks-fan"])
def test_what_a_rule_or_a_network_made_is_never_truth(lake: Lake, source: str) -> None:
    with_protocol(lake, [("a", "all", "test", None)], truth=["human", source])
    with pytest.raises(ProtocolError, match=source):
        truth_sources(lake, "d", "p")


def test_pixel_hashes_come_from_any_faces_layer(lake: Lake) -> None:
    with_protocol(lake, [("a", "all", "test", None), ("b", "all", "test", None)])
    faces = pa.table({"sample_id": ["b"], "status": ["found"], "pixel_hash": ["ff"]})
    with lake.publish("d", command="x") as step:
        step.write("faces", "yunet", faces, parents=["samples"])
    assert identity(lake, "d")["pixel_hash"].to_pylist() == [None, "ff"]


def test_clusters_join_through_other_samples() -> None:
    samples = people(
        subject_id=["ann", "ann", None, None, "bob"], pixel_hash=[None, "p1", "p1", None, None], group_id=[None] * 5
    )
    assert clusters(samples).tolist() == [0, 0, 0, 1, 2]


def test_a_subject_name_means_nothing_in_another_dataset_but_a_group_does() -> None:
    samples = people(dataset=["d", "e", "e"], subject_id=["S001", "S001", None], group_id=[None, "film", "film"])
    assert clusters(samples, ["subject"]).tolist() == [0, 1, 2]
    assert clusters(samples, ["group"]).tolist() == [0, 1, 1]


names = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d"]))
tables = st.lists(st.tuples(names, names, names, names), min_size=1, max_size=25).map(
    lambda rows: people(**{name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)})
)


@given(tables)
def test_samples_that_share_any_key_share_a_cluster_and_no_cluster_is_larger_than_needed(samples: pa.Table) -> None:
    number = clusters(samples)
    rows = samples.select(COLUMNS).to_pylist()
    linked = np.array([[any(a[c] is not None and a[c] == b[c] for c in COLUMNS) for a in rows] for b in rows])
    reach = linked | np.eye(len(rows), dtype=bool)
    for _ in range(len(rows)):
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    np.testing.assert_array_equal(number[:, None] == number[None, :], reach)


@given(tables, tables)
def test_leaks_are_the_training_rows_that_share_a_key_with_a_scored_row(train: pa.Table, scored: pa.Table) -> None:
    found = leaks(train, scored)
    for key, column in zip(KEYS, COLUMNS, strict=True):
        there = {value for value in scored[column].to_pylist() if value is not None}
        assert found[key].tolist() == [value in there for value in train[column].to_pylist()]


def test_what_is_drawn_whole_is_a_person_else_a_sequence_else_a_picture() -> None:
    rows = {"sample_id": ["a", "b", "c", "d"], "dataset": ["x"] * 4, "group_id": ["film"] * 4}
    none = [None] * 4
    for key, name in (("subject_id", "subjects"), ("sequence_id", "sequences"), ("pixel_hash", "duplicate groups")):
        columns = dict.fromkeys(("subject_id", "sequence_id", "pixel_hash"), none) | {key: ["1", "1", None, "2"]}
        table = pa.table(rows | columns).cast(
            pa.schema([(c, pa.string()) for c in (*rows, "subject_id", "sequence_id", "pixel_hash")])
        )
        unit, number = units(table)
        assert unit == name
        assert number[0] == number[1]
        assert len(set(number.tolist())) == 3
    blank = table.set_column(table.column_names.index("pixel_hash"), "pixel_hash", pa.nulls(4, pa.string()))
    unit, number = units(blank)
    assert (unit, sorted(number.tolist())) == ("samples", [0, 1, 2, 3])
