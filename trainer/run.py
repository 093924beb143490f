"""A run folder: what was trained, on what, with which result. It is finished, or it is not taken for a run."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import AffectError, RunError, UnknownNameError
from manifests.storage import storage_errors
from trainer.recipe import Recipe, differences, load

RECIPE, FACTS, METRICS, SCORES = "recipe.yaml", "facts.json", "metrics.csv", "scores.json"
WEIGHTS, RESUME, SAMPLES, OPENED = "model.safetensors", "last.ckpt", "samples.parquet", "opened.jsonl"

_LIBRARIES = ("affectdata", "torch", "timm", "lightning", "numpy", "pyarrow", "duckdb")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a number depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


@dataclass(frozen=True)
class RunFacts:
    """What `facts.json` holds. No absolute path and nothing of the machine but its device."""

    state: str
    """training, or finished."""
    fingerprints: dict[str, dict[str, str]]
    """Dataset -> layer key -> fingerprint of every layer that training read."""
    sources: list[str]
    """Label sources of training, in order."""
    protocol: dict[str, str]
    """Dataset -> protocol."""
    crop: list[int]
    """Height, width, channels of the packed crops."""
    samples: dict[str, int]
    """How many samples train, select, or were left out for want of a crop."""
    dropped: dict[str, dict[str, Any]]
    """Dataset -> what became of its training samples: see `trainer.splits.Counts`."""
    parameters: int
    device: str
    versions: dict[str, str] = field(default_factory=versions)
    crops: dict[str, dict[str, str]] = field(default_factory=dict)
    """Dataset -> facts of its crop layer: alignment, detector, size, what was cut out without a face."""
    weights: dict[str, str] = field(default_factory=dict)
    """Weights that training began from, a file's or a run's: source and SHA-256; empty for a random start."""
    started: list[dict[str, Any]] = field(default_factory=list)
    """The run whose weights training began from, then the one that this began from, and so on; see
    `trainer.fine_tuning.Origin`."""
    transductive: list[str] = field(default_factory=list)
    """Why its scores are not those of unseen samples, see `trainer.transductive`; empty: they are."""
    taught: list[dict[str, Any]] = field(default_factory=list)
    """Teachers behind its training labels, see `trainer.transductive.Taught`."""
    epochs: int = 0
    """Epochs done."""
    best_epoch: int = -1
    """Epoch, from 0, whose weights `model.safetensors` holds."""
    best_score: float | None = None
    """Sum of the selection metrics at that epoch."""
    minutes: float = 0.0
    """Time spent in training and validation."""
    images_per_second: float = 0.0
    """Training pictures per second, validation left out."""


class Run:
    """A finished run.

    Args:
        path: The run folder.
        finished: Refuse a run that is still training or was interrupted.

    Raises:
        RunError: No run there, or an unfinished one.
        RecipeError: Its recipe does not fit this version.
    """

    def __init__(self, path: str | Path, *, finished: bool = True) -> None:
        self.path = Path(path)
        self.facts = _read_facts(self.path)
        if finished and self.facts.state != "finished":
            raise RunError(
                f"run {self.path} is not finished",
                found=f"state {self.facts.state} after {self.facts.epochs} epochs",
                expected="a run that ended well",
                then=f"affect train {self.path / RECIPE} --run {self.name} --resume goes on where it stopped",
            )
        self.recipe: Recipe = load(self.path / RECIPE)

    @property
    def name(self) -> str:
        """Name of the run: its folder's."""
        return self.path.name

    @property
    def metrics(self) -> pd.DataFrame:
        """One row per epoch: epoch, losses, selection metrics, their sum `score`, learning rate."""
        return pd.read_csv(self.path / METRICS)

    @property
    def samples(self) -> pa.Table:
        """sample_id, dataset, role of every sample that the run has seen: once each.

        Roles are train, selection, and start: seen only by a run whose weights this one began from.
        """
        return pq.read_table(self.path / SAMPLES)

    @property
    def openings(self) -> list[dict[str, Any]]:
        """Each time that a reported role was opened: when, which, how many samples."""
        path = self.path / OPENED
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    @property
    def scores(self) -> dict[str, Any] | None:
        """What `evaluate` wrote last, or None."""
        path = self.path / SCORES
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def predictions(self, dataset: str, role: str) -> pa.Table:
        """Predictions and truth of one dataset and role, sorted by sample_id.

        Raises:
            UnknownNameError: Nothing was predicted for them; the message lists what was.
        """
        path = self.path / "predictions" / f"{dataset}-{role}.parquet"
        if not path.exists():
            known = sorted(p.stem for p in path.parent.glob("*.parquet"))
            raise UnknownNameError(
                "predictions", f"{dataset}-{role}", known, f"affect evaluate {self.path} --role {role}"
            )
        return pq.read_table(path)

    def predicted(self, role: str) -> list[str]:
        """Datasets whose samples of a role have predictions."""
        found = (self.path / "predictions").glob(f"*-{role}.parquet")
        return sorted(path.stem.removesuffix(f"-{role}") for path in found)

    def log_opening(self, **facts: Any) -> None:
        """Append to `opened.jsonl` that a role was opened."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
        with storage_errors(self.path), (self.path / OPENED).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def start(path: Path, recipe: Recipe, facts: RunFacts, *, resume: bool) -> None:
    """Open a run folder for training: a new one, or with `resume` an interrupted one of the same recipe and lake.

    Raises:
        RunError: A run is there already; or nothing to resume; or it was made by another recipe or from other layers.
    """
    if (path / FACTS).exists():
        if not resume:
            state = _read_facts(path).state
            go_on = "" if state == "finished" else "--resume goes on with it; "
            raise RunError(
                f"run {path} is there already",
                found=f"state {state}",
                then=f"{go_on}another --run, or removing the folder, starts anew",
            )
        _check_same(path, recipe, facts)
        old = _read_facts(path)
        facts = replace(facts, epochs=old.epochs, best_epoch=old.best_epoch, best_score=old.best_score)
    elif resume:
        raise RunError(f"no run to resume at {path}", then="leave --resume out to start it")
    elif path.exists() and any(path.iterdir()):
        raise RunError(f"{path} is not a run", found="other files in it", then="choose another --run")
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        write_text(path / RECIPE, recipe.to_yaml())
        write_facts(path, facts)


def another(path: Path, *changes: str) -> str:
    """The command that trains a run's recipe with fields changed, such as `train.lr=0.001`, under another name."""
    return " ".join([f"affect train {path / RECIPE} --run {path.name}-2", *(f"--set {change}" for change in changes)])


def _check_same(path: Path, recipe: Recipe, facts: RunFacts) -> None:
    earlier, old = _read_facts(path), load(path / RECIPE)
    if earlier.state == "finished":
        timed = f", within max_minutes {old.train.max_minutes:g}" if old.train.max_minutes else ""
        raise RunError(
            f"run {path} is finished: there is nothing to resume",
            found=f"{earlier.epochs} epochs done{timed}",
            then="affect evaluate scores it; another --run starts anew"
            + (", with a longer --max-minutes if it was the time that ended it" if timed else ""),
        )
    if old != recipe:
        different = [f"{name} {before} -> {now}" for name, before, now in differences(old, recipe)]
        raise RunError(
            f"run {path} was made by another recipe",
            found=", ".join(different) or "another name or description",
            expected=f"the recipe in {path / RECIPE}",
            then=f"affect train {path / RECIPE} --run {path.name} --resume, or another --run",
        )
    if earlier.weights != facts.weights:
        raise RunError(
            f"run {path} began from other pretrained weights",
            found=f"now {facts.weights or 'none'}",
            expected=str(earlier.weights or "none"),
            then="bring that file back; another --run starts anew",
        )
    before = earlier.fingerprints
    if before != facts.fingerprints:
        changed = [
            f"{dataset} {key}"
            for dataset, layers in facts.fingerprints.items()
            for key, fingerprint in layers.items()
            if before.get(dataset, {}).get(key) != fingerprint
        ]
        raise RunError(
            f"run {path} was trained on other layers",
            found=f"changed: {', '.join(changed) or 'a layer is gone'}",
            then="another --run starts anew",
        )


def _read_facts(path: Path) -> RunFacts:
    try:
        tree = json.loads((path / FACTS).read_text(encoding="utf-8"))
        known = {f.name for f in fields(RunFacts)}
        return RunFacts(**{name: value for name, value in tree.items() if name in known})
    except FileNotFoundError:
        there = sorted(file.parent.name for file in path.parent.glob(f"*/{FACTS}"))
        raise RunError(
            f"no run at {path}",
            found=f"runs {', '.join(there)}" if there else f"no run in {path.parent}",
            expected=f"a folder with a {FACTS}",
            then="affect runs" if there else "affect train RECIPE, or --runs DIR",
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path / FACTS} cannot be read", found=str(error)) from None


def update_facts(path: Path, **changes: Any) -> None:
    """Change some of a run's facts."""
    write_facts(path, replace(_read_facts(path), **changes))


def write_facts(path: Path, facts: RunFacts) -> None:
    """Write `facts.json` whole or not at all."""
    write_text(path / FACTS, json.dumps(asdict(facts), indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: The disk refuses.
    """
    fresh = path.with_name(path.name + ".new")
    with storage_errors(path.parent, then="free space, then run the same command again; a run goes on with --resume"):
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)


@dataclass(frozen=True)
class RunLine:
    """One run in a list."""

    name: str
    path: Path
    state: str
    recipe: str
    epochs: int
    best_score: float | None
    samples: int
    minutes: float
    opened: str
    """Which reported roles have been looked at, and how often, e.g. `rafdb test 2`."""


def runs(folder: str | Path) -> list[RunLine]:
    """Every run in a folder by name: finished, training, or unreadable; folders that are no runs are passed over."""
    return sorted(_lines(Path(folder)), key=lambda line: line.name)


def _roles(run: Run) -> list[str]:
    return [f"{opening['dataset']} {opening['role']}" for opening in run.openings]


def _lines(folder: Path) -> Iterator[RunLine]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if not (path / FACTS).is_file():
            continue
        try:
            run = Run(path, finished=False)
        except AffectError:
            yield RunLine(path.name, path, "unreadable", "", 0, None, 0, 0.0, "")
            continue
        f = run.facts
        yield RunLine(
            run.name,
            path,
            f.state,
            run.recipe.name,
            f.epochs,
            f.best_score,
            f.samples.get("train", 0),
            f.minutes,
            ", ".join(f"{what} {times}" for what, times in Counter(_roles(run)).items()),
        )
