"""Whether what a run learned from may have seen what it will be scored on, through the labels of a teacher.

Training drops scored samples and their relatives, but a label on a training sample may carry them in: its teacher was
told to label reported samples, or was itself trained under another protocol, fold or reported role.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from manifests.lake import Lake, Layer
from trainer.data import used_layers
from trainer.recipe import Recipe

MARK = "transductive"
"""Entry of a layer's `extra`: `true` where reported samples were labelled, by it or for the training of its teacher."""


def why_transductive(recipe: Recipe, lake: Lake) -> list[str]:
    """One reason per label layer and teacher for which scores of a run are not those of unseen samples; none: []."""
    reasons: list[str] = []
    for choice in recipe.datasets:
        layers = {layer.key: layer for layer in lake.layers(choice.name)}
        for used in used_layers(lake, choice.name, recipe, recipe.sources):
            for layer in _label_ancestors(used, layers):
                reasons += _reasons(layer, recipe, lake)
    return list(dict.fromkeys(reasons))


def _label_ancestors(layer: Layer, layers: Mapping[str, Layer]) -> Iterator[Layer]:
    """A label layer and the label layers that it was made from: a rule over a teacher's labels is no cleaner."""
    if layer.kind != "labels":
        return
    yield layer
    for key in layer.facts.parents:
        if key in layers and key != layer.key:
            yield from _label_ancestors(layers[key], layers)


def _reasons(layer: Layer, recipe: Recipe, lake: Lake) -> Iterator[str]:
    about = f"{layer.dataset} {layer.key}"
    if layer.facts.extra.get(MARK) == "true":
        yield f"{about} was made with labels of reported samples allowed"
    for teacher in json.loads(layer.facts.extra.get("teachers", "[]")):
        for dataset in (choice.name for choice in recipe.datasets):
            theirs = _theirs(teacher, dataset)
            if theirs is not None and theirs != _ours(recipe, lake, dataset):
                yield (
                    f"{about}: teacher {teacher['run']} was trained under protocol {teacher['protocol'][dataset]} of "
                    f"{dataset}{_fold(teacher['fold'])} as it was then, so it may have seen what this run reports"
                )


def _theirs(teacher: Mapping[str, Any], dataset: str) -> tuple[object, ...] | None:
    """What decided which samples the teacher saw; None: it was not trained on this dataset."""
    name = teacher["protocol"].get(dataset)
    if name is None:
        return None
    return (teacher["trained_on"][dataset].get(f"protocols/{name}"), teacher["fold"], teacher["report"])


def _ours(recipe: Recipe, lake: Lake, dataset: str) -> tuple[object, ...]:
    layer = lake.layer(dataset, f"protocols/{recipe.protocol_of(dataset)}")
    return (layer.facts.fingerprint, recipe.protocol.fold, recipe.protocol.report)


def _fold(fold: int | None) -> str:
    return "" if fold is None else f", fold {fold},"
