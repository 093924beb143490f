"""The way through the commands on a small synthetic dataset: what each prints can be read, what it refuses is said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from affectdata.synthetic import write_twin
from cli.errors import run
from manifests.lake import Lake

SAMPLES = 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a twin of fer2013 in `data`, ingested into `lake`."""
    home = tmp_path_factory.mktemp("way")
    write_twin("fer2013", home / "data", samples=SAMPLES, seed=3)
    assert run(["--lake", str(home / "lake"), "ingest", "fer2013", str(home / "data"), "--max-rejects", "0.2"]) == 0
    return home


@pytest.fixture
def affect(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command on the lake; what it printed. It must end with the exit code asked for."""

    def affect(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        ended = run(["--lake", str(home / "lake"), *arguments])
        said = capsys.readouterr()
        assert ended == code, said.err
        assert "Traceback" not in said.err
        return said.out if code == 0 else said.err

    return affect


def from_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    "arguments", [["coverage"], ["coverage", "--classes"], ["coverage", "--together"], ["layers"], ["datasets"]]
)
def test_json_and_csv_say_the_same(affect: Callable[..., str], arguments: list[str]) -> None:
    objects: list[dict[str, Any]] = json.loads(affect(*arguments, "--json"))
    assert objects
    lines = from_csv(affect(*arguments, "--csv"))
    assert lines == [{k: "" if v is None else str(v) for k, v in row.items()} for row in objects]


def test_layers_fit_a_terminal_and_say_tasks_parents_and_command(affect: Callable[..., str]) -> None:
    shown = affect("layers")
    assert max(map(len, shown.splitlines())) <= 80
    (human,) = [row for row in json.loads(affect("layers", "--json")) if row["layer"] == "labels/human-fer2013"]
    assert human["parents"] == "samples"
    assert human["tasks"].startswith("expression ")
    for text in (
        f"labels expression {int(human['tasks'].split()[1]):,}",
        "from   samples",
        "by     affect ingest fer2013",
    ):
        assert text in shown


def test_one_labelling_without_votes_has_nothing_to_agree_with(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--lake", str(home / "lake"), "agreement", "fer2013"]) == 0
    assert "no two labellings" in capsys.readouterr().err


def test_coverage_counts_what_the_twin_holds(home: Path, affect: Callable[..., str]) -> None:
    (row,) = json.loads(affect("coverage", "--json"))
    samples = Lake(home / "lake").layer("fer2013", "samples").rows
    assert row["source"] == "human-fer2013"
    assert 0 < row["expression"] <= samples
    assert row["va"] == row["au"] == row["landmarks"] == 0
    assert sum(one["rows"] for one in json.loads(affect("coverage", "--classes", "--json"))) == row["expression"]


def test_coverage_of_aus_that_nobody_coded_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--lake", str(home / "lake"), "coverage", "--aus"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "no label layer that was asked for has action units" in told.err


def test_an_answer_in_every_form_says_the_same(affect: Callable[..., str], tmp_path: Path) -> None:
    question = "select sample_id, expression, mask_expression from manifest order by sample_id"
    objects = json.loads(affect("sql", question, "--format", "json"))
    assert len(from_csv(affect("sql", question, "--format", "csv"))) == len(objects)
    affect("sql", question, "--out", str(tmp_path / "answer.parquet"))
    assert pq.read_table(tmp_path / "answer.parquet").to_pylist() == objects
    assert len(affect("sql", question).splitlines()) == len(objects) + 1


def test_a_question_may_come_from_standard_input(affect: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("select count(*) as n from samples\n"))
    (row,) = json.loads(affect("sql", "-", "--format", "json"))
    assert row["n"] >= SAMPLES


def test_the_schema_lists_every_column_of_every_view(affect: Callable[..., str]) -> None:
    columns = json.loads(affect("sql", "--schema", "--format", "json"))
    assert {"manifest", "samples", "labels", "faces", "protocols", "rejects"} <= {row["view"] for row in columns}
    listed = [row["column"] for row in columns if row["view"] == "manifest"]
    answer = json.loads(affect("sql", "select * from manifest limit 1", "--format", "json"))
    assert listed == list(answer[0])
    assert "au12" not in affect("sql", "--schema")


@pytest.mark.parametrize(
    "text",
    [
        "copy samples to 'stolen.csv'",
        "attach 'other.db'",
        "select 1; select 2",
        "create table t as select 1",
        "install httpfs",
        "set lock_configuration = false",
        "select * from read_csv('/etc/passwd')",
        "select * from read_parquet('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select getenv('HOME')",
        "pragma database_list",
        "drop view samples",
        "selec 1",
        "",
        "select nonsense from manifest",
    ],
)
def test_anything_but_one_select_over_the_lake_is_refused(
    affect: Callable[..., str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = affect("sql", text, code=2)
    assert said.startswith("affect: ")
    assert list(tmp_path.iterdir()) == []


def test_drop_asks_first_and_then_takes_the_layer_out(home: Path, affect: Callable[..., str]) -> None:
    affect("folds", "fer2013", "--name", "own", "--by", "duplicates", "--folds", "2", code=2)  # not aligned yet
    affect("align", "--to", "resize32", "--gray")
    affect("folds", "fer2013", "--name", "own", "--by", "duplicates", "--folds", "2", "--truth", "human-fer2013")
    assert Lake(home / "lake").has("fer2013", "protocols/own")
    assert run(["--lake", str(home / "lake"), "drop", "fer2013", "protocols/own"]) == 1  # nobody answers
    assert Lake(home / "lake").has("fer2013", "protocols/own")
    affect("drop", "fer2013", "protocols/own", "--yes")
    assert not Lake(home / "lake").has("fer2013", "protocols/own")
    affect("drop", "fer2013", "protocols/own", "--yes", code=2)


def test_a_second_ingest_changes_nothing(home: Path, affect: Callable[..., str]) -> None:
    before = Lake(home / "lake").layers()
    assert "unchanged" in affect("ingest", "fer2013", str(home / "data"))
    assert Lake(home / "lake").layers() == before


@pytest.mark.parametrize("what", ["missing", "empty", "wrong"])
def test_a_folder_that_holds_no_dataset_is_refused(affect: Callable[..., str], what: str, tmp_path: Path) -> None:
    if what != "missing":
        (tmp_path / "root").mkdir()
    if what == "wrong":
        (tmp_path / "root" / "notes.txt").write_text("nothing to see")
    said = affect("ingest", "fer2013", str(tmp_path / "root"), "--name", "other", code=2)
    assert "expected" in said


def test_a_lake_that_moved_to_another_disk_is_told_with_relocate(
    home: Path, affect: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "moved").symlink_to(home / "data")
    affect("relocate", "fer2013", str(tmp_path / "moved"))
    assert Lake(home / "lake").root("fer2013") == tmp_path / "moved"
    affect("relocate", "fer2013", str(home / "data"))
    affect("relocate", "fer2013", str(tmp_path / "nowhere"), code=2)
    assert "does not hold the media" in affect("relocate", "fer2013", str(tmp_path), code=2)


def test_upgrade_of_a_lake_of_this_version_does_nothing(affect: Callable[..., str]) -> None:
    assert "up to date" in affect("upgrade")


def test_runs_of_an_empty_folder_is_an_empty_list(affect: Callable[..., str], tmp_path: Path) -> None:
    assert json.loads(affect("runs", "--runs", str(tmp_path), "--json")) == []


def test_recipes_of_the_package_are_listed_with_their_fields(affect: Callable[..., str]) -> None:
    assert "multitask-baseline" in affect("train", "--list")
    assert "train.max_minutes" in affect("train", "--fields")


def test_a_stack_of_lakes_reads_both_and_writes_the_last(home: Path, tmp_path: Path) -> None:
    stack = ["--lake", str(home / "lake"), "--lake", str(tmp_path / "mine")]
    write_twin("fer2013", tmp_path / "data", samples=SAMPLES, seed=4)
    ingest = ["ingest", "fer2013", str(tmp_path / "data"), "--name", "second", "--max-rejects", "0.2"]
    assert run([*stack, *ingest]) == 0
    assert Lake(tmp_path / "mine").datasets() == ["second"]
    assert Lake([home / "lake", tmp_path / "mine"]).datasets() == ["fer2013", "second"]
    assert Lake(home / "lake").datasets() == ["fer2013"]
