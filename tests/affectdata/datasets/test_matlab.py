"""MATLAB files that are damaged are refused in one way."""

from __future__ import annotations

import contextlib
import io
import struct

import numpy as np
import pytest
import scipy.io
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets.matlab import read_mat


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def file() -> bytes:
    buffer = io.BytesIO()
    cells = np.array([[{"box": np.arange(4.0), "name": "a.jpg"}]], dtype=object)
    scipy.io.savemat(buffer, {"cells": cells, "pts": np.arange(6.0).reshape(3, 2)})
    return buffer.getvalue()


@pytest.mark.parametrize("size", [float("inf"), float("nan"), -1.0])
def test_an_array_of_an_impossible_size_is_a_value_error(size: float) -> None:
    flags, shape = element(6, struct.pack("<II", 6, 0)), element(9, struct.pack("<dd", size, 2))
    data = b" " * 124 + b"\x00\x01IM" + element(14, flags + shape + element(1, b"pts") + element(9, b"\0" * 16))
    with pytest.raises(ValueError, match=r"size|integer|array"):
        read_mat(data)


def test_only_the_wanted_variable_is_looked_into() -> None:
    wanted = {"pts": np.arange(6.0).reshape(3, 2)}
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"before": np.eye(2) + 1j} | wanted)
    with pytest.raises(ValueError, match="complex"):
        read_mat(buffer.getvalue())
    found = read_mat(buffer.getvalue() + b"damaged", only="pts")
    assert list(found) == ["pts"]
    np.testing.assert_array_equal(found["pts"], wanted["pts"])
    assert read_mat(file(), only="other") == {}


def test_files_of_either_byte_order_are_read() -> None:
    parts = ((6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", 1, 2)), (1, b"pts"), (9, struct.pack(">dd", 1, 2)))
    array = b"".join(struct.pack(">II", kind, len(part)) + part + b"\0" * (-len(part) % 8) for kind, part in parts)
    data = b" " * 124 + b"\x01\x00MI" + struct.pack(">II", 14, len(array)) + array
    np.testing.assert_array_equal(read_mat(data)["pts"], [[1.0, 2.0]])


@pytest.mark.fuzz
@FUZZ
@given(st.one_of(any_bytes, mangled(file())))
def test_whatever_the_bytes_there_are_variables_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_mat(data), dict)
