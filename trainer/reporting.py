"""What a score says beside its numbers: how its intervals are drawn, the AU cut of its truth, its subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from manifests.errors import UnknownNameError
from manifests.lake import Lake
from manifests.protocols import clusters, identity, known_keys, protocol_layer, units
from trainer.metrics.classified import clips_of
from trainer.metrics.registry import DEFAULTS, Evidence
from trainer.metrics.result import Ints, MetricResult
from trainer.metrics.uncertainty import RESAMPLES
from trainer.predictions import Predictions
from trainer.scores import DatasetScores, GroupScores
from trainer.scoring import Resampling, confusion_of, evidence_of, score, scored
from trainer.splits import SCORED
from trainer.subgroups import ATTRIBUTES, subgroups
from trainer.targets import Targets
from trainer.tasks import Tasks


@dataclass(frozen=True)
class Asked:
    """Who is scored against what truth, and what is to be said of it.

    Attributes:
        dataset, protocol, fold, role: The samples.
        truth: Label sources that the protocol accepts, in order.
        by: Attributes whose subgroups are scored one by one too.
        metrics: Metrics beside the usual ones and those of the protocol.
        resamples: Draws for the intervals; 0: none.
    """

    dataset: str
    protocol: str
    fold: int | None
    role: str
    truth: tuple[str, ...]
    by: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        """Raises: UnknownNameError: A role that is never scored, or no such attribute."""
        if self.role not in SCORED:
            raise UnknownNameError("role to score", self.role, SCORED)
        for attribute in self.by:
            if attribute not in ATTRIBUTES:
                raise UnknownNameError("attribute", attribute, ATTRIBUTES)


def dataset_scores(
    lake: Lake,
    asked: Asked,
    tasks: Tasks,
    found: tuple[npt.NDArray[np.object_], Predictions, Targets],
    missing: tuple[int, str],
    detector: str = "",
) -> DatasetScores:
    """Every metric of N scored samples, with intervals, the AU cut and subgroups.

    Args:
        lake, asked: Who is scored.
        tasks: What the predictions are of.
        found: sample_id [N], their predictions and their truth.
        missing: How many samples of the role are not scored, and what they lack.
        detector: Faces layer that knows the sizes of faces.
    """
    ids, predictions, truth = found
    resampling = resampling_of(lake, asked.dataset, ids, asked.resamples)
    videos = videos_of(lake, asked.dataset, ids)
    keys = pa.array(ids.tolist(), pa.string())
    clips = clip_scores(lake, asked, tasks, found)
    return DatasetScores(
        dataset=asked.dataset,
        protocol=asked.protocol,
        role=asked.role,
        fold=asked.fold,
        truth=asked.truth,
        samples=len(ids),
        missing=missing[0],
        lacking=missing[1],
        results=(*score(tasks, predictions, truth, asked_metrics(lake, asked), resampling, videos), *clips.results),
        confusion=confusion_of(tasks, predictions, truth),
        evidence=evidence_of(tasks, predictions, truth) | dict(clips.evidence),
        notes=clips.notes,
        unit="" if resampling is None else resampling.unit,
        au_cut=au_cut_of(tasks, lake, asked.dataset, asked.truth),
        groups=tuple(
            group
            for attribute in asked.by
            for group in group_scores(
                tasks,
                predictions,
                truth,
                (attribute, subgroups(lake, asked.dataset, keys, attribute, detector)),
                asked.metrics,
            )
        ),
    )


@dataclass(frozen=True)
class ClipScores:
    """Scores of clips as one each; empty where the truth is of single pictures."""

    results: tuple[MetricResult, ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def clip_scores(
    lake: Lake, asked: Asked, tasks: Tasks, found: tuple[npt.NDArray[np.object_], Predictions, Targets]
) -> ClipScores:
    """Expression metrics of clips, `clip_top1` ..., where the truth was given for clips (AFEW).

    Args:
        lake, asked, tasks, found: As for `dataset_scores`.
    """
    ids, predictions, truth = found
    clipped = any(
        layer.facts.unit.get("expression") == "clip"
        for layer in lake.layers(asked.dataset)
        if layer.kind == "labels" and any(fnmatchcase(layer.name, pattern) for pattern in asked.truth)
    )
    if not (clipped and tasks.expression and truth.expression and predictions.expression is not None and len(ids)):
        return ClipScores()
    clip = clusters(_identity_of(lake, asked.dataset, ids), ("sequence",))
    if clip.max() + 1 == len(clip):
        return ClipScores()  # one picture, or one whole clip, a sample
    rows = clips_of(clip, predictions.expression, truth.expression.code.numpy(), tasks.expression.classes)
    first = np.unique(clip, return_index=True)[1]
    resampling = resampling_of(lake, asked.dataset, ids[first], asked.resamples)
    note = f"{len(first):,} clips, each judged by the mean of its frames' probabilities: clip_top1 and the like"
    return ClipScores(tuple(scored(DEFAULTS["clip"], rows, resampling)), {"clip": rows}, (note,))


def asked_metrics(lake: Lake, asked: Asked) -> list[str]:
    """What is reported beside the usual metrics: by the papers of the protocol, and because somebody asks."""
    return [*protocol_layer(lake, asked.dataset, asked.protocol).facts.metrics, *asked.metrics]


def videos_of(lake: Lake, dataset: str, ids: npt.NDArray[np.object_]) -> Ints | None:
    """int64 [N], the video of each of N samples, one without a video alone; None where none of them has one."""
    who = _identity_of(lake, dataset, ids)
    return clusters(who, ("sequence",)) if "sequence" in known_keys(who) else None


def resampling_of(lake: Lake, dataset: str, ids: npt.NDArray[np.object_], resamples: int) -> Resampling | None:
    """How the intervals of scored samples, ids [N], are drawn; None where there is nothing to draw."""
    if not resamples or not len(ids):
        return None
    unit, drawn = units(_identity_of(lake, dataset, ids))
    return Resampling(drawn, unit, resamples)


def _identity_of(lake: Lake, dataset: str, ids: npt.NDArray[np.object_]) -> pa.Table:
    who = identity(lake, dataset)
    return who.take(pc.index_in(pa.array(ids.tolist(), pa.string()), value_set=who["sample_id"].combine_chunks()))


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
    tasks: Tasks,
    predictions: Predictions,
    truth: Targets,
    grouped: tuple[str, npt.NDArray[np.object_]],
    asked: Sequence[str] = (),
) -> list[GroupScores]:
    """The usual metrics, and those asked for, for each value of an attribute; `grouped` is its name and values, [N]."""
    attribute, values = grouped
    groups = []
    for value in sorted(set(values.tolist())):
        mine = values == value
        results = score(tasks, predictions.at(mine), truth.at(torch.from_numpy(mine)), asked)
        groups.append(GroupScores(attribute, value, int(mine.sum()), tuple(results)))
    return groups
