"""Aff-Wild2 from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets.affwild2_files import AUS12, CLASSES, VA_HEADER, read_mtl, read_track
from affectdata.datasets.affwild2_tree import video_of
from affectdata.datasets.reading import Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import AffectError, DatasetError, UnknownNameError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
VA = "valence,arousal\n0.411,0.257\n-0.063,0.3\n-5,-5\n"
EXPR = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n0\n0\n7\n-1\n4\n"
AU = (
    "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26\n0,0,1,0,1,0,0,0,0,0,1,0\n"
    "0,0,0,0,1,0,0,0,0,1,0,0\n-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1\n"
)
MTL = """image,valence,arousal,expression,aus
128/00002.jpg,0.11,0.233,4,0,0,0,1,0,0,1,0,0,0,1,0
128/00019.jpg,0.14,0.21,-1,0,0,0,1,0,0,1,0,0,0,1,0
video7/00104.jpg,-5.0,-5.0,0,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1
10-60-1280x720_right/00412.jpg,0.1,0.2,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1
"""
TOP = "6th ABAW Annotations"
EXPR_TRAIN = f"{TOP}/EXPR_Recognition_Challenge/Train_Set"


def tree(track: str = "128", frames: int = 5) -> dict[str, str]:
    pictures = {f"cropped_aligned/{track}/{number:05d}.jpg": "" for number in range(1, frames + 1)}
    return pictures | {
        f"{TOP}/VA_Estimation_Challenge/Train_Set/{track}.txt": VA,
        f"{EXPR_TRAIN}/{track}.txt": EXPR,
        f"{TOP}/AU_Detection_Challenge/Train_Set/{track}.txt": AU,
    }


def labels(lake: Lake, *columns: str, source: str = "human-abaw6") -> dict[str, tuple[object, ...]]:
    rows = lake.read("affwild2", f"labels/{source}").to_pylist()
    return {row["sample_id"].removeprefix("affwild2/"): tuple(row[name] for name in columns) for row in rows}


def test_data_line_k_is_picture_k_in_every_task(lake: Lake, ingested: Run) -> None:
    summary = ingested("affwild2", tree())
    found = labels(lake, "valence", "expression", "au04", "au25")
    assert found["128/00001"] == (pytest.approx(0.411), "neutral", 1, 1)
    assert found["128/00003"] == (None, "other", None, None)
    assert found["128/00005"] == (None, "happiness", None, None)
    assert "128/00004" not in found  # -1, and no line of another task
    assert (summary.samples, rejects(summary)) == (5, {})
    roles = {(r["sample_id"], r["task"], r["role"]) for r in lake.read("affwild2", "protocols/abaw6").to_pylist()}
    assert ("affwild2/128/00001", "au", "train") in roles


def test_minus_five_in_one_field_makes_both_unknown(lake: Lake, ingested: Run) -> None:
    content = tree() | {
        f"{TOP}/VA_Estimation_Challenge/Train_Set/128.txt": "valence,arousal\n-5.0,0.3\n0.1,-5.000\n0,0\n"
    }
    ingested("affwild2", content)
    found = labels(lake, "valence", "arousal")
    assert [found[f"128/0000{k}"] for k in (1, 2, 3)] == [(None, None), (None, None), (0, 0)]


def test_a_label_without_picture_is_refused_and_a_picture_without_line_is_unlabelled(lake: Lake, ingested: Run) -> None:
    content = tree() | {"cropped_aligned/128/00007.jpg": "", "cropped_aligned/128/00001_3d.jpg": ""}
    del content["cropped_aligned/128/00002.jpg"], content["cropped_aligned/128/00004.jpg"]
    summary = ingested("affwild2", content)
    assert rejects(summary) == {"missing-image": 1}  # line 4 says nothing, so nothing is missing
    assert summary.samples == 4
    assert "128/00007" not in labels(lake, "valence")


def test_videos_are_read_at_the_line_before(lake: Lake, ingested: Run) -> None:
    ingested("affwild2", tree() | {"batch1/128.avi": "x"}, media="video")
    rows = lake.read("affwild2", "samples").to_pylist()
    assert [(r["path"], r["frame"], r["frame_index"]) for r in rows] == [
        ("batch1/128.avi", k - 1, k) for k in range(1, 6)
    ]
    assert {r["group_id"] for r in rows} == {"affwild2:128"}


def test_a_track_in_train_and_validation_is_only_scored(lake: Lake, ingested: Run) -> None:
    track = "122-60-1920x1080-1"
    content = tree(track) | {f"{TOP}/EXPR_Recognition_Challenge/Validation_Set/{track}.txt": EXPR}
    summary = ingested("affwild2", content)
    assert rejects(summary) == {"split-leak": 1}
    rows = lake.read("affwild2", "protocols/abaw6").to_pylist()
    assert {r["role"] for r in rows if r["task"] == "expression"} == {"val"}
    assert {r["role"] for r in rows if r["task"] == "va"} == {"train"}


def test_two_persons_of_one_video_in_two_splits_are_named(ingested: Run) -> None:
    left, right = "135-24-1920x1080_left", "135-24-1920x1080_right"
    content = tree(left) | {f"{TOP}/EXPR_Recognition_Challenge/Validation_Set/{right}.txt": EXPR}
    summary = ingested("affwild2", content)
    assert any("split-leak" in said and "135-24-1920x1080" in said for said in summary.warnings)


def test_classes_come_from_the_header(lake: Lake, ingested: Run) -> None:
    seven = EXPR.replace(",Other", "")
    content = {"annotations/EXPR_Set/Train_Set/128.txt": seven, "cropped_aligned/128/00003.jpg": ""}
    summary = ingested("affwild2", content, edition="abaw2")
    assert rejects(summary) == {"unknown-code": 1, "missing-image": 3}
    assert "other" not in lake.layer("affwild2", "labels/human-abaw2").facts.offered["expression"]


def test_a_file_of_another_edition_among_them_is_refused(ingested: Run) -> None:
    content = tree() | {f"{EXPR_TRAIN}/97.txt": EXPR.replace(",Other", "").replace("7", "6")}
    assert rejects(ingested("affwild2", content)) == {"unknown-header": 1}


def test_editions_side_by_side_are_refused_until_one_is_named(lake: Lake, ingested: Run) -> None:
    content = tree() | {"Third ABAW Annotations/EXPR_Classification_Challenge/Train_Set/128.txt": EXPR}
    with pytest.raises(DatasetError, match="--edition"):
        ingested("affwild2", content)
    ingested("affwild2", content, edition="abaw3")
    assert lake.has("affwild2", "labels/human-abaw3")
    with pytest.raises(DatasetError, match="no edition abaw1"):
        ingested("affwild2", content, edition="abaw1")
    with pytest.raises(UnknownNameError):
        ingested("affwild2", content, edition="abaw9")


def test_an_edition_that_cannot_be_told_is_recorded_as_unknown(lake: Lake, ingested: Run) -> None:
    content = {path.replace("6th ABAW ", ""): text for path, text in tree().items()}
    summary = ingested("affwild2", content)
    assert lake.has("affwild2", "labels/human-unknown")
    assert any("--edition" in said for said in summary.warnings)


def test_test_lists_are_never_labels(lake: Lake, ingested: Run) -> None:
    dummy = "image_location,valence,arousal\n14-30-1920x1080/00001.jpg,0.5,-0.5\n"
    content = tree() | {"CVPR_6th_ABAW_VA_test_set_sample.txt": dummy, "cropped_aligned/14-30-1920x1080/00001.jpg": ""}
    assert rejects(ingested("affwild2", content)) == {"test-list": 1}
    assert "14-30-1920x1080/00001" not in labels(lake, "valence")


def test_multi_task_lists_have_sixteen_fields_and_repeat_pictures() -> None:
    reject = Reject()
    again = "128/00002.jpg,0.11,0.233,4,0,0,0,1,0,0,1,0,0,0,1,0\n128/00019.jpg,0.9,0.9,1" + ",0" * 12 + "\n"
    found = read_mtl(f"{MTL}{again}128/00020.jpg,1\n".encode(), "list.txt", reject)
    assert reject.counts() == {"duplicate-key": 1, "conflicting-duplicate": 1, "bad-field-count": 1}
    assert found["128"].numbers.tolist() == [2]
    assert found["128"].labels.to_pylist()[0] | {"valence": 0, "arousal": 0} == {
        **{f"au{au:02d}": int(au in (6, 12, 25)) for au in AUS12},
        **{"expression": "happiness", "valence": 0, "arousal": 0},
    }
    assert found["video7"].labels.column("valence").to_pylist() == [None]


@pytest.mark.parametrize(
    ("track", "video"), [("video10_1", "video10_1"), ("video10_1_left", "video10_1"), ("6_right", "6")]
)
def test_only_left_and_right_are_cut_from_a_track(track: str, video: str) -> None:
    assert video_of(track) == video


@pytest.mark.fuzz
@FUZZ
@given(data=st.one_of(any_bytes, mangled(VA.encode(), [b"-5", b"2.5"])))
def test_of_any_bytes_every_line_of_a_track_is_a_row(data: bytes) -> None:
    reject = Reject()
    try:
        marks = read_track(b"valence,arousal\n" + data, "va", VA_HEADER, "f", reject)
    except AffectError:
        return
    body = data.rstrip()
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n") if body else []
    assert marks is not None
    assert len(marks.numbers) == len(lines)
    assert marks.labels.column("valence").null_count >= len(reject)


@pytest.mark.fuzz
@FUZZ
@given(data=st.one_of(any_bytes, mangled(MTL.partition("\n")[2].encode(), [b"128/00002.jpg"])))
def test_of_any_bytes_every_line_of_a_list_is_a_picture_or_a_reject(data: bytes) -> None:
    reject = Reject()
    try:
        found = read_mtl(b"image,valence,arousal,expression,aus\n" + data, "f", reject)
    except AffectError:
        return
    lines = sum(1 for line in data.split(b"\n") if line.strip(b"\r"))
    named = sum(len(marks.numbers) for marks in found.values())
    assert named <= lines <= named + 2 * len(reject)
    for marks in found.values():
        assert set(marks.labels.column("expression").to_pylist()) <= {None, *CLASSES}
