"""CK+ from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given

from affectdata.datasets.ckplus_files import CODES, FACE_AUS, emotion_of, facs_of, landmarks_of
from affectdata.datasets.ckplus_frames import FOLD_SUBJECTS, FOLDS
from affectdata.datasets.reading import Reject
from affectdata.datasets.text import lines
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
EMOTION = "   3.0000000e+00\n"
FACS = """   1.0000000e+00   4.0000000e+00
   2.0000000e+00   4.0000000e+00
   5.0000000e+00   0.0000000e+00
   2.5000000e+01   5.0000000e+00
"""
POINTS = "   2.0743372e+02   1.9264301e+02\n   2.0783650e+02   2.1302122e+02\n" + 66 * "   2.1e+02   2.2e+02\n"
PICTURES = {f"cohn-kanade-images/S005/001/S005_001_{n:08d}.png": "" for n in range(1, 12)}
TREE = PICTURES | {
    "Emotion/S005/001/S005_001_00000011_emotion.txt": EMOTION,
    "FACS/S005/001/S005_001_00000011_facs.txt": FACS,
    "Landmarks/S005/001/S005_001_00000001_landmarks.txt": POINTS,
}
CK48 = {f"CK+48/anger/S010_004_000000{n}.png": "" for n in (17, 18, 19)}


def layer(lake: Lake, name: str, column: str = "expression") -> dict[str, object]:
    table = lake.read("ckplus", name, ["sample_id", column])
    names = [key.removeprefix("ckplus/") for key in table.column("sample_id").to_pylist()]
    return {key: value for key, value in zip(names, table.column(column).to_pylist(), strict=True) if value is not None}


def test_only_the_peak_has_the_emotion_and_rules_say_the_rest(lake: Lake, ingested: Run) -> None:
    summary = ingested("ckplus", TREE)
    assert summary.samples == 11
    assert not summary.rejects
    assert layer(lake, "labels/human") == {"S005/001/00000011": "disgust"}
    assert layer(lake, "labels/derived-last3") == {f"S005/001/000000{n:02d}": "disgust" for n in (9, 10, 11)}
    assert layer(lake, "labels/derived-first-neutral") == {"S005/001/00000001": "neutral"}
    first = lake.read("ckplus", "samples").to_pylist()[0]
    assert (first["subject_id"], first["sequence_id"], first["frame_index"]) == ("S005", "S005/001", 1)


def test_a_listed_au_is_present_and_intensity_nought_is_unknown(lake: Lake, ingested: Run) -> None:
    ingested("ckplus", TREE)
    row = lake.read("ckplus", "labels/human").to_pylist()[0]
    assert [row[f"au{au:02d}"] for au in (1, 2, 5, 25, 12, 46)] == [1, 1, 1, 1, 0, 0]
    assert row["au51"] is None
    assert row["au01_intensity"] == 4
    assert row["au05_intensity"] is None
    assert row["au12_intensity"] is None


def test_landmarks_are_machine_made_and_not_shifted(lake: Lake, ingested: Run) -> None:
    ingested("ckplus", TREE)
    points = layer(lake, "labels/auto", "landmarks")
    assert list(points) == ["S005/001/00000001"]
    assert points["S005/001/00000001"][:4] == pytest.approx([207.43372, 192.64301, 207.83650, 213.02122])
    assert "not shifted" in lake.layer("ckplus", "labels/auto").facts.landmark_base


def test_no_emotion_file_is_unknown_and_never_neutral(lake: Lake, ingested: Run) -> None:
    tree = PICTURES | {"Emotion/S005/001/.DS_Store": "Bud1", "FACS/S005/001/S005_001_00000011_facs.txt": FACS}
    ingested("ckplus", tree)
    assert layer(lake, "labels/human") == {}
    assert layer(lake, "labels/human", "au01") == {"S005/001/00000011": 1}
    assert layer(lake, "labels/derived-first-neutral") == {}


def test_zip_named_parents_and_other_case_are_the_same_tree(lake: Lake, ingested: Run) -> None:
    tops = {
        "cohn-kanade-images": "ck/extended-cohn-kanade-images/cohn-kanade-images",
        "Emotion": "ck/Emotion_labels/emotion",
        "FACS": "ck/FACS_labels/FACS",
        "Landmarks": "ck/Landmarks",
    }
    tree = {path.replace(path.split("/")[0], tops[path.split("/")[0]], 1): text for path, text in TREE.items()}
    summary = ingested("ckplus", tree)
    assert summary.samples == 11
    assert layer(lake, "labels/human") == {"S005/001/00000011": "disgust"}


def test_a_label_without_its_picture_is_refused(lake: Lake, ingested: Run) -> None:
    tree = {path: text for path, text in TREE.items() if "00000011.png" not in path}
    summary = ingested("ckplus", tree)
    assert rejects(summary) == {"missing-image": 1}
    assert layer(lake, "labels/derived-last3") == {f"S005/001/000000{n:02d}": "disgust" for n in (9, 10)}


def test_files_with_another_name_or_in_the_wrong_folder_are_refused(lake: Lake, ingested: Run) -> None:
    tree = TREE | {
        "FACS/S005/001/S0005_001_00000011_facs.txt": FACS,
        "Emotion/S005/002/S005_001_00000010_emotion.txt": EMOTION,
        "cohn-kanade-images/S005/001/Thumbs.db": "",
    }
    assert rejects(ingested("ckplus", tree)) == {"bad-name": 1, "id-mismatch": 1}
    assert layer(lake, "labels/human") == {"S005/001/00000011": "disgust"}


def test_two_emotion_files_of_one_sequence_are_a_conflict(lake: Lake, ingested: Run) -> None:
    tree = TREE | {"Emotion/S005/001/S005_001_00000010_emotion.txt": EMOTION}
    assert rejects(ingested("ckplus", tree)) == {"conflicting-duplicate": 2}
    assert layer(lake, "labels/human") == {}


def test_a_file_that_names_another_frame_than_the_last_is_refused(lake: Lake, ingested: Run) -> None:
    tree = PICTURES | {
        "Emotion/S005/001/S005_001_00000009_emotion.txt": EMOTION,
        "FACS/S005/001/S005_001_00000010_facs.txt": FACS,
    }
    assert rejects(ingested("ckplus", tree)) == {"id-mismatch": 2}
    assert not lake.has("ckplus", "labels/derived-last3") or not layer(lake, "labels/derived-last3")


def test_the_same_picture_twice_is_an_ambiguous_tree(ingested: Run) -> None:
    tree = TREE | {"cropped/S005/001/S005_001_00000001.png": ""}
    with pytest.raises(DatasetError, match="holds one copy only"):
        ingested("ckplus", tree)


def test_beside_the_official_tree_ck48_is_read_only_when_asked_for(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="--variant official or --variant ck48"):
        ingested("ckplus", TREE | CK48)
    assert ingested("ckplus", TREE | CK48, variant="official").samples == 11
    assert ingested("ckplus", TREE | CK48, variant="ck48").samples == 3


def test_ck48_is_the_last_three_frames_and_its_last_the_peak(lake: Lake, ingested: Run) -> None:
    tree = CK48 | {
        "CK+48/happy/S011_006_00000012.png": "",
        "CK+48/neutral/S011_006_00000001.png": "",
        "CK+48/happy/copy.png": "",
    }
    assert rejects(ingested("ckplus", tree)) == {"unknown-class-folder": 1, "bad-name": 1}
    assert layer(lake, "labels/human") == {"S010/004/00000019": "anger"}
    last = {f"S010/004/000000{n}": "anger" for n in (17, 18, 19)}
    assert layer(lake, "labels/derived-last3") == last | {"S011/006/00000012": "happiness"}
    assert "repack" in lake.layer("ckplus", "labels/human").facts.rule


def test_a_sequence_in_two_class_folders_keeps_no_label(lake: Lake, ingested: Run) -> None:
    summary = ingested("ckplus", CK48 | {"CK+48/fear/S010_004_00000019.png": ""})
    assert rejects(summary) == {"conflicting-duplicate": 1, "duplicate-key": 1}
    assert layer(lake, "labels/derived-last3") == {}


@pytest.mark.parametrize(
    "tree",
    [
        {"ckextended.csv": "emotion,pixels,Usage\n6,1 2 3 4,Training\n"},
        {"ckplus_labels.csv": "image,label\nimage_000000.png,3\n", "image_000000.png": ""},
    ],
)
def test_repacks_without_people_are_refused_with_what_to_do(tree: dict[str, str], ingested: Run) -> None:
    with pytest.raises(DatasetError, match="affect ingest table"):
        ingested("ckplus", tree)


def test_folds_take_every_tenth_labelled_subject() -> None:
    assert len(FOLD_SUBJECTS) == len(set(FOLD_SUBJECTS)) == 118
    assert list(FOLD_SUBJECTS) == sorted(FOLD_SUBJECTS)
    # First and last subjects of the published list's folds 1, 2, 7, 10.
    assert [FOLDS[s] for s in ("S005", "S501", "S010", "S502", "S028", "S895", "S034", "S160")] == [
        *(0, 0, 1, 1, 6, 6, 9, 9),
    ]


def test_folds_score_labelled_frames_only(lake: Lake, ingested: Run) -> None:
    ingested("ckplus", TREE)
    rows = lake.read("ckplus", "protocols/ten-fold-last3-neutral").to_pylist()
    assert [(row["sample_id"][-2:], row["role"], row["fold"]) for row in rows] == [
        (n, "test", 0) for n in ("01", "09", "10", "11")
    ]
    assert lake.read("ckplus", "protocols/ten-fold-peak").num_rows == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing-annotation"),
        ("   8.0000000e+00\n", "unknown-code"),
        ("   3.5000000e+00\n", "bad-number"),
        ("nan", "bad-number"),
        ("3 3", "bad-field-count"),
    ],
)
def test_an_emotion_that_is_no_known_code_is_refused(text: str, reason: str) -> None:
    reject = Reject()
    assert emotion_of(text.encode(), "e.txt", reject) is None
    assert reject.counts() == {reason: 1}


def test_a_line_that_cannot_be_read_leaves_no_au_absent() -> None:
    reject = Reject()
    found = facs_of(b"   1.0e+00   4.0e+00\nx 2\n", "f.txt", reject)
    assert found.occurrence() == {1: 1}
    assert reject.counts() == {"bad-number": 1}


def test_an_intensity_out_of_range_leaves_its_au_unknown() -> None:
    reject = Reject()
    found = facs_of(b"1 4\n9 7\n12 2.5\n", "f.txt", reject)
    assert set(FACE_AUS) - set(found.occurrence()) == {9, 12}
    assert reject.counts() == {"out-of-range": 1, "bad-number": 1}


def test_an_au_listed_twice_keeps_what_both_lines_say() -> None:
    reject = Reject()
    found = facs_of(b"1 4\n1 4\n2 3\n2 1\n", "f.txt", reject)
    assert (found.occurrence()[1], found.occurrence()[2]) == (1, 1)
    assert found.intensity() == {1: 4}
    assert reject.counts() == {"duplicate-key": 1, "conflicting-duplicate": 1}


def test_a_file_of_one_line_is_one_au() -> None:
    found = facs_of(b"   1.2000000e+01   3.0000000e+00\n", "f.txt", Reject())
    assert found.intensity() == {12: 3}


@pytest.mark.fuzz
@FUZZ
@given(mangled(FACS.encode(), [b"64", b"0.0000000e+00", b"7"]) | any_bytes)
def test_every_line_of_a_facs_file_is_an_au_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = facs_of(data, "f.txt", reject)
    rows = list(lines(data))
    assert len(found.listed) + len(reject) == max(1, len(rows))
    assert all(1 <= value <= 5 for value in found.intensity().values())
    assert set(found.occurrence().values()) <= {0, 1}


@pytest.mark.fuzz
@FUZZ
@given(mangled(EMOTION.encode(), [b"8", b"0.5"]) | any_bytes)
def test_every_line_of_an_emotion_file_is_a_class_or_a_reject(data: bytes) -> None:
    reject = Reject()
    name = emotion_of(data, "e.txt", reject)
    assert (name in CODES.values()) + len(reject) == max(1, len(list(lines(data))))


@pytest.mark.fuzz
@FUZZ
@given(mangled(POINTS.encode(), [b"1e30", b"_"]) | any_bytes)
def test_a_landmark_file_is_68_points_or_a_reject(data: bytes) -> None:
    reject = Reject()
    points = landmarks_of(data, "l.txt", reject)
    assert (points is not None) + len(reject) == 1
    if points is not None:
        assert np.isfinite(points).all()
        assert len(list(lines(data))) == 68
