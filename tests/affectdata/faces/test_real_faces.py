"""Alignment of real photographs: everybody is found, and pupils and markers land where they should."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from affectdata.faces import geometry
from affectdata.faces.align import AlignOptions, align
from affectdata.faces.alignments import alignment
from affectdata.faces.detectors import DetectorSettings
from affectdata.faces.sheet import write_sheet
from affectdata.faces.warp import warped
from affectdata.faces.yunet import YuNet
from manifests.crops import CropStore
from manifests.lake import Lake


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    """The folder of weights, named to the program for the tests of this file."""
    folder = shared / "weights"
    if not (folder / "yunet.onnx").is_file():
        pytest.skip("needs the YuNet weights of ../shared/weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFFECT_WEIGHTS", str(folder))
        yield folder


def publish(lake: Lake, dataset: str, root: Path, files: Sequence[str]) -> None:
    """A dataset of whole pictures."""
    files = sorted(files)
    ids = [f"{dataset}/{Path(name).stem}" for name in files]
    with lake.publish(dataset, command="test") as step:
        step.source(root, dataset)
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": [dataset] * len(ids), "path": files}))


@pytest.fixture(scope="module")
def london(shared: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:  # noqa: ARG001 - sets them
    """The 204 London faces, aligned to arcface112 by YuNet."""
    root = shared / "data" / "london_faces"
    lake = Lake(tmp_path_factory.mktemp("london") / "lake", create=True)
    publish(lake, "london", root, [path.name for path in root.glob("*.jpg")])
    align(lake, "london", detector="yunet")
    return lake


@pytest.fixture(scope="module")
def pupils(shared: Path) -> dict[str, np.ndarray]:
    """Sample -> annotated pupils (2, 2), image left first."""
    with (shared / "data" / "london_faces" / "pupils.csv").open(encoding="utf-8") as file:
        return {
            f"london/{Path(row['image']).stem}": np.array(
                [[row["left_x"], row["left_y"]], [row["right_x"], row["right_y"]]], float
            )
            for row in csv.DictReader(file)
        }


def test_all_204_london_faces_are_found(london: Lake) -> None:
    faces = london.read("london", "faces/yunet")
    assert faces.column("status").to_pylist() == ["found"] * 204
    assert min(faces.column("score").to_pylist()) > 0.9
    assert len(CropStore(london, "london", "arcface112")) == 204


def test_pupils_are_found_within_a_twentieth_of_their_distance(london: Lake, pupils: dict[str, np.ndarray]) -> None:
    faces = london.read("london", "faces/yunet", ["sample_id", "points5"])
    found = dict(zip(faces.column("sample_id").to_pylist(), faces.column("points5").to_pylist(), strict=True))
    errors = [
        np.hypot(*(np.reshape(found[name], (5, 2))[:2] - truth).T).mean() / np.hypot(*(truth[1] - truth[0]))
        for name, truth in pupils.items()
    ]
    assert len(errors) == 102
    assert np.mean(errors) < 0.05


def test_annotated_pupils_land_close_to_the_template_eyes(london: Lake, pupils: dict[str, np.ndarray]) -> None:
    store = CropStore(london, "london", "arcface112")
    rows = store.locate(list(pupils))
    landed = np.array([geometry.to_crop(p, store.transform[r]) for p, r in zip(pupils.values(), rows, strict=True)])
    eyes = np.array(alignment("arcface112").template)[:2]
    print(f"pupils in the crop: mean {landed.mean(0).round(2).tolist()}, sd {landed.std(0).round(2).tolist()}")
    print(f"template eyes {eyes.tolist()}; distance {np.hypot(*(landed - eyes).T).mean():.2f} px on average")
    assert np.abs(landed.mean(0) - eyes).max() < 1.5
    assert landed.std(0).max() < 1.5


def test_the_smile_of_a_person_lies_where_the_neutral_face_lies(london: Lake) -> None:
    store = CropStore(london, "london", "arcface112")
    faces = london.read("london", "faces/yunet", ["points5"]).column("points5").to_pylist()
    eyes = np.array(
        [geometry.to_crop(np.reshape(f, (5, 2))[:2], m) for f, m in zip(faces, store.transform, strict=True)]
    )
    pairs = eyes.reshape(102, 2, 2, 2)  # sorted ids: neutral, then smiling, of each person
    assert np.hypot(*(pairs[:, 0] - pairs[:, 1]).reshape(-1, 2).T).mean() < 1.5


def test_markers_drawn_into_the_photographs_land_where_the_stored_transform_says(london: Lake) -> None:
    store = CropStore(london, "london", "arcface112")
    faces = london.read("london", "faces/yunet", ["points5"]).column("points5").to_pylist()
    worst = 0.0
    for row in range(0, 204, 17):
        name = store.sample_ids[row].as_py().removeprefix("london/")
        picture = cv2.imread(str(london.root("london") / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
        for spot in np.reshape(faces[row], (5, 2)):
            y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
            marker = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 3.0**2))
            drawn = (picture * (1 - marker) + 255 * marker).round().astype(np.uint8)
            erased = (picture * (1 - marker)).round().astype(np.uint8)
            transform = store.transform[row].astype(np.float64)
            seen = warped(drawn, transform, (112, 112)).astype(float) - warped(erased, transform, (112, 112))
            cy, cx = np.mgrid[:112, :112]
            centre = np.array([(seen * cx).sum(), (seen * cy).sum()]) / seen.sum()
            worst = max(worst, float(np.hypot(*(centre - geometry.to_crop(spot, store.transform[row])))))
    print(f"markers: worst distance {worst:.3f} px")
    assert worst < 0.5


def test_the_stored_crop_is_the_one_that_the_stored_transform_cuts_out(london: Lake) -> None:
    store = CropStore(london, "london", "arcface112")
    picture = cv2.cvtColor(cv2.imread(str(london.root("london") / "001_neutral.jpg")), cv2.COLOR_BGR2RGB)
    again = warped(picture, store.transform[0].astype(np.float64), (112, 112))
    assert np.abs(store.gather(np.array([0]))[0].astype(int) - again).mean() < 0.5


def test_the_contact_sheet_of_real_faces_can_be_written(london: Lake, tmp_path: Path) -> None:
    assert write_sheet(london, "london", "arcface112", tmp_path / "sheet.jpg", count=24) == 24
    assert cv2.imread(str(tmp_path / "sheet.jpg")).mean() > 50


@pytest.mark.usefixtures("weights")
def test_five_faces_are_seen_in_the_group_and_none_in_the_drawing(shared: Path, lake: Lake) -> None:
    root = shared / "data" / "photos"
    publish(lake, "photos", root, [p.name for p in root.iterdir() if p.suffix in (".jpg", ".png")])
    align(lake, "photos", detector="yunet", options=AlignOptions(workers=2))
    faces = {row["sample_id"]: row for row in lake.read("photos", "faces/yunet").to_pylist()}
    assert faces["photos/multi_face"]["faces"] == 5
    assert faces["photos/multi_face"]["rule"] == "largest central"
    assert faces["photos/free-mountain-vector-01"]["status"] == "no-face"
    for name in ("BWPictureHuman", "Image_with_alpha", "single_face"):
        assert (faces[f"photos/{name}"]["status"], faces[f"photos/{name}"]["faces"]) == ("found", 1)
    assert len(CropStore(lake, "photos", "arcface112")) == 4


@pytest.mark.usefixtures("weights")
def test_a_smaller_detector_input_gives_points_of_the_full_picture(shared: Path) -> None:
    picture = cv2.cvtColor(cv2.imread(str(shared / "data" / "photos" / "single_face.jpg")), cv2.COLOR_BGR2RGB)
    large = YuNet(DetectorSettings(max_side=640)).faces(picture)[0]
    small = YuNet(DetectorSettings(max_side=320)).faces(picture)[0]
    distance = np.hypot(*(large.points[1] - large.points[0]))
    assert np.hypot(*(large.points - small.points).T).max() < 0.15 * distance


def test_fer_pictures_of_the_crops_own_size_are_stored_bit_for_bit(shared: Path, lake: Lake, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "data" / "fer2013plus.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith(".png")][:300]
        archive.extractall(tmp_path / "fer", names)
    publish(lake, "fer", tmp_path / "fer", names)
    align(lake, "fer", alignment="resize48", options=AlignOptions(workers=2, gray=True))
    store = CropStore(lake, "fer", "resize48")
    paths = lake.read("fer", "samples", ["path"]).column("path").to_pylist()
    pictures = [cv2.imread(str(tmp_path / "fer" / path), cv2.IMREAD_GRAYSCALE) for path in paths]
    assert (store.gather(np.arange(300))[..., 0] == np.array(pictures)).all()
    assert store.transform[0] == pytest.approx(np.array([[1, 0, 0], [0, 1, 0]]))
