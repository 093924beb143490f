"""Truth and probabilities of action units, cell by cell, and the thresholds that turn them into decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from manifests.vocabulary import au_column
from trainer.metrics.result import AnyArray, Bools, Floats, Ints, MetricInputError, MetricResult, ratio, same_shape


@dataclass(frozen=True)
class Threshold:
    """The probability at or above which an AU counts as present, and how that cut was chosen.

    Attributes:
        policy: `fixed_0.5`; `val_tuned`, chosen on rows that are not reported; `test_tuned`, an upper bound that
            must carry this name; `logit_cut_0.5`.
        cuts: One cut for all AUs, or one per AU.
    """

    policy: str
    cuts: tuple[float, ...]


FIXED = Threshold("fixed_0.5", (0.5,))
LOGIT_CUT = Threshold("logit_cut_0.5", (1 / (1 + float(np.exp(-0.5))),))
"""0.5 on the logit, .6225 on the probability: for re-scoring F3R."""

SCANNED = tuple(round(0.10 + 0.05 * step, 2) for step in range(17))
"""The cuts that Kollias' protocol code scans: .10 to .90 in steps of .05."""


@dataclass(frozen=True)
class Detected:
    """N rows of K action units; build it with `detected`, which checks it.

    Attributes:
        truth: Bool [N, K], false where `valid` is false.
        probability: Float [N, K] in [0, 1], 0 where `valid` is false.
        valid: Bool [N, K], the labelled cells.
        aus: The K AU numbers.
        threshold: What makes a probability a decision.
    """

    truth: Bools
    probability: Floats
    valid: Bools
    aus: tuple[int, ...]
    threshold: Threshold = FIXED

    def take(self, rows: Ints) -> Self:
        """The same evidence at the given rows (repeats allowed), as a bootstrap needs it."""
        return replace(self, truth=self.truth[rows], probability=self.probability[rows], valid=self.valid[rows])

    def only(self, aus: Sequence[int]) -> Self:
        """The same evidence over some of its AUs, in the order of `aus`."""
        at = [self.aus.index(au) for au in aus]
        cuts = self.threshold.cuts if len(self.threshold.cuts) == 1 else tuple(self.threshold.cuts[i] for i in at)
        return replace(
            self,
            truth=self.truth[:, at],
            probability=self.probability[:, at],
            valid=self.valid[:, at],
            aus=tuple(aus),
            threshold=replace(self.threshold, cuts=cuts),
        )

    def counts(self) -> Counts:
        """TP, FP, FN, TN of each AU over its valid cells."""
        said = self.probability >= np.asarray(self.threshold.cuts)
        yes, no = self.valid & self.truth, self.valid & ~self.truth
        return Counts(
            tp=(yes & said).sum(axis=0), fp=(no & said).sum(axis=0),
            fn=(yes & ~said).sum(axis=0), tn=(no & ~said).sum(axis=0),
        )  # fmt: skip

    def result(
        self, name: str, value: float, per_au: Floats, *, variant: str = "", flags: tuple[str, ...] = ()
    ) -> MetricResult:
        """A result over these cells; NaN with the flag `empty` when none is labelled."""
        used = int(self.valid.any(axis=1).sum())
        seen = np.any(self.valid, axis=0).tolist()
        unlabelled = [au_column(au) for au, any_cell in zip(self.aus, seen, strict=True) if not any_cell]
        missing = (f"unlabelled {', '.join(unlabelled)}",) if unlabelled else ()
        return MetricResult(
            name=name,
            value=value if used else float("nan"),
            variant=variant,
            rows_used=used,
            rows_masked=len(self.valid) - used,
            labels=tuple(au_column(au) for au in self.aus),
            per_label=tuple(map(float, per_au)),
            threshold_policy=self.threshold.policy,
            flags=(*missing, *flags) if used else ("empty",),
        )


@dataclass(frozen=True)
class Counts:
    """True and false positives and negatives of K action units, int [K] each."""

    tp: Ints
    fp: Ints
    fn: Ints
    tn: Ints

    @property
    def cells(self) -> Ints:
        """Labelled cells of each AU."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def f1(self) -> Floats:
        """F1 of the positive side, NaN where an AU has no positive in truth and prediction."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> Floats:
        """(TP + TN) / n of each AU, NaN where it has no labelled cell."""
        return ratio(self.tp + self.tn, self.cells)


def detected(
    truth: AnyArray,
    probability: AnyArray,
    mask: AnyArray | None = None,
    *,
    aus: Sequence[int],
    threshold: Threshold = FIXED,
) -> Detected:
    """Check and pair the truth and the probabilities of action units.

    Args:
        truth: [N, K] of 0 and 1; NaN counts as unlabelled; never read where `mask` is false.
        probability: [N, K] in [0, 1].
        mask: Bool [N, K]; None means that every cell that is not NaN is labelled.
        aus: The K AU numbers.
        threshold: See `Threshold`.

    Raises:
        MetricInputError: A labelled cell is neither 0 nor 1 (a sentinel: -1, 9, 999), a probability of a labelled
            cell is NaN or outside [0, 1], or the shapes differ.
    """
    truth, probability = np.asarray(truth), np.asarray(probability, np.float64)
    valid = np.ones(truth.shape, bool) if mask is None else np.asarray(mask, bool)
    same_shape("mask of action units", truth, valid)
    same_shape("probabilities of action units", truth, probability)
    if truth.ndim != 2 or truth.shape[1] != len(aus) or len(threshold.cuts) not in (1, len(aus)):
        raise MetricInputError(
            "action units",
            found=f"truth of shape {truth.shape}, {len(threshold.cuts)} cuts",
            expected=f"[rows, {len(aus)}] and 1 or {len(aus)} cuts",
        )
    if truth.dtype.kind == "f":
        valid = np.logical_and(valid, ~np.isnan(truth))
    kept, chance = np.where(valid, truth, 0), np.where(valid, probability, 0.0)
    _refuse(~np.isin(kept, (0, 1)), kept, "an action-unit label that is neither 0 nor 1", "0, 1, or the cell masked")
    _refuse(~((chance >= 0) & (chance <= 1)), chance, "an action-unit probability", "0..1 (apply the sigmoid first)")
    return Detected(kept.astype(bool), chance, valid, tuple(aus), threshold)


def _refuse(wrong: Bools, values: AnyArray, about: str, expected: str) -> None:
    if wrong.any():
        raise MetricInputError(about, found=f"{values[wrong][0]} in {int(wrong.sum())} cells", expected=expected)


def tuned(chosen_on: Detected, *, policy: str = "val_tuned", per_au: bool = True) -> Threshold:
    """The cuts among `SCANNED` with the best F1 on the given rows; ties take the cut nearest to 0.5.

    Args:
        chosen_on: Rows that the score does not report (with the policy `test_tuned`: the reported ones).
        policy: `val_tuned` or `test_tuned`.
        per_au: One cut per AU, else one cut for all by the mean F1.
    """
    cuts = sorted(SCANNED, key=lambda cut: abs(cut - 0.5))
    f1 = np.stack([np.nan_to_num(replace(chosen_on, threshold=Threshold(policy, (cut,))).counts().f1) for cut in cuts])
    best = f1.argmax(axis=0) if per_au else [f1.mean(axis=1).argmax()]
    return Threshold(policy, tuple(cuts[int(index)] for index in best))
