"""Truth and prediction on continuous scales: valence and arousal, or AU intensities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from trainer.metrics.result import (
    AnyArray,
    Bools,
    Floats,
    Ints,
    MetricInputError,
    MetricResult,
    flagged,
    mean_or_nan,
    same_shape,
)

VALENCE_AROUSAL = ("valence", "arousal")
VA_RANGE = (-1.0, 1.0)
INTENSITY_RANGE = (0.0, 5.0)


@dataclass(frozen=True)
class Rated:
    """N rows on A continuous axes; build it with `rated`, which checks it.

    Attributes:
        truth: Float [N, A], 0 where `valid` is false.
        predicted: Float [N, A], clipped to the range of the scale, 0 where `valid` is false.
        valid: Bool [N, A], the labelled cells.
        axes: The A names.
        videos: Int [N], the video of each row; empty where the rows have none.
        clipped: Share of the valid cells of each axis whose prediction left the range.
    """

    truth: Floats
    predicted: Floats
    valid: Bools
    axes: tuple[str, ...]
    videos: Ints
    clipped: tuple[float, ...]

    def take(self, rows: Ints) -> Self:
        """The same evidence at the given rows (repeats allowed), as a bootstrap needs it."""
        return replace(
            self,
            truth=self.truth[rows],
            predicted=self.predicted[rows],
            valid=self.valid[rows],
            videos=self.videos[rows] if len(self.videos) else self.videos,
        )

    def axis(self, name: str) -> tuple[Floats, Floats]:
        """Truth and prediction of the labelled rows of one axis."""
        column = self.axes.index(name)
        kept = self.valid[:, column]
        return self.truth[kept, column], self.predicted[kept, column]

    def clip_flag(self, axes: Sequence[str]) -> str:
        """The flag that gives the clipped share of the axes, or ""."""
        share = max((self.clipped[self.axes.index(name)] for name in axes), default=0.0)
        return f"clipped {share:.4f}" if share > 0 else ""

    def result(
        self, name: str, value: float, axes: Sequence[str], *, variant: str = "", flags: tuple[str, ...] = ()
    ) -> MetricResult:
        """A result over some axes; NaN with the flag `empty` when one of them has no labelled row."""
        columns = [self.axes.index(axis) for axis in axes]
        used = int(self.valid[:, columns].any(axis=1).sum())
        empty = not self.valid[:, columns].any(axis=0).all()
        return MetricResult(
            name=name,
            value=float("nan") if empty else value,
            variant=variant,
            rows_used=used,
            rows_masked=len(self.valid) - used,
            labels=tuple(axes),
            flags=("empty",) if empty else flagged(self.clip_flag(axes), *flags),
        )

    def mean_over_axes(self, name: str, score: Callable[[Floats, Floats], float], axes: Sequence[str]) -> MetricResult:
        """The mean over axes of a score of (truth, prediction), with the value of each axis."""
        per_axis = np.array([score(*self.axis(axis)) if self.axis(axis)[0].size else np.nan for axis in axes])
        defined = ~np.isnan(per_axis)
        undefined = [axis for axis, known in zip(axes, defined, strict=True) if not known]
        result = self.result(name, mean_or_nan(per_axis[defined]), axes)
        return replace(
            result,
            value=mean_or_nan(per_axis[defined]),
            per_label=tuple(map(float, per_axis)),
            flags=flagged(self.clip_flag(axes), f"undefined {', '.join(undefined)}" if undefined else "")
            if result.rows_used
            else ("empty",),
        )


def rated(
    truth: AnyArray,
    prediction: AnyArray,
    mask: AnyArray | None = None,
    *,
    axes: Sequence[str] = VALENCE_AROUSAL,
    scale: tuple[float, float] = VA_RANGE,
    videos: AnyArray | None = None,
) -> Rated:
    """Check and pair the truth and the predictions on continuous scales.

    Args:
        truth: [N, A] within `scale`; NaN is unlabelled; never read where `mask` is false.
        prediction: [N, A]; clipped to `scale` before any score, and the clipped share is kept.
        mask: Bool [N, A]; None means that every finite cell is labelled.
        axes: The A names; for intensities the AU columns.
        scale: Lowest and highest value of the scale.
        videos: [N] names or numbers of the videos that the rows are frames of.

    Raises:
        MetricInputError: A labelled value outside the scale (a sentinel: -5, -2, 9), a prediction that is not
            finite, or shapes that differ.
    """
    truth, prediction = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    valid = np.ones(truth.shape, bool) if mask is None else np.asarray(mask, bool)
    same_shape("mask of continuous labels", truth, valid)
    same_shape("predictions of continuous labels", truth, prediction)
    if truth.ndim != 2 or truth.shape[1] != len(axes):
        raise MetricInputError("continuous labels", found=f"shape {truth.shape}", expected=f"[rows, {len(axes)}]")
    valid = np.logical_and(valid, ~np.isnan(truth))
    low, high = scale
    kept, guess = np.where(valid, truth, 0.0), np.where(valid, prediction, 0.0)
    wrong = valid & ~((kept >= low) & (kept <= high))
    if wrong.any():
        raise MetricInputError(
            f"a label outside its scale {low}..{high}",
            found=f"{kept[wrong][0]} in {int(wrong.sum())} cells",
            expected="the scale's values, NaN for unlabelled, or the cell masked",
            then="a sentinel is never a value: have the reader turn it into NULL",
        )
    if not np.isfinite(guess).all():
        raise MetricInputError("a prediction of a labelled cell", found="NaN or infinite", expected="a number")
    outside = (valid & ((guess < low) | (guess > high))).sum(axis=0)
    codes = np.unique(np.asarray(videos), return_inverse=True)[1] if videos is not None else np.empty(0, np.int64)
    return Rated(
        truth=kept,
        predicted=np.clip(guess, low, high),
        valid=valid,
        axes=tuple(axes),
        videos=codes.astype(np.int64),
        clipped=tuple(float(share) for share in outside / np.maximum(1, valid.sum(axis=0))),
    )
