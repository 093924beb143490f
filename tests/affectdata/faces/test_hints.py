"""What the dataset says of its faces is taken as it says it, and half an answer is none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from affectdata.faces import geometry
from affectdata.faces.hints import read_hints
from manifests.lake import Lake

IDS = ["d/0", "d/1", "d/2", "d/3", "d/4"]


def face(shift: float) -> np.ndarray:
    return np.stack([np.arange(68.0), np.arange(68.0) * 2], 1) + shift


def layer(shifts: dict[str, float], unknown: int | None = None) -> pa.Table:
    """A label layer with landmarks for some samples; point number `unknown` is NULL in all of them."""
    rows = {}
    for sample, shift in shifts.items():
        flat: list[float | None] = face(shift).ravel().tolist()
        if unknown is not None:
            flat[2 * unknown : 2 * unknown + 2] = [None, None]
        rows[sample] = flat
    column = pa.array([rows.get(sample) for sample in IDS], pa.list_(pa.float32(), 136))
    return pa.table({"sample_id": IDS, "landmarks": column})


@pytest.fixture
def dataset(lake: Lake) -> Lake:
    own = geometry.five_points(face(500)).ravel().tolist()
    points = pa.array([own, None, None, None, None], pa.list_(pa.float32(), 10))
    edges = {"box_x1": 1.0, "box_y1": 2.0, "box_x2": 9.0, "box_y2": 8.0}
    boxes = {name: [None, None, value, None, value] for name, value in edges.items()}
    samples = pa.table({"sample_id": IDS, "dataset": ["d"] * 5, "points5": points, **boxes})
    with lake.publish("d", command="test") as step:
        step.write("samples", "", samples)
        step.write("labels", "human", layer({"d/0": 0, "d/1": 10}))
        step.write("labels", "auto", layer({"d/1": 20, "d/2": 30}))
        step.write("labels", "human-partial", layer({"d/3": 40}, unknown=37))
        step.write("labels", "landmarks-model", layer({"d/4": 50}))
    return lake


def test_the_five_points_of_samples_come_first_and_human_landmarks_before_automatic_ones(dataset: Lake) -> None:
    hints = read_hints(dataset, "d", landmarks=True)
    for row, shift in ((0, 500), (1, 10), (2, 30)):
        assert hints.of(row).points == pytest.approx(geometry.five_points(face(shift)))


def test_landmarks_without_a_needed_point_give_no_five_points(dataset: Lake) -> None:
    assert read_hints(dataset, "d", landmarks=True).of(3).points is None


def test_landmarks_of_a_model_are_not_the_datasets_own(dataset: Lake) -> None:
    hints = read_hints(dataset, "d", landmarks=True)
    assert hints.of(4).points is None
    assert hints.layers == ("labels/human", "labels/auto")


def test_the_box_is_the_datasets_else_the_tight_box_of_its_landmarks(dataset: Lake) -> None:
    hints = read_hints(dataset, "d", landmarks=True)
    assert hints.of(1).box == pytest.approx(np.array([10, 10, 77, 144]))
    assert hints.of(2).box == pytest.approx(np.array([1, 2, 9, 8]))
    assert hints.of(3).box is None


def test_without_landmarks_only_samples_are_read(dataset: Lake) -> None:
    hints = read_hints(dataset, "d", landmarks=False)
    assert hints.layers == ()
    assert hints.of(1).points is None
