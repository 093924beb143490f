"""Nothing enters a layer that its schema does not allow: no sentinel, no foreign name, no lost order."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import schema
from manifests.errors import SchemaError


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


def test_a_soft_label_must_name_its_class() -> None:
    probs = pa.array([[1.0] + [0.0] * 8], pa.list_(pa.float32(), 9))
    with pytest.raises(SchemaError, match="arg-max"):
        schema.conform(pa.table({"sample_id": ["a"], "expression_probs": probs}), "labels", "d")


def test_every_column_explains_itself() -> None:
    for kind in schema.KINDS:
        assert all(about for _, _, about in schema.describe(kind))


def test_every_task_has_columns_in_the_label_schema() -> None:
    for columns in schema.TASK_COLUMNS.values():
        assert set(columns) <= set(schema.LABELS.names)
