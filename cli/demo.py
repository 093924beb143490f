"""affect demo: the whole way, once, as a script of the other commands on synthetic faces."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from cli.examples import with_examples
from cli.printing import Grid, say, show
from manifests.errors import AffectError

TWINS = ("synthetic", "rafdb", "fer2013")
"""Synthetic datasets of the demo: a neutral one with four tasks, and two in the true layouts of real ones."""

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
        int, typer.Option("--samples", metavar="N", min=60, help="Pictures per synthetic dataset.")
    ] = 600,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder.")] = False,
) -> None:
    """Run the whole way on synthetic faces: ingest, coverage, SQL, align, train, evaluate. On the CPU, in minutes."""
    started = monotonic()
    with _folder_to_work_in(folder, keep=keep) as home:
        _write_twins(home / "data", samples)
        for arguments in script(home, minutes):
            _run(home, arguments)
        say(["", f"Scores on test pictures, none of which trained ({monotonic() - started:.0f} s in all):"])
        show(_scores(home))


def script(home: Path, minutes: float) -> list[list[str]]:
    """The command lines of the demo, in order, without the global options."""
    runs, device = ["--runs", str(home / "runs")], ["--device", "cpu"]
    return [
        # Every copy holds a few broken items on purpose, more than the 1 % that ingest lets pass unasked.
        *(["ingest", name, str(home / "data" / name), "--max-rejects", "0.1"] for name in TWINS),
        ["coverage"],
        ["sql", QUESTION],
        ["align", "--to", "resize48", "--detector", "whole"],
        ["layers"],
        ["train", RECIPE, *device, "--max-minutes", f"{minutes:g}", *runs],
        ["evaluate", RECIPE, *device, *runs],
    ]


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
            say([f"Lake: {home / 'lake'}", f"Run:  {home / 'runs' / RECIPE}"])


def _may_become_folder(path: Path) -> bool:
    """Whether nothing but folders lies on the way to it."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists()).is_dir()


def _write_twins(data: Path, samples: int) -> None:
    from affectdata.synthetic import write_twin

    say([f"# {len(TWINS)} synthetic datasets of {samples} pictures each, under {data}"])
    for name in TWINS:
        write_twin(name, data / name, samples=samples, seed=1)


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
