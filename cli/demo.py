"""affect demo: the whole way, once, as a script of the other commands on synthetic faces."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from cli.examples import with_examples
from cli.printing import Grid, say, show
from manifests.errors import AffectError, UnknownNameError

TWINS = ("synthetic", "rafdb", "fer2013")
"""Synthetic datasets that the demo trains on: a neutral one with four tasks, two in the true layouts of real ones."""

SMALL = 60
"""Pictures of every other dataset: they show their layout and are read, aligned and counted, but not trained on."""

RECIPE = "demo"

QUESTION = (
    "select dataset, count(*) samples, count_if(mask_expression) expression, count_if(mask_compound) compound, "
    "count_if(mask_va) va, count_if(mask_au) au, count_if(mask_landmarks) landmarks from manifest group by all "
    "order by dataset"
)

METRICS = ("top1", "uar", "p_va", "au_f1", "nme_io")
"""Columns of the table at the end; a dataset that does not label a task has no score for it."""


@with_examples(
    ("affect demo", "in a temporary folder, removed afterwards"),
    ("affect demo --folder demo --minutes 5", "keep the lake and the run in ./demo"),
    ("affect demo --datasets all --minutes 1", "the layouts of all datasets that can be read"),
)
def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", metavar="DIR", help="Work in this new folder and keep it.", show_default="a temporary one"
        ),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", metavar="MIN", min=0.01, help="Minutes of training.")] = 2.0,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=60, help="Pictures per synthetic dataset that trains.")
    ] = 600,
    datasets: Annotated[
        str,
        typer.Option(
            "--datasets", metavar="NAMES", help="Synthetic copies to make: all, or names with commas between them."
        ),
    ] = ",".join(TWINS),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder.")] = False,
) -> None:
    """Run the whole way on synthetic faces: ingest, coverage, SQL, align, train, evaluate. On the CPU, in minutes."""
    started = monotonic()
    names = _names(datasets)
    with _folder_to_work_in(folder, keep=keep) as home:
        for arguments in script(home, minutes, _write_twins(home / "data", names, samples)):
            _run(home, arguments)
        if not _trains(names):
            say(["", f"Not trained: that needs {', '.join(TWINS)} ({monotonic() - started:.0f} s in all)."])
            return
        say(["", f"Scores on test pictures, none of which trained ({monotonic() - started:.0f} s in all):"])
        show(_scores(home))


def script(home: Path, minutes: float, options: Mapping[str, Mapping[str, str]] | None = None) -> list[list[str]]:
    """The command lines of the demo, in order, without the global options.

    Args:
        options: Dataset -> what its ingest must be told beside the folder; by default the three that train.
    """
    chosen = {name: {} for name in TWINS} if options is None else options
    runs, device = ["--runs", str(home / "runs")], ["--device", "cpu"]
    steps = [
        *(_ingest(home, name, told) for name, told in chosen.items()),
        ["coverage"],
        ["sql", QUESTION],
        ["align", "--to", "resize48", "--detector", "whole"],
        ["layers"],
    ]
    if _trains(chosen):
        steps.append(["train", RECIPE, *device, "--max-minutes", f"{minutes:g}", *runs])
        steps.append(["evaluate", RECIPE, *device, *runs])
    return steps


def _ingest(home: Path, name: str, options: Mapping[str, str]) -> list[str]:
    # Every copy holds broken items on purpose: more than the 1 % that ingest lets pass unasked, in small ones far more.
    share = "0.1" if name in TWINS else "1"
    told = [part for option, value in options.items() for part in (f"--{option}", value)]
    return ["ingest", name, str(home / "data" / name), "--max-rejects", share, *told]


def _names(datasets: str) -> list[str]:
    """The datasets that `--datasets` names, those that train first.

    Raises:
        UnknownNameError: One that has no synthetic copy.
    """
    from affectdata.synthetic import twins

    known = [*TWINS, *(name for name in twins() if name not in TWINS)]
    named = {name.strip() for name in datasets.split(",") if name.strip()}
    wanted = set(known) if named == {"all"} else named
    for name in sorted(wanted - set(known)):
        raise UnknownNameError("synthetic dataset", name, ["all", *known])
    if not wanted:
        raise AffectError("--datasets names none", expected="all, or names with commas between them")
    return [name for name in known if name in wanted]


def _trains(names: Iterable[str]) -> bool:
    """Whether the datasets of the recipe are among them."""
    return set(TWINS) <= set(names)


@contextmanager
def _folder_to_work_in(folder: Path | None, *, keep: bool) -> Iterator[Path]:
    """A folder to work in; a temporary one is removed at the end, others are named.

    Raises:
        AffectError: The folder holds something already, or cannot be one.
    """
    if folder is not None and not _may_become_folder(folder):
        raise AffectError(f"folder {folder} cannot be made", found="a file in its place", expected="a new folder")
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise AffectError(f"folder {folder} is not empty", expected="a new or empty folder for the demo")
    home = Path(tempfile.mkdtemp(prefix="affect-demo-")) if folder is None else folder.absolute()
    try:
        yield home
    finally:
        if folder is None and not keep:
            shutil.rmtree(home, ignore_errors=True)
            say(["The demo's temporary folder is removed; `affect demo --folder DIR` keeps everything."])
        else:
            say([f"Lake: {home / 'lake'}", *([f"Run:  {run}"] if (run := home / "runs" / RECIPE).exists() else [])])


def _may_become_folder(path: Path) -> bool:
    """Whether nothing but folders lies on the way to it."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists()).is_dir()


def _write_twins(data: Path, names: Iterable[str], samples: int) -> dict[str, Mapping[str, str]]:
    """Write the copies; what the ingest of each must be told beside the folder."""
    from affectdata.synthetic import write_twin

    sizes = {name: samples if name in TWINS else min(samples, SMALL) for name in names}
    say([f"# {len(sizes)} synthetic datasets of {' or '.join(map(str, sorted(set(sizes.values()), reverse=True)))} "
         f"pictures each, under {data}"])  # fmt: skip
    return {name: write_twin(name, data / name, samples=size, seed=1).options for name, size in sizes.items()}


def _run(home: Path, arguments: list[str]) -> None:
    """Echo a command line, run it in this process, and stop the demo where it fails."""
    from cli.errors import run

    say(["", f"$ affect {shlex.join(arguments)}"])
    if code := run(["--lake", str(home / "lake"), *arguments]):
        raise typer.Exit(code)


def _scores(home: Path) -> Grid:
    from trainer.run import Run

    scores: dict[str, Any] = Run(home / "runs" / RECIPE).scores or {"datasets": []}
    rows = []
    for dataset in scores["datasets"]:
        values = {r["name"]: r["value"] for r in dataset["results"] if r["value"] is not None}
        known = [values.get(name) for name in METRICS]
        rows.append((dataset["dataset"], dataset["samples"], *(None if v is None else round(v, 3) for v in known)))
    return Grid(("dataset", "samples", *METRICS), rows)
