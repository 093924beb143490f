"""What goes wrong is said once, on standard error, with an exit code, and without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Never

import pytest
import typer

from cli.app import app
from cli.errors import INTERRUPTED, USER_ERROR, run
from manifests.errors import LakeError
from manifests.lake import Lake


@pytest.fixture
def failing() -> Iterator[dict[str, BaseException]]:
    """A command `fail` that raises what the test puts into the returned slot."""
    slot: dict[str, BaseException] = {}

    def fail() -> Never:
        raise slot["error"]

    app.command("fail")(fail)
    yield slot
    app.registered_commands = [c for c in app.registered_commands if c.callback is not fail]


def test_a_users_error_is_one_message_and_exit_code_2(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["error"] = LakeError("no lake at x", expected="a lake", then="affect ingest")
    assert run(["fail"]) == USER_ERROR
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "affect: no lake at x\n  expected: a lake\n  next:     affect ingest\n"


def test_an_interrupt_says_that_nothing_is_lost_and_exits_130(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["error"] = KeyboardInterrupt()
    assert run(["fail"]) == INTERRUPTED
    said = capsys.readouterr()
    assert "nothing is lost" in said.err
    assert "Traceback" not in said.err


def test_our_own_error_keeps_its_traceback_and_says_where_to_report_it(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["error"] = ZeroDivisionError("ours")
    assert run(["fail"]) == 1
    said = capsys.readouterr()
    assert "ZeroDivisionError: ours" in said.err
    assert "report it" in said.err


def test_a_missing_system_library_gives_the_install_line(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing["error"] = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    assert run(["fail"]) == USER_ERROR
    said = capsys.readouterr()
    assert "libGL.so.1" in said.err
    assert "apt-get install libgl1 libglib2.0-0" in said.err
    assert "Traceback" not in said.err


def test_any_other_failed_import_is_ours(failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing["error"] = ImportError("No module named 'nonsense'")
    assert run(["fail"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_exit_code_passes_through(failing: dict[str, BaseException]) -> None:
    failing["error"] = typer.Exit(7)
    assert run(["fail"]) == 7


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["sql"],
        ["coverage", "--json", "--csv"],
        ["sql", "select 1", "--au-cut", "disfa"],
        ["sql", "select 1", "--au-cut", "disfa:nine"],
        ["sql", "select 1", "--au-cut", "disfa:7"],
        ["train"],
        ["folds", "x"],
    ],
)
def test_a_wrong_command_line_exits_2_without_a_traceback(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--lake", str(tmp_path), *arguments]) == USER_ERROR
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["coverage"],
        ["sql", "select 1"],
        ["layers"],
        ["drop", "rafdb", "--yes"],
        ["align"],
        ["folds", "rafdb", "--name", "x", "--by", "subject", "--folds", "3"],
        ["info", "nonsense"],
        ["train", "nonsense"],
        ["evaluate", "nonsense"],
        ["ingest", "fer2013", "/nowhere/at/all"],
    ],
)
def test_without_a_lake_or_dataset_every_command_says_what_is_missing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == USER_ERROR
    said = capsys.readouterr()
    assert said.err.startswith("affect: ")
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sql", "select 1", "--out", "no/dir/a.csv"], "no folder no/dir"),
        (["sql", "select 1", "--out", "file/a.csv"], "no folder file"),
        (["sql", "select 1", "--out", "folder.csv"], "a folder of that name"),
        (["align", "--preview", "no/dir/a.png"], "no folder no/dir"),
        (["demo", "--folder", "file"], "a file in its place"),
        (["demo", "--folder", "file/below"], "a file in its place"),
        (["runs", "--runs", "file"], "no folder"),
        (["train", "demo", "--runs", "file"], "no folder"),
        (["--lake", "file", "coverage"], "no lake at"),
        (["align"], "holds no dataset yet"),
        (["co-annotate"], "holds no dataset yet"),
        (["score", "file", "-d", "nope", "--protocol", "official"], "unknown dataset in the lake 'nope'"),
        (["layers", "-d", "nope"], "unknown dataset in the lake 'nope'"),
        (["coverage", "-d", "nope"], "unknown dataset in the lake 'nope'"),
        (["coverage", "--together", "-d", "nope"], "unknown dataset in the lake 'nope'"),
    ],
)
def test_a_place_or_dataset_that_cannot_be_is_one_clear_error(
    arguments: list[str], said: str, lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lake.home.parent)
    Path("file").touch()
    Path("folder.csv").mkdir()
    assert run(["--lake", "lake", *arguments]) == USER_ERROR
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_lake_is_never_made_in_the_folder_that_is_to_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    monkeypatch.chdir(tmp_path)
    assert run(["ingest", "fer2013", "."]) == USER_ERROR
    assert "would lie in the folder that is to be read" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["fer2013.csv"]


@pytest.mark.parametrize(("arguments", "said"), [(["layers"], "holds no dataset yet"), (["runs"], "no run in")])
def test_a_list_of_nothing_says_so_beside_the_answer(
    arguments: list[str], said: str, lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lake.home.parent)
    assert run(["--lake", "lake", *arguments]) == 0
    assert said in capsys.readouterr().err


def test_ctrl_c_in_a_process_of_its_own_ends_it_with_130(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background\n"
        "from cli.app import app\n"
        "from cli.errors import run\n"
        "@app.command()\n"
        "def wait():\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "sys.exit(run(['wait']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert "nothing is lost" in err
    assert "Traceback" not in err


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from cli.app import app\n"
        "from cli.errors import run\n"
        "@app.command()\n"
        "def flood():\n"
        "    for n in range(100_000):\n"
        "        print('line', n)\n"
        "sys.exit(run(['flood']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""
