"""A recipe: one experiment, whole, as YAML.

A recipe is read, checked and frozen before anything else happens; the run folder keeps the resolved copy.
What its parts mean, and their defaults, stands in `trainer/settings.py` and `trainer/tasks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from manifests.errors import RecipeError, UnknownNameError
from manifests.refusal import refusal
from trainer.settings import (
    Backbone,
    Coupling,
    DatasetChoice,
    Input,
    Part,
    ProtocolChoice,
    Selection,
    Sharing,
    Start,
    Train,
)
from trainer.tasks import Tasks

RECIPES = Path(__file__).parent / "recipes"
"""Folder of the recipes that come with the package."""


class Recipe(Part):
    """One experiment."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the recipe; also of the run folder."""
    about: str = ""
    """What the experiment is for, in a sentence."""
    paper: str = ""
    """The paper whose experiment it is."""
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    alignment: str
    """Crop layer: arcface112, fbn96, resize<n>, ..."""
    sources: tuple[str, ...] = ("human", "human-*", "auto")
    """Label sources of training, first wins. Scoring takes its truth from the protocol instead."""
    protocol: ProtocolChoice = ProtocolChoice()
    selection: Selection
    tasks: Tasks
    sharing: Sharing = Sharing()
    backbone: Backbone = Backbone()
    start: Start | None = None
    couplings: tuple[Coupling, ...] = ()
    input: Input = Input()
    train: Train = Train()
    keep_copies: bool = False
    """Leave pixel-identical copies of scored pictures in training: only to measure what that is worth."""

    @model_validator(mode="after")
    def _checks(self) -> Recipe:
        if self.selection.role == self.protocol.report:
            raise ValueError(
                f"selection.role is {self.selection.role!r}, the role that this recipe reports; "
                "a reported role selects nothing: select on another role (`affect folds` makes one)"
            )
        names = [d.name for d in self.datasets]
        if len(set(names)) != len(names):
            raise ValueError("every dataset once; use `where` for parts of one")
        coupled = [c.name for c in self.couplings]
        if len(set(coupled)) != len(coupled):
            raise ValueError("every coupling once")
        if self.start and self.backbone.pretrained:
            raise ValueError("`start` brings the weights of a whole run: leave backbone.pretrained out")
        if self.start and not set(self.start.tasks) <= set(self.tasks.names):
            raise ValueError(f"start.tasks names tasks of this recipe: {', '.join(self.tasks.names)}")
        for what, values in (("mean", self.input.mean), ("std", self.input.std)):
            if len(values) not in (1, self.backbone.in_chans):
                raise ValueError(f"input.{what} has 1 value or {self.backbone.in_chans}, one per channel")
        return self

    def sources_of(self, dataset: str) -> tuple[str, ...]:
        """Label sources that train a dataset of this recipe."""
        own = {d.name: d.sources for d in self.datasets}
        return own.get(dataset) or self.sources

    def protocol_of(self, dataset: str) -> str:
        """Name of the protocol layer of a dataset of this recipe, or of the recipe where it names none."""
        own = {d.name: d.protocol for d in self.datasets}
        return own.get(dataset) or self.protocol.name

    def alignment_of(self, dataset: str) -> str:
        """Name of the crops of a dataset of this recipe, or of the recipe where it names none."""
        own = {d.name: d.alignment for d in self.datasets}
        return own.get(dataset) or self.alignment

    def fold_of(self, dataset: str) -> int | None:
        """Fold of the protocol of a dataset; none where the dataset names a protocol of its own."""
        return self.protocol.fold if self.protocol_of(dataset) == self.protocol.name else None

    def replace(self, changes: Mapping[str, object]) -> Recipe:
        """A copy with dotted fields changed, e.g. `{"train.epochs": 3}`; checked like a file.

        Raises:
            RecipeError: A field does not exist or its value does not fit.
        """
        tree = self.model_dump(mode="json", exclude_unset=True)
        for dotted, value in changes.items():
            *parents, last = dotted.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
                if not isinstance(node, dict):
                    raise RecipeError(f"recipe {self.name}: {dotted} is not a field", found=f"{parent} holds a value")
            node[last] = value
        return parse(tree, f"recipe {self.name}")

    def to_yaml(self) -> str:
        """The resolved recipe: every field, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load(name: str | Path) -> Recipe:
    """A recipe by name, or from a YAML file.

    Raises:
        UnknownNameError: Neither a recipe of the package nor a file.
        RecipeError: The file is not YAML, or a field is unknown or does not fit; names field, found, expected.
    """
    return parse(tree_of(name), f"recipe {Path(name).name}")


def tree_of(name: str | Path, heirs: tuple[str, ...] = ()) -> object:
    """What a recipe's file holds, with what it leaves to the recipe that it `extends`.

    `extends: NAME` takes every field from that recipe of the package; a field that is set replaces it, and of nested
    fields only those that are set. Lists, `options`, `kwargs`, `quota` and `decay` are replaced whole.

    Args:
        name: Of the package, or a YAML file.
        heirs: Recipes that extend this one.

    Raises:
        UnknownNameError, RecipeError: As `load`; or recipes that extend each other in a ring.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name}.yaml"
        if not path.is_file():
            raise UnknownNameError("recipe", str(name), _nearest(str(name)), f"{LISTED}; or name a .yaml file")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = get_close_matches(path.stem, names(), n=1)
        raise RecipeError(
            f"recipe {path}" + (f" (did you mean {near[0]}?)" if near else ""),
            found="no such file",
            expected=f"a file, or a recipe of the package such as {', '.join(_nearest(path.stem))}",
            then=LISTED,
        ) from None
    except yaml.YAMLError as error:
        raise RecipeError(
            f"recipe {path} is no YAML",
            found=_yaml_problem(error),
            expected="fields, as in the recipes of the package",
            then="correct the file there; docs/recipes.md shows a whole recipe",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} cannot be read", found=str(error), expected="a YAML file in UTF-8") from None
    if not isinstance(tree, dict) or "extends" not in tree:
        return tree
    parent = str(tree.pop("extends"))
    if parent in (*heirs, path.stem):
        raise RecipeError(f"recipe {path.stem}", found=f"extends: {parent}, which extends it", expected="no ring")
    return _extended(tree_of(parent, (*heirs, path.stem)), tree)


LISTED = "affect train --list shows every recipe of the package"


def _nearest(name: str) -> list[str]:
    """A few recipes of the package, the likest name first."""
    return get_close_matches(name, names(), n=8, cutoff=0)


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong and where; PyYAML's own text calls the file "<unicode string>"."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        what = ", ".join(part for part in (error.context, error.problem) if part)
        return f"line {mark.line + 1}, column {mark.column + 1}: {what}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.character!r} at position {error.position}, which YAML forbids"
    return str(error)


WHOLE = ("options", "kwargs", "quota", "decay")
"""Fields that an heir replaces as a whole: their keys belong together."""


def _extended(parent: object, child: object) -> object:
    if not isinstance(parent, dict) or not isinstance(child, dict):
        return child
    merged = dict(parent)
    for key, value in child.items():
        merged[key] = value if key in WHOLE else _extended(parent.get(key), value)
    return merged


def parse(tree: object, about: str) -> Recipe:
    """A recipe from nested plain values.

    Args:
        tree: What a YAML file holds.
        about: Name for messages.

    Raises:
        RecipeError: Names every wrong field with what was found and what was expected.
    """
    if not isinstance(tree, dict):
        raise RecipeError(about, found=type(tree).__name__, expected="fields, as in the recipes of the package")
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise refusal(f"{about}: does not fit", error, Recipe, "affect train --fields lists every field") from None


def differences(one: Recipe, other: Recipe) -> list[tuple[str, object, object]]:
    """Dotted fields in which two recipes differ, with both values; the words about them do not count.

    A part that only one of them has is one difference, with the value `given` where it is there.
    """
    left, right = _flat(one.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
    names = [name for name in dict.fromkeys([*left, *right]) if name not in ("name", "about", "paper")]
    whole = [name for name in names if any(inner.startswith(f"{name}.") for inner in names)]
    names = [name for name in names if not name.startswith(tuple(f"{part}." for part in whole))]
    pairs = [tuple(side.get(name, "given" if name in whole else None) for side in (left, right)) for name in names]
    return [(name, old, new) for name, (old, new) in zip(names, pairs, strict=True) if old != new]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
