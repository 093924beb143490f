"""Two processes train one network as one would."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from manifests.errors import RecipeError
from manifests.lake import Lake
from tests.forks import ended, started
from trainer.fit import Machine, train
from trainer.recipe import load
from trainer.run import Run

from .conftest import MakeRecipe, Toy


def train_on_two(lake: Path, recipe: Path, run: Path) -> None:
    """What each of two processes does."""
    train(load(recipe), Lake(lake), run, machine=Machine("cpu", 2))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.usefixtures("forks")
def test_two_processes_equal_one(lake: Lake, recipe: MakeRecipe, tmp_path: Path) -> None:
    toy = Toy()
    human = toy.labels["human"]
    human["expression"][:40] = [None] * 40  # the processes hold unlike numbers of labels
    for name in [name for name in human if name.startswith("au")][2:]:
        human[name] = [None if i % 3 else value for i, value in enumerate(human[name])]
    toy.publish(lake)
    chosen = recipe(
        tasks={
            **{"expression": {}, "landmarks": {"weight": 0.1}},
            **{"au": {"set": "disfa12", "options": {"reduction": "rows"}}},
        },
        train={
            **{"epochs": 1, "batch": 8, "lr": 0.01, "optimizer": "sgd", "augment": {"flip": True}},
            **{"sampler": "aligned", "sets": ["expression", "toy"]},
        },
        # No batch norm: its statistics are each process's own.
        backbone={"name": "test_vit", "in_chans": 1, "kwargs": {"img_size": 32}},
    )
    (tmp_path / "recipe.yaml").write_text(chosen.to_yaml())
    # As torchrun or SLURM start them: with their rank in the environment.
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    work = (train_on_two, lake.home, tmp_path / "recipe.yaml", tmp_path / "two")
    both = [started(*work, output=tmp_path / f"said{rank}", LOCAL_RANK=str(rank), **place) for rank in (0, 1)]
    said = [(ended(process), (tmp_path / f"said{rank}").read_text()) for rank, process in enumerate(both)]
    assert [code for code, _ in said] == [0, 0], said
    assert [text.count("epoch 1/1") for _, text in said] == [1, 0]  # one process speaks
    two, one = Run(tmp_path / "two"), train(chosen, lake, tmp_path / "one", machine=Machine("cpu"), say=lambda _: None)
    assert two.facts.device == "2 x cpu"
    for name in ("loss", "loss_expression", "loss_au", "loss_landmarks", "score"):
        assert two.metrics[name].iloc[0] == pytest.approx(one.metrics[name].iloc[0], rel=1e-3)


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecipeError, match="1 usable GPUs"):
        _ = Machine("cuda", 2).accelerator
    assert Machine("cpu", 2).accelerator == "cpu"
