"""What is wrong with a file of the user's that has a model: a recipe, a study, a column map; in words."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from manifests.errors import AffectError, RecipeError


def refusal(
    about: str,
    error: ValidationError,
    model: type[BaseModel],
    then: str,
    kind: type[AffectError] = RecipeError,
) -> AffectError:
    """The error that names every wrong field with what was found and what was expected.

    Args:
        about: What does not fit, for the first line of the message.
        error: What pydantic found.
        model: What it was validated against.
        then: What mends it.
        kind: Class of the error.
    """
    problems = _innermost(error)
    return kind(
        about,
        found="; ".join(dict.fromkeys(_found(p) for p in problems)),
        expected="; ".join(dict.fromkeys(_expected(p, model) for p in problems)),
        then=then,
    )


def _innermost(error: ValidationError) -> list[Any]:
    """Problems without those that only follow from a deeper one."""
    problems = error.errors()
    deeper = {p["loc"][:n] for p in problems for n in range(len(p["loc"]))}
    return [p for p in problems if p["loc"] not in deeper]


def _found(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"no {where}"
    return f"{where} = {problem['input']!r:.80}" if where else "fields that do not go together"


def _expected(problem: Any, model: type[BaseModel]) -> str:
    *parents, last = problem["loc"] or ("",)
    if problem["type"] == "extra_forbidden":
        known = _fields(parents, model)
        near = get_close_matches(str(last), known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"no field {last!r} there{hint}, but one of {', '.join(known)}"
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{last}: {message}" if last else message


def _fields(where: Sequence[object], part: type[BaseModel]) -> list[str]:
    for step in where:
        if step in part.model_fields:  # else a place in a list, or a key of the user's own such as a label source
            part = _model(part.model_fields[str(step)].annotation) or part
    return list(part.model_fields)


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model(inner) for inner in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)
