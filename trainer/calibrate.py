"""Calibration of a run's probabilities: temperatures and AU cuts, fitted where the run chose its epoch.

Temperature scaling (Guo et al. 2017): logits / T with one T per task, chosen by likelihood. Nothing of a reported
role enters. The error after is cross-fitted: each half is scored with the temperature of the other, and people, videos
and copies lie in one half. A temperature that does not raise the likelihood of the other half is not used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from manifests.errors import RunError
from manifests.lake import Lake
from manifests.protocols import identity, truth_sources, units
from trainer.data import Samples, open_stores, scored_samples
from trainer.metrics.detected import SCANNED
from trainer.predictions import Floats, Predictions
from trainer.run import Run, write_text
from trainer.splits import roles_of

CALIBRATION = "calibration.json"

BINS = 15
"""Equal bins of confidence for the expected calibration error, as Guo et al. 2017."""

LEAST = 50
"""Labelled cells below which nothing is fitted: T stays 1."""

_LOW, _HIGH = 0.05, 20.0
_STEPS = 40
_TINY = 1e-7


@dataclass(frozen=True)
class TaskCalibration:
    """One task's temperature, and the expected calibration error before and after.

    Args:
        temperature: Logits are divided by it; above 1 the run was too sure. 1 where none helps unseen samples.
        cells: Labelled samples (expression) or cells (AU) that it was fitted on.
        before: Expected calibration error of the run's own probabilities, 0 to 1; NaN without cells.
        after: The same with the temperature of the other half of the samples.
    """

    temperature: float = 1.0
    cells: int = 0
    before: float = float("nan")
    after: float = float("nan")


@dataclass(frozen=True)
class Calibration:
    """What was fitted on a run's selection samples.

    Args:
        tasks: `expression` and `au`, as far as the run has them.
        cuts: AU -> the probability, after calibration, from which F1 is highest.
    """

    tasks: Mapping[str, TaskCalibration] = field(default_factory=dict)
    cuts: Mapping[int, float] = field(default_factory=dict)

    def apply(self, predictions: Predictions) -> Predictions:
        """The predictions with calibrated probabilities; the arg-max class and the order of AUs never change."""
        expression, au = predictions.expression, predictions.au
        if expression is not None and "expression" in self.tasks:
            expression = tempered(expression, self.tasks["expression"].temperature)
        if au is not None and "au" in self.tasks:
            au = tempered_cells(au, self.tasks["au"].temperature)
        return replace(predictions, expression=expression, au=au)

    def lines(self) -> Iterator[str]:
        """One fact a line, for people."""
        for task, one in self.tasks.items():
            if one.cells < LEAST:
                yield f"{task}: {one.cells} labelled selection cells, fewer than {LEAST}: not calibrated"
            elif one.temperature == 1:
                yield (
                    f"{task}: no temperature on {one.cells:,} cells makes unseen ones likelier: not calibrated, "
                    f"expected calibration error {one.before:.4f}"
                )
            else:
                yield (
                    f"{task}: temperature {one.temperature:.3f} on {one.cells:,} cells, expected calibration error "
                    f"{one.before:.4f} -> {one.after:.4f}"
                )

    def to_json(self) -> str:
        """For the run folder."""
        tree = {"tasks": {name: asdict(one) for name, one in self.tasks.items()}, "cuts": dict(self.cuts)}
        return json.dumps(tree, indent=2) + "\n"


def calibrate(run: Run, lake: Lake, predict: Callable[[Samples], Predictions]) -> Calibration:
    """Fit on the samples that chose the run's epoch, and keep it in the run folder.

    Args:
        predict: The run's own predictions.

    Raises:
        RunError: The lake no longer has these samples.
    """
    found = {choice.name: selection_samples(run, lake, choice.name) for choice in run.recipe.datasets}
    found = {dataset: samples for dataset, samples in found.items() if len(samples)}
    parts = [(samples, predict(samples)) for samples in found.values()]
    if not parts:
        raise RunError(
            f"run {run.name} cannot be calibrated: none of the samples that chose its epoch is in the lake",
            then="ingest and align its datasets again, or --no-calibration",
        )
    tasks, cuts = {}, {}
    halves = np.concatenate(
        [halves_of(lake, dataset, samples.ids, samples.keys.numpy()) for dataset, samples in found.items()]
    )
    if run.recipe.tasks.expression:
        probs = np.concatenate([_known(p.expression) for _, p in parts])
        code = np.concatenate([s.targets.expression.code.numpy() for s, _ in parts if s.targets.expression])
        kept = code >= 0
        tasks["expression"] = fit_classes(probs[kept], code[kept], halves[kept])
    if run.recipe.tasks.au:
        probs = np.concatenate([_known(p.au) for _, p in parts])
        present = np.concatenate([s.targets.au.present.numpy() for s, _ in parts if s.targets.au])
        rows, _ = known = np.nonzero(present >= 0)
        tasks["au"] = fit_cells(probs[known], present[known] >= 0.5, halves[rows])
        calibrated = tempered_cells(probs, tasks["au"].temperature)
        cuts = {au: cut_of(calibrated[:, k], present[:, k]) for k, au in enumerate(run.recipe.tasks.au.aus)}
    result = Calibration(tasks, cuts)
    write_text(run.path / CALIBRATION, result.to_json())
    return result


def _known(probs: Floats | None) -> Floats:
    if probs is None:  # the recipe has the task, so the network has its head
        raise RunError("a run without the head that its recipe names")
    return probs


def selection_samples(run: Run, lake: Lake, dataset: str) -> Samples:
    """The samples of a dataset that chose the run's epoch, as far as they still may."""
    seen = run.samples
    chose = np.asarray([a == dataset and b == "selection" for a, b in zip(*_pairs(seen), strict=True)], bool)
    ids = seen["sample_id"].combine_chunks().filter(pa.array(chose))
    # Only tasks for which a sample still has the role that chose: protocols may differ by task, and change.
    found = roles_of(run.recipe, lake, dataset)
    role = "train" if run.recipe.selection.share is not None else run.recipe.selection.role
    mine = np.asarray(pc.is_in(found.identity["sample_id"], value_set=ids)) & ~found.has(run.recipe.protocol.report)
    part = found.part(mine, role)
    truth = truth_sources(lake, dataset, run.recipe.protocol_of(dataset))
    stores = open_stores(lake, {dataset: run.recipe.alignment_of(dataset)})
    return scored_samples(run.recipe, lake, dataset, part, truth, (0, stores))[0]


def halves_of(
    lake: Lake, dataset: str, ids: npt.NDArray[np.object_], keys: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """A half for each sample, bool [N]: all of a person or video in one, and the same in every order.

    Args:
        ids: sample_id [N].
        keys: A hash of each, int64 [N].
    """
    table = identity(lake, dataset)
    at = pc.index_in(pa.array(ids, pa.string()), value_set=table["sample_id"].combine_chunks())
    _, unit = units(table.take(at))
    first = np.full(len(ids), np.iinfo(np.int64).max)
    np.minimum.at(first, unit, keys)
    return (first[unit] & 1).astype(bool)


def _pairs(seen: pa.Table) -> tuple[list[str], list[str]]:
    return seen["dataset"].to_pylist(), seen["role"].to_pylist()


def fit_classes(probs: Floats, code: npt.NDArray[np.int64], half: npt.NDArray[np.bool_]) -> TaskCalibration:
    """Temperature of class probabilities [N, C] against classes [N]; `half` [N] splits the rows for the error."""

    def error(rows: npt.NDArray[np.bool_], temperature: float) -> Floats:
        """Confidence and correctness, [rows, 2]."""
        p = tempered(probs[rows], temperature)
        pair: Floats = np.column_stack([p.max(1), p.argmax(1) == code[rows]]).astype(np.float32)
        return pair

    def loss(rows: npt.NDArray[np.bool_], temperature: float) -> float:
        p = tempered(probs[rows], temperature)
        return float(-np.log(np.maximum(p[np.arange(len(p)), code[rows]], _TINY)).mean())

    return _fitted(len(code), half, loss, error)


def fit_cells(probs: Floats, present: npt.NDArray[np.bool_], half: npt.NDArray[np.bool_]) -> TaskCalibration:
    """Temperature of probabilities of presence [N] against presence [N]."""

    def error(rows: npt.NDArray[np.bool_], temperature: float) -> Floats:
        p = tempered_cells(probs[rows], temperature)
        pair: Floats = np.column_stack([p, present[rows]]).astype(np.float32)
        return pair

    def loss(rows: npt.NDArray[np.bool_], temperature: float) -> float:
        p = tempered_cells(probs[rows], temperature)
        right = np.where(present[rows], p, 1 - p)
        return float(-np.log(np.maximum(right, _TINY)).mean())

    return _fitted(len(present), half, loss, error)


def _fitted(
    count: int,
    half: npt.NDArray[np.bool_],
    loss: Callable[[npt.NDArray[np.bool_], float], float],
    error: Callable[[npt.NDArray[np.bool_], float], Floats],
) -> TaskCalibration:
    everything = np.ones(count, bool)
    before = expected_calibration_error(*error(everything, 1.0).T) if count else float("nan")
    unfitted = TaskCalibration(1.0, count, before, before)
    if count < LEAST or min(half.sum(), (~half).sum()) < LEAST // 4:
        return unfitted
    crossed = [(mine, _smallest(lambda t, mine=mine: loss(~mine, t))) for mine in (half, ~half)]  # type: ignore[misc]  # bound per half
    if sum(mine.sum() * loss(mine, t) for mine, t in crossed) >= count * loss(everything, 1.0):
        return unfitted
    after = np.concatenate([error(mine, t) for mine, t in crossed])
    return TaskCalibration(
        _smallest(lambda t: loss(everything, t)), count, before, expected_calibration_error(*after.T)
    )


def _smallest(loss: Callable[[float], float]) -> float:
    """The temperature with the smallest loss, which is convex in 1 / T: golden section over log T."""
    low, high = np.log(_LOW), np.log(_HIGH)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(float(np.exp(left))) <= loss(float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def tempered(probs: Floats, temperature: float) -> Floats:
    """softmax(log p / T) of rows [N, C]."""
    logits = torch.from_numpy(np.log(np.maximum(probs, _TINY)).astype(np.float64)) / temperature
    result: Floats = torch.softmax(logits, 1).numpy().astype(np.float32)
    return result


def tempered_cells(probs: Floats, temperature: float) -> Floats:
    """sigmoid(logit(p) / T), of any shape."""
    inside = np.clip(probs.astype(np.float64), _TINY, 1 - _TINY)
    result: Floats = (1 / (1 + np.exp(-np.log(inside / (1 - inside)) / temperature))).astype(np.float32)
    return result


def expected_calibration_error(confidence: Floats, right: Floats) -> float:
    """Mean |accuracy - confidence| over `BINS` equal bins of confidence, weighted by their counts (Guo et al. 2017)."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, confidence - right, BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def cut_of(probs: Floats, present: Floats) -> float:
    """The best cut of one AU among its labelled cells, `present` [N] with -1 unknown; 0.5 below `LEAST` of them."""
    known = present >= 0
    return best_cut(probs[known], present[known] >= 0.5) if known.sum() >= LEAST else 0.5


def best_cut(probs: Floats, present: npt.NDArray[np.bool_]) -> float:
    """The cut of `SCANNED` with the highest F1, of equals the nearest to 0.5; 0.5 without positives."""
    if not present.any():
        return 0.5
    said = probs[:, None] >= np.array(SCANNED)[None]
    f1 = 2 * (said & present[:, None]).sum(0) / np.maximum(said.sum(0) + present.sum(), 1)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(SCANNED[min(best, key=lambda i: abs(SCANNED[i] - 0.5))])
