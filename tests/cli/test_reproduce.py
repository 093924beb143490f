"""`affect reproduce` trains what is missing, keeps what is there, mixes no settings, and leaves unknown cells blank."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.errors import run
from manifests.lake import Lake
from trainer.reproduction.workshop import Painting
from trainer.run import Run

SMALL = ["--steps", "2", "--samples", "60", "--device", "cpu", "--set", "backbone.kwargs={depth: 8, width: 2}"]
ROWS = ["--only", "sjmt-r32", "--only", "single-r32"]
FEW = ["--seeds", "1,2", "--resamples", "50"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of SJMT's table with two seeds, two steps each."""
    home = tmp_path_factory.mktemp("reproduce") / "here"
    assert run(["reproduce", "sjmt", *SMALL, *ROWS, *FEW, "--folder", str(home)]) == 0
    return home


def say(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capfd.readouterr()
    found = run(["reproduce", *arguments])
    said = capfd.readouterr()
    assert found == code, said.err
    return said.out if code == 0 else said.err


def table(capfd: pytest.CaptureFixture[str], folder: Path, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        say(capfd, "sjmt", *SMALL, *FEW, "--table", "--json", "--folder", str(folder), *more)
    )
    return found


def cells(tree: dict[str, Any], column: int = 0) -> dict[str, Any]:
    return {row["row"]: row for row in tree["columns"][column]["rows"]}


def test_the_list_fits_a_terminal_and_says_the_same_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    text = say(capfd, "--list")
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for one in json.loads(say(capfd, "--list", "--json")):
        assert f"{one['paper']} --data {one['data']}" in flat
        assert one["rows"] in flat
        assert " ".join(one["about"].split()) in flat


def test_each_run_is_an_ordinary_run_and_its_scores_are_those_of_the_table(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tree = table(capfd, folder)
    row = cells(tree)["sjmt-r32"]
    for seed in (1, 2):
        kept = Run(folder / "runs" / f"sjmt-sjmt-r32-{seed}")
        assert kept.recipe.train.seed == seed
        assert kept.recipe.train.steps == 2
        assert kept.scores is not None
        (scored,) = kept.scores["datasets"]
        top1 = next(r["value"] for r in scored["results"] if r["name"] == "top1")
        assert row["ours"]["seeds"][str(seed)] == pytest.approx(100 * top1)
    assert row["ours"]["mean"] == pytest.approx(sum(row["ours"]["seeds"].values()) / 2)
    assert row["ours"]["low"] <= row["ours"]["mean"] <= row["ours"]["high"]
    assert row["printed"] == {"sfew": 40.6}


def test_a_row_without_runs_is_blank_and_takes_part_in_no_order(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tree = table(capfd, folder)
    assert cells(tree)["classical-r32"]["ours"] is None
    assert cells(tree)["vgg16"]["ours"] is None
    assert tree["missing"]["classical-r32"] == [1, 2]
    assert "vgg16" not in tree["missing"], "it is printed only"
    pairs = [{pair["better"], pair["worse"]} for pair in tree["columns"][0]["orders"]["sfew"]]
    assert pairs == [{"sjmt-r32", "single-r32"}]


def test_nothing_that_is_there_is_done_again(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    again = ["sjmt", *SMALL, *ROWS, "--folder", str(folder), "--dry-run"]
    assert say(capfd, *again, "--seeds", "1,2") == ""
    more = say(capfd, *again, "--seeds", "1,2,3").splitlines()
    assert [line.split()[3] for line in more] == ["train", "evaluate"] * 3  # the single row has a run for each task
    assert all("-3 " in line for line in more)


def test_an_interrupted_run_goes_on_and_a_lost_one_is_missing(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, symlinks=True)
    facts = copy / "runs" / "sjmt-sjmt-r32-1" / "facts.json"
    facts.write_text(facts.read_text().replace('"state": "finished"', '"state": "training"'))
    shutil.rmtree(copy / "runs" / "sjmt-single-r32-au-2")
    (copy / "runs" / "sjmt-single-r32-expression-1" / "scores.json").unlink()
    tree = table(capfd, copy)
    assert tree["missing"]["sjmt-r32"] == [1]
    assert tree["missing"]["single-r32"] == [1, 2]
    assert list(cells(tree)["sjmt-r32"]["ours"]["seeds"]) == ["2"]
    plan = say(capfd, "sjmt", *SMALL, *ROWS, *FEW, "--folder", str(copy), "--dry-run").splitlines()
    assert "--resume" in next(line for line in plan if "train" in line and "sjmt-r32-1" in line)
    assert [line.split()[3] for line in plan if "single-r32" in line] == ["evaluate", "train", "evaluate"]


def test_runs_of_other_settings_are_refused_before_anything_runs(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = say(capfd, "sjmt", *SMALL, "--steps", "3", *ROWS, *FEW, "--folder", str(folder), code=2)
    assert "train.steps 2" in said
    assert "train.steps 3" in said
    assert Run(folder / "runs" / "sjmt-sjmt-r32-1").recipe.train.steps == 2


def test_the_page_says_what_differs_from_the_paper(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    text = say(capfd, "sjmt", *SMALL, *FEW, "--table", "--folder", str(folder), "--markdown", str(page))
    for shown in (text, page.read_text()):
        assert "train.steps 80000 -> 2" in shown
        assert "1 of 1 pairs" in shown or "0 of 1 pairs" in shown
        assert "SJMT, ResNet-110 (seed 1, 2)" in shown
    assert "| SJMT, ResNet-32 |" in page.read_text()


def test_another_domain_is_scored_on_people_that_no_run_has_seen(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, symlinks=True)
    Painting(copy / "data" / "synthetic-dim", 60, 2, "dim").paint()
    lake = ["--lake", str(copy / "lake")]
    assert run([*lake, "ingest", "synthetic", str(copy / "data" / "synthetic-dim"), "--name", "synthetic-dim",
                "--max-rejects", "1"]) == 0  # fmt: skip
    assert run([*lake, "align", "synthetic-dim", "--to", "resize48", "--detector", "whole", "--gray"]) == 0
    place = copy / "runs" / "sjmt-sjmt-r32-1"
    assert (
        run([*lake, "evaluate", str(place), "-d", "synthetic", "-d", "synthetic-dim:official", "--resamples", "0"]) == 0
    )
    kept = Run(place)
    assert kept.scores is not None
    own, other = kept.scores["datasets"]
    assert (own["protocol"], other["dataset"], other["protocol"]) == ("sjmt", "synthetic-dim", "official")
    assert (other["role"], other["copies"], other["seen"], other["trained"]) == ("test", 0, 0, 0)
    scored = {name.split("/")[1] for name in kept.predictions("synthetic-dim", "test")["sample_id"].to_pylist()}
    assert scored <= {"d003", "d008"}, "people of its test split"
    assert not scored & {name.split("/")[1] for name in kept.samples["sample_id"].to_pylist()}


def test_the_lake_holds_what_a_person_would_have_made(folder: Path) -> None:
    lake = Lake(folder / "lake")
    assert lake.has("synthetic", "labels/derived-sjmt")
    assert not [layer.key for layer in lake.layers() if layer.stale]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["sjtm"], "did you mean sjmt"),
        (["sjmt", "--data", "fre"], "unknown data"),
        (["sjmt", "--seeds", "1,x"], "--seeds"),
        (["sjmt", "--only", "sjmt-r23", "--dry-run"], "did you mean"),
        (["sjmt", "--only", "vgg16", "--dry-run"], "printed only"),
        (["sjmt", "--with", "fer2013"], "NAME=PATH"),
        (["sjmt", "--table", "--folder", "no-such-folder"], "nothing is in no-such-folder"),
        (["f3r", "--data", "fer", "--dry-run"], "--with fer2013=PATH"),
        (["sjmt", "--set", "train.stepz=3", "--dry-run"], "stepz"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(
    arguments: list[str], error: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert error in say(capfd, *arguments, code=2)
