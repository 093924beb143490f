"""FAN in batches finds what face-alignment finds face by face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from affectdata.faces import geometry
from affectdata.faces.detectors import Face
from affectdata.faces.fan import WEIGHTS, Fan
from affectdata.faces.heatmaps import peaks
from affectdata.faces.landmarkers import LandmarkerSettings, with_landmarks
from manifests.errors import WeightsError

BOXES = np.array([(60, 40, 180.5, 190), (-30, 20, 90, 150.25), (150, 120, 330, 300), (100, 100, 118, 121)], float)
"""Inside the picture, over its left edge, over its lower right corner, and small."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights that holds a FAN of one hourglass with random weights."""
    from face_alignment.models import FAN

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    torch.save(FAN(1).state_dict(), folder / WEIGHTS.file)
    return folder


@pytest.fixture
def small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FAN has one hourglass instead of four, so that a test takes a second."""
    monkeypatch.setenv("AFFECT_WEIGHTS", str(folder))
    monkeypatch.setattr("affectdata.faces.fan.MODULES", 1)
    return folder / WEIGHTS.file


def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (240, 260, 3), np.uint8)


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_gives_the_points_that_the_library_gives_face_by_face(
    small: Path, flip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import face_alignment.api as library

    exact: list[np.ndarray] = []
    decode = library.get_preds_fromhm

    def kept(heatmaps, centre, scale):
        # the library cuts its points off to whole pixels; noted here are the cells before that
        cells, whole, scores = decode(heatmaps, centre, scale)
        exact.append((cells[0] - 32) * 200 * scale / 64 + centre)
        return cells, whole, scores

    class Native(library.FaceAlignment):
        def _load_native(self, *_):
            network = library.FAN(1)
            network.load_state_dict(torch.load(small, weights_only=True))
            return network.eval()

    monkeypatch.setattr(library, "get_preds_fromhm", kept)
    theirs = Native(1, device="cpu", flip_input=flip, face_detector="folder", compile=False)
    whole, scores, _ = theirs.get_landmarks_from_image(picture(), [*BOXES], return_landmark_score=True)

    ours = Fan(LandmarkerSettings(flip=flip))
    windows = [ours.cut(picture(), Face(box, None, None)) for box in BOXES]
    points, confidence = ours.points(np.stack([window.pixels for window in windows]))
    found = np.stack([geometry.to_source(p, w.transform) for p, w in zip(points, windows, strict=True)])
    assert np.abs(found - exact).max() < 1e-3
    assert np.abs(found - np.array(whole)).max() < 1
    assert confidence == pytest.approx(np.clip(np.array(scores) / (2 if flip else 1), 0, 1), abs=1e-5)


def test_the_windows_of_a_batch_do_not_touch_each_other(small: Path) -> None:  # noqa: ARG001 - sets the weights
    ours = Fan(LandmarkerSettings())
    windows = np.stack([ours.cut(picture(), Face(box, None, None)).pixels for box in BOXES[:3]])
    together, _ = ours.points(windows)
    alone = np.concatenate([ours.points(window[None])[0] for window in windows])
    assert np.abs(together - alone).max() < 1e-3


def test_a_box_beside_the_picture_or_none_gives_no_window(small: Path) -> None:  # noqa: ARG001 - sets the weights
    ours = Fan(LandmarkerSettings())
    for box in (None, np.array([900.0, 900, 950, 950]), np.array([5.0, 5, 5, 9]), np.full(4, np.nan)):
        assert ours.cut(picture(), Face(box, None, None)) is None
    assert ours.points(np.empty((0, 256, 256, 3), np.uint8))[0].shape == (0, 68, 2)


def test_boxes_of_yunet_get_the_wider_window_of_the_library(small: Path) -> None:  # noqa: ARG001 - sets the weights
    sfd, yunet = (Fan(LandmarkerSettings(detector=name)) for name in ("sfd", "yunet"))
    face = Face(BOXES[0], None, None)
    scales = [geometry.scale(fan.cut(picture(), face).transform) for fan in (sfd, yunet)]
    assert scales[0] / scales[1] == pytest.approx(195 / 165)


def test_peaks_are_moved_a_quarter_cell_to_the_higher_neighbour_but_not_on_the_rim() -> None:
    heat = torch.zeros(1, 3, 8, 10)
    heat[0, 0, 3, 4], heat[0, 0, 3, 5], heat[0, 0, 2, 4] = 1.0, 0.5, 0.25
    heat[0, 1, 0, 4], heat[0, 1, 1, 4] = 0.7, 0.5
    heat[0, 2, 7, 9] = 0.3
    points, height = peaks(heat)
    assert points[0].tolist() == [[4.25, 2.75], [4, 0], [9, 7]]
    assert height[0].tolist() == pytest.approx([1, 0.7, 0.3])


def test_five_points_come_from_the_68_where_the_detector_gave_none(small: Path) -> None:  # noqa: ARG001 - sets the weights
    face = Face(BOXES[0], None, 0.9)
    window = Fan(LandmarkerSettings()).cut(picture(), face)
    points = np.random.default_rng(0).uniform(0, 255, (68, 2)).astype(np.float32)
    placed = with_landmarks(face, window, points)
    assert placed.points == pytest.approx(geometry.to_source(geometry.five_points(points), window.transform))
    assert geometry.to_crop(placed.landmarks, window.transform) == pytest.approx(points, abs=1e-4)
    kept = np.arange(10.0).reshape(5, 2)
    assert with_landmarks(Face(BOXES[0], kept, 0.9), window, points).points is kept


def test_weights_of_another_network_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("affectdata.faces.fan.MODULES", 1)
    for content, message in (({"a": torch.zeros(1)}, "another network"), ([1, 2], "no state dict")):
        torch.save(content, tmp_path / WEIGHTS.file)
        with pytest.raises(WeightsError, match=message):
            Fan(LandmarkerSettings())
    (tmp_path / WEIGHTS.file).write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Fan(LandmarkerSettings())


def test_weights_that_carry_code_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Code:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "run",))

    torch.save({"conv1.weight": Code()}, tmp_path / WEIGHTS.file)
    monkeypatch.setenv("AFFECT_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Fan(LandmarkerSettings())
    assert not (tmp_path / "run").exists()
