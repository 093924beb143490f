"""Which samples a run takes, and what a landmarker adds to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from affectdata.faces import geometry, making
from affectdata.faces.align import AlignOptions, align
from affectdata.faces.chosen import chosen
from affectdata.faces.detectors import Face, Image
from affectdata.faces.landmarkers import Window
from affectdata.faces.pipeline import in_order
from affectdata.faces.warp import warped
from manifests.errors import AffectError, QueryError, StaleLayerError, UnknownNameError
from manifests.lake import Lake, LayerFacts
from tests.affectdata.faces.conftest import COUNT, landmarks, publish_toy

SMALL = AlignOptions(workers=2, chunk=4)
DETECTED = (0, 1, 2, 4, 7, 9, 10)
"""Samples of the toy dataset that have a picture and points."""


def taken(lake: Lake, **options: object) -> list[int]:
    ids = chosen(lake, "toy", replace(SMALL, **options)).samples.column("sample_id").to_pylist()
    return [int(sample[-2:]) for sample in ids]


@pytest.fixture
def listed(toy: Lake) -> Lake:
    """The toy dataset with two selections, and frame numbers."""
    samples = toy.read("toy", "samples")
    numbers = pa.array([None if n == 4 else n for n in range(COUNT)], pa.int32())
    samples = samples.set_column(samples.column_names.index("frame_index"), "frame_index", numbers)
    with toy.publish("toy", command="test") as step:
        step.write("samples", "", samples)
        for name, rows in (("good", (1, 2, 3, 9)), ("odd", (1, 3, 5)), ("old", (0,))):
            table = pa.table({"sample_id": [f"toy/{n:02d}" for n in rows]})
            step.write("selections", name, table, parents=["samples"])
    return toy


def test_an_expression_over_the_columns_of_samples_chooses(listed: Lake) -> None:
    assert taken(listed, where="frame_index between 2 and 5") == [2, 3, 5]
    assert taken(listed, where="path is null or PATH = '00.png'") == [0, 6]
    for wrong in ("nothing = 1", "true; drop table x", "frame_index in (select 1)", "frame_index +"):
        with pytest.raises(QueryError):
            taken(listed, where=wrong)
    with pytest.raises(AffectError, match="no sample of toy is left"):
        taken(listed, where="frame_index > 99")


def test_selections_choose_and_exclude(listed: Lake) -> None:
    assert taken(listed, only=("good",)) == [1, 2, 3, 9]
    assert taken(listed, only=("good", "odd")) == [1, 2, 3, 5, 9]
    assert taken(listed, only=("good",), exclude=("odd",), limit=1) == [2]
    with pytest.raises(UnknownNameError, match="selections/bad"):
        taken(listed, only=("bad",))


def test_every_second_frame_leaves_what_is_no_frame_alone(listed: Lake) -> None:
    assert taken(listed, every=2) == [0, 2, 4, 6, 8, 10]
    assert taken(listed, every=5) == [0, 4, 5, 10]


def test_crops_of_a_selection_go_stale_with_it(listed: Lake) -> None:
    summary = align(listed, "toy", detector="dataset", options=replace(SMALL, only=("good",)))
    assert (summary.samples, summary.crops) == (4, 3)
    assert align(listed, "toy", detector="dataset", options=replace(SMALL, only=("good",))).unchanged
    ids = pa.table({"sample_id": ["toy/01"]})
    with listed.publish("toy", command="test") as step:
        step.write(
            "selections",
            "good",
            ids,
            parents=["samples"],
            facts=listed.layer("toy", "samples").facts.__class__(rule="other"),
        )
    assert listed.layer("toy", "crops/arcface112").stale
    with listed.publish("toy", command="test") as step:
        samples = listed.read("toy", "samples")
        step.write("samples", "", samples, LayerFacts(fingerprint="two"))
    with pytest.raises(StaleLayerError, match="selections/old"):
        taken(listed, only=("old",))


class Drawn:
    """A landmarker that knows where the toy faces were drawn, and counts its batches."""

    name = "drawn"
    facts = {"drawn": "1"}  # noqa: RUF012 - the protocol's
    input_size = (40, 40)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def cut(self, image: Image, face: Face) -> Window | None:
        assert face.points is not None
        move = np.array([[0.5, 0, 20 - face.points[2, 0] / 2], [0, 0.5, 5.0]])
        return Window(warped(image, move, self.input_size), move)

    def points(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.batches.append(len(batch))
        face = geometry.apply([[0.5, 0, 4], [0, 0.5, 5.0]], landmarks(0)).astype(np.float32)
        return np.stack([face] * len(batch)), np.full((len(batch), 68), 0.25, np.float32)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    found = Drawn()
    monkeypatch.setattr(making, "landmarker", lambda *_: found)
    return found


MARKED = replace(SMALL, landmarks="fan", batch=2)


def test_landmarks_become_a_label_layer_of_the_same_publication(toy: Lake, drawn: Drawn) -> None:
    align(toy, "toy", detector="dataset", options=MARKED)
    rows = toy.read("toy", "labels/landmarks-drawn", ["sample_id", "landmarks", "landmarks_weight"]).to_pylist()
    assert [int(row["sample_id"][-2:]) for row in rows] == list(DETECTED)
    for row, number in zip(rows, DETECTED, strict=True):
        assert np.reshape(row["landmarks"], (68, 2)) == pytest.approx(landmarks(number), abs=1e-4)
        assert row["landmarks_weight"] == 0.25
    layer = toy.layer("toy", "labels/landmarks-drawn")
    assert layer.facts.parents.keys() == {"samples", "faces/dataset"}
    assert layer.facts.unit == {"landmarks": "frame"}
    assert set(drawn.batches) == {1, 2}
    assert align(toy, "toy", detector="dataset", options=MARKED).unchanged
    assert align(toy, "toy", detector="dataset", options=SMALL).unchanged
    assert not any(layer.stale for layer in toy.layers("toy"))


def test_landmarks_are_taken_over_like_crops(toy: Lake, drawn: Drawn, tmp_path: Path) -> None:
    align(toy, "toy", detector="dataset", options=SMALL)
    align(toy, "toy", detector="dataset", options=MARKED)
    seen = len(drawn.batches)
    assert align(toy, "toy", detector="dataset", options=replace(MARKED, gray=True)).kept == 0
    assert align(toy, "toy", detector="dataset", options=MARKED).kept == 0  # the crops were replaced by grey ones
    assert len(drawn.batches) == 3 * seen
    other = Lake(tmp_path / "other", create=True)
    publish_toy(other, tmp_path / "toy")
    align(other, "toy", detector="dataset", options=MARKED)
    assert other.read("toy", "labels/landmarks-drawn").equals(toy.read("toy", "labels/landmarks-drawn"))


def test_results_come_in_order_and_only_so_many_are_begun() -> None:
    begun: list[int] = []
    given: list[int] = []

    def inputs() -> Iterator[int]:
        for n in range(30):
            given.append(n)
            yield n

    with ThreadPoolExecutor(3) as pool:
        results = in_order(pool, lambda n: begun.append(n) or (n, threading.get_ident()), inputs(), 5)
        assert next(results)[0] == 0
        assert len(given) <= 5
        assert [n for n, _ in results] == list(range(1, 30))
