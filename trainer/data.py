"""A lake and a recipe to samples that can be trained on: labels as dense arrays, pixels by store row."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from manifests.crops import CropStore
from manifests.errors import RecipeError, StaleLayerError, UnknownNameError
from manifests.lake import Lake, Layer
from manifests.protocols import protocol_layer, truth_sources
from manifests.query import manifest_table
from trainer.labels import columns_of, targets_of
from trainer.losses.cross_entropy import check_offered
from trainer.recipe import Recipe
from trainer.scoring import tasks_of
from trainer.settings import DatasetChoice
from trainer.splits import Counts, Part, split_all
from trainer.targets import Targets


@dataclass(frozen=True)
class Samples:
    """N samples with their labels, and where their pictures lie."""

    ids: npt.NDArray[np.object_]
    """sample_id [N]."""
    dataset: npt.NDArray[np.int64]
    """Position of the dataset in the recipe, and of its store in `stores`, int64 [N]."""
    row: npt.NDArray[np.int64]
    """Row in that store, int64 [N]."""
    keys: Tensor
    """int64 [N], a hash of each sample_id."""
    targets: Targets
    stores: tuple[CropStore, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the widest store; narrower ones are gray and repeat."""
        heights, widths, channels = zip(*(store.shape for store in self.stores), strict=True)
        return heights[0], widths[0], max(channels)

    def labelled(self) -> Samples:
        """The samples that carry a label of at least one task."""
        known = torch.zeros(len(self), dtype=torch.bool)
        for task in self.targets.tasks:
            known |= labelled(self.targets, task)
        kept = known.numpy()
        return Samples(
            self.ids[kept],
            self.dataset[kept],
            self.row[kept],
            self.keys[known],
            self.targets.at(known),
            self.stores,
        )

    def gather(self, index: npt.NDArray[np.int64], out: Tensor | None = None) -> Tensor:
        """Pictures at positions `index`, uint8 [B, H, W, C]; written into `out` where it is given."""
        dataset, row = self.dataset[index], self.row[index]
        pixels = torch.empty((len(index), *self.shape), dtype=torch.uint8) if out is None else out
        if len(self.stores) == 1:
            self.stores[0].gather(row, pixels.numpy())
            return pixels
        for number in np.unique(dataset).tolist():
            mine = dataset == number
            pixels.numpy()[mine] = self.stores[number].gather(row[mine])  # one channel spreads over three
        return pixels

    def prefetch(self, index: npt.NDArray[np.int64]) -> None:
        """Ask the system to read these pictures soon, without waiting for them."""
        dataset, row = self.dataset[index], self.row[index]
        for number, store in enumerate(self.stores):
            store.prefetch(row[dataset == number])


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs of a lake."""

    train: Samples
    selection: Samples
    counts: tuple[tuple[str, Counts], ...]
    without_crop: int
    """Samples of both roles that have no crop (no face was found)."""
    unlabelled: int
    """Samples of both roles that no source labels for any task of the recipe."""
    fingerprints: dict[str, dict[str, str]]
    """Dataset -> layer key -> fingerprint of every layer that was used; for `facts.json`."""

    def lines(self) -> list[str]:
        """One fact a line, for people."""
        text = [line for dataset, counts in self.counts for line in counts.lines(dataset)]
        text += [f"{self.without_crop:,} samples have no crop and are left out"] if self.without_crop else []
        text += [f"{self.unlabelled:,} samples carry no label of these tasks"] if self.unlabelled else []
        return [*text, f"{len(self.train):,} samples train, {len(self.selection):,} choose the epoch"]


def prepare(recipe: Recipe, lake: Lake) -> Prepared:
    """Training and selection samples of a recipe.

    Training labels come from the recipe's sources; selection labels from the sources that each dataset's protocol
    names as truth.

    Raises:
        UnknownNameError: The lake lacks a dataset, crop layer, protocol or source.
        StaleLayerError: A layer that would be used is stale.
        ProtocolError: A protocol accepts rule- or model-made truth, or leaves nothing to train on.
        RecipeError: A task without a training label, no selection sample, or crops of several sizes.
    """
    used = [used_layers(lake, d.name, recipe, recipe.sources_of(d.name)) for d in recipe.datasets]
    stores = open_stores(lake, {d.name: recipe.alignment_of(d.name) for d in recipe.datasets})
    splits = split_all(recipe, lake)
    train: list[Samples] = []
    selection: list[Samples] = []
    lost = 0
    for number, (choice, split) in enumerate(zip(recipe.datasets, splits, strict=True)):
        truth = truth_sources(lake, choice.name, recipe.protocol_of(choice.name))
        ours, gone = _samples(recipe, lake, choice, split.train, recipe.sources_of(choice.name), (number, stores))
        theirs, gone_too = scored_samples(recipe, lake, choice.name, split.selection, truth, (number, stores))
        train.append(ours)
        selection.append(theirs)
        lost += gone + gone_too
    everything = _joined(train), _joined(selection)
    known = everything[0].labelled(), everything[1].labelled()
    prepared = Prepared(
        *known,
        tuple((d.name, s.counts) for d, s in zip(recipe.datasets, splits, strict=True)),
        lost,
        sum(map(len, everything)) - sum(map(len, known)),
        {
            d.name: {layer.key: layer.facts.fingerprint for layer in layers}
            for d, layers in zip(recipe.datasets, used, strict=True)
        },
    )
    _check(recipe, prepared)
    return prepared


def used_layers(lake: Lake, dataset: str, recipe: Recipe, sources: Sequence[str]) -> list[Layer]:
    """Every layer of a dataset that a run reads: samples, its labels and truth, protocol, crops, faces; all fresh.

    Raises:
        UnknownNameError: No dataset, crop layer or protocol of that name.
        StaleLayerError: One of them is stale.
    """
    lake.layer(dataset, "samples")
    protocol = protocol_layer(lake, dataset, recipe.protocol_of(dataset))
    alignment = recipe.alignment_of(dataset)
    crops = f"crops/{alignment}"
    if not lake.has(dataset, crops):
        known = [layer.name for layer in lake.layers(dataset) if layer.kind == "crops"]
        raise UnknownNameError(f"crops of {dataset}", alignment, known, f"affect align {dataset} --to {alignment}")
    lists = {f"selections/{name}" for d in recipe.datasets if d.name == dataset for name in (d.only, d.exclude) if name}
    for key in sorted(lists):
        if not lake.has(dataset, key):
            there = [layer.name for layer in lake.layers(dataset) if layer.kind == "selections"]
            name = key.removeprefix("selections/")
            make = f'affect select {dataset} --name {name} "select sample_id from samples where ..." makes it'
            raise UnknownNameError(f"selection of {dataset}", name, there, make)
    patterns = [*sources, *truth_sources(lake, dataset, protocol.name)]
    used = [
        layer
        for layer in lake.layers(dataset)
        if layer.key in ("samples", crops, protocol.key, *lists)
        or layer.kind == "faces"
        or (layer.kind == "labels" and any(fnmatchcase(layer.name, pattern) for pattern in patterns))
    ]
    for layer in used:
        if layer.stale and layer.kind != "faces":
            raise StaleLayerError(
                f"{layer.key} of {dataset} is stale",
                found=layer.stale,
                expected="layers made from the samples and labels as they are now",
                then=f"make it again ({layer.facts.command or 'affect layers shows how'})",
            )
    return [layer for layer in used if not layer.stale]


def open_stores(lake: Lake, alignments: Mapping[str, str]) -> tuple[CropStore, ...]:
    """The packed crops of several datasets, dataset -> alignment.

    Raises:
        RecipeError: Their sizes differ.
    """
    stores = tuple(CropStore(lake, dataset, alignment) for dataset, alignment in alignments.items())
    sizes = {store.shape[:2] for store in stores}
    if len(sizes) > 1:
        raise RecipeError(
            f"crops {' and '.join(dict.fromkeys(alignments.values()))} differ in size between datasets",
            found=", ".join(f"{d} {s.shape}" for d, s in zip(alignments, stores, strict=True)),
            expected="one size",
            then="affect align DATASET --to NAME with one alignment for all of them, or with alignments of one size",
        )
    return stores


Where = tuple[int, tuple[CropStore, ...]]
"""Position of a dataset in the recipe, and the stores of all of them."""


def scored_samples(
    recipe: Recipe, lake: Lake, dataset: str, part: Part, truth: Sequence[str], where: Where
) -> tuple[Samples, int]:
    """Samples whose labels are truth: never thinned by the recipe's `where` and `every`. And how many lack a crop.

    An AU is there or not: a source's probability may teach, but where the source cut it elsewhere than at one half it
    would contradict what the source says.
    """
    judged = recipe.replace({"tasks.au.soft": False}) if recipe.tasks.au and recipe.tasks.au.soft else recipe
    return _samples(judged, lake, DatasetChoice(name=dataset), part, truth, where)


def _samples(
    recipe: Recipe, lake: Lake, choice: DatasetChoice, part: Part, sources: Sequence[str], where: Where
) -> tuple[Samples, int]:
    number, stores = where
    cuts = (
        {choice.name: recipe.tasks.au.cuts[choice.name]}
        if recipe.tasks.au and choice.name in recipe.tasks.au.cuts
        else {}
    )
    table = manifest_table(
        lake,
        [choice.name],
        ["sample_id", *columns_of(recipe.tasks)],
        sources=tuple(sources),
        where=choice.where,
        au_cut=cuts,
    ).sort_by("sample_id")
    table = _selected(lake, choice, table)
    at = pc.index_in(table["sample_id"].combine_chunks(), value_set=part.ids)
    mine = np.asarray(pc.is_valid(at))
    at = np.asarray(at.drop_null())[:: choice.every]
    table = table.filter(pa.array(mine)).take(pa.array(np.arange(0, mine.sum(), choice.every)))
    row = stores[number].locate(table["sample_id"].combine_chunks())
    found = row >= 0
    table, row, allowed = table.filter(pa.array(found)), row[found], part.allowed[at[found]]
    ids = table["sample_id"].to_numpy().astype(object)
    samples = Samples(
        ids,
        np.full(len(ids), number, np.int64),
        row,
        keys_of(ids),
        targets_of(table, recipe.tasks, allowed, stores[number].transform[row]),
        stores,
    )
    return samples, int((~found).sum())


def _selected(lake: Lake, choice: DatasetChoice, table: pa.Table) -> pa.Table:
    """The rows that the dataset's selections leave to training."""
    for name, wanted in ((choice.only, True), (choice.exclude, False)):
        if name is not None:
            listed = lake.read(choice.name, f"selections/{name}")["sample_id"].combine_chunks()
            inside = pc.is_in(table["sample_id"], value_set=listed)
            table = table.filter(inside if wanted else pc.invert(inside))
    return table


def keys_of(ids: npt.NDArray[np.object_]) -> Tensor:
    """A 64-bit hash of each sample_id, int64 [N]: the same in every process and on every machine."""
    digests = b"".join(hashlib.blake2b(str(i).encode(), digest_size=8).digest() for i in ids)
    return torch.from_numpy(np.frombuffer(digests, "<i8").astype(np.int64))


def _joined(parts: Sequence[Samples]) -> Samples:
    return Samples(
        np.concatenate([p.ids for p in parts]),
        np.concatenate([p.dataset for p in parts]),
        np.concatenate([p.row for p in parts]),
        torch.cat([p.keys for p in parts]),
        Targets.joined([p.targets for p in parts]),
        parts[0].stores,
    )


def labelled(targets: Targets, task: str) -> Tensor:
    """bool [N]: the sample carries at least one label of a task."""
    mask: Tensor = getattr(targets, task).mask
    return mask.reshape(len(mask), math.prod(mask.shape[1:])).any(1)


def _check(recipe: Recipe, prepared: Prepared) -> None:
    datasets = ", ".join(d.name for d in recipe.datasets)
    for task in recipe.tasks.names:
        if not labelled(prepared.train.targets, task).any():
            raise RecipeError(
                f"recipe {recipe.name}: no training sample is labelled for {task}",
                found="; ".join(f"{d.name}: sources {', '.join(recipe.sources_of(d.name))}" for d in recipe.datasets),
                expected=f"a source that labels {task}, or a recipe without it",
                then="affect coverage shows which source labels what",
            )
    if not len(prepared.selection):
        raise RecipeError(
            f"recipe {recipe.name}: no sample to choose the epoch by",
            found=f"role {recipe.selection.role} of protocol {recipe.protocol.name} is empty in {datasets}",
            then="set selection: {role: train, share: 0.1}, or make a protocol with `affect folds`",
        )
    for task in recipe.tasks.names:
        chosen = [name for name in recipe.selection.metrics if task in tasks_of(name)]
        if chosen and not labelled(prepared.selection.targets, task).any():
            raise RecipeError(
                f"recipe {recipe.name}: selection metric {', '.join(chosen)}",
                found=f"no selection sample that is labelled for {task}: every epoch would score alike",
                expected="metrics of tasks that the selection samples are labelled for",
                then="drop the metric, or choose a role or protocol whose truth labels the task",
            )
    expression = prepared.train.targets.expression
    if recipe.tasks.expression and expression:
        check_offered(expression.code, expression.mask, expression.offered, recipe.tasks.expression.classes)
