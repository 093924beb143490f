"""AFEW from trees and lines as the dataset page shows them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets.afew_films import Film, film_group, names_clips, read_films
from affectdata.datasets.afew_tree import place_of
from affectdata.datasets.reading import Reject
from affectdata.datasets.text import decoded
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
XML = """<Clip>
  <StartTime>00:06:33:000</StartTime>
  <Length>2</Length>
  <Person MovieTitle="Some Film" NameOfActor="Some Name" />
</Clip>
"""
NAMED = XML.replace("<Length>", "<Location>000633000.avi</Location>\n  <Length>")
POINTS = "AlignedFaces_LBPTOP_Points"
RELEASE = {
    "Train_AFEW/Angry/000633000.avi": "",
    "Train_AFEW/Disgust/005153760.avi": "",
    "Train_AFEW/Happy/001703120.avi": "",
    f"Train_AFEW/{POINTS}/{POINTS}/Faces/000633000/9.jpg": "",
    f"Train_AFEW/{POINTS}/{POINTS}/Faces/000633000/10.jpg": "",
    f"Train_AFEW/{POINTS}/{POINTS}/Faces/000633000/Thumbs.db": "",
    f"Train_AFEW/{POINTS}/{POINTS}/Points/000633000.mat": "",
    f"Train_AFEW/{POINTS}_Val/Faces/005153760/001.jpg": "",
    "Train_AFEW/Train_6.xml": XML,
    "Val_AFEW/Surprise/005153760.avi": "",
    "Test_AFEW/000123456.avi": "",
}


def table(lake: Lake, column: str, layer: str = "samples") -> dict[str, object]:
    rows = lake.read("afew", layer)
    ids = (name.removeprefix("afew/") for name in rows.column("sample_id").to_pylist())
    return dict(zip(ids, rows.column(column).to_pylist(), strict=True))


def test_the_class_folder_is_the_label_and_test_has_none(lake: Lake, ingested: Run) -> None:
    summary = ingested("afew", RELEASE)
    assert table(lake, "expression", "labels/human") == {
        "train/000633000": "anger",
        "train/001703120": "happiness",
        "train/005153760": "disgust",
        "val/005153760": "surprise",
    }
    assert table(lake, "split")["test/000123456"] == "test"
    assert table(lake, "path")["train/000633000"] == "Train_AFEW/Angry/000633000.avi"
    assert set(table(lake, "frame").values()) == {None}
    assert not summary.rejects
    facts = lake.layer("afew", "labels/human").facts
    assert facts.unit == {"expression": "clip"}
    assert "contempt" not in facts.offered["expression"]


def test_faces_are_numbered_by_their_names_and_take_the_label_of_their_clip(lake: Lake, ingested: Run) -> None:
    ingested("afew", RELEASE, images="faces")
    numbers = table(lake, "frame_index")
    assert [key for key in numbers if key.startswith("train/000633000")] == [
        "train/000633000/00009",
        "train/000633000/00010",
    ]
    assert numbers["train/000633000/00010"] == 10
    labels = table(lake, "expression", "labels/human")
    assert labels["train/000633000/00009"] == "anger"
    # The val archive lies beside train; the clip of the same name in train has no faces and no picture.
    assert labels["val/005153760/00001"] == "surprise"
    assert labels["train/005153760"] == "disgust"
    assert table(lake, "path")["train/005153760"] is None


def test_films_and_actors_join_only_where_an_entry_names_its_clip(lake: Lake, ingested: Run) -> None:
    summary = ingested("afew", RELEASE)
    assert any("Train_6.xml does not say which clip" in warning for warning in summary.warnings)
    assert set(table(lake, "group_id").values()) == {None}
    summary = ingested("afew", RELEASE | {"Train_AFEW/Train_6.xml": NAMED})
    assert table(lake, "group_id")["train/000633000"] == "film:some_film"
    assert table(lake, "subject_id")["train/000633000"] == "Some Name"
    assert table(lake, "group_id")["train/005153760"] is None
    assert not summary.rejects


def test_an_xml_file_that_declares_entities_is_not_read() -> None:
    reject = Reject()
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n' + NAMED.replace("Some Film", "&b;")
    assert read_films(bomb.encode(), "Train_6.xml", reject) == {}
    assert reject.counts() == {"unsafe-file": 1}


def test_an_entry_of_two_actors_or_two_opinions_says_nothing() -> None:
    reject = Reject()
    two = NAMED.replace("</Clip>", '<Person MovieTitle="Some Film" NameOfActor="Other &amp; Name"/></Clip>')
    assert read_films(two.encode(), "x", reject) == {"000633000": Film("film:some_film", None)}
    again = NAMED + NAMED + NAMED.replace("Some Film", "Other")
    assert read_films(again.encode(), "x", reject) == {"000633000": Film(None, None)}
    assert read_films(NAMED.replace("000633000", "clip7").encode(), "x", reject) == {}
    assert reject.counts() == {"duplicate-key": 1, "conflicting-duplicate": 1, "bad-attributes": 1}
    assert not names_clips(XML.encode())
    assert names_clips(NAMED.encode())


def test_an_entry_whose_clip_is_absent_is_refused(ingested: Run) -> None:
    summary = ingested("afew", RELEASE | {"Val_AFEW/Val_6.xml": NAMED})
    assert rejects(summary) == {"missing-video": 1}
    # The XML adds to the clips; it does not decide whether they may be read.
    assert summary.rejects["missing-video"].expected


def test_names_and_folders_that_are_none_are_refused(lake: Lake, ingested: Run) -> None:
    tree = RELEASE | {
        "Train_AFEW/Angry/clip.avi": "",
        "Train_AFEW/Angry/0006330001.avi": "",
        "Train_AFEW/Contempt/000633040.avi": "",
        "Train_AFEW/000633080.avi": "",
        "Test_AFEW/a.avi": "",
        "Train_AFEW/Happy/000633000.avi": "",
    }
    assert rejects(ingested("afew", tree)) == {
        "bad-name": 3,
        "unknown-class-folder": 2,
        "conflicting-duplicate": 1,
    }
    assert "train/000633000" not in table(lake, "expression", "labels/human")


def test_clips_in_a_folder_too_deep_are_refused_and_not_lost(lake: Lake, ingested: Run) -> None:
    deep = {"Train_AFEW/clips/Fear/000633040.avi": "", "Train_AFEW/Sad/Sad/000633080.avi": ""}
    assert rejects(ingested("afew", RELEASE | deep)) == {"unknown-class-folder": 2}
    assert not {"train/000633040", "train/000633080"} & set(table(lake, "path"))


def test_dumped_frames_of_a_folder_that_is_no_clip_are_refused(lake: Lake, ingested: Run) -> None:
    dumped = {f"frame/train_afew/Angry/{clip}/001.jpg": "" for clip in ("000633000", "clip one")}
    assert rejects(ingested("afew", dumped)) == {"bad-name": 1}
    assert set(table(lake, "path")) == {"train/000633000/00001"}


def test_a_clip_in_two_class_folders_gives_its_faces_no_label(lake: Lake, ingested: Run) -> None:
    summary = ingested("afew", RELEASE | {"Train_AFEW/Happy/000633000.avi": ""}, images="faces")
    assert rejects(summary) == {"conflicting-duplicate": 1}
    assert "train/000633000/00009" not in table(lake, "expression", "labels/human")


def test_the_older_package_is_read(lake: Lake, ingested: Run) -> None:
    tree = {
        "Train/videos/Sad/001703120.avi": "",
        "Val/videos/Happy/001703120.avi": "",
        "Train/Train_Aligned_Faces/001703120/000.jpg": "",
    }
    ingested("afew", tree)
    assert table(lake, "expression", "labels/human") == {"train/001703120": "sadness", "val/001703120": "happiness"}
    ingested("afew", tree, images="faces")
    assert table(lake, "expression", "labels/human") == {
        "train/001703120/00000": "sadness",
        "val/001703120": "happiness",
    }


def test_dumped_frames_are_read_as_derived_and_two_dumps_ask_for_a_choice(lake: Lake, ingested: Run) -> None:
    tree = {"frame/train_afew/Fear/000633000/1.jpg": "", "frame/val_afew/Sad/000633000/2.jpg": ""}
    summary = ingested("afew", tree)
    assert summary.variant == "frames, derived"
    assert table(lake, "expression", "labels/human") == {
        "train/000633000/00001": "fear",
        "val/000633000/00002": "sadness",
    }
    assert "derived" in lake.layer("afew", "labels/human").facts.rule
    both = tree | {"face/train_afew/Fear/000633000/1.jpg": ""}
    with pytest.raises(DatasetError, match="--images faces or --images frames"):
        ingested("afew", both)
    ingested("afew", both, images="faces")
    assert table(lake, "path") == {"train/000633000/00001": "face/train_afew/Fear/000633000/1.jpg"}


def test_faces_that_contradict_their_clip_are_refused(ingested: Run) -> None:
    tree = RELEASE | {
        f"Val_AFEW/{POINTS}_Val/Faces/Happy/005153760/1.jpg": "",
        f"Val_AFEW/{POINTS}_Val/Faces/Contempt/000000040/1.jpg": "",
        f"Val_AFEW/{POINTS}_Val/Faces/strange/1.jpg": "",
        f"Val_AFEW/{POINTS}_Val/Faces/000000080/cover.jpg": "",
    }
    assert rejects(ingested("afew", tree, images="faces")) == {
        "conflicting-duplicate": 1,
        "unknown-class-folder": 1,
        "bad-name": 2,
    }


def test_missing_faces_say_what_to_unpack(ingested: Run) -> None:
    with pytest.raises(DatasetError, match=r"unpack AlignedFaces_LBPTOP_Points\*\.zip"):
        ingested("afew", {"Train_AFEW/Angry/000633000.avi": "", f"Train_AFEW/{POINTS}.zip": ""}, images="faces")


def test_a_split_folder_given_as_the_root_tells_the_split() -> None:
    place = place_of("Angry", "Train_AFEW")
    assert place is not None
    assert (place.split, place.expression) == ("train", "anger")
    assert place_of("Angry", "AFEW") is None


def test_titles_of_one_film_are_one_group() -> None:
    assert film_group(" Some  Film ") == film_group("some_film") == "film:some_film"
    assert film_group(" _ ") is None


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled((NAMED * 3).encode(), [b"<Clip>", b"&", b"<Location>1.avi</Location>", b"<!"])))
def test_every_entry_of_an_xml_file_is_a_film_a_reject_or_names_no_clip(data: bytes) -> None:
    reject = Reject()
    found = read_films(data, "Train_6.xml", reject)
    text = decoded(data)
    if "unsafe-file" in reject.counts():
        assert re.search(r"(?i)<!\s*(doctype|entity)", text)
        return
    entries = re.split(r"(?i)<clip\b", text)[1:]
    named = [entry for entry in entries if names_clips(entry.encode("utf-8", "replace"))]
    assert len(found) + len(reject) == len(named)


@pytest.mark.fuzz
@FUZZ
@given(st.lists(st.sampled_from(["Train_AFEW", "Val", "test", "Angry", "Faces", "face", "videos", "000633000", POINTS,
                                 f"{POINTS}_Val", "Points", "x", ""]), max_size=6))  # fmt: skip
def test_any_path_is_a_place_of_a_known_split_or_none(parts: list[str]) -> None:
    place = place_of("/".join(parts))
    assert place is None or (place.split in ("train", "val", "test") and place.kind in ("clips", "faces", "frames"))
