"""affect demo: the whole way, once, as a script of the other commands on synthetic faces."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from cli.examples import with_examples
from cli.printing import say

TWINS = ("synthetic", "fer2013", "rafdb")
"""Synthetic datasets of the demo: a neutral one with four tasks, and two in the true layouts of real ones."""

ALIGNMENT = "resize48"
RUN = "demo"

QUESTION = (
    "select dataset, count(*) samples, count_if(mask_expression) expression, count_if(mask_va) va, "
    "count_if(mask_au) au, count_if(mask_landmarks) landmarks from manifest group by all order by all"
)


@with_examples(
    ("affect demo", "in a temporary folder, removed afterwards"),
    ("affect demo --folder ./demo --minutes 5", "keep the lake and the run in ./demo"),
)
def demo(
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Work here and keep it.", show_default="a temporary folder"),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", metavar="MIN", min=0.01, help="Minutes of training.")] = 2.0,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=30, help="Pictures per synthetic dataset.")
    ] = 600,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder.")] = False,
) -> None:
    """Run the whole way on synthetic faces: ingest, coverage, SQL, align, train, evaluate. On the CPU, in minutes."""
    started = monotonic()
    home = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="affect-demo-"))
    try:
        _write_twins(home / "data", samples)
        for arguments in script(home, minutes):
            _run(home, arguments)
        _show_result(home)
        say(["", f"done in {monotonic() - started:.0f} s"])
    finally:
        if folder or keep:
            say([f"lake: {home / 'lake'}, run: {home / 'runs' / RUN}"])
        else:
            shutil.rmtree(home, ignore_errors=True)
            say(["the demo's temporary folder is removed; --folder DIR keeps everything"])


def script(home: Path, minutes: float) -> list[list[str]]:
    """The command lines of the demo, in order, without the global options."""
    ingest = [["ingest", name, str(home / "data" / name)] for name in TWINS]
    runs, device = ["--runs", str(home / "runs")], ["--device", "cpu"]
    return [
        *ingest,
        ["coverage"],
        ["sql", QUESTION],
        ["align", "--to", ALIGNMENT, "--detector", "whole"],
        ["layers"],
        [
            *("train", "demo", "--run", RUN, *device, "--max-minutes", f"{minutes:g}", *runs),
        ],
        ["evaluate", RUN, *device, *runs],
    ]


def _write_twins(data: Path, samples: int) -> None:
    from affectdata.synthetic import write_twin

    say([f"# {len(TWINS)} synthetic datasets of {samples} pictures under {data}"])
    for name in TWINS:
        write_twin(name, data / name, samples=samples, seed=1)


def _run(home: Path, arguments: list[str]) -> None:
    """Echo a command line, run it in this process, and stop the demo where it fails."""
    from cli.errors import run

    say(["", f"$ affect {shlex.join(arguments)}"])
    if code := run(["--lake", str(home / "lake"), *arguments]):
        raise typer.Exit(code)


def _show_result(home: Path) -> None:
    pass
