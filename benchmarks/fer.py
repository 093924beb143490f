"""FER+ and FER2013 from the files to a score, and the training's pictures per second beside its bare step, in one run.

    python benchmarks/fer.py FER2013PLUS [--folder DIR] [--device auto] [--epochs N] [--only LABELS] [--speed]

FER2013PLUS is the set as distributed, folder or archive with FER+'s votes. For each labelling (`ferplus`: majority of
the votes, 8 classes; `fer2013`: 7 classes) it trains `ferplus-baseline` on Training, chooses the epoch on a part of
it drawn by groups of identical pictures, drops copies of scored pictures, and scores PublicTest once. On a GPU the
network has its full width and trains for 60 epochs. A finished run is not done again, an interrupted one
goes on; another --epochs needs another --folder.

Speed, for the recipe of `ferplus`, by turns and each first in every other round:
  whole     the training as it is: crops gathered, normalised and augmented on the device, one optimiser step
  resident  the same steps on one batch that lies on the device
Targets, with no other data: accuracy of ferplus >= 0.87 and of fer2013 >= 0.71, on a GPU; whole / resident >= 0.9.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from affectdata.faces.align import AlignOptions, align
from affectdata.ingest import ingest
from manifests.lake import Lake
from trainer import fit
from trainer.evaluate import evaluate
from trainer.fit import Machine, train
from trainer.loader import TrainLoader
from trainer.recipe import Recipe, load
from trainer.run import FACTS, Run
from trainer.targets import Batch

LABELS: dict[str, dict[str, object]] = {
    "ferplus": {},
    "fer2013": {
        "sources": ["human-fer2013"],
        "protocol": {"name": "official", "report": "val"},
        "tasks.expression.space": "expr7",
    },
}
WIDE: dict[str, object] = {"train.epochs": 60, "backbone.kwargs": {"drop_path_rate": 0.05}}
WARM, STEPS, ROUNDS = 10, 60, 5


class Timed(TrainLoader):
    """Notes when the step after the first `WARM` begins, and the last of `STEPS`."""

    times: list[float] = []  # noqa: RUF012  # the loop makes the loader, so what it notes lies with the class

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(self.made()):
            if number in (WARM, WARM + STEPS):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                Timed.times.append(time.perf_counter())
            yield batch

    def made(self) -> Iterator[Batch]:
        """The batches."""
        return super().__iter__()


class Resident(Timed):
    """One batch again and again, on the device from the second time on."""

    device = torch.device("cpu")

    def made(self) -> Iterator[Batch]:
        batch = next(super().made()).to(self.device)
        return (batch for _ in range(len(self)))


def images_per_second(recipe: Recipe, lake: Lake, machine: Machine, loader: type[Timed]) -> float:
    """Pictures per second of `STEPS` steps."""
    Timed.times = []
    Resident.device = torch.device(machine.accelerator)
    kept, fit.TrainLoader = fit.TrainLoader, loader
    try:
        with tempfile.TemporaryDirectory() as folder:
            short = recipe.replace({"train.epochs": 1, "train.steps": WARM + STEPS + 1})
            train(short, lake, Path(folder) / "run", machine=machine, say=lambda _: None)
    finally:
        fit.TrainLoader = kept
    begun, ended = Timed.times
    return STEPS * recipe.train.batch / (ended - begun)


def filled(source: Path, folder: Path) -> Lake:
    """The lake, with FER2013 and its crops of 48 x 48."""
    lake = Lake(folder / "lake", create=not (folder / "lake").exists())
    if not lake.has("fer2013", "samples"):
        ingest(lake, "fer2013", source)
    if not lake.has("fer2013", "crops/resize48"):
        align(lake, "fer2013", alignment="resize48", detector="whole", options=AlignOptions(gray=True))
    return lake


def scored(recipe: Recipe, lake: Lake, path: Path, machine: Machine) -> Run:
    """The run at `path`, trained and scored."""
    begun = (path / FACTS).exists()
    if not begun or Run(path, finished=False).facts.state != "finished":
        train(recipe, lake, path, machine=machine, resume=begun)
    run = Run(path)
    if run.scores is None:
        evaluate(run, lake, device=machine.device)
    return run


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="FER2013PLUS")
    parser.add_argument("--folder", type=Path, default=Path("fer"), help="lake and runs; kept")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--only", default=",".join(LABELS), help="labellings, separated by commas")
    parser.add_argument("--speed", action="store_true", help="the speeds alone")
    asked = parser.parse_args()
    machine = Machine(asked.device)
    changes = WIDE if machine.accelerator == "cuda" else {}
    changes = changes | ({} if asked.epochs is None else {"train.epochs": asked.epochs})
    lake = filled(asked.source, asked.folder)
    recipe = load("ferplus-baseline").replace(changes)
    pairs = []
    for number in range(ROUNDS):
        sides = (Timed, Resident) if number % 2 else (Resident, Timed)
        speed = {side: images_per_second(recipe, lake, machine, side) for side in sides}
        pairs.append((speed[Timed], speed[Resident]))
    whole, resident = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [one / other for one, other in pairs]
    print(f"{machine.accelerator}, {torch.get_num_threads()} threads, batches of {recipe.train.batch}, 48 x 48")
    print(f"whole {whole:,.0f} images/s, resident {resident:,.0f}: {statistics.median(ratios):.3f} (target 0.9)")
    print(f"  rounds {[round(ratio, 3) for ratio in ratios]}")
    for name in () if asked.speed else asked.only.split(","):
        run = scored(recipe.replace(LABELS[name]), lake, asked.folder / name, machine)
        [on] = (run.scores or {})["datasets"]
        shown = [f"{m['name']} {m['value']:.4f}" for m in on["results"] if m["name"] in ("top1", "uar")]
        facts = run.facts
        print(f"{name}: {', '.join(shown)}, n {on['samples']}, {facts.epochs} epochs, {facts.minutes:.1f} min")


if __name__ == "__main__":
    main()
