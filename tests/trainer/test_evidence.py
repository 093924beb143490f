"""A table of predictions scores as the predictions themselves did."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from manifests.errors import UnknownNameError
from trainer.evidence import scorer
from trainer.metrics.registry import DEFAULTS
from trainer.predictions import Predictions, to_table
from trainer.scoring import score
from trainer.targets import AuTarget, ClassTarget, IntensityTarget, LandmarkTarget, Targets, VaTarget
from trainer.tasks import AuIntensityTask, AuTask, ExpressionTask, LandmarksTask, Tasks, VaTask

TASKS = Tasks(
    expression=ExpressionTask(space="expr8-contempt"),
    va=VaTask(),
    au=AuTask(set="fbn17"),
    au_intensity=AuIntensityTask(set="disfa12"),
    landmarks=LandmarksTask(),
)
COUNT = 60
ASKED = ["top1[expr7]", "au_f1[disfa8]", "abaw2_va", "au_acc_cells", "nme_ip"]


def some() -> tuple[Predictions, Targets]:
    """Random predictions and truth of all tasks, a fifth of it unknown."""
    draw = np.random.default_rng(3)
    unknown = draw.random((6, COUNT)) < 0.2
    logits = draw.normal(size=(COUNT, 8))
    points = draw.uniform(0, 96, (COUNT, 68, 2)).astype(np.float32)
    predictions = Predictions(
        expression=(np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32),
        va=draw.uniform(-1, 1, (COUNT, 2)).astype(np.float32),
        au=draw.random((COUNT, 17)).astype(np.float32),
        au_intensity=draw.uniform(0, 5, (COUNT, 12)).astype(np.float32),
        landmarks=(points + draw.normal(size=points.shape)).astype(np.float32),
    )
    code = np.where(unknown[0], -1, draw.integers(0, 8, COUNT))
    va = np.where(unknown[1][:, None], np.nan, draw.uniform(-1, 1, (COUNT, 2))).astype(np.float32)
    au = np.where(draw.random((COUNT, 17)) < 0.2, -1, draw.integers(0, 2, (COUNT, 17))).astype(np.float32)
    strength = np.where(draw.random((COUNT, 12)) < 0.2, np.nan, draw.integers(0, 6, (COUNT, 12))).astype(np.float32)
    marks = np.where(unknown[2][:, None, None], np.nan, points).astype(np.float32)
    ones = torch.ones(COUNT)
    truth = Targets(
        ClassTarget(torch.from_numpy(code), torch.ones((COUNT, 8), dtype=torch.bool), torch.zeros((COUNT, 0)), ones),
        VaTarget(torch.from_numpy(va), ones),
        AuTarget(torch.from_numpy(au), torch.ones((COUNT, 17))),
        LandmarkTarget(torch.from_numpy(marks), ones),
        au_intensity=IntensityTarget(torch.from_numpy(strength), torch.ones((COUNT, 12))),
    )
    return predictions, truth


def test_every_metric_of_a_table_is_that_of_the_predictions_it_was_made_of() -> None:
    predictions, truth = some()
    ids = np.array([f"d/{n:03d}" for n in range(COUNT)], object)
    table = to_table(ids, TASKS, predictions, truth)
    expected = {result.name: result.value for result in score(TASKS, predictions, truth, ASKED)}
    assert set(ASKED) <= set(expected)
    assert not any(math.isnan(value) for value in expected.values())
    for name, value in expected.items():
        found = scorer(table, name)
        assert found is not None
        assert found(np.arange(COUNT)) == pytest.approx(value, abs=1e-6), name


def test_a_task_that_the_table_does_not_hold_has_no_score() -> None:
    predictions, truth = some()
    ids = np.array([f"d/{n:03d}" for n in range(COUNT)], object)
    only = to_table(ids, Tasks(va=VaTask()), Predictions(va=predictions.va), Targets(va=truth.va))
    assert scorer(only, "p_va") is not None
    for task, names in DEFAULTS.items():
        if task != "va":
            assert scorer(only, names[0]) is None
    with pytest.raises(UnknownNameError, match="expr7"):
        scorer(only, "top1[expr77]")
