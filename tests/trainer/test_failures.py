"""A full disk, no memory, no numbers: one message with the command that goes on, and no half-written run passes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import pytest
import torch

from cli.errors import run
from manifests.errors import RunError, StorageError
from manifests.lake import Lake
from manifests.layer import LayerFacts
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
    done = train(chosen, toy, tmp_path / "full", resume=True, machine=CPU, say=lambda _: None)
    assert done.metrics.equals(whole.metrics)


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
    with pytest.raises(RunError, match=r"needs more memory[\s\S]*affect train .* --set train\.batch=8,") as told:
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
    done = train(recipe(train__epochs=1), toy, run_dir, machine=CPU, say=lambda _: None)
    assert [line.opened for line in runs(run_dir.parent)] == [""]
    for _ in range(2):
        evaluate(done, toy, device="cpu", resamples=0)
    assert [line.opened for line in runs(run_dir.parent)] == ["toy test 2"]


def without_labels(lake: Lake) -> None:
    """The people of this lake have labelled no action unit."""
    table = lake.read("toy", "labels/human")
    aus = [name for name in table.column_names if name.startswith("au")]
    with lake.publish("toy", command="affect ingest toy /data/toy") as step:
        step.write("labels", "human", table.drop_columns(aus), LayerFacts(), ["samples"])


def without_crops(lake: Lake) -> None:
    lake.drop("toy", "crops/resize32")


def with_stale_crops(lake: Lake) -> None:
    """Labels that crops were made from, as a fitted alignment is, were read again."""
    crops, extra = lake.read("toy", "crops/resize32"), lake.layer("toy", "crops/resize32").facts.extra
    facts = LayerFacts(command="affect align toy", extra=extra)
    with lake.publish("toy", command="test") as step:
        step.write("crops", "resize32", crops, facts, ["samples", "labels/human"])
        step.write("labels", "human", lake.read("toy", "labels/human"), LayerFacts(fingerprint="other"), ["samples"])


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong before training, and what is said about it."""

    said: str
    command: str
    written: tuple[str, str] = ("", "")
    """What of the recipe's file is misspelt, and how."""
    harm: Callable[[Lake], None] = lambda _: None
    """What happens to the lake."""


WRONG = {
    "field": Wrong("did you mean epochs?", "affect train --fields", ("epochs:", "epoch:")),
    "value": Wrong("space = 'expr77'", "affect train --fields", ("space: expr7", "space: expr77")),
    "metric": Wrong("did you mean uar or uar_zero?", "selection.metrics", ("- uar", "- uarr")),
    "labels": Wrong("no training sample is labelled for au", "affect coverage", harm=without_labels),
    "no crops": Wrong("unknown crops of toy 'resize32'", "affect align toy --to resize32", harm=without_crops),
    "stale crops": Wrong("crops/resize32 of toy is stale", "make it again (affect align toy)", harm=with_stale_crops),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_before_training_is_one_message_with_the_next_command_and_leaves_no_run(
    toy: Lake, recipe: MakeRecipe, tmp_path: Path, capfd: pytest.CaptureFixture[str], wrong: Wrong
) -> None:
    (tmp_path / "mine.yaml").write_text(recipe().to_yaml().replace(*wrong.written))
    wrong.harm(toy)
    words = ["train", str(tmp_path / "mine.yaml"), "--device", "cpu", "--runs", str(tmp_path / "runs")]
    assert run(["--lake", str(toy.home), *words]) == 2
    error = capfd.readouterr().err
    assert error.startswith("affect: ")
    assert error.count("\n  next:     ") == 1
    assert wrong.said in error
    assert wrong.command in error
    assert "Traceback" not in error
    assert runs(tmp_path / "runs") == []
