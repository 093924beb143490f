"""A crop store gives back exactly the pixels that were packed, in any order, and refuses damaged shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.crops import CropStore, shard_name
from manifests.errors import StorageError, UnknownNameError
from manifests.lake import Lake, LayerFacts

PER_SHARD = (5, 0, 7, 1)
"""Crops in each shard; a shard without crops is not written."""


def packed(lake: Lake, shape: tuple[int, int, int], folder: Path) -> np.ndarray:
    """A dataset `toy` with crops of random pixels, every second sample without a crop; the crops in store order."""
    rng = np.random.default_rng(7)
    crops = rng.integers(0, 256, (sum(PER_SHARD), *shape), np.uint8)
    ids = [f"toy/{n:03d}" for n in range(2 * len(crops))]
    shards = np.repeat(np.arange(len(PER_SHARD)), PER_SHARD)
    rows = np.concatenate([np.arange(n) for n in PER_SHARD])
    transforms = pa.array(
        np.arange(len(crops) * 6, dtype=np.float32).reshape(-1, 6).tolist(), pa.list_(pa.float32(), 6)
    )
    index = pa.table({"sample_id": ids[::2], "shard": shards, "row": rows, "transform": transforms})
    extra = dict(zip(("height", "width", "channels"), map(str, shape), strict=True))
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": ["toy"] * len(ids)}))
        step.write("crops", "a", index, LayerFacts(extra=extra), ["samples"])
        for number in np.unique(shards):
            file = folder / f"{number}.u8"
            file.write_bytes(crops[shards == number].tobytes())
            step.link(shard_name("a", int(number)), file)
    return crops


@pytest.fixture(scope="module", params=[(4, 5, 1), (56, 56, 3)], ids=["small rows", "large rows"])
def store_and_crops(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("store")
    crops = packed(Lake(folder / "lake", create=True), request.param, folder)
    return CropStore(Lake(folder / "lake"), "toy", "a"), crops


@settings(deadline=None)
@given(rows=st.lists(st.integers(0, sum(PER_SHARD) - 1), max_size=40))
def test_gathering_any_rows_gives_their_pixels(store_and_crops, rows: list[int]) -> None:
    store, crops = store_and_crops
    wanted = np.array(rows, np.int64)
    assert (store.gather(wanted) == crops[wanted]).all()
    out = np.zeros((len(rows), *store.shape), np.uint8)
    store.prefetch(wanted)
    assert store.gather(wanted, out) is out
    assert (out == crops[wanted]).all()


def test_a_batch_large_enough_for_two_threads_keeps_its_order(lake: Lake, tmp_path: Path) -> None:
    crops = packed(lake, (96, 96, 3), tmp_path)
    rows = np.random.default_rng(0).integers(0, len(crops), 701)
    assert (CropStore(lake, "toy", "a").gather(rows) == crops[rows]).all()


@pytest.mark.parametrize("shape", [(4, 5, 1), (56, 56, 3)])
def test_pixels_held_in_memory_are_those_of_the_shards(lake: Lake, tmp_path: Path, shape: tuple[int, int, int]) -> None:
    crops = packed(lake, shape, tmp_path)
    store = CropStore(lake, "toy", "a")
    store.hold()
    rows = np.random.default_rng(0).integers(0, len(crops), 50)
    assert (store.gather(rows) == crops[rows]).all()


def test_samples_are_located_by_id_and_a_sample_without_a_crop_is_not(lake: Lake, tmp_path: Path) -> None:
    crops = packed(lake, (4, 5, 1), tmp_path)
    store = CropStore(lake, "toy", "a")
    assert len(store) == len(crops)
    assert store.shape == (4, 5, 1)
    assert store.nbytes == crops.nbytes
    assert store.locate(["toy/004", "toy/003", "toy/000", "nobody"]).tolist() == [2, -1, 0, -1]
    assert (store.locate(store.sample_ids) == np.arange(len(crops))).all()
    assert store.locate(pa.chunked_array([["toy/002"], ["toy/006"]])).tolist() == [1, 3]
    assert (store.transform.ravel() == np.arange(len(crops) * 6)).all()


def test_the_row_of_a_missing_crop_is_refused(lake: Lake, tmp_path: Path) -> None:
    packed(lake, (4, 5, 1), tmp_path)
    store = CropStore(lake, "toy", "a")
    with pytest.raises(IndexError, match="-1"):
        store.gather(store.locate(["toy/001"]))


@given(st.integers(1, 9))
def test_blocks_hold_every_row_once_and_never_cross_a_shard(size: int) -> None:
    store = object.__new__(CropStore)
    store._bounds = np.concatenate([[0], np.cumsum(PER_SHARD)])
    blocks = store.blocks(size)
    assert [row for block in blocks for row in block] == list(range(sum(PER_SHARD)))
    edges = set(np.cumsum(PER_SHARD).tolist())
    assert all(len(block) <= size and not edges & set(block[1:]) for block in blocks)


@pytest.mark.parametrize("size", [0, 3, 1000])
def test_a_shard_of_the_wrong_size_is_refused_by_name(lake: Lake, tmp_path: Path, size: int) -> None:
    packed(lake, (4, 5, 1), tmp_path)
    shard = lake.layer("toy", "crops/a").path.with_name("a.002.u8")
    shard.write_bytes(bytes(size))
    with pytest.raises(StorageError, match=r"a\.002\.u8.*damaged"):
        CropStore(lake, "toy", "a")


def test_a_missing_shard_is_refused_by_name(lake: Lake, tmp_path: Path) -> None:
    packed(lake, (4, 5, 1), tmp_path)
    lake.layer("toy", "crops/a").path.with_name("a.000.u8").unlink()
    with pytest.raises(StorageError, match=r"a\.000\.u8.*missing"):
        CropStore(lake, "toy", "a")


def test_unknown_crops_are_refused_with_the_known_layers(lake: Lake, tmp_path: Path) -> None:
    packed(lake, (4, 5, 1), tmp_path)
    with pytest.raises(UnknownNameError, match="crops/a"):
        CropStore(lake, "toy", "b")
