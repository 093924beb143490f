"""How much each level of a feature pyramid contributes to each task: Fig. 4 of He et al. 2021 (methods.md 5.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch
from torch import Tensor

from manifests.errors import RunError
from manifests.lake import Lake
from trainer.augment import normalised, with_channels
from trainer.calibrate import selection_samples
from trainer.evaluate import load_network
from trainer.failures import looking_failures
from trainer.fit import SCORE_BATCH, Machine
from trainer.loader import ScoreLoader
from trainer.networks.feature_pyramid import FeaturePyramid, level_contribution
from trainer.networks.sharing import TaskNetwork, features_of
from trainer.run import Run


@dataclass(frozen=True)
class LevelContributions:
    """T tasks by L levels.

    Attributes:
        tasks, levels: Names of rows and columns, levels from the finest to the coarsest.
        share: float64 [T, L], rows sum to 1.
        pictures: How many pictures the features are a mean over; 0: weights alone.
    """

    tasks: tuple[str, ...]
    levels: tuple[str, ...]
    share: npt.NDArray[np.float64]
    pictures: int

    def rows(self) -> list[tuple[object, ...]]:
        """Task, then a share per level."""
        return [(task, *share) for task, share in zip(self.tasks, self.share.tolist(), strict=True)]


def level_contributions(run: Run, lake: Lake | None = None, *, device: str = "auto") -> LevelContributions:
    """The share of each level in the outputs of each task.

    Args:
        run: A run whose heads read the levels of a pyramid side by side.
        lake: Where the samples lie that chose the run's epoch: features are a mean over them, and no reported role is
            opened. None: weights alone.
        device: auto, cpu or cuda.

    Raises:
        RunError: The run has no feature pyramid, or heads that do not read its levels directly.
        RunError: None of the samples that chose its epoch is left, or out of memory.
    """
    accelerator = Machine(device=device).accelerator
    with looking_failures(run.name, SCORE_BATCH, accelerator):
        network = load_network(run).to(accelerator)
    pyramids = [module for module in network.modules() if isinstance(module, FeaturePyramid)]
    if not pyramids or not isinstance(network, TaskNetwork):
        raise RunError(
            f"pyramid levels of run {run.name}",
            found=f"backbone {run.recipe.backbone.name}",
            expected="backbone feature_pyramid, such as f3r-student",
        )
    pyramid, tasks = pyramids[0], tuple(spec.task for spec in network.specs)
    weights = {task: network.last_layer(task).weight.cpu() for task in tasks}
    wrong = [task for task, weight in weights.items() if weight.shape[1] != pyramid.num_features]
    if wrong:
        raise RunError(
            f"pyramid levels of run {run.name}",
            found=f"a head of {', '.join(wrong)} that reads something else",
            expected="heads that read the pooled levels themselves",
        )
    means, pictures = {task: torch.ones(1, pyramid.num_features) for task in tasks}, 0
    if lake is not None:
        with looking_failures(run.name, SCORE_BATCH, accelerator):
            means, pictures = _mean_features(run, lake, network, accelerator)
    rows = [level_contribution(weights[task], means[task], len(pyramid.levels)).double().numpy() for task in tasks]
    return LevelContributions(tasks, pyramid.levels, np.stack(rows), pictures)


@torch.inference_mode()
def _mean_features(run: Run, lake: Lake, network: TaskNetwork, device: str) -> tuple[dict[str, Tensor], int]:
    """Mean absolute features that each task's head reads, [1, F], and over how many pictures."""
    recipe, sums, count = run.recipe, dict[str, Tensor](), 0
    chose = run.samples.filter(pc.field("role") == "selection")
    for dataset in sorted(set(chose["dataset"].to_pylist())):
        samples = selection_samples(run, lake, dataset)
        for batch in ScoreLoader(samples, SCORE_BATCH, pin=False) if len(samples) else ():
            pixels = with_channels(batch.pixels.to(device), recipe.backbone.in_chans)
            outputs = network(normalised(pixels, recipe.input))
            for spec in network.specs:
                said = features_of(outputs, spec.task).abs().double().sum(0, keepdim=True).cpu()
                sums[spec.task] = sums[spec.task] + said if spec.task in sums else said
            count += len(batch)
    if not count:
        raise RunError(f"run {run.name}: no sample that chose its epoch is left in the lake", then="--weights-only")
    return {task: (total / count).float() for task, total in sums.items()}, count
