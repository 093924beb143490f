"""Co-annotation: what an expression says of action units, and what action units say of the expression.

Kollias, Sharmanska and Zafeiriou 2019 (FaceBehaviorNet), with the readings B7-B11 of their print. Everything here is
arithmetic on arrays; `coannotate.py` takes them from a lake and puts them back. A listed AU may become positive; an
unlisted one stays unknown, and no cell that is known already is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from affectdata.labels.relatedness import RelatednessTable
from manifests.vocabulary import AUS, EXPRESSIONS

Cells = NDArray[np.int8]
"""[N, K] with K = len(vocabulary.AUS), column AU - 1: 1 present, 0 absent, -1 unknown."""

Floats = NDArray[np.float64]

BASIC = ("happiness", "sadness", "fear", "anger", "surprise", "disgust")
"""Emotions that AUs can be turned into, in the order of Du et al.'s table."""

SOFT_CLASSES = (*BASIC, "neutral")

_JAW_DROP, _MOUTH_STRETCH = 26, 27


@dataclass(frozen=True)
class Rule:
    """How labels are derived.

    Args:
        table: Which AUs belong to which emotion.
        space: AUs that a network predicts; the others are ignored when AUs are turned into an emotion.
        jaw: `26`: AU26 is left unknown where AU27 is coded, for no face shows both; `26or27`: AU26 stands for either.
        require: `all` listed AUs must be present for an emotion, or the `prototypical` ones only.
        neutral: Soft score of neutral: `rest`, 1 - the largest AU, or `none`.
        temperature: Divides the soft scores; 1 is the paper's, and nearly flat.
    """

    table: RelatednessTable
    space: tuple[int, ...]
    jaw: Literal["26", "26or27"] = "26"
    require: Literal["all", "prototypical"] = "all"
    neutral: Literal["rest", "none"] = "rest"
    temperature: float = 1.0


def weights_of(table: RelatednessTable, emotions: tuple[str, ...]) -> Floats:
    """[E, K]: 1 for a prototypical AU, its fraction for an observational one, 0 for an unlisted one or no such row."""
    rows = [table.rows.get(name) for name in emotions]
    return np.array([[row.weight(au) if row else 0.0 for au in AUS] for row in rows])


def listed_aus(rule: Rule, emotion: NDArray[np.integer], emotions: tuple[str, ...], known: Cells) -> Floats:
    """Weights of the AUs that become positive because of the expression: [N, K], 0 where nothing is said.

    Args:
        rule: The table and the jaw rule.
        emotion: [N], positions in `emotions`; -1 is unknown.
        emotions: Names, basic or compound.
        known: AU cells that other sources know; they are never touched.
    """
    table = np.vstack([weights_of(rule.table, emotions), np.zeros(len(AUS))])  # the last row: unknown
    weights: Floats = np.where(known < 0, table[emotion], 0.0)
    if rule.jaw == "26":
        weights[known[:, _MOUTH_STRETCH - 1] == 1, _JAW_DROP - 1] = 0.0
    return weights


def implied_emotions(rule: Rule, known: Cells) -> NDArray[np.int64]:
    """The emotion whose AUs are all known to be present: [N], positions in `BASIC`, -1 for none.

    One unknown AU blocks its emotion and not the others. Of several, the one with the most AUs wins, then the larger
    sum of weights, then the order of `BASIC` (reading B8b).
    """
    found = _with_jaw(rule, known)
    weights = weights_of(rule.table, BASIC)
    inside = np.isin(AUS, rule.space)
    required = (weights == 1 if rule.require == "prototypical" else weights > 0) & inside
    holds = np.stack([(found[:, need] == 1).all(1) & bool(need.any()) for need in required], axis=1)
    # One number that orders them: the count first, then the weights (at most as many), then the place.
    rank = required.sum(1) * 1000.0 + (weights * required).sum(1) - np.arange(len(BASIC)) * 1e-6
    best = np.where(holds, rank, -np.inf).argmax(1)
    return np.where(holds.any(1), best, -1).astype(np.int64)


def soft_emotions(rule: Rule, known: Cells) -> Floats:
    """A distribution over `SOFT_CLASSES` for each row: [N, 7]; NaN where no AU of the space is known.

    The score of an emotion is the weighted share of its known AUs that are present; an emotion none of whose
    prototypical AUs is known scores 0 (B11; where its row has none, any listed AU counts). Neutral scores
    1 - the largest AU (B10). Source: section 2.4 of the paper.
    """
    found = _with_jaw(rule, known)
    inside = np.isin(AUS, rule.space)
    weights = weights_of(rule.table, BASIC) * inside
    labelled, present = (found >= 0).astype(float), (found == 1).astype(float)
    mass = labelled @ weights.T
    scores = np.divide(present @ weights.T, mass, out=np.zeros_like(mass), where=mass > 0)
    leading = np.where((weights == 1).any(1, keepdims=True), weights == 1, weights > 0)
    scores[(labelled @ leading.T.astype(float)) == 0] = 0.0
    active = (present * inside).max(1)
    rest = np.full(len(found), -np.inf) if rule.neutral == "none" else 1.0 - active
    logits = np.column_stack([scores, rest]) / rule.temperature
    spread = np.exp(logits - logits.max(1, keepdims=True))
    result: Floats = spread / spread.sum(1, keepdims=True)
    result[(labelled * inside).sum(1) == 0] = np.nan
    return result


def entropy(distributions: Floats) -> float:
    """Mean entropy of rows that sum to 1, in nats; NaN without rows. ln 7 = 1.9459 is flat."""
    if not len(distributions):
        return float("nan")
    logs = np.log(distributions, out=np.zeros_like(distributions), where=distributions > 0)
    return float(-(distributions * logs).sum(1).mean())


def as_expression_probs(distributions: Floats) -> Floats:
    """Distributions over `SOFT_CLASSES` in the order of `vocabulary.EXPRESSIONS`: [N, 9]."""
    wide = np.zeros((len(distributions), len(EXPRESSIONS)))
    wide[:, [EXPRESSIONS.index(name) for name in SOFT_CLASSES]] = distributions
    return wide


def _with_jaw(rule: Rule, known: Cells) -> Cells:
    """The cells, with AU27 counted as AU26 where the rule says so."""
    if rule.jaw == "26":
        return known
    found = known.copy()
    found[known[:, _MOUTH_STRETCH - 1] == 1, _JAW_DROP - 1] = 1
    return found
