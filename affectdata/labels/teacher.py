"""What a teacher predicted, as labels for the cells that nobody has labelled: the layer `teacher-<run>`.

The network stays outside: its predictions arrive as arrays. Source: He et al. 2021 (F3R), with the readings F6-F8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manifests.vocabulary import EXPRESSIONS, au_column

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

Mode = Literal["soft", "hard", "release_exact"]

_VA_CLIP: Mapping[Mode, float] = {"soft": 1.0, "hard": 0.99, "release_exact": 0.99}
"""Hard labels are clipped as the authors' release does; soft ones to what valence and arousal can be."""

_AU_CUT: Mapping[Mode, float] = {"soft": 0.5, "hard": 0.5, "release_exact": 1 / (1 + math.exp(-0.5))}
"""An AU is present above it (F6). The release cuts the logit at .5, which is .6225 of the probability."""


@dataclass(frozen=True)
class Predicted:
    """Predictions of N samples, as far as the teacher has the task.

    Args:
        expression: Class probabilities [N, C] over `classes`.
        va: Valence and arousal [N, 2].
        au: Probabilities of presence [N, K] of `aus`.
        landmarks: [N, 68, 2], pixels of the source image.
    """

    ids: pa.Array
    classes: tuple[str, ...] = ()
    aus: tuple[int, ...] = ()
    expression: Floats | None = None
    va: Floats | None = None
    au: Floats | None = None
    landmarks: Floats | None = None


@dataclass(frozen=True)
class Known:
    """Which cells another source labels already: bool [N], AUs [N, K]. They are left alone."""

    expression: Mask
    va: Mask
    au: Mask
    landmarks: Mask

    def part(self, rows: slice) -> Known:
        """Those of some rows."""
        return Known(self.expression[rows], self.va[rows], self.au[rows], self.landmarks[rows])


@dataclass(frozen=True)
class TeacherRule:
    """How predictions become labels.

    Args:
        mode: `hard`: class, and AU absent or present; `soft`: also the distribution and the probabilities;
            `release_exact`: hard, with the AU cut of the authors' release.
        min_confidence: A class, or an AU's more likely side, less probable than this stays unknown.
        weight: Weight of every label in training.
        cuts: AU -> probability from which on it counts as present; an AU that is not named is cut as the mode does.
    """

    mode: Mode = "soft"
    min_confidence: float = 0.0
    weight: float = 1.0
    cuts: Mapping[int, float] = field(default_factory=dict)


def teacher_labels(predicted: Predicted, known: Known, rule: TeacherRule) -> tuple[pa.Table, dict[str, int]]:
    """Rows of a label layer, those that say nothing left out, and how many samples each task gained."""
    columns: dict[str, pa.Array] = {"sample_id": predicted.ids}
    says: dict[str, Mask] = {}
    if predicted.expression is not None:
        sure: Mask = np.asarray(predicted.expression.max(1) >= rule.min_confidence)
        says["expression"] = ~known.expression & sure
        columns |= _expression(predicted, says["expression"], rule)
    if predicted.va is not None:
        says["va"] = ~known.va
        limit = _VA_CLIP[rule.mode]
        for axis, name in enumerate(("valence", "arousal")):
            columns[name] = pa.array(np.clip(predicted.va[:, axis], -limit, limit), mask=known.va)
        columns |= _weight("va", says["va"], rule)
    if predicted.au is not None:
        cells: Mask = ~known.au & np.asarray(np.maximum(predicted.au, 1 - predicted.au) >= rule.min_confidence)
        says["au"] = np.asarray(cells.any(1))
        columns |= _aus(predicted.aus, predicted.au, cells, rule)
    if predicted.landmarks is not None:
        says["landmarks"] = ~known.landmarks
        flat = pa.array(predicted.landmarks.astype(np.float32).ravel())
        columns["landmarks"] = pa.FixedSizeListArray.from_arrays(flat, 136, mask=pa.array(known.landmarks))
        columns |= _weight("landmarks", says["landmarks"], rule)
    any_task = np.zeros(len(predicted.ids), bool)
    for mask in says.values():
        any_task |= mask
    return pa.table(columns).filter(pa.array(any_task)), {task: int(mask.sum()) for task, mask in says.items()}


def _expression(predicted: Predicted, says: Mask, rule: TeacherRule) -> dict[str, pa.Array]:
    assert predicted.expression is not None  # the caller has looked
    names = np.array(predicted.classes, object)[predicted.expression.argmax(1)]
    columns = {"expression": pa.array(names, pa.string(), mask=~says)} | _weight("expression", says, rule)
    if rule.mode == "soft":
        wide = np.zeros((len(names), len(EXPRESSIONS)), np.float32)
        wide[:, [EXPRESSIONS.index(name) for name in predicted.classes]] = predicted.expression
        columns["expression_probs"] = pa.FixedSizeListArray.from_arrays(
            pa.array(wide.ravel()), len(EXPRESSIONS), mask=pa.array(~says)
        )
    return columns


def _aus(aus: tuple[int, ...], probs: Floats, cells: Mask, rule: TeacherRule) -> dict[str, pa.Array]:
    columns: dict[str, pa.Array] = {}
    for k, au in enumerate(aus):
        present = probs[:, k] >= rule.cuts[au] if au in rule.cuts else probs[:, k] > _AU_CUT[rule.mode]
        columns[au_column(au)] = pa.array(present.astype(np.int8), mask=~cells[:, k])
        if rule.mode == "soft":
            columns[au_column(au, "prob")] = pa.array(np.ascontiguousarray(probs[:, k]), mask=~cells[:, k])
        if rule.weight != 1:
            columns[au_column(au, "weight")] = pa.array(np.full(len(probs), rule.weight, np.float32), mask=~cells[:, k])
    return columns


def _weight(task: str, says: Mask, rule: TeacherRule) -> dict[str, pa.Array]:
    """A weight column; NULL is 1, so a weight of 1 needs none."""
    if rule.weight == 1:
        return {}
    return {f"{task}_weight": pa.array(np.full(len(says), rule.weight, np.float32), mask=~says)}
