"""Batches hold the pictures and labels of the samples they name, in time and without a thread left behind."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch

from manifests.crops import JPEG, shard_name
from manifests.jpegs import encode
from manifests.lake import Lake, LayerFacts
from trainer.data import Samples, keys_of, prepare
from trainer.loader import Buffers, ScoreLoader, TrainLoader, batch_at, prefetched
from trainer.sampling import Pooled, Share
from trainer.targets import Batch

from .conftest import MakeRecipe, Toy


@pytest.fixture
def samples(toy: Lake, recipe: MakeRecipe) -> Samples:
    return prepare(recipe(), toy).train


def test_a_batch_holds_what_it_names(samples: Samples) -> None:
    index = np.array([40, 3, 3, 17])
    batch = batch_at(samples, index)
    assert torch.equal(batch.pixels, torch.from_numpy(Toy().pixels()[index]))
    assert samples.targets.expression is not None
    assert batch.targets.expression is not None
    assert batch.targets.expression.code.tolist() == (index % 7).tolist()
    assert torch.equal(batch.keys, keys_of(samples.ids[index]))


def test_a_batch_from_jpeg_crops_is_that_of_raw_crops_within_the_loss_of_jpeg(toy: Lake, recipe: MakeRecipe) -> None:
    index = toy.read("toy", "crops/resize32").drop_columns(["offset", "length"])
    raw = batch_at(prepare(recipe(), toy).train, np.arange(8)).pixels
    pixels, shard = Toy().pixels(), index.column("shard").to_numpy()
    encoded = {number: encode(pixels[shard == number], 95) for number in np.unique(shard).tolist()}
    for name, values in (
        ("offset", [at for _, offsets in encoded.values() for at in offsets[:-1]]),
        ("length", [size for _, offsets in encoded.values() for size in np.diff(offsets)]),
    ):
        index = index.append_column(name, pa.array(values))
    facts = toy.layer("toy", "crops/resize32").facts.extra | {"store": "jpeg"}
    with toy.publish("toy", command="test") as step:
        step.write("crops", "resize32", index, LayerFacts(extra=facts), ["samples", "faces/whole"])
        for number, (data, _) in encoded.items():
            file = toy.work("toy", "jpegs") / f"{number}.jpegs"
            file.write_bytes(data)
            step.link(shard_name("resize32", number, JPEG), file)
    found = batch_at(prepare(recipe(), toy).train, np.arange(8)).pixels
    assert found.dtype == raw.dtype
    assert found.shape == raw.shape
    expected = [cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], -1) for p in pixels[:8]]
    assert np.array_equal(found.numpy()[..., 0], expected)


@pytest.mark.parametrize("blocks", [False, True])
def test_an_epoch_gives_every_sample_once_and_epochs_differ(samples: Samples, blocks: bool) -> None:
    loader = TrainLoader(samples, Pooled(len(samples), 10, 1, Share(blocks=blocks)))
    first = [b.index for b in loader]
    loader.sampler.set_epoch(1)
    second = [b.index for b in loader]
    assert len(first) == len(loader) == 7
    assert sorted(torch.cat(first).tolist()) == list(range(64))
    assert torch.cat(first).tolist() != torch.cat(second).tolist()
    assert [b.index.tolist() for b in ScoreLoader(samples, 50)] == [list(range(50)), list(range(50, 64))]


def test_the_epoch_is_chosen_when_the_first_batch_is_asked_for(samples: Samples) -> None:
    loader = TrainLoader(samples, Pooled(len(samples), 10, 1))
    waiting = iter(loader)
    loader.set_epoch(3)
    expected = next(iter(Pooled(len(samples), 10, 1).batches(3)))
    assert next(waiting).index.tolist() == expected.tolist()
    waiting.close()  # type: ignore[attr-defined]  # a generator


def test_leaving_early_ends_the_threads(samples: Samples) -> None:
    for _ in TrainLoader(samples, Pooled(len(samples), 4, 1)):
        break
    deadline = time.monotonic() + 5
    while any(t.name.startswith("batches") for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(t.name.startswith("batches") for t in threading.enumerate())


def test_an_error_of_the_thread_reaches_the_loop() -> None:
    def broken(_: object) -> Batch:
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(prefetched(iter([np.arange(3)]), broken))


def test_keys_are_the_same_everywhere() -> None:
    assert keys_of(np.array(["rafdb/basic/train_00001"], object)).tolist() == [6492831417533959382]


def test_a_buffer_is_used_again_only_when_its_batch_is_gone(samples: Samples) -> None:
    buffers = Buffers(samples.shape)
    held = batch_at(samples, np.arange(8), buffers)
    address = held.pixels.data_ptr()
    view = held.pixels[2:3]
    before = view.clone()
    other = batch_at(samples, np.arange(8, 16), buffers)
    assert other.pixels.data_ptr() != address
    del held
    third = batch_at(samples, np.arange(16, 24), buffers)
    assert third.pixels.data_ptr() != address  # a view is held
    assert torch.equal(view, before)
    del view
    assert batch_at(samples, np.arange(24, 30), buffers).pixels.data_ptr() == address


def test_batches_kept_by_the_caller_stay_as_they_were(samples: Samples) -> None:
    kept = list(TrainLoader(samples, Pooled(len(samples), 4, 1)))
    for batch in kept:
        assert torch.equal(batch.pixels, samples.gather(batch.index.numpy()))


def test_a_sample_drawn_again_is_augmented_anew(toy: Lake, recipe: MakeRecipe) -> None:
    samples = prepare(recipe(), toy).train
    weights = np.ones(len(samples))
    weights[:4] = 50
    for world in (1, 2):
        seen: list[tuple[int, int]] = []
        for rank in range(world):
            order = Pooled(len(samples), 16, 1, Share(rank=rank, world=world), weights)
            for batch in TrainLoader(samples, order):
                seen += zip(batch.index.tolist(), batch.keys.tolist(), strict=True)
        assert len({index for index, _ in seen}) < len(samples)
        assert len(set(seen)) == len(seen) == len(samples)
        assert {(i, int(samples.keys[i])) for i, _ in seen} <= set(seen)  # the first time has the sample's own key
