"""Oulu-CASIA from the paths that the dataset page shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import FUZZ
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import oulucasia_tree
from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Folder, Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
PLACE = "OriginalImg/VL/Strong/P012/Anger"
TREE = {f"{PLACE}/{n:03d}.jpeg": "" for n in range(18)} | {f"{PLACE}/Thumbs.db": ""}
CROPPED = {f"PreProcess_Img/VL_Acropped/Strong/P012/Anger/{n:03d}.jpeg": "" for n in range(9)}


def layer(lake: Lake, source: str) -> dict[str, object]:
    table = lake.read("oulucasia", f"labels/{source}", ["sample_id", "expression"])
    names = [key.removeprefix("oulucasia/") for key in table.column("sample_id").to_pylist()]
    return dict(zip(names, table.column("expression").to_pylist(), strict=True))


def ids(lake: Lake) -> list[str]:
    return [key.removeprefix("oulucasia/") for key in lake.read("oulucasia", "samples").column("sample_id").to_pylist()]


def test_the_label_is_the_sequences_and_rules_say_which_frames_show_it(lake: Lake, ingested: Run) -> None:
    summary = ingested("oulucasia", TREE)
    assert summary.samples == 18
    assert not summary.rejects
    key = "original/VL/Strong/P012/Anger"
    assert layer(lake, "human") == {f"{key}/{n:03d}": "anger" for n in range(18)}
    assert lake.layer("oulucasia", "labels/human").facts.unit == {"expression": "sequence"}
    assert layer(lake, "derived-last3") == {f"{key}/{n:03d}": "anger" for n in (15, 16, 17)}
    assert layer(lake, "derived-first-neutral") == {f"{key}/000": "neutral"}
    last = lake.read("oulucasia", "samples").to_pylist()[-1]
    assert (last["subject_id"], last["sequence_id"], last["frame_index"]) == ("P012", key, 17)


def test_neutral_was_not_on_offer_for_the_pose(lake: Lake, ingested: Run) -> None:
    ingested("oulucasia", TREE)
    assert "neutral" not in lake.layer("oulucasia", "labels/human").facts.offered["expression"]
    assert "neutral" in lake.layer("oulucasia", "labels/derived-first-neutral").facts.offered["expression"]


@pytest.mark.parametrize(
    ("above", "wanted"),
    [
        ("Oulu_CASIA_NIR_VIS/OriginalImg/NI/Dark", "original/NI/Dark"),
        ("B_OriginalImg/VL/Weak", "original/VL/Weak"),
        ("PreProcess_Img/NI_Acropped/Strong", "preprocessed/NI/Strong"),
        ("PreProcess/VL_Acropped/Strong", "preprocessed/VL/Strong"),
        ("croppedfaces/VL/Strong", "preprocessed/VL/Strong"),
        ("Oulu_CASIA_NIR_VIS/VL/Strong", "unknown/VL/Strong"),
        ("NIR/Weak", "unknown/NI/Weak"),
        ("Oulu-CASIA-o", "unknown/unknown/unknown"),
    ],
)
def test_package_camera_and_light_come_from_the_folders_above(
    above: str, wanted: str, lake: Lake, ingested: Run
) -> None:
    ingested("oulucasia", {f"{above}/P001/Anger/000.jpeg": ""})
    assert ids(lake) == [f"{wanted}/P001/Anger/000"]


def test_what_no_folder_says_an_option_does(lake: Lake, ingested: Run) -> None:
    tree = {f"Oulu-CASIA-o/P011/Anger/{n:03d}.jpeg": "" for n in range(4)}
    assert any("--modality and --light" in warning for warning in ingested("oulucasia", tree).warnings)
    ingested("oulucasia", tree, modality="VL", light="Strong")
    assert ids(lake)[0] == "unknown/VL/Strong/P011/Anger/000"
    rows = lake.read("oulucasia", "protocols/ten-fold-last3").to_pylist()
    assert [(row["sample_id"][-3:], row["fold"]) for row in rows] == [("001", 0), ("002", 0), ("003", 0)]


def test_of_two_packages_one_is_read_and_only_when_asked_for(lake: Lake, ingested: Run) -> None:
    with pytest.raises(DatasetError, match="--package original or --package preprocessed"):
        ingested("oulucasia", TREE | CROPPED)
    assert ingested("oulucasia", TREE | CROPPED, package="preprocessed").samples == 9
    assert ids(lake)[0] == "preprocessed/VL/Strong/P012/Anger/000"


def test_options_leave_out_other_cameras_and_lights(lake: Lake, ingested: Run) -> None:
    tree = TREE | {"OriginalImg/NI/Dark/P012/Anger/000.jpeg": "", "OriginalImg/NI/Strong/P012/Odd/000.jpeg": ""}
    assert ingested("oulucasia", tree, modality="NI", light="Dark").samples == 1
    assert ids(lake) == ["original/NI/Dark/P012/Anger/000"]


def test_the_same_sequence_twice_is_an_ambiguous_tree(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="ingest each with --modality"):
        ingested("oulucasia", {"a/P001/Anger/000.jpeg": "", "b/P001/Anger/000.jpeg": ""})


def test_videos_are_refused_with_what_to_get(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="get package B"):
        ingested("oulucasia", {"Video/VL/Strong/P001/Anger.avi": "", "Video/NI/Strong/P001/Anger.avi": ""})


def test_other_folders_and_names_are_refused(ingested: Run) -> None:
    tree = TREE | {
        "OriginalImg/VL/Strong/P012/Neutral/000.jpeg": "",
        f"{PLACE}/apex.jpeg": "",
        f"{PLACE}/017.jpg": "",
        f"{PLACE}/._000.jpeg": "",
    }
    summary = ingested("oulucasia", tree)
    assert rejects(summary) == {"unknown-class-folder": 1, "bad-name": 1, "duplicate-key": 1}


def test_counts_and_missing_folders_are_reported_and_nothing_fails(ingested: Run) -> None:
    warnings = ingested("oulucasia", TREE | {"OriginalImg/VL/Strong/P012/Fear/Thumbs.db": ""}).warnings
    assert "VL, Strong: 1 of 480 sequences (verified 3)" in warnings
    assert any("P012/Fear" in warning and "P012/Anger" not in warning for warning in warnings)


def test_a_sequence_of_three_frames_has_no_neutral_one(lake: Lake, ingested: Run) -> None:
    ingested("oulucasia", {f"{PLACE}/{n:03d}.jpeg": "" for n in range(3)})
    assert set(layer(lake, "derived-last3").values()) == {"anger"}
    assert layer(lake, "derived-first-neutral") == {}


@pytest.mark.parametrize(("subject", "fold"), [("P001", 0), ("P010", 9), ("P011", 0), ("P080", 9)])
def test_subject_i_is_scored_in_fold_i_minus_one_mod_ten(subject: str, fold: int, lake: Lake, ingested: Run) -> None:
    tree = {f"OriginalImg/VL/Strong/{subject}/Fear/{n:03d}.jpeg": "" for n in range(9)}
    ingested("oulucasia", tree | {f"OriginalImg/NI/Strong/{subject}/Fear/000.jpeg": ""})
    rows = lake.read("oulucasia", "protocols/ten-fold-last3-neutral").to_pylist()
    assert [(row["sample_id"][-3:], row["role"], row["fold"]) for row in rows] == [
        (n, "test", fold) for n in ("000", "006", "007", "008")
    ]


NAMES = st.sampled_from(["000", "001", "17", "0001", "apex", ""]).flatmap(
    lambda stem: st.sampled_from([".jpeg", ".JPG", ".png", ".txt", ".jpeg.bak"]).map(lambda end: stem + end)
)


@pytest.mark.fuzz
@FUZZ
@given(st.sets(NAMES | st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)))
def test_every_picture_of_a_sequence_is_a_frame_or_a_reject(names: set[str]) -> None:
    reject = Reject()
    folder = Folder(Path("/data"), Listing({PLACE: dict.fromkeys(names, 0)}, []))
    found = oulucasia_tree.numbered(folder, PLACE, reject)
    pictures = [name for name in names if name.lower().endswith(oulucasia_tree.PICTURES) and name[0] != "."]
    assert len(found) + len(reject) == len(pictures)
