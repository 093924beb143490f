"""A drawn protocol never has a subject, group or picture on both sides, and says what it set aside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from affectdata.labels.folds import Draw, make_folds
from manifests.errors import ProtocolError
from manifests.lake import Lake, LayerFacts
from manifests.protocols import clusters, identity, leaks, roles

CLASSES = ["happiness", "sadness", "anger"]


def publish(
    lake: Lake, subjects: list[str | None], pictures: list[str | None] | None = None, base: list[str] | None = None
) -> None:
    count = len(subjects)
    ids = [f"d/{i:04d}" for i in range(count)]
    with lake.publish("d", command="x") as step:
        step.source(Path("/data"), "one")
        samples = {"sample_id": ids, "dataset": ["d"] * count, "subject_id": pa.array(subjects, pa.string())}
        step.write("samples", "", pa.table(samples), LayerFacts("one"))
        classes = [CLASSES[i % 3] for i in range(count)]
        step.write("labels", "human", pa.table({"sample_id": ids, "expression": classes}), parents=["samples"])
        if pictures is not None:
            faces = {"sample_id": ids, "status": ["found"] * count, "pixel_hash": pa.array(pictures, pa.string())}
            step.write("faces", "whole", pa.table(faces), parents=["samples"])
        if base is not None:
            official = {"sample_id": ids, "task": ["all"] * count, "role": base}
            step.write("protocols", "official", pa.table(official), LayerFacts(truth=["human"]), parents=["samples"])


def sides(lake: Lake, name: str, fold: int | None = None) -> tuple[pa.Table, pa.Table]:
    role = roles(lake, "d", name, fold=fold)["role"]
    people = identity(lake, "d")
    return people.filter(pa.compute.equal(role, "train")), people.filter(
        pa.compute.is_in(role, pa.array(["val", "test"]))
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghijkl"), st.one_of(st.none(), st.sampled_from(["p", "q", "r", "s"]))),
        min_size=12,
        max_size=60,
    ),
    st.integers(0, 5),
)
def test_no_pair_that_shares_a_subject_or_pixels_lies_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str | None]], seed: int
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"), create=True)
    publish(lake, [subject for subject, _ in rows], [picture for _, picture in rows])
    assume(clusters(identity(lake, "d")).max() > 0)
    make_folds(lake, "d", "mine", Draw(by="subject", folds=2, seed=seed))
    for fold in (0, 1):
        train, scored = sides(lake, "mine", fold)
        assert train.num_rows + scored.num_rows == len(rows)
        assert not any(shared.any() for shared in leaks(train, scored).values())


def test_folds_are_a_partition_and_balanced_by_class(lake: Lake) -> None:
    publish(lake, [f"s{i // 3}" for i in range(90)])
    summary = make_folds(lake, "d", "five", Draw(by="subject", folds=5))
    assert sum(summary.counts.values()) == 90
    assert summary.clusters == 30
    classes = np.array(lake.read("d", "labels/human", ["expression"])["expression"].to_pylist())
    for fold in range(5):
        test = np.array(roles(lake, "d", "five", fold=fold)["role"].to_pylist()) == "test"
        assert test.sum() == 18
        assert {name: int((classes[test] == name).sum()) for name in CLASSES} == dict.fromkeys(CLASSES, 6)


def test_a_hold_out_has_about_the_share_asked_for(lake: Lake) -> None:
    publish(lake, [f"s{i}" for i in range(200)])
    summary = make_folds(lake, "d", "some", Draw(by="subject", holdout=0.15))
    assert summary.counts == {"test": 30, "train": 170}


def test_a_base_keeps_its_scored_samples_and_sets_training_copies_aside(lake: Lake) -> None:
    base = ["train"] * 40 + ["val"] * 10
    pictures: list[str | None] = [f"p{i}" for i in range(50)]
    pictures[3] = pictures[45]
    publish(lake, [None] * 50, pictures, base)
    draw = Draw(by="duplicates", holdout=0.1, base="official", scored_as="val")
    summary = make_folds(lake, "d", "select", draw)
    assert summary.ignored == 1
    role = roles(lake, "d", "select")["role"].to_pylist()
    assert role[40:] == ["test"] * 10
    assert role[3] == "ignore"
    assert role[:40].count("val") == summary.counts["val"] > 0
    assert "1 training samples share" in "\n".join(summary.lines())


def test_the_same_seed_draws_the_same_protocol_and_another_seed_another(lake: Lake) -> None:
    publish(lake, [f"s{i}" for i in range(60)])
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_folds(lake, "d", name, Draw(by="subject", holdout=0.2, seed=seed))
        drawn.append(roles(lake, "d", name)["role"].to_pylist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_unit_that_samples_lack_is_refused_with_what_is_known(lake: Lake) -> None:
    publish(lake, ["ann", None, "bob"])
    with pytest.raises(ProtocolError, match="1 of 3 samples have no subject"):
        make_folds(lake, "d", "x", Draw(by="subject", folds=2))


def test_duplicates_need_pictures_that_were_compared(lake: Lake) -> None:
    publish(lake, ["a", "b", "c"])
    with pytest.raises(ProtocolError, match="affect align d"):
        make_folds(lake, "d", "x", Draw(by="duplicates", folds=2))


def test_truth_must_be_named_where_there_are_two_human_labellings(lake: Lake) -> None:
    publish(lake, ["a", "b", "c", "d"])
    with lake.publish("d", command="x") as step:
        ids = lake.read("d", "samples", ["sample_id"])
        step.write(
            "labels", "human-second", ids.append_column("expression", pa.array(["fear"] * 4)), parents=["samples"]
        )
    with pytest.raises(ProtocolError, match="--truth"):
        make_folds(lake, "d", "x", Draw(by="subject", folds=2))
    make_folds(lake, "d", "x", Draw(by="subject", folds=2, truth=("human-second",)))
    assert lake.layer("d", "protocols/x").facts.truth == ["human-second"]
