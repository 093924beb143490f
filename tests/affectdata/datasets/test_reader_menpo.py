"""Menpo 2D from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given

from affectdata.datasets.menpo import text_lines
from affectdata.datasets.reading import Reject
from affectdata.datasets.text import lines
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
SEEN = "101.2 88.0 240.9 260.4 140.1 150.2 200.3 149.8 170.0 180.5 145.1 215.0 196.2 214.1"
MARKS = "98.250000 140.500000"
FRONTAL = " ".join([SEEN, *[MARKS] * 68])
PROFILE = " ".join([SEEN, *[MARKS] * 39])


def pts(count: int, gap: str = " ", end: str = "\r\n") -> str:
    return end.join(["version: 1.0", f"n_points:{gap}{count}", "{", *["98.250000 140.500000"] * count, "}"])


PACKAGE = {
    "trainset/0001.jpg": "", "trainset/0001.pts": pts(68), "trainset/0002.jpg": "", "trainset/0002.pts": pts(39, "  "),
    "testset/semifrontal/0001.jpg": "", "testset/profile/0002.jpg": "",
}  # fmt: skip
RERELEASE = {
    "Menpo2D/Train/menpo_train.txt": f"semifrontal/0001.jpg {FRONTAL} \nprofile/0002.jpg {PROFILE}\n",
    "Menpo2D/Train/image/semifrontal/0001.jpg": "", "Menpo2D/Train/image/profile/0002.jpg": "",
    "Menpo2D/Test/image/profile/0003.jpg": "",
}  # fmt: skip


def landmarks(lake: Lake) -> dict[str, list[float]]:
    table = lake.read("menpo", "labels/human", ["sample_id", "landmarks"]).to_pylist()
    return {row["sample_id"].removeprefix("menpo/"): row["landmarks"] for row in table}


def test_the_base_is_unknown_and_nothing_is_shifted(lake: Lake, ingested: Run) -> None:
    summary = ingested("menpo", PACKAGE)
    assert {key: points[:2] for key, points in landmarks(lake).items()} == {
        "challenge/train/semifrontal/0001": [98.25, 140.5]
    }
    assert "unknown" in lake.layer("menpo", "labels/human").facts.landmark_base
    assert not summary.rejects


def test_profiles_are_samples_whose_39_points_become_no_landmarks(lake: Lake, ingested: Run) -> None:
    summary = ingested("menpo", PACKAGE)
    ids = lake.read("menpo", "samples").column("sample_id").to_pylist()
    assert "menpo/challenge/train/profile/0002" in ids
    assert "menpo/challenge/test/profile/0002" in ids
    assert any("39 points" in warning for warning in summary.warnings)


def test_test_pictures_are_unlabelled_and_nothing_is_for_validation(lake: Lake, ingested: Run) -> None:
    ingested("menpo", PACKAGE)
    roles = lake.read("menpo", "protocols/official", ["role"]).column(0).to_pylist()
    assert sorted(roles) == ["test", "test", "train", "train"]


def test_another_number_of_points_is_refused_and_the_picture_kept(ingested: Run) -> None:
    summary = ingested("menpo", PACKAGE | {"trainset/0002.pts": pts(49), "trainset/0003.pts": pts(68)})
    assert rejects(summary) == {"bad-landmarks": 1, "missing-image": 1}
    assert summary.samples == 4


def test_texts_hold_a_detectors_box_and_points_before_the_landmarks(lake: Lake, ingested: Run) -> None:
    summary = ingested("menpo", RERELEASE)
    assert landmarks(lake)["menpo2d/train/semifrontal/0001"][:2] == [98.25, 140.5]
    sample = next(row for row in lake.read("menpo", "samples").to_pylist() if row["sample_id"].endswith("frontal/0001"))
    assert [sample[f"box_{edge}"] for edge in ("x1", "y1", "x2", "y2")] == pytest.approx([101.2, 88.0, 240.9, 260.4])
    assert sample["points5"][:2] == pytest.approx([140.1, 150.2])
    assert summary.samples == 3
    assert not summary.rejects


def test_lines_of_another_length_and_boxes_in_another_order_are_refused(lake: Lake, ingested: Run) -> None:
    text = f"semifrontal/0001.jpg {FRONTAL} 1\nprofile/0002.jpg {PROFILE.replace('240.9 260.4', '139.7 172.4')}\n"
    summary = ingested("menpo", RERELEASE | {"Menpo2D/Train/menpo_train.txt": text})
    assert rejects(summary) == {"bad-field-count": 1, "bad-box": 1}
    assert summary.samples == 3
    assert not landmarks(lake)


def test_both_releases_side_by_side_need_a_choice(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="--release"):
        ingested("menpo", PACKAGE | RERELEASE)
    assert ingested("menpo", PACKAGE | RERELEASE, release="menpo2d").samples == 3


def test_a_sister_set_of_the_same_shape_is_not_menpo(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="not recognised"):
        ingested("menpo", {path.replace("Menpo2D", "MultiPIE"): text for path, text in RERELEASE.items()})


@pytest.mark.fuzz
@FUZZ
@given(any_bytes | mangled(f"a/1.jpg {FRONTAL}\r\nb/2.jpg {PROFILE}\n\nc/3.jpg {FRONTAL}".encode()))
def test_every_line_of_any_text_is_a_face_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = list(text_lines(data, "a.txt", reject))
    counts = reject.counts()
    assert len(found) + counts["bad-field-count"] + counts["bad-number"] == len(list(lines(data)))
    assert sum(seen is None for _, seen, _ in found) == counts["bad-box"]
