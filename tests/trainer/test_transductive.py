"""A teacher that has seen the pictures of a reported part makes its pupils' scores say so."""

from __future__ import annotations

import pytest

from manifests.lake import Lake
from trainer.recipe import Recipe
from trainer.transductive import Taught, seen_by_teachers

from .conftest import MakeRecipe, Toy


def reasons(lake: Lake, recipe: Recipe, *trained_on: str) -> list[str]:
    """Why scores on `toy` are not those of unseen samples, for a teacher of these datasets."""
    official = {name: ("official", lake.layer(name, "protocols/official").facts.fingerprint) for name in trained_on}
    teacher = Taught("toy labels/teacher-old", "old", official, None, "test")
    return list(seen_by_teachers([teacher], recipe, lake, ["toy"]))


@pytest.fixture
def two(lake: Lake) -> Lake:
    """The toy dataset, and another whose training part begins with three pictures of the toy's test part."""
    toy, other = Toy(), Toy()
    other.code, other.picture = other.code + 0, other.picture + 1000
    other.code[:3], other.picture[:3] = toy.code[80:83], toy.picture[80:83]
    toy.publish(lake)
    return other.publish(lake, "other")


def test_a_teacher_of_another_dataset_with_reported_pictures_is_named(two: Lake, recipe: MakeRecipe) -> None:
    (reason,) = reasons(two, recipe(), "other")
    assert "teacher old was trained on other, 3 of whose samples share a picture with what this run reports" in reason


def test_a_teacher_that_kept_clear_of_the_reported_part_is_not(two: Lake, recipe: MakeRecipe) -> None:
    assert reasons(two, recipe(), "other", "toy") == []


def test_pictures_that_the_other_dataset_only_scores_taught_nobody(lake: Lake, recipe: MakeRecipe) -> None:
    toy, other = Toy(), Toy()
    other.picture = other.picture + 1000
    other.code[80:83], other.picture[80:83] = toy.code[80:83], toy.picture[80:83]
    toy.publish(lake)
    assert reasons(other.publish(lake, "other"), recipe(), "other") == []
