"""A recipe says everything once, and says what is wrong with it before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifests.errors import RecipeError, UnknownNameError
from trainer import recipe as recipes
from trainer.recipe import Recipe, load, names, parse


def tree(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "x",
        "datasets": [{"name": "toy"}],
        "alignment": "fbn96",
        "selection": {"metrics": "uar"},
        "tasks": {"expression": {}},
    }
    return base | changes


@pytest.mark.parametrize("name", names())
def test_every_recipe_of_the_package_loads(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.about


def test_a_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = parse(tree(train={"lr": 0.01, "augment": {"flip": True}}), "x")
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert load(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("changes", "field", "hint"),
    [
        ({"train": {"epoch": 3}}, "train.epoch = 3", "epochs"),
        ({"datasets": [{"name": "toy", "evry": 2}]}, "datasets.0.evry = 2", "every"),
        ({"tasks": {"expression": {"space": "expr9"}}}, "expr9", "expr8-contempt"),
        ({"tasks": {}}, "tasks", "at least one"),
        ({"tasks": {"au": {"set": "nope"}}}, "nope", "disfa12"),
        ({"train": {"lr": -1}}, "train.lr = -1", "greater than 0"),
        ({"train": {"lr": "fast"}}, "train.lr = 'fast'", "number"),
        ({"selection": {}}, "no selection.metrics", "required"),
        ({"selection": {"metrics": "uar", "role": "train"}}, "selection", "share"),
        ({"datasets": [{"name": "toy"}, {"name": "toy"}]}, "do not go together", "once"),
        ({"input": {"mean": [1, 2]}}, "do not go together", "one per channel"),
    ],
)
def test_a_mistake_is_named_with_what_was_found_and_expected(changes: dict[str, Any], field: str, hint: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse(tree(**changes), "recipe x")
    assert field in error.value.found
    assert hint in error.value.expected


@pytest.mark.parametrize("role", ["val", "test"])
def test_a_reported_role_selects_nothing(role: str) -> None:
    with pytest.raises(RecipeError, match="a reported role selects nothing"):
        parse(tree(protocol={"report": role}, selection={"role": role, "metrics": "uar"}), "recipe x")


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean multitask-baseline"):
        load("multitask-baselin")
    with pytest.raises(UnknownNameError) as far:
        load("nosuch")
    assert len(far.value.expected.split(", ")) == 8
    assert "affect train --list" in far.value.then
    with pytest.raises(RecipeError, match=r"did you mean demo\?"):
        load("demoo.yaml")


def test_broken_yaml_is_refused_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\ntasks: [va\nseed: 1\n")
    with pytest.raises(RecipeError) as broken:
        load(tmp_path / "r.yaml")
    assert broken.value.found.startswith("line 3, column 5: ")
    assert "unicode string" not in str(broken.value)
    assert broken.value.then


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError):
        load(tmp_path / "r.yaml")


def test_dotted_changes_are_checked_like_a_file() -> None:
    recipe = parse(tree(), "x")
    assert recipe.replace({"train.epochs": 3, "tasks.expression.weight": 2}).train.epochs == 3
    with pytest.raises(RecipeError, match="epochs"):
        recipe.replace({"train.epoch": 3})
    with pytest.raises(RecipeError, match="holds a value"):
        recipe.replace({"name.first": 3})


def test_a_recipe_is_frozen() -> None:
    recipe: Recipe = parse(tree(), "x")
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "y"


def test_a_recipe_that_extends_another_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nextends: multitask-baseline\nsources: [auto]\ntasks: {va: null, landmarks: {weight: 0.5}}\n"
    )
    mine, parent = load(tmp_path / "mine.yaml"), load("multitask-baseline")
    assert mine.tasks.names == tuple(task for task in parent.tasks.names if task != "va")
    assert mine.tasks.landmarks is not None
    assert mine.tasks.landmarks.weight == 0.5
    assert mine.sources == ("auto",)
    assert (mine.train, mine.backbone, mine.datasets) == (parent.train, parent.backbone, parent.datasets)


def test_recipes_that_extend_each_other_in_a_ring_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", tmp_path)
    (tmp_path / "a.yaml").write_text("name: a\nextends: b\n")
    (tmp_path / "b.yaml").write_text("name: b\nextends: a\n")
    with pytest.raises(RecipeError, match="ring"):
        load("a")


def test_a_fold_is_of_the_recipe_s_protocol_alone() -> None:
    datasets = [{"name": "ckplus"}, {"name": "w300", "protocol": "full"}]
    recipe = parse(tree(datasets=datasets, protocol={"name": "ten-fold-last3", "fold": 3}), "x")
    assert (recipe.fold_of("ckplus"), recipe.fold_of("w300")) == (3, None)
