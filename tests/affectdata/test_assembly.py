"""Blocks put together: in any order, in any pieces, with keys that repeat and media that are missing."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectdata import runs
from affectdata.assembly import Assembled, assemble
from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Block, Reject
from manifests.errors import DatasetError

FILES = Listing({"a": {f"{k:02d}.jpg": 1 for k in range(20)}, "a/b": {"x.jpg": 1}, "v": {"1.mp4": 1}}, [])


def block(names: Sequence[str], values: Sequence[float | None] | None = None, **samples: Sequence[object]) -> Block:
    labels = {} if values is None else {"human": pa.table({"valence": pa.array(values, pa.float32())})}
    return Block(pa.table({"sample_id": pa.array(names, pa.string())} | samples), labels, {})


def ids(assembled: Assembled) -> list[str]:
    return [name for table in assembled.samples("sample_id") for name in table.column(0).to_pylist()]


def values(assembled: Assembled) -> dict[str, float]:
    rows = [row for table in assembled.labels("human") for row in table.to_pylist()]
    return {row["sample_id"]: row["valence"] for row in rows}


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.integers(0, 30).map(lambda k: f"{k:02d}"), min_size=1, max_size=25),
    cuts=st.lists(st.integers(1, 6), min_size=25, max_size=25),
    rows=st.integers(1, 8),
)
def test_whatever_the_pieces_the_result_is_that_of_one_block(names: list[str], cuts: list[int], rows: int) -> None:
    said: list[float | None] = [float(at % 3 == 0) for at in range(len(names))]
    pieces, start = [], 0
    for cut in cuts:
        if names[start : start + cut]:
            pieces.append(block(names[start : start + cut], said[start : start + cut]))
        start += cut
    one, many = Reject(), Reject()
    whole = assemble("x", [block(names, said)], FILES, one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "RUN_ROWS", rows)
        cut_up = assemble("x", pieces, FILES, many)
    assert ids(cut_up) == ids(whole) == sorted({f"x/{name}" for name in names})
    assert values(cut_up) == values(whole)
    assert many.table([], 1).equals(one.table([], 1))
    assert (cut_up.count, cut_up.items) == (whole.count, whole.items)


def test_rows_in_order_wait_as_one_run_and_runs_that_overlap_are_sorted_together() -> None:
    tables = [pa.table({"sample_id": names}) for names in (["a", "b"], ["c"], ["e", "d"], ["bb"], ["z"])]
    gathered = list(runs.gathered(tables))
    assert [(run.first, run.last, run.strict) for run in gathered] == [
        ("a", "c", True), ("d", "e", False), ("bb", "z", True),
    ]  # fmt: skip
    assert [[run.first for run in together] for together in runs.overlapping(gathered)] == [["a", "d", "bb"]]


def test_labels_on_which_copies_differ_are_kept_from_no_block() -> None:
    reject = Reject()
    found = assemble("x", [block(["a", "b"], [0.5, 0.5]), block(["a", "b"], [0.5, 0.25])], FILES, reject)
    assert values(found) == {"x/a": 0.5}
    assert reject.counts() == {"duplicate-key": 1, "conflicting-duplicate": 1}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a/99.jpg", "missing-image"), ("../a/01.jpg", "unsafe-path"), ("/a/01.jpg", "unsafe-path"),
        ("a/\ufffd.jpg", "bad-name"), ("A/01.jpg", "missing-image"), ("b/x.jpg", "missing-image"),
    ],
)  # fmt: skip
def test_a_path_that_is_not_below_the_root_costs_only_its_own_sample(path: str, reason: str) -> None:
    reject = Reject()
    found = assemble("x", [block(["1", "2", "3"], path=["a/00.jpg", path, "a/19.jpg"])], FILES, reject)
    assert ids(found) == ["x/1", "x/3"]
    assert reject.counts() == {reason: 1}


def test_paths_of_other_systems_are_tidied_before_they_are_looked_up() -> None:
    reject = Reject()
    found = assemble(
        "x", [block(["1", "2", "3", "4"], path=["a\\00.jpg", "./a//01.jpg", "a/b/x.jpg", None])], FILES, reject
    )
    paths = [path for table in found.samples("path") for path in table.column(0).to_pylist()]
    assert paths == ["a/00.jpg", "a/01.jpg", "a/b/x.jpg", None]
    assert not len(reject)


def test_a_video_that_is_missing_is_no_missing_image() -> None:
    reject = Reject()
    assemble("x", [block(["1", "2"], path=["v/2.mp4", "v/2.mp4"], frame=[0, 1])], FILES, reject)
    assert reject.counts() == {"missing-video": 2}


def test_roles_that_differ_between_tasks_are_rows_per_task() -> None:
    roles = pa.table({"va": ["train", "train"], "expression": pa.array(["val", None], pa.string())})
    found = assemble("x", [Block(pa.table({"sample_id": ["b", "a"]}), {}, {"p": roles})], FILES, Reject())
    rows = [tuple(row.values()) for table in found.roles("p") for row in table.to_pylist()]
    assert rows == [("x/a", "train", "va"), ("x/b", "val", "expression"), ("x/b", "train", "va")]


def test_a_reader_without_a_sample_is_an_error() -> None:
    with pytest.raises(DatasetError, match="not one sample"):
        assemble("x", [block([])], FILES, Reject())
