"""Aff-Wild from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
TREE = {
    "videos/train/318.mp4": "x",
    "annotations/train/valence/318.txt": "0.012\n0.012\n-0.034\n0.056\n",
    "annotations/train/arousal/318.txt": "0.101\n0.104\n0.11\n0.118\n",
}


def test_line_n_is_decoded_frame_n_minus_one(lake: Lake, ingested: Run) -> None:
    summary = ingested("affwild", TREE)
    samples = lake.read("affwild", "samples").to_pylist()
    assert [(r["sample_id"][-5:], r["frame"], r["frame_index"]) for r in samples] == [
        *(("00001", 0, 1), ("00002", 1, 2), ("00003", 2, 3), ("00004", 3, 4)),
    ]
    labels = lake.read("affwild", "labels/human")
    assert labels.column("valence").to_pylist() == pytest.approx([0.012, 0.012, -0.034, 0.056])
    assert labels.column("arousal").to_pylist() == pytest.approx([0.101, 0.104, 0.11, 0.118])
    assert {r["group_id"] for r in samples} == {"affwild2:318"}
    assert not summary.rejects


def test_the_longer_of_two_files_is_cut_and_said(ingested: Run) -> None:
    summary = ingested("affwild", TREE | {"annotations/train/arousal/318.txt": "0.1\n0.2"})
    assert (summary.samples, rejects(summary)) == (2, {"length-mismatch": 1})


def test_values_beyond_one_are_refused_and_never_clamped(lake: Lake, ingested: Run) -> None:
    summary = ingested("affwild", TREE | {"annotations/train/valence/318.txt": "1.001\n1\n-5\n0\n"})
    assert rejects(summary) == {"out-of-range": 2}
    assert lake.read("affwild", "labels/human").column("valence").to_pylist() == [1, 0]


def test_a_lone_file_is_a_missing_annotation(ingested: Run) -> None:
    assert rejects(ingested("affwild", TREE | {"annotations/train/valence/9.txt": "0"})) == {"missing-annotation": 1}


def test_test_videos_have_no_labels_and_no_validation_is_made_up(lake: Lake, ingested: Run) -> None:
    summary = ingested("affwild", TREE | {"videos/test/107.avi": "x"})
    assert summary.splits == {"test": 1, "train": 4}
    assert "affwild/test/107" not in lake.read("affwild", "labels/human").column("sample_id").to_pylist()


def test_a_header_of_affwild2_is_not_this_dataset(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="not recognised"):
        ingested("affwild", TREE | {"annotations/train/valence/318.txt": "valence,arousal\n0,0\n"})
