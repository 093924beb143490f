"""A run that is told to go saves itself between two steps, and goes on as if it had never been told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from manifests.errors import RunStoppedError
from manifests.lake import Lake
from trainer.data import prepare
from trainer.fit import Machine, train
from trainer.learner import Learner
from trainer.run import Run
from trainer.sampler import order_for

from .conftest import MakeRecipe

CPU = Machine("cpu")
DROPOUT = {"name": "test_resnet", "in_chans": 1, "kwargs": {"drop_rate": 0.3}}
AUGMENT = {"flip": True, "shift": 0.1}


def told(monkeypatch: pytest.MonkeyPatch, number: signal.Signals, epoch: int, step: int) -> None:
    """Send ourselves a signal in a step of an epoch, once."""
    real, sent = Learner.training_step, []

    def step_and_signal(self: Learner, batch: object, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == (epoch, step) and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return real(self, batch, batch_idx)  # type: ignore[arg-type]  # a Batch

    monkeypatch.setattr(Learner, "training_step", step_and_signal)


@pytest.mark.parametrize(
    ("number", "epoch", "step", "settings"),
    [
        (signal.SIGUSR1, 1, 1, {"ema": 0.9}),
        (signal.SIGTERM, 0, 0, {"sampler": "class_balanced", "optimizer": "sgd"}),
        (signal.SIGUSR1, 1, 3, {"sampler": "quota", "quota": {"au": 10, "toy": 6}}),
    ],
)
def test_a_stopped_run_goes_on_in_the_middle_of_its_epoch(
    toy: Lake,
    recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    epoch: int,
    step: int,
    settings: dict[str, object],
) -> None:
    chosen = recipe(backbone=DROPOUT, train={"epochs": 3, "batch": 16, "lr": 0.003, "augment": AUGMENT, **settings})
    whole = train(chosen, toy, tmp_path / "whole", machine=CPU, say=lambda _: None)
    before = [signal.getsignal(n) for n in (signal.SIGUSR1, signal.SIGTERM)]
    told(monkeypatch, number, epoch, step)
    with pytest.raises(RunStoppedError, match=rf"after step {step + 1} of .* epoch {epoch + 1}\n.*--resume"):
        train(chosen, toy, tmp_path / "stopped", machine=CPU, say=lambda _: None)
    assert [signal.getsignal(n) for n in (signal.SIGUSR1, signal.SIGTERM)] == before
    assert Run(tmp_path / "stopped", finished=False).facts.state == "training"
    steps = torch.load(tmp_path / "stopped/last.ckpt", weights_only=True)["global_step"]
    assert steps == epoch * len(order_for(chosen, prepare(chosen, toy).train)) + step + 1
    run = train(chosen, toy, tmp_path / "stopped", resume=True, machine=CPU, say=lambda _: None)
    assert run.metrics.equals(whole.metrics)
    assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_a_run_told_in_the_last_step_of_an_epoch_ends_it_first_and_one_that_is_over_finishes(
    toy: Lake, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe(), toy, tmp_path / "whole", machine=CPU, say=lambda _: None)
    with monkeypatch.context() as patch:
        told(patch, signal.SIGTERM, 0, 3)
        with pytest.raises(RunStoppedError, match="at the end of epoch 1"):
            train(recipe(), toy, tmp_path / "stopped", machine=CPU, say=lambda _: None)
        assert len(Run(tmp_path / "stopped", finished=False).metrics) == 1
    run = train(recipe(), toy, tmp_path / "stopped", resume=True, machine=CPU, say=lambda _: None)
    assert run.metrics.equals(whole.metrics)
    told(monkeypatch, signal.SIGTERM, 1, 3)
    assert train(recipe(), toy, tmp_path / "over", machine=CPU, say=lambda _: None).facts.state == "finished"
