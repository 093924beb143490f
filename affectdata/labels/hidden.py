"""Labels hidden on purpose: what would be known if fewer people had been labelled, or each for one task only.

Measuring what a label is worth (a teacher's, a rule's, a second task's) takes samples whose labels are known and yet
not trained on. A hidden labelling is a copy of one labelling in which every training sample keeps the labels of its
part alone; samples with other roles keep all, so that scores have their truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.labels.folds import UNITS, check_name, check_unit
from affectdata.labels.partition import held_out
from manifests.errors import LabelRuleError, UnknownNameError
from manifests.lake import Lake
from manifests.protocols import check_truth, clusters, identity, known_keys, protocol_layer, roles, unseen_pictures
from manifests.schema import TASK_COLUMNS
from manifests.vocabulary import TASKS

ALL = "all"
"""Stands for every task in a part."""

_BOUND = {"au": ("au", "au_intensity"), "au_intensity": ("au", "au_intensity")}
"""Tasks that are hidden together: an intensity says whether its AU is there."""


@dataclass(frozen=True)
class Part:
    """A share of the training samples, and the tasks whose labels it keeps."""

    tasks: tuple[str, ...]
    share: float

    @property
    def text(self) -> str:
        """As the command line has it: `va=0.3`, `va+au=0.3`."""
        return f"{'+'.join(self.tasks)}={self.share:g}"


@dataclass(frozen=True)
class Hiding:
    """What is hidden.

    Attributes:
        source: The labelling that is copied.
        keep: Parts of the training samples; what no part takes keeps nothing.
        base: Protocol that says who trains; everybody else keeps all labels.
        by: What is never split between two parts: subject, sequence, group or duplicates.
        seed: Of the draw.
    """

    source: str
    keep: tuple[Part, ...]
    base: str = "official"
    by: str = "subject"
    seed: int = 0

    def command(self, dataset: str, name: str) -> str:
        """The command line that hides the same again."""
        kept = " ".join(f"--keep {part.text}" for part in self.keep)
        options = f"--name {name} --labels {self.source} {kept} --base {self.base} --by {self.by} --seed {self.seed}"
        return f"affect hide-labels {dataset} {options}"


@dataclass(frozen=True)
class HidingSummary:
    """How many training samples keep which labels."""

    dataset: str
    name: str
    training: int
    clusters: int
    kept: tuple[tuple[str, int], ...]

    def lines(self) -> list[str]:
        """One fact a line, for people."""
        parts = ", ".join(f"{tasks} of {count:,}" for tasks, count in self.kept)
        nothing = self.training - sum(count for _, count in self.kept)
        return [
            f"{self.dataset}: labels/derived-{self.name} and protocol {self.name}",
            f"  of {self.training:,} training samples ({self.clusters:,} clusters that stay together) it keeps "
            f"{parts}; nothing of {nothing:,}",
        ]


def hide_labels(lake: Lake, dataset: str, name: str, hiding: Hiding) -> HidingSummary:
    """Publish the layer `labels/derived-NAME`, and the protocol NAME: the base protocol with that layer as its truth.

    With the protocol, nothing that is hidden chooses an epoch or a temperature.

    Raises:
        UnknownNameError: No such dataset, labelling, protocol, task or unit.
        LabelRuleError: Shares that do not fit.
        ProtocolError: A labelling that a rule or a network made, samples without the unit, or the name of a protocol
            that the dataset itself has.
        StaleLayerError: The base protocol is older than its samples.
    """
    _check(hiding)
    check_name(lake, dataset, name, hiding.base)
    check_truth((hiding.source,), f"hide-labels: --labels for {dataset}")
    source, base = lake.layer(dataset, f"labels/{hiding.source}"), protocol_layer(lake, dataset, hiding.base)
    fingerprints = lake.fingerprints(dataset)
    who = identity(lake, dataset)
    unseen = unseen_pictures(lake, dataset)
    check_unit(who, hiding.by, dataset, unseen)
    named = roles(lake, dataset, hiding.base)
    training = named.filter(pc.equal(named["role"], "train"))["sample_id"].combine_chunks()
    rows = np.flatnonzero(pc.is_in(who["sample_id"], value_set=training))
    keys = tuple(key for key in known_keys(who) if key != "pixels" or not unseen)
    groups = clusters(who.take(pa.array(rows)), keys)
    part = np.full(len(who), len(hiding.keep), np.int64)  # samples that do not train keep everything
    table = lake.read(dataset, source.key)
    classes = _classes(table, who)[rows]
    part[rows] = _parts(groups, classes, [one.share for one in hiding.keep], hiding.seed)
    at = np.asarray(pc.index_in(table["sample_id"], value_set=who["sample_id"].combine_chunks()))
    kept = _without(table, part[at], hiding.keep)
    rule = f"{hiding.source}, of which training samples keep {', '.join(one.text for one in hiding.keep)}"
    command = hiding.command(dataset, name)
    said = replace(source.facts, fingerprint="", command=command, rule=rule)
    facts = replace(base.facts, fingerprint="", command=command, truth=[f"derived-{name}"], extra={})
    with lake.publish(dataset, command=command) as step:
        parents = {key: fingerprints[key] for key in ("samples", source.key, base.key)}
        step.write("labels", f"derived-{name}", kept, said, parents)
        step.write("protocols", name, lake.read(dataset, base.key), facts, {"samples": parents["samples"]})
    counts = tuple(("+".join(one.tasks), int((part[rows] == number).sum())) for number, one in enumerate(hiding.keep))
    return HidingSummary(dataset, name, len(rows), int(groups.max()) + 1, counts)


def hidden_ids(lake: Lake, dataset: str, name: str, source: str) -> pa.Array:
    """sample_id of every sample that the source labels and `derived-NAME` does not, sorted."""
    known = lake.read(dataset, f"labels/{source}", ["sample_id"])["sample_id"]
    left = lake.read(dataset, f"labels/derived-{name}", ["sample_id"])["sample_id"].combine_chunks()
    return known.filter(pc.invert(pc.is_in(known, value_set=left))).combine_chunks()


def parse_part(text: str) -> Part:
    """`va=0.3`, `va+au=0.3` or `all=0.3`.

    Raises:
        LabelRuleError: Something else.
    """
    tasks, equals, share = text.partition("=")
    try:
        return Part(tuple(tasks.split("+")), float(share))
    except ValueError:
        found = "no number behind =" if equals else "no ="
        raise LabelRuleError(f"part {text!r}", found=found, expected="TASK+TASK=SHARE, such as va+au=0.3") from None


def _check(hiding: Hiding) -> None:
    for task in (task for part in hiding.keep for task in part.tasks):
        if task not in (*TASKS, ALL):
            raise UnknownNameError("task", task, (*TASKS, ALL))
    shares = [part.share for part in hiding.keep]
    if not shares or min(shares) <= 0 or sum(shares) > 1 + 1e-9:
        raise LabelRuleError(
            "hide-labels: shares that do not fit",
            found=", ".join(part.text for part in hiding.keep) or "no part",
            expected="one part or more, each share above 0, together at most 1",
        )
    if hiding.by not in UNITS:
        raise UnknownNameError("unit of a split", hiding.by, UNITS)


def _classes(table: pa.Table, who: pa.Table) -> NDArray[np.int64]:
    """Expression of every sample as a number, so that each part has its share of every class."""
    at = pc.index_in(who["sample_id"], value_set=table["sample_id"].combine_chunks())
    codes = table["expression"].combine_chunks().take(at.combine_chunks()).dictionary_encode().indices
    return np.asarray(pc.add(pc.fill_null(codes, -1), 1)).astype(np.int64)


def _parts(
    groups: NDArray[np.int64], classes: NDArray[np.int64], shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Number of the part of each row, -1 for what keeps nothing; clusters stay whole."""
    result = np.full(len(groups), -1, np.int64)
    left, total = np.arange(len(groups)), 1.0
    for number, share in enumerate(shares):
        if share > total - 1e-9:
            result[left] = number
            break
        inner = np.unique(groups[left], return_inverse=True)[1].astype(np.int64)
        if not len(inner) or inner.max() < 1:
            raise LabelRuleError(
                f"hide-labels: {len(np.unique(groups))} clusters of samples that stay together",
                expected=f"more than {len(shares)}",
            )
        drawn = held_out(inner, np.unique(classes[left], return_inverse=True)[1], share / total, seed + number)
        result[left[drawn]] = number
        left, total = left[~drawn], total - share
    return result


def _without(table: pa.Table, part: NDArray[np.int64], keep: Sequence[Part]) -> pa.Table:
    """The labels without what their parts hide; rows of which nothing is left go. `part` is the part of each row."""
    for task, columns in _columns(table).items():
        shown = [n for n, one in enumerate(keep) if {ALL, *_BOUND.get(task, (task,))} & set(one.tasks)]
        kept = pa.array(np.isin(part, [*shown, len(keep)]))
        for name in columns:
            at = table.column_names.index(name)
            table = table.set_column(at, table.schema.field(name), pc.if_else(kept, table[name], None))
    anything = np.isin(part, [*range(len(keep)), len(keep)])
    return table.filter(pa.array(anything))


def _columns(table: pa.Table) -> dict[str, list[str]]:
    """Task -> its columns of a label layer, weights and the like included."""
    found: dict[str, list[str]] = {}
    for name in table.column_names:
        if name == "sample_id":
            continue
        owner = next((task for task, columns in TASK_COLUMNS.items() if name in columns), "")
        stem = name.removesuffix("_weight").removesuffix("_probs").removesuffix("_votes")
        task = owner or ("au" if name.startswith("au") else stem)
        found.setdefault(task, []).append(name)
    return found
