"""What a network says about N samples, in the units that metrics and files use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from manifests import vocabulary as voc
from manifests.vocabulary import au_column
from trainer.targets import Targets
from trainer.tasks import Tasks

Floats = npt.NDArray[np.float32]
CROP_PIXELS = {"unit": "crop pixels"}
"""Metadata of Parquet columns of landmarks in the files that `affect evaluate` writes."""
SOURCE_PIXELS = {"unit": "source pixels"}
"""The same in those of `affect predict`."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of N samples; a task that the network has no head for is None."""

    expression: Floats | None = None
    """Class probabilities, float32 [N, C]."""
    va: Floats | None = None
    """Valence and arousal as put out, not clipped, float32 [N, 2]."""
    au: Floats | None = None
    """Probability of presence, float32 [N, K]."""
    landmarks: Floats | None = None
    """Crop pixels, float32 [N, 68, 2]."""
    compound: Floats | None = None
    """Class probabilities, float32 [N, C]."""
    mental_state: Floats | None = None
    """Class probabilities, float32 [N, C]."""
    au_intensity: Floats | None = None
    """Intensities as put out, not clipped, float32 [N, K]."""

    @classmethod
    def of(cls, outputs: Mapping[str, Tensor]) -> Predictions:
        """Predictions from the raw outputs of a network: logits, values or crop pixels, [B, J] each.

        Of classes that are independent cells the softmax is their chance given that exactly one of them holds.
        """
        made: dict[str, Callable[[Tensor], Tensor]] = {
            "expression": lambda logits: torch.softmax(logits, 1),
            "compound": lambda logits: torch.softmax(logits, 1),
            "mental_state": lambda logits: torch.softmax(logits, 1),
            "va": lambda values: values,
            "au_intensity": lambda values: values,
            "au": torch.sigmoid,
            "landmarks": lambda pixels: pixels.reshape(-1, 68, 2),
        }
        known = {task: change(outputs[task].detach().float()) for task, change in made.items() if task in outputs}
        return cls(**{task: value.cpu().numpy() for task, value in known.items()})

    @classmethod
    def joined(cls, parts: list[Predictions], order: npt.NDArray[np.int64]) -> Predictions:
        """The parts one after the other, each row put at its place `order`, int64 [N]."""

        def column(name: str) -> Floats | None:
            if getattr(parts[0], name) is None:
                return None
            rows = np.concatenate([getattr(part, name) for part in parts])
            result: Floats = np.empty((int(order.max()) + 1, *rows.shape[1:]), np.float32)
            result[order] = rows
            return result

        return cls(*(column(field.name) for field in fields(cls)))

    def at(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Predictions:
        """The rows where `rows`, bool [N], is true, or the rows of these numbers, int64 [M]."""
        values = [getattr(self, field.name) for field in fields(self)]
        return Predictions(*(None if value is None else value[rows] for value in values))


def to_table(ids: npt.NDArray[np.object_], tasks: Tasks, predictions: Predictions, truth: Targets) -> pa.Table:
    """Predictions beside their truth, one row per sample, sorted by sample_id; NULL where the truth is unknown.

    Columns: `sample_id`; `expression` (truth), `expression_predicted`, `p_<class>`; `valence`, `arousal` and their
    `_predicted`; `auNN` and `p_auNN`; `auNN_intensity` and its `_predicted`; `landmarks` and `landmarks_predicted` (136
    numbers; crop pixels, as their metadata `unit` says); `compound` and `mental_state`, their `_predicted` and
    `p_<task>_<class>`.
    """
    columns: dict[str, pa.Array] = {"sample_id": pa.array(ids.tolist(), pa.string())}
    if tasks.expression and predictions.expression is not None and truth.expression:
        names = np.array(tasks.expression.classes, object)
        code = truth.expression.code.numpy()
        columns["expression"] = pa.array(names[code], pa.string(), mask=code < 0)
        columns["expression_predicted"] = pa.array(names[predictions.expression.argmax(1)], pa.string())
        columns |= {f"p_{n}": pa.array(p) for n, p in zip(names, predictions.expression.T, strict=True)}
    if tasks.va and predictions.va is not None and truth.va:
        for axis, name in enumerate(("valence", "arousal")):
            values = truth.va.values[:, axis].numpy()
            columns[name] = pa.array(values, mask=np.isnan(values))
            columns[f"{name}_predicted"] = pa.array(np.ascontiguousarray(predictions.va[:, axis]))
    if tasks.au and predictions.au is not None and truth.au:
        for k, au in enumerate(tasks.au.aus):
            present = truth.au.present[:, k].numpy()
            columns[au_column(au)] = pa.array((present >= 0.5).astype(np.int8), mask=present < 0)
            columns[f"p_{au_column(au)}"] = pa.array(np.ascontiguousarray(predictions.au[:, k]))
    if tasks.au_intensity and predictions.au_intensity is not None and truth.au_intensity:
        for k, au in enumerate(tasks.au_intensity.aus):
            values, name = truth.au_intensity.values[:, k].numpy(), au_column(au, "intensity")
            columns[name] = pa.array(values, mask=np.isnan(values))
            columns[f"{name}_predicted"] = pa.array(np.ascontiguousarray(predictions.au_intensity[:, k]))
    if tasks.landmarks and predictions.landmarks is not None and truth.landmarks:
        columns["landmarks"] = _points(truth.landmarks.points.numpy())
        columns["landmarks_predicted"] = _points(predictions.landmarks)
    for task in ("compound", "mental_state"):
        chances, target = getattr(predictions, task), getattr(truth, task)
        if chances is not None and target is not None:
            names, code = np.array(getattr(tasks, task).classes, object), target.code.numpy()
            columns[task] = pa.array(names[code], pa.string(), mask=code < 0)
            columns[f"{task}_predicted"] = pa.array(names[chances.argmax(1)], pa.string())
            columns |= {f"p_{task}_{n}": pa.array(p) for n, p in zip(names, chances.T, strict=True)}
    table = pa.table(columns).sort_by("sample_id")
    marked = [
        field.with_metadata(CROP_PIXELS) if field.name.startswith("landmarks") else field for field in table.schema
    ]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(marked))


def _points(points: Floats) -> pa.Array:
    flat = points.reshape(-1)
    length = 2 * len(voc.LANDMARK_MIRROR)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, mask=np.isnan(flat)), length)
