"""GFT from the lines that the dataset page invents for its unverified layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import gft
from affectdata.datasets.gft_codes import looks_right, read_file
from affectdata.datasets.listing import list_files
from affectdata.datasets.reading import Folder, Reject
from affectdata.ingest_summary import IngestSummary
from manifests.errors import AffectError, DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
CODED = "frame,AU1,AU2,AU4,AU5,AU6\n1,0,0,0,0,1\n2,0,0,0,9,1\n"


def labels(lake: Lake) -> dict[str, dict[str, object]]:
    """sample_id -> what is known."""
    rows = lake.read("gft", "labels/human").to_pylist()
    return {row.pop("sample_id"): {name: cell for name, cell in row.items() if cell is not None} for row in rows}


def test_a_table_gives_a_sample_for_each_frame_and_nine_is_unknown(lake: Lake, ingested: Run) -> None:
    summary = ingested("gft", {"occ/001A.csv": CODED})
    assert not summary.rejects
    first = {"au01": 0, "au02": 0, "au04": 0, "au05": 0, "au06": 1}
    assert labels(lake) == {"gft/001A/0001": first, "gft/001A/0002": {k: v for k, v in first.items() if k != "au05"}}
    sample = lake.read("gft", "samples").to_pylist()[0]
    assert (sample["subject_id"], sample["group_id"], sample["frame_index"]) == ("001A", "gft:001", 1)
    assert sample["path"] is None


def test_the_user_is_told_that_the_layout_is_not_verified_and_that_there_is_no_split(lake: Lake, ingested: Run) -> None:
    warnings = " ".join(ingested("gft", {"occ/001A.csv": CODED}).warnings)
    assert "experimental" in warnings
    assert "--test-subjects" in warnings
    assert [layer.kind for layer in lake.layers("gft") if layer.kind == "protocols"] == []


@pytest.mark.parametrize("missing", ["", "NaN", "nan", "9", "-999", "9.0"])
def test_every_missing_code_of_the_page_is_unknown(missing: str, lake: Lake, ingested: Run) -> None:
    summary = ingested("gft", {"occ/001A.csv": f"frame,AU1,AU12\n1,{missing},1\n"})
    assert not summary.rejects
    assert labels(lake) == {"gft/001A/0001": {"au12": 1}}


@pytest.mark.parametrize("names", ["frame,AU1,AU12", "Frame,AU01,AU12", "f,1,12", "0,1,12", '"frame","au1"," AU12"'])
def test_aus_are_named_in_any_of_the_spellings(names: str, lake: Lake, ingested: Run) -> None:
    ingested("gft", {"occ/001A.csv": f"{names}\r\n7,1,0\r\n"})
    assert labels(lake) == {"gft/001A/0007": {"au01": 1, "au12": 0}}


def test_occurrence_and_intensity_of_a_frame_are_one_sample(lake: Lake, ingested: Run) -> None:
    tree = {"x/001A_occ.csv": "frame,AU1\n1,1\n2,0\n", "x/001A_int.csv": "frame,AU6\n2,3\n3,0\n"}
    assert ingested("gft", tree).samples == 3
    assert labels(lake) == {
        "gft/001A/0001": {"au01": 1},
        "gft/001A/0002": {"au01": 0, "au06_intensity": 3.0},
        "gft/001A/0003": {"au06_intensity": 0.0},
    }


def test_a_path_that_names_no_kind_needs_the_users_word(lake: Lake, ingested: Run) -> None:
    with pytest.raises(DatasetError, match="--coding occurrence or --coding intensity"):
        ingested("gft", {"001A.csv": "frame,AU6\n1,1\n"})
    ingested("gft", {"001A.csv": "frame,AU6\n1,1\n"}, coding="intensity")
    assert labels(lake) == {"gft/001A/0001": {"au06_intensity": 1.0}}


def test_the_users_word_for_a_kind_never_covers_two_tables_of_one_person(ingested: Run) -> None:
    # IntensCodes comes first: its codes 0 and 1 would pass for occurrence.
    tree = {"IntensCodes/001A.csv": "frame,AU6\n1,1\n", "OccCodes/001A.csv": "frame,AU6\n1,0\n"}
    with pytest.raises(DatasetError, match=r"IntensCodes/001A\.csv, OccCodes/001A\.csv[\s\S]*rename the folders"):
        ingested("gft", tree, coding="occurrence")


def test_without_a_header_the_user_names_the_columns(lake: Lake, ingested: Run) -> None:
    tree = {"occ/001A.csv": "1,0,1\n2,1,1\n"}
    for given_ in ({}, {"columns": "1"}, {"columns": "1,1"}, {"columns": "1,99"}):
        with pytest.raises(DatasetError, match="no-column-map"):
            ingested("gft", tree, **given_)
    with pytest.raises(DatasetError, match="--columns"):
        ingested("gft", tree, columns="1,x")
    ingested("gft", tree, columns="1, 12")
    assert labels(lake)["gft/001A/0001"] == {"au01": 0, "au12": 1}


def test_ascending_codes_are_not_taken_for_a_header(ingested: Run) -> None:
    with pytest.raises(DatasetError, match="no-column-map"):
        ingested("gft", {"int/001A.csv": "1,1,2,4\n2,1,1,1\n"})


def test_what_fits_no_code_frame_column_or_name_is_refused(lake: Lake, ingested: Run) -> None:
    tree = {
        "occ/001A.csv": "frame,AU1,AU2,person\n1,2,0,x\n0,0,0,x\n1801,0,0,x\nz,0,0,x\n2,0.5,oops,x\n3,1\n4,1,1,x\n",
        "occ/readme.csv": "a,b\n",
        "int/001A.csv": "frame,AU1\n4,6\n",
        "more/occ/001A.csv": "frame,AU1\n9,1\n",
    }
    summary = ingested("gft", tree)
    assert rejects(summary) == {
        "unknown-header": 1, "unknown-code": 3, "out-of-range": 2, "bad-number": 2, "bad-field-count": 1,
        "bad-name": 1, "duplicate-key": 1,
    }  # fmt: skip
    assert labels(lake) == {"gft/001A/0001": {"au02": 0}, "gft/001A/0004": {"au01": 1, "au02": 1}}
    assert summary.samples == 3


def test_a_frame_listed_twice_and_differently_has_no_code(lake: Lake, ingested: Run) -> None:
    summary = ingested("gft", {"occ/001A.csv": "frame,AU1,AU2\n1,0,1\n1,1,1\n2,0,0\n2,0,9\n"})
    assert rejects(summary) == {"conflicting-duplicate": 1, "duplicate-key": 1}
    assert labels(lake) == {"gft/001A/0002": {"au01": 0, "au02": 0}}


def test_videos_are_attached_only_with_the_frame_they_start_at(lake: Lake, ingested: Run) -> None:
    tree = {"occ/001A.csv": CODED, "video/001A.mp4": ""}
    summary = ingested("gft", tree)
    assert [text for text in summary.warnings if "--video-start" in text]
    assert lake.read("gft", "samples").column("path").null_count == 2
    ingested("gft", tree, **{"video-start": "30"})
    rows = lake.read("gft", "samples").to_pylist()
    assert [(row["path"], row["frame"]) for row in rows] == [("video/001A.mp4", 30), ("video/001A.mp4", 31)]
    with pytest.raises(DatasetError, match="two videos of 001A"):
        ingested("gft", tree | {"other/001A_left.avi": ""}, **{"video-start": "0"})


def test_a_groups_members_are_never_parted(lake: Lake, ingested: Run, tmp_path: Path) -> None:
    tree = {f"occ/{person}.csv": CODED for person in ("001A", "001B", "002A")}
    subjects = tmp_path / "test.txt"
    subjects.write_text("001A\n")
    with pytest.raises(DatasetError, match="groups 001"):
        ingested("gft", tree, **{"test-subjects": str(subjects)})
    subjects.write_text("002A\n009C\n")
    with pytest.raises(DatasetError, match="009C"):
        ingested("gft", tree, **{"test-subjects": str(subjects)})
    subjects.write_text("001A\n001B\n")
    ingested("gft", tree, **{"test-subjects": str(subjects)})
    layer = lake.layer("gft", "protocols/subjects")
    assert layer.facts.keys == ["subject", "group"]
    roles = {row["sample_id"][4:8]: row["role"] for row in lake.read("gft", "protocols/subjects").to_pylist()}
    assert roles == {"001A": "test", "001B": "test", "002A": "train"}


@pytest.mark.parametrize("name", ["F001_T1.csv", "001.csv", "1001A.csv", "S001A.csv", "results.csv"])
def test_tables_without_a_participants_name_are_not_this_dataset(name: str, ingested: Run) -> None:
    with pytest.raises(DatasetError, match="gft was not recognised"):
        ingested("gft", {f"occ/{name}": CODED})


@pytest.mark.fuzz
@FUZZ
@given(data=st.one_of(any_bytes, mangled(CODED.encode(), [b"9", b"-999", b"1801", b"AU1", b"1,0", b"\r"])))
def test_every_line_is_a_frame_or_a_reject(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp() / "fuzzed"
    root.mkdir(exist_ok=True)
    (root / "001A.csv").write_bytes(data)
    options = {option.name: option.default for option in gft.CARD.options}
    folder, reject = Folder(root, list_files(root), options), Reject()
    if not looks_right(folder, "001A.csv"):
        return
    try:
        frames, codes = read_file(folder, "001A.csv", "occurrence", reject)
    except AffectError:
        return
    text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    first = next(n for n, line in enumerate(text) if line.strip())
    # A line that holds carriage returns alone may count or not.
    least, most = (sum(bool(line.strip(blank)) for line in text[first + 1 :]) for blank in ("\r", "\n"))
    whole_rows = ("bad-field-count", "out-of-range", "duplicate-key", "conflicting-duplicate")
    counts = reject.counts()
    refused = reject.table((), 1).to_pylist()
    no_frame = sum(row["reason"] == "bad-number" and row["detail"].startswith("0 ") for row in refused)
    assert least <= len(frames) + sum(counts[reason] for reason in whole_rows) + no_frame <= most
    assert (np.diff(frames) > 0).all()
    assert all(set(np.unique(values[~np.isnan(values)])) <= {0, 1} for values in codes.values())
