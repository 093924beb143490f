"""The photographs and videos of ../shared, read through the `table` reader and aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from affectdata.faces.align import AlignOptions, align
from affectdata.ingest import ingest
from affectdata.media import decode, pixel_hash
from manifests.crops import CropStore
from manifests.lake import Lake

FRAMES = (0, 5, 30, 31, 71)
"""Labelled frames of the videos, as a dataset labels some of its frames."""


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The pictures, and some frames of both videos in an order that is not theirs, aligned by YuNet."""
    source, weights = shared / "data" / "photos", shared / "weights"
    if not (weights / "yunet.onnx").is_file():
        pytest.skip("needs the YuNet weights of ../shared/weights")
    folder = tmp_path_factory.mktemp("photos")
    (folder / "data").mkdir()
    for file in source.iterdir():
        (folder / "data" / file.name).symlink_to(file)
    pictures = [f"{f.stem}-{f.suffix[1:]},{f.name}," for f in source.iterdir() if f.suffix in (".jpg", ".png")]
    videos = [f"{name}/{n:05d},{name}.mp4,{n}" for n in reversed(FRAMES) for name in ("no_face", "single_face")]
    (folder / "data" / "labels.csv").write_text("\n".join(["id,image,frame", *videos, *pictures]) + "\n")
    (folder / "map.toml").write_text("file='labels.csv'\n[samples]\nid='id'\nimage='image'\nframe='frame'\n")
    lake = Lake(folder / "lake", create=True)
    ingest(lake, "table", folder / "data", name="photos", options={"map": str(folder / "map.toml")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFFECT_WEIGHTS", str(weights))
        align(lake, "photos", detector="yunet", options=AlignOptions(workers=2))
    return lake


@pytest.fixture(scope="module")
def faces(photos: Lake) -> dict[str, tuple[str, int]]:
    rows = photos.read("photos", "faces/yunet").to_pylist()
    return {row["sample_id"].removeprefix("photos/"): (row["status"], row["faces"]) for row in rows}


def test_five_faces_are_counted_in_the_group(faces: dict[str, tuple[str, int]]) -> None:
    assert faces["multi_face-jpg"] == ("found", 5)


def test_no_face_is_found_in_the_drawing_and_the_empty_video(faces: dict[str, tuple[str, int]]) -> None:
    assert faces["free-mountain-vector-01-jpg"] == ("no-face", 0)
    assert [faces[f"no_face/{n:05d}"] for n in FRAMES] == [("no-face", 0)] * len(FRAMES)


def test_alpha_and_grey_pictures_align(photos: Lake, faces: dict[str, tuple[str, int]]) -> None:
    assert faces["Image_with_alpha-png"] == faces["BWPictureHuman-jpg"] == ("found", 1)
    store = CropStore(photos, "photos", "arcface112")
    crops = store.gather(store.locate(["photos/Image_with_alpha-png", "photos/BWPictureHuman-jpg"]))
    assert crops[0].std() > 20
    assert np.ptp(crops[1], axis=-1).max() <= 12  # grey but for what JPEG's chroma leaves


def test_a_video_gives_one_crop_per_labelled_frame_in_order(
    photos: Lake, faces: dict[str, tuple[str, int]], shared: Path
) -> None:
    names = [f"single_face/{n:05d}" for n in FRAMES]
    assert [faces[name] for name in names] == [("found", 1)] * len(FRAMES)
    store = CropStore(photos, "photos", "arcface112")
    ids = [name.removeprefix("photos/") for name in store.sample_ids.to_pylist()]
    assert [name for name in ids if name.startswith("single_face/")] == names
    hashes = photos.read("photos", "faces/yunet", ["sample_id", "pixel_hash"]).to_pylist()
    seen = {row["sample_id"].removeprefix("photos/"): row["pixel_hash"] for row in hashes}
    assert len({seen[name] for name in names}) == len(FRAMES)
    root = shared / "data" / "photos"
    pictures = [decode(root, "single_face.mp4", None, n) for n in FRAMES]
    assert [seen[name] for name in names] == [pixel_hash(picture) for picture in pictures]
