"""From the ten votes of FER+ to a class: the rules of the reference code (datasets/fer2013.md section 3).

Source: Barsoum, Zhang, Canton Ferrer, Zhang, "Training deep networks for facial expression recognition with
crowd-sourced label distribution", ICMI 2016; `_process_data` of `src/ferplus.py` in microsoft/FERPlus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manifests.vocabulary import EXPRESSIONS, VOTES

FERPLUS_CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""FER+ order of the eight classes; the votes add `unknown` and `NF` (not a face) behind them."""

FERPLUS_VOTES = (*FERPLUS_CLASSES, "unknown", "not_a_face")

_FACELESS = len(FERPLUS_CLASSES)
_ENOUGH = 0.75
_MOST_CLASSES = 3


@dataclass(frozen=True)
class Derived:
    """What a rule makes of N pictures.

    Args:
        kept: bool [N]; False where the rule drops the picture (unknown, or not a face).
        probs: float64 [N, 8] in the order of `FERPLUS_CLASSES`; rows sum to 1 where kept, else 0.
    """

    kept: NDArray[np.bool_]
    probs: NDArray[np.float64]

    @property
    def classes(self) -> NDArray[np.int64]:
        """Arg-max class [N] as an index into `FERPLUS_CLASSES`, first of equals; -1 where not kept."""
        best: NDArray[np.int64] = np.where(self.kept, self.probs.argmax(axis=1), -1)
        return best


def majority(votes: NDArray[np.integer]) -> Derived:
    """The class that holds strictly more than half of the votes, after single votes are set to 0.

    Args:
        votes: Counts [N, 10] in the order of `FERPLUS_VOTES`.
    """
    cleaned = _without_single_votes(votes)
    best = cleaned.argmax(axis=1)
    rows = np.arange(len(cleaned))
    result = np.zeros_like(cleaned)
    result[rows, best] = cleaned[rows, best]
    return _normalised(result, valid=cleaned[rows, best] > cleaned.sum(axis=1) / 2)


def probability(votes: NDArray[np.integer]) -> Derived:
    """The distribution over the most voted classes, up to three, that together hold 75 % of the votes.

    Args:
        votes: Counts [N, 10] in the order of `FERPLUS_VOTES`.
    """
    left = _without_single_votes(votes)
    total = left.sum(axis=1)
    result = np.zeros_like(left)
    moved = np.zeros(len(left))
    count = np.zeros(len(left), dtype=np.int64)
    open_ = np.ones(len(left), dtype=bool)
    while (passing := open_ & (moved < _ENOUGH * total) & (count < _MOST_CLASSES)).any():
        highest = left.max(axis=1)
        for column in range(left.shape[1]):
            hit = passing & (left[:, column] == highest)
            result[hit, column] = highest[hit]
            left[hit, column] = 0
            moved[hit] += highest[hit]
            count[hit] += 1
            if column >= _FACELESS:
                # Unknown or not-a-face ends the scan at once, and is put back if other classes came before it.
                open_ &= ~hit
                passing = passing & ~hit
                behind = hit & (result.sum(axis=1) > highest)
                result[behind, column] = 0
                count[behind] -= 1
    return _normalised(result, valid=(result.sum(axis=1) > total / 2) & (count <= _MOST_CLASSES))


def expression_probs(derived: Derived) -> NDArray[np.float32]:
    """Distributions [N, 9] in the order of `EXPRESSIONS`; `other`, which FER+ did not offer, holds 0."""
    probs = np.zeros((len(derived.probs), len(EXPRESSIONS)), dtype=np.float32)
    probs[:, [EXPRESSIONS.index(name) for name in FERPLUS_CLASSES]] = derived.probs
    return probs


def expression_votes(votes: NDArray[np.integer]) -> NDArray[np.float32]:
    """Votes [N, 11] in the order of `VOTES`; `other`, which FER+ did not offer, is NaN."""
    counts = np.full((len(votes), len(VOTES)), np.nan, dtype=np.float32)
    counts[:, [VOTES.index(name) for name in FERPLUS_VOTES]] = votes
    return counts


def _without_single_votes(votes: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.where(votes > 1, votes, 0).astype(np.float64)


def _normalised(result: NDArray[np.float64], valid: NDArray[np.bool_]) -> Derived:
    kept = valid & (result.argmax(axis=1) < _FACELESS)
    probs = result[:, :_FACELESS] * kept[:, None]
    return Derived(kept, probs / np.maximum(probs.sum(axis=1, keepdims=True), 1e-12))
