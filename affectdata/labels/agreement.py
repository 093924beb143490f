"""How far annotators agree: kappa, Krippendorff's alpha and ICC, with intervals over the units of a split.

Every coefficient is a function of sums over samples, so that a bootstrap over subjects, videos or groups of identical
pictures adds up the sums of the units that it draws.

Sources: Fleiss 1971 (kappa of counts; here each sample may have another number of votes); Cohen 1960; Krippendorff,
Content Analysis, 3rd ed. 2013, chapter 12 (alpha); McGraw and Wong 1996 (ICC(A,1)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.labels.known import named_layers
from manifests.lake import Lake
from manifests.protocols import clusters, identity, known_keys
from manifests.query import DEFAULT_SOURCES
from manifests.vocabulary import AUS, VOTES, au_column

Floats = NDArray[np.float64]
RESAMPLES = 1000
_CLASSES = ("expression", "compound", "mental_state", *(au_column(au) for au in AUS))
_SCALES = ("valence", "arousal", *(au_column(au, "intensity") for au in AUS))


@dataclass(frozen=True)
class Sums:
    """A coefficient: what each sample adds, [N, S], and what the sums [..., S] make, [...]; NaN where undefined."""

    name: str
    each: Floats
    combine: Callable[[Floats], Floats]

    @property
    def value(self) -> float:
        """The coefficient of all samples."""
        return float(self.combine(self.each.sum(0)))

    def interval(self, units: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
        """2.5th and 97.5th percentile under resampling of whole units [N]; NaN with fewer than two."""
        _, codes = np.unique(units, return_inverse=True)
        count = int(codes.max()) + 1 if len(codes) else 0
        if count < 2:
            return float("nan"), float("nan")
        per_unit = np.zeros((count, self.each.shape[1]))
        np.add.at(per_unit, codes, self.each)
        draw = np.random.default_rng(seed)
        sums = [np.bincount(draw.integers(0, count, count), minlength=count) @ per_unit for _ in range(resamples)]
        values = self.combine(np.stack(sums))
        values = values[np.isfinite(values)]
        if not len(values):
            return float("nan"), float("nan")
        low, high = np.percentile(values, [2.5, 97.5])
        return float(low), float(high)


def fleiss_kappa(votes: Floats) -> Sums:
    """Fleiss' kappa of votes [N, C], at least two per sample; numbers of votes may differ."""
    total = votes.sum(1, keepdims=True)
    agreed = (votes * (votes - 1)).sum(1, keepdims=True) / (total * (total - 1))
    each = np.hstack([np.ones_like(total), agreed, votes])

    def combine(sums: Floats) -> Floats:
        shares = sums[..., 2:] / sums[..., 2:].sum(-1, keepdims=True)
        chance = (shares**2).sum(-1)
        return _ratio(sums[..., 1] / sums[..., 0] - chance, 1 - chance)

    return Sums("Fleiss' kappa", each, combine)


def nominal_alpha(votes: Floats) -> Sums:
    """Krippendorff's alpha of classes, from votes [N, C], at least two per sample."""
    total = votes.sum(1, keepdims=True)
    same = (votes * (votes - 1)).sum(1, keepdims=True) / (total - 1)

    def combine(sums: Floats) -> Floats:
        counts = sums[..., 1:]
        n = counts.sum(-1)
        observed = 1 - sums[..., 0] / n
        expected = 1 - (counts * (counts - 1)).sum(-1) / (n * (n - 1))
        return 1 - _ratio(observed, expected)

    return Sums("Krippendorff's alpha (nominal)", np.hstack([same, votes]), combine)


def cohen_kappa(one: NDArray[np.int64], two: NDArray[np.int64], classes: int) -> Sums:
    """Cohen's kappa of two labellings [N] with codes 0 to classes - 1."""
    each = np.zeros((len(one), classes * classes))
    each[np.arange(len(one)), one * classes + two] = 1

    def combine(sums: Floats) -> Floats:
        table = sums.reshape(*sums.shape[:-1], classes, classes)
        n = table.sum((-1, -2))
        chance = (table.sum(-1) * table.sum(-2)).sum(-1) / n**2
        return _ratio(np.trace(table, axis1=-2, axis2=-1) / n - chance, 1 - chance)

    return Sums("Cohen's kappa", each, combine)


def icc_agreement(ratings: Floats) -> Sums:
    """ICC(A,1), two-way, absolute agreement, single rater, of ratings [N, K] without gaps."""
    k = ratings.shape[1]
    # About one common point, which changes no mean square, so that squares of large numbers do not cancel.
    values = ratings - ratings.mean() if ratings.size else ratings
    row = values.sum(1, keepdims=True)
    each = np.hstack([np.ones_like(row), row**2, (values**2).sum(1, keepdims=True), values])

    def combine(sums: Floats) -> Floats:
        n, rows, squares, columns = sums[..., 0], sums[..., 1], sums[..., 2], sums[..., 3:]
        centre = columns.sum(-1) ** 2 / (n * k)
        between, raters = rows / k - centre, (columns**2).sum(-1) / n - centre
        left = squares - centre - between - raters
        msr, msc = _ratio(between, n - 1), raters / (k - 1)
        mse = _ratio(left, (n - 1) * (k - 1))
        return _ratio(msr - mse, msr + (k - 1) * mse + k / n * (msc - mse))

    return Sums("ICC(A,1)", each, combine)


def interval_alpha(ratings: Floats) -> Sums:
    """Krippendorff's alpha with squared differences, of ratings [N, K] without gaps."""
    k = ratings.shape[1]
    values = ratings - ratings.mean() if ratings.size else ratings
    row, squares = values.sum(1, keepdims=True), (values**2).sum(1, keepdims=True)
    within = 2 * (k * squares - row**2) / (k - 1)

    def combine(sums: Floats) -> Floats:
        n = sums[..., 0] * k
        expected = 2 * (n * sums[..., 3] - sums[..., 2] ** 2) / (n * (n - 1))
        return 1 - _ratio(sums[..., 1] / n, expected)

    return Sums("Krippendorff's alpha (interval)", np.hstack([np.ones_like(row), within, row, squares]), combine)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Quotient; NaN where nothing varies, so that there is no chance agreement to compare with."""
    top, bottom = np.broadcast_arrays(np.asarray(top, np.float64), np.asarray(bottom, np.float64))
    quotient: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=np.abs(bottom) > 1e-12)
    return quotient


@dataclass(frozen=True)
class Agreement:
    """One coefficient of one label column.

    Args:
        column: Label column, such as expression or au12_intensity.
        between: `votes of SOURCE`, or the two labellings.
        low: 2.5th percentile of the bootstrap over units; NaN with one unit.
        high: 97.5th.
        samples: Samples that two or more speak about.
        units: People, videos or groups of identical pictures that were drawn from; else samples.
    """

    column: str
    between: str
    coefficient: str
    value: float
    low: float
    high: float
    samples: int
    units: int


def agreement(lake: Lake, dataset: str, sources: Sequence[str] = DEFAULT_SOURCES, *, seed: int = 0) -> list[Agreement]:
    """Agreement within the votes of each labelling, and between every two labellings of a dataset.

    Args:
        sources: Labellings to compare, by name or pattern with `*`.

    Raises:
        UnknownNameError: No such dataset.
        SourceOrderError: A pattern is unknown.
        StaleLayerError: A labelling is stale.
    """
    who = identity(lake, dataset)
    unit = clusters(who, known_keys(who))
    ids = who["sample_id"].combine_chunks()
    names = [layer.name for layer in named_layers(lake, dataset, sources)]
    tables = {name: lake.read(dataset, f"labels/{name}") for name in names}
    tables = {name: t.take(pc.index_in(ids, value_set=t["sample_id"].combine_chunks())) for name, t in tables.items()}
    found = [row for name in names for row in _votes(name, tables[name], unit, seed)]
    for one, two in combinations(names, 2):
        found += _between((one, two), (tables[one], tables[two]), unit, seed)
    return found


def _votes(name: str, table: pa.Table, unit: NDArray[np.int64], seed: int) -> Iterator[Agreement]:
    votes = table["expression_votes"].combine_chunks()
    known = np.asarray(pc.is_valid(votes))
    if not known.any():
        return
    flat = votes.drop_null().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    counts = np.nan_to_num(flat).reshape(-1, len(VOTES))
    several = counts.sum(1) >= 2
    counts, unit = counts[several], unit[known][several]
    for sums in (fleiss_kappa(counts), nominal_alpha(counts)):
        yield _row("expression", f"votes of {name}", sums, unit, seed)


def _between(
    names: tuple[str, str], tables: tuple[pa.Table, pa.Table], unit: NDArray[np.int64], seed: int
) -> Iterator[Agreement]:
    for column in (*_CLASSES, *_SCALES):
        one, two = (table[column].combine_chunks() for table in tables)
        both = pc.and_(pc.is_valid(one), pc.is_valid(two))
        if not pc.any(both).as_py():
            continue
        one, two, units = one.filter(both), two.filter(both), unit[np.asarray(both)]
        if column in _SCALES:
            ratings = np.stack([np.asarray(one), np.asarray(two)], 1).astype(np.float64)
            coefficients = [icc_agreement(ratings), interval_alpha(ratings)]
        else:
            codes = pa.concat_arrays([one, two]).dictionary_encode()
            pair = np.asarray(codes.indices).astype(np.int64).reshape(2, -1)
            votes = np.eye(len(codes.dictionary))[pair].sum(0)
            coefficients = [cohen_kappa(pair[0], pair[1], len(codes.dictionary)), nominal_alpha(votes)]
        for sums in coefficients:
            yield _row(column, " and ".join(names), sums, units, seed)


def _row(column: str, between: str, sums: Sums, unit: NDArray[np.int64], seed: int) -> Agreement:
    low, high = sums.interval(unit, seed=seed)
    return Agreement(column, between, sums.name, sums.value, low, high, len(unit), len(np.unique(unit)))
