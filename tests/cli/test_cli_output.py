"""Answers are readable by people and exact for programs: what was written can be read back."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.answers import AnswerForm, answer_form, write_answer
from cli.printing import Form, Grid, folded, show, write_csv, write_json
from manifests.errors import QueryError

TABLE = pa.table(
    {
        "sample_id": ["a/1", "b,2", 'c"3'],
        "valence": pa.array([0.5, None, -1.0], pa.float32()),
        "points": pa.array([[1.0, None], None, [2.0, 3.0]], pa.list_(pa.float32())),
        "known": [True, False, None],
    }
)

VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.floats(allow_nan=False)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=5))
def test_json_reads_back_as_what_was_written(rows: list[tuple[object, object]]) -> None:
    file = io.StringIO()
    assert write_json(file, ("a", "b"), rows) == len(rows)
    finite = [[None if isinstance(v, float) and abs(v) == float("inf") else v for v in row] for row in rows]
    assert json.loads(file.getvalue()) == [{"a": a, "b": b} for a, b in finite]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12), min_size=1, max_size=5))
def test_csv_reads_back_as_what_was_written(texts: list[str]) -> None:
    file = io.StringIO()
    write_csv(file, ("a", "b"), [(text, 1) for text in texts])
    assert list(csv.reader(io.StringIO(file.getvalue()))) == [["a", "b"], *([text, "1"] for text in texts)]


def test_a_pipe_gets_plain_columns_with_nothing_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    show(Grid(("name", "count", "share"), [(long, 12345, 0.25), ("[b]", None, None)]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "count", "share"]
    assert lines[1].split() == [long, "12,345", "0.25"]
    assert lines[2] == "[b]"


def test_a_narrow_terminal_cuts_no_name_or_number_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    columns = ["dataset", "au_intensity", "a_column_with_a_long_name", "rule"]
    show(Grid(columns, [("synthetic", 123456, 7, "a rule in many words " * 5)]))
    shown = capsys.readouterr().out
    for text in ("synthetic", "123,456", *columns):
        assert text in shown
    assert " ".join(shown.split()).count("many") == 5


def test_json_and_csv_of_no_rows_are_still_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    show(Grid(("a", "b"), []), Form.json)
    assert json.loads(capsys.readouterr().out) == []
    show(Grid(("a", "b"), []), Form.csv)
    assert capsys.readouterr().out == "a,b\n"


def test_an_answer_reads_back_from_every_kind_of_file(tmp_path: Path) -> None:
    for form in (AnswerForm.csv, AnswerForm.json, AnswerForm.parquet):
        write_answer(TABLE.to_reader(max_chunksize=2), form, tmp_path / f"answer.{form}", None)
    assert pq.read_table(tmp_path / "answer.parquet").equals(TABLE)
    assert json.loads((tmp_path / "answer.json").read_text()) == TABLE.to_pylist()
    rows = list(csv.DictReader((tmp_path / "answer.csv").open(newline="")))
    assert [row["sample_id"] for row in rows] == TABLE["sample_id"].to_pylist()
    assert [row["valence"] for row in rows] == ["0.5", "", "-1.0"]
    assert json.loads(rows[0]["points"]) == [1.0, None]


def test_a_table_tells_how_many_rows_it_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    write_answer(TABLE.to_reader(), AnswerForm.table, None, 2)
    said = capsys.readouterr()
    assert "a/1" in said.out
    assert 'c"3' not in said.out
    assert "1 more rows" in said.err


def test_an_answer_too_wide_for_a_line_is_folded_in_a_pipe_and_nothing_is_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    numbers = [float(n) for n in range(136)]
    table = pa.table({"sample_id": ["a/1", "b/2"], "points": [numbers, None], "path": ["x" * 130, "y"]})
    write_answer(table.to_reader(), AnswerForm.table, None, None)
    told = capsys.readouterr().out
    lines = told.splitlines()
    assert all(len(line) <= 120 for line in lines if "x" not in line)
    assert lines[0].startswith("row 1")
    assert " ".join(told.split()).count(f"[{', '.join(f'{n:.4g}' for n in numbers)}]") == 1
    assert "x" * 130 in told
    write_answer(table.to_reader(), AnswerForm.csv, None, None)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_long_names_and_empty_answers_are_told_in_a_pipe_too(capsys: pytest.CaptureFixture[str]) -> None:
    name = "count(*) FILTER (WHERE " + " AND ".join(f"n > {n}" for n in range(30)) + ")"
    write_answer(pa.table({name: [7], "b": ["word " * 60]}).to_reader(), AnswerForm.table, None, None)
    told = capsys.readouterr().out
    assert name in told
    assert " 7\n" in told
    wide = pa.table({f"column{n}": pa.array([], pa.int64()) for n in range(20)})
    write_answer(wide.to_reader(), AnswerForm.table, None, None)
    assert "column19" in capsys.readouterr().out


@given(st.text(alphabet=st.sampled_from("ab \n\t"), max_size=80), st.integers(1, 20))
def test_folding_changes_no_character(text: str, room: int) -> None:
    pieces = list(folded(text, room))
    assert "".join(pieces) == text
    assert all(len(piece) <= room or " " not in piece[:-1] for piece in pieces)


def test_an_answer_that_fails_midway_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "answer.csv"
    out.write_text("old")

    def batches():
        yield TABLE.to_batches()[0]
        raise QueryError("disk of the lake went away")

    with pytest.raises(QueryError):
        write_answer(pa.RecordBatchReader.from_batches(TABLE.schema, batches()), AnswerForm.csv, out, None)
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["answer.csv"]


def test_the_form_follows_the_files_name_and_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    assert answer_form(None, tmp_path / "x.parquet") is AnswerForm.parquet
    assert answer_form(None, None) is AnswerForm.table
    assert answer_form(AnswerForm.json, tmp_path / "x.csv") is AnswerForm.json
    for form, out in ((AnswerForm.parquet, None), (None, tmp_path / "x.xls"), (AnswerForm.table, tmp_path / "x.csv")):
        with pytest.raises(QueryError):
            answer_form(form, out)
