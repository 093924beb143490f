"""A full disk, no memory, no numbers: one message with the command that goes on, and no half-written run passes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch

from manifests.errors import RunError, StorageError
from manifests.lake import Lake
from trainer.callbacks import Keeper
from trainer.evaluate import evaluate
from trainer.fit import Machine, train
from trainer.learner import Learner
from trainer.run import Run, runs

from .conftest import MakeRecipe

CPU = Machine("cpu")


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def cut_short(_: L.Trainer, path: Path) -> None:
    """What is on the disk when it fills up in the middle of a file."""
    Path(path).write_bytes(b"half")
    full()


@pytest.mark.parametrize(
    ("where", "what", "refuse"),
    [(L.Trainer, "save_checkpoint", cut_short), (Path, "write_bytes", full), (Keeper, "_save_weights", full)],
    ids=["state", "weights", "anywhere"],
)
def test_a_full_disk_in_the_second_epoch_costs_that_epoch_alone(
    toy: Lake,
    recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    what: str,
    refuse: Callable[..., None],
) -> None:
    chosen = recipe(train__lr=0.01, selection__metrics=["uar", "p_va"])
    whole = train(chosen, toy, tmp_path / "whole", machine=CPU, say=lambda _: None)
    assert whole.facts.best_epoch == 1  # so that weights are written in the second epoch
    real = Learner.on_train_epoch_start

    def fill_up(self: Learner) -> None:
        real(self)
        if self.current_epoch == 1:
            monkeypatch.setattr(where, what, refuse)

    monkeypatch.setattr(Learner, "on_train_epoch_start", fill_up)
    with pytest.raises(StorageError, match=r"no space left[\s\S]*free space, then affect train .* --resume"):
        train(chosen, toy, tmp_path / "full", machine=CPU, say=lambda _: None)
    monkeypatch.undo()
    with pytest.raises(RunError, match="not finished"):
        Run(tmp_path / "full")
    run = train(chosen, toy, tmp_path / "full", resume=True, machine=CPU, say=lambda _: None)
    assert run.metrics.equals(whole.metrics)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
    ids=["device", "machine", "python"],
)
def test_the_end_of_memory_is_told_with_a_smaller_batch(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def starving(*_: object) -> None:
        raise error

    monkeypatch.setattr(Learner, "step_losses", starving)
    with pytest.raises(RunError, match=r"needs more memory[\s\S]*train\.batch=8 .*another --run") as told:
        train(recipe(), toy, run_dir, machine=CPU, say=lambda _: None)
    assert "\n  found:    " in str(told.value)
    assert [line.state for line in runs(run_dir.parent)] == ["training"]


def test_another_error_of_the_run_stays_as_it_is(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("ours to mend")

    monkeypatch.setattr(Learner, "step_losses", broken)
    with pytest.raises(RuntimeError, match="ours to mend"):
        train(recipe(), toy, run_dir, machine=CPU, say=lambda _: None)


def test_the_list_of_runs_says_how_often_a_role_was_opened(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    run = train(recipe(train__epochs=1), toy, run_dir, machine=CPU, say=lambda _: None)
    assert [line.opened for line in runs(run_dir.parent)] == [""]
    for _ in range(2):
        evaluate(run, toy, device="cpu", resamples=0)
    assert [line.opened for line in runs(run_dir.parent)] == ["toy test 2"]
