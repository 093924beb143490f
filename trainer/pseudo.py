"""`affect pseudo-label`: runs' predictions for the cells that nobody has labelled, published as `teacher-<run>`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from affectdata.labels.known import known_layers
from affectdata.labels.teacher import Known, Predicted, TeacherRule, teacher_labels
from manifests.crops import CropStore
from manifests.errors import RunError, StaleLayerError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.query import manifest_table
from manifests.vocabulary import au_column
from trainer.calibrate import Calibration
from trainer.candidates import candidates, reporting_protocols
from trainer.fine_tuning import teachers_of
from trainer.kept import TEACHABLE
from trainer.pictures import Pictures
from trainer.predictions import Predictions
from trainer.run import Run
from trainer.teacher import Progress, Teacher, checkpoint
from trainer.teaching import PseudoSummary, Request
from trainer.transductive import MARK

PIECE = 1 << 15
"""Pictures whose predictions and labels are held at once, about 1 kB each."""


def pseudo_label(
    teachers: Sequence[Teacher],
    dataset: str,
    request: Request,
    *,
    progress: Progress | None = None,
) -> PseudoSummary:
    """Predict what is missing in one dataset with one or more teachers of one lake, and publish it.

    Several teachers are averaged per task, each after its own calibration.

    Raises:
        RunError: Weights that do not load, teachers that do not fit each other, or crops of another size.
        ProtocolError: No protocol says which samples are reported, or a folded one without a fold.
        UnknownNameError: No such dataset, task, protocol or crops.
        StaleLayerError: The crops are stale.
        AffectError: The Ray cluster, see `Cluster.run`.
    """
    runs, lake = [teacher.run for teacher in teachers], teachers[0].lake
    tasks = _tasks(runs, dataset, request)
    _check_cuts(runs, request)
    source = request.source(runs)
    cluster = request.cluster(teachers[0].device)
    fingerprints = lake.fingerprints(dataset)
    store = _store(lake, dataset, runs)
    others = known_layers(lake, dataset, request.sources, source)
    free = request.transductive
    reporting = reporting_protocols(lake, dataset, runs, request.protocols, transductive=free)
    faces, reported = candidates(lake, dataset, reporting, transductive=free)
    pictures = Pictures.of(faces, store)
    fresh = sum(teacher.make(pictures, shard=request.shard, cluster=cluster, progress=progress) for teacher in teachers)
    if request.shard is not None:
        return PseudoSummary(dataset, source, len(pictures), fresh, reported=reported, published=False)
    calibrations = [teacher.calibration if request.calibrated else Calibration() for teacher in teachers]
    rule = request.rule
    if request.tuned_cuts:
        cuts = next(one.cuts for run, one in zip(runs, calibrations, strict=True) if run.recipe.tasks.au)
        rule = replace(rule, cuts=cuts)
    known = _known(lake, dataset, pictures.ids, _aus(runs), [layer.name for layer in others])
    labelled = dict.fromkeys(tasks, 0)
    facts = _facts(runs, dataset, request, calibrations)
    held = [] if free else [f"protocols/{name}" for _, name in reporting]
    keys = ["samples", store.layer.key, *(layer.key for layer in others), *held]
    with lake.publish(dataset, command=facts.command) as step:
        tables = _labels(_predicted(teachers, calibrations, tasks, pictures), known, rule, labelled)
        step.write("labels", source, tables, facts, {key: fingerprints[key] for key in keys})
    return PseudoSummary(dataset, source, len(pictures), fresh, labelled, reported, transductive=free)


def _predicted(
    teachers: Sequence[Teacher], calibrations: Sequence[Calibration], tasks: Sequence[str], pictures: Pictures
) -> Iterator[Predicted]:
    """Calibrated predictions of all teachers together, piece by piece: those of all pictures would fill the memory."""
    runs, dataset = [teacher.run for teacher in teachers], pictures.store.layer.dataset
    said = [teacher.kept(dataset).pieces(pictures.names, PIECE) for teacher in teachers]
    for number, found in enumerate(zip(*said, strict=True)):
        part = slice(number * PIECE, (number + 1) * PIECE)
        parts = [calibration.apply(one) for calibration, one in zip(calibrations, found, strict=True)]
        yield _together(runs, tasks, parts, pictures.ids[part], pictures.store.transform[pictures.row[part]])


def _labels(
    predicted: Iterator[Predicted], known: Known, rule: TeacherRule, labelled: dict[str, int]
) -> Iterator[pa.Table]:
    """Tables of labels; adds what each task gained to `labelled`."""
    first = 0
    for part in predicted:
        table, gained = teacher_labels(part, known.part(slice(first, first + len(part.ids))), rule)
        first += len(part.ids)
        for task, count in gained.items():
            labelled[task] += count
        yield table


def _check_cuts(runs: Sequence[Run], request: Request) -> None:
    if request.rule.mode == "release_exact" and (request.calibrated or request.tuned_cuts):
        raise RunError(
            "labels as the release of F3R makes them",
            found="tuned cuts" if request.tuned_cuts else "calibrated probabilities",
            expected="the run's own probabilities, an AU present where its logit is above 0.5",
            then="affect pseudo-label --mode release_exact without --tuned-cuts, or --mode hard",
        )
    if not request.tuned_cuts:
        return
    able = [run.name for run in runs if run.recipe.tasks.au]
    if len(able) != 1 or not request.calibrated:
        raise RunError(
            "tuned cuts",
            found=f"calibrated teachers with AUs: {', '.join(able) if request.calibrated and able else 'none'}",
            expected="one: its cuts hold for its own calibrated probabilities, not for a mean of several",
            then="leave --tuned-cuts out to cut at 0.5",
        )


def _tasks(runs: Sequence[Run], dataset: str, request: Request) -> tuple[str, ...]:
    offered = tuple(task for task in TEACHABLE if any(task in run.recipe.tasks.names for run in runs))
    if not offered:
        raise RunError(
            f"{', '.join(run.name for run in runs)}: nothing to teach",
            found=f"tasks {', '.join(name for run in runs for name in run.recipe.tasks.names)}",
            expected=f"a run with one of {', '.join(TEACHABLE)}",
        )
    for task in request.tasks:
        if task not in offered:
            raise UnknownNameError(f"task of {', '.join(run.name for run in runs)}", task, offered)
    first = runs[0].recipe
    for run in runs[1:]:
        crops = first.alignment_of(dataset), run.recipe.alignment_of(dataset)
        if crops[0] != crops[1] or run.facts.crop[:2] != runs[0].facts.crop[:2]:
            raise RunError(
                f"teachers {runs[0].name} and {run.name} do not take the same crops",
                found=" and ".join(crops),
                expected="one alignment; label with each of them on its own otherwise",
            )
    for task, what in (("expression", "space"), ("au", "set")):
        said = {getattr(part, what) for run in runs if (part := getattr(run.recipe.tasks, task))}
        if len(said) > 1:
            raise RunError(f"teachers differ in their {task} {what}", found=", ".join(sorted(said)), expected="one")
    return request.tasks or offered


def _store(lake: Lake, dataset: str, runs: Sequence[Run]) -> CropStore:
    alignment = runs[0].recipe.alignment_of(dataset)
    lake.layer(dataset, "samples")
    if not lake.has(dataset, f"crops/{alignment}"):
        known = [layer.name for layer in lake.layers(dataset) if layer.kind == "crops"]
        raise UnknownNameError(f"crops of {dataset}", alignment, known, f"affect align {dataset} --to {alignment}")
    store = CropStore(lake, dataset, alignment)
    if store.layer.stale:
        raise StaleLayerError(
            f"{store.layer.key} of {dataset} is stale",
            found=store.layer.stale,
            then=f"affect align {dataset} --to {alignment}",
        )
    if list(store.shape[:2]) != list(runs[0].facts.crop[:2]):
        raise RunError(
            f"teacher {runs[0].name} takes other crops",
            found=f"{alignment} of {dataset}: {store.shape[0]} x {store.shape[1]}",
            expected=f"{runs[0].facts.crop[0]} x {runs[0].facts.crop[1]}",
        )
    return store


def _together(
    runs: Sequence[Run],
    tasks: Sequence[str],
    parts: Sequence[Predictions],
    ids: pa.Array,
    transform: npt.NDArray[np.float32],
) -> Predicted:
    """The mean over the teachers that have a task; landmarks in pixels of the source image."""

    def mean(task: str) -> npt.NDArray[np.float32] | None:
        said = [getattr(part, task) for part in parts if getattr(part, task) is not None]
        return np.mean(said, axis=0).astype(np.float32) if task in tasks and said else None

    points = mean("landmarks")
    if points is not None:
        inverse = np.linalg.inv(transform[:, :, :2].astype(np.float64))
        x, y = np.moveaxis(points - transform[:, None, :, 2], 2, 0)
        # Written out: what a point gets must not depend on how many are reckoned at once.
        axes = [inverse[:, i, 0, None] * x + inverse[:, i, 1, None] * y for i in range(2)]
        points = np.stack(axes, 2).astype(np.float32)
    expression = next((run.recipe.tasks.expression for run in runs if run.recipe.tasks.expression), None)
    return Predicted(
        ids,
        expression.classes if expression else (),
        _aus(runs),
        expression=mean("expression"),
        va=mean("va"),
        au=mean("au"),
        landmarks=points,
    )


def _aus(runs: Sequence[Run]) -> tuple[int, ...]:
    return next((run.recipe.tasks.au.aus for run in runs if run.recipe.tasks.au), ())


def _known(lake: Lake, dataset: str, ids: pa.Array, aus: Sequence[int], sources: Sequence[str]) -> Known:
    names = [au_column(au) for au in aus]
    columns = ["sample_id", "mask_expression", "mask_va", "mask_landmarks", *names]
    table = manifest_table(lake, [dataset], columns, sources=sources)
    table = table.take(pc.index_in(ids, value_set=table["sample_id"].combine_chunks()))
    masks = [np.asarray(table[f"mask_{task}"]).astype(bool) for task in ("expression", "va", "landmarks")]
    cells = [np.asarray(pc.is_valid(table[name])).astype(bool) for name in names]
    au = np.stack(cells, 1) if cells else np.zeros((len(table), 0), bool)
    return Known(masks[0], masks[1], au, masks[2])


def _facts(runs: Sequence[Run], dataset: str, request: Request, calibrations: Sequence[Calibration]) -> LayerFacts:
    """What the layer says of itself: who the teachers are, what they were trained on, and how good they were."""
    teachers = [
        {
            "run": run.name,
            "recipe": run.recipe.name,
            "recipe_hash": hashlib.sha256(run.recipe.to_yaml().encode()).hexdigest(),
            "weights": checkpoint(run),
            "trained_on": run.facts.fingerprints,
            "protocol": run.facts.protocol,
            "fold": run.recipe.protocol.fold,
            "report": run.recipe.protocol.report,
            "taught": teachers_of(run),
            "validation": run.metrics.iloc[run.facts.best_epoch].to_dict(),
            "calibration": {task: asdict(one) for task, one in calibration.tasks.items()},
        }
        for run, calibration in zip(runs, calibrations, strict=True)
    ]
    rule = request.rule
    words = f"{rule.mode} labels of {', '.join(run.name for run in runs)}"
    words += f", confidence from {rule.min_confidence:g}" if rule.min_confidence else ""
    expression = next((run.recipe.tasks.expression for run in runs if run.recipe.tasks.expression), None)
    units = dict.fromkeys(("expression", "va", "au", "landmarks"), "frame")
    extra = {"teachers": json.dumps(teachers, sort_keys=True)}
    seen = request.transductive or any(run.facts.transductive for run in runs)
    extra |= {MARK: "true"} if seen else {}
    return LayerFacts(
        offered={"expression": list(expression.classes)} if expression else {},
        unit=units,
        rule=words,
        command=request.command(runs, dataset),
        extra=extra,
    )
