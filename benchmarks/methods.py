"""Memory and time per step of each recipe beside its paper's single-task base, at the same batch, in one table.

    python benchmarks/methods.py [--paper NAME] [--recipe PATTERN ...] [--batch 8] [--steps 4] [--device cpu]

`--recipe 'sjmt-*'` measures some recipes alone, so that large ones can have a batch of their own; the table says which.

Each side is the recipe's own network at its own crop size, from random weights, with its losses, couplings,
augmentation and optimiser, in a process of its own: one step to warm up, then the median of `--steps` steps.
Batches are random pictures. Where one dataset of the recipe carries every task, so does every picture; where datasets
label different tasks, the pictures are dealt out to the tasks; where batches alternate, each step has the next task's.

A recipe that goes on from another run is marked *: its step is the same from random weights, and from these it is
measured.

batch    pictures per step, of both sides
base     the single-task recipe of the same paper, for its first task, on the backbone and crop size of the recipe
M par    parameters, millions
ms       per step, forward, backward and optimiser
MiB      on the CPU: peak resident memory above what the process held before it built the network; on a GPU:
         torch.cuda.max_memory_allocated
x        this over the base's
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from affectdata.faces.alignments import alignment
from manifests.errors import AffectError
from trainer.learner import Learner
from trainer.network import network_for
from trainer.recipe import Recipe, load, names
from trainer.schedule import Length
from trainer.targets import AuTarget, Batch, ClassTarget, IntensityTarget, LandmarkTarget, Targets, VaTarget

PAPERS = {
    "sjmt": ("single-task", ("sjmt", "classical", "single-")),
    "facebehaviornet": ("facebehaviornet-expr", ("facebehaviornet",)),
    "subtle": ("subtle-single", ("subtle",)),
    "cmcnn": ("basedcnn-fer", ("cmcnn", "cross-stitch", "hps", "ps-mcnn", "basedcnn")),
    "f3r": ("f3r-teacher-expr", ("f3r",)),
    "none": ("", ("demo", "ferplus", "multitask", "au-intensity")),
}
"""Paper -> its single-task recipe (none: the recipe itself, cut down to its first task), how its recipes begin."""
FITTED = "cmcnn100_sym"
"""How alignments begin that are fitted to a lake, and are as large as their name says."""


@dataclass(frozen=True)
class Cost:
    """What one step costs."""

    parameters: int
    seconds: float
    memory: float
    """Bytes."""


def base_of(recipe: Recipe, single: str) -> Recipe:
    """The single-task recipe of a paper on the backbone and crop size of a recipe; of the recipe where it has none."""
    base = load(single) if single else recipe
    _, *others = base.tasks.names
    backbone = recipe.backbone.model_dump(mode="json")
    hidden = backbone["kwargs"].get("hidden")
    if isinstance(hidden, dict):  # widths by task: those of the other tasks say nothing of this one
        own = {task: widths for task, widths in hidden.items() if task in base.tasks.names}
        backbone["kwargs"]["hidden"] = own or base.backbone.kwargs["hidden"]
    changes: dict[str, object] = {"backbone": backbone, "alignment": recipe.alignment}
    if base.backbone.in_chans != recipe.backbone.in_chans:
        changes["input"] = {}  # means and deviations per channel
    changes |= {f"tasks.{task}": None for task in others}
    if others:
        changes |= {"train.sampler": "pooled", "train.sets": [], "couplings": []}
    return base.replace(changes)


def untrained(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with random first weights, so that nothing is downloaded; trunks that freeze some read them there."""
    kwargs = dict(recipe.backbone.kwargs)
    if "trunk" in kwargs:
        kwargs["pretrained"] = str(folder / "trunk.safetensors")
        save_file(timm.create_model(kwargs["trunk"]).state_dict(), kwargs["pretrained"])
    changes: dict[str, object] = {"backbone.pretrained": False, "backbone.kwargs": kwargs}
    return recipe.replace(changes | ({"start": None} if recipe.start else {}))


def crop_size(recipe: Recipe) -> tuple[int, int]:
    """Height and width of its crops."""
    if recipe.alignment.startswith(FITTED):
        return 100, 100
    width, height = alignment(recipe.alignment).size
    return height, width


def batches(recipe: Recipe, size: int) -> Iterator[Batch]:
    """Random pictures with random labels, dealt out to the tasks as the module says."""
    random = torch.Generator().manual_seed(0)
    height, width = crop_size(recipe)
    tasks = recipe.tasks.names
    for step in count():
        if len(recipe.datasets) == 1:
            rows = {task: torch.ones(size, dtype=torch.bool) for task in tasks}
        elif recipe.train.sampler == "alternating":
            rows = {task: torch.full((size,), step % len(tasks) == at) for at, task in enumerate(tasks)}
        else:
            rows = {task: torch.arange(size) % len(tasks) == at for at, task in enumerate(tasks)}
        shape = (size, height, width, recipe.backbone.in_chans)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
        dataset = torch.arange(size) % len(tasks) % len(recipe.datasets)
        keys = torch.arange(size) + step * size
        yield Batch(pixels, keys, torch.arange(size), dataset, labels(recipe, rows, random))


def labels(recipe: Recipe, rows: dict[str, Tensor], random: torch.Generator) -> Targets:
    """Random labels for the rows that a task has; the others are unknown."""
    found: dict[str, ClassTarget | VaTarget | AuTarget | IntensityTarget | LandmarkTarget] = {}
    height, width = crop_size(recipe)
    for task, known in rows.items():
        size, weight = len(known), torch.ones(len(known))
        if task == "va":
            values = torch.rand(size, 2, generator=random) * 2 - 1
            found[task] = VaTarget(torch.where(known[:, None], values, torch.nan), weight)
        elif task == "au":
            assert recipe.tasks.au is not None
            shape = (size, len(recipe.tasks.au.aus))
            present = torch.randint(0, 2, shape, generator=random).float()
            found[task] = AuTarget(torch.where(known[:, None], present, -1.0), torch.ones(shape))
        elif task == "au_intensity":
            assert recipe.tasks.au_intensity is not None
            shape = (size, len(recipe.tasks.au_intensity.aus))
            values = torch.randint(0, 6, shape, generator=random).float()
            found[task] = IntensityTarget(torch.where(known[:, None], values, torch.nan), torch.ones(shape))
        elif task == "landmarks":
            points = torch.rand(size, 68, 2, generator=random) * torch.tensor([width - 1.0, height - 1.0])
            found[task] = LandmarkTarget(torch.where(known[:, None, None], points, torch.nan), weight)
        else:
            classes = len(getattr(recipe.tasks, task).classes)
            code = torch.where(known, torch.randint(0, classes, (size,), generator=random), -1)
            offered = torch.ones(size, classes, dtype=torch.bool)
            found[task] = ClassTarget(code, offered, torch.zeros(size, 0), weight)
    return Targets(**found)  # type: ignore[arg-type]  # each task has its own kind


def resident(what: str) -> int:
    """Bytes that this process holds (VmRSS), or has held at most (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(what)


def cost(recipe: Recipe, size: int, steps: int, device: str) -> Cost:
    """Build the network of a recipe and train it for some steps."""
    cuda = device == "cuda"
    if not cuda:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts over
        before = resident("VmRSS")
    torch.manual_seed(0)
    network = network_for(recipe, crop_size(recipe))
    learner = Learner(recipe, network, Length(1000, 100), Targets()).to(device)
    learner.train()
    optimizer = learner.configure_optimizers()
    seconds = []
    for _, batch in zip(range(steps + 1), batches(recipe, size), strict=False):
        batch = batch.to(device)
        if cuda:
            torch.cuda.synchronize()
        begun = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=recipe.train.precision == "bf16-mixed"):
            losses = learner.step_losses(batch, 0)
        optimizer.zero_grad()
        torch.stack([learner.weight[name] * loss for name, loss in losses.items()]).sum().backward()
        optimizer.step()
        learner.follow()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    memory = torch.cuda.max_memory_allocated() if cuda else resident("VmHWM") - before
    return Cost(sum(p.numel() for p in learner.network.parameters()), statistics.median(seconds[1:]), memory)


def measure(recipe: Recipe, size: int, steps: int, device: str, answer: Connection) -> None:
    """What the process of one side does: send its cost, or why it has none."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            answer.send(cost(untrained(recipe, Path(folder)), size, steps, device))
    except (AffectError, RuntimeError) as error:
        answer.send(" ".join(str(error).split()))


def measured(recipe: Recipe, size: int, steps: int, device: str) -> Cost | str:
    """Its cost in a process of its own, or why there is none."""
    # This process has imported everything and computed nothing, so that a fork is whole and begins at once.
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(recipe, size, steps, device, theirs))
    process.start()
    theirs.close()
    try:
        found: Cost | str = ours.recv()
    except EOFError:
        process.join()
        found = f"died with exit code {process.exitcode}: no memory?"
    process.join()
    return found


def line(name: str, base: str, size: int, one: Cost, other: Cost) -> str:
    """One row of the table."""
    sides = (
        f"{one.parameters / 1e6:8.2f} {one.parameters / other.parameters:5.2f}",
        f"{1000 * one.seconds:9.1f} {one.seconds / other.seconds:5.2f}",
        f"{one.memory / 2**20:8.0f} {one.memory / other.memory:5.2f}",
    )
    return f"{name:<33} {base:<21} {size:>5} {' '.join(sides)}"


def recipes_of(paper: str) -> list[str]:
    """Names of the recipes of a paper; every recipe of the package is of one."""
    _, begins = PAPERS[paper]
    return [name for name in names() if name.startswith(begins) and (paper == "subtle") == name.startswith("subtle")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", choices=PAPERS, help="only the recipes of one paper")
    parser.add_argument("--recipe", nargs="+", default=["*"], metavar="PATTERN", help="only the recipes of these names")
    parser.add_argument("--batch", type=int, default=8, help="pictures per step")
    parser.add_argument("--steps", type=int, default=4, help="steps that are timed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    chosen = parser.parse_args()
    print(f"{chosen.device}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{'recipe':<33} {'base':<21} {'batch':>5} {'M par':>8} {'x':>5} {'ms':>9} {'x':>5} {'MiB':>8} {'x':>5}")
    known: dict[str, Cost | str] = {}
    for paper, (single, _) in PAPERS.items():
        if chosen.paper not in (None, paper):
            continue
        wanted = [name for name in recipes_of(paper) if any(fnmatch(name, pattern) for pattern in chosen.recipe)]
        if wanted:
            print(f"-- {paper}")
        for name in wanted:
            recipe = load(name)
            sides = (recipe, base_of(recipe, single))
            for side in sides:
                key = side.replace({"name": "x", "about": ""}).to_yaml()
                if key not in known:
                    known[key] = measured(side, chosen.batch, chosen.steps, chosen.device)
            one, other = (known[side.replace({"name": "x", "about": ""}).to_yaml()] for side in sides)
            shown = f"{name} *" if recipe.start else name
            if isinstance(one, Cost) and isinstance(other, Cost):
                print(line(shown, single or "its first task", chosen.batch, one, other), flush=True)
            else:
                print(f"{shown:<33} {next(found for found in (one, other) if isinstance(found, str))[:90]}", flush=True)


if __name__ == "__main__":
    main()
