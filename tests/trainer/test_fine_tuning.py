"""A run that begins from another's weights takes over what fits, and is held to all that the other has seen."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from cli.app import app
from manifests.errors import AffectError, ProtocolError, RecipeError, RunError, UnknownNameError, WeightsError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from trainer.evaluate import evaluate
from trainer.fine_tuning import take_over, teachers_of
from trainer.fit import Machine, train
from trainer.network import network_for
from trainer.networks.sharing import TaskNetwork
from trainer.recipe import Recipe, load, names, parse
from trainer.run import FACTS, RECIPE, SAMPLES, WEIGHTS, Run
from trainer.transductive import Taught, seen_by_teachers

from .conftest import MakeRecipe, Toy
from .thin import SMALL

CPU = Machine("cpu")
SIZE = (32, 32)
FINE_TUNED = [name for name in names() if load(name).start]


def quiet(_: str) -> None:
    return None


def untrained(recipe: Recipe, folder: Path) -> Run:
    """A run of first weights: what counts here is what becomes of them."""
    folder.mkdir(parents=True)
    torch.manual_seed(5)
    state = network_for(recipe, SIZE).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, folder / WEIGHTS)
    (folder / RECIPE).write_text(recipe.to_yaml())
    empty: dict[str, Any] = {"fingerprints": {}, "sources": [], "protocol": {}, "samples": {}, "dropped": {}}
    facts = {"state": "finished", "crop": [*SIZE, 1], "parameters": 0, "device": "cpu", **empty}
    (folder / FACTS).write_text(json.dumps(facts))
    return Run(folder)


def fresh(recipe: Recipe) -> TaskNetwork:
    torch.manual_seed(6)
    return network_for(recipe, SIZE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake and a run `parent`, one epoch long; copied for each test."""
    folder = tmp_path_factory.mktemp("trained")
    toy = Toy()
    toy.subject[90] = toy.subject[80] = "s-both"  # 80 is in official's test too, but not in `first`'s
    lake = toy.publish(Lake(folder / "lake", create=True))
    tree = {
        "name": "parent",
        "datasets": [{"name": "toy"}],
        "alignment": "resize32",
        "selection": {"metrics": ["uar"]},
        "tasks": {"expression": {}, "va": {}},
        "backbone": {"name": "test_resnet", "in_chans": 1},
        "train": {"epochs": 1, "batch": 16, "lr": 0.003},
    }
    train(parse(tree, "parent"), lake, folder / "runs" / "parent", machine=CPU, say=quiet)
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "it", symlinks=True)
    return tmp_path / "it"


def child_of(place: Path, **changes: Any) -> Recipe:
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return Run(place / "runs" / "parent").recipe.replace({"name": "child", "start": {"run": "parent"}} | changed)


def protocol(place: Path, name: str, scored: range) -> None:
    """A protocol that reports the samples of some numbers, and trains on all others but the official val."""
    lake = Lake(place / "lake")
    table = lake.read("toy", "protocols/official")
    old = table["role"].to_pylist()
    new = ["test" if i in scored else "val" if role == "val" else "train" for i, role in enumerate(old)]
    table = table.set_column(table.column_names.index("role"), "role", pa.array(new))
    with lake.publish("toy", command="test") as step:
        step.write("protocols", name, table, LayerFacts(truth=["human"]), ["samples"])


def test_every_tensor_is_taken_over_and_only_outputs_of_other_classes_are_new(
    recipe: MakeRecipe, tmp_path: Path
) -> None:
    parent = untrained(recipe(tasks__expression={"space": "expr8-contempt"}), tmp_path / "parent")
    child = recipe(tasks__expression={"space": "expr8-other"}, start={"run": "parent"})
    network = fresh(child)
    own = {key: value.clone() for key, value in network.state_dict().items()}
    report = take_over(network, child, parent)
    theirs, now = load_file(parent.path / WEIGHTS), network.state_dict()
    new = {"heads.expression.weight", "heads.expression.bias"}  # as many outputs as before, of other classes
    assert set(report.missing) == new
    assert report.replaced == ("expression: 8 of expression -> 8",)
    assert not report.unexpected
    for key in now:
        assert torch.equal(now[key], own[key] if key in new else theirs[key])
    assert "replaced: expression: 8 of expression -> 8" in "\n".join(report.lines())


def test_a_task_goes_on_as_another_and_what_the_recipe_lacks_is_named(recipe: MakeRecipe, tmp_path: Path) -> None:
    separate = {"sharing__scheme": "separate", "tasks__va": None, "tasks__au": None}
    parent = untrained(recipe(**separate, tasks__expression=None, tasks__mental_state={}), tmp_path / "parent")
    child = recipe(**separate, start={"run": "parent", "tasks": {"expression": "mental_state"}})
    network = fresh(child)
    report = take_over(network, child, parent)
    theirs = load_file(parent.path / WEIGHTS)
    key = "backbones.{}.network.conv1.0.weight"
    assert torch.equal(network.state_dict()[key.format("expression")], theirs[key.format("mental_state")])
    assert torch.equal(network.state_dict()["heads.landmarks.weight"], theirs["heads.landmarks.weight"])
    assert report.replaced == ("expression: 13 of mental_state -> 7",)
    alone = recipe(**separate, start={"run": "parent"})
    report = take_over(fresh(alone), alone, parent)
    assert all("mental_state (not in this recipe)" in key for key in report.unexpected)
    assert any(key.startswith("backbones.expression") for key in report.missing)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone.in_chans": 3}, "backbone.in_chans 1, here 3"),
        ({"backbone.name": "test_vit"}, "backbone.name 'test_resnet', here 'test_vit'"),
        ({"sharing.scheme": "separate"}, "sharing 'hard'"),
    ],
)
def test_weights_of_another_network_are_refused_with_what_differs(
    recipe: MakeRecipe, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    parent = untrained(recipe(), tmp_path / "parent")
    child = recipe(start={"run": "parent"}).replace(changes)
    with pytest.raises(WeightsError, match=message):
        take_over(fresh(child), child, parent)


def test_a_start_that_cannot_be_is_one_refusal(recipe: MakeRecipe, tmp_path: Path) -> None:
    parent = untrained(recipe(), tmp_path / "parent")
    wrong: list[tuple[dict[str, str], type[AffectError], str]] = [
        ({"expression": "compound"}, UnknownNameError, "task of the run to start from"),
        ({"expression": "landmarks", "landmarks": "expression"}, RecipeError, "in its order"),
        ({"expression": "va"}, RecipeError, "once"),
    ]
    for tasks, error, message in wrong:
        child = recipe(start={"run": "parent", "tasks": tasks})
        if tasks == {"expression": "va"}:
            child = child.replace({"start.tasks": {"expression": "va", "landmarks": "va"}})
        with pytest.raises(error, match=message):
            take_over(fresh(child), child, parent)
    with pytest.raises(RecipeError, match="names tasks of this recipe"):
        recipe(start={"run": "parent", "tasks": {"compound": "expression"}})
    with pytest.raises(RecipeError, match=r"leave backbone\.pretrained out"):
        recipe(start={"run": "parent"}, backbone__pretrained=True)


def test_a_run_says_what_it_began_from_and_remembers_whom_that_began_from(place: Path) -> None:
    lake, said = Lake(place / "lake"), []
    child = train(child_of(place), lake, place / "runs" / "child", machine=CPU, say=said.append)
    recipe = child.recipe.replace({"start.run": "child"})
    grandchild = train(recipe, lake, place / "runs" / "grandchild", machine=CPU, say=quiet)
    text = "\n".join(said)
    assert "tensors from run parent" in text
    assert (
        "start: 16 of 16 samples that choose the epoch" not in text
    )  # they chose the parent's too, but trained nobody
    assert [one["run"] for one in grandchild.facts.started] == ["child", "parent"]
    assert child.facts.weights["source"] == "run parent"
    shutil.rmtree(place / "runs" / "parent")
    lines = CliRunner().invoke(
        app, ["--lake", str(place / "lake"), "lineage", "grandchild", "--runs", str(place / "runs")]
    )
    assert lines.exit_code == 0
    assert "began from run child: recipe child" in lines.output
    assert "began from run parent: recipe parent, reports test" in lines.output
    assert lines.output.count("labels/human") == 3
    asked = ["--lake", str(place / "lake"), "lineage", "grandchild", "--runs", str(place / "runs")]
    rows = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [row["run"] for row in rows if row["what"] == "labels/human"] == ["grandchild", "child", "parent"]
    assert all(all(row) for row in rows)  # no name is empty
    table = list(csv.DictReader(io.StringIO(CliRunner().invoke(app, [*asked, "--csv"]).stdout)))
    assert [row["fingerprint"] for row in table] == [row["fingerprint"] for row in rows]
    assert evaluate(grandchild, lake, resamples=0).datasets[0].samples == 16


def test_a_recipe_that_reports_what_its_start_has_seen_is_refused_before_training(place: Path) -> None:
    protocol(place, "early", range(10))
    recipe = child_of(place, protocol__name="early")
    with pytest.raises(ProtocolError, match="10 of 10 samples with role test trained it or chose an epoch"):
        train(recipe, Lake(place / "lake"), place / "runs" / "child", machine=CPU, say=quiet)
    assert not (place / "runs" / "child").exists()


def test_relatives_of_what_the_start_has_seen_are_counted_and_scored_apart(place: Path) -> None:
    """The child trains on none of them; the run before did."""
    protocol(place, "first", range(81, 96))  # 80 trains under it: the person of 80 is in its test, as 90
    lake = Lake(place / "lake")
    before = Run(place / "runs" / "parent")
    table = before.samples
    more = pa.table({"sample_id": ["toy/00080"], "dataset": ["toy"], "role": ["train"]})
    pq.write_table(pa.concat_tables([table, more]), before.path / SAMPLES)
    said: list[str] = []
    thinned = [{"name": "toy", "where": "sample_id < 'toy/00060'"}]
    recipe = child_of(place, protocol__name="first", datasets=thinned)
    child = train(recipe, lake, place / "runs" / "child", machine=CPU, say=said.append)
    assert "start: 1 of 15 samples that are reported share a person, clip or picture" in "\n".join(said)
    (found,) = evaluate(child, lake, resamples=0).datasets
    assert (found.seen, found.trained, found.samples) == (1, 0, 15)
    assert {r.name: r.rows_used for r in found.clean}["top1"] == 14


def test_what_only_the_start_has_seen_is_not_reported_under_another_protocol(place: Path) -> None:
    thinned = [{"name": "toy", "where": "sample_id < 'toy/00030'"}]
    lake = Lake(place / "lake")
    child = train(child_of(place, datasets=thinned), lake, place / "runs" / "child", machine=CPU, say=quiet)
    assert set(child.samples["role"].to_pylist()) == {"train", "selection", "start"}
    assert len(set(child.samples["sample_id"].to_pylist())) == len(child.samples)
    protocol(place, "late", range(40, 60))
    with pytest.raises(ProtocolError, match="0 trained it and 0 chose its epoch, and 20 were seen by a run that it"):
        evaluate(child, lake, protocol="late", resamples=0)
    scores = evaluate(child, lake, protocol="late", resamples=0, allow_seen=True)
    assert "NOT A RESULT" in "\n".join(scores.lines())


def test_samples_that_trained_the_start_and_now_choose_the_epoch_are_told(place: Path) -> None:
    said: list[str] = []
    recipe = child_of(place, selection={"role": "train", "share": 0.2, "metrics": ["uar"]})
    train(recipe, Lake(place / "lake"), place / "runs" / "child", machine=CPU, say=said.append)
    (line,) = [line for line in said if "samples that choose the epoch have trained run parent" in line]
    assert line.startswith("start: 1")


def test_pupils_of_a_fine_tuned_teacher_know_what_its_start_was_trained_under(place: Path) -> None:
    lake = Lake(place / "lake")
    child = train(child_of(place), lake, place / "runs" / "child", machine=CPU, say=quiet)
    parent = Run(place / "runs" / "parent")
    (taught,) = (Taught(**one) for one in teachers_of(child))
    assert taught.protocols["toy"] == ("official", parent.facts.fingerprints["toy"]["protocols/official"])
    pupil = child.recipe.replace({"start": None})
    assert list(seen_by_teachers([taught], pupil, lake, ["toy"])) == []
    protocol(place, "early", range(10))
    (reason,) = seen_by_teachers([taught], pupil.replace({"protocol.name": "early"}), lake, ["toy"])
    assert reason.startswith("weights of run child: teacher parent was trained under protocol official of toy")


def test_a_run_is_held_to_the_weights_that_it_began_from(place: Path) -> None:
    lake, folder = Lake(place / "lake"), place / "runs" / "child"
    recipe = child_of(place, train__epochs=2)

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise Stopped

    whole = train(recipe, lake, place / "runs" / "whole", machine=CPU, say=quiet)
    with pytest.raises(Stopped):
        train(recipe, lake, folder, machine=CPU, say=stop)
    resumed = train(recipe, lake, folder, resume=True, machine=CPU, say=quiet)
    one, other = load_file(whole.path / WEIGHTS), load_file(resumed.path / WEIGHTS)
    assert all(torch.equal(one[key], other[key]) for key in one)
    shutil.rmtree(folder)
    with pytest.raises(Stopped):
        train(recipe, lake, folder, machine=CPU, say=stop)
    weights = load_file(place / "runs" / "parent" / WEIGHTS)
    save_file({key: value * 0 for key, value in weights.items()}, place / "runs" / "parent" / WEIGHTS)
    with pytest.raises(RunError, match="other pretrained weights"):
        train(recipe, lake, folder, resume=True, machine=CPU, say=quiet)
    with pytest.raises(RunError, match="no run at"):
        train(recipe.replace({"start.run": "nobody"}), lake, place / "runs" / "other", machine=CPU, say=quiet)


@pytest.mark.parametrize("name", FINE_TUNED)
def test_a_fine_tuning_recipe_fits_the_run_that_it_names(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    assert recipe.start is not None
    assert recipe.about
    assert recipe.paper
    thin = {"backbone": SMALL.get(recipe.backbone.name, {"name": "test_resnet"})}
    parent = untrained(load(recipe.start.run).replace(thin), tmp_path / recipe.start.run)
    child = recipe.replace(thin)
    report = take_over(network_for(child, SIZE), child, parent)
    head = next(task for task in recipe.tasks.names if task != "landmarks")
    assert set(report.missing) == {f"heads.{head}.weight", f"heads.{head}.bias"}
