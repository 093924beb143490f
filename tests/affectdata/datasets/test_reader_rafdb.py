"""RAF-DB from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzzing import FUZZ
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import rafdb
from affectdata.datasets.reading import Reject
from affectdata.ingest_summary import IngestSummary
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
MANUAL = "101.250\t88.604\n149.017\t90.311\n124.880\t121.733\n104.006\t150.118\n146.902\t151.370\n1\n0\n2\n"
BOX = "88.412003 61.950127 240.337509 271.004883"
BASIC = {
    "basic/EmoLabel/list_patition_label.txt": "train_00101.jpg 4\ntrain_00102.jpg 7\ntest_0042.jpg 1",
    "basic/EmoLabel/noise01.txt": "train_00101.jpg 1\n",
    "basic/Image/aligned/train_00101_aligned.jpg": "",
    "basic/Image/aligned/train_00102_aligned.jpg": "",
    "basic/Image/aligned/test_0042_aligned.jpg": "",
    "basic/Image/original/train_00101.jpg": "",
    "basic/Annotation/manual/train_00101_manu_attri.txt": MANUAL,
    "basic/Annotation/boundingbox/train_00101_boundingbox.txt": BOX,
}


def sample(lake: Lake, key: str) -> dict[str, object]:
    rows: list[dict[str, object]] = lake.read("rafdb", "samples").to_pylist()
    return next(row for row in rows if row["sample_id"] == f"rafdb/{key}")


def labels(lake: Lake, column: str = "expression") -> dict[str, object]:
    table = lake.read("rafdb", "labels/human")
    return dict(zip(table.column("sample_id").to_pylist(), table.column(column).to_pylist(), strict=True))


def test_codes_start_at_one_and_seven_is_neutral(lake: Lake, ingested: Run) -> None:
    summary = ingested("rafdb", BASIC)
    assert labels(lake) == {
        "rafdb/basic/test_0042": "surprise",
        "rafdb/basic/train_00101": "happiness",
        "rafdb/basic/train_00102": "neutral",
    }
    assert summary.splits == {"test": 1, "train": 2}
    assert not summary.rejects
    offered = lake.layer("rafdb", "labels/human").facts.offered["expression"]
    assert "contempt" not in offered
    assert len(offered) == 7


def test_points_and_boxes_belong_to_original_pictures_only(lake: Lake, ingested: Run) -> None:
    ingested("rafdb", BASIC)
    aligned = sample(lake, "basic/train_00101")
    assert aligned["path"] == "basic/Image/aligned/train_00101_aligned.jpg"
    assert aligned["points5"] is None
    assert aligned["box_x1"] is None
    assert (aligned["gender"], aligned["ethnicity"], aligned["age_group"]) == ("female", "Caucasian", "20-39")
    ingested("rafdb", BASIC, images="original")
    original = sample(lake, "basic/train_00101")
    assert original["path"] == "basic/Image/original/train_00101.jpg"
    points, box = original["points5"], [original[f"box_{edge}"] for edge in ("x1", "y1", "x2", "y2")]
    assert points == pytest.approx(
        [101.250, 88.604, 149.017, 90.311, 124.880, 121.733, 104.006, 150.118, 146.902, 151.370]
    )
    assert box == pytest.approx([88.412003, 61.950127, 240.337509, 271.004883])
    assert sample(lake, "basic/train_00102")["path"] == "basic/Image/aligned/train_00102_aligned.jpg"


def test_compound_names_do_not_collide_with_basic_ones(lake: Lake, ingested: Run) -> None:
    tree = BASIC | {
        "compound/EmoLabel/list_patition_label.txt": "train_00101.jpg 11\r\ntest_0042.jpg 8\r\n",
        "compound/Image/aligned/aligned/train_00101_aligned.jpg": "",
        "compound/Image/aligned/aligned/test_0042_aligned.jpg": "",
    }
    assert ingested("rafdb", tree).samples == 5
    assert labels(lake, "compound")["rafdb/compound/train_00101"] == "disgustedly_surprised"
    assert labels(lake, "compound")["rafdb/compound/test_0042"] == "fearfully_surprised"
    assert labels(lake)["rafdb/basic/train_00101"] == "happiness"


def test_codes_above_seven_prove_compound(lake: Lake, ingested: Run) -> None:
    tree = {"EmoLabel/list_partition_label.txt": "train_00101.jpg 11\n", "Image/aligned/train_00101_aligned.jpg": ""}
    ingested("rafdb", tree)
    assert labels(lake, "compound") == {"rafdb/compound/train_00101": "disgustedly_surprised"}


def test_of_two_spellings_of_the_list_that_of_the_release_is_read(lake: Lake, ingested: Run) -> None:
    summary = ingested("rafdb", BASIC | {"basic/EmoLabel/list_partition_label.txt": "train_00101.jpg 1\n"})
    assert summary.samples == 3
    assert not summary.rejects
    assert labels(lake)["rafdb/basic/train_00101"] == "happiness"
    assert [warning for warning in summary.warnings if "list_partition_label.txt is not read" in warning]


def test_bad_lines_are_refused_and_unlisted_pictures_are_unlabelled(lake: Lake, ingested: Run) -> None:
    listed = (
        "train_00101.jpg 4\ntrain_00102.jpg\ntrain_00103.jpg 8\nother_1.jpg 3\ntrain_00104.jpg 2\n../x/test_1.jpg 1"
    )
    tree = BASIC | {
        "basic/EmoLabel/list_patition_label.txt": listed,
        "basic/Annotation/manual/train_00101_manu_attri.txt": MANUAL.replace("1\n0\n2\n", "2\n9\n"),
        "basic/Annotation/boundingbox/train_00101_boundingbox.txt": "1 2 3",
    }
    summary = ingested("rafdb", tree, images="original")
    wanted = {"bad-field-count": 1, "unknown-code": 1, "unknown-split": 2, "missing-image": 1}
    assert rejects(summary) == wanted | {"bad-attributes": 1, "bad-box": 1}
    assert summary.samples == 1
    summary = ingested("rafdb", tree)
    assert summary.samples == 2
    assert labels(lake) == {"rafdb/basic/train_00101": "happiness"}


def test_the_repack_is_read_by_folder_and_checked_by_its_csv(lake: Lake, ingested: Run) -> None:
    tree = {
        "DATASET/train/4/train_00001_aligned.jpg": "",
        "DATASET/train/5/train_00002_aligned.jpg": "",
        "DATASET/test/7/test_0001_aligned.jpg": "",
        "DATASET/test/9/test_0002_aligned.jpg": "",
        "train_labels.csv": "image,label\ntrain_00001_aligned.jpg,4\ntrain_00002_aligned.jpg,6\n"
        "train_00003_aligned.jpg,1\n",
    }
    summary = ingested("rafdb", tree)
    assert rejects(summary) == {"conflicting-duplicate": 1, "missing-image": 1, "unknown-class-folder": 1}
    assert labels(lake) == {"rafdb/basic/train_00001": "happiness", "rafdb/basic/test_0001": "neutral"}
    assert "repack" in lake.layer("rafdb", "labels/human").facts.rule


@pytest.mark.fuzz
@FUZZ
@given(st.binary(max_size=200))
def test_every_line_of_the_label_list_is_a_label_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = list(rafdb._label_lines(data, "list.txt", reject))
    assert len([code for _, _, code in found if code]) + len(reject) == len(list(rafdb.lines(data)))


@pytest.mark.fuzz
@FUZZ
@given(st.binary(max_size=200), st.booleans())
def test_no_side_file_breaks_a_sample(data: bytes, tail: bool) -> None:
    reject = Reject()
    rafdb._manual(MANUAL.encode() + data if tail else data, "manual", reject, with_points=True)
    rafdb._box(data, "box", reject)
    assert set(reject.counts()) <= {"bad-attributes", "bad-landmarks", "bad-box"}
