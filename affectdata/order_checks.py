"""Whether another order of the class codes fits a dataset better than the one it was read by.

Copies of a dataset circulate in which the same numbers stand for other classes, and nothing in the files says so. Three
things would look wrong: the class counts, the mean valence of each class, and where the mouth corners lie in each
class. Each check only warns: a person must look.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.card import Published
from affectdata.ingest_summary import SourceCounts

FALSE_ALARM = 1e-6
"""Chance that counts of a random part of the right dataset warn; at a thousand ingests a day, once in three years."""

FIT, BETTER = 0.1, 3.0
"""In total variation: how close the counts must come under the other order, and how much closer than as read. A copy
that lost some classes, or was balanced, fits no order and must not warn."""

LEAST, ERRORS = 20, 5.0
"""Samples a class needs before its mean is compared, and standard errors two means must differ by. Frames of one video
resemble each other, so that standard errors alone are too small: see `Measure.apart`."""

MOST_ROWS = 100_000
"""Rows that a mean is taken over at most, evenly spaced: more change no mean by a hundredth of what is looked for."""


@dataclass(frozen=True)
class Measure:
    """A number per sample whose class means have a known order.

    Args:
        name: In words.
        task: Task whose labels it is computed from.
        of: Label columns -> float [N]; NaN is unknown.
        columns: Label columns it needs.
        apart: Least difference of two class means that counts.
        order: A class, and those whose mean must lie below its own.
    """

    name: str
    task: str
    of: Callable[[pa.Table], NDArray[np.float64]]
    columns: tuple[str, ...]
    apart: float
    order: tuple[tuple[str, tuple[str, ...]], ...]


def order_warnings(
    published: Iterable[Published],
    variant: str,
    splits: Mapping[str, int],
    counts: Mapping[str, SourceCounts],
    labels: Callable[[str], Iterable[pa.Table]],
) -> Iterator[str]:
    """Warnings of all three checks, in words.

    Args:
        published: Of the CARD.
        variant: The distribution that was read.
        splits: Split -> samples.
        counts: Source -> what it says.
        labels: Source -> its label columns with `sample_id`, in pieces; asked only where a measure can be taken.
    """
    yield from share_warnings(published, variant, splits, counts)
    for source, said in counts.items():
        for measure in MEASURES:
            partner = _partner(source, measure.task, counts)
            named = sum(sum(columns.get("expression", {}).values()) for columns in said.classes.values())
            if partner and named >= 2 * LEAST:
                names = _classes(labels(source), max(1, named // MOST_ROWS))
                values = _measured(labels(partner), names, measure)
                if warning := measure_warning(source, measure, names.column("expression"), values):
                    yield warning


def share_warnings(
    published: Iterable[Published], variant: str, splits: Mapping[str, int], counts: Mapping[str, SourceCounts]
) -> Iterator[str]:
    """Warn where the class counts fit the published ones far better under another order of the classes.

    Rule, for K classes: among all orders, take the one that maximises the log likelihood of the counts under the
    published shares, less 2 ln K for every class that moves. Warn if it gains more than ln(2 / FALSE_ALARM) over the
    order as read, and brings the shares within FIT and BETTER times closer. Were the counts a random part of the
    published ones, the likelihood ratio of any one order would exceed e^t with a chance of e^-t at most (Markov); at
    most K^m orders move m classes, so that the penalty keeps the chance over all of them below 2 e^-t. Two classes of
    like size, and small samples, thus never warn.
    """
    for entry in published:
        wanted = {name: count for name, count in entry.counts.items() if name}
        if len(wanted) < 2 or (entry.variants and variant not in entry.variants):
            continue
        if entry.source not in counts or (entry.split and not splits.get(entry.split)):
            continue
        read = _read(counts[entry.source], entry)
        likely = likely_order(read, wanted)
        if likely:
            where = " ".join(filter(None, (entry.source, entry.split)))
            shown = ", ".join(f"{name} {read.get(name, 0):,} of {wanted.get(name, 0):,}" for name in likely)
            yield f"{where}: {_in_words(likely)}, by the published counts ({entry.sure}): {shown}"


def likely_order(read: Mapping[str, int], published: Mapping[str, int]) -> dict[str, str]:
    """Class as read -> class that its count fits, for those that move; empty where the order stands."""
    from scipy.optimize import linear_sum_assignment

    names = sorted({*read, *published})
    found, wanted = (np.array([counts.get(name, 0) for name in names], float) for counts in (read, published))
    if len(names) < 2 or not found.sum() or not wanted.sum():
        return {}
    shares = (wanted + 0.5) / (wanted + 0.5).sum()
    cost = -np.outer(found, np.log(shares)) + 2 * math.log(len(names)) * (1 - np.eye(len(names)))
    chosen = linear_sum_assignment(cost)[1]
    gain = np.trace(cost) - cost[np.arange(len(names)), chosen].sum()
    before, after = (0.5 * np.abs(found / found.sum() - shares[to]).sum() for to in (np.arange(len(names)), chosen))
    if gain < math.log(2 / FALSE_ALARM) or after > FIT or before < BETTER * after:
        return {}
    return {names[n]: names[to] for n, to in enumerate(chosen.tolist()) if n != to}


def measure_warning(
    source: str, measure: Measure, names: pa.ChunkedArray | pa.Array, values: NDArray[np.float64]
) -> str | None:
    """Warn where class means lie in an order that no right reading gives.

    Rule: where a class lies below one that must lie below it, by more than `measure.apart` and ERRORS standard errors,
    both with LEAST samples, the highest of those is likely the class. Tiny samples never warn.

    Args:
        names: Expression [N] as read.
        values: The measure [N]; NaN is unknown.
    """
    means = _means(names, values)
    likely = {name: name for name in means}
    for top, below in measure.order:
        mine = next((read for read, is_ in likely.items() if is_ == top), None)
        over = [read for read, is_ in likely.items() if mine and is_ in below and _above(means, read, mine, measure)]
        if mine and over:
            best = max(over, key=lambda read: means[read][0])
            likely[mine], likely[best] = likely[best], likely[mine]
    moved = {read: is_ for read, is_ in likely.items() if read != is_}
    if not moved:
        return None
    shown = ", ".join(f"{name} {means[name][0]:+.2f}" for name in sorted(means, key=lambda name: -means[name][0]))
    return f"{source}: {_in_words(moved)}, by {measure.name} per class: {shown}"


def valence(labels: pa.Table) -> NDArray[np.float64]:
    """Valence [N]; NaN is unknown."""
    return np.asarray(labels.column("valence").to_numpy(), np.float64)


def mouth_corner_height(labels: pa.Table) -> NDArray[np.float64]:
    """How far the mouth corners lie above the middle of the lips [N], in inter-ocular distances.

    Corners 48 and 54, middle of the outer lips 51 and 57, outer eye corners 36 and 45; measured at right angles to the
    line through the eyes, so that a tilted head changes nothing.
    """
    column = labels.column("landmarks").combine_chunks()
    flat = np.full((len(column), 136), np.nan)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    flat[known] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, 136)
    points = flat.reshape(-1, 68, 2)
    eyes = points[:, 45] - points[:, 36]
    run = points[:, [51, 57]].mean(axis=1) - points[:, [48, 54]].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        height: NDArray[np.float64] = (eyes[:, 0] * run[:, 1] - eyes[:, 1] * run[:, 0]) / (eyes**2).sum(axis=1)
    return np.where(np.isfinite(height), height, np.nan)


_NEGATIVE = ("sadness", "fear", "disgust", "anger")

MEASURES = (
    Measure(
        "mean valence", "va", valence, ("valence",), 0.1,
        (("happiness", ("neutral", "surprise", "contempt", *_NEGATIVE)), ("neutral", _NEGATIVE)),
    ),
    # An open mouth lowers the middle of the lips and so lifts the corners: surprise and fear say nothing here.
    Measure(
        "height of the mouth corners", "landmarks", mouth_corner_height, ("landmarks",), 0.02,
        (("happiness", ("neutral", "sadness", "anger")),),
    ),
)  # fmt: skip
"""Happiness is the one pleasant class and the one with raised mouth corners (AU12). 0.1 is a twentieth of the scale of
valence; 0.02 of the inter-ocular distance is what a landmark is uncertain by."""


def _read(said: SourceCounts, entry: Published) -> dict[str, int]:
    """Class -> samples of the column and split that a published entry is about."""
    chosen = [said.classes.get(entry.split, {})] if entry.split else list(said.classes.values())
    totals: dict[str, int] = {}
    for columns in chosen:
        for name, count in columns.get(entry.column, {}).items():
            totals[name] = totals.get(name, 0) + count
    return totals


def _partner(source: str, task: str, counts: Mapping[str, SourceCounts]) -> str | None:
    """The source whose labels of a task are held against the classes of a source: itself, else people's, else any."""
    able = [name for name, said in counts.items() if said.labelled.get(task)]
    return min(able, key=lambda name: (name != source, not name.startswith("human"), name), default=None)


def _classes(labels: Iterable[pa.Table], stride: int) -> pa.Table:
    """sample_id and expression of every so manieth labelled row."""
    tables = [pa.table({name: pa.array([], pa.string()) for name in ("sample_id", "expression")})]
    for table in (table for table in labels if "expression" in table.column_names):
        known = table.select(["sample_id", "expression"]).filter(pc.is_valid(table.column("expression")))
        tables.append(known.take(pa.array(np.arange(0, known.num_rows, stride))))
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def _measured(labels: Iterable[pa.Table], names: pa.Table, measure: Measure) -> NDArray[np.float64]:
    """The measure of each named sample; NaN where it is unknown."""
    values = np.full(names.num_rows, np.nan)
    ids = names.column("sample_id").combine_chunks()
    for table in (table for table in labels if set(measure.columns) <= set(table.column_names)):
        at = pc.index_in(table.column("sample_id"), value_set=ids)
        wanted = table.select(measure.columns).filter(pc.is_valid(at))
        values[at.drop_null().to_numpy()] = measure.of(wanted)
    return values


def _means(names: pa.ChunkedArray | pa.Array, values: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    """Class -> mean and squared standard error, of classes with enough samples."""
    known = np.isfinite(values)
    read = np.asarray(names.to_numpy(zero_copy_only=False))[known] if len(names) else np.empty(0, object)
    found = {str(name): values[known][read == name] for name in np.unique(read.astype(str))}
    return {name: (float(v.mean()), float(v.var() / len(v))) for name, v in found.items() if len(v) >= LEAST}


def _above(means: Mapping[str, tuple[float, float]], a: str, b: str, measure: Measure) -> bool:
    """Whether the mean of a lies above that of b, beyond doubt."""
    difference = means[a][0] - means[b][0]
    return difference > measure.apart and difference > ERRORS * math.sqrt(means[a][1] + means[b][1])


def _in_words(likely: Mapping[str, str]) -> str:
    moves = ", ".join(f"what was read as {read} is likely {is_}" for read, is_ in sorted(likely.items()))
    return f"another order of the class codes fits better: {moves}"
