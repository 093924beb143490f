"""Two processes train one network as one would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from manifests.errors import RecipeError
from manifests.lake import Lake
from trainer.fit import Machine, train
from trainer.run import Run

from .conftest import MakeRecipe, Toy

SCRIPT = """
import sys
from pathlib import Path

import torch

from manifests.lake import Lake
from trainer.fit import Machine, train
from trainer.recipe import load

if __name__ == "__main__":
    torch.set_num_threads(1)
    lake, recipe, run = sys.argv[1:]
    train(load(recipe), Lake(lake), Path(run), machine=Machine("cpu", 2))
"""


def test_two_processes_equal_one(lake: Lake, recipe: MakeRecipe, tmp_path: Path) -> None:
    toy = Toy()
    toy.labels["human"]["expression"][:40] = [None] * 40  # the processes hold unlike numbers of labels
    toy.publish(lake)
    chosen = recipe(
        tasks={"expression": {}, "landmarks": {"weight": 0.1}},
        train={
            **{"epochs": 1, "batch": 8, "lr": 0.01, "optimizer": "sgd", "augment": {"flip": True}},
            **{"sampler": "aligned", "sets": ["expression", "toy"]},
        },
        # No batch norm: its statistics are each process's own.
        backbone={"name": "test_vit", "in_chans": 1, "kwargs": {"img_size": 32}},
    )
    (tmp_path / "recipe.yaml").write_text(chosen.to_yaml())
    (tmp_path / "two.py").write_text(SCRIPT)
    arguments = [sys.executable, str(tmp_path / "two.py"), str(lake.home), str(tmp_path / "recipe.yaml")]
    done = subprocess.run(
        [*arguments, str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("epoch 1/1") == 1  # one process speaks
    two, one = Run(tmp_path / "two"), train(chosen, lake, tmp_path / "one", machine=Machine("cpu"), say=lambda _: None)
    assert two.facts.device == "2 x cpu"
    for name in ("loss", "loss_expression", "loss_landmarks", "score"):
        assert two.metrics[name].iloc[0] == pytest.approx(one.metrics[name].iloc[0], rel=1e-3)


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecipeError, match="1 usable GPUs"):
        _ = Machine("cuda", 2).accelerator
    assert Machine("cpu", 2).accelerator == "cpu"
