"""Protocols of one's own: folds or a hold-out in which nobody and nothing lies on both sides."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.labels.partition import fold_numbers, held_out
from affectdata.labels.random_splits import UNLABELLED, protocol_rows, random_splits
from manifests.errors import ProtocolError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.protocols import (
    check_truth,
    clusters,
    faces_layers,
    identity,
    known_keys,
    leaks,
    protocol_layer,
    roles,
    unseen_pictures,
)

UNITS = {"subject": "subject", "sequence": "sequence", "group": "group", "duplicates": "pixels"}
"""What `--by` may name -> the key that every sample must then have."""

STRATIFIABLE = ("expression", "compound", "mental_state")


@dataclass(frozen=True)
class Draw:
    """How to draw a protocol: `folds` test parts, one `holdout` share of the training samples, or `splits`.

    Each of the `splits` is drawn anew as a fold of its own: `per_class` samples of each class of `stratify` (half of a
    smaller one) train, the other labelled ones are scored, and unlabelled ones train in all of them (methods.md S15).
    With `base`, the scored roles of that protocol stay and `holdout` is drawn from its training samples as `val`;
    `scored_as` says which of its roles becomes `test` (FER+ without its test folder scores `val`).
    """

    by: str
    folds: int | None = None
    holdout: float | None = None
    splits: int | None = None
    per_class: int | None = None
    base: str | None = None
    scored_as: str = "test"
    stratify: str | None = "expression"
    seed: int = 0
    truth: tuple[str, ...] = ()

    def command(self, dataset: str, name: str) -> str:
        """The command line that draws the same again."""
        options = {"--name": name, "--by": self.by, "--folds": self.folds, "--holdout": self.holdout}
        options |= {"--splits": self.splits, "--per-class": self.per_class}
        options |= {"--base": self.base, "--scored-as": self.scored_as if self.base else None}
        options |= {"--stratify": self.stratify or "none"}
        said = [(option, value) for option, value in options.items() if value is not None]
        said += [*(("--truth", source) for source in self.truth), ("--seed", self.seed)]
        return " ".join([f"affect folds {dataset}", *(f"{option} {value}" for option, value in said)])


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
    `by` says which of them every sample must have. Pictures count as compared, and `pixels` as a key, only when a
    faces layer has looked at every one of them.

    Raises:
        UnknownNameError: No such dataset, unit, base protocol or label.
        ProtocolError: A key that samples lack, too few clusters, neither or both of folds and hold-out, or a name
            that is the dataset's own or the base's.
        StaleLayerError: The dataset was ingested again while this ran.
    """
    _check(draw)
    check_name(lake, dataset, name, draw.base)
    fingerprints = lake.fingerprints(dataset)
    samples = identity(lake, dataset)
    unseen = unseen_pictures(lake, dataset)
    keys = tuple(key for key in known_keys(samples) if key != "pixels" or not unseen)
    check_unit(samples, draw.by, dataset, unseen)
    role = _base_roles(lake, dataset, samples, draw)
    ignored = _set_leaks_aside(samples, role, keys)
    drawn = np.flatnonzero(role == "train")
    groups = clusters(samples.take(drawn), keys)
    truth = _truth(lake, dataset, draw)
    strata = _strata(lake, dataset, draw).take(pa.array(drawn)) if draw.stratify else None
    part: NDArray[np.int64] | NDArray[np.bool_] = np.zeros(0, np.int64)
    if draw.splits is not None and strata is not None:
        how = (draw.splits, draw.per_class or 0, draw.seed)
        table, counts = random_splits(samples["sample_id"], groups, strata, how)
    else:
        part = _parts(groups, strata, draw)
        table, counts = _table(samples["sample_id"], role, drawn, part, draw)
    command = draw.command(dataset, name)
    facts = LayerFacts(rule=_rule(draw, part, unseen), truth=list(truth), keys=list(keys), command=command)
    parents = {key: fingerprints.get(key, "") for key in _parents(lake, dataset, draw, keys)}
    with lake.publish(dataset, command=command) as step:
        step.write("protocols", name, table, facts, parents=parents)
    sizes = np.bincount(groups) if len(groups) else np.zeros(1, np.int64)
    return FoldSummary(dataset, name, dict(sorted(counts.items())), len(sizes), int(sizes.max()), keys, ignored)


def _table(
    ids: pa.ChunkedArray,
    role: NDArray[np.object_],
    drawn: NDArray[np.int64],
    part: NDArray[np.int64 | np.bool_],
    draw: Draw,
) -> tuple[pa.Table, Counter[str]]:
    """Rows of the protocol, one per sample, and how many have which role or fold."""
    fold = pa.nulls(len(ids), pa.int16())
    if draw.folds is not None:
        role[drawn] = "test"
        numbers = np.full(len(ids), -1, np.int16)
        numbers[drawn] = part
        fold = pc.if_else(pc.equal(pa.array(numbers), -1), None, pa.array(numbers)).cast(pa.int16())
    else:
        role[drawn[part]] = "val" if draw.base else "test"
    counts = Counter(f"fold {f}" for f in part.tolist()) if draw.folds is not None else Counter(role.tolist())
    return protocol_rows(ids, role, fold), counts


def _check(draw: Draw) -> None:
    if draw.by not in UNITS:
        raise UnknownNameError("unit of a split", draw.by, UNITS)
    if sum(how is not None for how in (draw.folds, draw.holdout, draw.splits)) != 1:
        raise ProtocolError("folds: say one of --folds K, --holdout SHARE and --splits K", then="affect folds --help")
    if (draw.splits is None) != (draw.per_class is None) or (draw.splits and (draw.base or not draw.stratify)):
        raise ProtocolError(
            f"folds: --splits {draw.splits} --per-class {draw.per_class}"
            + (" with --base" if draw.base else "")
            + ("" if draw.stratify else " --stratify none"),
            expected="both together, over the whole dataset, with --stratify LABEL for the classes",
            then="affect folds DATASET --name NAME --by duplicates --splits 5 --per-class 15 --stratify compound",
        )
    if draw.folds is not None and (draw.folds < 2 or draw.base):
        raise ProtocolError(
            f"folds: --folds {draw.folds}" + (" with --base" if draw.base else ""),
            expected="2 or more folds over the whole dataset; a base protocol takes --holdout",
        )
    if draw.holdout is not None and not 0 < draw.holdout < 1:
        raise ProtocolError(f"folds: --holdout {draw.holdout}", expected="a share between 0 and 1, such as 0.1")
    if draw.stratify is not None and draw.stratify not in STRATIFIABLE:
        raise UnknownNameError("label to stratify by", draw.stratify, STRATIFIABLE)
    if not 0 <= draw.seed < 2**32:
        raise ProtocolError(f"folds: --seed {draw.seed}", expected="0 to 4294967295")


def check_name(lake: Lake, dataset: str, name: str, base: str | None) -> None:
    """Refuse to publish a protocol under the name of its base, or of one that the dataset itself has.

    Raises:
        ProtocolError: It would be replaced.
    """
    then = f"choose another --name, such as {name}-mine"
    if name == base:
        raise ProtocolError(f"protocol {name} cannot be its own --base", then=then)
    key = f"protocols/{name}"
    if lake.has(dataset, key) and "reader" in lake.layer(dataset, key).facts.extra:
        raise ProtocolError(f"{name} is a protocol of {dataset} itself", expected="a name of your own", then=then)


def check_unit(samples: pa.Table, by: str, dataset: str, unseen: int) -> None:
    """Refuse to draw by what samples lack.

    Args:
        samples: An `identity` table.
        by: One of `UNITS`.
        dataset: For the message.
        unseen: Pictures that no faces layer has looked at (`manifests.protocols.unseen_pictures`).

    Raises:
        ProtocolError: Samples without it, or pictures that have not been compared.
    """
    column = {"subject": "subject_id", "sequence": "sequence_id", "group": "group_id", "pixels": "pixel_hash"}
    missing = samples[column[UNITS[by]]].null_count
    if by == "duplicates":
        if unseen or missing == samples.num_rows:
            raise ProtocolError(
                f"{dataset}: pictures have not been compared yet",
                found=f"{unseen:,} pictures that no fresh faces layer has looked at",
                expected="a faces layer, which holds a hash of every picture's pixels",
                then=f"affect align {dataset} --detector whole --to resize48 (or any other alignment)",
            )
        return  # an unreadable picture has no hash and no copy
    if not missing:
        return
    known = ", ".join(known_keys(samples)) or "none"
    raise ProtocolError(
        f"{dataset}: {missing:,} of {samples.num_rows:,} samples have no {by}",
        expected=f"a {by} for every sample; keys known here: {known}",
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
    return pc.fill_null(classes, UNLABELLED).combine_chunks()


def _truth(lake: Lake, dataset: str, draw: Draw) -> tuple[str, ...]:
    """Truth sources: those asked for, else the base protocol's, else the dataset's one human layer."""
    if draw.truth:
        for source in draw.truth:
            lake.layer(dataset, f"labels/{source}")
        return check_truth(draw.truth, f"folds: --truth for {dataset}")
    if draw.base:
        truth = tuple(protocol_layer(lake, dataset, draw.base).facts.truth)
        return check_truth(truth, f"protocol {draw.base} of {dataset}")
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
    count = len(np.unique(groups))
    needed = draw.folds or 2
    if count < needed:
        raise ProtocolError(f"only {count} clusters of samples that must stay together", expected=f"at least {needed}")
    codes = np.zeros(len(groups), np.int64)
    if strata is not None:
        codes = np.asarray(strata.dictionary_encode().indices).astype(np.int64)
    if draw.folds is None:
        return held_out(groups, codes, float(draw.holdout or 0), draw.seed)
    number = fold_numbers(groups, codes, draw.folds, draw.seed)
    if not np.bincount(number, minlength=draw.folds).all():
        raise ProtocolError(
            f"folds: one of {draw.folds} folds would be empty",
            found=f"{count} clusters, the largest of {np.bincount(groups).max():,} of {len(groups):,} samples",
            then="ask for fewer --folds",
        )
    return number


def _parents(lake: Lake, dataset: str, draw: Draw, keys: tuple[str, ...]) -> list[str]:
    faces = [layer.key for layer in faces_layers(lake, dataset)] if "pixels" in keys else []
    labels = [f"labels/{source}" for source in _truth(lake, dataset, draw)] if draw.stratify else []
    return ["samples", *faces, *labels, *([f"protocols/{draw.base}"] if draw.base else [])]


def _rule(draw: Draw, part: NDArray[np.int64] | NDArray[np.bool_], unseen: int) -> str:
    if draw.splits is not None:
        pictures = f", {unseen} pictures not compared" if unseen else ""
        return (
            f"{draw.splits} random splits, per class of {draw.stratify} min({draw.per_class}, n/2) train, "
            f"by {draw.by}, seeds from {draw.seed}{pictures}"
        )
    what = (
        f"{draw.folds} folds" if draw.folds is not None else f"hold-out of {draw.holdout:g} ({part.mean():.4g} drawn)"
    )
    base = f" of the training samples of {draw.base}, whose {draw.scored_as} is scored" if draw.base else ""
    strata = f", stratified by {draw.stratify}" if draw.stratify else ""
    pictures = f", {unseen} pictures not compared" if unseen else ""
    return f"{what}{base}, by {draw.by}{strata}, seed {draw.seed}{pictures}"
