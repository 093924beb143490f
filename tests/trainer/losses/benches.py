"""What couplings are built for and given, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from trainer.losses.coupling import Bench, Step
from trainer.losses.masked import Labels
from trainer.networks.heads import HeadSpec
from trainer.networks.sharing import TaskNetwork


class Heads(nn.Module):
    """A network that is its heads alone."""

    def __init__(self, specs: tuple[HeadSpec, ...]) -> None:
        super().__init__()
        self.specs = specs


def bench(*heads: HeadSpec, datasets: tuple[str, ...] = ("toy",)) -> Bench:
    """A bench for a network with these heads."""
    return Bench(cast(TaskNetwork, Heads(heads)), datasets)


def step(outputs: Mapping[str, Tensor], labels: Mapping[str, Labels], dataset: Tensor | None = None) -> Step:
    """A step in the middle of training."""
    count = len(next(iter(outputs.values())))
    rows = {task: one.mask.reshape(count, -1).any(1) for task, one in labels.items()}
    where = torch.zeros(count, dtype=torch.int64) if dataset is None else dataset
    return Step(outputs, labels, rows, where, cast(TaskNetwork, Heads(())), 0.5)
