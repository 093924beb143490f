"""One training step, one optimiser, one score per epoch: what Lightning runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainer.augment import Augmenter, normalised, with_channels
from trainer.losses.masked import Labels
from trainer.network import losses_for
from trainer.predictions import Predictions
from trainer.recipe import Recipe
from trainer.scoring import score, selection_score
from trainer.settings import Train
from trainer.targets import Batch, Targets

Part = tuple[Predictions, npt.NDArray[np.int64]]
"""Predictions of one batch and the positions of its samples."""


class Learner(L.LightningModule):  # type: ignore[misc]  # lightning ships no types that mypy follows
    """A network with one head per task, trained on whatever labels a batch holds.

    Args:
        recipe: The experiment.
        network: float32 [B, C, H, W] to one output [B, J] per task.
        total_steps: Steps of the whole training, for the schedule.
        truth: Labels of the selection samples, in their order.
    """

    def __init__(self, recipe: Recipe, network: nn.Module, total_steps: int, truth: Targets) -> None:
        super().__init__()
        self.recipe, self.network, self.total_steps, self.truth = recipe, network, total_steps, truth
        self.averaged = _frozen_copy(network) if recipe.train.ema else None
        chosen = {task: getattr(recipe.tasks, task) for task in recipe.tasks.names}
        self.losses = nn.ModuleDict(losses_for(recipe.tasks))
        self.loss_weight = {task: c.weight for task, c in chosen.items()}
        aus = recipe.tasks.au.aus if recipe.tasks.au else ()
        self.augment = Augmenter(recipe.train.augment, recipe.train.seed, aus, recipe.input.mean)
        self.elapsed = 0.0
        """Share of `max_minutes` that has passed; the clock sets it."""
        self.pictures = 0
        """Pictures trained on in this epoch, over all processes."""
        self._sums: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}
        self._row: dict[str, float] = {}
        self._steps = 0
        self._parts: list[Part] = []

    @property
    def scored(self) -> nn.Module:
        """The network whose weights are scored and kept: the average where there is one."""
        return self.network if self.averaged is None else self.averaged

    def images(self, batch: Batch) -> Tensor:
        """Pictures as the network takes them, without augmentation: float32 [B, C, H, W]."""
        return normalised(with_channels(batch.pixels, self.recipe.backbone.in_chans), self.recipe.input)

    def step_losses(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Loss of each task on an augmented batch; an exact 0 where the batch has no label of the task.

        Of several processes each scales its loss by its share of the labels, so that DDP's mean of gradients is the
        gradient of the whole batch's mean. That holds for the reductions `cells` and, where rows are labelled alike
        densely, `rows`; `ccc` correlates within each process's part of the batch.
        """
        pixels = with_channels(batch.pixels, self.recipe.backbone.in_chans)
        pixels, targets = self.augment(pixels, batch, epoch)
        outputs = self.network(normalised(pixels, self.recipe.input))
        labels = {task: labels_of(targets, task) for task in self.losses}
        share = label_shares([one.mask for one in labels.values()])
        return {
            task: loss(outputs[task], labels[task]) * part
            for (task, loss), part in zip(self.losses.items(), share, strict=True)
        }

    def on_train_epoch_start(self) -> None:
        # Dropout and the like draw from (seed, epoch, process), so that a resumed run draws what a whole one draws.
        torch.manual_seed((self.recipe.train.seed << 32) + (self.current_epoch << 8) + self.global_rank)
        self._sums, self._steps, self.pictures = {}, 0, 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002  # Lightning's signature
        losses = self.step_losses(batch, self.current_epoch)
        self._last = {task: loss.detach() for task, loss in losses.items()}
        total = torch.stack([self.loss_weight[task] * loss for task, loss in losses.items()]).sum()
        for task, loss in {**self._last, "loss": total.detach()}.items():
            self._sums[task] = self._sums[task] + loss if task in self._sums else loss
        self._steps += 1
        self.pictures += len(batch) * self.trainer.world_size
        self.log("loss", total, logger=True, on_step=True, on_epoch=False, batch_size=len(batch))
        return total

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002  # Lightning's signature
        done = max(self.global_step / self.total_steps, self.elapsed)
        for group in self.optimizers(use_pl_optimizer=False).param_groups:
            group["lr"] = self.recipe.train.lr * lr_factor(self.recipe.train, done)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002  # as above
        if self.averaged is not None:
            _follow(
                self.averaged,
                self.network,
                min(self.recipe.train.ema, (1 + self.global_step) / (10 + self.global_step)),
            )

    def last_losses(self) -> dict[str, float]:
        """Losses of the last step, per task."""
        return {task: float(loss) for task, loss in self._last.items()}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002  # Lightning's signature
        self._parts.append((Predictions.of(self.scored(self.images(batch))), batch.index.cpu().numpy()))

    def on_validation_epoch_end(self) -> None:
        """Score the selection samples and fill the row of this epoch."""
        parts, self._parts = gathered(self._parts), []
        predictions = Predictions.joined([p for p, _ in parts], np.concatenate([index for _, index in parts]))
        results = score(self.recipe.tasks, predictions, self.truth)
        means = {name: self.trainer.strategy.reduce(value / self._steps) for name, value in self._sums.items()}
        row = {name if name == "loss" else f"loss_{name}": float(value) for name, value in means.items()}
        row |= {result.name: result.value for result in results}
        row["score"] = selection_score(results, self.recipe.selection.metrics)
        self._row = row
        self.log_dict({f"epoch/{name}": value for name, value in row.items()}, sync_dist=False, rank_zero_only=True)

    def epoch_row(self) -> dict[str, float]:
        """Mean losses, selection metrics, their sum `score`, and the last learning rate of this epoch."""
        lr = self.optimizers(use_pl_optimizer=False).param_groups[0]["lr"]
        return {**self._row, "lr": float(lr)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser; norms and biases (vectors) do not decay."""
        train = self.recipe.train
        trained = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": train.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        if train.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=train.lr, momentum=0.9, nesterov=True)
        return torch.optim.AdamW(groups, lr=train.lr)


def labels_of(targets: Targets, task: str) -> Labels:
    """Targets of one task as its loss takes them: [B] or [B, C] for classes, [B, J] elsewhere."""
    if task == "expression" and (e := targets.expression) is not None:
        if not e.probs.shape[1]:
            return Labels(e.code, e.mask, e.weight, e.offered)
        hard = torch.nn.functional.one_hot(e.code.clamp(min=0), e.offered.shape[1]).float()
        soft = torch.where(e.probs.sum(1, keepdim=True) > 0, e.probs, hard)
        return Labels(soft, e.mask, e.weight, e.offered)
    if task == "va" and (va := targets.va) is not None:
        return Labels(va.values, va.mask, va.weight[:, None].expand(-1, 2))
    if task == "au" and (au := targets.au) is not None:
        return Labels(au.present, au.mask, au.weight)
    if task == "landmarks" and (points := targets.landmarks) is not None:
        mask = points.mask.repeat_interleave(2, 1)
        return Labels(points.points.flatten(1), mask, points.weight[:, None].expand_as(mask))
    raise KeyError(task)


def label_shares(masks: Sequence[Tensor]) -> Tensor | list[float]:
    """Per task, this process's labelled cells over the mean of all processes; 1 where there is one process."""
    if not _distributed():
        return [1.0] * len(masks)
    mine = torch.stack([mask.sum() for mask in masks]).float()
    every = mine.clone()
    torch.distributed.all_reduce(every)
    return mine * torch.distributed.get_world_size() / every.clamp(min=1)


def lr_factor(train: Train, done: float) -> float:
    """Learning rate as a share of the highest, when `done` (0 to 1) of the training lies behind."""
    if done < train.warmup:
        return max(done / train.warmup, 1e-3)
    rest = min(1.0, (done - train.warmup) / max(1e-9, 1 - train.warmup))
    if train.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    return 1 - rest if train.schedule == "onecycle" else 1.0


def gathered(parts: list[Part]) -> list[Part]:
    """The parts of all processes of a distributed run; of this one where there is only one."""
    if not _distributed():
        return parts
    everyone: list[list[Part]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(everyone, parts)
    return [part for one in everyone for part in one]


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _frozen_copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).requires_grad_(False).eval()


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards the network; buffers (norm statistics) are copied."""
    current: Mapping[str, Tensor] = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])
