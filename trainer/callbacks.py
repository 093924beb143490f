"""What happens around the loop: the clock, the log of epochs, keeping the best weights, progress on the screen."""

# ruff: noqa: ARG002  # Lightning fixes the signatures of its hooks

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import save
from torch import Tensor

from manifests.errors import RunError
from trainer.learner import Learner
from trainer.metrics.registry import DEFAULTS
from trainer.run import METRICS, RESUME, WEIGHTS, another, update_facts, write_text
from trainer.schedule import plateaus, without_better
from trainer.settings import Train
from trainer.targets import Batch

_CHECK_EVERY = 50
"""Steps between looks at the loss: each look waits for the device."""


class Clock(L.Callback):  # type: ignore[misc]  # lightning ships no types that mypy follows
    """Counts the time of training, over resumes too, and stops it after `max_minutes` or its last step."""

    def __init__(self, max_minutes: float | None, steps: int) -> None:
        self.limit = None if max_minutes is None else 60 * max_minutes
        self.steps = steps
        self.before, self.began = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training and validation so far."""
        return self.before + time.monotonic() - self.began

    def on_train_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        self.began = time.monotonic()
        self._stop_if_over(trainer)  # a run that was killed after its last step

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Learner, batch: Batch, batch_idx: int) -> None:
        if self.limit is not None:
            # All processes of a distributed run follow the first one's clock, or their learning rates would part.
            pl_module.elapsed = trainer.strategy.broadcast(self.seconds / self.limit)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Learner, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._stop_if_over(trainer)

    def _stop_if_over(self, trainer: L.Trainer) -> None:
        over = self.limit is not None and trainer.strategy.broadcast(self.seconds >= self.limit)
        if over or trainer.global_step >= self.steps:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.before = state_dict["seconds"]


class Divergence(L.Callback):  # type: ignore[misc]  # as above
    """Ends a run whose losses or predictions are no numbers any more, before they are scored and kept.

    Args:
        path: The run folder, for the message.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Learner, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        last = trainer.is_last_batch
        if (trainer.global_step % _CHECK_EVERY == 0 or last) and not torch.isfinite(outputs["loss"]):
            losses = ", ".join(f"{task} {value:.3g}" for task, value in pl_module.last_losses().items())
            self._end(trainer, pl_module, f"losses: {losses}", "finite losses")

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Learner,
        outputs: Mapping[str, Tensor],
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # The last step may ruin a network whose loss was still finite.
        ruined = [task for task in pl_module.recipe.tasks.names if not torch.isfinite(outputs[task]).all()]
        if ruined:
            found = f"predictions that are no numbers: {', '.join(ruined)}"
            self._end(trainer, pl_module, found, "finite predictions")

    def _end(self, trainer: L.Trainer, learner: Learner, found: str, expected: str) -> None:
        raise RunError(
            f"training diverged in epoch {trainer.current_epoch + 1}, step {trainer.global_step}",
            found=found,
            expected=expected,
            then=f"{another(self.path, f'train.lr={learner.recipe.train.lr / 10:g}', 'train.clip=1')}; "
            "if it diverges again, raise train.warmup",
        )


class Average(L.Callback):  # type: ignore[misc]  # as above
    """Moves the average of the weights after each step, before anything is saved."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Learner, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        pl_module.follow()


class Keeper(L.Callback):  # type: ignore[misc]  # as above
    """After each epoch: a row in metrics.csv, the best weights, and the state from which to resume.

    The rows and the best score travel in the resume state, so that a resumed run's files equal an unbroken one's.
    """

    def __init__(self, path: Path, clock: Clock, train: Train) -> None:
        self.path, self.clock, self.settings = path, clock, train
        self.rows: list[dict[str, float]] = []
        self.best_score, self.best_epoch = float("-inf"), -1
        self.pictures, self.train_seconds, self.epoch_began = 0, 0.0, 0.0
        self.counted, self.lowered = 0, 1.0

    def on_train_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        self._stop_without_hope(trainer)  # a run that was killed after its last epoch
        pl_module.lowered, self.epoch_began = self.lowered, time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        self.counted = 0
        self.epoch_began = time.monotonic()
        if self.settings.schedule == "plateau":
            decay = self.settings.decay
            self.lowered = decay.factor ** plateaus(self.scores, decay.patience)
        pl_module.lowered = self.lowered

    @property
    def scores(self) -> list[float]:
        """The selection score of each epoch so far."""
        return [row["score"] for row in self.rows]

    def _stop_without_hope(self, trainer: L.Trainer) -> None:
        patience = self.settings.patience
        if patience is not None and without_better(self.scores) >= patience:
            trainer.should_stop = True

    def on_validation_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        self.count(pl_module)

    def count(self, learner: Learner) -> None:
        """Add the time and the pictures since the last count."""
        now = time.monotonic()
        self.train_seconds, self.epoch_began = self.train_seconds + now - self.epoch_began, now
        self.pictures, self.counted = self.pictures + learner.pictures - self.counted, learner.pictures

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Learner) -> None:
        row = {"epoch": float(trainer.current_epoch), **pl_module.epoch_row()}
        self.rows.append(row)
        better = row["score"] > self.best_score or not self.rows[:-1]
        if better:
            self.best_score, self.best_epoch = row["score"], trainer.current_epoch
        if trainer.is_global_zero:
            write_text(self.path / METRICS, pd.DataFrame(self.rows).to_csv(index=False))
            if better:
                self._save_weights(pl_module)
        self.save_state(trainer)
        if trainer.is_global_zero:
            update_facts(self.path, epochs=len(self.rows), best_epoch=self.best_epoch, best_score=self.best_score)
        self._stop_without_hope(trainer)

    def _save_weights(self, learner: Learner) -> None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in learner.scored.state_dict().items()}
        fresh = self.path / f"{WEIGHTS}.new"
        # Not `save_file`: what the disk refuses would come back as an error of its own kind.
        fresh.write_bytes(save(weights, metadata={"recipe": learner.recipe.name}))
        fresh.replace(self.path / WEIGHTS)

    def save_state(self, trainer: L.Trainer) -> None:
        """Write what `--resume` needs, whole or not at all."""
        fresh = self.path / f"{RESUME}.new"
        trainer.save_checkpoint(fresh)
        if trainer.is_global_zero:
            os.replace(fresh, self.path / RESUME)  # noqa: PTH105  # Path.replace is the same call
        trainer.strategy.barrier("last.ckpt")

    @property
    def images_per_second(self) -> float:
        """Training pictures per second of this process's group, validation left out."""
        return self.pictures / self.train_seconds if self.train_seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "pictures": self.pictures,
            "counted": self.counted,
            "lowered": self.lowered,
            "train_seconds": self.train_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)


class Screen(L.Callback):  # type: ignore[misc]  # as above
    """A progress bar with images per second; where the output is no terminal, one line per epoch."""

    def __init__(self, keeper: Keeper, say: Callable[[str], None]) -> None:
        self.keeper, self.say = keeper, say
        self.bar: Progress | None = None
        self.task: Any = None
        self.began, self.seen = 0.0, 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        self.began, self.seen = time.monotonic(), 0
        console = Console()
        if trainer.is_global_zero and console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self.bar = Progress(*columns, TextColumn("{task.fields[speed]:,.0f} images/s"), transient=True)
            self.bar.start()
            name = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.task = self.bar.add_task(name, total=trainer.num_training_batches, speed=0.0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Learner, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.seen += len(batch) * trainer.world_size
        if self.bar is not None:
            speed = self.seen / max(1e-9, time.monotonic() - self.began)
            self.bar.update(self.task, completed=batch_idx + 1, speed=speed)

    def on_validation_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        self._close()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Learner) -> None:
        self._close()
        if trainer.is_global_zero:
            row = self.keeper.rows[-1]
            primary = [names[0] for task, names in DEFAULTS.items() if f"loss_{task}" in row]
            primary = [name for name in primary if not math.isnan(row[name])]  # no truth among the selection samples
            names = dict.fromkeys(("loss", *pl_module.recipe.selection.metrics, *primary))
            shown = " ".join(f"{name} {row[name]:.3f}" for name in names)
            star = " *" if self.keeper.best_epoch == trainer.current_epoch else ""
            speed = f"{self.keeper.images_per_second:,.0f} images/s"
            self.say(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {shown}, {speed}{star}")

    def on_exception(self, trainer: L.Trainer, pl_module: Learner, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
