"""Scores of predictions that come from a file, by the protocols, truth and metrics that runs are scored by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import PredictionsError, ProtocolError
from manifests.lake import Lake
from manifests.protocols import faces_layers, roles, truth_sources
from manifests.query import manifest_table
from manifests.vocabulary import AUS, TASKS, au_column
from trainer.asked import check_asked
from trainer.external import read_predictions, rows_of
from trainer.labels import columns_of, targets_of
from trainer.metrics.uncertainty import RESAMPLES
from trainer.reporting import Asked, dataset_scores
from trainer.scores import Scores
from trainer.targets import Targets
from trainer.tasks import Tasks
from trainer.zero_shot import ZeroShot

_IN_PLACE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""Landmarks of files are pixels of the source picture, as the truth is."""


def score_file(
    path: str | Path,
    lake: Lake,
    dataset: str,
    protocol: str,
    *,
    fold: int | None = None,
    role: str = "test",
    skip_missing: bool = False,
    by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    resamples: int = RESAMPLES,
    compound: str = "",
) -> Scores:
    """Score a file of predictions (`trainer.external` has its columns) on a role of a protocol.

    Args:
        path: CSV or Parquet.
        lake, dataset, protocol, fold, role: Who is scored, against what truth.
        skip_missing: Score although some samples have no prediction; the scores say how many.
        by, metrics, resamples, compound: As for `trainer.evaluate.evaluate`.

    Raises:
        PredictionsError: See `read_predictions`; or samples of the role have no prediction; or it predicts nothing
            that the protocol has truth for.
        ProtocolError: The protocol accepts truth that a rule or a network made, or nothing has that role.
        UnknownNameError, MetricInputError, StaleLayerError: As for `evaluate`.
    """
    truth = truth_sources(lake, dataset, protocol)
    asked = Asked(dataset, protocol, fold, role, truth, tuple(by), tuple(metrics), resamples)
    external = read_predictions(path, lake, dataset)
    zero_shot = ZeroShot.parsed(compound) if compound else None
    if zero_shot:
        tasks = zero_shot.tasks(external.tasks)
        external = replace(external, tasks=tasks, predictions=zero_shot.applied(tasks, external.predictions))
    check_asked(external.tasks, metrics)
    ids, allowed = _scored_ids(lake, asked, external.tasks)
    row = rows_of(external, ids)
    missing = int((row < 0).sum())
    if missing and not (skip_missing and missing < len(ids)):
        raise PredictionsError(
            f"{missing:,} of {len(ids):,} samples of role {role} have no prediction in {path}",
            found="none for " + ", ".join(ids[row < 0][:3].tolist()),
            expected="a row for every sample that is scored",
            then="--skip-missing scores the others, and says so" if missing < len(ids) else "",
        )
    kept = row >= 0
    ids, allowed = ids[kept], allowed[kept]
    targets = _truth(lake, asked, external.tasks, ids, allowed)
    if not any(getattr(targets, task).mask.any() for task in external.tasks.names):
        raise PredictionsError(
            f"{path} predicts nothing that protocol {protocol} of {dataset} has truth for in role {role}",
            found=", ".join(_outputs(external.tasks)),
            expected=", ".join(_known(lake, asked)) or "truth, which this protocol has for no task",
            then=f"add columns of these (affect score --help names them), or another --protocol: affect info {dataset}",
        )
    found = ids, external.predictions.at(row[kept]), targets
    scores = dataset_scores(lake, asked, external.tasks, found, (missing, "prediction"), _detector(lake, dataset))
    if zero_shot:
        scores = zero_shot.told(scores, external.tasks, found[1], targets)
    return Scores(Path(path).name, -1, (scores,))


def _scored_ids(lake: Lake, asked: Asked, tasks: Tasks) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_]]:
    """sample_id [N] of the role, sorted, and for which tasks it holds, bool [N, T]."""
    named = [
        roles(lake, asked.dataset, asked.protocol, task=task, fold=asked.fold).filter(pc.field("role") == asked.role)
        for task in tasks.names
    ]
    ids = pa.concat_arrays([table["sample_id"].combine_chunks() for table in named]).unique().sort()
    if not len(ids):
        raise ProtocolError(
            f"protocol {asked.protocol} of {asked.dataset} has no sample with role {asked.role}",
            then="--role val, or another --fold",
        )
    allowed = [np.asarray(pc.is_in(ids, value_set=table["sample_id"].combine_chunks())) for table in named]
    return np.array(ids.to_pylist(), object), np.stack(allowed, 1)


def _truth(
    lake: Lake, asked: Asked, tasks: Tasks, ids: npt.NDArray[np.object_], allowed: npt.NDArray[np.bool_]
) -> Targets:
    columns = ["sample_id", *columns_of(tasks)]
    table = manifest_table(lake, [asked.dataset], columns, sources=asked.truth)
    at = pc.index_in(pa.array(ids.tolist(), pa.string()), value_set=table["sample_id"].combine_chunks())
    in_place = np.broadcast_to(np.array(_IN_PLACE, np.float32), (len(ids), 2, 3))
    return targets_of(table.take(at), tasks, allowed, in_place)


def _outputs(tasks: Tasks) -> list[str]:
    """The tasks, with the action units of those that have some."""
    listed = {task: getattr(getattr(tasks, task), "aus", ()) for task in tasks.names}
    return [f"{task} ({' '.join(map(au_column, aus))})" if aus else task for task, aus in listed.items()]


def _known(lake: Lake, asked: Asked) -> list[str]:
    """Tasks that samples of the role have truth for, with the action units that are known of any of them."""
    held = {"au": list(map(au_column, AUS)), "au_intensity": [au_column(au, "intensity") for au in AUS]}
    columns = [*(f"mask_{task}" for task in TASKS), *(name for names in held.values() for name in names)]
    table = manifest_table(lake, [asked.dataset], ["sample_id", *columns], sources=asked.truth)
    found = []
    for task in TASKS:
        role = roles(lake, asked.dataset, asked.protocol, task=task, fold=asked.fold)
        ids = role.filter(pc.field("role") == asked.role)["sample_id"].combine_chunks()
        rows = table.filter(pc.is_in(table["sample_id"], value_set=ids))
        if pc.any(rows[f"mask_{task}"]).as_py():
            aus = [name[:4] for name in held.get(task, ()) if rows[name].null_count < rows.num_rows]
            found.append(f"{task} ({' '.join(aus)})" if aus else task)
    return found


def _detector(lake: Lake, dataset: str) -> str:
    """A faces layer that looked for faces, if there is one: it knows their sizes."""
    names = [layer.name for layer in faces_layers(lake, dataset) if layer.name != "whole"]
    return names[0] if names else ""
