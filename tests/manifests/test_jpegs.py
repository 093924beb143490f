"""A JPEG store gives what a raw one gives, within the loss of JPEG, and refuses what is damaged by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.crops import JPEG, CropStore, shard_name
from manifests.errors import StorageError
from manifests.jpegs import encode
from manifests.lake import Lake, LayerFacts

PER_SHARD = (5, 0, 70)
"""Crops in each shard; enough in one for several threads."""


def smooth(shape: tuple[int, ...]) -> np.ndarray:
    """Pictures that JPEG keeps well."""
    noise = np.random.default_rng(3).integers(0, 256, (*shape[:1], 4, 4, shape[3]), np.uint8)
    crops = [cv2.resize(picture, shape[2:0:-1], interpolation=cv2.INTER_CUBIC) for picture in noise]
    return np.stack(crops).reshape(shape)


def packed(lake: Lake, shape: tuple[int, int, int], folder: Path) -> np.ndarray:
    """A dataset `toy` whose crops are JPEGs; the crops before encoding, in store order."""
    crops = smooth((sum(PER_SHARD), *shape))
    shards = np.repeat(np.arange(len(PER_SHARD)), PER_SHARD)
    ids = [f"toy/{n:03d}" for n in range(len(crops))]
    index: dict[str, object] = {"sample_id": ids, "shard": shards, "transform": [[1.0, 0, 0, 0, 1, 0]] * len(crops)}
    index["row"] = np.concatenate([np.arange(n) for n in PER_SHARD])
    encoded = {n: encode(crops[shards == n], 95) for n in np.unique(shards).tolist()}
    index["offset"] = np.concatenate([offsets[:-1] for _, offsets in encoded.values()])
    index["length"] = np.concatenate([np.diff(offsets) for _, offsets in encoded.values()])
    extra = dict(zip(("height", "width", "channels"), map(str, shape), strict=True)) | {"store": "jpeg"}
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": ["toy"] * len(ids)}))
        step.write("crops", "a", pa.table(index), LayerFacts(extra=extra), ["samples"])
        for number, (data, _) in encoded.items():
            file = folder / f"{number}.jpegs"
            file.write_bytes(data)
            step.link(shard_name("a", number, JPEG), file)
    return crops


@pytest.fixture(scope="module", params=[(40, 56, 3), (48, 48, 1)], ids=["colour", "grey"])
def store_and_crops(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("store")
    crops = packed(Lake(folder / "lake", create=True), request.param, folder)
    return CropStore(Lake(folder / "lake"), "toy", "a"), crops


@settings(deadline=None, max_examples=20)
@given(rows=st.lists(st.integers(0, sum(PER_SHARD) - 1), max_size=90))
def test_gathering_any_rows_decodes_their_crops(store_and_crops, rows: list[int]) -> None:
    store, crops = store_and_crops
    wanted = np.array(rows, np.int64)
    store.prefetch(wanted)
    found = store.gather(wanted)
    assert found.shape == (len(rows), *store.shape)
    assert not rows or np.abs(found.astype(int) - crops[wanted]).mean() < 3
    again = np.zeros_like(found)
    assert store.gather(wanted, again) is again
    assert (again == found).all()


def test_held_pixels_are_the_decoded_ones(lake: Lake, tmp_path: Path) -> None:
    packed(lake, (40, 56, 3), tmp_path)
    store, held = CropStore(lake, "toy", "a"), CropStore(lake, "toy", "a")
    held.hold()
    rows = np.random.default_rng(0).integers(0, len(store), 100)
    assert (held.gather(rows) == store.gather(rows)).all()
    assert held.nbytes == sum(PER_SHARD) * 40 * 56 * 3


def test_colours_keep_their_order() -> None:
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 200
    data, offsets = encode(red, 95)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert offsets.tolist() == [0, len(data)]
    assert np.abs(decoded.astype(int) - red[0]).max() < 4


def test_the_same_crops_give_the_same_bytes_and_lower_quality_fewer() -> None:
    crops = smooth((6, 64, 64, 3))
    assert encode(crops, 95)[0] == encode(crops.copy(), 95)[0]
    sizes = [len(encode(crops, quality)[0]) for quality in (95, 80, 50)]
    assert sizes == sorted(sizes, reverse=True)
    assert encode(crops[:0], 95)[0] == b""


def test_a_damaged_shard_is_refused_by_name(lake: Lake, tmp_path: Path) -> None:
    packed(lake, (40, 56, 3), tmp_path)
    shard = lake.layer("toy", "crops/a").path.with_name("a.002.jpegs")
    whole = shard.read_bytes()
    shard.unlink()
    with pytest.raises(StorageError, match=r"a\.002\.jpegs.*missing"):
        CropStore(lake, "toy", "a")
    shard.write_bytes(whole[:-1])
    with pytest.raises(StorageError, match=r"a\.002\.jpegs.*damaged"):
        CropStore(lake, "toy", "a")
    shard.write_bytes(bytes(len(whole)))
    with pytest.raises(StorageError, match=r"a\.002\.jpegs is damaged(.|\n)*crop 70"):
        CropStore(lake, "toy", "a").gather(np.array([70]))


def test_shards_go_and_stay_with_their_layer(lake: Lake, tmp_path: Path) -> None:
    packed(lake, (40, 56, 3), tmp_path)
    with lake.publish("toy", command="test") as step:
        step.write("labels", "human", pa.table({"sample_id": ["toy/000"]}), parents=["samples"])
    assert len(CropStore(lake, "toy", "a")) == sum(PER_SHARD)
    with lake.publish("toy", command="test") as step:
        step.drop("crops/a")
    assert not list((lake.home / "toy").resolve().rglob("*.jpegs"))
