"""Every sample once per epoch, the same for any number of processes, and any batch again from seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import RecipeError
from trainer.sampling import BLOCK, SPAN, Order, Pooled, Quotas, Share, Stream, Turns, class_weights, sequential

orders = st.tuples(st.integers(1, 3000), st.integers(1, 300), st.integers(0, 2**31 - 1), st.booleans())


@given(orders, st.integers(0, 5))
def test_an_epoch_holds_every_sample_once(shape: tuple[int, int, int, bool], epoch: int) -> None:
    size, batch, seed, blocks = shape
    order = Pooled(size, batch, seed, Share(blocks=blocks))
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
            Pooled(size, batch, seed, Share(world=world, blocks=blocks))
        return
    whole = list(Pooled(size, batch, seed, Share(blocks=blocks)).batches(1))
    parts = [
        list(Pooled(size, batch, seed, Share(rank=rank, world=world, blocks=blocks)).batches(1))
        for rank in range(world)
    ]
    for number, batch_of_all in enumerate(whole):
        mine = [part[number].tolist() for part in parts]
        assert sorted(i for part in mine for i in part) == sorted(batch_of_all.tolist())
        assert all(mine)


sets = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), min_size=1, max_size=4)


def streams(sizes: list[int]) -> tuple[Stream, ...]:
    first = np.cumsum([0, *sizes])
    return tuple(Stream(str(i), np.arange(first[i], first[i + 1])) for i in range(len(sizes)))


@given(sets, st.sampled_from(["quota", "aligned", "alternating"]), st.booleans(), st.integers(1, 4))
def test_sets_are_used_evenly_and_alike_by_any_number_of_processes(
    shape: list[tuple[int, int]], kind: str, blocks: bool, world: int
) -> None:
    sizes, quota = zip(*shape, strict=True)

    def order(rank: int = 0, world: int = 1) -> Order:
        share, parts = Share(rank=rank, world=world, blocks=blocks), streams(list(sizes))
        if kind == "quota":
            return Quotas.of_first(parts, quota, 1, share)
        return Quotas.aligned(parts, 20, 1, share) if kind == "aligned" else Turns(parts, 10, 1, share)

    whole = order()
    if int(np.diff(whole.edges).min()) < world:
        with pytest.raises(RecipeError, match="cannot be shared"):
            order(0, world)
        return
    batches = [list(order(rank, world).batches(1)) for rank in range(world)]
    for number, batch in enumerate(whole.batches(1)):
        assert sorted(i for rank in batches for i in rank[number].tolist()) == batch.tolist()
    used = np.bincount(np.concatenate([whole.epoch(e) for e in range(3)]), minlength=sum(sizes))
    for stream in streams(list(sizes)):  # without end: nothing is used again before all has been used
        assert np.ptp(used[stream.samples]) <= 1
    late = list(whole.batches(1, start=len(whole) // 2))
    assert all((a == b).all() for a, b in zip(late, list(whole.batches(1))[len(whole) // 2 :], strict=True))


def test_three_sets_end_an_epoch_together() -> None:
    order = Quotas.aligned(streams([4010, 2470, 1030]), 751, 1, Share())
    assert (len(order), order.quota) == (10, (401, 247, 103))
    assert sorted(order.epoch(0).tolist()) == list(range(7510))


def test_alternating_batches_hold_one_set_each_until_the_largest_ends() -> None:
    batches = list(Turns(streams([30, 8]), 10, 1).batches(0))
    assert [bool((b < 30).all()) for b in batches] == [True, False] * 3
    assert sorted(np.concatenate(batches[::2]).tolist()) == list(range(30))


def test_a_set_is_drawn_alike_whatever_else_is_drawn() -> None:
    alone, both = streams([50])[0], streams([50, 20])
    one = Quotas.of_first((alone,), (8,), 1, Share()).epoch(3).reshape(-1, 8)
    assert (Quotas.of_first(both, (8, 4), 1, Share()).epoch(3).reshape(-1, 12)[:, :8] == one).all()


def test_a_limited_epoch_takes_its_share_of_a_shuffle_of_its_own() -> None:
    order = Pooled(1000, 10, 1, Share(epoch_share=0.25))
    epochs = [np.concatenate(list(order.batches(epoch))) for epoch in range(4)]
    assert [len(order), *map(len, epochs)] == [25, 250, 250, 250, 250]
    assert all(len(set(epoch.tolist())) == 250 for epoch in epochs)
    assert len(set(np.concatenate(epochs).tolist())) < 1000


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(RecipeError, match="set au"):
        Stream("au", np.zeros(0, np.int64))


def test_epochs_and_seeds_differ_and_repeat() -> None:
    order, other = Pooled(500, 10, 1), Pooled(500, 10, 2)
    assert (order.epoch(3) == Pooled(500, 7, 1).epoch(3)).all()
    assert (order.epoch(3) != order.epoch(4)).any()
    assert (order.epoch(3) != other.epoch(3)).any()


def test_an_epoch_can_start_at_any_batch() -> None:
    order = Pooled(100, 8, 1)
    late = list(order.batches(2, start=5))
    assert all((a == b).all() for a, b in zip(late, list(order.batches(2))[5:], strict=True))


def test_a_block_shuffle_stays_within_its_window_and_mixes_it() -> None:
    size = 3 * SPAN + 100
    order = Pooled(size, 64, 1, Share(blocks=True)).epoch(0)
    for first in range(0, size, SPAN):
        assert len(np.unique(order[first : first + SPAN] // BLOCK)) <= SPAN // BLOCK + 1
    assert len(np.unique(order[:64] // BLOCK)) > 20


def test_balanced_classes_are_drawn_alike_often() -> None:
    codes = np.repeat([0, 1, 2, -1], [9000, 900, 100, 2000])
    drawn = codes[Pooled(len(codes), 64, 1, weights=class_weights(codes)).epoch(0)]
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
        Pooled(0, 8, 1)
