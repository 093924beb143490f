"""Anybody's predictions from a CSV or Parquet file: py-feat's, OpenFace's, a colleague's, or those of a run.

One row per sample, found by `sample_id`, or by `path` (below the dataset's folder, or absolute) and `frame`. Columns:

    expression_predicted, or expression          a class, in any spelling that affectdata knows
    p_<class>, or <class>                        probability of each class; all classes of one class space
    valence_predicted, arousal_predicted, or valence, arousal
    p_auNN, auNN or AUNN_c                       probability that an AU is there, 0 to 1; AU01, au1 and au01 are one
    auNN_intensity_predicted, auNN_intensity or AUNN_r   intensity of an AU, 0 to 5
    landmarks_predicted, or landmarks            136 numbers x1 y1 x2 y2 ..., pixels of the source picture (Parquet)
    x_0 ... x_67, y_0 ... y_67                   the same as columns

A row that holds nothing in any of these columns, as `affect predict` writes for a picture without a face, is no
prediction. Other columns are left alone. The truth never comes from the file. Landmarks of a run's own
`predictions/<dataset>-<role>.parquet` are pixels of the crop: such a file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from manifests import vocabulary as voc
from manifests.errors import PredictionsError, UnknownNameError
from manifests.lake import Lake
from manifests.matching import frame_keys, matched
from trainer.predictions import CROP_PIXELS, Floats, Predictions
from trainer.tasks import AuIntensityTask, AuTask, ExpressionTask, LandmarksTask, Tasks, VaTask

_AU = re.compile(r"(?:p_)?AU0*([1-9][0-9]?)(?:_c)?", re.IGNORECASE)
_INTENSITY = re.compile(r"AU0*([1-9][0-9]?)(?:_intensity(?:_predicted)?|_r)", re.IGNORECASE)
_POINTS = len(voc.LANDMARK_MIRROR)
_POINT_LISTS = ("landmarks_predicted", "landmarks")
_PREDICTING = re.compile(
    rf"(expression|valence|arousal|landmarks)(_predicted)?|[xy]_[0-9]+|{_AU.pattern}", re.IGNORECASE
)


class ListedAus(AuTask):
    """The action units that a file has columns for, whatever named set they are."""

    listed: tuple[int, ...] = ()

    @property
    def aus(self) -> tuple[int, ...]:
        return self.listed


class ListedIntensities(AuIntensityTask):
    """The action units of whose intensity a file has columns."""

    listed: tuple[int, ...] = ()

    @property
    def aus(self) -> tuple[int, ...]:
        return self.listed


@dataclass(frozen=True)
class External:
    """Predictions for N samples and the tasks that they are of."""

    ids: npt.NDArray[np.object_]
    """sample_id [N], each once."""
    tasks: Tasks
    predictions: Predictions


def read_predictions(path: str | Path, lake: Lake, dataset: str) -> External:
    """The predictions in a file for samples of a dataset.

    Raises:
        PredictionsError: The file cannot be read; it names no sample, a sample twice or one that the lake lacks; no
            column is a prediction; a value is none; or landmarks are pixels of crops.
    """
    table = read_table(Path(path))
    _check_pixels(table.schema, Path(path))
    return External(_sample_ids(table, lake, dataset, Path(path)), *predictions_in(table, Path(path)))


def predictions_in(table: pa.Table, path: Path) -> tuple[Tasks, Predictions]:
    """What the columns of a table predict, whoever its rows are about; `path` names it in messages.

    Raises:
        PredictionsError: No column is a prediction, or a value is none.
    """
    columns = {name.strip(): table[name] for name in table.column_names}
    expression, space = _expression(columns, path)
    va = _va(columns, path)
    aus, au = _aus(columns, path, _AU)
    rated, intensity = _aus(columns, path, _INTENSITY)
    landmarks = _landmarks(columns, path)
    if all(found is None for found in (expression, va, au, intensity, landmarks)):
        raise PredictionsError(
            f"{path} holds no predictions",
            found=f"columns {', '.join(list(columns)[:12])}",
            expected="expression, p_<class>, valence and arousal, p_auNN, auNN_intensity, or landmarks",
            then="affect score --help names the columns",
        )
    tasks = Tasks(
        expression=ExpressionTask.model_validate({"space": space}) if space else None,
        va=VaTask() if va is not None else None,
        au=ListedAus(listed=aus) if aus else None,
        au_intensity=ListedIntensities(listed=rated) if intensity is not None else None,
        landmarks=LandmarksTask() if landmarks is not None else None,
    )
    return tasks, Predictions(expression, va, au, landmarks, au_intensity=intensity)


def read_table(path: Path) -> pa.Table:
    """The rows of a CSV or Parquet file that predict anything.

    Raises:
        PredictionsError: It is neither, or cannot be read.
    """
    try:
        return _saying(pq.read_table(path) if path.suffix.lower() == ".parquet" else pa_csv.read_csv(path))
    except FileNotFoundError:
        raise PredictionsError(f"{path} does not exist", expected="a CSV or Parquet file of predictions") from None
    except (OSError, pa.ArrowException) as error:
        raise PredictionsError(f"{path} cannot be read", found=str(error).splitlines()[0][:200]) from None


def _check_pixels(schema: pa.Schema, path: Path) -> None:
    """Refuse landmarks that are measured in crops, as `affect evaluate` writes them beside their truth."""
    points = {field.name: field for field in schema if field.name in _POINT_LISTS and pa.types.is_nested(field.type)}
    units = {(field.metadata or {}).get(b"unit", b"").decode() for field in points.values()}
    if CROP_PIXELS["unit"] in units:
        found = "crop pixels, as affect evaluate writes a run's predictions"
    elif len(points) == len(_POINT_LISTS) and units == {""}:  # files from before the unit was written
        found = "landmarks beside landmarks_predicted, as affect evaluate writes a run's predictions, in crop pixels"
    else:
        return
    raise PredictionsError(
        f"landmarks of {path}",
        found=found,
        expected="landmarks_predicted in pixels of the source picture, without a column landmarks beside it",
        then="affect evaluate RUN scores a run's own predictions; affect predict RUN writes source pixels; without "
        "these columns the file's other tasks are scored",
    )


def _saying(table: pa.Table) -> pa.Table:
    """The rows that hold something in a column of predictions; all of them where there is no such column."""
    predicting = [name for name in table.column_names if _PREDICTING.fullmatch(name.strip()) or _class_columns([name])]
    if not predicting:
        return table
    says = np.zeros(table.num_rows, bool)
    for name in predicting:
        column = table[name].combine_chunks()
        known = pc.is_valid(column)
        if pa.types.is_string(column.type):  # an empty cell of a CSV is a text without letters
            known = pc.fill_null(pc.not_equal(column, ""), False)
        says |= np.asarray(known).astype(bool)
    return table.filter(pa.array(says))


def _sample_ids(table: pa.Table, lake: Lake, dataset: str, path: Path) -> npt.NDArray[np.object_]:
    """The sample of each row; a row that names none of the dataset is refused: a silent loss would flatter."""
    samples = lake.read(dataset, "samples", ["sample_id", "path", "frame"])
    asked, known = _keys(table, samples, lake.root(dataset), path)
    at, vague = matched(asked, known)
    if (at < 0).any():
        raise PredictionsError(
            f"{(at < 0).sum():,} of {len(asked):,} rows of {path} name no sample of {dataset}",
            found=_some(asked, at < 0),
            expected="sample ids of the lake, or paths of its pictures",
            then=f"affect sql \"select sample_id, path, frame from samples where dataset = '{dataset}' limit 3\"",
        )
    if vague.any():
        raise PredictionsError(
            f"{vague.sum():,} rows of {path} name a place of several samples of {dataset}",
            found=_some(asked, vague),
            expected="a column sample_id, which names one face; or frame beside path, for frames of a video",
        )
    ids = samples["sample_id"].combine_chunks().take(pa.array(at))
    if len(ids.unique()) < len(ids):
        counted = pc.value_counts(ids)
        twice = counted.filter(pc.greater(counted.field("counts"), 1)).field("values")
        raise PredictionsError(f"{path} predicts a sample twice", found=str(twice[0]), expected="one row per sample")
    return np.array(ids.to_pylist(), object)


def _keys(table: pa.Table, samples: pa.Table, root: Path, path: Path) -> tuple[pa.Array, pa.Array]:
    """What names a sample: for each row of the file, and for each sample."""
    names = {name.strip(): name for name in table.column_names}
    if "sample_id" in names:
        return table[names["sample_id"]].cast(pa.string()).combine_chunks(), samples["sample_id"].combine_chunks()
    if "path" not in names:
        raise PredictionsError(
            f"{path} does not say which sample a row is about",
            found=f"columns {', '.join(list(names)[:12])}",
            expected="a column sample_id, or path (and frame for videos)",
        )
    places = [_below(text, root) for text in table[names["path"]].cast(pa.string()).to_pylist()]
    asked, known = pa.array(places, pa.string()), samples["path"].combine_chunks()
    if "frame" not in names:
        return asked, known
    return frame_keys(asked, table[names["frame"]]), frame_keys(known, samples["frame"])


def _some(asked: pa.Array, rows: npt.NDArray[np.bool_]) -> str:
    texts = asked.filter(pa.array(rows)).slice(0, 3).to_pylist()
    return ", ".join(f"{text}".removesuffix("#") for text in texts)  # without the number that no row gave


def _below(text: str | None, root: Path) -> str | None:
    if text is None:
        return None
    place = Path(text)
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else PurePosixPath(text).as_posix()


def _expression(columns: dict[str, pa.ChunkedArray], path: Path) -> tuple[Floats | None, str]:
    """Class probabilities [N, C] and the class space; a class without probabilities is certain."""
    chances = _class_columns(columns)
    for space, classes in sorted(voc.EXPRESSION_SPACES.items(), key=lambda item: -len(item[1])):
        if set(classes) == set(chances) and not _names_more(columns, classes):
            return np.stack([_numbers(columns, chances[name], path) for name in classes], 1), space
    named = next((name for name in ("expression_predicted", "expression") if name in columns), "")
    if not named:
        return None, ""
    values = columns[named].cast(pa.string()).combine_chunks()
    if values.null_count:
        raise PredictionsError(f"{named} of {path}", found=f"{values.null_count:,} empty cells", expected="a class")
    spelt = values.dictionary_encode()
    try:
        said = [voc.EXPRESSION.canonical(text) for text in spelt.dictionary.to_pylist()]
    except UnknownNameError as error:
        raise PredictionsError(f"{named} of {path}", found=str(error), expected="names of expressions") from None
    for space, classes in voc.EXPRESSION_SPACES.items():
        if set(said) <= set(classes):
            code = np.array([classes.index(name) for name in said], np.int64)[np.asarray(spelt.indices)]
            return np.eye(len(classes), dtype=np.float32)[code], space
    raise PredictionsError(
        f"{named} of {path}",
        found=", ".join(sorted(set(said))),
        expected="classes of one space: " + "; ".join(f"{n}: {', '.join(c)}" for n, c in voc.EXPRESSION_SPACES.items()),
    )


def _names_more(columns: dict[str, pa.ChunkedArray], classes: Sequence[str]) -> bool:
    """Whether the file predicts a class that its probabilities do not have."""
    if "expression_predicted" not in columns:
        return False
    said = columns["expression_predicted"].cast(pa.string()).unique().to_pylist()
    return not {voc.EXPRESSION.synonyms.get((text or "").lower(), text) for text in said if text} <= set(classes)


def _class_columns(columns: Iterable[str]) -> dict[str, str]:
    """Class -> its column of probabilities."""
    found: dict[str, str] = {}
    for column in columns:
        stem = column.removeprefix("p_").lower()
        if stem in voc.EXPRESSION.synonyms and len(stem) > len("xx"):  # two letters are codes of JAFFE and RAF-DB
            found.setdefault(voc.EXPRESSION.synonyms[stem], column)
    return found


def _va(columns: dict[str, pa.ChunkedArray], path: Path) -> Floats | None:
    names = [next((n for n in (f"{a}_predicted", a) if n in columns), "") for a in ("valence", "arousal")]
    if not any(names):
        return None
    if not all(names):
        raise PredictionsError(f"{path}", found=f"only {''.join(names)}", expected="valence and arousal")
    return np.stack([_numbers(columns, name, path) for name in names], 1)


def _aus(
    columns: dict[str, pa.ChunkedArray], path: Path, spelt: re.Pattern[str]
) -> tuple[tuple[int, ...], Floats | None]:
    """AU numbers and what the columns that are spelt so say of them, [N, K].

    Where a file has p_auNN and auNN, or auNN_intensity_predicted and auNN_intensity, the first is the prediction.
    """
    found: dict[int, str] = {}
    for column in sorted(
        columns, key=lambda name: not name.lower().startswith("p_") and not name.endswith("_predicted")
    ):
        match = spelt.fullmatch(column)
        if match and int(match[1]) in voc.AUS:
            found.setdefault(int(match[1]), column)
    aus = tuple(sorted(found))
    return aus, np.stack([_numbers(columns, found[au], path) for au in aus], 1) if aus else None


def _landmarks(columns: dict[str, pa.ChunkedArray], path: Path) -> Floats | None:
    """Points [N, 68, 2]."""
    for name in _POINT_LISTS:
        if name in columns and pa.types.is_nested(columns[name].type):
            flat = pc.list_flatten(columns[name])
            if len(flat) != 2 * _POINTS * len(columns[name]):
                raise PredictionsError(f"{name} of {path}", expected=f"{2 * _POINTS} numbers in every row")
            return np.asarray(flat.cast(pa.float32()).to_numpy(), np.float32).reshape(-1, _POINTS, 2)
    names = [f"{axis}_{point}" for point in range(_POINTS) for axis in "xy"]
    if not all(name in columns for name in names):
        return None
    return np.stack([_numbers(columns, name, path) for name in names], 1).reshape(-1, _POINTS, 2)


def _numbers(columns: dict[str, pa.ChunkedArray], name: str, path: Path) -> Floats:
    try:
        values = columns[name].cast(pa.float32()).to_numpy()
    except pa.ArrowException as error:
        raise PredictionsError(f"{name} of {path}", found=str(error)[:120], expected="numbers") from None
    numbers = np.asarray(values, np.float32)
    if not np.isfinite(numbers).all():
        rows = np.flatnonzero(~np.isfinite(numbers))
        raise PredictionsError(
            f"{name} of {path}",
            found=f"no number in {len(rows):,} rows, the first of them row {rows[0] + 1}",
            expected="a prediction in every row; leave rows out that have none, and say --skip-missing",
        )
    return numbers


def rows_of(external: External, ids: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """Row of each sample in the file, int64 [N]; -1 where it has no prediction."""
    at = pc.index_in(pa.array(ids.tolist(), pa.string()), value_set=pa.array(external.ids.tolist(), pa.string()))
    return np.asarray(pc.fill_null(at, -1).to_numpy(zero_copy_only=False), np.int64)
