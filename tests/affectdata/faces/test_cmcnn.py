"""CMCNN's target is the mean of the training faces of the named protocol and fold, and of nobody else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from affectdata.faces import geometry
from affectdata.faces.align import AlignOptions, align
from affectdata.faces.cmcnn import alignment_of
from manifests.errors import LakeError, ProtocolError, StaleLayerError, UnknownNameError
from manifests.lake import Lake, LayerFacts
from tests.affectdata.faces.conftest import COUNT, landmarks

ONE = AlignOptions(workers=1)
IDS = [f"toy/{n:02d}" for n in range(COUNT)]


def protocol(lake: Lake, name: str, rows: list[tuple[int, str, int | None]], rule: str = "") -> None:
    columns = zip(*[(IDS[n], "all", role, fold) for n, role, fold in rows], strict=True)
    ids, tasks, named, folds = (list(column) for column in columns)
    table = {"sample_id": ids, "task": tasks, "role": named, "fold": pa.array(folds, pa.int16())}
    with lake.publish("toy", command="test") as step:
        step.write("protocols", name, pa.table(table), LayerFacts(rule=rule), ["samples"])


def test_the_target_is_the_mean_over_the_training_role(toy: Lake) -> None:
    protocol(toy, "split", [(0, "train", None), (1, "test", None), (2, "train", None), (4, "val", None)])
    made = alignment_of(toy, "toy", "cmcnn100-split")
    expected = np.mean([geometry.three_points(landmarks(n)) for n in (0, 2)], axis=0)
    assert np.array(made.template) == pytest.approx(expected, abs=1e-4)
    assert "mean of 2 training faces of protocol split, labels/human" in made.source
    mirrored = alignment_of(toy, "toy", "cmcnn100_sym-split").template
    assert np.array(mirrored)[[1, 0, 2]] * (-1, 1) + (99, 0) == pytest.approx(np.array(mirrored))


def test_crops_are_stale_when_their_target_is_of_another_protocol(toy: Lake) -> None:
    protocol(toy, "split", [(0, "train", None), (1, "test", None), (2, "train", None)])
    align(toy, "toy", alignment="cmcnn100-split", detector="dataset", options=ONE)
    crops = toy.layer("toy", "crops/cmcnn100-split")
    assert {"protocols/split", "labels/human"} <= crops.facts.parents.keys()
    assert not crops.stale
    protocol(toy, "split", [(0, "test", None), (1, "train", None), (2, "train", None)], "drawn again")
    assert "protocols/split" in toy.layer("toy", "crops/cmcnn100-split").stale


@pytest.mark.parametrize("changed", ["protocols/split", "labels/human"])
def test_crops_are_not_published_when_what_they_were_made_from_changed_meanwhile(toy: Lake, changed: str) -> None:
    protocol(toy, "split", [(0, "train", None), (1, "test", None), (2, "train", None)])
    before = [toy.read("toy", key) for key in ("protocols/split", "labels/human")]

    def change(_: object) -> None:
        kind, _, name = changed.partition("/")
        table = before[kind == "labels"]
        with toy.publish("toy", command="test") as step:
            step.write(kind, name, table, LayerFacts(rule="made again"), ["samples"])

    with pytest.raises(StaleLayerError, match=f"{changed} of toy changed while this step ran"):
        align(toy, "toy", alignment="cmcnn100-split", detector="dataset", options=ONE, progress=change)


def test_each_fold_has_its_own_target(toy: Lake) -> None:
    protocol(toy, "folds", [(0, "test", 0), (4, "test", 1), (7, "test", 2)])
    targets = {alignment_of(toy, "toy", f"cmcnn100-folds-fold{fold}").template for fold in range(3)}
    assert len(targets) == 3
    with pytest.raises(ProtocolError):
        alignment_of(toy, "toy", "cmcnn100-folds")
    with pytest.raises(UnknownNameError, match="folds"):
        alignment_of(toy, "toy", "cmcnn100-nothing")


def test_training_faces_without_landmarks_are_refused(toy: Lake) -> None:
    protocol(toy, "split", [(0, "test", None), (8, "train", None)])
    with pytest.raises(LakeError, match="no training face"):
        alignment_of(toy, "toy", "cmcnn100-split")


def test_a_mean_that_is_no_place_in_the_crop_is_refused(toy: Lake) -> None:
    protocol(toy, "split", [(0, "train", None), (1, "test", None)])
    far = pa.array([(landmarks(0) + 300).ravel().tolist()], pa.list_(pa.float32(), 136))
    with toy.publish("toy", command="test") as step:
        step.write("labels", "human", pa.table({"sample_id": [IDS[0]], "landmarks": far}), parents=["samples"])
    with pytest.raises(LakeError, match="pictures of 100 x 100"):
        alignment_of(toy, "toy", "cmcnn100-split")


def test_other_names_are_the_common_ones(toy: Lake) -> None:
    assert alignment_of(toy, "toy", "fbn96").size == (96, 96)
    with pytest.raises(UnknownNameError, match="cmcnn100-<protocol>"):
        alignment_of(toy, "toy", "cmcnn100")
