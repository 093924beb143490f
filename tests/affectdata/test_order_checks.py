"""A permuted twin is found out and its permutation named; the true one, a small one and another subset are not."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectdata.datasets import registry
from affectdata.datasets.card import Published
from affectdata.ingest import ingest
from affectdata.ingest_summary import SourceCounts, count_source
from affectdata.order_checks import (
    LEAST,
    MEASURES,
    Measure,
    likely_order,
    measure_warning,
    mouth_corner_height,
    order_warnings,
    share_warnings,
)
from affectdata.synthetic import draw_parameters, landmarks_of, twins, write_twin
from manifests.lake import Lake
from manifests.schema import LABELS
from manifests.vocabulary import EXPRESSIONS

COUNTED = [
    (name, entry)
    for name, reader in registry().items()
    for entry in reader.CARD.published
    if len([c for c in entry.counts if c]) > 1
]
"""Every published count by class, of every registered dataset."""

MEASURED = [
    name
    for name, reader in registry().items()
    if name in twins() and "expression" in reader.CARD.tasks and {"va", "landmarks"} & set(reader.CARD.tasks)
]

INDEPENDENT = ("affwild2",)
"""Twins that draw valence without regard to the class: there is no order to find, and none may be claimed."""


def fake(classes: Mapping[str, int], column: str = "expression") -> dict[str, SourceCounts]:
    return {"human": SourceCounts({column: sum(classes.values())}, {"": {column: dict(classes)}})}


def warned(entry: Published, classes: Mapping[str, int]) -> list[str]:
    whole = Published("", entry.counts, "human", entry.sure, column=entry.column)
    return list(share_warnings([whole], "any", {}, fake(classes, entry.column)))


@pytest.mark.parametrize(("name", "entry"), COUNTED, ids=lambda value: value if isinstance(value, str) else "counts")
def test_published_counts_under_another_order_warn_and_name_it(name: str, entry: Published) -> None:
    assert name
    counts = {c: n for c, n in entry.counts.items() if c}
    low, high = min(counts, key=lambda c: counts[c]), max(counts, key=lambda c: counts[c])
    assert warned(entry, counts) == []
    swapped = counts | {low: counts[high], high: counts[low]}
    told_apart = counts[high] > 3 * counts[low] and counts[high] - counts[low] > 100
    if told_apart:
        [warning] = warned(entry, swapped)
        assert f"what was read as {low} is likely {high}" in warning
        assert f"what was read as {high} is likely {low}" in warning


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_any_order_of_classes_of_unlike_size_is_named(order: list[int], seed: int) -> None:
    names = ["neutral", "happiness", "sadness", "fear", "anger"]
    published = dict(zip(names, (5000, 2500, 1200, 500, 150), strict=True))
    drawn = np.random.default_rng(seed).multinomial(20_000, np.array(list(published.values())) / 9350).tolist()
    read = {names[n]: drawn[to] for n, to in enumerate(order)}
    assert likely_order(read, published) == {names[n]: names[to] for n, to in enumerate(order) if n != to}


@given(st.lists(st.integers(0, 5000), min_size=2, max_size=9), st.integers(1, 3000), st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None)
def test_a_random_part_of_the_right_dataset_never_warns(counts: list[int], size: int, seed: int) -> None:
    published = {EXPRESSIONS[n]: count for n, count in enumerate(counts)}
    if sum(counts):
        shares = np.array(counts) / sum(counts)
        drawn = np.random.default_rng(seed).multinomial(size, shares).tolist()
        assert likely_order(dict(zip(published, drawn, strict=True)), published) == {}


@given(st.permutations(range(4)))
def test_tiny_samples_balanced_copies_and_classes_of_like_size_never_warn(order: list[int]) -> None:
    names = ["neutral", "happiness", "sadness", "anger"]
    published = dict(zip(names, (400, 300, 200, 100), strict=True))
    tiny = dict(zip(names, (np.array([4, 3, 2, 1])[order]).tolist(), strict=True))
    assert likely_order(tiny, published) == {}
    assert likely_order(dict.fromkeys(names, 250), published) == {}
    alike = dict(zip(names, (31, 30, 30, 29), strict=True))
    assert likely_order(dict(zip(names, [list(alike.values())[n] for n in order], strict=True)), alike) == {}


def test_a_copy_that_lost_most_of_its_classes_fits_no_order() -> None:
    assert likely_order({"sadness": 300}, {"happiness": 4772, "sadness": 1982, "fear": 281}) == {}


@pytest.fixture(scope="module", params=MEASURED)
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, str]:
    name, folder = request.param, tmp_path_factory.mktemp("order")
    # A CK+ sequence gives one label to several of its frames.
    truth = write_twin(name, folder / "root", samples=400 if name == "ckplus" else 240, seed=3)
    lake = Lake(folder / "lake", create=True)
    summary = ingest(lake, name, folder / "root", max_rejects=1, options=truth.options)
    assert not [w for w in summary.warnings if "another order" in w], "the true order of the twin warns"
    return lake, name


def with_split(table: pa.Table) -> pa.Table:
    return table.append_column("split", pa.nulls(len(table), pa.string()))


def said(lake: Lake, name: str, likely: Mapping[str, str]) -> list[str]:
    """Warnings on the labels of a lake with classes read under other names."""
    tables = {}
    for layer in lake.layers(name):
        if layer.kind == "labels":
            table = lake.read(name, layer.key)
            read = {is_: read for read, is_ in likely.items()}
            classes = pa.array([read.get(c, c) for c in table.column("expression").to_pylist()], pa.string())
            tables[layer.name] = table.set_column(table.column_names.index("expression"), "expression", classes)
    counts = {source: count_source([with_split(table)]) for source, table in tables.items()}
    return list(order_warnings([], "any", {}, counts, lambda source: [tables[source]]))


def test_happiness_under_another_name_is_found_in_every_twin_with_enough_samples(lake: tuple[Lake, str]) -> None:
    home, name = lake
    assert said(home, name, {}) == []
    sizes = [
        {c: n for columns in count.values() for c, n in columns.get("expression", {}).items()}
        for layer in home.layers(name)
        if layer.kind == "labels"
        for count in [count_source([with_split(home.read(name, layer.key))]).classes]
    ]
    enough = [
        other
        for other in ("sadness", "anger", "neutral")
        if any(min(size.get("happiness", 0), size.get(other, 0)) >= LEAST for size in sizes)
    ]
    if not enough or name in INDEPENDENT:
        pytest.skip("too few samples of a class, or classes that nothing else depends on")
    for other in enough:
        warnings = said(home, name, {"happiness": other, other: "happiness"})
        assert any(f"what was read as happiness is likely {other}" in warning for warning in warnings)


def faces(count: int) -> tuple[pa.Array, dict[str, np.ndarray]]:
    rng = np.random.default_rng(2)
    names = [EXPRESSIONS[n % 7] for n in range(7 * count)]
    marks = np.array([landmarks_of(draw_parameters(rng, name), 96).ravel() for name in names], np.float32)
    table = pa.table({"landmarks": pa.FixedSizeListArray.from_arrays(pa.array(marks.ravel()), 136)})
    level = {"happiness": 0.6, "surprise": 0.1, "neutral": 0.0, "sadness": -0.6, "fear": -0.5, "disgust": -0.6}
    mean = np.array([level.get(name, -0.4) for name in names])
    return pa.array(names), {
        "landmarks": mouth_corner_height(table),
        "va": mean + rng.normal(0, 0.2, len(mean)),
    }


SWAPS = {
    "va": [("happiness", "sadness"), ("happiness", "neutral"), ("neutral", "anger"), ("happiness", "fear")],
    "landmarks": [("happiness", "sadness"), ("happiness", "neutral"), ("happiness", "anger")],
}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.task)
def test_class_means_name_the_classes_that_changed_places(measure: Measure) -> None:
    names, values = faces(60)
    assert measure_warning("human", measure, names, values[measure.task]) is None
    for a, b in SWAPS[measure.task]:
        swapped = pa.array([{a: b, b: a}.get(name, name) for name in names.to_pylist()])
        warning = measure_warning("human", measure, swapped, values[measure.task])
        assert warning is not None
        assert f"what was read as {a} is likely {b}" in warning
        assert f"what was read as {b} is likely {a}" in warning


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.task)
def test_few_samples_and_no_difference_never_warn(measure: Measure) -> None:
    names, values = faces(15)
    swapped = pa.array([{"happiness": "sadness", "sadness": "happiness"}.get(n, n) for n in names.to_pylist()])
    assert measure_warning("human", measure, swapped, values[measure.task]) is None
    names, values = faces(60)
    for order in list(permutations(range(7)))[::500]:
        mixed = pa.array([EXPRESSIONS[order[EXPRESSIONS.index(n)]] for n in names.to_pylist()])
        flat = np.zeros(len(mixed)) + np.random.default_rng(1).normal(0, 0.05, len(mixed))
        assert measure_warning("human", measure, mixed, flat) is None


def test_unknown_cells_take_no_part() -> None:
    table = pa.table({"landmarks": pa.nulls(3, LABELS.field("landmarks").type)})
    assert np.isnan(mouth_corner_height(table)).all()


def test_a_tilted_face_has_the_same_mouth() -> None:
    marks = landmarks_of(draw_parameters(np.random.default_rng(0), "happiness"), 96)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    both = np.array([marks.ravel(), (marks @ turn.T * 3 + 5).ravel()], np.float32)
    heights = mouth_corner_height(
        pa.table({"landmarks": pa.FixedSizeListArray.from_arrays(pa.array(both.ravel()), 136)})
    )
    assert heights[0] == pytest.approx(heights[1], abs=1e-4)
    assert heights[0] > 0


def test_a_swapped_copy_is_reported_and_still_read(tmp_path: Path) -> None:
    tree = tmp_path / "root"
    counts = {"1": 329, "2": 74, "3": 160, "4": 478, "5": 1185, "6": 162, "7": 680}  # 4 and 5 changed places
    rows, number = [], 0
    (tree / "Image/aligned").mkdir(parents=True)
    for code, count in counts.items():
        for _ in range(count):
            number += 1
            rows.append(f"test_{number:04d}.jpg {code}")
            (tree / f"Image/aligned/test_{number:04d}_aligned.jpg").touch()
    (tree / "EmoLabel").mkdir()
    (tree / "EmoLabel/list_patition_label.txt").write_text("\n".join(rows))
    summary = ingest(Lake(tmp_path / "lake", create=True), "rafdb", tree)
    assert summary.samples == sum(counts.values())
    assert any("what was read as sadness is likely happiness" in warning for warning in summary.warnings)
