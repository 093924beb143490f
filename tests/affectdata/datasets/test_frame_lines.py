"""Numbers that stand one line per frame."""

from __future__ import annotations

import pyarrow as pa
import pytest
from fuzzing import FUZZ, any_bytes, mangled
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets.frame_lines import cut_header, frame_lines
from affectdata.datasets.reading import Reject
from manifests.errors import AffectError

VA = b"0.411,0.257\n-0.063,0.3\n-5,-5\n"


def parsed(
    data: bytes, names: tuple[str, ...] = ("a",), kind: pa.DataType | None = None
) -> tuple[list[object], Reject]:
    reject = Reject()
    rows = frame_lines(data, names, kind or pa.int32(), "f.txt", reject).to_pylist()
    return [row["a"] for row in rows], reject


@pytest.mark.parametrize("data", [b"1\n-1\n3", b"1\r\n-1\r\n3\r\n", b" 1\n-1 \n3\n\n\n", b"+1\n-1.0\n3\n"])
def test_line_ends_blanks_and_spellings_change_no_row(data: bytes) -> None:
    rows, reject = parsed(data)
    assert rows == [1, -1, 3]
    assert not len(reject)


def test_a_line_that_cannot_be_read_keeps_its_place() -> None:
    rows, reject = parsed(b"1\nx\n\n4\n1,2\n6\n")
    assert rows == [1, None, None, 4, None, 6]
    said = [(row["where"], row["reason"]) for row in reject.table([], 6).to_pylist()]
    assert said == [("f.txt line 2", "bad-number"), ("f.txt line 3", "bad-number"), ("f.txt line 5", "bad-field-count")]


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "1_0", "0x1p3", '"1"'])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    rows, reject = parsed(f"{text}\n0.5\n".encode(), kind=pa.float32())
    assert rows == [None, 0.5]
    assert reject.counts() == {"bad-number": 1}


def test_the_header_is_cut_off_whatever_ends_it() -> None:
    assert cut_header(b"\xef\xbb\xbfvalence, arousal\r\n0,1\n") == (("valence", "arousal"), b"0,1\n")
    assert cut_header(b"valence,arousal") == (("valence", "arousal"), b"")


@pytest.mark.fuzz
@FUZZ
@given(data=st.one_of(any_bytes, mangled(VA, [b"-5.0", b",,"])), kind=st.sampled_from([pa.int32(), pa.float32()]))
def test_of_any_bytes_every_line_is_a_row_and_every_null_a_reject(data: bytes, kind: pa.DataType) -> None:
    reject = Reject()
    try:
        table = frame_lines(data, ("a", "b"), kind, "f", reject)
    except AffectError:
        return
    body = data.rstrip()
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n") if body else []
    assert table.num_rows == len(lines)
    assert table.column(0).null_count == table.column(1).null_count == len(reject)
