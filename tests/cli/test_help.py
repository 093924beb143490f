"""What `affect` says of itself: at once, for every command, in 80 columns."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer.main
from typer import rich_utils
from typer.testing import CliRunner

from cli.app import app

COMMANDS = sorted(typer.main.get_group(app).commands)

HEAVY = ("torch", "lightning", "cv2", "duckdb", "timm", "matplotlib", "pyarrow", "pandas", "numpy", "sklearn")


def help_of(*command: str, columns: int = 80) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rich_utils, "MAX_WIDTH", columns)  # typer reads its variable once, at import
        result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_every_command_of_the_way_is_there() -> None:
    way = [
        "datasets",
        "info",
        "ingest",
        "coverage",
        "sql",
        "layers",
        "drop",
        "folds",
        "align",
        "train",
        "evaluate",
        "runs",
        "demo",
    ]
    assert set(way) <= set(COMMANDS)


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_purpose_examples_and_fits_the_terminal(command: str, columns: int) -> None:
    text = help_of(command, columns=columns)
    assert f"Usage: affect {command}" in text.replace("Usage: root", "Usage: affect")
    assert "Examples" in text
    assert f"affect {command}" in text.split("Examples")[1] or command == "upgrade"
    assert max(map(len, text.splitlines())) <= columns
    assert "[dim]" not in text
    assert "[bold]" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_no_example_is_broken_across_lines(command: str) -> None:
    shown = help_of(command).split("Examples")[1].strip().splitlines()
    assert all(line.strip()[0] in "$#" for line in shown if line.strip())


def test_every_option_says_what_it_is_for() -> None:
    for name, command in typer.main.get_group(app).commands.items():
        silent = [p.name for p in command.params if not getattr(p, "help", None)]
        assert not silent, f"{name}: {silent}"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from cli.errors import run\n"
        "code = run(['--help'])\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {loaded}' if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, affectdata\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert CliRunner().invoke(app, ["--version"]).output == f"affectdata {version('affectdata')}\n"


def test_defaults_that_help_shows_are_those_of_the_library() -> None:
    from affectdata.faces.align import AlignOptions
    from affectdata.ingest import MAX_REJECTS
    from cli.answers import TERMINAL_ROWS
    from manifests.query import DEFAULT_SOURCES

    def shown(command: str, name: str) -> object:
        return next(p for p in typer.main.get_group(app).commands[command].params if p.name == name).show_default

    options = AlignOptions()
    assert shown("align", "no_face") == options.no_face
    assert shown("align", "max_side") == str(options.max_side)
    assert shown("align", "score") == str(options.score)
    assert shown("align", "batch") == str(options.batch)
    assert shown("align", "device") == options.device
    assert shown("align", "engine") == options.engine
    assert shown("ingest", "max_rejects") == str(MAX_REJECTS)
    assert shown("sql", "sources") == ",".join(DEFAULT_SOURCES)
    assert shown("sql", "rows") == str(TERMINAL_ROWS)
