"""One training step, one optimiser, one score per epoch: what Lightning runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainer.augment import Augmenter, normalised, with_channels
from trainer.data import Samples
from trainer.losses.balance import spaces
from trainer.losses.coupling import Step, Term
from trainer.losses.masked import Labels, MaskedLoss
from trainer.network import couplings_for, losses_for
from trainer.networks.heads import WhitenedLinear
from trainer.networks.sharing import TaskNetwork, attached
from trainer.optimizer import LR_SCALE, optimizer_for
from trainer.predictions import Predictions
from trainer.recipe import Recipe
from trainer.schedule import Length, lr_factor
from trainer.scoring import score, selection_score
from trainer.targets import Batch, Targets

Part = tuple[Predictions, npt.NDArray[np.int64]]
"""Predictions of one batch and the positions of its samples."""


class Learner(L.LightningModule):  # type: ignore[misc]  # lightning ships no types that mypy follows
    """A network that answers every task, trained on whatever labels a batch holds.

    Args:
        recipe: The experiment.
        network: See `TaskNetwork`.
        length: Of the whole training, for the schedule.
        truth: Labels of the selection samples, in their order.
        trained: The training samples, whose labels losses may count.
    """

    def __init__(
        self, recipe: Recipe, network: TaskNetwork, length: Length, truth: Targets, trained: Samples | None = None
    ) -> None:
        super().__init__()
        self.recipe, self.network, self.length, self.truth = recipe, network, length, truth
        self.averaged = _frozen_copy(network) if recipe.train.ema else None
        self._count(trained)
        self.couplings = nn.ModuleDict(couplings_for(recipe, network))
        self.weight = {task: getattr(recipe.tasks, task).weight for task in recipe.tasks.names}
        self.weight |= {c.name: c.weight for c in recipe.couplings}
        self.from_epoch = {c.name: c.from_epoch for c in recipe.couplings}
        aus = recipe.tasks.au.aus if recipe.tasks.au else ()
        own = {number: d.augment for number, d in enumerate(recipe.datasets) if d.augment is not None}
        self.augment = Augmenter(recipe.train.augment, recipe.train.seed, aus, recipe.input.mean, own)
        self.elapsed = 0.0
        """Share of `max_minutes` that has passed; the clock sets it."""
        self.lr = 0.0
        """Learning rate of the last step."""
        self.lowered = 1.0
        """What plateaus have left of the learning rate; the keeper sets it."""
        self.pictures = 0
        """Pictures trained on in this epoch, over all processes."""
        self._sums: dict[str, Tensor] = {}
        self._notes: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}
        self._row: dict[str, float] = {}
        self._steps = 0
        self._parts: list[Part] = []
        self._idle: list[str] = []
        """Tasks without a label in the last batch of any process, where batches take turns."""

    def _count(self, trained: Samples | None) -> None:
        """Build the losses, and note how many outputs each dataset annotates."""
        self.spaces: dict[str, Tensor] = {}
        counted: dict[str, Labels] | None = None
        if trained is not None:
            counted = {s.task: labels_of(trained.targets, s.task, s.kind) for s in self.network.specs}
            dataset, count = torch.from_numpy(trained.dataset), len(self.recipe.datasets)
            self.spaces = {task: spaces(labels, dataset, count) for task, labels in counted.items()}
        self.losses = nn.ModuleDict(losses_for(self.recipe.tasks, counted))

    @property
    def scored(self) -> nn.Module:
        """The network whose weights are scored and kept: the average where there is one."""
        return self.network if self.averaged is None else self.averaged

    def images(self, batch: Batch) -> Tensor:
        """Pictures as the network takes them, without augmentation: float32 [B, C, H, W]."""
        return normalised(with_channels(batch.pixels, self.recipe.backbone.in_chans), self.recipe.input)

    def step_losses(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Weighted loss of each task and coupling on an augmented batch; an exact 0 where nothing is labelled.

        Of several processes each scales its loss by its share of what the loss counts, so that DDP's mean of gradients
        is the gradient of the whole batch's mean. That holds for every reduction, and for couplings that say what they
        count; `ccc` correlates within each process's part of the batch.
        """
        step = self._step(batch, epoch)
        # In bfloat16 1 - 1e-6 is 1: a coupling's log(1 - q) would be infinite.
        with torch.autocast(batch.dataset.device.type, enabled=False):
            losses = {task: loss(*self._compared(task, step)) for task, loss in self.losses.items()}
            terms = {name: self._term(name, step, epoch) for name in self.couplings}
        counts = [cast(MaskedLoss, loss).count(step.labels[task]) for task, loss in self.losses.items()]
        for name, term in terms.items():
            losses[name] = term.loss
            counts.append(torch.ones_like(term.loss) if term.count is None else term.count)
            self._notes |= {f"{name}_{note}": value.detach() for note, value in term.notes.items()}
        shares = count_shares(counts)
        return {name: loss * share for (name, loss), share in zip(losses.items(), shares, strict=True)}

    def _step(self, batch: Batch, epoch: int) -> Step:
        pixels = with_channels(batch.pixels, self.recipe.backbone.in_chans)
        pixels, targets = self.augment(pixels, batch, epoch)
        images = normalised(pixels, self.recipe.input)
        labels = {spec.task: labels_of(targets, spec.task, spec.kind) for spec in self.network.specs}
        for task, sizes in self.spaces.items():
            space = sizes.to(batch.dataset.device, non_blocking=True)[batch.dataset]
            labels[task] = replace(labels[task], space=space)
        rows = {task: one.mask.reshape(len(batch), -1).any(1) for task, one in labels.items()}
        self._idle = self._unlabelled(rows)
        outputs = self.network(images, rows) if self.network.selective else self.network(images)
        return Step(outputs, labels, rows, batch.dataset, self.network, self.done)

    def _unlabelled(self, rows: Mapping[str, Tensor]) -> list[str]:
        if self.recipe.train.sampler != "alternating" or self.couplings:
            return []
        labelled = torch.stack([mine.any() for mine in rows.values()]).float()
        if _distributed():
            torch.distributed.all_reduce(labelled)
        return [task for task, some in zip(rows, labelled.tolist(), strict=True) if not some]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:  # noqa: ARG002  # Lightning's signature
        """Leave alone what only tasks of other turns use: with a gradient of 0 momentum and decay would move it."""
        for task in self._idle:
            for parameter in self.network.only_for(task):
                parameter.grad = None

    def _compared(self, task: str, step: Step) -> tuple[Tensor, Labels]:
        """Outputs and labels of a task in the unit in which its loss compares them."""
        outputs, labels, layer = step.outputs[task], step.labels[task], self.network.last_layer(task)
        if not isinstance(layer, WhitenedLinear):
            return outputs, labels
        return layer.whitened(outputs), replace(labels, target=layer.whitened(labels.target))

    def _term(self, name: str, step: Step, epoch: int) -> Term:
        coupling = self.couplings[name]
        if epoch < self.from_epoch[name]:
            return Term(attached(torch.zeros((), device=step.dataset.device), [coupling]))
        term: Term = coupling(step)
        return term

    @property
    def done(self) -> float:
        """Share of the training that lies behind, 0 to 1: of the steps, or of the time where that is ahead."""
        return min(1.0, max(float(self.global_step) / self.length.steps, self.elapsed))

    def on_train_epoch_start(self) -> None:
        # Dropout and the like draw from (seed, epoch, process), so that a resumed run draws what a whole one draws.
        torch.manual_seed((self.recipe.train.seed << 32) + (self.current_epoch << 8) + self.global_rank)
        self._sums, self._steps, self.pictures = {}, 0, 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002  # Lightning's signature
        self._notes = {}
        losses = self.step_losses(batch, self.current_epoch)
        self._last = {name: loss.detach() for name, loss in losses.items()}
        total = torch.stack([self.weight[name] * loss for name, loss in losses.items()]).sum()
        values = {f"loss_{name}": loss for name, loss in self._last.items()} | self._notes | {"loss": total.detach()}
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        self.pictures += len(batch) * self.trainer.world_size
        self.log("loss", total, logger=True, on_step=True, on_epoch=False, batch_size=len(batch))
        return total

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002  # Lightning's signature
        train = self.recipe.train
        self.lr = train.lr * self.lowered * lr_factor(train, self.done, self.length)
        for group in self.optimizers(use_pl_optimizer=False).param_groups:
            group["lr"] = self.lr * group[LR_SCALE]

    def follow(self) -> None:
        """Move the average, where there is one, towards the weights after a step."""
        if self.averaged is not None:
            decay = min(self.recipe.train.ema, (1 + self.global_step) / (10 + self.global_step))
            _follow(self.averaged, self.network, decay)

    def progress(self) -> dict[str, Any]:
        """What this process has summed up of its epoch, and its random numbers; for `go_on`."""
        device = self.device.type == "cuda"
        return {
            "sums": {name: value.cpu() for name, value in self._sums.items()},
            "steps": self._steps,
            "pictures": self.pictures,
            "random": torch.get_rng_state(),
            "device_random": torch.cuda.get_rng_state(self.device) if device else None,
        }

    def go_on(self, progress: Mapping[str, Any]) -> None:
        """Go on in the middle of an epoch."""
        self._sums = {name: value.to(self.device) for name, value in progress["sums"].items()}
        self._steps, self.pictures = progress["steps"], progress["pictures"]
        torch.set_rng_state(progress["random"].cpu())
        if progress["device_random"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(progress["device_random"].cpu(), self.device)

    def last_losses(self) -> dict[str, float]:
        """Losses of the last step, per task."""
        return {task: float(loss) for task, loss in self._last.items()}

    def validation_step(self, batch: Batch, batch_idx: int) -> Mapping[str, Tensor]:  # noqa: ARG002  # as above
        outputs: Mapping[str, Tensor] = self.scored(self.images(batch))
        self._parts.append((Predictions.of(outputs), batch.index.cpu().numpy()))
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Score the selection samples and fill the row of this epoch."""
        parts, self._parts = gathered(self._parts), []
        predictions = Predictions.joined([p for p, _ in parts], np.concatenate([index for _, index in parts]))
        results = score(self.recipe.tasks, predictions, self.truth, self.recipe.selection.metrics)
        row = {name: float(self.trainer.strategy.reduce(v / self._steps)) for name, v in self._sums.items()}
        row |= {result.name: result.value for result in results}
        row["score"] = selection_score(results, self.recipe.selection.metrics)
        self._row = row
        self.log_dict({f"epoch/{name}": value for name, value in row.items()}, sync_dist=False, rank_zero_only=True)

    def epoch_row(self) -> dict[str, float]:
        """Mean losses, selection metrics, their sum `score`, and the last learning rate of this epoch."""
        return {**self._row, "lr": self.lr}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser, over the network and the couplings."""
        ours = ((f"couplings.{name}", p) for name, p in self.couplings.named_parameters())
        return optimizer_for(self.recipe.train, [*self.network.named_parameters(), *ours])


def labels_of(targets: Targets, task: str, kind: str = "") -> Labels:
    """Targets of one task as its loss takes them: [B] or [B, C] for classes, [B, J] elsewhere.

    Args:
        targets: Of a batch.
        task: One of its tasks.
        kind: Kind of the head's outputs; classes as `binary` cells are known where they were offered.
    """
    if task in ("expression", "compound", "mental_state") and (e := getattr(targets, task)) is not None:
        if kind != "binary" and not e.probs.shape[1]:
            return Labels(e.code, e.mask, e.weight, e.offered)
        target = torch.nn.functional.one_hot(e.code.clamp(min=0), e.offered.shape[1]).float()
        if e.probs.shape[1]:
            target = torch.where(e.probs.sum(1, keepdim=True) > 0, e.probs, target)
        if kind == "binary":
            known = e.mask[:, None] & e.offered
            return Labels(target, known, e.weight[:, None].expand_as(known))
        return Labels(target, e.mask, e.weight, e.offered)
    if task == "va" and (va := targets.va) is not None:
        return Labels(va.values, va.mask, va.weight[:, None].expand(-1, 2))
    if task == "au" and (au := targets.au) is not None:
        return Labels(au.present, au.mask, au.weight)
    if task == "au_intensity" and (rated := targets.au_intensity) is not None:
        return Labels(rated.values, rated.mask, rated.weight)
    if task == "landmarks" and (points := targets.landmarks) is not None:
        mask = points.mask.repeat_interleave(2, 1)
        return Labels(points.points.flatten(1), mask, points.weight[:, None].expand_as(mask))
    raise KeyError(task)


def count_shares(counts: Sequence[Tensor]) -> Tensor | list[float]:
    """Per loss, what this process counted over the mean of all processes; 1 where there is one process."""
    if not _distributed():
        return [1.0] * len(counts)
    mine = torch.stack([count.float() for count in counts])
    every = mine.clone()
    torch.distributed.all_reduce(every)
    return mine * torch.distributed.get_world_size() / every.clamp(min=1)


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
