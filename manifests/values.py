"""What the values of a layer must satisfy beyond their types: names, ranges, finite numbers, true distributions.

Everything is computed column by column; columns that are NULL throughout cost nothing.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.errors import SchemaError
from manifests.vocabulary import EXPRESSIONS

SUM_TOLERANCE = 1e-3
"""How far a distribution may miss the sum 1: published ones are rounded to a few digits."""

_TIE = 1e-6
"""Probabilities that differ by less are equal: both are the largest."""


def without_empty_lists(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of fixed-size lists in which a list of nothing but NULLs is NULL: it knows nothing."""
    if column.null_count == len(column):
        return column
    return pa.chunked_array([_without_empty_lists(chunk) for chunk in column.chunks], column.type)


def _without_empty_lists(lists: pa.FixedSizeListArray) -> pa.FixedSizeListArray:
    length = lists.type.list_size
    leaves = lists.values.slice(lists.offset * length, len(lists) * length)
    if not leaves.null_count:
        return lists
    known = np.asarray(leaves.is_valid()).reshape(-1, length).any(axis=1)
    known &= np.asarray(lists.is_valid())
    return pa.FixedSizeListArray.from_arrays(leaves, type=lists.type, mask=pa.array(~known))


def check_values(table: pa.Table, about: str) -> None:
    """Check each column against the facts of its field.

    Raises:
        SchemaError: A name outside its vocabulary, a number outside its range, or one that is not finite.
    """
    for field in table.schema:
        column = table.column(field.name)
        if column.null_count == len(column):
            continue
        if b"values" in field.metadata:
            _check_names(column, field, about)
        if b"range" in field.metadata:
            _check_range(column, field, about)
        elif pa.types.is_floating(field.type):
            _check_finite(column, field.name, about)
        elif pa.types.is_fixed_size_list(field.type):
            _check_finite(_leaves(column), field.name, about)


def _leaves(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """The elements of all lists that are not NULL."""
    return pa.chunked_array([chunk.flatten() for chunk in lists.chunks], lists.type.value_type)


def _check_names(column: pa.ChunkedArray, field: pa.Field, about: str) -> None:
    known = pa.array(field.metadata[b"values"].decode().split(","))
    wrong = column.filter(pc.invert(pc.is_in(column, value_set=known))).drop_null()
    if len(wrong):
        raise SchemaError(
            f"{about}: column {field.name} holds names outside its vocabulary",
            found=_some(wrong),
            expected=", ".join(known.to_pylist()),
        )


def _check_range(column: pa.ChunkedArray, field: pa.Field, about: str) -> None:
    low, high = (float(x) for x in field.metadata[b"range"].decode().split(".."))
    inside = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
    wrong = column.filter(pc.invert(inside)).drop_null()
    if len(wrong):
        raise SchemaError(
            f"{about}: column {field.name} holds {len(wrong)} values out of range (a sentinel?)",
            found=_some(wrong),
            expected=f"{low:g} to {high:g}, or NULL for unknown",
        )


def _check_finite(numbers: pa.ChunkedArray, name: str, about: str) -> None:
    finite = pc.is_finite(numbers)
    if pc.all(finite).as_py() is False:
        wrong = numbers.filter(pc.invert(finite))
        raise SchemaError(
            f"{about}: column {name} holds {len(wrong)} numbers that are not finite",
            found=_some(wrong),
            expected="finite numbers, or NULL for unknown",
        )


def _some(values: pa.ChunkedArray) -> str:
    return ", ".join(map(str, values.unique().to_pylist()[:5]))


def check_label_rules(table: pa.Table, about: str) -> None:
    """Check what the columns of a label layer say of each other.

    Raises:
        SchemaError: `expression_probs` that are no distribution or whose largest is not `expression`, or
            `expression_votes` below 0.
    """
    _check_probs(table.select(["sample_id", "expression", "expression_probs"]), about)
    votes = table.column("expression_votes")
    if votes.null_count < len(votes) and pc.any(pc.less(_leaves(votes), 0)).as_py():
        raise SchemaError(f"{about}: expression_votes below 0", expected="counts, or NULL for what was not offered")


def _check_probs(table: pa.Table, about: str) -> None:
    table = table.filter(pc.is_valid(table.column("expression_probs")))
    if not table.num_rows:
        return
    expression = table.column("expression")
    if expression.null_count:
        raise SchemaError(
            f"{about}: expression_probs without expression",
            expected="a soft label also names its arg-max class, so that every question sees it",
        )
    leaves = pc.fill_null(_leaves(table.column("expression_probs")), 0)
    probs = leaves.to_numpy().astype(np.float64).reshape(-1, len(EXPRESSIONS))
    sums = probs.sum(axis=1)
    _refuse((probs < 0).any(axis=1), table, f"{about}: expression_probs below 0", "shares of 0 to 1")
    _refuse(abs(sums - 1) > SUM_TOLERANCE, table, f"{about}: expression_probs that do not sum to 1", "shares of 1")
    code = pc.index_in(expression, value_set=pa.array(EXPRESSIONS)).to_numpy()
    chosen = probs[np.arange(len(probs)), code]
    wrong = chosen < probs.max(axis=1) - _TIE
    _refuse(wrong, table, f"{about}: expression is not the class with the largest probability", "the arg-max class")


def _refuse(wrong: NDArray[np.bool_], table: pa.Table, what: str, expected: str) -> None:
    if wrong.any():
        row = table.slice(int(wrong.argmax()), 1).to_pylist()[0]
        raise SchemaError(
            what,
            found=f"{wrong.sum()} rows, such as {row['sample_id']}: {row['expression']} {row['expression_probs']}",
            expected=expected,
        )
