"""JAFFE from the names and the table that the dataset page shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given

from affectdata.datasets.jaffe_ratings import has_ratings, joined, looks_like_row, read_ratings, table_lines
from affectdata.datasets.reading import Reject
from affectdata.ingest_summary import IngestSummary
from affectdata.media import decode
from affectdata.synthetic.jaffe import big_endian_tiff, palette_tiff
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
README = """The numbers are mean ratings of 60 Japanese female observers.
# HAP SAD SUR ANG DIS FEA PIC
--------------------------------------------------------------
1 2.61 2.40 1.95 1.81 1.77 1.90 KM-NE1
2 4.72 1.22 1.64 1.10 1.13 1.16 KM-HA1
8 4.70 1.20 1.60 1.10 1.10 1.10 KM-HA5
53 4.50 1.30 1.50 1.20 1.20 1.20 YN-HA2

Semantic Ratings Data (Fear Excluded)
1 1.00 5.00 1.00 1.00 1.00 KM-HA1
2 1.00 5.00 1.00 1.00 1.00 1.00 KM-HA1
"""
HEADER = "# HAP SAD SUR ANG DIS FEA PIC\n"
PICTURES = {"jaffe/KM.NE1.1.tiff": "", "jaffe/KM.HA1.2.tiff": "", "jaffe/YM.HA2.53.tiff": "", "jaffe/.DS_Store": ""}
TREE = PICTURES | {"README_FIRST.txt": README}


def rows(lake: Lake, layer: str) -> dict[str, dict[str, object]]:
    return {row["sample_id"].removeprefix("jaffe/"): row for row in lake.read("jaffe", layer).to_pylist()}


def test_two_letters_of_the_name_are_the_pose_and_two_the_woman(lake: Lake, ingested: Run) -> None:
    ingested("jaffe", TREE)
    labels = {key: row["expression"] for key, row in rows(lake, "labels/human").items()}
    assert labels == {"KM.NE1.1": "neutral", "KM.HA1.2": "happiness", "YM.HA2.53": "happiness"}
    sample = rows(lake, "samples")["YM.HA2.53"]
    assert (sample["subject_id"], sample["path"], sample["gender"]) == ("YM", "jaffe/YM.HA2.53.tiff", "female")
    assert "asked to pose" in lake.layer("jaffe", "labels/human").facts.rule


def test_ratings_are_kept_as_shares_and_not_of_neutral_pictures(lake: Lake, ingested: Run) -> None:
    ingested("jaffe", TREE)
    found = rows(lake, "labels/derived-ratings")
    assert set(found) == {"KM.HA1.2"}
    total = 4.72 + 1.22 + 1.64 + 1.10 + 1.13 + 1.16
    # neutral, happiness, sadness, surprise, fear, disgust, anger, contempt, other
    wanted = [0, 4.72, 1.22, 1.64, 1.16, 1.13, 1.10, 0, 0]
    assert found["KM.HA1.2"]["expression_probs"] == pytest.approx([value / total for value in wanted])
    assert found["KM.HA1.2"]["expression"] == "happiness"


def test_of_two_largest_ratings_neither_is_the_label(lake: Lake, ingested: Run) -> None:
    table = f"{HEADER}2 1.00 1.00 2.00 3.30 3.3 1.00 KM-HA1\n53 4.5 1.3 1.5 1.2 1.2 1.2 YM-HA2\n"
    assert not ingested("jaffe", PICTURES | {"README_FIRST.txt": table}).rejects
    assert set(rows(lake, "labels/derived-ratings")) == {"YM.HA2.53"}


def test_a_mistyped_id_is_told_from_a_row_without_a_picture_and_not_repaired(lake: Lake, ingested: Run) -> None:
    summary = ingested("jaffe", TREE)
    assert rejects(summary) == {"rating-without-image": 1, "id-mismatch": 1}
    refused = {row["reason"]: row["detail"] for row in lake.read("jaffe", "rejects").to_pylist()}
    assert refused["id-mismatch"] == "YN-HA2, but picture 53 is YM-HA2"
    assert "YM.HA2.53" not in rows(lake, "labels/derived-ratings")


@pytest.mark.parametrize("path", ["jaffe/README", "jaffe/A_README_FIRST.txt", "jaffe/readme_first.txt", "README"])
def test_the_readme_lies_in_or_beside_the_folder_under_any_of_its_names(path: str, lake: Lake, ingested: Run) -> None:
    summary = ingested("jaffe", PICTURES | {path: README.replace("\n", "\r\n")})
    assert not [warning for warning in summary.warnings if "ratings" in warning]
    assert set(rows(lake, "labels/derived-ratings")) == {"KM.HA1.2"}


def test_without_ratings_the_pictures_are_read_and_the_user_is_told(lake: Lake, ingested: Run) -> None:
    summary = ingested("jaffe", PICTURES | {"README.txt": "no table here\n"})
    assert summary.samples == 3
    assert any("README_FIRST.txt" in warning for warning in summary.warnings)
    assert not lake.has("jaffe", "labels/derived-ratings")


def test_converted_pictures_are_read_and_other_names_refused(ingested: Run) -> None:
    tree = {
        "jaffe_images_small/ka.an1.39.jpg": "",
        "jaffe_images_small/sheet.jpg": "",
        "jaffe_images_small/XX.AN1.40.jpg": "",
        "jaffe_images_small/KA.AN6.41.jpg": "",
    }
    summary = ingested("jaffe", tree)
    assert summary.samples == 1
    assert rejects(summary) == {"bad-name": 3}


def test_of_two_copies_one_is_read_and_only_when_asked_for(lake: Lake, ingested: Run) -> None:
    tree = TREE | {"jaffe_images_small/KM.HA1.2.jpg": ""}
    with pytest.raises(DatasetError, match="add --copy"):
        ingested("jaffe", tree)
    ingested("jaffe", tree, copy="small")
    assert {key: row["path"] for key, row in rows(lake, "samples").items()} == {
        "KM.HA1.2": "jaffe_images_small/KM.HA1.2.jpg"
    }


def test_each_woman_is_scored_in_a_fold_of_her_own(lake: Lake, ingested: Run) -> None:
    ingested("jaffe", {"KA.AN1.39.tiff": "", "YM.FE1.65.tiff": "", "YM.FE2.66.tiff": ""})
    found = rows(lake, "protocols/leave-one-subject-out")
    assert {key: (row["role"], row["fold"]) for key, row in found.items()} == {
        "KA.AN1.39": ("test", 0),
        "YM.FE1.65": ("test", 9),
        "YM.FE2.66": ("test", 9),
    }


def test_gray_and_palette_tiffs_decode_to_the_same_gray(tmp_path: Path) -> None:
    image = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64).astype(np.uint8)
    (tmp_path / "gray.tiff").write_bytes(big_endian_tiff(image))
    (tmp_path / "palette.tiff").write_bytes(palette_tiff(image))
    for name in ("gray.tiff", "palette.tiff"):
        assert (decode(tmp_path, name, gray=True) == image).all()
        assert (decode(tmp_path, name) == image[..., None]).all()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1 2.61 2.40 1.95 1.81 1.77 KM-NE1", "bad-field-count"),
        ("1 2.61 2.40 x 1.81 1.77 1.90 KM-NE1", "bad-number"),
        ("one 2.61 2.40 1.9 1.81 1.77 1.90 KM-NE1", "bad-number"),
        ("1 2.61 2.40 1.9 1.81 1.77 5.90 KM-NE1", "out-of-range"),
        ("1 2.61 2.40 1.9 1.81 1.77 0 KM-NE1", "out-of-range"),
        ("1 2.61 2.40 1.9 1.81 1.77 1.90 KM.NE1", "bad-name"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused(row: str, reason: str) -> None:
    reject = Reject()
    assert not list(read_ratings(f"{HEADER}{row}\n".encode(), "README", reject))
    assert reject.counts() == {reason: 1}


def test_columns_are_taken_by_the_names_in_the_header() -> None:
    text = b"# FEA SAD SUR ANG DIS HAP PIC\n1 1.1 1.2 1.3 1.4 1.5 1.6 KM-NE1\n"
    [rating] = read_ratings(text, "README", Reject())
    assert (rating.means["fear"], rating.means["happiness"]) == (1.1, 1.6)
    assert not has_ratings(b"# HAP SAD SUR ANG DIS PIC\n1 1.1 1.2 1.3 1.4 1.5 KM-NE1\n")


def test_rows_that_contradict_each_other_rate_nothing() -> None:
    text = f"{HEADER}1 2 2 2 2 2 2 KM-NE1\n1 2 2 2 2 2 3 KM-NE1\n2 2 2 2 2 2 2 KM-HA1\n2 2 2 2 2 2 2 KM-HA1\n"
    reject = Reject()
    found = joined(read_ratings(text.encode(), "README", reject), {"KM-NE1": 1, "KM-HA1": 2}, reject)
    assert set(found) == {"KM-HA1"}
    assert reject.counts() == {"conflicting-duplicate": 2, "duplicate-key": 1}


def test_numbers_of_a_cleaned_copy_that_are_no_serials_change_nothing() -> None:
    reject = Reject()
    text = f"{HEADER}2 2 2 2 2 2 2 KM-NE1\n1 3 2 2 2 2 2 KM-HA1\n"
    found = joined(read_ratings(text.encode(), "README", reject), {"KM-NE1": 1, "KM-HA1": 2}, reject)
    assert (found["KM-HA1"]["happiness"], found["KM-NE1"]["happiness"]) == (3, 2)
    assert not len(reject)


@pytest.mark.fuzz
@FUZZ
@given(mangled(README.encode(), [HEADER.encode(), b"KM-NE1", b"9.99", b"1"]) | any_bytes)
def test_every_row_of_the_table_is_a_rating_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = list(read_ratings(data, "README", reject))
    meant = [line for _, line in table_lines(data) if looks_like_row(line.split())]
    # A header has any number of blanks behind its sign.
    meant = [line for line in meant if "".join(line.split())[:4] != "#HAP" or not has_ratings(line.encode())]
    assert len(found) + len(reject) == len(meant)
    before = len(reject)
    pictures = {"KM-NE1": 1, "KM-HA1": 2, "YM-HA2": 53}
    rated = joined(found, pictures, reject)
    assert len(rated) + len(reject) - before == len(found)
    assert set(rated) <= set(pictures)
