"""Whether what a run learned from may have seen what it is scored on, through the labels of a teacher.

Training drops scored samples and their relatives, but a label on a training sample may carry them in: its teacher was
told to label reported samples, or was itself trained under another protocol, fold or reported role. Who taught a run is
kept in its facts, so that a score under another protocol than its own can be judged by them too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ProtocolError
from manifests.lake import Lake, Layer
from manifests.protocols import identity, leaks, roles
from trainer.data import used_layers
from trainer.recipe import Recipe
from trainer.run import Run
from trainer.splits import roles_of

_ACROSS = {"group": "a group", "pixels": "a picture"}
"""What samples of two datasets may share, in words."""

MARK = "transductive"
"""Entry of a layer's `extra`: `true` where reported samples were labelled, by it or for the training of its teacher."""


@dataclass(frozen=True)
class Taught:
    """One teacher of a run, and what decided which samples that teacher saw.

    Args:
        layer: Dataset and label layer through which it taught.
        run: Name of the teacher's run.
        protocols: Dataset -> name and fingerprint of the protocol that it was trained under.
        fold: Fold of that protocol.
        report: The role that it reports, so that it saw none of it.
    """

    layer: str
    run: str
    protocols: Mapping[str, Sequence[str]]
    fold: int | None
    report: str


def taught_by(recipe: Recipe, lake: Lake) -> list[Taught]:
    """Every teacher behind the label layers of a recipe, and the teachers of those teachers."""
    found: list[Taught] = []
    for layer in _label_layers(recipe, lake):
        about = f"{layer.dataset} {layer.key}"
        for teacher in json.loads(layer.facts.extra.get("teachers", "[]")):
            found += [_taught(about, teacher), *(Taught(**one) for one in teacher["taught"])]
    return list({json.dumps(vars(one), sort_keys=True): one for one in found}.values())


def why_transductive(recipe: Recipe, lake: Lake) -> list[str]:
    """One reason per label layer and teacher for which scores of a run are not those of unseen samples; none: []."""
    marked = [
        f"{layer.dataset} {layer.key} was made with labels of reported samples allowed"
        for layer in _label_layers(recipe, lake)
        if layer.facts.extra.get(MARK) == "true"
    ]
    datasets = [choice.name for choice in recipe.datasets]
    return list(dict.fromkeys([*marked, *seen_by_teachers(taught_by(recipe, lake), recipe, lake, datasets)]))


def seen_before_start(parent: Run, recipe: Recipe, lake: Lake) -> Iterator[str]:
    """Why scores of a run that begins from another are not those of unseen samples, through that one's teachers."""
    yield from (f"run {parent.name}, which this one began from: {reason}" for reason in parent.facts.transductive)
    teachers = [Taught(**one) for one in parent.facts.taught]
    yield from seen_by_teachers(teachers, recipe, lake, [choice.name for choice in recipe.datasets])


def seen_by_teachers(teachers: Sequence[Taught], recipe: Recipe, lake: Lake, datasets: Sequence[str]) -> Iterator[str]:
    """One reason per teacher that another protocol, fold or reported role than the recipe's gave its samples.

    And one per dataset that a teacher learned from, where its pictures or groups are those of reported samples of a
    dataset that the teacher knew nothing of.

    Args:
        teachers: Of the run that is scored.
        recipe: Under whose protocol, fold and reported role it is scored.
        datasets: On which it is scored.
    """
    for teacher in teachers:
        for dataset in datasets:
            if dataset not in teacher.protocols:
                continue  # the teacher was not trained on it
            name, fingerprint = teacher.protocols[dataset]
            layer = lake.layer(dataset, f"protocols/{recipe.protocol_of(dataset)}")
            ours = (layer.facts.fingerprint, recipe.protocol.fold, recipe.protocol.report)
            if ours != (fingerprint, teacher.fold, teacher.report):
                fold = "" if teacher.fold is None else f", fold {teacher.fold},"
                yield (
                    f"{teacher.layer}: teacher {teacher.run} was trained under protocol {name} of {dataset}{fold} "
                    f"as it was then, so it may have seen what this run reports"
                )
        # What it trained on kept clear of the datasets that it knew of, and of no other.
        yield from _seen_elsewhere(teacher, recipe, lake, [name for name in datasets if name not in teacher.protocols])


def _seen_elsewhere(teacher: Taught, recipe: Recipe, lake: Lake, datasets: Sequence[str]) -> Iterator[str]:
    found = [roles_of(recipe, lake, dataset) for dataset in datasets]
    if not found:
        return
    reported = pa.concat_tables(part.at(part.has(recipe.protocol.report)) for part in found)
    for name in sorted(teacher.protocols.keys() & set(lake.datasets())):
        shared = leaks(_trained_on(teacher, lake, name), reported, tuple(_ACROSS))
        count = int(np.logical_or.reduce(list(shared.values())).sum())
        if count:
            what = " or ".join(_ACROSS[key] for key, mask in shared.items() if mask.any())
            yield (
                f"{teacher.layer}: teacher {teacher.run} was trained on {name}, {count:,} of whose samples share "
                f"{what} with what this run reports"
            )


def _trained_on(teacher: Taught, lake: Lake, dataset: str) -> pa.Table:
    """What identifies the samples that a teacher's protocol gave to training; all, where it is not as it was then."""
    who, (name, fingerprint) = identity(lake, dataset), teacher.protocols[dataset]
    key = f"protocols/{name}"
    if not lake.has(dataset, key) or lake.layer(dataset, key).facts.fingerprint != fingerprint:
        return who
    try:
        named = roles(lake, dataset, name, fold=teacher.fold)
    except ProtocolError:  # the fold is that of another dataset of the teacher's
        return who
    trained = named.filter(pc.equal(named["role"], "train"))["sample_id"].combine_chunks()
    return who.filter(pc.is_in(who["sample_id"], value_set=trained)) if len(trained) else who


def _taught(layer: str, teacher: Mapping[str, Any]) -> Taught:
    protocols = {
        dataset: (name, teacher["trained_on"][dataset].get(f"protocols/{name}", ""))
        for dataset, name in teacher["protocol"].items()
    }
    return Taught(layer, teacher["run"], protocols, teacher["fold"], teacher["report"])


def _label_layers(recipe: Recipe, lake: Lake) -> Iterator[Layer]:
    """The label layers that a recipe learns from, and those that they were made from.

    A rule over a teacher's labels is no cleaner than they are.
    """
    for choice in recipe.datasets:
        layers = {layer.key: layer for layer in lake.layers(choice.name)}
        for used in used_layers(lake, choice.name, recipe, recipe.sources_of(choice.name)):
            yield from _ancestors(used, layers)


def _ancestors(layer: Layer, layers: Mapping[str, Layer]) -> Iterator[Layer]:
    if layer.kind != "labels":
        return
    yield layer
    for key in layer.facts.parents:
        if key in layers and key != layer.key:
            yield from _ancestors(layers[key], layers)
