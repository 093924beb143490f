"""Nothing enters a layer that its schema does not allow: no sentinel, no foreign name, no lost order."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import schema
from manifests.errors import SchemaError
from manifests.vocabulary import EXPRESSIONS


def labels(**columns: list[object]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table({"sample_id": [f"d/{i:03d}" for i in range(rows)], **columns})


def test_missing_columns_become_null_and_order_is_the_schemas() -> None:
    table = schema.conform(labels(au12=[1, None], expression=["fear", None]), "labels", "d labels/human")
    assert table.schema.names == schema.LABELS.names
    assert table["au12"].to_pylist() == [1, None]
    assert table["valence"].null_count == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("valence", -5.0),
        ("valence", -2.0),
        ("arousal", float("nan")),
        ("au04", 9),
        ("au04", -1),
        ("au12_intensity", 9.0),
        ("au12_intensity", 999.0),
        ("expression", "joy"),
        ("expression", "Happiness"),
        ("compound", "contempt"),
        ("au12_side", "links"),
    ],
)
def test_no_sentinel_and_no_foreign_name_enters_a_layer(column: str, value: object) -> None:
    with pytest.raises(SchemaError, match=column):
        schema.conform(labels(**{column: [value]}), "labels", "d labels/human")


@given(st.floats(allow_nan=True, allow_infinity=True, width=32))
def test_valence_is_stored_exactly_when_it_lies_in_its_range(value: float) -> None:
    table = labels(valence=[value])
    if -1 <= value <= 1:
        assert schema.conform(table, "labels", "d")["valence"].to_pylist() == [value]
    else:
        with pytest.raises(SchemaError):
            schema.conform(table, "labels", "d")


def test_a_column_that_no_layer_has_is_refused() -> None:
    with pytest.raises(SchemaError, match="au99"):
        schema.conform(labels(au99=[1]), "labels", "d")


def test_a_missing_required_column_is_refused() -> None:
    with pytest.raises(SchemaError, match="dataset"):
        schema.conform(pa.table({"sample_id": ["a"]}), "samples", "d")


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "a"]])
def test_ids_out_of_order_or_twice_are_refused(ids: list[str]) -> None:
    with pytest.raises(SchemaError, match="sorted"):
        schema.conform(pa.table({"sample_id": ids}), "labels", "d")


def test_a_null_id_is_refused() -> None:
    with pytest.raises(SchemaError, match="sample_id"):
        schema.conform(pa.table({"sample_id": pa.array(["a", None])}), "labels", "d")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "column", "value"),
    [
        *(("labels", "landmarks", [bad] * 136) for bad in (NAN, INF)),
        ("labels", "landmarks", [1.0, NAN] + [None] * 134),
        ("labels", "expression_votes", [NAN] * 11),
        ("samples", "points5", [NAN] * 10),
        ("samples", "box_x1", NAN),
        ("samples", "time_s", INF),
        ("samples", "age", NAN),
        ("faces", "points5", [1.0] * 9 + [INF]),
        ("crops", "transform", [NAN] * 6),
    ],
)
def test_no_nan_and_no_infinity_enters_a_layer(kind: str, column: str, value: object) -> None:
    field = schema.KINDS[kind].field(column)
    required = {f.name: pa.nulls(1, f.type).fill_null(0 if f.type == pa.int32() else "d") for f in required_of(kind)}
    with pytest.raises(SchemaError, match=column):
        schema.conform(pa.table({**required, column: pa.array([value], field.type)}), kind, "d")


def required_of(kind: str) -> list[pa.Field]:
    return [field for field in schema.KINDS[kind] if not field.nullable]


def soft(expression: str | None, probs: list[float]) -> pa.Table:
    return labels(expression=["fear", expression], expression_probs=[None, probs])


@pytest.mark.parametrize(
    ("expression", "probs", "message"),
    [
        ("neutral", [NAN] * 9, "finite"),
        ("neutral", [9.0, -3.0, -5.0] + [0.0] * 6, "below 0"),
        ("neutral", [0.5] + [0.0] * 8, "sum"),
        ("neutral", [0.4, 0.6] + [0.0] * 7, "largest"),
        (None, [1.0] + [0.0] * 8, "arg-max"),
    ],
)
def test_a_soft_label_is_a_distribution_whose_largest_is_its_class(
    expression: str | None, probs: list[float], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        schema.conform(soft(expression, probs), "labels", "d labels/human")


@settings(deadline=None)
@given(st.lists(st.floats(0, 10, width=32), min_size=9, max_size=9).filter(lambda x: sum(x) > 1))
def test_any_distribution_is_stored_under_its_largest_class_and_not_under_its_smallest(shares: list[float]) -> None:
    probs = [share / sum(shares) for share in shares]
    largest, smallest = (EXPRESSIONS[probs.index(pick(probs))] for pick in (max, min))
    stored = schema.conform(soft(largest, probs), "labels", "d")["expression_probs"].to_pylist()
    assert stored == [None, pytest.approx(probs)]
    if min(probs) < max(probs) - 1e-3:
        with pytest.raises(SchemaError, match="largest"):
            schema.conform(soft(smallest, probs), "labels", "d")


def test_votes_are_never_below_zero_and_may_be_unknown() -> None:
    votes = [3.0] + [0.0] * 9 + [None]
    assert schema.conform(labels(expression_votes=[votes]), "labels", "d")["expression_votes"].to_pylist() == [votes]
    with pytest.raises(SchemaError, match="votes below 0"):
        schema.conform(labels(expression_votes=[[-1.0] + [None] * 10]), "labels", "d")


def test_a_list_of_nothing_but_nulls_is_null_also_in_a_slice() -> None:
    rows: list[list[float | None] | None] = [[1.0] * 136, [None] * 136, None, [None, 2.0] * 68]
    whole = pa.table({"sample_id": list("abcd"), "landmarks": pa.array(rows, pa.list_(pa.float32(), 136))})
    chunked = pa.concat_tables([whole.slice(0, 2), whole.slice(2)])
    for table, expected in ((whole, rows), (chunked, rows), (whole.slice(1), rows[1:])):
        stored = schema.conform(table, "labels", "d")["landmarks"]
        assert stored.to_pylist() == [row if row and any(row) else None for row in expected]


def test_every_column_explains_itself() -> None:
    for kind in schema.KINDS:
        assert all(about for _, _, about in schema.describe(kind))


def test_every_task_has_columns_in_the_label_schema() -> None:
    for columns in schema.TASK_COLUMNS.values():
        assert set(columns) <= set(schema.LABELS.names)
