"""Parts that a recipe names: the presence of their file registers them, and their options are typed.

A part is a class with a `name` and a model of `Options`. Whoever adds one adds a file and edits nothing else.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import ValidationError

from manifests.errors import RecipeError, UnknownNameError
from manifests.refusal import refusal
from trainer.settings import Part


class Titled(Protocol):
    """What a recipe names."""

    name: ClassVar[str]
    """What a recipe calls it."""


class Named(Titled, Protocol):
    """A part with typed options."""

    Options: ClassVar[type[Part]]
    """Its options, with their defaults."""

    def __init__(self, given: Any, options: Any) -> None: ...


T = TypeVar("T", bound=Titled)
N = TypeVar("N", bound=Named)


def registered(package: ModuleType, base: type[T]) -> dict[str, type[T]]:
    """Every named class below `base`, by name; the modules of `package` are imported first.

    Raises:
        RecipeError: Two classes have one name.
    """
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    found: dict[str, type[T]] = {}
    for kind in _below(base):
        if "name" not in vars(kind):
            continue
        other = found.setdefault(kind.name, kind)
        if other is not kind:
            raise RecipeError(
                f"two parts are called {kind.name!r}",
                found=f"{other.__module__}.{other.__qualname__}, {kind.__module__}.{kind.__qualname__}",
                expected="one",
            )
    return dict(sorted(found.items()))


def _below(base: type[T]) -> Iterator[type[T]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _below(kind)


def build(given: object, kind: str, name: str, known: Mapping[str, type[N]], options: Mapping[str, object]) -> N:
    """The part of that name, made of what is given and of its options, which are checked first.

    Args:
        given: The part's first argument.
        kind: What it is, for messages: sharing scheme, coupling, backbone.
        name: What the recipe names.
        known: See `registered`.
        options: What the recipe says about it.

    Raises:
        UnknownNameError: No part has this name.
        RecipeError: An option that the part does not have, or a value that does not fit.
    """
    if name not in known:
        raise UnknownNameError(kind, name, known)
    part = known[name]
    try:
        checked = part.Options.model_validate(dict(options))
    except ValidationError as error:
        raise refusal(f"options of the {kind} {name}", error, part.Options, "correct the recipe") from None
    return part(given, checked)
