"""SFEW 2.0 from trees and lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import sfew
from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.sfew_repack import read_box, read_points
from affectdata.datasets.text import decoded
from affectdata.ingest_summary import IngestSummary
from manifests.errors import AffectError, DatasetError, UnknownNameError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
STEM = "Airheads_000519240_00000005"
ALIGNED = {
    f"Train/Train_Aligned_Faces/Angry/{STEM}.png": "",
    "Train/Train_Aligned_Faces/Happy/21_000519240_00000001.png": "",
    "Val/Val_Aligned_Faces_new/sad/HarryPotter_Half_Blood_Prince_001503320_00000039.png": "",
    "Test/Test_Aligned_Faces/v_000519240_00000007.png": "",
}
MIRROR = "image_name,label,emotion,original_split\nimage_000000.png,0,angry,Train_Aligned_Faces\n"
POINTS = "101.2 88.6\n149.0 90.3\n124.8 121.7\n104.0 150.1\n146.9 151.3\n"


def table(lake: Lake, column: str, layer: str = "samples") -> dict[str, object]:
    rows = lake.read("sfew", layer)
    ids = (name.removeprefix("sfew/") for name in rows.column("sample_id").to_pylist())
    return dict(zip(ids, rows.column(column).to_pylist(), strict=True))


def test_names_are_read_from_the_right(lake: Lake, ingested: Run) -> None:
    summary = ingested("sfew", ALIGNED)
    assert table(lake, "group_id") == {
        f"aligned/train/{STEM}": "film:airheads",
        "aligned/train/21_000519240_00000001": "film:21",
        "aligned/val/HarryPotter_Half_Blood_Prince_001503320_00000039": "film:harrypotter_half_blood_prince",
        "aligned/test/v_000519240_00000007": "film:v",
    }
    assert table(lake, "sequence_id")[f"aligned/train/{STEM}"] == "Airheads_000519240"
    assert table(lake, "frame_index")["aligned/val/HarryPotter_Half_Blood_Prince_001503320_00000039"] == 39
    assert set(table(lake, "subject_id").values()) == {None}
    assert not summary.rejects


def test_the_class_folder_is_the_label_and_test_has_none(lake: Lake, ingested: Run) -> None:
    summary = ingested("sfew", ALIGNED)
    assert sorted(map(str, table(lake, "expression", "labels/human").values())) == ["anger", "happiness", "sadness"]
    assert summary.splits == {"test": 1, "train": 2, "val": 1}
    assert lake.layer("sfew", "labels/human").facts.unit == {"expression": "frame"}
    assert any("AFEW" in warning for warning in summary.warnings)


def test_aligned_and_original_pictures_are_never_mixed(lake: Lake, ingested: Run) -> None:
    tree = ALIGNED | {f"Train/Train/Angry/{STEM}.jpg": "", f"Val/Val/Angry/{STEM}.png": ""}
    with pytest.raises(DatasetError, match="--images aligned or --images original"):
        ingested("sfew", tree)
    ingested("sfew", tree, images="original")
    assert set(table(lake, "path")) == {f"original/train/{STEM}", f"original/val/{STEM}"}
    ingested("sfew", tree, images="aligned")
    assert len(table(lake, "path")) == 4
    with pytest.raises(UnknownNameError, match="aligned"):
        ingested("sfew", tree, images="cropped")


def test_of_two_val_archives_one_must_be_chosen(lake: Lake, ingested: Run) -> None:
    tree = ALIGNED | {f"Val/Val_Aligned_Faces/Fear/{STEM}.png": ""}
    with pytest.raises(DatasetError, match="--val new or --val old"):
        ingested("sfew", tree)
    ingested("sfew", tree, val="old")
    assert [key for key in table(lake, "path") if "/val/" in key] == [f"aligned/val/{STEM}"]
    ingested("sfew", tree, val="new")
    assert f"aligned/val/{STEM}" not in table(lake, "path")
    assert len(table(lake, "path")) == 4


def test_flat_archives_and_other_names_of_splits_are_read(lake: Lake, ingested: Run) -> None:
    ingested("sfew", {f"Train_SFEW_2_0/Surprise/{STEM}.png": "", f"Val_Aligned_Faces/Fear/{STEM}.png": ""},
             images="original")  # fmt: skip
    assert table(lake, "expression", "labels/human") == {f"original/train/{STEM}": "surprise"}


def test_what_is_no_picture_of_a_class_is_refused_or_passed_over(ingested: Run) -> None:
    tree = ALIGNED | {
        f"Train/Train_Aligned_Faces/Contempt/{STEM}.png": "",
        "Train/Train_Aligned_Faces/Angry/Airheads_519240_00000005.png": "",
        f"Train/Train_Aligned_Faces/Angry/{STEM}.txt": "",
        "Train/Train_Aligned_Faces/Angry/angry.txt": "",
        "Train/Train_Aligned_Faces/Angry/Thumbs.db": "",
        f"__MACOSX/Train/Train_Aligned_Faces/Angry/{STEM}.png": "",
        f"Test/Test_Aligned_Faces/Angry/{STEM}.png": "",
    }
    assert rejects(ingested("sfew", tree)) == {"unknown-class-folder": 2, "bad-name": 1}


def test_bad_crops_are_left_out_when_they_are_listed(lake: Lake, ingested: Run, tmp_path: Path) -> None:
    listed = tmp_path / "bad.txt"
    listed.write_text(f"{STEM}.png\r\n\nAngry/Nowhere_000000040_00000001.png\n")
    summary = ingested("sfew", ALIGNED, **{"drop-bad-crops": str(listed)})
    assert rejects(summary) == {"not-a-face": 1}
    assert f"aligned/train/{STEM}" not in table(lake, "path")
    assert any("1 of its 2 names are here" in warning for warning in summary.warnings)
    with pytest.raises(DatasetError, match="a text file of names"):
        ingested("sfew", ALIGNED, **{"drop-bad-crops": str(tmp_path / "absent.txt")})


def test_films_that_lie_in_train_and_val_are_counted(ingested: Run) -> None:
    summary = ingested("sfew", ALIGNED | {"Val/Val_Aligned_Faces_new/sad/21_000000040_00000001.png": ""})
    assert "1 films lie in train and in val" in summary.warnings


def test_the_mirror_is_read_by_names_not_by_its_integers(lake: Lake, ingested: Run) -> None:
    rows = (
        "image_000001.png,3,Happy,Val_Aligned_Faces\nimage_000002.png,9,,Train_Aligned_Faces\n"
        "image_000003.png,1,calm,Train_Aligned_Faces\nimage_000004.png,1,fear,Somewhere\n"
        ",1,fear,Train_Aligned_Faces\nimage_000005.png,1,fear,Train_Aligned_Faces\nimage_000006.png,1\n"
    )
    pictures = {f"sfew2.0_images/image_{n:06d}.png": "" for n in (0, 1, 2, 3, 4, 9)}
    summary = ingested("sfew", {"sfew_2.0_labels.csv": MIRROR + rows} | pictures)
    assert rejects(summary) == {
        **{"unknown-code": 1, "unknown-split": 1, "bad-name": 1, "missing-image": 1, "bad-field-count": 1},
        "missing-annotation": 1,
    }
    assert table(lake, "expression", "labels/human") == {
        "mirror/train/image_000000": "anger",
        "mirror/val/image_000001": "happiness",
    }
    assert "mirror/train/image_000002" in table(lake, "path")
    assert "repack" in lake.layer("sfew", "labels/human").facts.rule


def test_the_repack_brings_boxes_and_points_that_fit_each_other(lake: Lake, ingested: Run) -> None:
    base = "SFEW/Train"
    tree = {f"{base}/imgs/Angry/{STEM}.png": "", f"{base}/imgs/Angry/other.jpg": "",
            f"{base}/Annotations/Bboxs/Angry/{STEM}.txt": "90 70 160 165\n",
            f"{base}/Annotations/Landmarks_5/Angry/{STEM}.txt": POINTS,
            f"{base}/Annotations/Bboxs/Angry/other.txt": "90 70 160 165\n"}  # fmt: skip
    summary = ingested("sfew", tree)
    assert table(lake, "box_x2") == {f"repack/train/{STEM}": 160.0, "repack/train/other": None}
    points = table(lake, "points5")[f"repack/train/{STEM}"]
    assert points == pytest.approx([float(cell) for cell in POINTS.split()])
    assert rejects(summary) == {"bad-box": 1}


@pytest.mark.parametrize(
    ("box", "points", "reasons"),
    [
        (b"90 70 70 95", POINTS.encode(), {"bad-box": 1}),  # x y width height
        (b"70 90 165 160", b"101 88\n149 90\n124 121\n104 250\n146 251\n", {"bad-box": 1}),
        (b"90 70 160", POINTS.encode(), {"bad-box": 1}),
        (b"90 70 160 165", b"149 90\n101 88\n124 121\n104 150\n146 151\n", {"bad-landmarks": 1, "bad-box": 1}),
        (b"90 70 160 165", b"101 149 124 104 146\n88 90 121 150 151\n", {"bad-landmarks": 1, "bad-box": 1}),
    ],
)
def test_orders_of_the_repack_that_cannot_be_are_refused(box: bytes, points: bytes, reasons: dict[str, int]) -> None:
    reject = Reject()
    read_box(box, "box", read_points(points, "points", reject), reject)
    assert reject.counts() == reasons


def test_the_first_edition_is_refused_by_name(ingested: Run) -> None:
    with pytest.raises(DatasetError, match=r"SFEW 1\.0"):
        ingested("sfew", {"Set1/Angry/a.png": "", "Set2/Angry/b.png": ""})


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled(POINTS.encode())), st.one_of(any_bytes, mangled(b"90 70 160 165\n")))
def test_side_files_of_any_bytes_are_read_or_refused(points: bytes, box: bytes) -> None:
    reject = Reject()
    found = read_points(points, "points", reject)
    edges = read_box(box, "box", found, reject)
    assert (found is None) + (edges is None) == len(reject)
    assert edges is None or (np.isfinite(edges).all() and edges.shape == (4,))


class InMemory(Folder):
    """A folder with one file and without a disk."""

    def read_bytes(self, path: str) -> bytes:
        return self.options[path].encode("latin-1")

    def head(self, path: str, size: int = 65_536) -> bytes:
        return self.read_bytes(path)[:size]


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled((MIRROR * 2).encode(), [b"Val_", b"image_000000.png,0,sad,Val_"])))
def test_every_line_of_the_mirror_is_a_row_or_a_reject(data: bytes) -> None:
    reject = Reject()
    folder = InMemory(Path("nowhere"), Listing({}, []), {"labels.csv": data.decode("latin-1")})
    try:
        block = sfew._read_mirror(folder, "labels.csv", set(), reject)
    except AffectError:
        return
    text = decoded(data).lstrip("\r\n").replace("\r\n", "\n").partition("\n")[2]
    body = text.removesuffix("\r").replace("\r", " ").split("\n")
    assert block.samples.num_rows + len(reject) == sum(line != "" for line in body)
