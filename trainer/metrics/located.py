"""Truth and prediction of landmarks, the normalised mean error, and its cumulative curve.

The normaliser is part of the metric's name: inter-ocular, inter-pupil and box errors are never mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
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

OUTER_EYE_CORNERS = (36, 45)
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
SMALLEST_NORMALISER = 1.0
"""Pixels; an image whose normaliser is smaller is skipped and flagged."""


class Normaliser(StrEnum):
    """The distance, taken from the truth, that an error is divided by (68-point iBUG order, 0-based)."""

    INTER_OCULAR = "io"
    """Outer eye corners, points 36 and 45: today's 300-W convention."""
    INTER_PUPIL = "ip"
    """Means of points 36-41 and 42-47: Hu et al. 2018, Yu & Xu 2021."""
    BOX = "box"
    """sqrt(width * height) of the box around the truth: for profile faces."""


@dataclass(frozen=True)
class Located:
    """Errors of N images of P points; build it with `located`, which checks the points.

    Attributes:
        distance: Float [N], mean distance of an image's labelled points in pixels; NaN where none is labelled.
        normaliser: Float [N, 3], in pixels, in the order of `Normaliser`; NaN where the truth lacks its points.
        points: P.
    """

    distance: Floats
    normaliser: Floats
    points: int

    def take(self, rows: Ints) -> Self:
        """The same evidence at the given rows (repeats allowed), as a bootstrap needs it."""
        return replace(self, distance=self.distance[rows], normaliser=self.normaliser[rows])


def located(truth: AnyArray, prediction: AnyArray, mask: AnyArray | None = None, *, points: int = 68) -> Located:
    """Check and pair the truth and the predictions of landmarks.

    Args:
        truth: [N, P, 2] or [N, 2 P] (x y interleaved) in pixels; NaN is unlabelled.
        prediction: The same shape.
        mask: Bool [N]: the images to score, of which those with all points finite count (None: all images). Bool
            [N, P]: the points to score, so that partly labelled images count too.
        points: P, 68.

    Raises:
        MetricInputError: Shapes that differ or a prediction of a labelled point that is not finite.
    """
    true, guess = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    same_shape("landmarks", true, guess)
    if true.ndim not in (2, 3) or true[0:1].size not in (0, 2 * points):
        raise MetricInputError("landmarks", found=f"shape {true.shape}", expected=f"[rows, {points}, 2]")
    true, guess = true.reshape(-1, points, 2), guess.reshape(-1, points, 2)
    valid = _labelled_points(true, None if mask is None else np.asarray(mask, bool))
    if not np.isfinite(guess[valid]).all():
        raise MetricInputError("a predicted landmark", found="NaN or infinite", expected="a number")
    true = np.where(valid[..., None], true, np.nan)
    count = valid.sum(axis=1)
    distance = np.where(valid, np.sqrt(((true - guess) ** 2).sum(axis=2)), 0.0).sum(axis=1)
    normaliser = np.stack([_normaliser(true, by) for by in Normaliser], axis=1)
    return Located(np.where(count > 0, distance / count.clip(min=1), np.nan), normaliser, points)


def _labelled_points(truth: Floats, mask: Bools | None) -> Bools:
    finite: Bools = np.asarray(np.isfinite(truth).all(axis=2))
    if mask is not None and mask.shape == finite.shape:
        return finite & mask
    whole = finite.all(axis=1) if mask is None else finite.all(axis=1) & mask
    if whole.shape != (len(truth),):
        raise MetricInputError(
            "mask of landmarks", found=f"shape {whole.shape}", expected=f"({len(truth)},) or {finite.shape}"
        )
    return np.broadcast_to(whole[:, None], finite.shape)


@dataclass(frozen=True)
class NormalisedErrors:
    """Errors of the images that could be scored.

    Attributes:
        errors: Float [n], mean distance of an image's labelled points over its normaliser.
        labelled: Images with any labelled point.
        skipped: Those of them without a usable normaliser (eye points missing, or shorter than a pixel).
    """

    errors: Floats
    labelled: int
    skipped: int


def normalised_errors(rows: Located, by: Normaliser) -> NormalisedErrors:
    """Normalised mean error of each image, over its labelled points."""
    labelled = ~np.isnan(rows.distance)
    distance, normaliser = rows.distance[labelled], rows.normaliser[labelled, list(Normaliser).index(by)]
    usable = normaliser >= SMALLEST_NORMALISER  # NaN compares false: missing eye points are not usable
    return NormalisedErrors(distance[usable] / normaliser[usable], int(labelled.sum()), int((~usable).sum()))


def _normaliser(truth: Floats, by: Normaliser) -> Floats:
    if by is Normaliser.BOX:
        low = np.where(np.isnan(truth), np.inf, truth).min(axis=1, initial=np.inf)
        high = np.where(np.isnan(truth), -np.inf, truth).max(axis=1, initial=-np.inf)
        area: Floats = np.sqrt((high - low).prod(axis=1))
        return area
    if by is Normaliser.INTER_OCULAR:
        left, right = truth[:, OUTER_EYE_CORNERS[0]], truth[:, OUTER_EYE_CORNERS[1]]
    else:
        left, right = truth[:, LEFT_EYE].mean(axis=1), truth[:, RIGHT_EYE].mean(axis=1)
    apart: Floats = np.linalg.norm(left - right, axis=1)
    return apart


def _result(rows: Located, name: str, scored: NormalisedErrors, values: Sequence[float] | Floats) -> MetricResult:
    used = len(scored.errors)
    return MetricResult(
        name=name,
        value=mean_or_nan(np.asarray(values, np.float64)),
        rows_used=used,
        rows_masked=len(rows.distance) - scored.labelled,
        labels=tuple(str(point) for point in range(rows.points)),
        flags=flagged("" if used else "empty", f"skipped {scored.skipped}" if scored.skipped else ""),
    )


def nme(rows: Located, by: Normaliser) -> MetricResult:
    """Mean over images of the normalised mean error, as a share (times 100 for percent)."""
    scored = normalised_errors(rows, by)
    return _result(rows, f"nme_{by}", scored, scored.errors)


def failure_rate(rows: Located, by: Normaliser, limit: float) -> MetricResult:
    """Share of images whose normalised error exceeds `limit`."""
    scored = normalised_errors(rows, by)
    return _result(rows, f"fr_{by}@{limit:g}", scored, (scored.errors > limit).astype(np.float64))


def area_under_curve(rows: Located, by: Normaliser, limit: float) -> MetricResult:
    """Exact area under the cumulative error curve up to `limit`, over `limit`: the mean of max(0, 1 - e / limit).

    STAR and PIPNet integrate on a grid of .0001, which agrees to about 3e-4.
    """
    scored = normalised_errors(rows, by)
    return _result(rows, f"auc_{by}@{limit:g}", scored, np.maximum(0.0, 1 - scored.errors / limit))
