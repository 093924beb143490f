"""Subgroups are what the dataset releases; what it does not say is `unknown`."""

from __future__ import annotations

import pyarrow as pa
import pytest

from manifests.errors import UnknownNameError
from manifests.lake import Lake
from trainer.subgroups import subgroups

IDS = ["d/a", "d/b", "d/c"]


@pytest.fixture
def people(lake: Lake) -> Lake:
    samples = {
        "sample_id": IDS,
        "dataset": ["d"] * 3,
        "gender": ["female", None, "male"],
        "age": pa.array([34.0, 40.0, None], pa.float32()),
        "age_group": [None, None, "70+"],
    }
    faces = {"sample_id": IDS, "status": ["found", "found", "no-face"]}
    faces |= {f"box_{edge}": pa.array(v, pa.float32()) for edge, v in
              {"x1": [0, 0, None], "y1": [0, 0, None], "x2": [40, 64, None], "y2": [90, 64, None]}.items()}  # fmt: skip
    with lake.publish("d", command="test") as step:
        step.write("samples", "", pa.table(samples))
        step.write("faces", "yunet", pa.table(faces), parents=["samples"])
    return lake


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("gender", ["male", "unknown", "female"]),
        ("age", ["70+", "40-49", "30-39"]),
        ("ethnicity", ["unknown"] * 3),
        ("face_size", ["unknown", "64-128 px", "32-64 px"]),
    ],
)
def test_each_sample_has_its_own_in_the_order_asked_for(people: Lake, attribute: str, expected: list[str]) -> None:
    assert subgroups(people, "d", pa.array(IDS[::-1]), attribute, "yunet").tolist() == expected


def test_without_a_faces_layer_the_size_is_unknown(people: Lake) -> None:
    assert subgroups(people, "d", pa.array(IDS), "face_size").tolist() == ["unknown"] * 3


def test_an_attribute_that_nobody_releases_is_refused(people: Lake) -> None:
    with pytest.raises(UnknownNameError, match="gender"):
        subgroups(people, "d", pa.array(IDS), "mood")
