"""BP4D from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import bp4d, bp4dplus
from affectdata.datasets.bp4d_sequences import INTENSITY, OCCURRENCE, header_aus
from affectdata.datasets.disfa_codes import read_codes
from affectdata.datasets.reading import Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
# 721,0,0,9,0,0,1,1,9,0,1,...,9 of the page, its dots filled with 9
HEADER = ",".join(map(str, range(100)))
ROW = ",0,0,9,0,0,1,1,9,0,1" + ",9" * 89
WIDE = f"{HEADER}\n721{ROW}\n722{ROW}\n"
LEVELS = "721,0\n722,2\n"
TREE = {
    "BP4D/AUCoding/AU_OCC/F001_T2.csv": WIDE,
    "BP4D/AUCoding/AU_INT/AU06/F001_T2_AU06.csv": LEVELS,
    "BP4D/Sequences(2D+3D)/F001/T2/0721.jpg": "",
    "BP4D/Sequences(2D+3D)/F001/T2/0722.jpg": "",
    "BP4D/Sequences(2D+3D)/F001/T2/0722.obj": "",
}


def rows(lake: Lake, layer: str) -> dict[str, dict[str, object]]:
    return {row["sample_id"]: row for row in lake.read("bp4d", layer).to_pylist()}


def test_column_k_of_a_wide_file_is_au_k_and_nine_is_unknown(lake: Lake, ingested: Run) -> None:
    summary = ingested("bp4d", TREE)
    assert not summary.rejects
    assert set(rows(lake, "samples")) == {"bp4d/F001/T2/0721", "bp4d/F001/T2/0722"}
    said = rows(lake, "labels/human")["bp4d/F001/T2/0722"]
    assert (said["au01"], said["au06"], said["au07"], said["au10"]) == (0, 1, 1, 1)
    assert (said["au03"], said["au12"], said["au25"], said["au06_intensity"]) == (None, None, None, 2)
    sample = rows(lake, "samples")["bp4d/F001/T2/0722"]
    assert (sample["subject_id"], sample["group_id"], sample["gender"]) == ("F001", "bp4d:F001", "female")
    assert (sample["sequence_id"], sample["frame_index"]) == ("F001_T2", 722)


def test_the_first_cell_of_a_named_header_means_nothing(lake: Lake, ingested: Run) -> None:
    ingested("bp4d", TREE | {"BP4D/AUCoding/AU_OCC/F001_T2.csv": "1,1,2,4,25\n721,1,0,9,1\n722,0,0,1,0\n"})
    said = rows(lake, "labels/human")["bp4d/F001/T2/0721"]
    assert (said["au01"], said["au02"], said["au04"], said["au25"]) == (1, 0, None, None)


def test_a_file_without_its_header_is_refused_whole(ingested: Run) -> None:
    summary = ingested("bp4d", TREE | {"BP4D/AUCoding/AU_OCC/F001_T2.csv": WIDE.partition("\n")[2]})
    assert rejects(summary) == {"unknown-header": 1}


def test_every_line_below_an_unknown_header_counts_for_the_limit_of_rejects(ingested: Run) -> None:
    wide = WIDE.replace("0,1,2", "frame,one,two") + f"723{ROW}\n"
    assert rejects(ingested("bp4d", TREE | {"BP4D/AUCoding/AU_OCC/F001_T2.csv": wide})) == {"unknown-header": 3}


def test_a_copy_of_an_au_file_never_stands_in_for_it(lake: Lake, ingested: Run) -> None:
    copy = WIDE.replace("721,0", "721,1")
    assert rejects(ingested("bp4d", TREE | {"BP4D/AUCoding/AU_OCC/F001_T2 (copy).csv": copy})) == {"duplicate-key": 1}
    assert rows(lake, "labels/human")["bp4d/F001/T2/0721"]["au01"] == 0


def test_intensity_files_have_no_header_and_join_by_frame(lake: Lake, ingested: Run) -> None:
    summary = ingested("bp4d", TREE | {"BP4D/AUCoding/AU_INT/AU06/F001_T2_AU06.csv": "722,9\n"})
    assert rejects(summary) == {"length-mismatch": 1}
    assert "au06_intensity" in lake.read("bp4d", "labels/human").column_names
    assert rows(lake, "labels/human")["bp4d/F001/T2/0722"]["au06_intensity"] is None


def test_an_intensity_file_in_the_folder_of_another_au_is_refused(lake: Lake, ingested: Run) -> None:
    tree = TREE | {"BP4D/AUCoding/AU_INT/AU10/F001_T2_AU12.csv": LEVELS}
    assert rejects(ingested("bp4d", tree)) == {"id-mismatch": 1, "missing-annotation": 1}
    said = rows(lake, "labels/human")["bp4d/F001/T2/0722"]
    assert (said["au06_intensity"], said["au10_intensity"], said["au12_intensity"]) == (2, None, None)


@pytest.mark.parametrize("au", ["AU25", "AU26", "AU99"])
def test_intensities_of_aus_that_are_not_usable_are_refused(au: str, lake: Lake, ingested: Run) -> None:
    assert rejects(ingested("bp4d", TREE | {f"BP4D/AUCoding/AU_INT/{au}/F001_T2_{au}.csv": LEVELS})) == {
        "no-column-map": 1
    }
    assert rows(lake, "labels/human")["bp4d/F001/T2/0722"]["au25_intensity"] is None


def test_codes_in_a_column_that_no_list_knows_are_refused_once(lake: Lake, ingested: Run) -> None:
    row = ROW.split(",")
    row[41], row[25], row[99] = "0", "0", "1"
    wide = f"{HEADER}\n721{','.join(row)}\n722{','.join(row)}\n"
    assert rejects(ingested("bp4d", TREE | {"BP4D/AUCoding/AU_OCC/F001_T2.csv": wide})) == {"no-column-map": 1}
    assert rows(lake, "labels/human")["bp4d/F001/T2/0721"]["au41"] is None


def test_other_codes_are_unknown_and_a_coded_frame_without_picture_is_refused(lake: Lake, ingested: Run) -> None:
    wide = f"{HEADER}\n721,3{ROW[2:]}\n722{ROW}\n723{ROW}\n"
    tree = TREE | {
        "BP4D/AUCoding/AU_OCC/F001_T2.csv": wide,
        "BP4D/AUCoding/AU_INT/AU06/F001_T2_AU06.csv": "721,6\n722,1\n723,1\n",
    }
    assert rejects(ingested("bp4d", tree)) == {"unknown-code": 2, "missing-image": 1}
    said = rows(lake, "labels/human")["bp4d/F001/T2/0721"]
    assert (said["au01"], said["au06"], said["au06_intensity"]) == (None, 1, None)


@pytest.mark.parametrize(("offset", "path"), [("0", "002.jpg"), ("-1", "001.jpg")])
def test_the_offset_of_pictures_is_the_users_choice_and_is_reported(
    offset: str, path: str, lake: Lake, ingested: Run
) -> None:
    wide = f"{HEADER}\n1{ROW}\n2{ROW}\n"
    tree = {"AU_OCC/M009_T3.csv": wide} | {f"2D+3D/M009/T3/{n:03d}.jpg": "" for n in range(3)}
    summary = ingested("bp4d", tree, **{"frame-offset": offset})
    assert rows(lake, "samples")["bp4d/M009/T3/0002"]["path"] == f"2D+3D/M009/T3/{path}"
    assert [warning for warning in summary.warnings if "count from 0" in warning]
    assert summary.samples == 3


def test_the_fera_package_is_read_also_from_a_doubled_folder(lake: Lake, ingested: Run) -> None:
    tree = {
        "AUCoding/AUCoding/M018_T8.csv": f"{HEADER}\n187{ROW}\n",
        "AUCoding/AUCoding/M018_T2.csv": f"{HEADER}\n1{ROW}\n",
        "BP4D-training/M018/T8/187.jpg": "",
        "BP4D-training/M018/T2/1.jpg": "",
        "BP4D-fpoints/M018_T8.mat": "",
    }
    summary = ingested("bp4d", tree)
    assert summary.variant == "FERA 2015 package"
    assert summary.samples == 2
    assert [warning for warning in summary.warnings if "BP4D-fpoints is not read" in warning]
    roles = {row["sample_id"]: row["role"] for row in lake.read("bp4d", "protocols/fera2015").to_pylist()}
    assert set(roles.values()) == {"val"}


def test_numbers_decide_and_not_padding_and_names_that_are_none_are_refused(ingested: Run) -> None:
    folder = "BP4D/Sequences(2D+3D)/F001/T2/"
    tree = TREE | {
        f"{folder}721.jpg": "",
        f"{folder}texture.jpg": "",
        "BP4D/AUCoding/AU_OCC/readme_T1.csv": "x",
        "BP4D/AUCoding/AU_OCC/F001_T2 (copy).csv": WIDE,
    }
    assert rejects(ingested("bp4d", tree)) == {"duplicate-key": 2, "bad-name": 2}


def test_a_tree_that_could_be_either_is_asked_about(ingested: Run) -> None:
    tree = {"AU_OCC/F001_T1.csv": "1,1,2,4\n1,0,0,0\n", "2D+3D/F001/T1/0001.jpg": ""}
    with pytest.raises(DatasetError, match="--release bp4d"):
        ingested("bp4d", tree)
    assert ingested("bp4d", tree, release="bp4d").samples == 1


@pytest.mark.parametrize(
    ("sequence", "wrong", "right"), [("F082_T1", "bp4d", "bp4dplus"), ("F001_T2", "bp4dplus", "bp4d")]
)
def test_a_users_word_never_turns_the_people_of_one_dataset_into_those_of_the_other(
    sequence: str, wrong: str, right: str, ingested: Run
) -> None:
    tree = {f"AU_OCC/{sequence}.csv": "1,1,2,4\n1,0,0,0\n", f"2D+3D/{sequence.replace('_', '/')}/0001.jpg": ""}
    with pytest.raises(DatasetError, match=f"affect ingest {right} "):
        ingested(wrong, tree, release=wrong)


def test_a_picture_0_is_reported_also_where_others_are_missing(ingested: Run) -> None:
    tree = {"AU_OCC/M009_T3.csv": f"{HEADER}\n2{ROW}\n"} | {f"2D+3D/M009/T3/{n:03d}.jpg": "" for n in (0, 2, 5)}
    assert [warning for warning in ingested("bp4d", tree).warnings if "count from 0" in warning]
    whole = {"AU_OCC/M009_T3.csv": f"{HEADER}\n2{ROW}\n"} | {f"2D+3D/M010/T3/{n:03d}.jpg": "" for n in (1, 2)}
    assert len([warning for warning in ingested("bp4d", tree | whole).warnings if "1 of 2 picture" in warning]) == 1


def test_what_is_there_twice_or_not_at_all_is_said(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="several folders"):
        ingested("bp4d", TREE | {"copy/AU_OCC/F001_T2.csv": WIDE})


def test_au_files_without_pictures_are_refused_with_what_to_unpack(ingested: Run) -> None:
    with pytest.raises(DatasetError, match=r"unpack \.rar"):
        ingested("bp4d", {"AU_OCC/F001_T2.csv": WIDE, "2D+3D/F001.rar": "x"})


def test_the_three_parts_hold_every_subject_once() -> None:
    subjects = [subject for part in bp4d.PARTS for subject in part]
    every = {f"F{n:03d}" for n in range(1, 24)} | {f"M{n:03d}" for n in range(1, 19)}
    assert len(subjects) == 41
    assert set(subjects) == every
    assert [len(part) for part in bp4d.PARTS] == [14, 14, 13]


def test_headers_are_known_by_their_length_and_numbers() -> None:
    wide = header_aus(tuple(HEADER.split(",")), bp4d.RELEASE)
    assert wide is not None
    assert (wide[0], wide[2], wide[24], wide[38]) == (1, None, None, 39)
    assert header_aus(("1", "1", "2", "2"), bp4d.RELEASE) is None
    assert header_aus(("1", "1", "2", "95"), bp4d.RELEASE) is None
    assert header_aus((), bp4d.RELEASE) is None
    assert header_aus(tuple(HEADER.split(",")), bp4dplus.RELEASE) is None


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled(b"721,0,9,1\n722,1,0,0\n", [b"5", b"721,", b"\xef\xbb\xbf"])))
def test_every_line_of_an_occurrence_file_is_a_frame_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = read_codes(data, ["au01", None, "au04"], OCCURRENCE, "F001_T1.csv", reject)
    assert len(found.frames) <= found.lines <= len(found.frames) + len(reject)
    assert found.passed.shape[1] == 1
    known = found.values[~np.isnan(found.values)]
    assert set(known.tolist()) <= {0.0, 1.0}


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled(LEVELS.encode() + b"723,9\n", [b"7", b"721,"])))
def test_every_line_of_an_intensity_file_is_a_frame_or_a_reject(data: bytes) -> None:
    reject = Reject()
    found = read_codes(data, ["AU6"], INTENSITY, "F001_T1_AU06.csv", reject)
    assert len(found.frames) <= found.lines <= len(found.frames) + len(reject)


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled(WIDE.encode())))
def test_no_header_breaks_a_reader(data: bytes) -> None:
    cells = tuple(data.decode("utf-8", "replace").split("\n")[0].split(","))
    for release in (bp4d.RELEASE, bp4dplus.RELEASE):
        columns = header_aus(cells, release)
        assert columns is None or len(columns) == len(cells) - 1
