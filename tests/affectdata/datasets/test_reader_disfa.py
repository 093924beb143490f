"""DISFA and DISFA+ from lines as the dataset page shows them."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import scipy.io
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import disfa
from affectdata.datasets.disfa_codes import read_codes
from affectdata.datasets.disfa_landmarks import BAD_TRACKING, failed
from affectdata.datasets.disfa_media import avi_frames
from affectdata.datasets.disfa_plus import read_intensities
from affectdata.datasets.disfa_points import read_points
from affectdata.datasets.reading import Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
LINES = "1,0\n2,0\n3,1\n4,3\n"
PLUS = "# AU1\n# name intensity\n000.jpg   0\n001.jpg   4\n"
AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)


def labels(subject: str = "SN001", lines: str = LINES) -> dict[str, str | bytes]:
    return {f"DISFA/ActionUnit_Labels/{subject}/{subject}_au{au}.txt": lines for au in AUS}


VIDEO = {"DISFA/Videos_LeftCamera/LeftVideoSN001_comp.avi": ""}
TREE = labels() | VIDEO
FRAMES = {f"SN001/{number}.png": "" for number in range(4)}


def mat(points: np.ndarray, name: str = "pts", compressed: bool = True) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"other": np.zeros((2, 2)), name: points}, do_compression=compressed)
    return buffer.getvalue()


POINTS = np.arange(132, dtype=float).reshape(66, 2) + 0.25


def rows(lake: Lake, layer: str) -> dict[str, dict[str, object]]:
    return {row["sample_id"]: row for row in lake.read("disfa", layer).to_pylist()}


def test_label_frame_f_is_the_fth_decoded_frame_and_intensities_stay_as_released(lake: Lake, ingested: Run) -> None:
    summary = ingested("disfa", TREE)
    assert summary.samples == 4
    assert not summary.rejects
    last = rows(lake, "samples")["disfa/SN001/left/00004"]
    assert (last["frame"], last["frame_index"]) == (3, 4)
    assert (last["subject_id"], last["group_id"], last["sequence_id"]) == ("SN001", "disfa:SN001", "SN001/left")
    said = rows(lake, "labels/human")["disfa/SN001/left/00004"]
    assert (said["au01_intensity"], said["au26_intensity"], said["au07_intensity"]) == (3, 3, None)
    assert said["au01"] is None
    assert lake.layer("disfa", "labels/human").facts.au_cut == 2


def test_both_cameras_share_the_labels(lake: Lake, ingested: Run) -> None:
    tree = TREE | {"DISFA/Video_RightCamera/RightVideoSN001_Comp.avi": ""}
    assert ingested("disfa", tree, camera="both").samples == 8
    said = rows(lake, "labels/human")
    assert said["disfa/SN001/right/00004"]["au04_intensity"] == said["disfa/SN001/left/00004"]["au04_intensity"] == 3


def test_a_camera_that_is_not_there_is_asked_for_in_words(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="choose --camera"):
        ingested("disfa", TREE, camera="right")
    with pytest.raises(DatasetError, match="--media videos or --media images"):
        ingested("disfa", TREE | FRAMES)


@pytest.mark.parametrize(
    ("names", "base", "first"),
    [
        ([f"SN001/{n}.png" for n in range(4)], "auto", "SN001/0.png"),
        ([f"SN001/{n:05d}.png" for n in range(1, 5)], "auto", "SN001/00001.png"),
        (
            [f"LeftVideoSN001_comp.avi/frame-{n}.jpg" for n in range(1, 5)],
            "auto",
            "LeftVideoSN001_comp.avi/frame-1.jpg",
        ),
        ([f"SN001/{n}.png" for n in range(5)], "1", "SN001/1.png"),
    ],
)
def test_extracted_frames_are_found_by_number_and_their_base(
    names: list[str], base: str, first: str, lake: Lake, ingested: Run
) -> None:
    summary = ingested("disfa", labels() | dict.fromkeys(names, ""), **{"image-base": base})
    assert not summary.rejects
    found = rows(lake, "samples")["disfa/SN001/left/00001"]
    assert (found["path"], found["frame"]) == (first, None)


def test_bad_lines_and_files_cost_only_their_cells(lake: Lake, ingested: Run) -> None:
    folder = "DISFA/ActionUnit_Labels/SN001/"
    tree = TREE | {
        f"{folder}SN001_au1.txt": "1,0\r\n2,9\r\n3,1\r\n4,x\r\n",
        f"{folder}SN001_au2.txt": "1,0\n2,0\n3,1\n",
    }
    del tree[f"{folder}SN001_au26.txt"]
    summary = ingested("disfa", tree | {f"{folder}SN002_au26.txt": LINES})
    wanted = {"out-of-range": 1, "bad-number": 1, "length-mismatch": 1, "missing-annotation": 1, "id-mismatch": 1}
    assert rejects(summary) == wanted
    said = rows(lake, "labels/human")
    assert [said[f"disfa/SN001/left/{n:05d}"]["au01_intensity"] for n in range(1, 5)] == [0, None, 1, None]
    assert said["disfa/SN001/left/00004"]["au02_intensity"] is None
    assert said["disfa/SN001/left/00004"]["au04_intensity"] == 3


def test_both_schemes_of_point_files_count_from_their_own_base(lake: Lake, ingested: Run) -> None:
    folder = "DISFA/Landmark_Points/SN001/tmp_frame_lm/"
    tree = TREE | {
        f"{folder}SN001_0001_lm.mat": mat(POINTS),
        f"{folder}l00004_lm.mat": mat(POINTS + 1, compressed=False),
    }
    assert not ingested("disfa", tree).rejects
    found = rows(lake, "labels/auto")
    assert set(found) == {"disfa/SN001/left/00002", "disfa/SN001/left/00004"}
    points = np.array(found["disfa/SN001/left/00002"]["landmarks"], float).reshape(68, 2)
    np.testing.assert_allclose(np.delete(points, [60, 64], axis=0), POINTS)
    assert np.isnan(points[[60, 64]]).all()
    ingested("disfa", tree, **{"landmark-base": "1"})
    shifted = rows(lake, "labels/auto")["disfa/SN001/left/00002"]["landmarks"]
    assert shifted[0] == POINTS[0, 0] - 1


def test_more_point_files_than_frames_are_not_matched_by_guess(lake: Lake, ingested: Run) -> None:
    folder = "DISFA/Landmark_Points/SN001/tmp_frame_lm/"
    tree = TREE | {f"{folder}SN001_{n:04d}_lm.mat": mat(POINTS) for n in range(5)}
    assert rejects(ingested("disfa", tree)) == {"length-mismatch": 1}
    assert not lake.has("disfa", "labels/auto")


@pytest.mark.parametrize("first", [0, 2])
def test_point_files_whose_numbers_leave_the_labelled_frames_are_not_matched(
    first: int, lake: Lake, ingested: Run
) -> None:
    folder = "DISFA/Landmark_Points/SN001/tmp_frame_lm/"
    tree = TREE | {f"{folder}l{n:05d}_lm.mat": mat(POINTS) for n in range(first, first + 4)}
    assert rejects(ingested("disfa", tree)) == {"length-mismatch": 1}
    assert not lake.has("disfa", "labels/auto")


def test_a_label_file_that_counts_from_0_is_refused_and_not_read_one_frame_late(lake: Lake, ingested: Run) -> None:
    tree = TREE | {"DISFA/ActionUnit_Labels/SN001/SN001_au1.txt": "0,5\n1,4\n2,3\n3,2\n"}
    assert rejects(ingested("disfa", tree)) == {"out-of-range": 4}
    assert {row["au01_intensity"] for row in rows(lake, "labels/human").values()} == {None}


def test_two_pictures_of_one_number_are_not_both_a_frame(lake: Lake, ingested: Run) -> None:
    tree = labels() | {f"SN001/{n:04d}.png": "" for n in range(1, 5)} | {"SN001/2.jpg": ""}
    assert rejects(ingested("disfa", tree)) == {"duplicate-key": 1}
    assert rows(lake, "samples")["disfa/SN001/left/00002"]["path"] == "SN001/0002.png"


def test_folders_that_count_from_different_numbers_are_reported(ingested: Run) -> None:
    tree = labels() | labels("SN002") | FRAMES | {f"SN002/{n}.png": "" for n in range(1, 5)}
    summary = ingested("disfa", tree)
    assert [warning for warning in summary.warnings if "--image-base" in warning and "from 1 in SN002" in warning]
    quiet = ingested("disfa", labels() | FRAMES, **{"image-base": "0"})
    assert not [warning for warning in quiet.warnings if "--image-base" in warning]


def test_only_the_word_right_makes_a_folder_of_the_right_camera(lake: Lake, ingested: Run) -> None:
    ingested("disfa", labels() | {f"copyright/SN001/{n}.png": "" for n in range(4)})
    assert "disfa/SN001/left/00001" in rows(lake, "samples")


def test_the_lengths_of_video_and_labels_are_compared_line_by_line(ingested: Run) -> None:
    def video(frames: int) -> dict[str, str | bytes]:
        head = b"RIFF\0\0\0\0AVI LIST\0\0\0\0hdrlavih" + b"\x38\0\0\0" + b"\0" * 16
        return {"DISFA/Videos_LeftCamera/LeftVideoSN001_comp.avi": head + frames.to_bytes(4, "little")}

    tree = labels(lines=LINES.replace(",", ", "))
    assert not [w for w in ingested("disfa", tree | video(4)).warnings if "label lines" in w]
    assert [w for w in ingested("disfa", tree | video(5)).warnings if "5 video frames, 4 label lines" in w]


def test_frames_of_failed_tracking_are_those_of_the_page() -> None:
    assert sum(high - low + 1 for ranges in BAD_TRACKING.values() for low, high in ranges) == 4670
    parts = [sum(h - l_ + 1 for s in part for l_, h in BAD_TRACKING.get(s, ())) for part in disfa.PARTS]
    assert parts == [431, 3261, 978]
    assert len({s for part in disfa.PARTS for s in part}) == 27
    assert failed("SN002", np.array([799, 800, 826, 827])).tolist() == [False, True, True, False]


def test_failed_tracking_is_left_out_of_the_protocol_and_keeps_its_labels(lake: Lake, ingested: Run) -> None:
    lines = "799,1\n800,2\n"
    ingested("disfa", labels("SN002", lines) | {"DISFA/Videos_LeftCamera/LeftVideoSN002_comp.avi": ""})
    assert len(rows(lake, "labels/human")) == 2
    plain, tracked = (lake.read("disfa", f"protocols/{p}").to_pylist() for p in ("3fold", "3fold-tracked"))
    assert [(row["role"], row["fold"]) for row in plain] == [("test", 0), ("test", 0)]
    assert [(row["role"], row["fold"]) for row in tracked] == [("test", 0), ("ignore", None)]


def test_disfa_plus_is_read_by_picture_and_its_people_are_those_of_disfa(lake: Lake, ingested: Run) -> None:
    trial = "A1_AU1_TrailNo_1"
    tree: dict[str, str] = {f"P/Labels/SN001/{trial}/AU{au}.txt": PLUS for au in AUS}
    tree |= {f"P/Images/SN001/{trial}/{n:03d}.jpg": "" for n in range(3)}
    assert ingested("disfa", tree).samples == 3
    said = rows(lake, "labels/human")
    assert {key: row["au12_intensity"] for key, row in said.items()} == {
        f"disfa/SN001/{trial}/000": 0,
        f"disfa/SN001/{trial}/001": 4,
    }
    assert rows(lake, "samples")[f"disfa/SN001/{trial}/002"]["group_id"] == "disfa:SN001"
    with pytest.raises(DatasetError, match="--part disfaplus"):
        ingested("disfa", tree | TREE)


def test_disfa_plus_joins_labels_and_pictures_whatever_their_case(lake: Lake, ingested: Run) -> None:
    tree: dict[str, str] = {f"Labels/SN001/t/AU{au}.txt": PLUS for au in AUS}
    tree |= {f"Images/SN001/t/{n:03d}.JPG": "" for n in range(2)}
    assert not ingested("disfa", tree).rejects
    assert rows(lake, "labels/human")["disfa/SN001/t/001"]["au12_intensity"] == 4


def test_two_copies_of_disfa_plus_are_named(ingested: Run) -> None:
    tree: dict[str, str] = {f"{top}/Labels/SN001/t/AU{au}.txt": PLUS for au in AUS for top in ("a", "b")}
    with pytest.raises(DatasetError, match="a/, b/"):
        ingested("disfa", tree)


def test_the_length_of_a_video_is_read_from_its_header() -> None:
    head = b"RIFF\0\0\0\0AVI LIST\0\0\0\0hdrlavih" + b"\x38\0\0\0" + b"\0" * 16 + (4845).to_bytes(4, "little")
    assert avi_frames(head) == 4845
    assert avi_frames(head[:40]) is None
    assert avi_frames(b"") is None


@pytest.mark.parametrize(
    "data",
    [
        mat(POINTS[:65]),
        mat(POINTS.T),
        mat(POINTS, "other_name"),
        mat(POINTS + 1j),
        mat(np.where(POINTS > 5, np.nan, POINTS)),
        mat(POINTS)[:300],
        b"MATLAB 7.3 MAT-file",
    ],
)
def test_point_files_that_hold_something_else_are_refused(data: bytes) -> None:
    reject = Reject()
    assert read_points(data, "x.mat", reject, base=0) is None
    assert reject.counts() == {"bad-landmarks": 1}


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled(mat(POINTS, compressed=False)), mangled(mat(POINTS))))
def test_no_point_file_does_more_than_be_refused(data: bytes) -> None:
    reject = Reject()
    points = read_points(data, "x.mat", reject, base=0)
    assert (points is None) == (len(reject) == 1)


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled(LINES.encode(), [b"6", b"1,0", b"-", b"\xef\xbb\xbf"])))
def test_every_line_of_a_label_file_is_a_frame_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = read_codes(data, ["intensity"], disfa.CODING, "au.txt", reject)
    refused = sum(n for reason, n in reject.counts().items() if reason != "conflicting-duplicate")
    doubled = reject.counts()["conflicting-duplicate"]
    unknown_cells = int(np.isnan(found.values).sum())
    assert found.lines <= len(found.frames) + refused + doubled
    assert found.lines >= len(found.frames)
    assert unknown_cells <= len(reject)
    assert np.all(np.diff(found.frames) > 0)


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled(PLUS.encode(), [b"7", b"  ", b"000.jpg   1", b"#"])))
def test_every_line_of_a_disfa_plus_file_is_a_picture_a_header_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = read_intensities(data, "AU1.txt", reject)
    bare = data.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    comments = [line for line in bare if line.strip() and line.lstrip().startswith("#")]
    counted = len([line for line in bare if line.strip()])
    assert counted <= len(found) + len(reject) + len(comments) + 2
    assert sum(value is None for value in found.values()) <= len(reject)
