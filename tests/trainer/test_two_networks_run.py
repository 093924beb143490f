"""Every recipe of CMCNN and of the trace norm trains two steps on a toy lake, thin, and resumes bit-exact."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from manifests.lake import Lake
from manifests.vocabulary import MENTAL_STATES
from tests.trainer.conftest import Toy
from trainer.data import prepare
from trainer.fit import Machine, train
from trainer.learner import Learner
from trainer.loader import TrainLoader
from trainer.network import network_for
from trainer.recipe import Recipe, load, names
from trainer.run import WEIGHTS
from trainer.sampler import order_for
from trainer.schedule import Length

CPU = Machine("cpu")
MINE = ("cmcnn", "hps", "cross-stitch", "ps-mcnn", "basedcnn", "subtle")
RECIPES = [name for name in names() if name.startswith(MINE)]
THIN_DCNN = {"channels": [2, 2, 3, 3, 4, 4], "hidden": {"expression": [6, 5], "landmarks": [6]}}
SIZES = {"resnet18": "test_resnet", "resnet34": "test_resnet", "basedcnn": "basedcnn"}
"""Backbone of a recipe -> what stands for it here."""


@pytest.fixture(scope="module")
def two_datasets(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Faces with every class task, and faces with points alone."""
    lake = Lake(tmp_path_factory.mktemp("two") / "lake", create=True)
    faces, points = Toy(count=48), Toy(count=48, seed=1)
    faces.labels["human"]["mental_state"] = [MENTAL_STATES[int(code)] for code in faces.code]
    for task in ("expression", "valence", "arousal"):
        del points.labels["human"][task]
    faces.publish(lake, "faces")
    return points.publish(lake, "points")


def thin(name: str, **changes: Any) -> Recipe:
    """The recipe with its parts, on the toy lake: two steps an epoch, a thin backbone."""
    recipe = load(name)
    tasks = recipe.tasks
    own = SIZES[recipe.backbone.name]
    metrics = {"mental_state": "mental_state_uar", "expression": "uar", "landmarks": "nme_io"}
    small: dict[str, Any] = {
        "datasets": [{"name": "faces"}, {"name": "points"}],
        "alignment": "resize32",
        "sources": ["human"],
        "protocol": {"name": "official"},
        "selection": {"metrics": metrics[next(task for task in metrics if task in tasks.names)]},
        "backbone": {"name": own, "in_chans": 1, "stem": "half" if own == "test_resnet" else "imagenet"},
        "input": {},
        "train.batch": 32,
        "train.epochs": 2,
        "train.quota": dict.fromkeys(recipe.train.quota, 16),
    }
    small["backbone"]["kwargs"] = THIN_DCNN if own == "basedcnn" else {}
    if name == "cross-stitch":
        small["backbone"]["kwargs"] = THIN_DCNN | {"hidden": {"expression": [6, 5], "landmarks": [6]}}
    if recipe.sharing.scheme == "hps" and recipe.sharing.options.get("layers"):
        small["sharing.options"] = {"layers": 2}
    return recipe.replace(small | changes)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_takes_two_steps_with_finite_losses(name: str, two_datasets: Lake) -> None:
    recipe = thin(name)
    torch.manual_seed(recipe.train.seed)
    prepared = prepare(recipe, two_datasets)
    network = network_for(recipe, prepared.train.shape[:2])
    learner = Learner(recipe, network, Length(4, 2), prepared.selection.targets, prepared.train)
    optimiser = learner.configure_optimizers()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for batch in islice(TrainLoader(prepared.train, order_for(recipe, prepared.train)), 2):
        losses = learner.step_losses(batch, 0)
        assert losses.keys() == {*recipe.tasks.names, *(coupling.name for coupling in recipe.couplings)}
        assert all(bool(loss.isfinite()) for loss in losses.values())
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
    after = network.state_dict()
    assert all(bool(value.isfinite().all()) for value in after.values())
    assert any(not torch.equal(before[key], after[key]) for key in after)


class Killed(Exception):
    """Where the test stops a run."""


@pytest.mark.parametrize("name", ["cmcnn", "subtle-laf-ada"])
def test_a_killed_run_resumes_bit_exact(name: str, two_datasets: Lake, tmp_path: Path) -> None:
    recipe = thin(name)

    def die(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise Killed

    whole = train(recipe, two_datasets, tmp_path / "whole", machine=CPU, say=lambda _: None)
    with pytest.raises(Killed):
        train(recipe, two_datasets, tmp_path / "broken", machine=CPU, say=die)
    resumed = train(recipe, two_datasets, tmp_path / "broken", resume=True, machine=CPU, say=lambda _: None)
    one, other = load_file(whole.path / WEIGHTS), load_file(resumed.path / WEIGHTS)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert whole.metrics.filter(like="loss").equals(resumed.metrics.filter(like="loss"))
