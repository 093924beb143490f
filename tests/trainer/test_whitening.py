"""Landmarks are compared whitened and put out in pixels: nothing has to be undone before they are scored."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import RecipeError
from manifests.lake import Lake
from trainer.data import prepare
from trainer.evaluate import evaluate, load_network
from trainer.fit import Machine, train
from trainer.learner import Learner
from trainer.loader import TrainLoader
from trainer.network import heads_for, network_for, start_at_mean_face
from trainer.networks.heads import WhitenedLinear, landmark_head, linear_head
from trainer.sampler import order_for
from trainer.schedule import Length

from .conftest import MakeRecipe


def fitted(points: torch.Tensor) -> WhitenedLinear:
    layer = linear_head(landmark_head(whitened=True), 3)
    assert isinstance(layer, WhitenedLinear)
    layer.fit(points)
    return layer


@given(st.integers(0, 1000))
def test_whitened_training_targets_have_mean_0_and_deviation_1_and_pixels_come_back(seed: int) -> None:
    points = torch.from_numpy(np.random.default_rng(seed).normal(40, 9, (30, 136)).astype(np.float32))
    layer = fitted(points)
    white = layer.whitened(points)
    torch.testing.assert_close(white.mean(0), torch.zeros(136), atol=1e-4, rtol=0)
    torch.testing.assert_close(white.square().mean(0), torch.ones(136), atol=1e-4, rtol=0)
    torch.testing.assert_close(layer.mean + layer.deviation * white, points)


def test_unknown_points_are_left_out_and_a_constant_coordinate_keeps_its_pixel() -> None:
    points = torch.arange(20, dtype=torch.float32)[:, None].repeat(1, 136)
    points[:, 1], points[5:, 2], points[:, 3] = 7, math.nan, math.nan
    layer = fitted(points)
    assert layer.mean[[0, 1, 2, 3]].tolist() == pytest.approx([9.5, 7, 2, 0])
    assert layer.deviation[[1, 3]].tolist() == [1, 1]
    assert layer.deviation[2].item() == pytest.approx(math.sqrt(2))
    assert bool(layer.whitened(points)[:, 1].eq(0).all())


def test_the_loss_is_that_of_whitened_coordinates_and_outputs_are_pixels(toy: Lake, recipe: MakeRecipe) -> None:
    chosen = recipe(tasks={"landmarks": {"whiten": True}}, selection={"metrics": ["nme_io"]})
    prepared = prepare(chosen, toy)
    network = network_for(chosen, (32, 32))
    targets = prepared.train.targets.landmarks
    assert targets is not None
    start_at_mean_face(network, targets.points)
    learner = Learner(chosen, network, Length(4, 2), prepared.selection.targets, prepared.train)
    batch = next(iter(TrainLoader(prepared.train, order_for(chosen, prepared.train))))
    loss = learner.step_losses(batch, 0)["landmarks"]
    with torch.no_grad():
        outputs = network(learner.images(batch))["landmarks"]
    assert batch.targets.landmarks is not None
    flat = batch.targets.landmarks.points.flatten(1)
    every = targets.points.flatten(1)
    deviation = (every - every.mean(0)).square().mean(0).sqrt()
    expected = ((outputs - flat).abs() / torch.where(deviation > 0, deviation, 1.0)).mean()
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-5)
    assert 0 < float(outputs.mean()) < 32


def test_a_run_keeps_its_whitening_and_is_scored_in_pixels(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    tasks = {"landmarks": {"whiten": True, "loss": "l1"}}
    chosen = recipe(tasks=tasks, selection={"metrics": ["nme_io"]}, train__epochs=3)
    run = train(chosen, toy, run_dir, machine=Machine("cpu"), say=lambda _: None)
    layer = load_network(run).last_layer("landmarks")  # type: ignore[operator]  # of a TaskNetwork
    assert isinstance(layer, WhitenedLinear)
    assert float(layer.deviation.max()) > 1.5
    (found,) = evaluate(run, toy, resamples=0).datasets
    said = np.array(run.predictions("toy", "test")["landmarks_predicted"].to_pylist())
    truth = np.array(run.predictions("toy", "test")["landmarks"].to_pylist())
    error = np.linalg.norm((said - truth).reshape(-1, 68, 2), axis=2).mean(1)
    eyes = np.linalg.norm((truth.reshape(-1, 68, 2)[:, 36] - truth.reshape(-1, 68, 2)[:, 45]), axis=1)
    assert found.value("nme_io") == pytest.approx(float((error / eyes).mean()), rel=1e-4)


def test_a_loss_that_is_made_for_pixels_is_not_whitened(recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match="made for errors in pixels"):
        recipe(tasks={"landmarks": {"whiten": True, "loss": "wing"}})
    (head,) = heads_for(recipe(tasks={"landmarks": {"whiten": True}}, selection={"metrics": ["nme_io"]}).tasks)
    assert head.whitened
    assert not replace(head, whitened=False).whitened
