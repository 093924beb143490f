"""What the recipes of the papers say is what the papers print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.errors import AffectError
from manifests.lake import Lake
from trainer.data import prepare
from trainer.fit import Machine, train
from trainer.learner import Learner
from trainer.loader import batch_at
from trainer.network import network_for
from trainer.recipe import load, names
from trainer.sampler import order_for
from trainer.schedule import Length

from .thin import publish, thin


def datasets(name: str) -> list[str]:
    return [choice.name for choice in load(name).datasets]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return publish(Lake(tmp_path_factory.mktemp("mixed") / "lake", create=True))


def test_the_recipes_are_those_of_the_papers_tables() -> None:
    nets, tasks = ("", "-mobilenet", "-resnet"), ("va", "expr", "au")
    kinds = ("", "-coannotation", "-soft", "-dm", "-soft-dm", "-va", "-expr", "-au")
    shared = ("hard6", "hard14", "hard26", "hard32", "cross-stitch", "laf", "tucker", "tt")
    assert {
        *("sjmt-resnet32", "sjmt-resnet110", "sjmt-vgg16", "single-task", "single-task-au", "classical-multitask"),
        *(f"facebehaviornet{kind}" for kind in kinds),
        *("subtle-single", *(f"subtle-{kind}{ada}" for kind in shared for ada in ("", "-ada"))),
        *("cmcnn", "cmcnn-resnet18", "hps", "cross-stitch", "ps-mcnn", "basedcnn-fer", "basedcnn-fld"),
        *(f"f3r-teacher-{task}{net}" for task in tasks for net in nets),
        *(f"f3r-student{net}" for net in nets),
    } <= set(names())


@pytest.mark.parametrize("name", names())
def test_a_recipe_says_what_it_is_for_and_whose_experiment_it_is(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.about
    assert recipe.paper or name in ("demo", "ferplus-baseline", "multitask-baseline", "au-intensity")


@pytest.mark.parametrize("name", [name for name in names() if {"ckplus", "oulucasia"} & set(datasets(name))])
def test_the_classes_of_the_posed_sets_are_those_of_their_papers(name: str) -> None:
    """CK+ has contempt and neither it nor Oulu-CASIA neutral, so that no mean over classes counts one for nothing."""
    expression = load(name).tasks.expression
    assert expression is not None
    six = {"happiness", "sadness", "surprise", "fear", "disgust", "anger"}
    assert set(expression.classes) == (six | {"contempt"} if "ckplus" in datasets(name) else six)


@pytest.mark.parametrize("name", ["cmcnn-transfer", "basedcnn-fer-transfer"])
def test_transfer_is_scored_over_the_six_common_classes(name: str) -> None:
    expression = load(name).tasks.expression
    assert expression is not None
    assert not {"neutral", "contempt"} & set(expression.classes)
    assert len(expression.classes) == 6


def test_facebehaviornet_s_batch_of_751_is_cut_as_printed(mixed: Lake) -> None:
    recipe = load("facebehaviornet")
    assert (recipe.train.batch, recipe.train.sampler) == (751, "aligned")
    thin_one = thin("facebehaviornet")
    order = order_for(thin_one, prepare(thin_one, mixed).train)
    assert {len(batch) for batch in order.batches(0)} == {48}


@pytest.mark.parametrize("scheme", ["hard", "separate"])
def test_a_batch_of_one_dataset_moves_nothing_that_only_the_other_s_tasks_use(mixed: Lake, scheme: str) -> None:
    recipe = thin("classical-multitask", **{"sharing.scheme": scheme, "sources": ["human"]})
    prepared = prepare(recipe, mixed)
    network = network_for(recipe, (32, 32))
    learner = Learner(recipe, network, Length(4, 2), prepared.selection.targets, prepared.train)
    optimizer = learner.configure_optimizers()
    moved = []
    for dataset in (0, 1, 0):
        rows = np.flatnonzero(prepared.train.dataset == dataset)[:16]
        before = {task: [p.clone() for p in network.only_for(task)] for task in recipe.tasks.names}
        torch.stack(list(learner.step_losses(batch_at(prepared.train, rows), 0).values())).sum().backward()
        learner.on_before_optimizer_step(optimizer)
        optimizer.step()
        optimizer.zero_grad()
        same = {t: all(map(torch.equal, network.only_for(t), old)) for t, old in before.items()}
        moved.append({task for task, still in same.items() if not still})
    assert moved == [{"expression"}, {"au"}, {"expression"}]


def test_f3r_s_teachers_see_a_quarter_of_the_batches_and_its_student_all() -> None:
    shares = {
        name: load(name).train for name in ("f3r-teacher-va", "f3r-teacher-expr", "f3r-teacher-au", "f3r-student")
    }
    assert [train.epoch_share for train in shares.values()] == [0.25, 0.25, 0.25, 1.0]
    assert [train.epochs for train in shares.values()] == [40, 40, 40, 20]


def test_co_annotation_fills_only_what_is_unknown(mixed: Lake) -> None:
    plain, filled = (
        prepare(thin(name), mixed).train.targets for name in ("facebehaviornet", "facebehaviornet-coannotation")
    )
    assert plain.au is not None
    assert filled.au is not None
    known = plain.au.mask
    assert torch.equal(filled.au.present[known], plain.au.present[known])
    gained = filled.au.mask & ~known
    assert gained.any()
    assert (filled.au.present[gained] == 1).all(), "an unlisted AU stays unknown, never absent"


@pytest.mark.parametrize(
    ("name", "divisor"), [("facebehaviornet", "rows"), ("facebehaviornet-coannotation", "weighted_rows")]
)
def test_co_annotated_aus_are_divided_by_their_weights(name: str, divisor: str) -> None:
    au = load(name).tasks.au
    assert au is not None
    assert au.options == {"reduction": divisor}


def test_a_source_that_nobody_made_is_refused_before_the_first_batch(toy: Lake, tmp_path: Path) -> None:
    recipe = thin("facebehaviornet-coannotation", datasets=[{"name": "toy"}])
    with pytest.raises(AffectError, match="co-du2014"):
        train(recipe, toy, tmp_path / "run", machine=Machine("cpu"), say=lambda _: None)
