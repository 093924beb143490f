"""The order in which a recipe draws its training samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from manifests.errors import RecipeError, UnknownNameError
from trainer.data import Samples, labelled
from trainer.losses.masked import MaskedLoss
from trainer.recipe import Recipe
from trainer.sampling import Order, Pooled, Quotas, Share, Stream, Turns, class_weights
from trainer.targets import Targets


def order_for(recipe: Recipe, samples: Samples, share: Share | None = None) -> Order:
    """The order in which a recipe draws its training samples.

    Args:
        recipe: The experiment.
        samples: What it trains on.
        share: This process's part; `epoch_share` comes from the recipe.

    Raises:
        UnknownNameError: A set that is neither a task nor a dataset of the recipe.
        RecipeError: Classes are to be balanced and there is no expression task; or a set without samples.
    """
    train = recipe.train
    share = replace(share or Share(), epoch_share=train.epoch_share)
    tasks, datasets = recipe.tasks.names, [d.name for d in recipe.datasets]
    weights = None
    match train.sampler:
        case "quota":
            streams = _streams(recipe, samples, tuple(train.quota))
            return Quotas.of_first(streams, tuple(train.quota.values()), train.seed, share)
        case "aligned":
            return Quotas.aligned(_streams(recipe, samples, train.sets or tasks), train.batch, train.seed, share)
        case "alternating":
            return Turns(_streams(recipe, samples, train.sets or datasets), train.batch, train.seed, share)
        case "class_balanced":
            if samples.targets.expression is None:
                raise RecipeError(
                    "train.sampler class_balanced", expected="an expression task, whose classes it balances"
                )
            weights = class_weights(samples.targets.expression.code.numpy())
        case "dataset_balanced":
            weights = class_weights(samples.dataset)
    return Pooled(len(samples), train.batch, train.seed, share, weights)


def check_supply(order: Order, targets: Targets, losses: nn.ModuleDict) -> list[str]:
    """Lines about tasks whose loss gets too few labelled rows in some batches of the first epoch, or in all.

    Args:
        order: One process's; a batch is its part of the global one.
        targets: Labels of the training samples.
        losses: Task -> a `MaskedLoss`.

    Raises:
        RecipeError: No batch has as many as a loss needs: the task would never be learned, and nothing would say so.
    """
    lines = []
    least_of = {task: loss.minimum for task, loss in losses.items() if isinstance(loss, MaskedLoss)}
    for task, least in least_of.items():
        rows = labelled(targets, task).numpy()
        found = np.array([rows[batch].sum() for batch in order.batches(0)])
        enough = int((found >= least).sum())
        if not enough and least > 1:
            raise RecipeError(
                f"the loss of {task} needs {least} labelled rows in a batch",
                found=f"{found.max()} at most, in {len(found)} batches",
                expected=f"train.batch about {math.ceil(least / max(1, found.max()))} times as large",
                then=f"raise train.batch (or train.quota), or lower tasks.{task}.options.minimum",
            )
        if enough < len(found) and (least > 1 or not enough) and not isinstance(order, Turns):
            lines.append(f"{task}: {enough} of {len(found)} batches have the {least} labelled rows that its loss needs")
    return lines


def _streams(recipe: Recipe, samples: Samples, names: Sequence[str]) -> tuple[Stream, ...]:
    datasets = [d.name for d in recipe.datasets]
    streams = []
    for name in names:
        if name in recipe.tasks.names:
            rows = labelled(samples.targets, name).numpy()
        elif name in datasets:
            rows = samples.dataset == datasets.index(name)
        else:
            raise UnknownNameError("task or dataset of the sampler", name, [*recipe.tasks.names, *datasets])
        streams.append(Stream(name, np.flatnonzero(rows)))
    return tuple(streams)
