"""A run that is asked to go saves itself between two steps, and goes on there as if nothing had been."""

# ruff: noqa: ARG002  # Lightning fixes the signatures of its hooks

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import lightning as L
import torch

from manifests.errors import RunStoppedError
from trainer.callbacks import Keeper
from trainer.learner import Learner
from trainer.run import RECIPE
from trainer.targets import Batch

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What SLURM sends before it takes a machine away; SIGUSR1 with `--signal=USR1@120`."""

AGREE_EVERY = 10
"""Steps between the moments at which several processes ask each other whether one of them was told to go."""


class Preemption(L.Callback):  # type: ignore[misc]  # lightning ships no types that mypy follows
    """On SIGTERM or SIGUSR1: finish the step, save, and end with `RunStoppedError`; has to be the last callback.

    What one epoch has summed up so far and the state of the random numbers, of each process, travel in the resume
    state: a run that goes on in the middle of an epoch equals one that was never stopped.
    """

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.asked = ""
        self.progress: list[dict[str, Any]] = []
        self._handlers: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: Learner) -> None:
        if threading.current_thread() is threading.main_thread():
            # After Lightning has set its own, which it puts back at the end of the training.
            self._handlers = {number: signal.signal(number, self._ask) for number in SIGNALS}
        if self.progress:
            # The loader starts when the first batch is asked for.
            trainer.train_dataloader.start = trainer.fit_loop.epoch_loop.batch_progress.current.ready
            pl_module.go_on(self.progress[min(trainer.global_rank, len(self.progress) - 1)])
            self.progress = []

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = signal.Signals(number).name

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Learner, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if trainer.is_last_batch or trainer.should_stop or not self._agreed(trainer, batch_idx):
            return  # the end of the epoch saves by itself
        mine = pl_module.progress()
        self.progress = [mine]
        if trainer.world_size > 1:
            self.progress = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(self.progress, mine)
        self.keeper.count(pl_module)
        self.keeper.save_state(trainer)
        self._leave(trainer, f"after step {batch_idx + 1:,} of {trainer.num_training_batches:,} of")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Learner) -> None:
        over = trainer.should_stop or trainer.current_epoch + 1 >= trainer.max_epochs
        if not over and self._agreed(trainer, 0):
            self._leave(trainer, "at the end of")

    def _agreed(self, trainer: L.Trainer, step: int) -> bool:
        if trainer.world_size == 1:
            return bool(self.asked)
        return step % AGREE_EVERY == 0 and trainer.strategy.reduce_boolean_decision(bool(self.asked), all=False)

    def _leave(self, trainer: L.Trainer, where: str) -> None:
        path = self.keeper.path
        raise RunStoppedError(
            f"run {path.name} was asked to stop ({self.asked or 'another process'})",
            found=f"saved {where} epoch {trainer.current_epoch + 1}",
            then=f"affect train {path / RECIPE} --run {path.name} --resume goes on there",
        )

    def teardown(self, trainer: L.Trainer, pl_module: Learner, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def state_dict(self) -> dict[str, Any]:
        return {"progress": self.progress}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.progress = state_dict["progress"]
