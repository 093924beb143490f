"""Lineage tells who said what of a sample and what a layer was made from, also when that has changed or gone."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from manifests.errors import LakeError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.lineage import Word, ancestors, words_about
from manifests.query import manifest_table
from manifests.schema import LABELS

SOURCES = ("human", "co-du2014", "teacher-run")
NAMES = ("toy/a", "toy/b", "toy/it's")


def publish(lake: Lake, fingerprint: str = "one") -> None:
    ids = pa.array(NAMES)
    ones = pa.array([1, 1, 1], pa.int8())
    human = {"sample_id": ids, "expression": ["fear", None, None], "au12_intensity": pa.array([3.0, None, 1.0])}
    rule = {"sample_id": ids, "expression": ["anger"] * 3, "au12": ones, "au06": ones, "au06_weight": [0.5] * 3}
    trained_on = {"toy": {"samples": fingerprint, "labels/human": fingerprint, "labels/gone": "x"}}
    teachers = json.dumps([{"run": "run", "trained_on": trained_on}])
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": ["toy"] * 3}), LayerFacts(fingerprint))
        step.write("labels", "human", pa.table(human), LayerFacts(fingerprint, au_cut=2.0), ["samples"])
        step.write("labels", "co-du2014", pa.table(rule), LayerFacts(command="affect x"), ["samples", "labels/human"])
        taught = LayerFacts(extra={"teachers": teachers})
        step.write("labels", "teacher-run", pa.table({"sample_id": ids, "valence": [0.5] * 3}), taught, ["samples"])


@pytest.mark.parametrize("sample", NAMES)
def test_the_source_that_wins_is_the_one_whose_value_the_manifest_has(lake: Lake, sample: str) -> None:
    publish(lake)
    words = words_about(lake, sample, SOURCES)
    (row,) = [
        row
        for row in manifest_table(lake, ["toy"], LABELS.names, sources=SOURCES).to_pylist()
        if row["sample_id"] == sample
    ]
    for word in words:
        if word.wins:
            assert row[word.column] == word.value
    winners = [word.column for word in words if word.wins]
    assert len(winners) == len(set(winners))
    assert {word.column for word in words if word.column in ("expression", "au06", "valence")} <= set(winners)
    # Where the intensity says whether AU12 is there, the rule's word does not win.
    assert ("au12" in winners) == (sample == "toy/b")


def test_a_source_that_was_not_asked_for_or_is_stale_says_so(lake: Lake) -> None:
    publish(lake)
    assert [w for w in words_about(lake, "toy/b", ("human",)) if w.column == "au06"] == [
        Word("au06", "co-du2014", 1, False, "not asked for")
    ]
    with lake.publish("toy", command="test") as step:
        human = lake.read("toy", "labels/human")
        step.write("labels", "human", human, LayerFacts("two", au_cut=2.0), ["samples"])
    assert {w.out for w in words_about(lake, "toy/b", SOURCES) if w.source == "co-du2014"} == {"stale"}


@pytest.mark.parametrize("name", ["toy/none", "else/a", "x' or 1=1 --", "toy/x' or 'a' = 'a"])
def test_a_name_that_is_no_sample_is_refused_whatever_it_says(lake: Lake, name: str) -> None:
    publish(lake)
    with pytest.raises((LakeError, UnknownNameError)):
        words_about(lake, name, SOURCES)


def test_ancestors_go_through_teachers_and_tell_what_changed_or_is_gone(lake: Lake) -> None:
    publish(lake)
    layer = lake.layer("toy", "labels/teacher-run")
    found = list(ancestors(lake, "toy", layer.key, layer.facts.fingerprint))
    assert [(one.depth, one.key, one.now) for one in found] == [
        (0, "labels/teacher-run", "as used"),
        (1, "samples", "as used"),
        (2, "labels/gone", "gone"),
        (2, "labels/human", "as used"),
        (3, "samples", "as used"),
        (2, "samples", "as used"),
    ]
    (changed,) = ancestors(lake, "toy", layer.key, "another")
    assert changed.now == "changed since"
