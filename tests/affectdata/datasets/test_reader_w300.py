"""300-W from lines as the dataset page shows them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from scipy.io import savemat

from affectdata.datasets.listing import list_files
from affectdata.datasets.matlab import read_mat
from affectdata.datasets.points import read_pts, read_pts_of
from affectdata.datasets.reading import Folder, Reject
from affectdata.datasets.w300_boxes import read_boxes
from affectdata.datasets.w300_packages import read_dlib, read_hrnet
from affectdata.datasets.w300_places import Place, place_of
from affectdata.ingest_summary import IngestSummary
from affectdata.synthetic.w300 import box_mat
from manifests.errors import AffectError, DatasetError
from manifests.lake import Lake
from tests.affectdata.datasets.conftest import rejects

Run = Callable[..., IngestSummary]
REST = "".join(f"{n}.000000 {n + 10}.000000\n" for n in range(66))
PTS = "version: 1\nn_points:  68\n{\n446.000 91.000\n449.459 119.344\n" + REST + "}"
PART = "".join(f"<part name='{n:02d}' x='{300 + n}' y='{200 + n}'/>" for n in range(68))
IMAGE = f"<image file='afw/134212_1.jpg' width='9' height='9'><box top='224' left='302' width='239' height='240'>{PART}"
XML = f"<?xml version='1.0'?><dataset><images>{IMAGE}</box></image>{{more}}</images></dataset>"
BOXES = box_mat([("a.jpg", np.array([1.0, 2, 3, 4]), np.array([1.5, 2.5, 3.5, 4.5]))])
CELLS = ",".join(f"{n}.5" for n in range(136))
HEADER = ",".join(
    ["image_name", "scale", "center_w", "center_h", *(f"original_{n}_{c}" for n in range(68) for c in "xy")]
)


def rows(lake: Lake, layer: str) -> dict[str, dict[str, object]]:
    return {row["sample_id"].removeprefix("w300/"): row for row in lake.read("w300", layer).to_pylist()}


def landmarks(lake: Lake, key: str) -> list[float]:
    found: list[float] = rows(lake, "labels/human")[key]["landmarks"]  # type: ignore[assignment]  # rows are of any type
    return found


def test_points_are_shifted_from_one_to_zero_and_the_base_is_recorded(lake: Lake, ingested: Run) -> None:
    ingested("w300", {"300W/afw/134212_1.jpg": "", "300W/afw/134212_1.pts": PTS})
    assert landmarks(lake, "afw/134212_1")[:4] == pytest.approx([445, 90, 448.459, 118.344])
    assert lake.layer("w300", "labels/human").facts.landmark_base.startswith("1 (shifted to 0)")


def test_a_picture_with_a_blank_finds_its_points_with_or_without_it(lake: Lake, ingested: Run) -> None:
    for picture, points in (("image_092 _01", "image_092 _01"), ("image_092_01", "image_092 _01"),
                            ("image_092 _01", "image_092_01")):  # fmt: skip
        summary = ingested("w300", {f"ibug/{picture}.jpg": "", f"ibug/{points}.pts": PTS, "ibug/a_1.jpg": "",
                                    "ibug/a_1.pts": PTS})  # fmt: skip
        assert set(rows(lake, "samples")) == {"ibug/image_092_01", "ibug/a_1"}
        assert not summary.rejects
        for name in ("ibug/image_092 _01", "ibug/image_092_01"):
            for end in ("jpg", "pts"):
                (lake.home.parent / "root" / f"{name}.{end}").unlink(missing_ok=True)


def test_unpaired_files_are_refused_and_mirrored_ones_passed_over(lake: Lake, ingested: Run) -> None:
    tree = {f"helen/trainset/{name}": PTS for name in ("1_1.pts", "2_1.pts")}
    tree |= dict.fromkeys(("helen/trainset/1_1.jpg", "helen/trainset/1_1_mirror.jpg", "helen/trainset/3_1.jpg"), "")
    summary = ingested("w300", tree)
    assert rejects(summary) == {"missing-image": 1, "missing-annotation": 1}
    assert set(rows(lake, "samples")) == {"helen/trainset/1_1"}
    assert any("1 mirrored copies" in warning for warning in summary.warnings)


def test_protocols_are_those_of_the_literature(lake: Lake, ingested: Run) -> None:
    names = ("afw/1_1", "lfpw/trainset/image_0001", "lfpw/testset/image_0001", "ibug/image_003_1",
             "Test/01_Indoor/indoor_001")  # fmt: skip
    ingested("w300", {f"{name}.{end}": PTS for name in names for end in ("png", "pts")})
    roles = {name: {k: r["role"] for k, r in rows(lake, f"protocols/{name}").items()}
             for name in ("full", "common", "challenging", "private")}  # fmt: skip
    train = {"afw/1_1": "train", "lfpw/trainset/image_0001": "train"}
    common, hard, test = "lfpw/testset/image_0001", "ibug/image_003_1", "01_Indoor/indoor_001"
    assert roles["full"] == train | {common: "test", hard: "test"}
    assert roles["common"] == train | {common: "test"}
    assert roles["challenging"] == train | {hard: "test"}
    assert roles["private"] == train | {common: "train", hard: "val", test: "test"}


def test_faces_of_one_photograph_share_a_group_and_numbered_photographs_do_not() -> None:
    assert Place("afw", "134212_1").group == Place("afw", "134212_2").group == "w300:afw/134212"
    assert Place("helen/testset", "1_1").group == Place("helen/trainset", "1_2").group
    assert Place("lfpw/testset", "image_0001").group != Place("lfpw/testset", "image_0002").group
    assert Place("01_Indoor", "indoor_001").group != Place("01_Indoor", "indoor_002").group


def test_dlib_points_are_whole_pixels_from_zero_and_boxes_hold_their_last_pixel(lake: Lake, ingested: Run) -> None:
    mirror = IMAGE.replace("_1.jpg", "_1_mirror.jpg") + "</box></image>"
    tree = {"d/labels_ibug_300W.xml": XML.format(more=mirror), "d/afw/134212_1.jpg": "", "d/afw/134212_1.pts": PTS}
    summary = ingested("w300", tree)
    assert summary.variant == "dlib xml"
    assert landmarks(lake, "afw/134212_1")[:2] == [300, 200]
    sample = rows(lake, "samples")["afw/134212_1"]
    assert [sample[f"box_{edge}"] for edge in ("x1", "y1", "x2", "y2")] == [302, 224, 540, 463]
    assert lake.layer("w300", "labels/human").facts.landmark_base.startswith("0")
    assert any("--annotations pts" in warning for warning in summary.warnings)
    ingested("w300", tree, annotations="pts")
    assert landmarks(lake, "afw/134212_1")[:2] == [445, 90]


def test_hrnet_lists_are_read_by_place_and_never_shifted(lake: Lake, ingested: Run) -> None:
    line = f"helen/trainset/1_1.jpg,1.83,9,9,{CELLS}\n"
    other = f"ibug/image_092 _01.jpg,1.83,9,9,{CELLS}\n"
    tree = {"face_landmarks_300w_train.csv": f"{HEADER}\n{line}elsewhere/2.jpg,1,9,9,{CELLS}\n",
            "face_landmarks_300w_valid.csv": f"{HEADER}\n{other}",
            "face_landmarks_300w_valid_challenge.csv": f"{HEADER}\n{other}",
            "images/helen/trainset/1_1.jpg": "", "images/ibug/image_092 _01.jpg": ""}  # fmt: skip
    summary = ingested("w300", tree)
    assert rejects(summary) == {"unknown-split": 1}
    assert landmarks(lake, "helen/trainset/1_1")[:3] == [0.5, 1.5, 2.5]
    assert rows(lake, "samples")["ibug/image_092_01"]["split"] == "challenging"
    assert "unknown" in lake.layer("w300", "labels/human").facts.landmark_base


@pytest.mark.parametrize(("listed", "there"), [("image_092_01", "image_092 _01"), ("image_092 _01", "image_092_01")])
def test_a_list_finds_the_picture_with_a_blank_with_or_without_it(
    listed: str, there: str, lake: Lake, ingested: Run
) -> None:
    text = f"a,s,x,y,{','.join(map(str, range(136)))}\nibug/{listed}.jpg,1.83,9,9,{CELLS}\n"
    tree = {"face_landmarks_300w_valid.csv": text, f"images/ibug/{there}.jpg": ""}
    assert not ingested("w300", tree).rejects
    assert rows(lake, "samples")["ibug/image_092_01"]["path"] == f"images/ibug/{there}.jpg"


def test_the_base_of_the_boxes_is_told_by_those_around_the_landmarks(lake: Lake, ingested: Run) -> None:
    tight, detector = np.array([0.0, 10, 449.459, 119.344]), np.array([10.0, 20, 30, 40])
    for base, shift in ((1, 0), (0, -1), (None, 40)):
        mat = box_mat([("1_1.jpg", detector + shift, tight + shift)])
        tree = {"afw/1_1.jpg": "", "afw/1_1.pts": PTS, "Bounding Boxes/bounding_boxes_afw.mat": mat}
        summary = ingested("w300", tree)
        expected = None if base is None else 9
        assert rows(lake, "samples")["afw/1_1"]["box_x1"] == expected
        assert rejects(summary) == ({"bad-box": 1} if base is None else {})


def test_a_subset_that_lies_there_twice_is_ambiguous(ingested: Run) -> None:
    tree = {f"{top}/01_Indoor/indoor_001.{end}": PTS for top in ("300W", "300w_cropped") for end in ("png", "pts")}
    with pytest.raises(DatasetError, match="--without"):
        ingested("w300", tree)
    assert ingested("w300", tree, without="300w_cropped").variant == "iBUG .pts"


def test_the_zips_are_read_as_they_are(lake: Lake, ingested: Run) -> None:
    packed = {name: BytesIO() for name in ("afw.zip", "helen.zip")}
    for name, folder in (("afw.zip", ""), ("helen.zip", "trainset/"), ("helen.zip", "testset/")):
        with ZipFile(packed[name], "a") as file:
            file.writestr(f"{folder}1_1.jpg", "")
            file.writestr(f"{folder}1_1.pts", PTS)
    summary = ingested("w300", {name: data.getvalue() for name, data in packed.items()})
    assert set(rows(lake, "samples")) == {"afw/1_1", "helen/trainset/1_1", "helen/testset/1_1"}
    assert not summary.rejects


def test_relatives_and_parts_of_an_archive_are_named(ingested: Run, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cat 300w\.zip"):
        ingested("w300", {"300w.zip.001": "PK", "300w.zip.002": "x"})
    for part in tmp_path.joinpath("root").iterdir():
        part.unlink()
    wflw = " ".join(["1.0"] * 196 + ["1"] * 10 + ["0--Parade/a.jpg"])
    with pytest.raises(DatasetError, match="WFLW"):
        ingested("w300", {"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt": wflw})


@pytest.mark.parametrize("text", [PTS.replace("68\n", "67\n"), PTS[:-2], PTS.replace("449.459", "x"), "",
                                  PTS.replace("449.459 ", "")])  # fmt: skip
def test_points_that_do_not_count_up_are_refused(text: str) -> None:
    reject = Reject()
    assert read_pts(text.encode(), "a.pts", reject, base=1) is None
    assert reject.counts() == {"bad-landmarks": 1}


@pytest.mark.fuzz
@FUZZ
@given(any_bytes | mangled(PTS.encode(), [b"{", b"}", b"n_points:"]))
def test_any_points_file_is_68_points_or_one_reject(data: bytes) -> None:
    reject = Reject()
    found = read_pts_of(data, "a.pts", reject, counts=(68,))
    assert (found is None) == (len(reject) == 1)
    assert found is None or (found.shape == (68, 2) and np.isfinite(found).all())


def folder_of(tmp: Path, name: str, data: bytes) -> Folder:
    root = tmp / f"fuzzed-{name}"
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(data)
    return Folder(root, list_files(root))


@pytest.mark.fuzz
@FUZZ
@given(any_bytes | mangled(XML.format(more="").encode(), [b"<", b"/>", b"box", b"'"]))
def test_every_box_of_any_xml_is_a_row_or_the_xml_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    reject = Reject()
    folder = folder_of(tmp_path_factory.getbasetemp(), "a.xml", data)
    try:
        block = read_dlib(folder, "a.xml", reject)
    except AffectError:
        return
    found = block.labels["human"].column("landmarks")
    assert block.samples.num_rows == len(found)
    assert found.null_count == reject.counts()["bad-landmarks"]


@pytest.mark.fuzz
@FUZZ
@given(any_bytes | mangled(f"{HEADER}\nafw/1_1.jpg,1,9,9,{CELLS}\nafw/2_1.jpg,1,9,9,{CELLS}\n".encode(), [b"afw/"]))
def test_every_line_of_any_csv_is_a_row_or_a_reject(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    reject = Reject()
    folder = folder_of(tmp_path_factory.getbasetemp(), "a.csv", data)
    try:
        block = read_hrnet(folder, "a.csv", "images", reject)
    except AffectError:
        return
    text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n").lstrip("\r\n").split("\n")
    lines = [line for line in text[1:] if line.strip("\r")]
    counts = reject.counts()
    assert block.samples.num_rows + counts["bad-field-count"] + counts["unknown-split"] == len(lines)
    assert block.labels["human"].column("landmarks").null_count == counts["bad-landmarks"]


@pytest.mark.fuzz
@FUZZ
@given(
    any_bytes | mangled(BOXES) | any_bytes.map(lambda data: BOXES[:128] + data) | mangled(BOXES, [b"\x0e", b"\x00" * 4])
)
def test_any_box_file_is_boxes_or_rejects(data: bytes) -> None:
    reject = Reject()
    assert read_boxes(data, "a.mat", reject) is not None or reject.counts()["bad-box"]


def test_a_place_is_known_by_its_folder_alone() -> None:
    assert place_of("x/Helen/TrainSet/1_1.JPG") == Place("helen/trainset", "1_1")
    assert place_of("helen/1_1.jpg") is None


@pytest.mark.parametrize("compressed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(compressed: bool) -> None:
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = {"name": "a b.jpg", "box": np.array([[1.5, -2, 3, 300]])}, np.arange(6).reshape(2, 3)
    data = BytesIO()
    savemat(data, {"cells": cells, "text": "x", "small": np.array([[7]], np.uint8)}, do_compression=compressed)
    found = read_mat(data.getvalue())
    [entry, table] = found["cells"]
    assert entry["name"] == "a b.jpg"
    assert entry["box"].tolist() == [[1.5, -2, 3, 300]]
    assert table.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["text"] == "x"
    assert found["small"].tolist() == [[7]]
