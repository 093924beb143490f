"""Among several faces the one that the dataset names is taken, else the largest and most central."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from affectdata.faces.detectors import Detection, DetectorSettings, Face, Hint, choose, detector
from affectdata.faces.weights import HuggingFaceWeights, TorchHubWeights
from affectdata.faces.yunet import WEIGHTS
from manifests.errors import UnknownNameError, WeightsError

SIZE = (400, 300)


def faces(*boxes: tuple[float, float, float, float]) -> list[Face]:
    return [Face(np.array(box, float), None, 0.9) for box in boxes]


LEFT, CENTRE, RIGHT = (10, 100, 90, 200), (160, 100, 240, 200), (300, 90, 390, 205)


def chosen(detection: Detection) -> tuple[float, ...]:
    assert detection.face is not None
    assert detection.face.box is not None
    return tuple(detection.face.box.tolist())


def test_a_single_face_is_taken() -> None:
    found = choose(faces(LEFT), Hint(), SIZE)
    assert (found.status, found.faces, found.rule) == ("found", 1, "only face")


def test_without_a_hint_the_central_face_beats_a_slightly_larger_one_at_the_edge() -> None:
    found = choose(faces(LEFT, CENTRE, RIGHT), Hint(), SIZE)
    assert chosen(found) == CENTRE
    assert (found.faces, found.rule) == (3, "largest central")


def test_without_a_hint_a_much_larger_face_beats_a_central_one() -> None:
    assert chosen(choose(faces((0, 0, 200, 290), (190, 140, 210, 165)), Hint(), SIZE)) == (0, 0, 200, 290)


def test_the_datasets_box_names_the_face_that_overlaps_it_most() -> None:
    found = choose(faces(LEFT, CENTRE, RIGHT), Hint(box=np.array([290, 80, 380, 210.0])), SIZE)
    assert chosen(found) == RIGHT
    assert found.rule == "dataset box"


def test_the_datasets_points_name_the_face_that_holds_them() -> None:
    points = np.array([(30, 130), (60, 130), (45, 150), (35, 180), (60, 180)], float)
    found = choose(faces(RIGHT, CENTRE, LEFT), Hint(points=points), SIZE)
    assert chosen(found) == LEFT
    assert found.rule == "dataset points"


def test_another_persons_face_is_never_taken_for_the_named_one() -> None:
    found = choose(faces(LEFT, CENTRE), Hint(box=np.array(RIGHT, float)), SIZE)
    assert (found.status, found.face, found.faces) == ("only-other-faces", None, 2)


def test_no_face_is_a_status() -> None:
    assert choose([], Hint(), SIZE).status == "no-face"


def test_an_unknown_detector_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="yunet"):
        detector("mtcnn", DetectorSettings())


def weights_of(content: bytes) -> HuggingFaceWeights:
    return HuggingFaceWeights(
        repository="owner/name",
        revision="0" * 40,
        file="net.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        local=("short.onnx",),
    )


def test_weights_in_the_local_folder_win_over_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "short.onnx").write_bytes(b"any")
    monkeypatch.setenv("AFFECT_WEIGHTS", str(tmp_path))
    assert weights_of(b"other").fetch() == tmp_path / "short.onnx"


def test_downloaded_weights_with_another_hash_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    file = tmp_path / "net.onnx"
    file.write_bytes(b"what came")
    monkeypatch.delenv("AFFECT_WEIGHTS", raising=False)
    asked: list[str] = []

    def download(repository: str, name: str, *, revision: str) -> str:
        asked.append(f"{repository}@{revision}/{name}")
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(WeightsError, match="not the pinned ones"):
        weights_of(b"what was pinned").fetch()
    assert weights_of(b"what came").fetch() == file
    assert asked[0] == f"owner/name@{'0' * 40}/net.onnx"


def test_weights_out_of_reach_name_the_folder_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_: str, **__: str) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.delenv("AFFECT_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match=r"(?s)yunet.onnx.*AFFECT_WEIGHTS"):
        WEIGHTS.fetch()


def test_weights_of_face_alignment_are_shared_with_its_own_cache_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFFECT_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "net.pth").write_bytes(b"what the library had downloaded")
    sha256 = hashlib.sha256(b"what the library had downloaded").hexdigest()
    known = TorchHubWeights(folder="https://example.org", file="net.pth", sha256=sha256)
    assert known.fetch() == folder / "net.pth"
    (folder / "net.pth").write_bytes(b"cut off")
    with pytest.raises(WeightsError, match="not the pinned ones"):
        known.fetch()


def test_a_file_that_is_no_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "yunet.onnx").write_bytes(b"not a network")
    monkeypatch.setenv("AFFECT_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        detector("yunet", DetectorSettings())
