"""Truth and predictions in a table, as `predictions/*.parquet` of a run holds them, to what metrics score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests import vocabulary as voc
from manifests.errors import UnknownNameError
from manifests.vocabulary import au_column
from trainer.metrics.classified import classified
from trainer.metrics.detected import Detected, detected
from trainer.metrics.located import located
from trainer.metrics.rated import INTENSITY_RANGE, rated
from trainer.metrics.registry import Evidence, metric
from trainer.metrics.result import MetricInputError
from trainer.metrics.uncertainty import Statistic
from trainer.scoring import split_name

Values = npt.NDArray[np.float64]

_CLASSES = {"expression": voc.EXPRESSIONS, "compound": voc.COMPOUNDS, "mental_state": voc.MENTAL_STATES}
_PREFIX = {"expression": "p_", "compound": "p_compound_", "mental_state": "p_mental_state_"}
_POINTS = len(voc.LANDMARK_MIRROR)


def scorer(table: pa.Table, name: str) -> Statistic | None:
    """A score of the table's rows with given numbers; None where the table does not hold the task.

    Args:
        table: Columns of `trainer.predictions.to_table`. A row counts where truth and prediction are both known.
        name: Of a metric; `top1[expr7]` scores over that class space alone, `au_f1[disfa8]` over those AUs.

    Raises:
        UnknownNameError: No metric, class space or AU set of that name.
    """
    stem, over = split_name(name)
    wanted = metric(stem)
    if over and over not in (*voc.AU_SPACES, *voc.EXPRESSION_SPACES):
        raise UnknownNameError("class space or AU set", over, (*voc.EXPRESSION_SPACES, *voc.AU_SPACES))
    rows = evidence_in(table, wanted.task, voc.EXPRESSION_SPACES.get(over, ()))
    if rows is None:
        return None
    if over and isinstance(rows, Detected):
        if not set(voc.AU_SPACES[over]) <= set(rows.aus):
            return None
        rows = rows.only(voc.AU_SPACES[over])
    found: Evidence = rows

    def score(drawn: npt.NDArray[np.int64]) -> float:
        try:
            return wanted.score(found.take(drawn)).value
        except MetricInputError:
            return float("nan")

    return score


def evidence_in(table: pa.Table, task: str, classes: Sequence[str] = ()) -> Evidence | None:
    """Truth and prediction of one task, or None where a column is missing.

    Args:
        table: See `scorer`.
        task: As `trainer.metrics.registry` names it.
        classes: Of a classification, only these: rows of other classes are not scored, and only these are predicted.
    """
    makers: dict[str, Callable[[], Evidence | None]] = {
        "va": lambda: _va(table),
        "au": lambda: _au(table),
        "au_intensity": lambda: _au_intensity(table),
        "landmarks": lambda: _landmarks(table),
    }
    return makers[task]() if task in makers else _classes(table, task, classes) if task in _CLASSES else None


def _classes(table: pa.Table, task: str, only: Sequence[str]) -> Evidence | None:
    if task not in table.column_names:
        return None
    scored = [name for name in _CLASSES[task] if f"{_PREFIX[task]}{name}" in table.column_names]
    classes = tuple(only or scored or _CLASSES[task])
    if only and scored and not set(only) <= set(scored):
        return None
    truth = _codes(table[task], classes)
    if scored:
        chances = np.stack([_floats(table[f"{_PREFIX[task]}{name}"]) for name in classes], 1)
        return classified(truth, np.nan_to_num(chances), (truth >= 0) & ~np.isnan(chances).any(1), classes=classes)
    said = _codes(table[f"{task}_predicted"], classes)
    return classified(truth, said, (truth >= 0) & (said >= 0), classes=classes)


def _va(table: pa.Table) -> Evidence | None:
    axes = ("valence", "arousal")
    if not {f"{axis}_predicted" for axis in axes} <= set(table.column_names):
        return None
    truth, said = (np.stack([_floats(table[f"{axis}{end}"]) for axis in axes], 1) for end in ("", "_predicted"))
    return rated(np.nan_to_num(truth), np.nan_to_num(said), ~np.isnan(truth) & ~np.isnan(said))


def au_cells(table: pa.Table) -> tuple[tuple[int, ...], Values, Values]:
    """AUs with a probability; truth and probability, float64 [N, K] each, NaN where unknown."""
    aus = tuple(au for au in voc.AUS if f"p_{au_column(au)}" in table.column_names)
    sides = [[_floats(table[f"{start}{au_column(au)}"]) for au in aus] for start in ("", "p_")]
    truth, said = (np.stack(side, 1) if side else np.empty((len(table), 0)) for side in sides)
    return aus, truth, said


def _au(table: pa.Table) -> Evidence | None:
    aus, truth, said = au_cells(table)
    if not aus:
        return None
    return detected(np.nan_to_num(truth) >= 0.5, np.nan_to_num(said), ~np.isnan(truth) & ~np.isnan(said), aus=aus)


def _au_intensity(table: pa.Table) -> Evidence | None:
    names = [au_column(au, "intensity") for au in voc.AUS]
    names = [name for name in names if f"{name}_predicted" in table.column_names]
    if not names:
        return None
    truth, said = (np.stack([_floats(table[f"{name}{end}"]) for name in names], 1) for end in ("", "_predicted"))
    known = ~np.isnan(truth) & ~np.isnan(said)
    return rated(np.nan_to_num(truth), np.nan_to_num(said), known, axes=names, scale=INTENSITY_RANGE)


def _landmarks(table: pa.Table) -> Evidence | None:
    if "landmarks_predicted" not in table.column_names:
        return None
    truth, said = (_points(table[name]) for name in ("landmarks", "landmarks_predicted"))
    known = np.isfinite(np.concatenate([truth, said], 1)).all((1, 2))
    return located(truth, np.nan_to_num(said), np.asarray(known, np.bool_))


def _codes(names: pa.ChunkedArray, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    found = pc.index_in(names.combine_chunks(), value_set=pa.array(list(classes)))
    codes: npt.NDArray[np.int64] = np.asarray(pc.fill_null(found, -1)).astype(np.int64)
    return np.where(np.asarray(pc.is_valid(names.combine_chunks())), codes, -1)


def _floats(column: pa.ChunkedArray) -> Values:
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _points(column: pa.ChunkedArray) -> Values:
    empty = pa.scalar([None] * 2 * _POINTS, column.type)
    flat = pc.fill_null(column.combine_chunks(), empty).flatten().cast(pa.float64())
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(-1, _POINTS, 2)
