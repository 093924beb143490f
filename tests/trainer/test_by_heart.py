"""The papers' networks, trained by their recipes' losses, learn 32 faces by heart (methods.md 0.3: U7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.lake import Lake
from trainer.data import prepare
from trainer.learner import Learner
from trainer.loader import batch_at
from trainer.network import network_for, start_at_mean_face
from trainer.schedule import Length
from trainer.targets import Batch

from .conftest import SIDE
from .thin import publish, thin, trunk

FACES, STEPS = 32, 300
VGG_FACE = {"name": "vgg_face", "kwargs": {"width": 8, "hidden": 64, "drop_rate": 0.0}}
BACKBONES: dict[str, dict[str, Any]] = {
    "sjmt-resnet32": {"name": "cifar_resnet", "kwargs": {"depth": 8, "width": 8}},
    "facebehaviornet-coannotation": VGG_FACE,
    "facebehaviornet-soft": VGG_FACE,
    "subtle-laf-ada": {"name": "test_resnet", "stem": "half"},
    "f3r-student": {"name": "feature_pyramid", "kwargs": {"trunk": "test_resnet", "channels": 32}},
}
"""Recipe -> what it learns with: without dropout, which keeps a network from knowing anything by heart. Distribution
matching is not here: it draws the expressions away from labels that contradict its table, as these faces' do."""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return publish(Lake(tmp_path_factory.mktemp("mixed") / "lake", create=True))


def learner_and_faces(name: str, lake: Lake, folder: Path) -> tuple[Learner, Batch]:
    recipe = thin(name, **{"train.augment": {}})
    recipe = recipe.replace({"backbone": BACKBONES[name] | {"in_chans": recipe.backbone.in_chans}})
    if recipe.backbone.name == "feature_pyramid":  # its norms and first stage are frozen
        recipe = recipe.replace({"backbone.kwargs.pretrained": trunk(folder)})
    prepared = prepare(recipe, lake)
    samples = prepared.train
    torch.manual_seed(0)
    network = network_for(recipe, (SIDE, SIDE))
    if samples.targets.landmarks is not None:
        start_at_mean_face(network, samples.targets.landmarks.points)
    learner = Learner(recipe, network, Length(STEPS, STEPS), prepared.selection.targets, samples)
    return learner, batch_at(samples, np.arange(FACES) * len(samples) // FACES)  # of both datasets


@pytest.mark.parametrize("name", BACKBONES)
def test_a_recipe_learns_32_faces_by_heart(name: str, mixed: Lake, tmp_path: Path) -> None:
    learner, faces = learner_and_faces(name, mixed, tmp_path)
    # Other couplings are trained too, but 0 is not where they end: soft targets, norms of weights, a fooled classifier.
    learned = [*learner.losses, *(c for c, coupling in learner.couplings.items() if coupling.trains)]
    optimiser = torch.optim.Adam(learner.parameters(), lr=3e-3)

    def losses(step: int) -> tuple[Tensor, float]:
        """What is trained, and the labels' part of it."""
        learner.elapsed = step / STEPS
        found = learner.step_losses(faces, epoch=0)
        return torch.stack(list(found.values())).sum(), sum(found[one].item() for one in learned)

    first = current = losses(0)[1]
    for step in range(STEPS):
        total, current = losses(step)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        if current < 0.1 * first:
            break
    assert current < 0.1 * first
