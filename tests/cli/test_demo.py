"""The demo is a script of commands that works from end to end, and leaves nothing behind unless asked."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from cli.demo import TWINS, script
from cli.errors import run
from manifests.lake import Lake
from trainer.run import Run

SMALL = ["--minutes", "0.05", "--samples", "60"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small demo that was kept."""
    home = tmp_path_factory.mktemp("demo") / "kept"
    assert run(["demo", *SMALL, "--folder", str(home)]) == 0
    return home


def test_the_demo_leaves_a_lake_with_every_dataset_and_its_crops(kept: Path) -> None:
    lake = Lake(kept / "lake")
    assert lake.datasets() == sorted(TWINS)
    for name in TWINS:
        assert lake.layer(name, "crops/resize48").rows > 0
    assert not [layer for layer in lake.layers() if layer.stale]


def test_the_demo_leaves_a_finished_and_scored_run(kept: Path) -> None:
    found = Run(kept / "runs" / "demo")
    assert found.facts.state == "finished"
    assert found.scores is not None
    assert {one["dataset"] for one in found.scores["datasets"]} == set(TWINS)


def test_what_the_demo_kept_answers_further_commands(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "--runs", str(kept / "runs"), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert line["name"] == "demo"
    assert "synthetic test 1" in line["opened"]


def test_the_demo_refuses_a_folder_that_holds_something(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", *SMALL, "--folder", str(kept)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_demo_that_fails_removes_its_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("cli.demo.script", lambda *_: [["coverage"], ["no-such-command"]])
    assert run(["demo", *SMALL]) == 2
    assert list(tmp_path.iterdir()) == []
    assert "$ affect coverage" in capsys.readouterr().out


def test_the_script_names_every_step_of_the_way() -> None:
    steps = [arguments[0] for arguments in script(Path("home"), 2.0)]
    assert steps[: len(TWINS)] == ["ingest"] * len(TWINS)
    assert steps[len(TWINS) :] == ["coverage", "sql", "align", "layers", "train", "evaluate"]


def test_other_datasets_are_told_what_their_ingest_needs_and_train_only_with_the_three() -> None:
    steps = script(Path("home"), 2.0, {"affwild2": {"edition": "abaw6"}})
    assert steps[0][-2:] == ["--edition", "abaw6"]
    assert [arguments[0] for arguments in steps] == ["ingest", "coverage", "sql", "align", "layers"]


def test_chosen_datasets_are_read_and_aligned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "kept"
    assert run(["demo", "--samples", "60", "--datasets", "w300, menpo", "--folder", str(home)]) == 0
    lake = Lake(home / "lake")
    assert lake.datasets() == ["menpo", "w300"]
    assert lake.layer("w300", "crops/resize48").rows > 0
    assert "Not trained" in capsys.readouterr().out


def test_a_dataset_without_a_synthetic_copy_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--datasets", "rafdb,nobody", "--folder", str(tmp_path / "kept")]) == 2
    assert "nobody" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()
