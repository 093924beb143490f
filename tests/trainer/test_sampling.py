"""Every sample once per epoch, the same for any number of processes, and any batch again from seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import RecipeError
from trainer.sampling import BLOCK, SPAN, Order, class_weights, sequential

orders = st.tuples(st.integers(1, 3000), st.integers(1, 300), st.integers(0, 2**31 - 1), st.booleans())


@given(orders, st.integers(0, 5))
def test_an_epoch_holds_every_sample_once(shape: tuple[int, int, int, bool], epoch: int) -> None:
    size, batch, seed, blocks = shape
    order = Order(size, batch, seed, blocks=blocks)
    batches = list(order.batches(epoch))
    assert sorted(np.concatenate(batches).tolist()) == list(range(size))
    assert len(batches) == len(order)
    sizes = {len(b) for b in batches}
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


@given(orders, st.integers(2, 4))
def test_processes_share_each_global_batch_between_them(shape: tuple[int, int, int, bool], world: int) -> None:
    size, batch, seed, blocks = shape
    if min(batch, size // -(-size // batch)) < world:
        with pytest.raises(RecipeError, match="cannot be shared"):
            Order(size, batch, seed, 0, world, blocks)
        return
    whole = list(Order(size, batch, seed, blocks=blocks).batches(1))
    parts = [list(Order(size, batch, seed, rank, world, blocks).batches(1)) for rank in range(world)]
    for number, batch_of_all in enumerate(whole):
        mine = [part[number].tolist() for part in parts]
        assert sorted(i for part in mine for i in part) == sorted(batch_of_all.tolist())
        assert all(mine)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    order, other = Order(500, 10, 1), Order(500, 10, 2)
    assert (order.epoch(3) == Order(500, 7, 1).epoch(3)).all()
    assert (order.epoch(3) != order.epoch(4)).any()
    assert (order.epoch(3) != other.epoch(3)).any()


def test_an_epoch_can_start_at_any_batch() -> None:
    order = Order(100, 8, 1)
    late = list(order.batches(2, start=5))
    assert all((a == b).all() for a, b in zip(late, list(order.batches(2))[5:], strict=True))


def test_a_block_shuffle_stays_within_its_window_and_mixes_it() -> None:
    size = 3 * SPAN + 100
    order = Order(size, 64, 1, blocks=True).epoch(0)
    for first in range(0, size, SPAN):
        assert len(np.unique(order[first : first + SPAN] // BLOCK)) <= SPAN // BLOCK + 1
    assert len(np.unique(order[:64] // BLOCK)) > 20


def test_balanced_classes_are_drawn_alike_often() -> None:
    codes = np.repeat([0, 1, 2, -1], [9000, 900, 100, 2000])
    drawn = codes[Order(len(codes), 64, 1, weights=class_weights(codes)).epoch(0)]
    counts = [(drawn == c).sum() for c in (0, 1, 2)]
    assert max(counts) - min(counts) < 400
    assert abs((drawn == -1).sum() - 2000) < 200


def test_weights_without_any_class_are_all_one() -> None:
    assert class_weights(np.full(5, -1)).tolist() == [1] * 5


@given(st.integers(1, 300), st.integers(1, 50), st.integers(1, 4))
def test_scoring_sees_every_sample_once_over_all_processes(size: int, batch: int, world: int) -> None:
    seen = [i for rank in range(world) for b in sequential(size, batch, rank, world) for i in b.tolist()]
    assert sorted(seen) == list(range(size))


def test_no_samples_is_an_error() -> None:
    with pytest.raises(RecipeError, match="no samples"):
        Order(0, 8, 1)
