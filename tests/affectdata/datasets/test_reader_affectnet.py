"""AffectNet from lines and keys as the dataset page shows them."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import affectnet, affectnet_items
from affectdata.datasets.affectnet_csv import COLUMNS, Part, _block, _Pictures, _rows_of, point_rows
from affectdata.datasets.affectnet_items import Half
from affectdata.datasets.affectnet_npy import npy_values
from affectdata.datasets.affectnet_plus import _block as plus_block
from affectdata.datasets.affectnet_plus import json_facts
from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.text import csv_table
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
# The page's lines; `...` stands for the landmarks in between, filled here to 136.
LINES = (
    "412/0f3c9a7be1d24458a6b07c1e9d3f5a6b8c2d4e6f1a3b5c7d9e0f1a2b.jpg,120,120,803,803,"
    "171.4;402.13;180.02;498.7;...;512.5;801.66,1,0.785714,-0.055556",
    "77/aa01bb23cc45dd67ee89ff10aa32bb54cc76dd98ee10ff32aa54bb76.JPG,19,19,141,141,"
    "27.5;88.1;28.04;101.33;...;96;140.25,9,-2,-2",
    "1003/b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacb.png,52,52,330,330,"
    "70.2;199.06;74.9;240.7;...;241.18;330,8,0,0.301587",
)
HASHES = [line.partition(".")[0].partition("/")[2] for line in LINES]
IMAGES = "Manually_Annotated_Images"


def whole(line: str, points: int = 136) -> str:
    """The line with as many numbers as the real field has."""
    return line.replace("...", ";".join(["7.25"] * (points - 6)))


def csv(*lines: str, header: str = HEADER, end: str = "\n") -> str:
    return end.join([header, *map(whole, lines)]) + end


TREE = {
    "Manually_Annotated_file_lists/training.csv": csv(*LINES),
    "Manually_Annotated_file_lists/validation.csv": csv(LINES[0].replace("0f3c", "ffff")),
    f"{IMAGES}/412/{HASHES[0]}.jpg": "",
    f"{IMAGES}/77/{HASHES[1]}.JPG": "",
    f"{IMAGES}/1003/{HASHES[2]}.png": "",
    f"{IMAGES}/412/ffff{HASHES[0][4:]}.jpg": "",
    f"{IMAGES}/412/Thumbs.db": "",
}


def rows(lake: Lake, layer: str) -> dict[str, dict[str, object]]:
    found: list[dict[str, object]] = lake.read("affectnet", layer).to_pylist()
    return {str(row["sample_id"]).removeprefix("affectnet/"): row for row in found}


def npy(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value))
    return file.getvalue()


def items(half: str, number: int, exp: object, val: object, aro: object, lnd: object = None) -> dict[str, bytes]:
    files = {"exp": exp, "val": val, "aro": aro, "lnd": np.arange(136.0) if lnd is None else lnd}
    tree = {f"{half}/annotations/{number}_{kind}.npy": npy(value) for kind, value in files.items()}
    return tree | {f"{half}/images/{number}.jpg": b""}


def test_a_line_gives_class_ratings_box_and_points(lake: Lake, ingested: Run) -> None:
    summary = ingested("affectnet", TREE)
    assert summary.splits == {"train": 3, "val": 1}
    assert not summary.rejects
    human, sample = rows(lake, "labels/human")["manual/train/000000"], rows(lake, "samples")["manual/train/000000"]
    assert (human["expression"], human["valence"], human["arousal"]) == (
        "happiness", pytest.approx(0.785714), pytest.approx(-0.055556)
    )  # fmt: skip
    assert [sample[f"box_{edge}"] for edge in ("x1", "y1", "x2", "y2")] == [120, 120, 923, 923]
    points = rows(lake, "labels/auto")["manual/train/000000"]["landmarks"]
    assert isinstance(points, list)
    assert points[:4] == pytest.approx([171.4, 402.13, 180.02, 498.7])
    assert points[-2:] == pytest.approx([512.5, 801.66])
    assert sample["group_id"] == f"affectnet:{HASHES[0]}"
    roles = {key: row["role"] for key, row in rows(lake, "protocols/official").items()}
    assert roles["manual/val/000000"] == "val"
    assert roles["manual/train/000002"] == "train"


def test_three_codes_are_no_classes_and_none_of_these_keeps_its_ratings(lake: Lake, ingested: Run) -> None:
    ingested("affectnet", TREE)
    status = {key: row["face_status"] for key, row in rows(lake, "samples").items()}
    assert [status[f"manual/train/00000{row}"] for row in range(3)] == ["ok", "uncertain", "none_of_these"]
    human = rows(lake, "labels/human")
    assert "manual/train/000001" not in human
    assert human["manual/train/000002"]["expression"] is None
    assert human["manual/train/000002"]["arousal"] == pytest.approx(0.301587)


def test_not_rated_is_unknown_however_it_is_printed(lake: Lake, ingested: Run) -> None:
    lists = csv(LINES[0].replace("0.785714,-0.055556", "-2.000000,-2"), LINES[2].replace(",0,0.301587", ",1.2,x"))
    summary = ingested("affectnet", TREE | {"Manually_Annotated_file_lists/training.csv": lists})
    assert rejects(summary) == {"out-of-range": 1, "bad-number": 1}
    human = rows(lake, "labels/human")
    assert (human["manual/train/000000"]["valence"], human["manual/train/000000"]["arousal"]) == (None, None)
    assert "manual/train/000001" not in human


@pytest.mark.parametrize("box", ["NULL,NULL,803,803", "120,120,-803,-803", "120,120,0,0", ",,,"])
def test_a_row_without_a_usable_box_keeps_its_label(box: str, lake: Lake, ingested: Run) -> None:
    lists = csv(LINES[0].replace("120,120,803,803", box))
    summary = ingested("affectnet", TREE | {"Manually_Annotated_file_lists/training.csv": lists})
    assert not summary.rejects
    assert rows(lake, "samples")["manual/train/000000"]["box_x1"] is None
    assert rows(lake, "labels/human")["manual/train/000000"]["expression"] == "happiness"


def test_a_face_with_another_number_of_points_is_kept_without_them(lake: Lake, ingested: Run) -> None:
    short, bad, empty = (whole(LINES[0], 134), whole(LINES[0]).replace("180.02", "1e999"), LINES[0])
    text = "\n".join([HEADER, short, bad, empty.replace("171.4;402.13;180.02;498.7;...;512.5;801.66", "")])
    summary = ingested("affectnet", TREE | {"Manually_Annotated_file_lists/training.csv": text})
    assert rejects(summary) == {"bad-landmarks": 2}
    assert set(rows(lake, "labels/auto")) == {"manual/val/000000"}
    assert len(rows(lake, "labels/human")) == 4


def test_rows_are_counted_over_all_lines_so_that_ids_stay_row_numbers(lake: Lake, ingested: Run) -> None:
    lists = csv(LINES[0].replace(",1,0.785714", ",11,0.785714"), "412/only,three", *LINES[1:])
    summary = ingested("affectnet", TREE | {"Manually_Annotated_file_lists/training.csv": lists})
    assert rejects(summary) == {"unknown-code": 1, "bad-field-count": 1}
    assert [key for key in rows(lake, "samples") if "train" in key] == ["manual/train/000002", "manual/train/000003"]


def test_a_header_may_start_with_a_mark_and_a_hash_and_lines_end_in_crlf(ingested: Run) -> None:
    lists = csv(*LINES, header=f"\ufeff#{HEADER.replace(',', ' ,')}", end="\r\n")
    assert ingested("affectnet", TREE | {"Manually_Annotated_file_lists/training.csv": lists}).samples == 4


def test_pictures_are_found_whatever_the_case_of_their_suffix(lake: Lake, ingested: Run) -> None:
    tree = {path.replace(f"77/{HASHES[1]}.JPG", f"77/{HASHES[1]}.jpg"): text for path, text in TREE.items()}
    ingested("affectnet", tree)
    assert rows(lake, "samples")["manual/train/000001"]["path"] == f"{IMAGES}/77/{HASHES[1]}.jpg"


def test_doubled_folders_are_found(ingested: Run) -> None:
    doubled = {path.replace(IMAGES, f"x/{IMAGES}/{IMAGES}"): text for path, text in TREE.items()}
    assert ingested("affectnet", doubled).samples == 4


def test_pictures_in_one_folder_are_found_by_their_bare_names(lake: Lake, ingested: Run) -> None:
    flat = {f"all/{p.rpartition('/')[2]}" if p.startswith(IMAGES) else p: text for p, text in TREE.items()}
    flat[f"{IMAGES}/1/note.md"] = "moved to all/"
    assert ingested("affectnet", flat).samples == 4
    assert rows(lake, "samples")["manual/train/000000"]["path"] == f"all/{HASHES[0]}.jpg"


def test_crops_beside_the_pictures_do_not_take_their_place(lake: Lake, ingested: Run) -> None:
    crops = {path.replace(IMAGES, "cropped"): text for path, text in TREE.items() if path.startswith(IMAGES)}
    ingested("affectnet", TREE | crops)
    assert str(rows(lake, "samples")["manual/train/000000"]["path"]).startswith(IMAGES)


def test_of_two_folders_without_the_usual_name_the_user_says_which(lake: Lake, ingested: Run) -> None:
    tree = {path.replace(IMAGES, "pictures"): text for path, text in TREE.items()}
    tree |= {path.replace(IMAGES, "cropped"): text for path, text in TREE.items() if path.startswith(IMAGES)}
    with pytest.raises(DatasetError, match=r"cropped and pictures[\s\S]*--images FOLDER"):
        ingested("affectnet", tree)
    assert ingested("affectnet", tree, images="pictures").samples == 4
    assert str(rows(lake, "samples")["manual/train/000000"]["path"]).startswith("pictures/412/")


def test_lists_without_pictures_are_refused_with_what_to_unpack(ingested: Run) -> None:
    with pytest.raises(DatasetError, match=r"Manually_Annotated\.part1\.rar"):
        ingested("affectnet", {"training.csv": csv(*LINES), "x.png": ""})


def test_a_list_that_lacks_columns_is_refused_by_name(ingested: Run) -> None:
    lists = "subDirectory_filePath,expression\n412/a.jpg,1\n"
    with pytest.raises(DatasetError, match=r"lacks columns[\s\S]*facial_landmarks"):
        ingested("affectnet", TREE | {"Manually_Annotated_file_lists/training.csv": lists})


def test_two_lists_that_differ_are_ambiguous_and_equal_copies_are_not(ingested: Run) -> None:
    same = {"training.csv": TREE["Manually_Annotated_file_lists/training.csv"]}
    assert ingested("affectnet", TREE | same).samples == 4
    with pytest.raises(DatasetError, match="ambiguous"):
        ingested("affectnet", {"training.csv": csv(LINES[0])})


def test_automatic_rows_are_told_apart_and_take_no_part_in_the_protocol(lake: Lake, ingested: Run) -> None:
    tree = {
        "Automatically_annotated_file_list/automatically_annotated.csv": csv(LINES[0].replace("412/0f", "5/ee")),
        f"Automatically_Annotated_Images/5/ee{HASHES[0][2:]}.jpg": "",
    }
    ingested("affectnet", TREE | tree)
    assert rows(lake, "labels/auto")["automatic/000000"]["expression"] == "happiness"
    assert "automatic/000000" not in rows(lake, "labels/human")
    assert "automatic/000000" not in rows(lake, "protocols/official")
    assert rows(lake, "samples")["automatic/000000"]["split"] == "extra"
    assert "ResNeXt" in lake.layer("affectnet", "labels/auto").facts.rule


FLAVOURS = [str, np.str_, float, lambda value: np.bytes_(str(value)), lambda value: np.array([value], "<f4")]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_npy_values_are_read_as_text_bytes_or_numbers(
    flavour: Callable[[object], object], lake: Lake, ingested: Run
) -> None:
    tree = items("train_set", 10, flavour(6), flavour(-0.5), flavour(0.25)) | items("val_set", 2, 0, 0.0, -2)
    summary = ingested("affectnet", {f"AffectNet/{path}": data for path, data in tree.items()})
    assert not summary.rejects
    human = rows(lake, "labels/human")
    row = human["npy/train/000010"]
    assert (row["expression"], row["valence"], row["arousal"]) == ("anger", -0.5, 0.25)
    assert human["npy/val/000002"]["arousal"] is None
    assert rows(lake, "labels/auto")["npy/train/000010"]["landmarks"] == list(range(136))


def test_points_of_an_npy_file_are_pairs_whatever_its_memory_order(lake: Lake, ingested: Run) -> None:
    pairs = np.arange(136.0).reshape(68, 2)
    tree = items("train_set", 0, 6, 0.5, 0.5, pairs) | items("train_set", 1, 6, 0.5, 0.5, np.asfortranarray(pairs))
    summary = ingested("affectnet", tree | items("train_set", 2, 6, 0.5, 0.5, np.ascontiguousarray(pairs.T)))
    assert rejects(summary) == {"bad-landmarks": 1}  # all x, then all y, are no pairs
    auto = rows(lake, "labels/auto")
    assert auto["npy/train/000000"]["landmarks"] == auto["npy/train/000001"]["landmarks"] == list(range(136))
    assert "npy/train/000002" not in auto


def test_a_release_with_points_alone_offers_no_classes_by_machine(lake: Lake, ingested: Run) -> None:
    ingested("affectnet", items("train_set", 0, 6, 0.5, 0.5))
    facts = lake.layer("affectnet", "labels/auto").facts
    assert (facts.unit, facts.offered) == ({"landmarks": "frame"}, {})


def test_pickled_npy_is_refused_with_what_to_do_and_never_loaded(lake: Lake, ingested: Run) -> None:
    tree = items("train_set", 1, 6, 0.5, 0.5) | items("train_set", 2, 6, 0.5, 0.5)
    tree["train_set/annotations/1_val.npy"] = pickle.dumps(0.5)
    tree["train_set/annotations/1_lnd.npy"] = npy(np.array([{"a": 1}], dtype=object))
    tree["train_set/annotations/2_aro.npy"] = npy(0.5)[:-1]
    summary = ingested("affectnet", tree)
    assert rejects(summary) == {"unsafe-file": 2, "bad-number": 1}
    details = lake.read("affectnet", "rejects").column("detail").to_pylist()
    assert any("allow_pickle=False" in str(detail) for detail in details)
    assert rows(lake, "labels/human")["npy/train/000001"]["valence"] is None


def test_items_lacking_files_stay_with_what_is_known(lake: Lake, ingested: Run) -> None:
    tree = items("train_set", 0, 6, 0.5, 0.5) | items("train_set", 3, 2, 0.5, 0.5)
    del tree["train_set/annotations/3_exp.npy"], tree["train_set/images/0.jpg"]
    tree |= {"train_set/images/9.jpg": b"", "train_set/images/007.jpg": b"", "affectnet.csv": b"x", "test_set/a": b""}
    summary = ingested("affectnet", tree)
    assert rejects(summary) == {"missing-annotation": 5, "missing-image": 1, "bad-name": 1}
    assert set(rows(lake, "samples")) == {"npy/train/000003", "npy/train/000009"}
    assert rows(lake, "labels/human")["npy/train/000003"]["valence"] == 0.5
    assert any("test_set" in warning for warning in summary.warnings)


def test_an_id_that_is_not_its_row_of_the_list_is_refused(lake: Lake, ingested: Run) -> None:
    tree = {"training.csv": csv(*LINES)} | {path: text for path, text in TREE.items() if path.startswith(IMAGES)}
    tree |= items("train_set", 0, "1", "0.785714", "-0.055556") | items("train_set", 2, 8, 0, 0.301587)
    with pytest.raises(DatasetError, match=r"several releases[\s\S]*--edition csv or --edition npy"):
        ingested("affectnet", tree)
    assert not ingested("affectnet", tree, edition="npy").rejects
    tree |= items("train_set", 0, 2, 0.785714, -0.055556) | items("train_set", 1, 9, -2, -2)
    tree |= items("train_set", 2, 8, 0, 0.9) | items("train_set", 3, 1, 0, 0)
    summary = ingested("affectnet", tree, edition="npy")
    assert rejects(summary) == {"id-mismatch": 3}
    assert set(rows(lake, "samples")) == {"npy/train/000001"}
    with pytest.raises(DatasetError, match="--edition plus: that release of AffectNet is not in"):
        ingested("affectnet", {}, edition="plus")


def test_a_class_where_the_row_of_the_list_has_none_is_an_id_mismatch(lake: Lake, ingested: Run) -> None:
    tree = {"training.csv": csv(*LINES)} | {path: text for path, text in TREE.items() if path.startswith(IMAGES)}
    # Row 1 is uncertain and has no rating to differ from.
    tree |= items("train_set", 0, 1, 0.785714, -0.055556) | items("train_set", 1, 3, 0.5, 0.5)
    assert rejects(ingested("affectnet", tree, edition="npy")) == {"id-mismatch": 1}
    assert set(rows(lake, "samples")) == {"npy/train/000000"}


def test_blocks_stay_small_and_say_the_same(monkeypatch: pytest.MonkeyPatch, lake: Lake, ingested: Run) -> None:
    tree = {k: v for n in (0, 2, 10, 11, 100) for k, v in items("train_set", n, n % 8, 0.5, 0.5).items()}
    monkeypatch.setattr(affectnet_items, "ITEMS", 2)
    ingested("affectnet", tree)
    assert list(rows(lake, "samples")) == [f"npy/train/{n:06d}" for n in (0, 2, 10, 11, 100)]
    assert rows(lake, "labels/human")["npy/train/000100"]["expression"] == "fear"


# The page's keys, with as many numbers as real files have.
PLUS: dict[str, object] = {
    "human-label": 6,
    "soft-label": [0.02, 0.0, 0.05, 0.01, 0.03, 0.19, 0.68, 0.02],
    "subset": 0,
    "meta-data": {"age": 31, "gender": {"female": 0.03, "male": 0.97}, "race": {"asian": 0.1},
                  "valence": -0.48, "arousal": 0.55, "pose": {}, "landmark-68": list(range(136))},
}  # fmt: skip


def plus(place: str, number: int, **facts: object) -> dict[str, str]:
    return {f"{place}/images/{number}.jpg": "", f"{place}/annotations/{number}.json": json.dumps(PLUS | facts)}


def test_affectnet_plus_tells_people_from_machines_row_by_row(lake: Lake, ingested: Run) -> None:
    top = "AffectNet+/human_annotated/train_set"
    without: dict[str, object] = {"human-label": None, "soft-label": []}
    tree = plus(top, 0) | plus(top, 1, **{"human-label": "8"}) | plus("AffectNet+/no_human_annotated", 0, **without)
    summary = ingested("affectnet", tree)
    assert not summary.rejects
    human, auto = rows(lake, "labels/human"), rows(lake, "labels/auto")
    assert (human["plus/train/000000"]["expression"], auto["plus/train/000000"]["expression"]) == ("anger", "anger")
    assert auto["plus/train/000000"]["expression_probs"] == pytest.approx(
        [0.02, 0.0, 0.05, 0.01, 0.03, 0.19, 0.68, 0.02, 0.0]
    )
    assert human["plus/train/000000"]["valence"] == pytest.approx(-0.48)
    assert human["plus/train/000001"]["expression"] is None
    assert "plus/extra/000000" not in human
    assert auto["plus/extra/000000"]["valence"] == pytest.approx(-0.48)
    sample = rows(lake, "samples")["plus/train/000000"]
    assert (sample["age"], sample["attributes_source"]) == (31, "auto")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"human-label": 11}, "unknown-code"),
        ({"human-label": True}, "unknown-code"),
        ({"soft-label": [50.0] * 8}, "out-of-range"),
        ({"soft-label": "none"}, "out-of-range"),
        ({"meta-data": {"landmark-68": [1, 2]}}, "bad-landmarks"),
        ({"meta-data": {"age": "old"}}, "bad-attributes"),
        ({"meta-data": {"valence": 3}}, "out-of-range"),
    ],
)
def test_a_bad_key_of_affectnet_plus_is_refused_alone(facts: dict[str, object], reason: str, ingested: Run) -> None:
    top = "human_annotated/validation_set"
    assert rejects(ingested("affectnet", plus(top, 0, **facts) | plus(top, 1))) == {reason: 1}


def test_soft_labels_of_two_decimals_are_a_distribution_again(lake: Lake, ingested: Run) -> None:
    shares = [0.03, 0.0, 0.05, 0.01, 0.03, 0.19, 0.68, 0.03]
    top = "human_annotated/train_set"
    wrong = {"soft-label": [0.1, *shares[1:]]}
    tree = plus(top, 0, **{"soft-label": shares}) | plus(top, 1, **wrong)
    assert rejects(ingested("affectnet", tree)) == {"out-of-range": 1}
    auto = rows(lake, "labels/auto")
    assert auto["plus/train/000000"]["expression_probs"] == pytest.approx([s / 1.02 for s in shares] + [0])
    assert auto["plus/train/000001"]["expression_probs"] is None


def test_class_folders_are_read_by_the_code_and_marked_as_a_repack(lake: Lake, ingested: Run) -> None:
    tree = {f"train/{code}/{code + 10}.jpg": "" for code in range(8)} | {"val/7/3.jpg": "", "test/0/9.png": ""}
    summary = ingested("affectnet", tree)
    assert rows(lake, "labels/human")["folders/train/7/17"]["expression"] == "contempt"
    assert "repack" in lake.layer("affectnet", "labels/human").facts.rule
    assert "folders/test/0/9" not in rows(lake, "protocols/official")
    assert any("no role" in warning for warning in summary.warnings)


def test_full_class_folders_in_another_order_are_refused(tmp_path: Path) -> None:
    counts = list(affectnet.TRAIN.values())

    def folder(order: list[int], fewer: int = 0) -> Folder:
        files = {f"train/{code}": {f"{n}.jpg": 1 for n in range(counts[o] - fewer)} for code, o in enumerate(order)}
        return Folder(tmp_path, Listing({"": {}, "train": {}, **files}, []), {"edition": ""})

    found = affectnet.find(folder(list(range(8)), fewer=9))
    assert found is not None
    with pytest.raises(DatasetError, match="code-order-mismatch"):  # alphabetical: anger, contempt, disgust, fear ...
        affectnet.find(folder([6, 7, 5, 4, 1, 0, 2, 3], fewer=9))
    swapped = [0, 1, 2, 3, 4, 7, 6, 5]
    with pytest.raises(DatasetError, match="code-order-mismatch"):
        affectnet.find(folder(swapped))
    assert not affectnet.contradicts_codes([counts[o] // 2 for o in swapped])


def test_of_a_part_of_the_class_folders_the_user_is_told_what_the_numbers_are_taken_for(ingested: Run) -> None:
    summary = ingested("affectnet", {f"train/{code}/{code + 10}.jpg": "" for code in range(8)})
    assert any("0 neutral, 1 happiness, 2 sadness" in warning for warning in summary.warnings)


def test_six_class_folders_of_other_datasets_are_not_taken(tmp_path: Path) -> None:
    def found(names: dict[str, str]) -> object:
        files = {place: {name: 1} for place, name in names.items()}
        return affectnet.find(Folder(tmp_path, Listing({"": {}, "train": {}, **files}, []), {"edition": ""}))

    assert found({f"train/{code}": "train_00001_aligned.jpg" for code in range(1, 8)}) is None
    assert found({f"train/{code}": "1.jpg" for code in range(7)}) is None
    assert found({f"train/{code}": "Training_1.jpg" for code in range(8)}) is None


ONE = ("\n".join(map(whole, LINES)) + "\n").encode()
PART = Part("t.csv", IMAGES, False, "train", "manual/train", True)


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(mangled(ONE, [b";", b"NULL", b"-2", b"10", b";;"]), any_bytes), st.booleans())
def test_every_line_of_a_list_is_a_row_or_a_reject(data: bytes, flat: bool) -> None:
    reject = Reject()
    folder = Folder(Path("/nowhere"), Listing({f"{IMAGES}/412": {f"{HASHES[0]}.JPG": 1}}, []), {})
    part = Part("t.csv", IMAGES, flat, "train", "manual/train", True)
    table = csv_table(data, "t.csv", reject, names=COLUMNS)
    block = _block(_rows_of(table, part, reject), part, _Pictures(folder, part))
    filled = [line for line in data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").lstrip(b"\r\n").removesuffix(
        b"\r").split(b"\n") if line]  # fmt: skip
    counts = reject.counts()
    dropped = sum(counts[reason] for reason in ("bad-field-count", "bad-name", "unknown-code"))
    assert block.samples.num_rows + dropped == len(filled)
    assert set(counts) <= {"bad-field-count", "bad-name", "unknown-code", "bad-number", "out-of-range", "bad-box",
                           "bad-landmarks"}  # fmt: skip
    assert {table.num_rows for table in block.labels.values()} == {block.samples.num_rows}
    ratings = block.labels["human"].column("valence").drop_null().to_numpy()
    assert (np.abs(ratings) <= 1).all()


cell = st.lists(
    st.sampled_from(["1", "79.9", "-3.25", "", " 4 ", "nan", "1e999", "x", "0x1", '"']), min_size=1, max_size=5
)


@pytest.mark.fuzz
@FUZZ
@given(st.lists(cell, max_size=8))
def test_a_bad_cell_of_points_costs_no_other_cell(cells: list[list[str]]) -> None:
    fields = [(found * 136)[:136] for found in cells]
    points, bad = point_rows(pa.array([";".join(found) for found in fields], pa.string()))
    for row, found in enumerate(fields):
        right = all(text.strip() in ("1", "79.9", "-3.25", "4") for text in found)
        assert bad[row] == (not right)
        assert np.isnan(points[row]).all() != right
        if right:
            assert points[row] == pytest.approx([float(text) for text in found])


@pytest.mark.fuzz
@FUZZ
@given(
    st.one_of(*(mangled(npy(v), [b"|O", b"<U9", b"(2,)", b"\x80"]) for v in ("3", 0.5, np.arange(136.0))), any_bytes)
)
def test_npy_bytes_are_what_numpy_says_or_refused(data: bytes) -> None:
    found = npy_values(data)
    if isinstance(found, str):
        assert found in ("unsafe-file", "bad-number")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = np.load(io.BytesIO(data), allow_pickle=False)
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.fuzz
@FUZZ
@given(
    st.one_of(mangled(json.dumps(PLUS).encode(), [b"null", b"[]", b"{}", b'"\\ud800"', b"1e999", b"NaN"]), any_bytes)
)
def test_every_json_file_is_an_item_or_a_reject(data: bytes) -> None:
    facts = json_facts(data)
    reject = Reject()
    block = plus_block(Half("h", "train", "plus/train"), np.arange(2), [facts or {}, {}], None, reject)
    counts = reject.counts()
    assert block.samples.num_rows + counts["unknown-code"] == 2
    assert set(counts) <= {"unknown-code", "bad-number", "out-of-range", "bad-landmarks", "bad-attributes"}


def test_an_npy_header_of_another_length_than_it_says_is_refused() -> None:
    data = npy("3")
    assert npy_values(data.replace(b" \n", b"   \n")) == "bad-number"
    assert npy_values(data[:8] + b"\x00\x00" + data[10:]) == "bad-number"


@pytest.mark.parametrize("value", ["3", 3, 0.5, True, np.float16(1), np.array(["3"]), np.arange(136.0).reshape(68, 2),
                                   np.arange(6.0).reshape(3, 2).T])  # fmt: skip
def test_plain_npy_files_are_read_as_numpy_reads_them(value: object) -> None:
    found = npy_values(npy(value))
    assert not isinstance(found, str)
    assert found.tolist() == np.load(io.BytesIO(npy(value)), allow_pickle=False).tolist()
