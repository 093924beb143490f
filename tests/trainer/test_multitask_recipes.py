"""The recipes of SJMT, FaceBehaviorNet and F3R take two steps on a toy lake, thin, and resume bit-exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from affectdata.labels.coannotate import Settings, co_annotate
from affectdata.labels.coannotation import Rule
from affectdata.labels.relatedness import relatedness
from manifests.errors import AffectError
from manifests.lake import Lake
from manifests.vocabulary import AU_SPACES, COMPOUND_SPACES
from trainer.data import prepare
from trainer.fit import Machine, train
from trainer.recipe import Recipe, load, names
from trainer.run import WEIGHTS
from trainer.sampler import order_for

from .conftest import Toy

CPU = Machine("cpu")
PAPERS = ("sjmt", "classical-multitask", "single-", "facebehaviornet", "f3r")
RECIPES = [name for name in names() if name.startswith(PAPERS)]
TRAINED = [name for name in RECIPES if not name.endswith(("-mobilenet", "-resnet", "-resnet110", "-fewshot"))]
"""The others differ by a backbone alone, for which a small one stands here, or begin from one of these."""
RESUMED = ("sjmt-resnet32", "classical-multitask", "single-task", "facebehaviornet-soft-dm", "f3r-student")
"""One of each make-up: joint loss, alternating batches, separate networks, couplings and dropout, frozen norms."""
TEACHERS = ("va", "expr", "au")
DERIVED = ("co-du2014", *(f"teacher-f3r-teacher-{task}" for task in TEACHERS))
SMALL = {
    "cifar_resnet": {"name": "cifar_resnet", "kwargs": {"depth": 8, "width": 2}},
    "vgg_face": {"name": "vgg_face", "kwargs": {"width": 2, "hidden": 8}},
    "feature_pyramid": {"name": "feature_pyramid", "kwargs": {"trunk": "test_resnet", "channels": 4}},
}
"""What stands for a backbone here; for any other, timm's smallest ResNet."""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Pictures with expression and valence-arousal, and pictures with AUs; rules and teachers fill the rest."""
    lake = Lake(tmp_path_factory.mktemp("lake"), create=True)
    faces, units = Toy(count=72), Toy(count=72, seed=1)
    human = faces.labels["human"]
    units.labels["human"] = {name: human[name] for name in human if name.startswith("au")}
    compounds = COMPOUND_SPACES["sjmt8"]
    units.labels["human"]["compound"] = [compounds[int(code)] for code in units.code]
    faces.labels["human"] = {name: human[name] for name in ("expression", "valence", "arousal")}
    for dataset in (faces, units):
        for task, columns in zip(TEACHERS, (("valence", "arousal"), ("expression",), ("au",)), strict=True):
            said = {name: human[name] for name in human if name.startswith(columns) and name != "arousal"}
            dataset.labels[f"teacher-f3r-teacher-{task}"] = said | (
                {"arousal": human["arousal"]} if task == "va" else {}
            )
    faces.publish(lake, "faces")
    units.publish(lake, "units")
    settings = Settings(Rule(relatedness("du2014"), AU_SPACES["fbn17"]), sources=("human",))
    for name in ("faces", "units"):
        co_annotate(lake, name, settings)
    return lake


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pretrained weights of the trunk of a small pyramid, in a file."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", zero_init_last=False).state_dict(), file)
    return str(file)


def thin(name: str, trunk: str, **changes: Any) -> Recipe:
    """The recipe with its parts, on the toy lake: two steps an epoch, two epochs, a thin backbone."""
    recipe = load(name)
    backbone = SMALL.get(recipe.backbone.name, {"name": "test_resnet"})
    if backbone["name"] == "feature_pyramid":
        backbone = {"name": "feature_pyramid", "kwargs": {"trunk": "test_resnet", "channels": 4, "pretrained": trunk}}
    return recipe.replace(
        {
            "datasets": [{"name": "faces"}, {"name": "units"}],
            "alignment": "resize32",
            "sources": ["human", *(source for source in recipe.sources if source in DERIVED)],
            "protocol": {"name": "official"},
            "selection": {"metrics": recipe.selection.metrics},
            "backbone": backbone,
            "train.batch": 48,
            "train.steps": None,
            "train.epochs": 2,
            "train.epoch_share": 1.0,
        }
        | changes
    )


class Killed(Exception):
    """Where the test stops a run."""


def die(line: str) -> None:
    if line.startswith("epoch 1/"):
        raise Killed


@pytest.mark.parametrize("name", TRAINED)
def test_a_recipe_takes_two_steps_with_every_loss_at_work(name: str, mixed: Lake, trunk: str, tmp_path: Path) -> None:
    recipe = thin(name, trunk, **{"train.epochs": 1})
    run = train(recipe, mixed, tmp_path / "run", machine=CPU, say=lambda _: None)
    losses = [task for task in recipe.tasks.names if getattr(recipe.tasks, task).loss != "none"]
    losses += [coupling.name for coupling in recipe.couplings]
    assert losses
    assert all(0 < run.metrics[f"loss_{loss}"].iloc[-1] < 1e3 for loss in losses)


@pytest.mark.parametrize("name", RESUMED)
def test_a_killed_run_resumes_bit_exact(name: str, mixed: Lake, trunk: str, tmp_path: Path) -> None:
    recipe = thin(name, trunk)
    whole = train(recipe, mixed, tmp_path / "whole", machine=CPU, say=lambda _: None)
    with pytest.raises(Killed):
        train(recipe, mixed, tmp_path / "broken", machine=CPU, say=die)
    resumed = train(recipe, mixed, tmp_path / "broken", resume=True, machine=CPU, say=lambda _: None)
    one, other = load_file(whole.path / WEIGHTS), load_file(resumed.path / WEIGHTS)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert whole.metrics.filter(like="loss").equals(resumed.metrics.filter(like="loss"))


def test_the_recipes_are_those_of_the_papers_tables() -> None:
    backbones = ("", "-mobilenet", "-resnet")
    assert set(RECIPES) == {
        *("sjmt-resnet32", "sjmt-resnet110", "sjmt-vgg16", "single-task", "classical-multitask"),
        *("sjmt-compound", "single-compound"),
        *(
            f"facebehaviornet{kind}"
            for kind in ("", "-coannotation", "-soft", "-dm", "-soft-dm", "-va", "-expr", "-au")
        ),
        *("facebehaviornet-fewshot", "facebehaviornet-soft-dm-fewshot"),
        *(f"f3r-teacher-{task}{backbone}" for task in TEACHERS for backbone in backbones),
        *(f"f3r-student{backbone}" for backbone in backbones),
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_is_for_and_whose_experiment_it_is(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.about
    assert recipe.paper


def test_facebehaviornet_s_batch_of_751_is_cut_as_printed(mixed: Lake, trunk: str) -> None:
    recipe = load("facebehaviornet")
    assert (recipe.train.batch, recipe.train.sampler) == (751, "aligned")
    thin_one = thin("facebehaviornet", trunk)
    order = order_for(thin_one, prepare(thin_one, mixed).train)
    assert {len(batch) for batch in order.batches(0)} == {48}


def test_f3r_s_teachers_see_a_quarter_of_the_batches_and_its_student_all() -> None:
    shares = {
        name: load(name).train for name in ("f3r-teacher-va", "f3r-teacher-expr", "f3r-teacher-au", "f3r-student")
    }
    assert [train.epoch_share for train in shares.values()] == [0.25, 0.25, 0.25, 1.0]
    assert [train.epochs for train in shares.values()] == [40, 40, 40, 20]


def test_co_annotation_fills_only_what_is_unknown(mixed: Lake, trunk: str) -> None:
    plain, filled = (
        prepare(thin(name, trunk), mixed).train.targets for name in ("facebehaviornet", "facebehaviornet-coannotation")
    )
    assert plain.au is not None
    assert filled.au is not None
    known = plain.au.mask
    assert torch.equal(filled.au.present[known], plain.au.present[known])
    gained = filled.au.mask & ~known
    assert gained.any()
    assert (filled.au.present[gained] == 1).all(), "an unlisted AU stays unknown, never absent"


def test_a_source_that_nobody_made_is_refused_before_the_first_batch(toy: Lake, trunk: str, tmp_path: Path) -> None:
    recipe = thin("facebehaviornet-coannotation", trunk, datasets=[{"name": "toy"}])
    with pytest.raises(AffectError, match="co-du2014"):
        train(recipe, toy, tmp_path / "run", machine=CPU, say=lambda _: None)
