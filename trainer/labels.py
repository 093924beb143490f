"""Columns of the manifest to dense targets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from manifests import vocabulary as voc
from manifests.vocabulary import au_column
from trainer.targets import AuTarget, ClassTarget, IntensityTarget, LandmarkTarget, Targets, VaTarget
from trainer.tasks import AuTask, ExpressionTask, Tasks

Floats = npt.NDArray[np.float32]


def columns_of(tasks: Tasks) -> list[str]:
    """Manifest columns that `targets_of` reads for these tasks."""
    columns = []
    if tasks.expression:
        columns += ["expression", "expression_weight", "expression_offered"]
        columns += ["expression_probs"] if tasks.expression.soft else []
    for name in ("compound", "mental_state"):
        columns += [name, f"{name}_weight"] if getattr(tasks, name) else []
    if tasks.va:
        columns += ["valence", "arousal", "va_weight"]
    if tasks.au:
        columns += [au_column(au, what) for au in tasks.au.aus for what in ("", "weight")]
        columns += [au_column(au, "prob") for au in tasks.au.aus if tasks.au.soft]
    if tasks.au_intensity:
        columns += [au_column(au, "intensity") for au in tasks.au_intensity.aus]
    if tasks.landmarks:
        columns += ["landmarks", "landmarks_weight"]
    return columns


def targets_of(table: pa.Table, tasks: Tasks, allowed: npt.NDArray[np.bool_], transform: Floats) -> Targets:
    """Targets of N manifest rows.

    Args:
        table: Rows with the columns of `columns_of`.
        tasks: Tasks of the recipe.
        allowed: bool [N, T]; where it is False the label is hidden, T in the order of `tasks.names`.
        transform: float32 [N, 2, 3], source pixel to crop pixel.
    """
    allow = {name: torch.from_numpy(np.ascontiguousarray(allowed[:, i])) for i, name in enumerate(tasks.names)}
    expression, va, au, landmarks = None, None, None, None
    if tasks.expression:
        expression = _expression(table, tasks.expression)
        code = torch.where(allow["expression"], expression.code, -1)
        expression = replace(expression, code=code, probs=expression.probs * (code >= 0)[:, None])
    if tasks.va:
        values = torch.from_numpy(np.stack([_numbers(table, c, np.nan) for c in ("valence", "arousal")], 1))
        va = VaTarget(_hidden(values, allow["va"]), torch.from_numpy(_numbers(table, "va_weight", 1)))
    if tasks.au:
        au = _au(table, tasks.au)
        au = replace(au, present=torch.where(allow["au"][:, None], au.present, -1.0))
    if tasks.landmarks:
        points = _landmarks(table, transform)
        weight = torch.from_numpy(_numbers(table, "landmarks_weight", 1))
        landmarks = LandmarkTarget(_hidden(points, allow["landmarks"]), weight)
    intensity = None
    if tasks.au_intensity:
        columns = [_numbers(table, au_column(au, "intensity"), np.nan) for au in tasks.au_intensity.aus]
        values = _hidden(torch.from_numpy(np.stack(columns, 1)), allow["au_intensity"])
        intensity = IntensityTarget(values, torch.ones_like(values))
    others = {
        name: _classes(table, name, getattr(tasks, name).classes, allow[name])
        for name in ("compound", "mental_state")
        if name in allow
    }
    return Targets(expression, va, au, landmarks, **others, au_intensity=intensity)


def _hidden(values: Tensor, allow: Tensor) -> Tensor:
    return torch.where(allow.reshape(-1, *[1] * (values.dim() - 1)), values, torch.nan)


def _classes(table: pa.Table, column: str, classes: tuple[str, ...], allow: Tensor) -> ClassTarget:
    """Classes of a task whose sources do not say what they offered: all of the run's."""
    code = torch.where(allow, torch.from_numpy(_codes(table, column, classes)), -1)
    offered = torch.ones((len(code), len(classes)), dtype=torch.bool)
    weight = torch.from_numpy(_numbers(table, f"{column}_weight", 1))
    return ClassTarget(code, offered, torch.zeros((len(code), 0)), weight)


def _codes(table: pa.Table, column: str, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Index of each row's class, -1 where it is unknown or none of the run's, int64 [N]."""
    names = table[column].combine_chunks()
    code = pc.fill_null(pc.index_in(names, value_set=pa.array(classes)), -1).to_numpy(zero_copy_only=False)
    return np.array(np.where(np.asarray(pc.is_valid(names)), code, -1), np.int64)


def _expression(table: pa.Table, task: ExpressionTask) -> ClassTarget:
    classes = task.classes
    code = _codes(table, "expression", classes)
    probs = np.zeros((len(code), 0), np.float32)
    if task.soft:
        probs = _vectors(table, "expression_probs", len(voc.EXPRESSIONS))
        probs = np.nan_to_num(probs[:, [voc.EXPRESSIONS.index(c) for c in classes]])
        total = probs.sum(1, keepdims=True)
        probs = np.divide(probs, total, out=np.zeros_like(probs), where=total > 0)
    weight = _numbers(table, "expression_weight", 1)
    return ClassTarget(*map(torch.from_numpy, (code, _offered(table, classes), probs, weight)))


def _offered(table: pa.Table, classes: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Classes that each row's annotators could choose; a row whose source does not say was offered all."""
    lists = table["expression_offered"].combine_chunks().dictionary_encode()
    rows = [np.isin(classes, text.split(",")) for text in lists.dictionary.to_pylist()]
    table_of = np.stack([*rows, np.ones(len(classes), bool)])
    index = pc.fill_null(lists.indices, len(rows)).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(table_of[index])


def _au(table: pa.Table, task: AuTask) -> AuTarget:
    present = [_numbers(table, au_column(au), -1) for au in task.aus]
    weight = [_numbers(table, au_column(au, "weight"), 1) for au in task.aus]
    if task.soft:
        soft = [_numbers(table, au_column(au, "prob"), -1) for au in task.aus]
        present = [np.where((hard >= 0) & (prob >= 0), prob, hard) for hard, prob in zip(present, soft, strict=True)]
    return AuTarget(torch.from_numpy(np.stack(present, 1)), torch.from_numpy(np.stack(weight, 1)))


def _landmarks(table: pa.Table, transform: Floats) -> Tensor:
    source = _vectors(table, "landmarks", 136).reshape(-1, 68, 2)
    return torch.from_numpy(np.einsum("nij,npj->npi", transform[:, :, :2], source) + transform[:, None, :, 2])


def _numbers(table: pa.Table, column: str, missing: float) -> Floats:
    values = pc.fill_null(table[column].cast(pa.float32()), pa.scalar(missing, pa.float32()))
    return np.array(values.to_numpy(), np.float32)


def _vectors(table: pa.Table, column: str, length: int) -> Floats:
    """float32 [N, length] of a list column; NaN for NULL rows and elements."""
    lists = table[column].combine_chunks()
    result = np.full((len(lists), length), np.nan, np.float32)
    known = np.asarray(pc.is_valid(lists))
    flat = pc.list_flatten(lists).cast(pa.float32())
    result[known] = pc.fill_null(flat, np.nan).to_numpy(zero_copy_only=False).reshape(-1, length)
    return result
