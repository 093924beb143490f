"""Shared parsers: whatever the bytes, every line becomes a row or a reject, and only our errors are raised."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from fuzzing import FUZZ
from hypothesis import given
from hypothesis import strategies as st

from affectdata.datasets import text as parsers
from affectdata.datasets.points import read_pts
from affectdata.datasets.reading import Reject
from affectdata.datasets.text import as_mask, csv_pieces, csv_table, header, integers, lines, numbers, recoded
from manifests.errors import AffectError, DatasetError

cell = st.text(st.characters(codec="utf-8", exclude_characters='\r\n",'), max_size=8)
text_bytes = st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode()))


@pytest.mark.fuzz
@FUZZ
@given(text_bytes)
def test_csv_of_any_bytes_gives_a_table_or_one_of_our_errors(data: bytes) -> None:
    reject = Reject()
    try:
        table = csv_table(data, "fuzz.csv", reject)
    except AffectError:
        return
    assert len({len(column) for column in table.columns.values()} | {len(table.rows)}) == 1
    assert set(reject.counts()) <= {"bad-field-count"}
    assert (np.diff(table.rows) > 0).all()


quoted = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r\n", b"\r", b"a", b" ", b'"b,"', b"\xe9"]), max_size=60)


@pytest.mark.fuzz
@FUZZ
@given(quoted.map(b"".join) | text_bytes, st.sampled_from([1, 7, 1000]))
def test_every_line_of_any_bytes_is_a_row_or_a_reject(data: bytes, size: int) -> None:
    reject, streamed = Reject(), Reject()
    table = csv_table(b"a,b\n" + data, "t.csv", reject)
    filled = [line for line in data.replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n") if line]
    assert len(table.rows) + len(reject) == len(filled)
    pieces = list(csv_pieces(io.BytesIO(b"a,b\n" + data), "t.csv", streamed, size))
    if b"\xef\xbb\xbf" not in data:
        assert [row for piece in pieces for row in piece.rows] == table.rows.tolist()
        assert [cell for piece in pieces for cell in piece.columns["a"].to_pylist()] == table.columns["a"].to_pylist()
        assert streamed.table((), 0).equals(reject.table((), 0))


def test_an_open_quote_costs_its_own_line_only() -> None:
    reject = Reject()
    table = csv_table(b'a,b\n1,"x\n2,y\n3,6" wide\n4,"z ""q"""\n', "t.csv", reject)
    assert table.columns["b"].to_pylist() == ["y", '6" wide', 'z "q"']
    assert table.rows.tolist() == [1, 2, 3]
    assert reject.table((), 4).column("where").to_pylist() == ["t.csv row 0"]
    assert "quote that is not closed: 1,'x" in str(reject.table((), 4).column("detail")[0])


def test_a_table_beyond_what_arrow_can_take_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "MAX_BYTES", 10)
    with pytest.raises(DatasetError, match=r"big\.csv(.|\n)*12 bytes(.|\n)*Parquet"):
        csv_table(b"a,b\n" + b"1,2\n" * 3, "big.csv", Reject())


@pytest.mark.fuzz
@FUZZ
@given(st.lists(st.lists(cell, min_size=1, max_size=4), max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_every_csv_row_is_a_row_or_a_reject(rows: list[list[str]], end: str, final: bool) -> None:
    body = [",".join(row) for row in rows]
    text = end.join(["a,b", *body]) + (end if final else "")
    reject = Reject()
    table = csv_table(text.encode(), "t.csv", reject)
    full = [row for row, line in zip(rows, body, strict=True) if line]
    kept = [number for number, row in enumerate(full) if len(row) == 2]
    assert table.rows.tolist() == kept
    assert len(reject) == len(full) - len(kept)
    assert table.columns["a"].to_pylist() == [full[number][0] or None for number in kept]


def test_the_header_may_have_blanks_a_mark_and_quotes() -> None:
    assert header(b'\xef\xbb\xbf"emotion", Usage, pixels\r\n') == ["emotion", "Usage", "pixels"]
    assert header(b"") == []


@pytest.mark.parametrize(("data", "about"), [(b"", "no header"), (b"a,b,a\n1,2,3\n", "repeats")])
def test_a_csv_without_a_usable_header_is_refused(data: bytes, about: str) -> None:
    with pytest.raises(DatasetError, match=about):
        csv_table(data, "t.csv", Reject())


def test_a_quoted_field_may_hold_the_delimiter() -> None:
    # fer0000041.png,"(0, 0, 48, 48)",5
    table = csv_table(b'fer0000041.png,"(0, 0, 48, 48)",5\n', "label.csv", Reject(), names=("name", "box", "n"))
    assert table.columns["box"].to_pylist() == ["(0, 0, 48, 48)"]


def test_integers_and_numbers_keep_unknown_apart_from_bad() -> None:
    text = pa.array(["3", " 4 ", "5.0", "-5", "", None, "nan", "NA", "x", "1e3", "3.5", "+7", "1 2"], pa.string())
    whole, bad = integers(text)
    assert whole.to_pylist() == [3, 4, 5, -5, None, None, None, None, None, None, None, 7, None]
    assert np.flatnonzero(bad).tolist() == [8, 9, 10, 12]
    values, bad = numbers(pa.array(["1e3", ".5", "-2.", "inf", "nan", "", "1,5", "1e999"], pa.string()))
    assert values.to_pylist() == [1000, 0.5, -2, None, None, None, None, None]
    assert np.flatnonzero(bad).tolist() == [3, 6, 7]


@pytest.mark.fuzz
@FUZZ
@given(st.lists(st.one_of(st.none(), st.text(max_size=12), st.floats().map(str), st.integers().map(str)), max_size=20))
def test_no_cell_breaks_the_number_parsers(cells: list[str | None]) -> None:
    column = pa.array([cell and cell.encode("utf-8", "replace").decode() for cell in cells], pa.string())
    for values, bad in (integers(column), numbers(column)):
        assert len(values) == len(bad) == len(cells)
        assert not (bad & as_mask(values.is_valid())).any()


def test_codes_outside_the_table_are_marked_and_sentinels_are_null() -> None:
    names, wrong = recoded(pa.array([0, 1, -1, 9, None], pa.int64()), {0: "a", 1: "b", -1: None})
    assert names.to_pylist() == ["a", "b", None, None, None]
    assert wrong.tolist() == [False, False, False, True, False]


def test_lines_do_not_care_about_line_ends() -> None:
    wanted = [(1, "a 1"), (3, "b 2")]
    assert list(lines(b"a 1\n\nb 2")) == list(lines(b"a 1\r\n\r\nb 2\r\n")) == wanted


@pytest.mark.fuzz
@FUZZ
@given(text_bytes)
def test_points_of_any_bytes_are_points_or_a_reject(data: bytes) -> None:
    reject = Reject()
    points = read_pts(data, "fuzz.pts", reject, base=1)
    assert (points is None) == (len(reject) == 1)


def test_points_are_shifted_to_base_zero() -> None:
    # verbatim grammar of iBUG files
    text = "version: 1\nn_points: 68\n{\n" + "\n".join(f"{n + 1}.000 {n + 2}.500" for n in range(68)) + "\n}\n"
    points = read_pts(text.encode(), "a.pts", Reject(), base=1)
    assert points is not None
    assert points[0].tolist() == [0, 1.5]
    reject = Reject()
    assert read_pts(text.replace("1.000 2.500\n", "").encode(), "a.pts", reject, base=1) is None
    assert reject.counts() == {"bad-landmarks": 1}
