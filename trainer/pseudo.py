"""`affect pseudo-label`: runs' predictions for the cells that nobody has labelled, published as `teacher-<run>`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from affectdata.labels.known import known_layers
from affectdata.labels.teacher import Known, Predicted, TeacherRule, teacher_labels
from manifests.crops import CropStore
from manifests.errors import ProtocolError, RunError, StaleLayerError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts, layer_key
from manifests.protocols import identity, roles
from manifests.query import DEFAULT_SOURCES, manifest_table
from manifests.vocabulary import TASKS, au_column
from trainer.calibrate import Calibration
from trainer.predictions import Predictions
from trainer.run import Run
from trainer.teacher import TEACHABLE, Progress, Teacher, checkpoint
from trainer.transductive import MARK


@dataclass(frozen=True)
class Request:
    """What `affect pseudo-label` was asked for.

    Args:
        tasks: Tasks to predict; by default all that the teachers have.
        rule: How predictions become labels.
        name: Name of the layer behind `teacher-`; by default those of the runs.
        sources: Label sources that count as known.
        protocols: Protocols whose reported roles stay without labels; by default the run's.
        transductive: Label reported roles too; the layer says so, and so does every score of a run that trains on it.
        calibrated: Calibrate probabilities on the teacher's selection samples.
        tuned_cuts: Cut AUs where F1 was highest there instead of at 0.5.
        shard: (i, n): predict every n-th picture only and publish nothing.
    """

    tasks: tuple[str, ...] = ()
    rule: TeacherRule = field(default_factory=TeacherRule)
    name: str = ""
    sources: tuple[str, ...] = DEFAULT_SOURCES
    protocols: tuple[str, ...] = ()
    transductive: bool = False
    calibrated: bool = True
    tuned_cuts: bool = False
    shard: tuple[int, int] | None = None

    def source(self, runs: Sequence[Run]) -> str:
        """Name of the layer.

        Raises:
            LakeError: It is no name of a label source.
        """
        name = f"teacher-{self.name or '-'.join(run.name for run in runs)}"
        layer_key("labels", name)
        return name

    def command(self, runs: Sequence[Run], dataset: str) -> str:
        """The command line that makes the layer again: every option that changes a label."""
        rule = self.rule
        options = {
            "--tasks": (",".join(self.tasks), ""),
            "--mode": (rule.mode, "soft"),
            "--min-confidence": (f"{rule.min_confidence:g}", "0"),
            "--weight": (f"{rule.weight:g}", "1"),
            "--name": (self.name, ""),
            "--sources": (",".join(self.sources), ",".join(DEFAULT_SOURCES)),
        }
        flags = {
            "--allow-transductive": self.transductive,
            "--no-calibration": not self.calibrated,
            "--tuned-cuts": self.tuned_cuts,
        }
        said = [f"--teacher {run.name}" for run in runs] + [f"--protocol {name}" for name in self.protocols]
        said += [f"{name} {value}" for name, (value, default) in options.items() if value != default]
        return " ".join(["affect pseudo-label", dataset, *said, *(name for name, on in flags.items() if on)])


@dataclass(frozen=True)
class PseudoSummary:
    """What was predicted and labelled for one dataset."""

    dataset: str
    source: str
    candidates: int
    """Samples with a crop, a face and no reported role."""
    predicted: int
    """Samples that were predicted now; the others were known from an earlier run."""
    labelled: Mapping[str, int] = field(default_factory=dict)
    """Task -> samples that gained a label."""
    reported: int = 0
    """Faces with reported roles, which are left alone (or, if transductive, are candidates too)."""
    published: bool = True
    transductive: bool = False

    def lines(self) -> Iterator[str]:
        """One fact a line, for people."""
        each = ", ".join(f"{task} {count:,}" for task, count in self.labelled.items()) or "nothing"
        yield f"{self.dataset}: labels/{self.source}: {each} of {self.candidates:,} samples"
        yield f"  {self.predicted:,} predicted now, {self.candidates - self.predicted:,} known from before"
        if self.reported and self.transductive:
            yield f"  TRANSDUCTIVE: {self.reported:,} of them have reported roles; scores of runs on them will say so"
        elif self.reported:
            yield f"  {self.reported:,} samples of reported roles are left alone"
        if not self.published:
            yield "  this shard is done; run the command without --shard once all are, to publish"


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
    """
    runs, lake = [teacher.run for teacher in teachers], teachers[0].lake
    tasks = _tasks(runs, request)
    _check_cuts(runs, request)
    source = request.source(runs)
    fingerprints = lake.fingerprints(dataset)
    store = _store(lake, dataset, runs)
    others = known_layers(lake, dataset, request.sources, source)
    candidates, reported = _candidates(lake, dataset, runs, request)
    row = store.locate(candidates["sample_id"].combine_chunks())
    candidates, row = candidates.filter(pa.array(row >= 0)), row[row >= 0]
    fresh, parts, calibrations = 0, [], []
    for teacher in teachers:
        found, new = teacher.predictions(dataset, store, candidates, row, request.shard, progress)
        fresh += new
        if request.shard is None:
            calibration = teacher.calibration if request.calibrated else Calibration()
            parts.append(calibration.apply(found))
            calibrations.append(calibration)
    if request.shard is not None:
        return PseudoSummary(dataset, source, len(row), fresh, reported=reported, published=False)
    predicted = _together(runs, tasks, parts, candidates["sample_id"].combine_chunks(), store.transform[row])
    known = _known(lake, dataset, candidates, predicted, [layer.name for layer in others])
    rule = request.rule
    if request.tuned_cuts:
        cuts = next(one.cuts for run, one in zip(runs, calibrations, strict=True) if run.recipe.tasks.au)
        rule = replace(rule, cuts=cuts)
    table, labelled = teacher_labels(predicted, known, rule)
    facts = _facts(runs, dataset, request, calibrations)
    keys = ["samples", store.layer.key, *(layer.key for layer in others)]
    with lake.publish(dataset, command=facts.command) as step:
        step.write("labels", source, table, facts, {key: fingerprints[key] for key in keys})
    return PseudoSummary(dataset, source, len(row), fresh, labelled, reported, transductive=request.transductive)


def _check_cuts(runs: Sequence[Run], request: Request) -> None:
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


def _tasks(runs: Sequence[Run], request: Request) -> tuple[str, ...]:
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
        if run.recipe.alignment != first.alignment or run.facts.crop[:2] != runs[0].facts.crop[:2]:
            raise RunError(
                f"teachers {runs[0].name} and {run.name} do not take the same crops",
                found=f"{first.alignment} and {run.recipe.alignment}",
                expected="one alignment; label with each of them on its own otherwise",
            )
    for task, what in (("expression", "space"), ("au", "set")):
        said = {getattr(part, what) for run in runs if (part := getattr(run.recipe.tasks, task))}
        if len(said) > 1:
            raise RunError(f"teachers differ in their {task} {what}", found=", ".join(sorted(said)), expected="one")
    return request.tasks or offered


def _store(lake: Lake, dataset: str, runs: Sequence[Run]) -> CropStore:
    alignment = runs[0].recipe.alignment
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


def _candidates(lake: Lake, dataset: str, runs: Sequence[Run], request: Request) -> tuple[pa.Table, int]:
    """sample_id and picture hash of every face that may be labelled, sorted; and how many have a reported role."""
    samples = lake.read(dataset, "samples", ["sample_id", "face_status"])
    face = pc.fill_null(pc.not_equal(samples["face_status"], "not_a_face"), True)
    who = identity(lake, dataset).select(["sample_id", "pixel_hash"]).sort_by("sample_id")
    who = who.filter(pc.is_in(who["sample_id"], value_set=samples.filter(face)["sample_id"].combine_chunks()))
    asked = [(run, name) for run in runs for name in _protocols(lake, dataset, run, request)]
    scored = [_reported(lake, dataset, run, name) for run, name in asked]
    held = pc.is_in(who["sample_id"], value_set=pa.concat_arrays([pa.array([], pa.string()), *scored]))
    count = int(pc.sum(held).as_py() or 0)
    return who if request.transductive else who.filter(pc.invert(held)), count


def _protocols(lake: Lake, dataset: str, run: Run, request: Request) -> list[str]:
    """The protocols that say what is reported: those asked for, the run's, or else every one of the dataset."""
    known = [layer.name for layer in lake.layers(dataset) if layer.kind == "protocols"]
    if request.protocols:
        for name in request.protocols:
            if name not in known:
                raise UnknownNameError(f"protocol of {dataset}", name, known)
        return list(request.protocols)
    own = run.recipe.protocol_of(dataset)
    chosen = [own] if own in known else known
    if not chosen and not request.transductive:
        raise ProtocolError(
            f"{dataset} has no protocol, so it is not known which of its samples will be reported",
            then=f"affect folds {dataset} --name NAME ..., or --allow-transductive to label all of it",
        )
    return chosen


def _reported(lake: Lake, dataset: str, run: Run, protocol: str) -> pa.Array:
    """Samples that the protocol scores for any task, in the run's fold where it has folds."""
    rows = lake.read(dataset, f"protocols/{protocol}", ["sample_id", "task", "role", "fold"])
    folded = rows["fold"].null_count < rows.num_rows
    fold = run.recipe.fold_of(dataset) if protocol == run.recipe.protocol_of(dataset) else None
    if folded and fold is None:
        raise ProtocolError(
            f"protocol {protocol} of {dataset} has folds, and run {run.name} was not trained in one of them",
            expected="a protocol without folds, or the run's own",
            then="--protocol NAME",
        )
    found = [
        roles(lake, dataset, protocol, task=task, fold=fold)
        for task in sorted({*rows["task"].unique().to_pylist()} & {*TASKS, "all"})
    ]
    scored = pa.concat_tables(found) if found else rows.slice(0, 0)
    scored = scored.filter(pc.is_in(scored["role"], value_set=pa.array(["val", "test"])))
    return scored["sample_id"].combine_chunks().cast(pa.string())


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
        points = np.einsum("nij,npj->npi", inverse, points - transform[:, None, :, 2]).astype(np.float32)
    expression = next((run.recipe.tasks.expression for run in runs if run.recipe.tasks.expression), None)
    au = next((run.recipe.tasks.au for run in runs if run.recipe.tasks.au), None)
    return Predicted(
        ids,
        expression.classes if expression else (),
        au.aus if au else (),
        expression=mean("expression"),
        va=mean("va"),
        au=mean("au"),
        landmarks=points,
    )


def _known(lake: Lake, dataset: str, candidates: pa.Table, predicted: Predicted, sources: Sequence[str]) -> Known:
    names = [au_column(au) for au in predicted.aus]
    columns = ["sample_id", "mask_expression", "mask_va", "mask_landmarks", *names]
    table = manifest_table(lake, [dataset], columns, sources=sources)
    at = pc.index_in(candidates["sample_id"].combine_chunks(), value_set=table["sample_id"].combine_chunks())
    table = table.take(at)
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
            "taught": run.facts.taught,
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
