"""Protocols of one's own: folds or a hold-out in which nobody and nothing lies on both sides."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.errors import ProtocolError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.protocols import clusters, identity, known_keys, leaks, protocol_layer, roles

UNITS = {"subject": "subject", "sequence": "sequence", "group": "group", "duplicates": "pixels"}
"""What `--by` may name -> the key that every sample must then have."""

STRATIFIABLE = ("expression", "compound", "mental_state")

_MOST_PARTS = 20
"""A hold-out is drawn as some of at most this many stratified parts: shares come in steps of 5 %."""


@dataclass(frozen=True)
class Draw:
    """How to draw a protocol: either `folds` test parts, or one `holdout` share of the training samples.

    With `base`, the scored roles of that protocol stay and `holdout` is drawn from its training samples as `val`;
    `scored_as` says which of its roles becomes `test` (FER+ without its test folder scores `val`).
    """

    by: str
    folds: int | None = None
    holdout: float | None = None
    base: str | None = None
    scored_as: str = "test"
    stratify: str | None = "expression"
    seed: int = 0
    truth: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoldSummary:
    """What was drawn: samples per role (or per fold), clusters, keys kept apart, and copies set aside."""

    dataset: str
    name: str
    counts: dict[str, int]
    clusters: int
    largest_cluster: int
    keys: tuple[str, ...]
    ignored: int

    def lines(self) -> list[str]:
        """One fact a line, for people."""
        parts = ", ".join(f"{part} {count:,}" for part, count in self.counts.items())
        text = [
            f"{self.dataset}: protocol {self.name}: {parts}",
            f"  {self.clusters:,} clusters that stay together (largest {self.largest_cluster:,}) "
            f"by {', '.join(self.keys)}",
        ]
        if self.ignored:
            text.append(
                f"  {self.ignored:,} training samples share {' or '.join(self.keys)} with a scored one: ignored"
            )
        return text


def make_folds(lake: Lake, dataset: str, name: str, draw: Draw) -> FoldSummary:
    """Draw a protocol and publish it as `protocols/<name>`.

    Whatever shares a known subject, sequence, group or picture stays on one side, whichever of them `by` names;
    `by` says which of them every sample must have.

    Raises:
        UnknownNameError: No such dataset, unit, base protocol or label.
        ProtocolError: A key that samples lack, too few clusters, or neither or both of folds and hold-out.
    """
    _check(draw)
    samples = identity(lake, dataset)
    keys = known_keys(samples)
    _check_unit(samples, draw, dataset)
    role = _base_roles(lake, dataset, samples, draw)
    ignored = _set_leaks_aside(samples, role, keys)
    drawn = np.flatnonzero(role == "train")
    groups = clusters(samples.take(drawn), keys)
    strata = _strata(lake, dataset, draw).take(pa.array(drawn)) if draw.stratify else None
    part = _parts(groups, strata, draw)
    truth = _truth(lake, dataset, draw)
    fold = pa.nulls(samples.num_rows, pa.int16())
    if draw.folds is not None:
        role[drawn] = "test"
        numbers = np.full(samples.num_rows, -1, np.int16)
        numbers[drawn] = part
        fold = pc.if_else(pc.equal(pa.array(numbers), -1), None, pa.array(numbers)).cast(pa.int16())
    else:
        role[drawn[part]] = "val" if draw.base else "test"
    table = pa.table(
        {
            "sample_id": samples["sample_id"],
            "task": pa.repeat("all", samples.num_rows),
            "role": pa.array(role.tolist()),
            "fold": fold,
        }
    )
    facts = LayerFacts(rule=_rule(draw), truth=list(truth), keys=list(keys), command=f"affect folds {dataset}")
    with lake.publish(dataset, command=f"affect folds {dataset} --name {name}") as step:
        step.write("protocols", name, table, facts, parents=_parents(lake, dataset, draw))
    counts = Counter(f"fold {f}" for f in part.tolist()) if draw.folds is not None else Counter(role.tolist())
    sizes = np.bincount(groups) if len(groups) else np.zeros(1, np.int64)
    return FoldSummary(dataset, name, dict(sorted(counts.items())), len(sizes), int(sizes.max()), keys, ignored)


def _check(draw: Draw) -> None:
    if draw.by not in UNITS:
        raise UnknownNameError("unit of a split", draw.by, UNITS)
    if (draw.folds is None) == (draw.holdout is None):
        raise ProtocolError("folds: say one of --folds K and --holdout SHARE", then="affect folds --help")
    if draw.folds is not None and (draw.folds < 2 or draw.base):
        raise ProtocolError(
            f"folds: --folds {draw.folds}" + (" with --base" if draw.base else ""),
            expected="2 or more folds over the whole dataset; a base protocol takes --holdout",
        )
    if draw.holdout is not None and not 0 < draw.holdout < 1:
        raise ProtocolError(f"folds: --holdout {draw.holdout}", expected="a share between 0 and 1, such as 0.1")
    if draw.stratify is not None and draw.stratify not in STRATIFIABLE:
        raise UnknownNameError("label to stratify by", draw.stratify, STRATIFIABLE)


def _check_unit(samples: pa.Table, draw: Draw, dataset: str) -> None:
    column = {"subject": "subject_id", "sequence": "sequence_id", "group": "group_id", "pixels": "pixel_hash"}
    missing = samples[column[UNITS[draw.by]]].null_count
    if not missing:
        return
    if draw.by == "duplicates":
        if missing == samples.num_rows:
            raise ProtocolError(
                f"{dataset}: pictures have not been compared yet",
                expected="a faces layer, which holds a hash of every picture's pixels",
                then=f"affect align {dataset} --detector whole --to resize48 (or any other alignment)",
            )
        return  # an unreadable picture has no hash and no copy
    known = ", ".join(known_keys(samples)) or "none"
    raise ProtocolError(
        f"{dataset}: {missing:,} of {samples.num_rows:,} samples have no {draw.by}",
        expected=f"a {draw.by} for every sample; keys known here: {known}",
        then="choose another --by (duplicates works for every dataset once it is aligned)",
    )


def _base_roles(lake: Lake, dataset: str, samples: pa.Table, draw: Draw) -> NDArray[np.object_]:
    """Role per sample before the draw: all `train` without a base; samples that the base leaves out are ignored."""
    if draw.base is None:
        return np.full(samples.num_rows, "train", object)
    base = roles(lake, dataset, draw.base)
    at = pc.index_in(samples["sample_id"], value_set=base["sample_id"].combine_chunks())
    role = np.asarray(pc.fill_null(base["role"].combine_chunks().take(at), "ignore").to_pylist(), object)
    if not (role == draw.scored_as).any():
        found = ", ".join(f"{name} {count:,}" for name, count in sorted(Counter(role.tolist()).items()))
        raise ProtocolError(
            f"{dataset}: protocol {draw.base} has no {draw.scored_as} sample to score",
            found=found,
            then="--scored-as val scores its validation samples instead",
        )
    role[(role != "train") & (role != draw.scored_as)] = "ignore"
    role[role == draw.scored_as] = "test"
    return role


def _set_leaks_aside(samples: pa.Table, role: NDArray[np.object_], keys: tuple[str, ...]) -> int:
    train, scored = np.flatnonzero(role == "train"), np.flatnonzero(role == "test")
    if not len(scored):
        return 0
    shared = leaks(samples.take(train), samples.take(scored), keys)
    leaking = np.logical_or.reduce([*shared.values(), np.zeros(len(train), bool)])
    role[train[leaking]] = "ignore"
    return int(leaking.sum())


def _strata(lake: Lake, dataset: str, draw: Draw) -> pa.Array:
    """Class to stratify by per sample, from the first of the protocol's truth sources that knows it."""
    ids = lake.read(dataset, "samples", ["sample_id"])["sample_id"]
    classes = pa.nulls(len(ids), pa.string())
    for source in _truth(lake, dataset, draw):
        labels = lake.read(dataset, f"labels/{source}", ["sample_id", str(draw.stratify)])
        at = pc.index_in(ids, value_set=labels["sample_id"].combine_chunks())
        classes = pc.coalesce(classes, labels[str(draw.stratify)].combine_chunks().take(at))
    return pc.fill_null(classes, "unlabelled").combine_chunks()


def _truth(lake: Lake, dataset: str, draw: Draw) -> tuple[str, ...]:
    """Truth sources: those asked for, else the base protocol's, else the dataset's one human layer."""
    if draw.truth:
        for source in draw.truth:
            lake.layer(dataset, f"labels/{source}")
        return draw.truth
    if draw.base:
        return tuple(protocol_layer(lake, dataset, draw.base).facts.truth)
    human = [layer.name for layer in lake.layers(dataset) if layer.kind == "labels" and layer.name.startswith("human")]
    if len(human) == 1:
        return (human[0],)
    raise ProtocolError(
        f"{dataset} has {len(human)} human labellings",
        found=", ".join(human) or "none",
        expected="the labelling that scoring takes as truth",
        then=f"affect folds {dataset} ... --truth SOURCE",
    )


def _parts(groups: NDArray[np.int64], strata: pa.Array | None, draw: Draw) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Number of the test fold of each row, or whether a row is held out."""
    from sklearn.model_selection import StratifiedGroupKFold

    count = len(np.unique(groups))
    parts = draw.folds if draw.folds is not None else min(_MOST_PARTS, count)
    if count < max(parts, 2):
        raise ProtocolError(
            f"only {count} clusters of samples that must stay together", expected=f"at least {max(parts, 2)}"
        )
    codes = np.zeros(len(groups), np.int64) if strata is None else np.asarray(strata.dictionary_encode().indices)
    if np.bincount(codes).max() < parts:  # no class is large enough to lie in every part
        codes = np.zeros(len(groups), np.int64)
    splitter = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=draw.seed)
    number = np.zeros(len(groups), np.int64)
    with warnings.catch_warnings():  # a class rarer than the number of parts cannot lie in each of them
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, test) in enumerate(splitter.split(codes, codes, groups)):
            number[test] = fold
    if draw.holdout is None:
        return number
    return number < max(1, round(draw.holdout * parts))


def _parents(lake: Lake, dataset: str, draw: Draw) -> list[str]:
    compared = draw.by == "duplicates"
    faces = [layer.key for layer in lake.layers(dataset) if compared and layer.kind == "faces" and not layer.stale]
    labels = [f"labels/{source}" for source in _truth(lake, dataset, draw)] if draw.stratify else []
    return ["samples", *faces, *labels, *([f"protocols/{draw.base}"] if draw.base else [])]


def _rule(draw: Draw) -> str:
    what = f"{draw.folds} folds" if draw.folds is not None else f"hold-out of {draw.holdout:g}"
    base = f" of the training samples of {draw.base}, whose {draw.scored_as} is scored" if draw.base else ""
    strata = f", stratified by {draw.stratify}" if draw.stratify else ""
    return f"{what}{base}, by {draw.by}{strata}, seed {draw.seed}"
