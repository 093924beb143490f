"""Intensities of action units are learned, predicted and scored cell by cell, 0 to 5, as they were released."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
import torch

from manifests.errors import RecipeError
from manifests.lake import Lake
from manifests.vocabulary import AU_SPACES
from trainer.data import prepare
from trainer.evaluate import evaluate
from trainer.fit import Machine, train
from trainer.learner import labels_of
from trainer.losses.regression import SquaredError
from trainer.predict import schema_of
from trainer.score_file import score_file

from .conftest import MakeRecipe, Toy

TASK = {"au_intensity": {"set": "disfa8"}}
AUS = AU_SPACES["disfa8"]


@pytest.fixture
def rated(lake: Lake) -> Lake:
    """The toy set with intensities: AU1 follows the class, AU2 is never coded, AU4 in half of the pictures."""
    toy = Toy()
    levels = [float(code) * 5 / 6 for code in toy.code.tolist()]
    human = toy.labels["human"]
    for number in AUS:
        human[f"au{number:02d}_intensity"] = list(levels)
    human["au02_intensity"] = [None] * toy.count
    human["au04_intensity"] = [value if i % 2 else None for i, value in enumerate(levels)]
    return toy.publish(lake)


def test_intensities_train_are_scored_by_icc_and_error_and_written(
    rated: Lake, recipe: MakeRecipe, run_dir: Path
) -> None:
    chosen = recipe(tasks=TASK, selection={"metrics": ["au_icc31"]}, train__epochs=10)
    run = train(chosen, rated, run_dir, machine=Machine("cpu"), say=lambda _: None)
    (found,) = evaluate(run, rated, resamples=0).datasets
    named = {result.name: result for result in found.results}
    assert set(named) == {"au_icc31", "au_mse", "au_mae"}
    assert named["au_icc31"].value > 0.3
    assert "undefined au02" in named["au_mse"].flags
    table = run.predictions("toy", "test")
    truth = table["au01_intensity"].to_numpy()
    said = np.clip(table["au01_intensity_predicted"].to_numpy(), 0, 5)
    at = named["au_mse"].labels.index("au01")
    assert named["au_mse"].per_label[at] == pytest.approx(float(((truth - said) ** 2).mean()), rel=1e-5)
    assert table["au02_intensity"].null_count == len(table)
    assert "au12_intensity_predicted" in schema_of(chosen).names
    file = run_dir / "mine.csv"
    openface = {f"AU{number:02d}_r": table[f"au{number:02d}_intensity_predicted"] for number in AUS}
    pa_csv.write_csv(pa.table({"sample_id": table["sample_id"], **openface}), file)
    (scored,) = score_file(file, rated, "toy", "official", resamples=0).datasets
    assert scored.value("au_icc31") == pytest.approx(named["au_icc31"].value, abs=1e-4)


def test_an_uncoded_cell_moves_no_gradient(rated: Lake, recipe: MakeRecipe) -> None:
    prepared = prepare(recipe(tasks=TASK, selection={"metrics": ["au_mse"]}), rated)
    labels = labels_of(prepared.train.targets, "au_intensity")
    assert not bool(labels.mask[:, AUS.index(2)].any())
    outputs = torch.full(labels.mask.shape, 3.0, requires_grad=True)
    SquaredError()(outputs, labels).backward()
    assert outputs.grad is not None
    assert bool((outputs.grad[~labels.mask] == 0).all())
    assert bool(outputs.grad.isfinite().all())


def test_head_positions_have_no_intensity(recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match="disfa12"):
        recipe(tasks={"au_intensity": {"set": "emotionet23"}})
