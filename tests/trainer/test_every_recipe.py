"""Every recipe takes its steps with every loss at work, and ends bit for bit alike however it is interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from manifests.errors import RunStoppedError
from manifests.lake import Lake
from trainer import fit
from trainer.data import Prepared, prepare
from trainer.fit import Machine
from trainer.learner import Learner
from trainer.recipe import Recipe, names
from trainer.run import RESUME, Run
from trainer.targets import Batch

from .thin import publish, thin, trunk


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return publish(Lake(tmp_path_factory.mktemp("mixed") / "lake", create=True))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    return trunk(tmp_path_factory.mktemp("weights"))


class Killed(Exception):
    """Where the test ends a run without a warning."""


@dataclass
class Trial:
    """Runs of one recipe on samples that are prepared once."""

    recipe: Recipe
    lake: Lake
    prepared: Prepared
    folder: Path
    patch: pytest.MonkeyPatch

    def train(self, name: str, *, resume: bool = False, **hooks: Any) -> tuple[Run, dict[str, Any]]:
        """A run to its end, and the state in which it and the random numbers are then."""
        with self.patch.context() as patch:
            patch.setattr(fit, "prepare", lambda *_: self.prepared)
            for hook, function in hooks.items():
                patch.setattr(Learner, hook, function)
            run = fit.train(
                self.recipe,
                self.lake,
                self.folder / name,
                resume=resume,
                machine=Machine("cpu"),
                say=lambda _: None,
            )
        return run, state(run.path) | {"random": torch.get_rng_state()}


def state(path: Path) -> dict[str, Any]:
    """What a run's resume state holds, without how long it took."""
    saved = torch.load(path / RESUME, weights_only=True)
    for callback in saved["callbacks"].values():
        for clock in ("seconds", "train_seconds"):
            callback.pop(clock, None)
    return {key: saved[key] for key in ("state_dict", "optimizer_states", "callbacks", "epoch", "global_step")}


def differing(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two trees of tensors and plain values are not bit for bit alike."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differing(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for at, pair in enumerate(zip(one, other, strict=True)):
            yield from differing(*pair, f"{where}/{at}")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one, other):
            yield where
    elif one != other:
        yield where


training_step = Learner.training_step


def stop_in_the_first_step(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
    """As SLURM stops a run: it finishes the step and saves itself in the middle of the epoch."""
    os.kill(os.getpid(), signal.SIGTERM)
    return training_step(self, batch, batch_idx)


def die_in_the_second_epoch(self: Learner, batch: Batch, batch_idx: int) -> torch.Tensor:
    """As the end of power: what the second epoch has done so far is lost."""
    if self.current_epoch == 1 and batch_idx == 1:
        raise Killed
    return training_step(self, batch, batch_idx)


READ = {"datasets", "alignment", "sources", "protocol", "selection", "tasks", "keep_copies"}
"""Fields of a recipe on which its samples depend: recipes that agree in them share what is read."""


@pytest.fixture(scope="module")
def samples() -> dict[str, Prepared]:
    return {}


@pytest.fixture(scope="module", params=names())
def trial(
    request: pytest.FixtureRequest,
    mixed: Lake,
    pretrained: str,
    samples: dict[str, Prepared],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trial]:
    recipe = thin(request.param, pretrained)
    asked = recipe.model_dump_json(include=READ)
    if asked not in samples:
        samples[asked] = prepare(recipe, mixed)
    with pytest.MonkeyPatch.context() as patch:
        yield Trial(recipe, mixed, samples[asked], tmp_path_factory.mktemp(request.param), patch)


Ended = tuple[Run, dict[str, Any]]


@pytest.fixture(scope="module")
def whole(trial: Trial) -> Ended:
    """The run that nobody interrupts, and how it ended."""
    return trial.train("whole")


def test_a_recipe_takes_two_steps_with_every_loss_at_work(trial: Trial, whole: Ended) -> None:
    tasks = trial.recipe.tasks
    losses = [task for task in tasks.names if getattr(tasks, task).loss != "none"]
    losses += [coupling.name for coupling in trial.recipe.couplings]
    run, ended = whole
    assert losses
    assert ended["global_step"] >= 2
    assert all(0 < value < 1e3 for loss in losses for value in run.metrics[f"loss_{loss}"])


def test_a_run_that_is_stopped_and_then_killed_ends_bit_for_bit_as_one_that_is_not(trial: Trial, whole: Ended) -> None:
    with pytest.raises(RunStoppedError, match="after step 1"):
        trial.train("broken", training_step=stop_in_the_first_step)
    first = state(trial.folder / "broken")
    assert first["global_step"] == 1
    with pytest.raises(Killed):
        trial.train("broken", resume=True, training_step=die_in_the_second_epoch)
    assert 1 < state(trial.folder / "broken")["global_step"] < whole[1]["global_step"]
    run, ended = trial.train("broken", resume=True)
    assert list(differing(whole[1], ended)) == []
    assert run.metrics.equals(whole[0].metrics)
    assert list(differing(first["state_dict"], ended["state_dict"])), "training changed nothing"
