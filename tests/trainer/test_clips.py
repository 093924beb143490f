"""Where a label was given for a clip, its frames are judged as one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.protocols import identity
from manifests.vocabulary import EXPRESSION_SPACES
from trainer.across import across
from trainer.metrics.classified import clips_of
from trainer.metrics.registry import metric
from trainer.score_file import score_file

from .conftest import Toy

CLASSES = EXPRESSION_SPACES["expr7"]


def test_frames_vote_with_their_probabilities_and_not_with_their_classes() -> None:
    """Two of three frames say class 0, hardly; the third says class 1, surely."""
    chances = np.array([[0.51, 0.49], [0.51, 0.49], [0.0, 1.0], [0.9, 0.1]])
    rows = clips_of(np.array([0, 0, 0, 1]), chances, np.array([1, 1, 1, 0]), ("a", "b"))
    assert rows.predicted.tolist() == [1, 0]
    assert metric("clip_top1").score(rows).value == 1
    assert metric("clip_top1").score(rows).rows_used == 2


def test_an_unlabelled_clip_is_not_scored_nor_one_whose_frames_disagree() -> None:
    rows = clips_of(np.array([0, 0, 1, 1, 2, 2]), np.full((6, 2), 0.5), np.array([-1, -1, 0, 1, 1, -1]), ("a", "b"))
    assert rows.valid.tolist() == [False, False, True]
    assert rows.truth[2] == 1


@given(st.integers(0, 500))
def test_the_order_of_frames_changes_nothing(seed: int) -> None:
    draw = np.random.default_rng(seed)
    clip = np.concatenate([np.arange(5), draw.integers(0, 5, 15)])
    code, chances, order = draw.integers(0, 3, 5)[clip], draw.random((20, 3)), draw.permutation(20)
    names = ("a", "b", "c")
    one, other = clips_of(clip, chances, code, names), clips_of(clip[order], chances[order], code[order], names)
    np.testing.assert_array_equal(one.predicted, other.predicted)
    np.testing.assert_array_equal(one.truth, other.truth)


def publish(lake: Lake, unit: str) -> None:
    """The toy set as clips of four frames, all with the class of the first."""
    toy = Toy()
    toy.code = np.repeat(np.arange(24) % 7, 4)
    toy.publish(lake)
    samples = lake.read("toy", "samples")
    clips = pa.array([f"clip{i // 4:02d}" for i in range(len(samples))])
    samples = samples.set_column(samples.column_names.index("sequence_id"), "sequence_id", clips)
    official = lake.read("toy", "protocols/official")
    labels = {"sample_id": samples["sample_id"], "expression": [CLASSES[code] for code in toy.code.tolist()]}
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", samples)
        facts = LayerFacts(offered={"expression": list(CLASSES)}, unit={"expression": unit})
        step.write("labels", "human", pa.table(labels), facts, ["samples"])
        step.write("protocols", "official", official, LayerFacts(truth=["human"]), ["samples"])


@pytest.mark.parametrize("unit", ["clip", "frame"])
def test_clips_are_scored_beside_their_frames_where_the_truth_is_of_clips(lake: Lake, unit: str) -> None:
    publish(lake, unit)
    table, labels = lake.read("toy", "protocols/official"), lake.read("toy", "labels/human")
    ids = table.filter(pc.field("role") == "test")["sample_id"].to_pylist()
    truth = dict(zip(labels["sample_id"].to_pylist(), labels["expression"].to_pylist(), strict=True))
    # Every frame but the first of a clip is said to be what it is, the first surely something else.
    chances = np.full((len(ids), 7), 0.05)
    for row, name in enumerate(ids):
        right = CLASSES.index(truth[name])
        chances[row, right if row % 4 else (right + 1) % 7] = 0.7
    said = {f"p_{name}": chances[:, place] for place, name in enumerate(CLASSES)}
    path = lake.home / "said.parquet"
    pq.write_table(pa.table({"sample_id": ids, **said}), path)
    scores = score_file(path, lake, "toy", "official", resamples=20)
    (found,) = scores.datasets
    assert found.value("top1") == pytest.approx(0.75)
    named = {result.name: result for result in found.results}
    assert ("clip_top1" in named) == (unit == "clip")
    if unit == "clip":
        assert (named["clip_top1"].value, named["clip_top1"].rows_used) == (1.0, len(ids) // 4)
        assert named["clip_top1"].interval is not None
        assert f"{len(ids) // 4} clips, each judged by the mean" in "\n".join(scores.lines())
        assert {spread.name: spread.mean for spread in across([scores, scores])[0].spreads}["clip_top1"] == 1.0
    assert len(set(identity(lake, "toy")["sequence_id"].to_pylist())) == 24
