"""What a network has made of its tasks is shown with the numbers that it rests on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from cli.app import app
from manifests.errors import RunError, UnknownNameError
from manifests.lake import Lake
from trainer.au_by_expression import au_by_expression, of_run
from trainer.evaluate import evaluate
from trainer.fit import Machine, train
from trainer.pyramid_levels import level_contributions

from .conftest import MakeRecipe, Toy

RUNNER = CliRunner()


def table_of(*rows: tuple[str | None, str, float, float]) -> pa.Table:
    truth, said, one, two = zip(*rows, strict=True)
    columns: dict[str, Any] = {"expression": pa.array(truth, pa.string()), "expression_predicted": said}
    return pa.table(columns | {"p_au01": one, "p_au12": two})


HAND = table_of(
    ("happiness", "happiness", 0.0, 1.0), (None, "happiness", 0.2, 0.8), ("sadness", "happiness", 0.1, 0.6),
    ("sadness", "sadness", 0.5, 0.0),
)  # fmt: skip
CLASSES = ("happiness", "sadness", "fear")


def test_groups_are_those_of_the_predicted_expression_and_an_empty_one_has_no_mean() -> None:
    found = au_by_expression(HAND, CLASSES, (1, 12), by="predicted")
    np.testing.assert_allclose(found.mean[:2], [[0.1, 0.8], [0.5, 0.0]])
    assert np.isnan(found.mean[2]).all()  # not 0: nobody was seen to be afraid
    assert found.count.tolist() == [3, 1, 0]
    assert list(found.rows())[2] == ("", "fear", 0, None, None)


def test_groups_of_the_true_expression_leave_out_what_is_unknown() -> None:
    found = au_by_expression(HAND, CLASSES, (1, 12), by="true")
    np.testing.assert_allclose(found.mean[:2], [[0.0, 1.0], [0.3, 0.3]])
    assert found.count.tolist() == [1, 2, 0]


@pytest.fixture
def trunk(tmp_path: Path) -> str:
    torch.manual_seed(0)
    file = tmp_path / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", zero_init_last=False).state_dict(), file)
    return str(file)


def test_a_run_shows_its_aus_by_expression_and_its_levels_by_task(
    lake: Lake, recipe: MakeRecipe, trunk: str, tmp_path: Path
) -> None:
    toy = Toy()
    for name in [name for name in toy.labels["human"] if name.startswith("au")]:
        toy.labels["human"][name] = [None if i >= 80 else value for i, value in enumerate(toy.labels["human"][name])]
    toy.publish(lake)  # its reported pictures carry no AU
    pyramid = {"name": "feature_pyramid", "kwargs": {"trunk": "test_resnet", "channels": 4, "pretrained": trunk}}
    chosen = recipe(backbone=pyramid, tasks={"expression": {}, "au": {"set": "disfa12"}}, train__epochs=1)
    run = train(chosen, lake, tmp_path / "runs" / "toy", machine=Machine("cpu"), say=lambda _: None)
    runs = ["--runs", str(tmp_path / "runs")]

    def shown(*words: str) -> str:
        result = RUNNER.invoke(app, ["--lake", str(lake.home), "explain", "toy", *words, *runs])
        assert result.exit_code == 0, result.output
        return result.stdout

    with pytest.raises(RunError, match="no predictions of role test"):
        of_run(run)
    evaluate(run, lake, resamples=0)
    opened = len(run.openings)
    rows = json.loads(shown("au-by-expression", "--json"))
    assert sum(row["n"] for row in rows) == 16
    assert all((row["au01"] is None) == (row["n"] == 0) for row in rows)
    assert "mean AU probability by true expression" in shown("au-by-expression", "--by", "true")
    assert len(run.openings) == opened  # nothing was looked at anew

    found = level_contributions(run, lake, device="cpu")
    assert (found.tasks, found.levels, found.pictures) == (("expression", "au"), ("P2", "P3", "P4", "P5", "pool"), 16)
    np.testing.assert_allclose(found.share.sum(1), 1)
    weights = level_contributions(run, device="cpu")
    assert weights.pictures == 0
    assert not np.allclose(weights.share, found.share)
    lines = shown("pyramid-levels", "--csv").splitlines()
    assert (lines[0], len(lines)) == ("task,P2,P3,P4,P5,pool", 3)


def test_what_a_run_has_not_cannot_be_explained(toy: Lake, recipe: MakeRecipe, tmp_path: Path) -> None:
    chosen = recipe(tasks={"expression": {}}, train__epochs=1)
    run = train(chosen, toy, tmp_path / "runs" / "toy", machine=Machine("cpu"), say=lambda _: None)
    with pytest.raises(RunError, match="expression and au"):
        of_run(run)
    with pytest.raises(RunError, match="backbone test_resnet"):
        level_contributions(run, toy, device="cpu")
    with pytest.raises(UnknownNameError, match="expression to group by"):
        au_by_expression(HAND, CLASSES, (1, 12), by="somebody's")
