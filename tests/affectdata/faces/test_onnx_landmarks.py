"""A 68-point ONNX network is run as the TOML file beside it says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from affectdata.faces import geometry
from affectdata.faces.detectors import DetectorSettings, Face, Hint
from affectdata.faces.landmarkers import LandmarkerSettings, landmarker, with_landmarks
from affectdata.faces.onnx_landmarks import EXAMPLE, OnnxLandmarker
from affectdata.faces.yunet import YuNet
from manifests.errors import UnknownNameError, WeightsError

MARKED = {"breakingbad.jpg": 0.08, "einstein.jpg": 0.06, "takeo.ppm": 0.04}
"""Photographs with hand-made points, and the inter-ocular error that PFLD stays below on each."""


@pytest.fixture(scope="module")
def pfld(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PFLD network, linked beside a map of its own."""
    network = shared / "weights" / "pfld.onnx"
    if not network.is_file():
        pytest.skip("needs the PFLD weights of ../shared/weights")
    folder = tmp_path_factory.mktemp("pfld")
    (folder / "pfld.onnx").symlink_to(network)
    (folder / "pfld.toml").write_text(EXAMPLE, encoding="utf-8")
    return folder / "pfld.onnx"


def marked(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A photograph (RGB) and its 68 points; .pts count pixels from 1."""
    text = (folder / name).with_suffix(".pts").read_text(encoding="utf-8")
    points = np.array(text.split("{")[1].split("}")[0].split(), float).reshape(68, 2) - 1
    return cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB), points


def test_pfld_finds_the_points_that_people_marked(shared: Path, pfld: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECT_WEIGHTS", str(shared / "weights"))
    finder, net = YuNet(DetectorSettings()), landmarker(f"onnx:{pfld}")
    assert net is not None
    assert net.name == "pfld"
    pairs, windows, faces = [], [], []
    for name in MARKED:
        image, truth = marked(shared / "data" / "landmarks68", name)
        face = finder.find(image, Hint(points=geometry.five_points(truth))).face
        faces.append(face)
        windows.append(net.cut(image, face))
        pairs.append((name, truth))
    points, confidence = net.points(np.stack([window.pixels for window in windows]))
    assert np.isnan(confidence).all()  # the network says nothing of how sure it is
    for (name, truth), face, window, found in zip(pairs, faces, windows, points, strict=True):
        landmarks = with_landmarks(face, window, found).landmarks
        error = np.hypot(*(landmarks - truth).T).mean() / np.hypot(*(truth[36] - truth[45]))
        print(f"{name}: inter-ocular NME {100 * error:.2f} %")
        assert error < MARKED[name]


def test_a_batch_gives_what_single_windows_give(pfld: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = OnnxLandmarker(pfld, LandmarkerSettings())
    batch = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    together = net.points(batch)[0]
    monkeypatch.setattr(net, "_together", False)
    assert net.points(batch)[0] == pytest.approx(together, abs=1e-4)
    assert net.points(batch[:0])[0].shape == (0, 68, 2)


def test_a_box_gives_the_window_that_the_map_describes(pfld: Path) -> None:
    net = OnnxLandmarker(pfld, LandmarkerSettings())
    image = np.full((300, 400), 200, np.uint8)
    window = net.cut(image, Face(np.array([100.0, 100, 180, 200]), None, None))
    assert geometry.apply(window.transform, [[85, 95], [195, 205]]) == pytest.approx(
        np.array([[-0.5, -0.5], [111.5, 111.5]])
    )
    assert window.pixels.shape == (112, 112, 3)
    assert net.cut(image, Face(None, None, None)) is None


def test_the_facts_name_the_weights_and_the_map(pfld: Path) -> None:
    facts = OnnxLandmarker(pfld, LandmarkerSettings()).facts
    assert len(facts["weights_sha256"]) == 64
    assert '"enlarge":1.1' in facts["map"]


def test_a_network_without_a_map_says_what_to_write(pfld: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").symlink_to(pfld)
    with pytest.raises(WeightsError, match=r"(?s)net.toml.*enlarge = 1.1.*write it to .*net.toml, or to net.toml in"):
        landmarker(f"onnx:{tmp_path / 'net.onnx'}")


def test_a_map_in_the_working_folder_or_named_is_found(
    pfld: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tmp_path / "read-only" / "net.onnx"
    network.parent.mkdir()
    network.symlink_to(pfld)
    (tmp_path / "net.toml").write_text(EXAMPLE, encoding="utf-8")
    given = LandmarkerSettings(map=tmp_path / "net.toml")
    assert landmarker(f"onnx:{network}", given) is not None
    monkeypatch.chdir(tmp_path)
    assert landmarker(f"onnx:{network}") is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('points = "unit"', 'points = "heatmaps"', "does not answer as its map says"),
        ("[112, 112]", "[50, 50]", "does not answer as its map says"),
        ("enlarge", "zoom", "zoom"),
        ("enlarge = 1.1", "enlarge = 0", "enlarge"),
        ('"pfld"', '"Not A Layer"', "name"),
        ('"unit"', '"percent"', "points"),
        ("=", "", "no TOML"),
        ('"unit"', '"unit"\nconfidence = "nowhere"', "does not answer as its map says"),
    ],
)
def test_a_map_that_does_not_fit_is_refused_with_the_reason(
    pfld: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "bad.toml").write_text(EXAMPLE.replace(old, new), encoding="utf-8")
    with pytest.raises(WeightsError, match=message):
        OnnxLandmarker(pfld, LandmarkerSettings(map=tmp_path / "bad.toml"))


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no landmark network"):
        landmarker(f"onnx:{tmp_path / 'nowhere.onnx'}")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    (tmp_path / "bad.toml").write_text(EXAMPLE, encoding="utf-8")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        landmarker(f"onnx:{tmp_path / 'bad.onnx'}")


def test_an_unknown_landmarker_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="onnx:PATH"):
        landmarker("dlib")
    assert landmarker("dataset") is None
