"""What a score says beside its numbers: how its intervals are drawn, the AU cut of its truth, its subgroups."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from manifests.lake import Lake
from manifests.protocols import identity, units
from trainer.predictions import Predictions
from trainer.scores import GroupScores
from trainer.scoring import Resampling, score
from trainer.settings import Tasks
from trainer.targets import Targets


def resampling_of(lake: Lake, dataset: str, ids: npt.NDArray[np.object_], resamples: int) -> Resampling | None:
    """How the intervals of scored samples, ids [N], are drawn; None where there is nothing to draw."""
    if not resamples or not len(ids):
        return None
    who = identity(lake, dataset)
    at = pc.index_in(pa.array(ids.tolist(), pa.string()), value_set=who["sample_id"].combine_chunks())
    unit, clusters = units(who.take(at))
    return Resampling(clusters, unit, resamples)


def au_cut_of(tasks: Tasks, lake: Lake, dataset: str, truth: Sequence[str]) -> float | None:
    """Intensity from which an AU of the truth counts as present; None where no source of it codes intensities."""
    if tasks.au is None:
        return None
    own = [
        layer.facts.au_cut
        for layer in lake.layers(dataset)
        if layer.kind == "labels" and any(fnmatchcase(layer.name, pattern) for pattern in truth)
    ]
    return tasks.au.cuts.get(dataset, next((cut for cut in own if cut is not None), None))


def group_scores(
    tasks: Tasks, found: tuple[Predictions, Targets], attribute: str, values: npt.NDArray[np.object_]
) -> list[GroupScores]:
    """The usual metrics for each value of an attribute, values [N], in order."""
    predictions, truth = found
    groups = []
    for value in sorted(set(values.tolist())):
        mine = values == value
        results = score(tasks, predictions.at(mine), truth.at(torch.from_numpy(mine)))
        groups.append(GroupScores(attribute, value, int(mine.sum()), tuple(results)))
    return groups
