"""S3FD in batches sees the faces that face_alignment sees, and takes its place in the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from affectdata.faces import geometry, making
from affectdata.faces.align import AlignOptions, align
from affectdata.faces.alignments import ARCFACE_112
from affectdata.faces.detectors import BatchDetector, DetectorSettings, Face, Hint, Image, detector
from affectdata.faces.landmarkers import LandmarkerSettings, Window, rgb
from affectdata.faces.sfd import WEIGHTS, Sfd
from affectdata.faces.warp import warped
from manifests.crops import CropStore
from manifests.errors import AffectError, WeightsError
from manifests.lake import Lake
from tests.affectdata.faces.conftest import landmarks

LIBRARY = DetectorSettings(score=0.5)
"""As face_alignment sees faces."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the S3FD."""
    from face_alignment.detection.sfd.net_s3fd import s3fd

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / WEIGHTS.file
    torch.save(s3fd().state_dict(), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFFECT_WEIGHTS", str(path.parent))
        yield path


@pytest.fixture(scope="module")
def ours(network: Path) -> Sfd:  # noqa: ARG001 - sets the weights
    found = detector("sfd", LIBRARY)
    assert isinstance(found, Sfd)
    return found


def pictures(count: int, height: int = 40, width: int = 32) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (count, height, width, 3), np.uint8)


def test_pictures_alone_and_in_a_batch_give_the_librarys_boxes(network: Path, ours: Sfd) -> None:
    from face_alignment.detection.sfd import FaceDetector

    theirs = FaceDetector("cpu", path_to_detector=str(network))
    batch = pictures(3)
    together = theirs.detect_from_batch(torch.from_numpy(batch).permute(0, 3, 1, 2))
    alone = [theirs.detect_from_image(picture) for picture in batch]
    found = ours.boxes(batch)
    assert all(len(rows) > 5 for rows in found)  # random weights see faces everywhere
    for mine, batched, single in zip(found, together, alone, strict=True):
        assert mine == pytest.approx(np.array(batched), abs=1e-3)
        assert mine == pytest.approx(np.array(single), abs=1e-3)


def test_pictures_of_several_sizes_keep_their_order(ours: Sfd) -> None:
    small, large = pictures(2), pictures(2, 36, 48)
    grey = cv2.cvtColor(small[0], cv2.COLOR_RGB2GRAY)
    images = [large[0], small[0], grey, large[1], small[1]]
    hints = [Hint(box=np.array([5.0 + n, 5, 25, 25])) for n in range(len(images))]
    assert isinstance(ours, BatchDetector)
    together = ours.find_all(images, hints)
    for image, hint, found in zip(images, hints, together, strict=True):
        alone = ours.find(image, hint)
        assert (found.status, found.faces, found.rule) == (alone.status, alone.faces, alone.rule)
        assert found.face.box == pytest.approx(alone.face.box, abs=1e-2)
        assert found.face.points is None


def test_a_shrunk_picture_gives_boxes_of_the_full_one(network: Path, ours: Sfd) -> None:  # noqa: ARG001 - sets the weights
    small = pictures(1)[0]
    large = cv2.resize(small, (64, 80), interpolation=cv2.INTER_NEAREST)
    shrunk = Sfd(replace(LIBRARY, max_side=40)).find(large, Hint())
    assert (shrunk.face.box + 0.5) / 2 - 0.5 == pytest.approx(ours.find(small, Hint()).face.box, abs=1e-3)


def test_where_nothing_is_sure_enough_there_is_no_face(network: Path) -> None:  # noqa: ARG001 - sets the weights
    assert Sfd(replace(LIBRARY, score=1.0)).find(pictures(1)[0], Hint()).status == "no-face"


def test_a_dataset_is_aligned_to_the_boxes_of_sfd_on_any_thread(
    network: Path,  # noqa: ARG001 - sets the weights
    toy: Lake,
    ours: Sfd,
) -> None:
    options = AlignOptions(workers=2, chunk=4, score=0.5, limit=5)
    assert align(toy, "toy", detector="sfd", alignment="hu_box96", options=options).crops == 4
    rows = toy.read("toy", "faces/sfd").to_pylist()
    assert [row["status"] for row in rows] == ["found", "found", "found", "undecodable-image", "found"]
    for row in rows[::2]:
        image = cv2.imread(str(toy.root("toy") / f"{row['sample_id'][4:]}.png"))[..., ::-1]
        box = [row[f"box_{edge}"] for edge in ("x1", "y1", "x2", "y2")]
        assert row["points5"] is None
        assert min(np.abs(ours.boxes(image[None].copy())[0][:, :4] - box).max(1)) < 1e-2
    with pytest.raises(AffectError, match=r"(?s)sfd gives none.*--landmarks fan"):
        align(toy, "toy", detector="sfd", options=options)


class OnTheBox:
    """A landmarker whose 68 points lie in the same places of every box."""

    name = "on_the_box"
    facts = {"made": "1"}  # noqa: RUF012 - the protocol's
    input_size = (32, 32)

    def cut(self, image: Image, face: Face) -> Window:
        transform = geometry.box_transform(face.box, self.input_size)
        return Window(rgb(warped(image, transform, self.input_size)), transform)

    def points(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([landmarks(0) / 2] * len(batch)), np.ones((len(batch), 68), np.float32)


def test_five_points_are_those_of_the_landmarker_which_is_told_whose_boxes_it_gets(
    network: Path,  # noqa: ARG001 - sets the weights
    toy: Lake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[LandmarkerSettings] = []
    monkeypatch.setattr(making, "landmarker", lambda _, settings: (asked.append(settings), OnTheBox())[1])
    options = AlignOptions(workers=2, chunk=4, score=0.5, limit=2, landmarks="fan")
    assert align(toy, "toy", detector="sfd", options=options).crops == 2
    assert {settings.detector for settings in asked} == {"sfd"}
    store = CropStore(toy, "toy", "arcface112")
    marks = np.array(toy.read("toy", "labels/landmarks-on_the_box", ["landmarks"])["landmarks"].to_pylist())
    for transform, found in zip(store.transform, marks.reshape(-1, 68, 2), strict=True):
        five = geometry.five_points(found)
        assert transform == pytest.approx(geometry.similarity(five, ARCFACE_112), rel=1e-4, abs=1e-4)


def test_weights_of_another_network_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECT_WEIGHTS", str(tmp_path))
    torch.save({"a": torch.zeros(1)}, tmp_path / WEIGHTS.file)
    with pytest.raises(WeightsError, match="another network"):
        Sfd(DetectorSettings())
