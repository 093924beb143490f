"""Hidden labels are hidden by whole clusters and by task, scored samples keep theirs, and nothing is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from affectdata.labels.hidden import Hiding, Part, hidden_ids, hide_labels, parse_part
from manifests.errors import AffectError, ProtocolError, UnknownNameError
from manifests.lake import Lake, LayerFacts
from manifests.protocols import truth_sources

COUNT, PEOPLE = 120, 30
IDS = [f"d/{i:04d}" for i in range(COUNT)]
PERSON = np.arange(COUNT) % PEOPLE
ROLE = np.where(PERSON < 20, "train", "test")


@pytest.fixture
def people(lake: Lake) -> Lake:
    """Thirty people, four pictures each, labelled for three tasks; twenty of them train."""
    with lake.publish("d", command="x") as step:
        step.source(Path("/data"), "one")
        samples = {"sample_id": IDS, "dataset": ["d"] * COUNT, "subject_id": [f"s{n:02d}" for n in PERSON]}
        step.write("samples", "", pa.table(samples), LayerFacts("one"))
        labels = {
            "sample_id": IDS,
            "expression": [("happiness", "sadness", "anger")[i % 3] for i in range(COUNT)],
            "valence": [0.5] * COUNT,
            "arousal": [0.1] * COUNT,
            "au12": [1] * COUNT,
            "au12_intensity": [3.0] * COUNT,
        }
        facts = LayerFacts(offered={"expression": ["happiness", "sadness", "anger"]})
        step.write("labels", "human", pa.table(labels), facts, parents=["samples"])
        roles = {"sample_id": IDS, "task": ["all"] * COUNT, "role": ROLE.tolist()}
        step.write("protocols", "official", pa.table(roles), LayerFacts(truth=["human"]), parents=["samples"])
    return lake


def known(lake: Lake, name: str, column: str) -> np.ndarray:
    """Whether each of `IDS` still has a value."""
    table = lake.read("d", f"labels/derived-{name}")
    kept = table.filter(pc.is_valid(table[column]))["sample_id"].to_pylist()
    return np.isin(IDS, kept)


def test_scored_samples_keep_every_label_and_training_ones_those_of_their_part(people: Lake) -> None:
    summary = hide_labels(people, "d", "one", Hiding("human", (Part(("va",), 0.5), Part(("au",), 0.25))))
    va, au, intensity, expression = (
        known(people, "one", name) for name in ("valence", "au12", "au12_intensity", "expression")
    )
    train = ROLE == "train"
    assert all(mask[~train].all() for mask in (va, au, expression))
    assert not expression[train].any()
    assert not (va & au & train).any()
    assert np.array_equal(au, intensity), "an intensity would say whether its AU is there"
    assert dict(summary.kept) == {"va": (va & train).sum(), "au": (au & train).sum()}
    assert (va & train).sum() == 40
    assert (au & train).sum() == 20


def test_nobody_is_split_between_two_parts(people: Lake) -> None:
    hide_labels(people, "d", "few", Hiding("human", (Part(("all",), 0.3),), seed=3))
    kept = known(people, "few", "expression") & (ROLE == "train")
    assert not set(PERSON[kept]) & set(PERSON[~kept & (ROLE == "train")])
    hidden = hidden_ids(people, "d", "few", "human").to_pylist()
    assert sorted(hidden) == [
        name for name, shown in zip(IDS, known(people, "few", "expression"), strict=True) if not shown
    ]


def test_its_protocol_knows_no_other_truth_and_the_layer_says_what_was_hidden(people: Lake) -> None:
    hiding = Hiding("human", (Part(("all",), 0.3),))
    hide_labels(people, "d", "few", hiding)
    layer = people.layer("d", "labels/derived-few")
    assert truth_sources(people, "d", "few") == ("derived-few",)
    assert layer.facts.offered == people.layer("d", "labels/human").facts.offered
    assert "all=0.3" in layer.facts.rule
    assert layer.facts.command == hiding.command("d", "few")
    hide_labels(people, "d", "few", hiding)
    assert people.layer("d", "labels/derived-few").facts.fingerprint == layer.facts.fingerprint


@pytest.mark.parametrize(
    ("hiding", "error"),
    [
        (Hiding("human", (Part(("va",), 0.7), Part(("au",), 0.7))), "shares"),
        (Hiding("human", ()), "shares"),
        (Hiding("human", (Part(("va",), 0.0),)), "shares"),
        (Hiding("human", (Part(("vaa",), 0.5),)), "did you mean va"),
        (Hiding("human", (Part(("va",), 0.5),), by="sequence"), "no sequence"),
        (Hiding("human", (Part(("va",), 0.5),), by="duplicates"), "compared"),
        (Hiding("nobody", (Part(("va",), 0.5),)), "nobody"),
        (Hiding("human", (Part(("va",), 0.5),), base="officia"), "official"),
    ],
)
def test_what_cannot_be_hidden_is_refused_with_its_name(people: Lake, hiding: Hiding, error: str) -> None:
    with pytest.raises(AffectError, match=error):
        hide_labels(people, "d", "x", hiding)


def test_a_protocol_is_never_replaced_by_one_that_hides_labels_of_it(people: Lake) -> None:
    with pytest.raises(ProtocolError, match="its own --base"):
        hide_labels(people, "d", "official", Hiding("human", (Part(("va",), 0.5),)))


def test_what_a_rule_made_is_no_labelling_to_hide(people: Lake) -> None:
    with pytest.raises(ProtocolError, match="co-du2014"):
        hide_labels(people, "d", "x", Hiding("co-du2014", (Part(("va",), 0.5),)))


def test_a_part_is_read_as_it_is_written() -> None:
    assert parse_part("va+au=0.3") == Part(("va", "au"), 0.3)
    assert parse_part(Part(("all",), 0.25).text) == Part(("all",), 0.25)
    for text in ("va", "va=x", "="):
        with pytest.raises(AffectError, match="part"):
            parse_part(text)
    with pytest.raises(UnknownNameError):
        hide_labels(Lake.__new__(Lake), "d", "x", Hiding("human", (parse_part("=0.5"),)))
