"""ExpW from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given

from affectdata.datasets import expw
from affectdata.datasets.reading import Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import AffectError, DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
LINES = (
    "joyful_teacher_88.jpg 0 41 96 251 196 63.07 3\n"
    "joyful_teacher_88.jpg 2 17 402 479 94 12.8803 6\n"
    "awe_old_9001.jpg 0 90 175 233 148 41.2 2\n"
)
TREE = {
    "readme.txt": "\ufeff0\uff1a angry",
    "data/label/label.lst": LINES,
    "data/image/origin/joyful_teacher_88.jpg": "",
    "data/image/origin/awe_old_9001.jpg": "",
}


def rows(lake: Lake, layer: str) -> dict[str, dict[str, object]]:
    found: list[dict[str, object]] = lake.read("expw", layer).to_pylist()
    return {str(row["sample_id"]).removeprefix("expw/"): row for row in found}


def relisted(lines: str) -> dict[str, str]:
    return TREE | {"data/label/label.lst": lines}


def test_every_face_is_a_sample_of_its_photograph(lake: Lake, ingested: Run) -> None:
    summary = ingested("expw", TREE)
    assert not summary.rejects
    assert {key: row["expression"] for key, row in rows(lake, "labels/human").items()} == {
        "awe_old_9001/00": "fear", "joyful_teacher_88/00": "happiness", "joyful_teacher_88/02": "neutral"
    }  # fmt: skip
    samples = rows(lake, "samples")
    assert samples["joyful_teacher_88/02"]["path"] == "data/image/origin/joyful_teacher_88.jpg"
    assert samples["joyful_teacher_88/00"]["group_id"] == samples["joyful_teacher_88/02"]["group_id"]
    assert samples["joyful_teacher_88/00"]["group_id"] == "expw:joyful_teacher_88"


def test_fields_are_top_left_right_bottom(lake: Lake, ingested: Run) -> None:
    ingested("expw", TREE)
    sample = rows(lake, "samples")["joyful_teacher_88/00"]
    assert [sample[f"box_{edge}"] for edge in ("x1", "y1", "x2", "y2")] == [96, 41, 251, 196]


def test_there_is_no_official_split(lake: Lake, ingested: Run) -> None:
    assert ingested("expw", TREE).splits == {"all": 3}
    assert not [layer for layer in lake.layers("expw") if layer.kind == "protocols"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("awe_old_9001.jpg 1 90 175 233 148 41.2", "bad-field-count"),
        ("awe_old_9001.jpg 1 90 175 233 148 41.2 2 1", "bad-field-count"),
        ("awe_old_9001.jpg 1 90 175 233 148 41.2 7", "unknown-code"),
        ("awe_old_9001.jpg 1 90 175 233 148 41.2 happy", "unknown-code"),
        ("awe_old_9001.jpg 1 90 175 233 148 nan 2", "bad-number"),
        ("awe_old_9001.jpg x 90 175 233 148 41.2 2", "bad-number"),
        ("awe_old_9001.jpg 1 90 l75 233 148 41.2 2", "bad-number"),
        ("awe_old_9001.jpg 1 90 175 175 148 41.2 2", "bad-box"),
        ("awe_old_9001.jpg 1 90 175 -5 148 41.2 2", "bad-box"),
        ("awe_old_9001.jpg 0 90 175 233 148 41.2 2", "duplicate-key"),
        ("awe_old_9001.jpg 0 90 175 233 148 41.2 3", "conflicting-duplicate"),
        ("Awe_old_9001.jpg 0 90 175 233 148 41.2 2", "missing-image"),
    ],
)
def test_a_bad_line_is_refused_for_its_reason(line: str, reason: str, ingested: Run) -> None:
    assert rejects(ingested("expw", relisted(LINES + line))) == {reason: 1}


def test_edges_before_the_border_are_clamped(lake: Lake, ingested: Run) -> None:
    ingested("expw", relisted("awe_old_9001.jpg 0 -3 -2 233 148 41.2 2"))
    sample = rows(lake, "samples")["awe_old_9001/00"]
    assert (sample["box_x1"], sample["box_y1"]) == (0, 0)


def test_blanks_tabs_and_line_ends_of_copies_are_read(ingested: Run) -> None:
    text = "\n" + LINES.replace(" 3\n", "  3 \r\n").replace("jpg 2", "jpg\t2")
    summary = ingested("expw", relisted(text))
    assert (summary.samples, dict(summary.rejects)) == (3, {})


def test_faces_below_the_confidence_that_the_user_asks_for_are_left_out(lake: Lake, ingested: Run) -> None:
    assert rejects(ingested("expw", TREE, confidence="20")) == {"out-of-range": 1}
    assert "joyful_teacher_88/02" not in rows(lake, "samples")
    with pytest.raises(DatasetError, match="--confidence high"):
        ingested("expw", TREE, confidence="high")


@pytest.mark.parametrize(("place", "pictures"), [("", "Images"), ("a/b/c/", "a/b/c/images"), ("x/", "x")])
def test_the_list_and_the_photographs_may_lie_elsewhere(place: str, pictures: str, ingested: Run) -> None:
    names = ("joyful_teacher_88.jpg", "awe_old_9001.jpg")
    assert ingested("expw", {f"{place}label.lst": LINES, **{f"{pictures}/{n}": "" for n in names}}).samples == 3


def test_packed_photographs_are_named_with_what_to_do(ingested: Run) -> None:
    with pytest.raises(DatasetError, match=r"unpack data/image/origin\.7z\.001"):
        ingested("expw", {"data/label/label.lst": LINES, "data/image/origin.7z.001": "7z"})


def test_two_folders_or_lists_are_ambiguous(ingested: Run) -> None:
    copy = {path.replace("origin", "small"): "" for path in TREE if "origin" in path}
    with pytest.raises(DatasetError, match=r"origin and data/image/small[\s\S]*--images FOLDER"):
        ingested("expw", TREE | copy)
    assert ingested("expw", TREE, images="data/image/small").samples == 3
    with pytest.raises(DatasetError, match=r"one label\.lst"):
        ingested("expw", {"label.lst": LINES})


@pytest.mark.fuzz
@FUZZ
@given(mangled(LINES.encode(), [b"  ", b"7", b"0.5", b"NULL", b"1e9", b"\xc2\x85"]) | any_bytes)
def test_every_line_is_a_face_or_a_reject(data: bytes) -> None:
    reject = Reject()
    block = expw._block(expw._table(data, "label.lst", reject), "data/image/origin", "20", reject)
    assert block.samples.num_rows + len(reject) == len(list(expw.lines(data)))
    assert block.samples.num_rows == block.labels["human"].num_rows
    assert set(reject.counts()) <= {"bad-field-count", "unknown-code", "bad-number", "bad-box", "out-of-range"}


@pytest.mark.fuzz
@FUZZ
@given(mangled(LINES.encode()) | any_bytes)
def test_no_bytes_break_the_recognition(data: bytes) -> None:
    try:
        expw._is_list(data)
    except AffectError:
        return
