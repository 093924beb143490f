"""BP4D+ from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from affectdata.datasets import bp4dplus
from affectdata.ingest_summary import IngestSummary
from manifests.errors import DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
HEADER = "1,1,2,4,5,6,7,9,10,11,12,13,14,15,16,17,18,19,20,22,23,24,27,28,29,30,31,32,33,34,35,36,37,38,39"
ROWS = (
    "145,0,0,0,0,1,1,0,1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n"
    "146,0,0,0,0,1,1,0,1,9,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n"
)
CODED = f"{HEADER}\n{ROWS}"
TREE = {
    "BP4D+_v0.2/AUCoding/AU_OCC/F001_T1.csv": CODED,
    "BP4D+_v0.2/AUCoding/AU_INT/AU06/F001_T1_AU06.csv": "145,2\n146,9\n",
    "BP4D+_v0.2/2D+3D/F001/T1/145.jpg": "",
    "BP4D+_v0.2/2D+3D/F001/T1/146.jpg": "",
    "BP4D+_v0.2/2D+3D/F001/T10/000.jpg": "",
    "BP4D+_v0.2/Thermal/F001/T1.mv": "",
    "BP4D+_v0.2/2DFeatures/F001_T1.mat": "",
}
OCC = "BP4D+_v0.2/AUCoding/AU_OCC/F001_T1.csv"


def rows(lake: Lake, layer: str) -> dict[str, dict[str, object]]:
    return {row["sample_id"]: row for row in lake.read("bp4dplus", layer).to_pylist()}


def test_columns_are_mapped_by_header_and_nine_is_unknown(lake: Lake, ingested: Run) -> None:
    summary = ingested("bp4dplus", TREE)
    assert not summary.rejects
    said = rows(lake, "labels/human")
    assert set(said) == {"bp4dplus/F001/T1/0145", "bp4dplus/F001/T1/0146"}
    second = said["bp4dplus/F001/T1/0146"]
    assert (second["au06"], second["au07"], second["au10"], second["au11"], second["au12"]) == (1, 1, 1, None, 1)
    assert (second["au25"], second["au06_intensity"]) == (None, None)
    assert said["bp4dplus/F001/T1/0145"]["au06_intensity"] == 2


def test_people_never_merge_with_those_of_bp4d_and_other_tasks_stay_unlabelled(lake: Lake, ingested: Run) -> None:
    summary = ingested("bp4dplus", TREE)
    samples = rows(lake, "samples")
    assert {row["group_id"] for row in samples.values()} == {"bp4dplus:F001"}
    assert "bp4dplus/F001/T10/0000" in samples
    assert [warning for warning in summary.warnings if "2DFeatures is not read" in warning]


def test_pictures_of_the_thermal_camera_are_not_taken_for_those_of_the_other(lake: Lake, ingested: Run) -> None:
    ingested("bp4dplus", TREE | {"BP4D+_v0.2/Thermal/F001/T1/145.jpg": "", "BP4D+_v0.2/Thermal/F002/T1/001.jpg": ""})
    assert rows(lake, "samples")["bp4dplus/F001/T1/0145"]["path"] == "BP4D+_v0.2/2D+3D/F001/T1/145.jpg"
    assert not [key for key in rows(lake, "samples") if "F002" in key]


def test_a_header_of_other_text_is_replaced_by_the_fixed_list(lake: Lake, ingested: Run) -> None:
    ingested("bp4dplus", TREE | {OCC: ",".join(["frame", *(f"AU {n}" for n in "x" * 34)]) + "\n" + ROWS})
    assert rows(lake, "labels/human")["bp4dplus/F001/T1/0145"]["au12"] == 1
    assert len(bp4dplus.RELEASE.aus) == 34
    assert ",".join(map(str, (1, *bp4dplus.RELEASE.aus))) == HEADER


def test_rows_without_35_fields_and_files_without_a_header_are_refused(ingested: Run) -> None:
    assert rejects(ingested("bp4dplus", TREE | {OCC: CODED + "147,0,0\n"})) == {
        "bad-field-count": 1,
        "length-mismatch": 1,
    }
    assert rejects(ingested("bp4dplus", TREE | {OCC: ROWS})) == {"unknown-header": 1}


def test_more_lines_than_pictures_are_missing_images_and_task_eleven_is_no_task(ingested: Run) -> None:
    tree = TREE | {OCC: CODED + "147" + ",0" * 34 + "\n", "BP4D+_v0.2/AUCoding/AU_OCC/F042_T11.csv": CODED}
    summary = ingested("bp4dplus", tree)
    assert rejects(summary) == {"missing-image": 1, "length-mismatch": 1, "bad-name": 1}


def test_the_header_alone_tells_it_from_bp4d_and_both_signs_are_refused(ingested: Run) -> None:
    plain = {"AU_OCC/F001_T1.csv": CODED, "2D+3D/F001/T1/145.jpg": "", "2D+3D/F001/T1/146.jpg": ""}
    assert ingested("bp4dplus", plain).samples == 2
    with pytest.raises(DatasetError, match="affect ingest bp4dplus"):
        ingested("bp4d", plain)
    with pytest.raises(DatasetError, match="folder of its own"):
        ingested("bp4dplus", plain | {"AU_OCC/F001_T2.csv": CODED, "AU_OCC/M058_T1.csv": CODED})


def test_the_first_fold_of_bigsmall_is_known_and_the_others_come_from_files(
    lake: Lake, ingested: Run, tmp_path: Path
) -> None:
    assert len(bp4dplus.BIGSMALL_TEST_1) == 46
    ingested("bp4dplus", TREE)
    assert {row["role"] for row in lake.read("bp4dplus", "protocols/bigsmall-1").to_pylist()} == {"train"}
    folds = tmp_path / "folds"
    folds.mkdir()
    for number, subject in enumerate(("F003", "F001", "M001"), start=1):
        (folds / f"Split{number}_Test_Subjects.csv").write_text(f"subjects\n{subject}\n")
    summary = ingested("bp4dplus", TREE, bigsmall=str(folds))
    found = lake.read("bp4dplus", "protocols/bigsmall").to_pylist()
    assert {(row["role"], row["fold"]) for row in found} == {("test", 1)}
    assert [warning for warning in summary.warnings if "Split1_Test_Subjects.csv" in warning]
    (folds / "Split3_Test_Subjects.csv").write_text("subjects\n")
    with pytest.raises(DatasetError, match=r"no subject in Split3_Test_Subjects\.csv"):
        ingested("bp4dplus", TREE, bigsmall=str(folds))
    with pytest.raises(DatasetError, match="three files"):
        ingested("bp4dplus", TREE, bigsmall=str(tmp_path / "nowhere"))
