"""What a teacher's labels are worth where labels that exist are hidden: the steps that two benchmarks share.

`hide` hides the labels of a share of the training samples (`affect hide-labels`). `students` trains,
one process per run:

    scarce  on the labels that are left, with as many steps as `full`
    pseudo  on those and on what the teacher says of the others
    full    on all labels

A finished run is not done again, an interrupted one goes on: run the command again.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectdata.labels.hidden import ALL, Hiding, Part, hidden_ids, hide_labels
from manifests import vocabulary as voc
from manifests.lake import Lake
from manifests.protocols import clusters, identity, known_keys, leaks
from manifests.query import manifest_table
from trainer.calibrate import expected_calibration_error
from trainer.data import prepare
from trainer.evaluate import evaluate
from trainer.evidence import au_cells, scorer
from trainer.fit import Machine, train
from trainer.metrics.uncertainty import paired_difference
from trainer.pseudo import pseudo_label
from trainer.recipe import Recipe
from trainer.run import FACTS, Run
from trainer.teacher import Teacher
from trainer.teaching import Request

VISIBLE = "visible"
SEEDS = "1,12,123,1234,12345"
KINDS = ("scarce", "pseudo", "full")
TEACHER, RAW = "teacher", "raw"
BINS = 10
MEASURED = ("top1", "uar", "ccc_valence", "ccc_arousal", "p_va", "au_f1", "nme_io")

Measure = Callable[[np.ndarray], float]
"""A score of the rows with these indices."""


@dataclass(frozen=True)
class Setting:
    """One dataset of a lake, and what is hidden of it.

    Args:
        truth: Label layer of all labels.
        base: Protocol: who trains.
        by: What is never split between hidden and visible (`affect hide-labels --by`).
        share: Share of the training samples whose labels are hidden.
        tasks: Tasks of the teacher.
    """

    folder: Path
    dataset: str
    truth: str
    base: str
    by: str
    share: float
    tasks: tuple[str, ...]

    @property
    def lake(self) -> Lake:
        return Lake(self.folder / "lake")

    def sources(self, kind: str) -> list[str]:
        """Label sources of one kind of student; the teacher trains as `scarce`."""
        visible, taught = f"derived-{VISIBLE}", f"teacher-{TEACHER}"
        return {"scarce": [visible], "pseudo": [visible, taught], "full": [self.truth]}[kind]


def hide(setting: Setting, seed: int) -> list[str]:
    """Publish the labels that are left, and a protocol that knows no others."""
    if setting.lake.has(setting.dataset, f"protocols/{VISIBLE}"):
        return [f"protocol {VISIBLE} is there"]
    keep = (Part((ALL,), 1 - setting.share),)
    hiding = Hiding(setting.truth, keep, setting.base, setting.by, seed)
    return hide_labels(setting.lake, setting.dataset, VISIBLE, hiding).lines()


def teach(setting: Setting, recipe: Recipe, threads: int) -> dict[str, object]:
    """Train the teacher, let it label, and compare its words with the hidden labels."""
    job = Job(setting, recipe, "scarce", TEACHER, threads)
    finish(job)
    teacher = Teacher(Run(job.folder), setting.lake, "cpu")
    for name, calibrated in ((RAW, False), (TEACHER, True)):
        if not setting.lake.has(setting.dataset, f"labels/teacher-{name}"):
            asked = Request(tasks=setting.tasks, name=name, calibrated=calibrated, sources=(f"derived-{VISIBLE}",))
            print("\n".join(pseudo_label([teacher], setting.dataset, asked).lines()), flush=True)
    return against_hidden(setting)


def against_hidden(setting: Setting) -> dict[str, object]:
    """The teacher's labels of hidden samples against the truth."""
    hidden = pa.table({"sample_id": hidden_ids(setting.lake, setting.dataset, VISIBLE, setting.truth)})
    said, raw, truth = (
        _words(setting, hidden, source) for source in (f"teacher-{TEACHER}", f"teacher-{RAW}", setting.truth)
    )
    found: dict[str, object] = {"hidden": hidden.num_rows}
    everything = np.arange(hidden.num_rows)
    both = _beside(truth, said)
    found |= {name: measure(everything) for name, measure in measures(both).items()}
    if "expression" in setting.tasks:
        kept = np.asarray(pc.is_valid(both["expression"]))
        right = np.asarray(pc.fill_null(pc.equal(both["expression"], both["expression_predicted"]), False))[kept]
        before, after = (_confidence(table)[kept] for table in (raw, said))
        found["labelled"] = int(kept.sum())
        found["ece_before"] = expected_calibration_error(before, right)
        found["ece_after"] = expected_calibration_error(after, right)
        found["bins"] = list(_bins(after, right))
    if "au" in setting.tasks:
        present, after = _cells(both)
        _, before = _cells(_beside(truth, raw))
        found["au_cells"] = len(present)
        found["au_ece_before"] = expected_calibration_error(before, present)
        found["au_ece_after"] = expected_calibration_error(after, present)
        found["au_bins"] = list(_bins(after, present))
    return found


def _cells(both: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Presence and said probability of every AU cell that the truth knows, float32 [cells] each."""
    _, present, said = au_cells(both)
    known = ~np.isnan(present) & ~np.isnan(said)
    return (present[known] >= 0.5).astype(np.float32), said[known].astype(np.float32)


def _words(setting: Setting, hidden: pa.Table, source: str) -> pa.Table:
    """What a source says of the hidden samples, a row for each, in the columns of the manifest."""
    columns = ["sample_id", "expression", "expression_probs", "valence", "arousal", "landmarks"]
    columns += [voc.au_column(au) for au in voc.AU_SPACES["fbn17"]]
    columns += [voc.au_column(au, "prob") for au in voc.AU_SPACES["fbn17"]]
    table = manifest_table(setting.lake, [setting.dataset], columns, sources=[source])
    return table.take(pc.index_in(hidden["sample_id"], value_set=table["sample_id"].combine_chunks()))


def _beside(truth: pa.Table, said: pa.Table) -> pa.Table:
    """Truth and prediction in the columns that a run's predictions have; tasks that the teacher lacks left out."""
    columns = {"sample_id": truth["sample_id"]}
    for name in ("expression", "valence", "arousal", "landmarks"):
        if said[name].null_count < said.num_rows:
            columns |= {name: truth[name], f"{name}_predicted": said[name]}
    for au in voc.AU_SPACES["fbn17"]:
        name, prob = voc.au_column(au), voc.au_column(au, "prob")
        if said[prob].null_count < said.num_rows:
            columns |= {name: truth[name], f"p_{name}": said[prob]}
    return pa.table(columns)


def measures(table: pa.Table) -> dict[str, Measure]:
    """Score by name of a table with the columns of a run's predictions; a row that is not labelled never counts."""
    found = {name: scorer(table, name) for name in MEASURED}
    return {name: score for name, score in found.items() if score is not None}


def _confidence(table: pa.Table) -> np.ndarray:
    probs = table["expression_probs"].combine_chunks()
    flat = pc.fill_null(probs, pa.scalar([0.0] * len(voc.EXPRESSIONS), probs.type)).flatten()
    return np.nan_to_num(flat.to_numpy(zero_copy_only=False)).reshape(len(table), -1).max(1).astype(np.float32)


def _bins(confidence: np.ndarray, right: np.ndarray) -> Iterator[dict[str, float | int | None]]:
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    for number in range(BINS):
        mine = place == number
        share = float(right[mine].mean()) if mine.any() else None
        mean = float(confidence[mine].mean()) if mine.any() else None
        yield {"from": number / BINS, "samples": int(mine.sum()), "confidence": mean, "accuracy": share}


@dataclass(frozen=True)
class Job:
    """One run of a recipe: the sources are those of its kind."""

    setting: Setting
    recipe: Recipe
    kind: str
    name: str
    threads: int

    @property
    def folder(self) -> Path:
        return self.setting.folder / "runs" / self.name

    @property
    def wanted(self) -> Recipe:
        return self.recipe.replace({"sources": self.setting.sources(self.kind)})


def finish(job: Job) -> str:
    """Train and score one run, as far as that is not done; one line about it."""
    import torch

    torch.set_num_threads(job.threads)
    lake, begun = job.setting.lake, (job.folder / FACTS).exists()
    if not begun or Run(job.folder, finished=False).facts.state != "finished":
        train(job.wanted, lake, job.folder, resume=begun, machine=Machine("cpu"), say=_silent)
    run = Run(job.folder)
    if run.scores is None:
        evaluate(run, lake, device="cpu")
    return f"{job.name}: {run.facts.samples['train']:,} samples, {run.facts.epochs} epochs, {run.facts.minutes:.1f} min"


def _silent(_: str) -> None:
    pass


def epochs_for(setting: Setting, recipe: Recipe) -> dict[str, int]:
    """Kind -> epochs with which each kind takes as many steps as `full` does in those of the recipe."""
    counts = {}
    for kind in KINDS:
        if kind == "pseudo" and not setting.lake.has(setting.dataset, f"labels/teacher-{TEACHER}"):
            continue
        prepared = prepare(recipe.replace({"sources": setting.sources(kind)}), setting.lake)
        counts[kind] = math.ceil(len(prepared.train) / recipe.train.batch)
    return {kind: max(1, round(recipe.train.epochs * counts["full"] / count)) for kind, count in counts.items()}


def students(setting: Setting, recipe: Recipe, seeds: Sequence[int], workers: int, threads: int) -> None:
    """Every kind of student with every seed; `workers` processes take one run after the other."""
    epochs = epochs_for(setting, recipe)
    jobs = [
        Job(
            setting, recipe.replace({"train.seed": seed, "train.epochs": epochs[kind]}), kind, f"{kind}-{seed}", threads
        )
        for seed in seeds
        for kind in KINDS
    ]
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before the workers import torch
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for line in pool.map(finish, jobs):
            print(line, flush=True)


def compare(setting: Setting, seeds: Sequence[int], role: str, resamples: int) -> dict[str, object]:
    """Scores per kind and seed, and paired intervals of differences of means over seeds, on rows without copies."""
    tables = {
        (kind, seed): Run(setting.folder / "runs" / f"{kind}-{seed}").predictions(setting.dataset, role)
        for kind in KINDS
        for seed in seeds
    }
    ids = tables["full", seeds[0]]["sample_id"].combine_chunks()
    who = identity(setting.lake, setting.dataset)
    scored = who.take(pc.index_in(ids, value_set=who["sample_id"].combine_chunks()))
    others = who.filter(pc.invert(pc.is_in(who["sample_id"], value_set=ids)))
    clean = np.flatnonzero(~leaks(scored, others, ("pixels",))["pixels"])
    groups = clusters(scored.take(pa.array(clean)), known_keys(scored))
    scores = {key: measures(table.take(pa.array(clean))) for key, table in tables.items()}
    rows, names = np.arange(len(clean)), list(scores["full", seeds[0]])
    kinds = {kind: {name: [scores[kind, seed][name](rows) for seed in seeds] for name in names} for kind in KINDS}
    differences = {}
    for ours, theirs in (("pseudo", "scarce"), ("full", "pseudo"), ("full", "scarce")):
        for name in names:
            pair = [_mean([scores[kind, seed][name] for seed in seeds]) for kind in (ours, theirs)]
            found = paired_difference(pair[0], pair[1], groups, resamples=resamples)
            differences[f"{ours} - {theirs}: {name}"] = [found.value, found.low, found.high]
    return {
        "scored": len(ids),
        "without_copies": len(clean),
        "clusters": int(groups.max()) + 1,
        "students": kinds,
        "differences": differences,
    }


def _mean(scores: Sequence[Measure]) -> Measure:
    return lambda rows: float(np.mean([score(rows) for score in scores]))


def report(found: dict[str, object], file: Path) -> None:
    """Print and keep what was found."""
    file.write_text(json.dumps(found, indent=1) + "\n")
    teacher, students = found["teacher"], found["students"]
    assert isinstance(teacher, dict)
    assert isinstance(students, dict)
    words = ", ".join(f"{name} {value:.4f}" for name, value in teacher.items() if isinstance(value, float))
    print(f"teacher on {teacher['hidden']:,} samples with hidden labels: {words}")
    for key, of, share in (("bins", "confidence", "accuracy"), ("au_bins", "probability of an AU", "present")):
        for one in teacher.get(key, []):
            if one["samples"]:
                print(
                    f"  {of} {one['from']:.1f}-{one['from'] + 1 / BINS:.1f}: {one['samples']:>6,} labels, "
                    f"{share} {one['accuracy']:.3f}, mean {one['confidence']:.3f}"
                )
    print(f"{students['without_copies']:,} of {students['scored']:,} scored samples have no copy in training")
    for kind, scores in students["students"].items():
        each = ", ".join(f"{name} {np.mean(v):.4f} (sd {np.std(v, ddof=1):.4f})" for name, v in scores.items())
        print(f"  {kind:6} {each}")
    for what, (value, low, high) in students["differences"].items():
        print(f"  {what}: {value:+.4f} [{low:+.4f}, {high:+.4f}]")
    print(f"everything: {file}")


def parser(about: str | None, epochs: int) -> argparse.ArgumentParser:
    """The options of every such study; `epochs` of the model on all labels by default."""
    found = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--folder", type=Path, required=True)
    found.add_argument("--seeds", default=SEEDS)
    found.add_argument("--epochs", type=int, default=epochs, help="of the model on all labels")
    found.add_argument("--width", type=int, default=16)
    found.add_argument("--hidden", type=float, default=0.7)
    found.add_argument("--workers", type=int, default=1)
    found.add_argument("--threads", type=int, default=1, help="per run")
    found.add_argument("--resamples", type=int, default=2000)
    return found


def study(setting: Setting, chosen: Recipe, role: str, asked: argparse.Namespace) -> None:
    """Hide labels, teach, train the students that are missing, score them on `role`, and report."""
    print("\n".join(hide(setting, seed=0)), flush=True)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    first = chosen.replace({"train.seed": 0, "train.epochs": epochs_for(setting, chosen)["scarce"]})
    teacher = teach(setting, first, asked.threads)
    students(setting, chosen, seeds, asked.workers, asked.threads)
    found = compare(setting, seeds, role, asked.resamples)
    report({"teacher": teacher, "students": found}, asked.folder / "results.json")
