"""The optimiser of a recipe, and which parameters it treats apart."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from manifests.errors import RecipeError
from trainer.settings import Group, Train

LR_SCALE = "lr_scale"
"""Where a parameter group keeps its share of the learning rate."""


def optimizer_for(train: Train, parameters: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    """The recipe's optimiser; norms and biases (vectors) do not decay.

    Args:
        train: The recipe's settings.
        parameters: Names, such as `backbone.network.conv1.weight` or `couplings.<name>.weight`, and parameters; those
            that need no gradient are left alone.

    Raises:
        RecipeError: A group that matches no parameter, or nothing that can be trained.
    """
    named = [(name, p) for name, p in parameters if p.requires_grad]
    if not named:
        raise RecipeError("a network without a parameter to train", then="leave some layer of it unfrozen")
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    matched: set[str] = set()
    for name, parameter in named:
        group = next((g for g in train.groups if fnmatchcase(name, g.match)), None)
        if group is not None:
            matched.add(group.match)
        scale, decay = _treatment(train, group, parameter)
        key = groups.setdefault((scale, decay), {"params": [], "weight_decay": decay, LR_SCALE: scale})
        key["params"].append(parameter)
    for choice in train.groups:
        if choice.match not in matched:
            raise RecipeError(
                f"train.groups: no parameter of its own for {choice.match!r}",
                found=f"parameters such as {', '.join(name for name, _ in named[:: max(1, len(named) // 6)])}",
                expected="a pattern that matches some that no earlier group takes",
            )
    return _made(train, list(groups.values()))


def _treatment(train: Train, group: Group | None, parameter: nn.Parameter) -> tuple[float, float]:
    decay = train.weight_decay if group is None or group.weight_decay is None else group.weight_decay
    return 1.0 if group is None else group.lr_scale, decay if parameter.ndim > 1 else 0.0


def _made(train: Train, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    match train.optimizer:
        case "sgd":
            nesterov = train.nesterov and train.momentum > 0
            return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=nesterov)
        case "adam":
            return torch.optim.Adam(groups, lr=train.lr, betas=train.betas, eps=train.eps)
        case "adamw":
            return torch.optim.AdamW(groups, lr=train.lr, betas=train.betas, eps=train.eps)
