"""A label outside a run's class space does not exist for it: it is neither trained nor scored, nor counted."""

from __future__ import annotations

from functools import partial
from typing import get_args

import pyarrow as pa
import pytest
from sklearn.metrics import f1_score

from affectdata.faces.align import align
from affectdata.faces.options import AlignOptions
from affectdata.ingest import ingest
from affectdata.synthetic import write_twin
from manifests.lake import Lake
from manifests.vocabulary import EXPRESSION_SPACES
from trainer import evaluate as evaluation
from trainer.data import prepare
from trainer.fit import Machine, train
from trainer.recipe import parse
from trainer.run import Run
from trainer.tasks import ExpressionTask

from .conftest import MakeRecipe

SIX = EXPRESSION_SPACES["expr6"]
evaluate = partial(evaluation.evaluate, resamples=0)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Twins of Oulu-CASIA, each of its people in all six classes, and of CK+."""
    folder = tmp_path_factory.mktemp("posed")
    lake = Lake(folder / "lake", create=True)
    for dataset, samples in (("oulucasia", 324), ("ckplus", 96)):
        write_twin(dataset, folder / dataset, samples=samples, seed=0)
        ingest(lake, dataset, folder / dataset, max_rejects=1)
        align(lake, dataset, detector="whole", alignment="resize32", options=AlignOptions(workers=1))
    return lake


@pytest.fixture(scope="module")
def run(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on two people of Oulu-CASIA over six classes."""
    tree = {
        "name": "six",
        "datasets": [{"name": "oulucasia"}],
        "alignment": "resize32",
        "sources": ["derived-last3"],
        "protocol": {"name": "ten-fold-last3", "fold": 0},
        "selection": {"role": "train", "share": 0.5, "metrics": ["uar"]},
        "tasks": {"expression": {"space": "expr6"}},
        "backbone": {"name": "test_resnet"},
        "train": {"epochs": 2, "batch": 9, "lr": 0.003},
    }
    path = tmp_path_factory.mktemp("runs") / "six"
    return train(parse(tree, "six"), lake, path, machine=Machine("cpu"), say=lambda _: None)


def test_the_macro_f1_of_oulu_casia_is_the_mean_over_six_classes(lake: Lake, run: Run) -> None:
    (found,) = evaluate(run, lake).datasets
    result = next(result for result in found.results if result.name == "macro_f1")
    assert result.labels == SIX
    assert result.rows_used == found.samples == 18
    table = run.predictions("oulucasia", "test")
    said, truth = (table[name].to_pylist() for name in ("expression_predicted", "expression"))
    assert result.value == pytest.approx(f1_score(truth, said, labels=SIX, average="macro", zero_division=0))
    assert found.confusion is not None
    assert found.confusion.classes == SIX


def test_neutral_and_contempt_of_the_other_dataset_are_not_scored(lake: Lake, run: Run) -> None:
    (found,) = evaluate(run, lake, datasets=["ckplus"], protocol="ten-fold-last3-neutral", fold=6).datasets
    layers = [lake.read("ckplus", f"labels/{name}") for name in ("derived-last3", "derived-first-neutral")]
    known = {key: name for layer in layers for key, name in zip(*columns(layer, "expression"), strict=True) if name}
    scored = dict(zip(*columns(run.predictions("ckplus", "test"), "expression"), strict=True))
    assert {known[key] for key in scored} - set(SIX) == {"neutral", "contempt"}
    assert scored == {key: known[key] if known[key] in SIX else None for key in scored}
    used = {result.name: result.rows_used for result in found.results}
    assert used["top1"] == used["macro_f1"] == sum(name is not None for name in scored.values()) > 0


def columns(table: pa.Table, name: str) -> tuple[list[str], list[str | None]]:
    return table["sample_id"].to_pylist(), table[name].to_pylist()


@pytest.mark.parametrize("space", EXPRESSION_SPACES)
def test_a_label_outside_the_space_trains_nothing(space: str, lake: Lake, recipe: MakeRecipe) -> None:
    classes = EXPRESSION_SPACES[space]
    chosen = recipe(
        datasets=[{"name": "ckplus"}],
        sources=["derived-last3", "derived-first-neutral"],
        protocol={"name": "ten-fold-last3-neutral", "fold": 3},
        selection={"role": "train", "share": 0.3, "metrics": ["uar"]},
        tasks={"expression": {"space": space}},
    )
    prepared = prepare(chosen, lake)
    known = [part.targets.expression for part in (prepared.train, prepared.selection)]
    said = {classes[code] for target in known if target for code in target.code[target.mask].tolist()}
    assert said == set(classes) - {"other"}


def test_a_recipe_takes_every_class_space() -> None:
    assert get_args(ExpressionTask.model_fields["space"].annotation) == tuple(EXPRESSION_SPACES)
