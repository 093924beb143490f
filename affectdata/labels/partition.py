"""Rows cut into parts that never split a cluster, with the classes spread evenly over the parts."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]

LONG_SEARCH = 100_000
"""Clusters times parts from which on `_swift` cuts: scikit-learn's search takes about 0.1 ms for each."""

_PARTS = (20, 60)
"""A hold-out is drawn as some of at least, and at most, this many parts; finer shares are cut by `_swift`."""


def fold_numbers(groups: Codes, classes: Codes, folds: int, seed: int) -> Codes:
    """Part of each row, 0 to folds - 1; clusters stay whole. With very many clusters see `_swift`.

    Args:
        groups: (N,) cluster of each row, numbered from 0 without gaps; at least `folds` of them.
        classes: (N,) class of each row, numbered from 0.
    """
    if (groups.max() + 1) * folds > LONG_SEARCH:
        return np.minimum((_swift(groups, classes, seed) * folds).astype(np.int64), folds - 1)
    return _searched(groups, classes, folds, seed)


def held_out(groups: Codes, classes: Codes, share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are held out: close to `share` of them, as whole clusters, never none and never all.

    Args:
        groups: (N,) cluster of each row, numbered from 0 without gaps; at least 2 of them.
        classes: (N,) class of each row, numbered from 0.
        share: Between 0 and 1.
    """
    count = int(groups.max()) + 1
    parts = _parts(share, count)
    needed = min(count, 1 / min(share, 1 - share))
    if count * parts <= LONG_SEARCH and needed <= _PARTS[1]:
        held = min(max(1, round(share * parts)), parts - 1)
        chosen = _searched(groups, classes, parts, seed) < held
        if chosen.any() and not chosen.all():
            return np.asarray(chosen, bool)
    place = _swift(groups, classes, seed)
    chosen = place < share
    if not chosen.any():
        chosen = groups == groups[np.argmin(place)]
    if chosen.all():
        chosen = groups != groups[np.argmax(place)]
    return np.asarray(chosen, bool)


def _parts(share: float, clusters: int) -> int:
    """The number of parts of which a whole number comes closest to the share; the fewest among equals."""
    fewest = min(clusters, max(_PARTS[0], math.ceil(1 / min(share, 1 - share))), _PARTS[1])
    choices = range(fewest, min(clusters, 2 * fewest, _PARTS[1]) + 1)
    return min(choices, key=lambda parts: round(abs(round(share * parts) / parts - share), 9))


def _searched(groups: Codes, classes: Codes, parts: int, seed: int) -> Codes:
    """Parts of nearly the same size and the same classes, as scikit-learn finds them."""
    from sklearn.model_selection import StratifiedGroupKFold

    if np.bincount(classes).max() < parts:  # no class is large enough to lie in every part
        classes = np.zeros(len(groups), np.int64)
    splitter = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=seed)
    number = np.zeros(len(groups), np.int64)
    with warnings.catch_warnings():  # a class rarer than the number of parts cannot lie in each of them
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for part, (_, rows) in enumerate(splitter.split(classes, classes, groups)):
            number[rows] = part
    return number


def _swift(groups: Codes, classes: Codes, seed: int) -> NDArray[np.float64]:
    """A place in 0 to 1 for each row, by which to cut; the same for all rows of a cluster.

    The clusters whose first row has a given class are shuffled and laid end to end; a cluster's place is that of
    its middle. So each class is cut at the same shares, as well as the sizes of its clusters allow.
    """
    sizes = np.bincount(groups)
    first = np.unique(groups, return_index=True)[1]
    kind = classes[first]
    order = np.lexsort((np.random.default_rng(seed).random(len(sizes)), kind))
    ends = np.cumsum(sizes[order])
    totals = np.bincount(kind, weights=sizes)
    starts = np.concatenate([[0.0], np.cumsum(totals)[:-1]])
    place = np.empty(len(sizes))
    place[order] = (ends - sizes[order] / 2 - starts[kind[order]]) / totals[kind[order]]
    return np.asarray(place[groups], np.float64)
