"""Unknown stays unknown on the way from the lake to the loss: it moves no gradient, whatever stands there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.errors import RecipeError
from manifests.lake import Lake
from manifests.vocabulary import EXPRESSION_SPACES, au_column
from trainer.data import prepare
from trainer.labels import targets_of
from trainer.learner import Learner
from trainer.loader import batch_at
from trainer.network import network_for
from trainer.recipe import Recipe
from trainer.schedule import Length
from trainer.targets import Batch, Targets
from trainer.tasks import AuTask, ExpressionTask, Tasks

from .conftest import MakeRecipe, Toy


def gappy() -> Toy:
    """Half of every task's labels are gone, each task's own half, and half of one sample's AUs and points."""
    toy = Toy()
    random = np.random.default_rng(1)
    for column, values in toy.labels["human"].items():
        hide = random.random(toy.count) < 0.5
        toy.labels["human"][column] = [None if h else v for h, v in zip(hide, values, strict=True)]
    for i, points in enumerate(toy.labels["human"]["landmarks"]):
        if points is not None and i % 3 == 0:
            toy.labels["human"]["landmarks"][i] = [None if j < 40 else v for j, v in enumerate(points)]
    toy.labels["human"]["arousal"] = [
        None if v is None else a
        for v, a in zip(toy.labels["human"]["valence"], Toy().labels["human"]["arousal"], strict=True)
    ]
    return toy


def gradients(recipe: Recipe, batch: Batch) -> list[Tensor]:
    """Gradient of every parameter after the training step that Lightning would run."""
    torch.manual_seed(0)
    network = network_for(recipe, (32, 32))
    learner = Learner(recipe, network, Length(10, 10), batch.targets)
    losses = learner.step_losses(batch, epoch=0)
    torch.stack([learner.weight[task] * loss for task, loss in losses.items()]).sum().backward()
    return [torch.zeros(0) if p.grad is None else p.grad.clone() for p in network.parameters()]


def spoilt(targets: Targets, value: float, code: int) -> Targets:
    """The targets with something else in every unknown cell, without making it known."""
    va, au, points, expression = targets.va, targets.au, targets.landmarks, targets.expression
    assert va is not None
    assert au is not None
    assert points is not None
    assert expression is not None
    noise = torch.where(expression.mask[:, None], expression.probs, torch.full_like(expression.probs, value))
    offered = torch.where(expression.mask[:, None], expression.offered, torch.zeros_like(expression.offered))
    return Targets(
        replace(
            expression,
            code=torch.where(expression.mask, expression.code, code),
            probs=noise,
            offered=offered,
            weight=torch.where(expression.mask, expression.weight, value),
        ),
        replace(va, values=torch.where(va.mask, va.values, torch.nan if np.isnan(value) else torch.inf)),
        replace(
            au,
            present=torch.where(au.mask, au.present, float(code)),
            weight=torch.where(au.mask, au.weight, value),
        ),
        replace(points, points=torch.where(points.mask[..., None], points.points, torch.nan)),
    )


@pytest.mark.parametrize(("value", "code"), [(float("nan"), -1), (1e9, -7), (-5.0, -100)])
@pytest.mark.parametrize("soft", [False, True])
def test_an_unlabelled_cell_changes_no_gradient(
    lake: Lake, recipe: MakeRecipe, value: float, code: int, soft: bool
) -> None:
    toy = gappy()
    if soft:
        probs = np.eye(9, dtype=np.float32)[toy.code] * 0.7 + 0.1 * np.eye(9, dtype=np.float32)[(toy.code + 1) % 7]
        probs = probs / probs.sum(1, keepdims=True)
        known = toy.labels["human"]["expression"]
        toy.labels["human"]["expression_probs"] = [
            None if k is None else p for k, p in zip(known, probs.tolist(), strict=True)
        ]
    augment = {"flip": True, "shift": 0.1, "rotate": 10}
    chosen = recipe(tasks__expression__soft=soft, train__augment=augment)
    samples = prepare(chosen, toy.publish(lake)).train
    batch = batch_at(samples, np.arange(32))
    for mask in (t.mask for t in vars(batch.targets).values() if t is not None):
        assert mask.any()
        assert not mask.all()
    plain = gradients(chosen, batch)
    changed = gradients(chosen, replace(batch, targets=spoilt(batch.targets, value, code)))
    assert all(torch.isfinite(g).all() for g in plain)
    assert any(g.abs().sum() > 0 for g in plain)
    assert all(torch.equal(a, b) for a, b in zip(plain, changed, strict=True))


def test_a_class_that_was_not_offered_gets_no_gradient(lake: Lake, recipe: MakeRecipe) -> None:
    """The raters had no contempt: its logit learns nothing from their pictures, not even that it is absent."""
    toy = Toy()
    chosen = recipe(tasks={"expression": {"space": "expr8-contempt", "options": {"label_smoothing": 0.2}}})
    batch = batch_at(prepare(chosen, toy.publish(lake)).train, np.arange(32))
    network_gradients = gradients(chosen, batch)
    weight, bias = network_gradients[-2:]  # the expression head is the last layer
    contempt = EXPRESSION_SPACES["expr8-contempt"].index("contempt")
    assert weight.shape[0] == 8
    assert not weight[contempt].any()
    assert not bias[contempt]
    assert weight[:contempt].abs().sum(1).min() > 0


def test_a_label_that_its_own_source_did_not_offer_is_refused(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy(offered=["neutral", "happiness"])
    with pytest.raises(RecipeError, match="could not be chosen"):
        prepare(recipe(), toy.publish(lake))


def test_a_batch_without_any_label_of_a_task_leaves_its_head_alone(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    toy.labels["human"]["valence"] = [v if i >= 40 else None for i, v in enumerate(toy.labels["human"]["valence"])]
    toy.labels["human"]["arousal"] = [v if i >= 40 else None for i, v in enumerate(toy.labels["human"]["arousal"])]
    chosen = recipe(tasks={"expression": {}, "va": {}})
    batch = batch_at(prepare(chosen, toy.publish(lake)).train, np.arange(32))
    found = gradients(chosen, batch)
    assert found[-2].shape[0] == 2
    assert not found[-2].any()
    assert all(torch.isfinite(g).all() for g in found)


def test_names_outside_the_space_are_unknown_and_soft_labels_keep_their_share_inside() -> None:
    import pyarrow as pa

    probs = [[0.1, 0, 0, 0, 0, 0, 0.3, 0.6, 0], [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0], None]
    table = pa.table(
        {
            "expression": ["contempt", "neutral", "anger"],
            "expression_probs": pa.array(probs, pa.list_(pa.float32(), 9)),
            "expression_weight": pa.array([None, 2.0, None], pa.float32()),
            "expression_offered": [None, "neutral,happiness", None],
        }
    )
    tasks = Tasks(expression=ExpressionTask(space="expr7", soft=True))
    found = targets_of(table, tasks, np.ones((3, 1), bool), np.zeros((3, 2, 3), np.float32)).expression
    assert found is not None
    assert found.code.tolist() == [-1, 0, 6]
    assert found.probs.sum(1).tolist() == [0, 1, 0]
    assert found.offered.sum(1).tolist() == [7, 2, 7]
    assert found.weight.tolist() == [1, 2, 1]


def test_soft_au_labels_are_probabilities_where_a_source_gives_one() -> None:
    import pyarrow as pa

    said = {"": [1, 0, None, 1], "prob": [0.7, None, 0.9, None], "weight": [None, 2.0, None, None]}
    columns = {au_column(au, what): pa.array(values, pa.float32()) for au in (1, 2) for what, values in said.items()}
    columns |= {
        au_column(au, what): pa.nulls(4, pa.float32()) for au in AuTask(set="disfa8").aus[2:] for what in ("", *said)
    }
    for soft, expected in ((True, [0.7, 0, -1, 1]), (False, [1, 0, -1, 1])):
        tasks = Tasks(au=AuTask(set="disfa8", soft=soft))
        found = targets_of(pa.table(columns), tasks, np.ones((4, 1), bool), np.zeros((4, 2, 3), np.float32)).au
        assert found is not None
        assert found.present[:, 0].tolist() == pytest.approx(expected)
        assert found.weight[:, 1].tolist() == [1, 2, 1, 1]
        assert not found.mask[:, 2:].any()


def test_landmarks_move_into_the_crop_and_keep_their_gaps() -> None:
    import pyarrow as pa

    points = [float(i) for i in range(136)]
    gap: list[float | None] = [None, *points[1:]]
    table = pa.table(
        {
            "landmarks": pa.array([points, gap, None], pa.list_(pa.float32(), 136)),
            "landmarks_weight": pa.nulls(3, pa.float32()),
        }
    )
    transform = np.tile(np.array([[2, 0, 1], [0, 3, -1]], np.float32), (3, 1, 1))
    found = targets_of(table, Tasks(landmarks={}), np.ones((3, 1), bool), transform).landmarks  # type: ignore[arg-type]  # pydantic builds the part
    assert found is not None
    assert found.points[0, 1].tolist() == [2 * 2 + 1, 3 * 3 - 1]
    assert found.mask.sum(1).tolist() == [68, 67, 0]


def test_truth_is_there_or_not_whatever_probability_its_source_gives(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    toy.labels["human"]["au12_prob"] = [0.3 if present else 0.6 for present in toy.labels["human"]["au12"]]
    toy.publish(lake)
    chosen = recipe(tasks__au__soft=True)
    prepared = prepare(chosen, lake)
    assert chosen.tasks.au is not None
    column = chosen.tasks.au.aus.index(12)
    assert prepared.train.targets.au is not None
    assert sorted(set(prepared.train.targets.au.present[:, column].tolist())) == pytest.approx([0.3, 0.6])
    assert prepared.selection.targets.au is not None
    wanted = dict(zip(toy.ids, toy.labels["human"]["au12"], strict=True))
    said = zip(prepared.selection.ids, prepared.selection.targets.au.present[:, column].tolist(), strict=True)
    assert all(wanted[name] == present for name, present in said)
