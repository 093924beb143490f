"""Every loss by its recipe name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import trainer.losses
from manifests.errors import RecipeError, UnknownNameError
from trainer.losses.masked import MaskedLoss, Reduction
from trainer.registry import registered


def losses() -> dict[str, type[MaskedLoss]]:
    """The losses of single tasks, by name; couplings are listed by themselves."""
    return registered(trainer.losses, MaskedLoss)


def loss_class(name: str) -> type[MaskedLoss]:
    """The loss of a recipe name.

    Raises:
        UnknownNameError: No loss has this name; the message lists those there are, nearest first.
    """
    known = losses()
    if name not in known:
        raise UnknownNameError("loss", name, known)
    return known[name]


def build_loss(name: str, options: Mapping[str, object] | None = None) -> MaskedLoss:
    """The loss `name` with the options of a recipe, e.g. `build_loss("ce", {"label_smoothing": 0.1})`.

    Raises:
        UnknownNameError: No loss has this name, no option of the loss has that name, or no reduction has this one.
        RecipeError: An option of the wrong type or outside its range.
    """
    kind, options = loss_class(name), dict(options or {})
    known = list(inspect.signature(kind).parameters)
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of the loss {name}:", option, known)
    reduction = options.get("reduction", Reduction.CELLS)
    if reduction not in list(Reduction):
        raise UnknownNameError("reduction", reduction, list(Reduction))
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"options of the loss {name}", found=f"{options}: {error}", then="correct the recipe"
        ) from None
