"""A selection lists the samples that a question names, and is stale when the answer may be another."""

from __future__ import annotations

import pyarrow as pa
import pytest

from affectdata.labels.selections import select
from manifests.errors import LakeError, QueryError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts

SHARP = "select sample_id, 'sharp' as reason from faces where sharpness > 5"


def publish(lake: Lake, dataset: str, sharpness: list[float], rule: str = "") -> None:
    ids = [f"{dataset}/{n}" for n in range(len(sharpness))]
    with lake.publish(dataset, command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": [dataset] * len(ids)}), LayerFacts("one"))
        labels = pa.table({"sample_id": ids, "expression": ["fear"] * len(ids)})
        step.write("labels", "human", labels, LayerFacts(rule=rule), ["samples"])
        faces = {"sample_id": ids, "status": ["found"] * len(ids), "sharpness": pa.array(sharpness, pa.float32())}
        step.write("faces", "whole", pa.table(faces), LayerFacts(rule=rule), ["samples"])


@pytest.fixture
def two(lake: Lake) -> Lake:
    publish(lake, "one", [1, 9, 8])
    publish(lake, "two", [9])
    return lake


def test_the_samples_of_one_dataset_are_listed_with_their_reason(two: Lake) -> None:
    summary = select(two, "one", "sharp", SHARP)
    assert (summary.listed, summary.samples, summary.elsewhere) == (2, 3, 1)
    rows = two.read("one", "selections/sharp").to_pylist()
    assert rows == [{"sample_id": f"one/{n}", "reason": "sharp"} for n in (1, 2)]
    assert two.layer("one", "selections/sharp").facts.rule == SHARP
    assert not two.has("two", "selections/sharp")


def test_a_sample_named_twice_is_listed_once(two: Lake) -> None:
    twice = "select sample_id, x as reason from samples, (values ('b'), ('a')) v(x) where dataset = 'one'"
    assert select(two, "one", "all", twice).listed == 3
    assert set(two.read("one", "selections/all")["reason"].to_pylist()) == {"a"}


@pytest.mark.parametrize("question", [SHARP, "select sample_id from manifest where expression = 'fear'"])
def test_it_is_stale_when_what_the_question_looked_at_has_changed(two: Lake, question: str) -> None:
    select(two, "one", "listed", question)
    assert not two.layer("one", "selections/listed").stale
    publish(two, "one", [9, 9, 9], rule="made again")
    assert "has changed" in two.layer("one", "selections/listed").stale
    select(two, "one", "listed", question)
    assert not two.layer("one", "selections/listed").stale


@pytest.mark.parametrize(
    ("dataset", "name", "question", "error", "message"),
    [
        ("none", "x", SHARP, UnknownNameError, "unknown dataset"),
        ("one", "../x", SHARP, LakeError, "layer name"),
        ("one", "x", "select 1 as n", QueryError, "names no samples"),
        ("one", "x", "select sample_id from samples where dataset = 'two'", QueryError, "no sample of one"),
        ("one", "x", "drop table samples", QueryError, "not one SELECT"),
    ],
)
def test_what_names_nothing_is_refused(
    two: Lake, dataset: str, name: str, question: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        select(two, dataset, name, question)
