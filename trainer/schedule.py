"""How long a training is, and its learning rate at every moment of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.settings import Train


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        steps: Steps of the whole training.
        steps_per_epoch: Steps of one epoch; the last epoch may be shorter.
    """

    steps: int
    steps_per_epoch: int

    @classmethod
    def of(cls, train: Train, steps_per_epoch: int) -> Length:
        """The length that a recipe asks for: its steps, or else its epochs."""
        return cls(train.steps or train.epochs * steps_per_epoch, steps_per_epoch)

    @property
    def epochs(self) -> int:
        """Epochs, a last shorter one included."""
        return math.ceil(self.steps / self.steps_per_epoch)


def lr_factor(train: Train, done: float, length: Length) -> float:
    """Learning rate as a share of the highest, when `done` (0 to 1) of the training lies behind.

    `plateau` is constant here: what it takes off depends on the scores, see `plateaus`.
    """
    if done < train.warmup:
        return max(done / train.warmup, 1e-3)
    rest = min(1.0, (done - train.warmup) / max(1e-9, 1 - train.warmup))
    match train.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * rest))
        case "onecycle":
            return 1 - rest
        case "step":
            return float(train.decay.factor ** math.floor(_periods(train, done, length)))
        case "exponential":
            return float(train.decay.factor ** _periods(train, done, length))
        case _:
            return 1.0


def _periods(train: Train, done: float, length: Length) -> float:
    """How often the learning rate has decayed; whole at the very step at which it does."""
    decay = train.decay
    if decay.at:
        return sum(done >= share - 1e-9 for share in decay.at)
    every = decay.every_steps or float(decay.every_epochs or 1) * length.steps_per_epoch
    return round(done * length.steps / every, 9)


def plateaus(scores: Sequence[float], patience: int) -> int:
    """How often the scores of the epochs so far have gone `patience` epochs without a better one.

    After each time the count of epochs begins anew; the best score stays.
    """
    found, best, since = 0, -math.inf, 0
    for score in scores:
        better = score > best
        best, since = (score, 0) if better else (best, since + 1)
        if since >= patience:
            found, since = found + 1, 0
    return found


def without_better(scores: Sequence[float]) -> int:
    """Epochs since the best one; 0 where there is none."""
    return len(scores) - 1 - max(range(len(scores)), key=lambda i: (scores[i], -i)) if scores else 0
