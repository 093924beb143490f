"""FER2013 and FER+ from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import FUZZ
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import fer2013
from affectdata.datasets.listing import list_files
from affectdata.datasets.reading import Folder, Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import AffectError
from manifests.lake import Lake
from manifests.vocabulary import VOTES
from tests.affectdata.datasets.conftest import rejects, write_tree

Run = Callable[..., IngestSummary]
PIXELS = " ".join(["255 254"] * 1152)
HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def column(lake: Lake, layer: str, name: str) -> dict[str, object]:
    table = lake.read("fer2013", layer)
    keys = [key.removeprefix("fer2013/") for key in table.column("sample_id").to_pylist()]
    return dict(zip(keys, table.column(name).to_pylist(), strict=True))


def test_both_csv_orders_mean_the_same(lake: Lake, ingested: Run, tmp_path: Path) -> None:
    rows = [("3", "Training"), ("6", "PublicTest"), ("0", "PrivateTest")]
    first = "emotion,pixels,Usage\n" + "\n".join(f'{code},"{PIXELS}",{usage}' for code, usage in rows)
    ingested("fer2013", {"fer2013.csv": first})
    labels = lake.read("fer2013", "labels/human-fer2013")
    assert labels.column("expression").to_pylist() == ["happiness", "neutral", "anger"]
    (tmp_path / "root/fer2013.csv").unlink()
    second = "emotion, Usage, pixels\n" + "\n".join(f"{code},{usage},{PIXELS}" for code, usage in rows)
    ingested("fer2013", {"icml_face_data.csv": second})
    assert lake.read("fer2013", "labels/human-fer2013").equals(labels)
    assert column(lake, "protocols/official", "role") == {"row00000": "train", "row00001": "val", "row00002": "test"}
    assert column(lake, "samples", "member") == {"row00000": "0", "row00001": "1", "row00002": "2"}


def test_bad_rows_are_refused_by_their_number(lake: Lake, ingested: Run) -> None:
    wide = PIXELS.replace("254", "256", 1)
    rows = [f"3,{PIXELS},Training", "3,12 14,Training", f"7,{PIXELS},Training", f"3,{PIXELS},Testing", "3,Training"]
    rows += [f"2,{wide},Training", f",{PIXELS},Training", f"x,{PIXELS},Training"]
    summary = ingested("fer2013", {"fer2013.csv": "\r\n".join(["emotion,pixels,Usage", *rows])})
    wanted = {"bad-pixel-count": 2, "unknown-code": 2, "unknown-split": 1, "bad-field-count": 1}
    assert rejects(summary) == wanted
    assert column(lake, "samples", "member") == {"row00000": "0", "row00006": "6"}
    assert column(lake, "labels/human-fer2013", "expression") == {"row00000": "happiness"}
    where = lake.read("fer2013", "rejects").column("where").to_pylist()
    assert where == [f"fer2013.csv row {n}" for n in (1, 2, 3, 4, 5, 7)]


def test_kaggle_test_rows_have_no_label_and_no_role(lake: Lake, ingested: Run) -> None:
    tree = {"train.csv": f'emotion,pixels\n0,"{PIXELS}"\n', "test.csv": f'pixels\n"{PIXELS}"\n'}
    assert ingested("fer2013", tree).samples == 2
    assert column(lake, "samples", "split") == {"test/row00000": "test.csv", "train/row00000": "Training"}
    assert column(lake, "labels/human-fer2013", "expression") == {"train/row00000": "anger"}
    assert column(lake, "protocols/official", "role") == {"train/row00000": "train"}


def test_a_half_with_classes_trains_whatever_its_name(lake: Lake, ingested: Run) -> None:
    ingested("fer2013", {"fer_train.csv": f'emotion,pixels\n0,"{PIXELS}"\n'})
    assert column(lake, "samples", "split") == {"fer_train/row00000": "Training"}
    assert column(lake, "protocols/official", "role") == {"fer_train/row00000": "train"}


def test_a_picture_under_two_classes_has_none(lake: Lake, ingested: Run) -> None:
    names = ["angry/Training_1", "happy/Training_1", "happy/Training_2", "Happiness/Training_2", "sad/Training_3"]
    summary = ingested("fer2013", {f"train/{name}.jpg": "" for name in names})
    assert rejects(summary) == {"conflicting-duplicate": 1, "duplicate-key": 1}
    labels = column(lake, "labels/human-fer2013", "expression")
    assert labels == {"Training_2": "happiness", "Training_3": "sadness"}
    assert summary.samples == 3


def test_votes_alone_leave_out_rows_without_a_picture(lake: Lake, ingested: Run) -> None:
    rows = ["Training,fer0000001.png,9,0,0,0,0,0,0,0,1,0", "Training,,0,0,0,0,0,0,0,0,0,10"]
    summary = ingested("fer2013", {"fer2013new.csv": "\n".join([HEADER, *rows])})
    assert rejects(summary) == {"not-a-face": 1}
    assert list(column(lake, "samples", "split")) == ["row00000"]


def test_class_folders_are_read_by_name_and_split_by_prefix(lake: Lake, ingested: Run) -> None:
    names = ["train/angry/Training_3908.jpg", "test/neutral/PublicTest_10089743.jpg", "test/Suprise/PrivateTest_1.jpg"]
    summary = ingested("fer2013", dict.fromkeys([*names, "train/bored/Training_1.jpg", "test/sad/x.jpg"], ""))
    assert rejects(summary) == {"unknown-class-folder": 1, "bad-name": 1}
    assert column(lake, "labels/human-fer2013", "expression") == {
        "Training_3908": "anger",
        "PublicTest_10089743": "neutral",
        "PrivateTest_1": "surprise",
    }
    assert column(lake, "samples", "split")["PublicTest_10089743"] == "PublicTest"


def test_label_csv_wins_and_the_absent_test_folder_is_reported(lake: Lake, ingested: Run) -> None:
    tree = {
        "data/FER2013Train/label.csv": 'fer0000041.png,"(0, 0, 48, 48)",5,0,0,3,1,0,0,0,1,0\n'
        'fer0000042.png,"(0, 0, 48, 48)",0,0,0,0,0,0,0,0,0,10\n'
        'fer0000043.png,"(0, 0, 48, 48)",9,0,0,0,0,0,0,0,1,0\n',
        "data/FER2013Train/fer0000041.png": "",
        "data/FER2013Train/fer0000042.png": "",
        "data/FER2013Train/fer0000099.png": "",
        "data/FER2013Valid/label.csv": 'fer0028700.png,"(0, 0, 48, 48)",0,8,1,0,0,0,0,1,0,0\n',
        "data/FER2013Valid/fer0028700.png": "",
        "fer2013new.csv": f"{HEADER}\nTraining,fer0000041.png,0,0,0,0,0,0,10,0,0,0\n",
    }
    summary = ingested("fer2013", tree)
    assert any("FER2013Test is absent" in warning for warning in summary.warnings)
    assert rejects(summary) == {"missing-image": 1}
    assert column(lake, "labels/derived-ferplus-majority", "expression") == {
        "fer0000041": "neutral",
        "fer0028700": "happiness",
    }
    votes = dict(zip(VOTES, column(lake, "labels/human-ferplus", "expression_votes")["fer0000041"], strict=True))  # type: ignore[arg-type]  # a list of numbers
    assert (votes["neutral"], votes["sadness"], votes["unknown"], votes["other"]) == (5, 3, 1, None)
    assert column(lake, "samples", "face_status") == {
        "fer0000041": "ok",
        "fer0000042": "not_a_face",
        "fer0000099": None,
        "fer0028700": "ok",
    }
    assert column(lake, "protocols/ferplus", "role")["fer0028700"] == "val"
    assert "votes of label.csv" in lake.layer("fer2013", "labels/human-ferplus").facts.rule
    assert not lake.has("fer2013", "labels/human-fer2013")


def test_original_classes_from_a_side_table_are_unknown_where_it_is_unsure(lake: Lake, ingested: Run) -> None:
    names = [f"fer000000{n}" for n in range(4)]
    tree: dict[str, str | bytes] = {f"FER2013Train/{name}.png": b"" for name in names}
    votes = [f'{name}.png,"(0, 0, 48, 48)",5,0,0,3,1,0,0,0,1,0' for name in names]
    tree["FER2013Train/label.csv"] = "\n".join(votes)
    tree["fer2013_labels.csv"] = (
        "csv_row,ferplus_name,usage,fer_emotion,ambiguous_duplicate\n0,fer0000000.png,Training,4,0\n"
        "1,fer0000001.png,Training,2,1\n2,fer0000002.png,Training,-1,0\n3,fer0000003.png,Training,4,0\n"
        "9,fer0000003.png,Training,5,0\n"
    )
    ingested("fer2013", tree)
    assert column(lake, "labels/human-fer2013", "expression") == {"fer0000000": "sadness"}


def test_votes_join_the_csv_by_row_and_never_by_name(lake: Lake, ingested: Run) -> None:
    usages = ["Training", "Training", "Training", "PublicTest"]
    rows = "\n".join(f"3,{PIXELS},{usage}" for usage in usages)
    votes = [
        "Training,fer0000007.png,0,0,0,0,10,0,0,0,0,0",
        "Training,,0,0,0,0,0,0,0,0,0,10",
        "PrivateTest,fer0000001.png,0,10,0,0,0,0,0,0,0,0",
        "PublicTest,fer0000002.png,10,0,0,0,0,0,0,0,0,0",
    ]
    tree = {"fer2013.csv": f"emotion,pixels,Usage\n{rows}\n", "fer2013new.csv": "\n".join([HEADER, *votes])}
    summary = ingested("fer2013", tree)
    assert rejects(summary) == {"not-a-face": 1, "id-mismatch": 1}
    majority = column(lake, "labels/derived-ferplus-majority", "expression")
    assert majority == {"row00000": "anger", "row00003": "neutral"}
    assert column(lake, "samples", "face_status")["row00001"] == "not_a_face"


def test_a_csv_with_another_header_is_refused_with_what_was_found(ingested: Run) -> None:
    with pytest.raises(AffectError, match=r"annotations.*\n.*pixels"):
        ingested("fer2013", {"annotations_of_mine.csv": "class,image\n3,a.png\n"})


def test_the_real_ferplus_folders_give_the_published_counts(lake: Lake, shared: Path, tmp_path: Path) -> None:
    import zipfile

    from affectdata.ingest import ingest

    # Pictures as empty files: ingest does not open them, and 32,137 unpacked pictures would only cost time.
    with zipfile.ZipFile(shared / "data/fer2013plus.zip") as archive:
        for member in archive.namelist():
            target = tmp_path / member
            if member.endswith(".csv"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member))
            elif member.endswith(".png"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
    summary = ingest(lake, "fer2013", tmp_path / "fer2013plus")
    assert summary.splits == {"PublicTest": 3_579, "Training": 28_558}
    assert not summary.rejects
    assert not [warning for warning in summary.warnings if "differs" in warning]
    classes = summary.sources["derived-ferplus-majority"].classes
    assert sum(classes["Training"]["expression"].values()) == 25_045
    assert sum(classes["PublicTest"]["expression"].values()) == 3_191


@pytest.mark.fuzz
@FUZZ
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_in_any_table_end_as_rows_or_rejects(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: bool
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    line = f"3,{PIXELS},Training".encode()
    middle = data if cut else line[: len(data)] + data
    tree = {
        "pixels/fer2013.csv": b"emotion,pixels,Usage\n" + line + b"\n" + middle,
        "votes/fer2013new.csv": HEADER.encode() + b"\n" + data,
        "parts/FER2013Train/label.csv": data,
        "parts/fer2013_labels.csv": b"csv_row,ferplus_name,usage,fer_emotion,ambiguous_duplicate\n" + data,
    }
    write_tree(root, tree)
    for part in ("pixels", "votes", "parts"):
        reject = Reject()
        found = fer2013.find(Folder(root / part, list_files(root / part)))
        assert found is not None
        try:
            blocks = list(fer2013.read(found, reject))
        except AffectError:
            continue
        for block in blocks:
            assert {table.num_rows for table in block.labels.values()} <= {block.samples.num_rows}
        if part == "pixels":
            filled = [text for text in middle.replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n") if text]
            assert sum(block.samples.num_rows for block in blocks) + len(reject) == 1 + len(filled)
