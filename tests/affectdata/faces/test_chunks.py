"""Chunks end where the samples say so: what is added or taken away moves no end far from it."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from affectdata.faces.chunks import chunk_ranges

AVERAGE = 32


def pictures(numbers: list[int]) -> pa.Table:
    ids = [f"toy/{n:06d}" for n in numbers]
    return media(ids, [f"{n}.png" for n in numbers])


def videos(lengths: dict[int, int]) -> pa.Table:
    ids = [f"toy/{video:04d}/{frame:05d}" for video, length in sorted(lengths.items()) for frame in range(length)]
    return media(ids, [f"{i.split('/')[1]}.mp4" for i in ids])


def media(ids: list[str], paths: list[str | None]) -> pa.Table:
    return pa.table({"sample_id": ids, "path": pa.array(paths, pa.string()), "member": pa.nulls(len(ids), pa.string())})


def contents(table: pa.Table) -> list[tuple[str, ...]]:
    """The samples of each chunk."""
    ids = table.column("sample_id").to_pylist()
    return [tuple(ids[part.start : part.stop]) for part in chunk_ranges(table, AVERAGE)]


lengths = st.dictionaries(st.integers(0, 9999), st.integers(1, 10 * AVERAGE), max_size=20)


@settings(deadline=None)
@given(lengths)
def test_chunks_hold_every_sample_once_in_order_and_none_is_too_large(videos_of: dict[int, int]) -> None:
    table = videos(videos_of)
    found = contents(table)
    assert [i for chunk in found for i in chunk] == table.column("sample_id").to_pylist()
    assert all(0 < len(chunk) <= 4 * AVERAGE for chunk in found)
    assert all(len(chunk) >= AVERAGE // 4 or len(chunk) + len(after) > 4 * AVERAGE for chunk, after in pairwise(found))


@settings(deadline=None)
@given(lengths)
def test_a_video_that_fits_a_chunk_is_never_cut(videos_of: dict[int, int]) -> None:
    found = contents(videos(videos_of))
    for video, length in videos_of.items():
        holding = [chunk for chunk in found if any(i.startswith(f"toy/{video:04d}/") for i in chunk)]
        assert length > 4 * AVERAGE or len(holding) == 1


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 4000), max_size=5))
def test_a_sample_that_is_added_changes_only_chunks_near_it(added: set[int]) -> None:
    old = set(contents(pictures([2 * n for n in range(2000)])))
    new = contents(pictures(sorted({2 * n for n in range(2000)} | {2 * n + 1 for n in added if n < 2000})))
    changed = sum(len(chunk) for chunk in new if chunk not in old)
    assert changed <= len(added) * 12 * AVERAGE
    assert len(new) > 2000 / (3 * AVERAGE)


def test_a_video_that_is_added_leaves_the_others_alone() -> None:
    before = {2 * n: 3 + n % 50 for n in range(200)}
    old = set(contents(videos(before)))
    new = contents(videos(before | {101: 40}))
    changed = [chunk for chunk in new if chunk not in old]
    assert 1 <= len(changed) <= 5
    assert sum(map(len, changed)) < sum(before.values()) / 10


def test_samples_without_a_picture_are_cut_like_pictures() -> None:
    ids = [f"toy/{n:06d}" for n in range(1000)]
    assert [len(c) for c in contents(media(ids, [None] * 1000))] == [len(c) for c in contents(media(ids, ids))]
    assert contents(media([], [])) == []
