"""Truth and prediction of a classification, and their confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from trainer.metrics.result import AnyArray, Bools, Floats, Ints, MetricInputError, MetricResult, ratio, same_shape


@dataclass(frozen=True)
class Classified:
    """N rows of one class each; build it with `classified`, which checks it.

    Attributes:
        truth: Int [N], 0 where `valid` is false.
        predicted: Int [N], 0 where `valid` is false.
        valid: Bool [N], the rows that are labelled.
        classes: The fixed class list of the protocol, C names.
    """

    truth: Ints
    predicted: Ints
    valid: Bools
    classes: tuple[str, ...]

    def take(self, rows: Ints) -> Self:
        """The same evidence at the given rows (repeats allowed), as a bootstrap needs it."""
        return replace(self, truth=self.truth[rows], predicted=self.predicted[rows], valid=self.valid[rows])

    def result(self, name: str, value: float, *, variant: str = "", flags: tuple[str, ...] = ()) -> MetricResult:
        """A result over these rows; adds the flag `empty` when none is labelled, and then the value is NaN."""
        return self._result(name, value, (), variant, flags)

    def result_per_class(
        self, name: str, value: float, per_class: Floats, *, variant: str = "", flags: tuple[str, ...] = ()
    ) -> MetricResult:
        """A result that is a mean over classes, with the value of each."""
        return self._result(name, value, tuple(map(float, per_class)), variant, flags)

    def _result(
        self, name: str, value: float, per_class: tuple[float, ...], variant: str, flags: tuple[str, ...]
    ) -> MetricResult:
        used = int(self.valid.sum())
        return MetricResult(
            name=name,
            value=value if used else float("nan"),
            variant=variant,
            rows_used=used,
            rows_masked=len(self.valid) - used,
            labels=self.classes,
            per_label=per_class,
            flags=flags if used else ("empty",),
        )


def classified(
    truth: AnyArray, prediction: AnyArray, mask: AnyArray | None = None, *, classes: Sequence[str]
) -> Classified:
    """Check and pair the truth and the predictions of a classification.

    Args:
        truth: Int [N] class indices 0..C-1; never read where `mask` is false.
        prediction: Int [N] class indices, or scores [N, C] whose arg-max is the prediction.
        mask: Bool [N]; None means that every row is labelled.
        classes: The fixed class list of the protocol.

    Raises:
        MetricInputError: A labelled row holds a code outside 0..C-1 (a sentinel), a prediction is NaN or no class,
            or the shapes differ.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    valid = np.ones(truth.shape, bool) if mask is None else np.asarray(mask, bool)
    same_shape("mask of a classification", truth, valid)
    if prediction.ndim == 2:
        prediction = _argmax(prediction, valid, len(classes))
    same_shape("predictions of a classification", truth, prediction)
    return Classified(
        truth=_codes("class label", truth, valid, classes),
        predicted=_codes("predicted class", prediction, valid, classes),
        valid=valid,
        classes=tuple(classes),
    )


def _argmax(scores: AnyArray, valid: Bools, classes: int) -> Ints:
    if scores.shape[1] != classes:
        raise MetricInputError(
            "class scores of another width than the class list",
            found=f"{scores.shape[1]} columns",
            expected=f"{classes} classes",
        )
    if np.isnan(scores[valid]).any():
        raise MetricInputError("class scores", found="NaN in a labelled row", expected="numbers")
    return np.where(valid, np.argmax(scores, axis=1), 0).astype(np.int64)


def _codes(what: str, codes: AnyArray, valid: Bools, classes: Sequence[str]) -> Ints:
    kept = np.where(valid, codes, 0)
    wrong = ~np.isin(kept, np.arange(len(classes)))
    if wrong.any():
        raise MetricInputError(
            f"a {what} that names no class of the protocol",
            found=f"{kept[wrong][0]} in {int(wrong.sum())} rows",
            expected=f"0..{len(classes) - 1} ({', '.join(classes)}), or the row masked",
            then="mask unlabelled rows; a sentinel is never a class",
        )
    return kept.astype(np.int64)


@dataclass(frozen=True)
class Confusion:
    """Counts of truth (rows) against prediction (columns) over the class list.

    Attributes:
        matrix: Int [C, C], M[c, d] = rows of class c predicted as d.
        classes: C names.
    """

    matrix: Ints
    classes: tuple[str, ...]

    @property
    def truths(self) -> Ints:
        """Rows of each class, [C]."""
        total: Ints = self.matrix.sum(axis=1)
        return total

    @property
    def predictions(self) -> Ints:
        """Rows predicted as each class, [C]."""
        total: Ints = self.matrix.sum(axis=0)
        return total

    @property
    def hits(self) -> Ints:
        """Rows of each class predicted right, [C]."""
        return np.diagonal(self.matrix)

    @property
    def recall(self) -> Floats:
        """Recall of each class, NaN where the class is absent from the truth."""
        return ratio(self.hits, self.truths)

    @property
    def normalised(self) -> Floats:
        """Every row divided by its sum; NaN rows for classes absent from the truth."""
        return ratio(self.matrix, self.truths[:, None])

    def absent(self) -> str:
        """The flag that names the classes absent from the truth, or ""."""
        names = [name for name, count in zip(self.classes, self.truths, strict=True) if count == 0]
        return f"absent {', '.join(names)}" if names else ""


def confusion(rows: Classified) -> Confusion:
    """The confusion matrix of the labelled rows."""
    count = len(rows.classes)
    cells = rows.truth[rows.valid] * count + rows.predicted[rows.valid]
    return Confusion(np.bincount(cells, minlength=count * count).reshape(count, count), rows.classes)


def clips_of(clip: Ints, chances: AnyArray, code: Ints, classes: tuple[str, ...]) -> Classified:
    """One row per clip of several frames: the class of the highest mean probability (methods.md 2.9).

    Args:
        clip: [N], the clip of each frame, numbered from 0 without gaps.
        chances: [N, C], class probabilities of the frames.
        code: [N], class of each frame's clip; -1 unknown. A clip whose frames disagree is unknown.
        classes: The C names.
    """
    count = np.bincount(clip)
    mean = np.stack([np.bincount(clip, weights=column) for column in np.asarray(chances, np.float64).T], 1)
    lowest, highest = np.full(len(count), len(classes)), np.full(len(count), -1)
    known = code >= 0
    np.minimum.at(lowest, clip[known], code[known])
    np.maximum.at(highest, clip[known], code[known])
    agreed = lowest == highest
    return classified(np.where(agreed, highest, 0), mean / count[:, None], agreed, classes=classes)
