"""affect reproduce: a paper's comparison table, trained and scored as a script of the other commands."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.examples import with_examples
from cli.printing import Form, Grid, form_of, note, say, show
from cli.training import Resamples, changed_fields
from manifests.errors import AffectError

if TYPE_CHECKING:
    from trainer.reproduction.workshop import Command, Painting


@with_examples(
    ("affect reproduce --list", "the papers, and the data that stand for theirs"),
    ("affect reproduce sjmt --dry-run", "the commands that it would run"),
    ("affect reproduce sjmt --only sjmt-r32 --only single-r32", "two rows of its table"),
    ("affect reproduce sjmt --seeds 1,12 --steps 100", "smaller; the table says so"),
    ("affect reproduce f3r --data fer --small --with fer2013=/data/fer2013plus", "on a CPU"),
    ("affect reproduce sjmt --table --markdown sjmt.md", "train nothing, write the page"),
)
def reproduce(
    paper: Annotated[
        str | None,
        typer.Argument(metavar="PAPER", help="sjmt, facebehaviornet, tracenorm, cmcnn or f3r.", show_default=False),
    ] = None,
    data: Annotated[
        str, typer.Option("--data", metavar="NAME", help="synthetic (painted faces) or fer (FER2013 and FER+).")
    ] = "synthetic",
    show_list: Annotated[bool, typer.Option("--list", help="List papers, data and rows.")] = False,
    given: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME=PATH", help="A file or folder of yours that the data need; repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="ROW", help="Train this row, and what it needs; repeatable.", show_default="all"
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="LIST", help="One run each.", show_default="1,12,123,1234,12345"),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="The size for a CPU, of a study whose size is for a GPU.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", min=1, help="Of every run.", show_default="the study's")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="Of every run, instead of epochs.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field of every recipe; repeatable.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option("--samples", metavar="N", min=60, help="Pictures per painted set.", show_default="the study's"),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Lake and runs; kept.", show_default="reproduce/<data>"),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands that are missing; run none.")] = False,
    table_only: Annotated[bool, typer.Option("--table", help="Train nothing: the table of what is there.")] = False,
    resamples: Resamples = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the table as one JSON object, a list as an array.")
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Also write the table as a Markdown page.")
    ] = None,
) -> None:
    """Train and score the rows of a paper's table, and print ours beside the printed numbers.

    Every step is another command (--dry-run shows them). What is finished is
    kept: the same command goes on where it stopped, and more --seeds or rows
    add runs to those that are there.

    The table says where our order differs from the printed one, and how the runs differ from the paper's.
    """
    from trainer.reproduction.job import Asked, jobs
    from trainer.reproduction.plan import pending
    from trainer.reproduction.study import SEEDS, load_study
    from trainer.reproduction.workshop import Workshop

    if show_list:
        _list(form_of(as_json, False))
        return
    if paper is None:
        raise typer.BadParameter("name a paper, or --list them")
    study = load_study(paper, data)
    if small:
        study = study.smaller()
    wanted: dict[str, object] = {} if epochs is None else {"train.epochs": epochs, "train.steps": None}
    wanted |= {} if steps is None else {"train.steps": steps}
    wanted |= changed_fields(changes or [])
    workshop = Workshop(folder or Path("reproduce") / data, _pairs(given or []), device, samples)
    chosen = SEEDS if seeds is None else _numbers(seeds)
    planned = jobs(study, workshop, Asked(chosen, wanted))
    missing = pending(study, workshop, planned, only or ())
    if dry_run:
        say(command.text for command in missing)
        return
    if not table_only:
        _run(missing, workshop.folder)
    lake = workshop.lake()
    if lake is None:
        again = f"affect reproduce {paper} --data {data}"
        raise AffectError(f"nothing is in {workshop.folder} yet", then=f"{again} without --table trains the rows")
    from trainer.metrics.uncertainty import RESAMPLES
    from trainer.reproduction import page
    from trainer.reproduction.comparison import compare

    found = compare(study, planned, lake, chosen, resamples=RESAMPLES if resamples is None else resamples)
    if markdown is not None:
        markdown.write_text(page.markdown(found), encoding="utf-8")
        note(f"wrote {markdown}")
    say([page.to_json(found).rstrip()] if as_json else page.lines(found))


def _run(commands: Sequence[Command | Painting], folder: Path) -> None:
    """Run what is missing; what it prints goes to standard error, for the table is the answer."""
    from cli.errors import run
    from trainer.reproduction.workshop import Painting

    (folder / "runs").mkdir(parents=True, exist_ok=True)
    for number, command in enumerate(commands, 1):
        note(f"\n[{number}/{len(commands)}] {command.text}")
        with redirect_stdout(sys.stderr):
            if isinstance(command, Painting):
                command.paint()
            elif code := run(command.arguments):
                note("the same `affect reproduce` command goes on here")
                raise typer.Exit(code)


def _list(form: Form) -> None:
    from trainer.reproduction.study import load_study, studies

    rows = []
    for paper, data in studies():
        study = load_study(paper, data)
        trained = [row.name for row in study.rows if row.runs]
        rows.append((paper, data, ", ".join(trained), ", ".join(study.paths), study.about))
    if form is Form.json:
        show(Grid(("paper", "data", "rows", "needs", "about"), rows), form)
        return
    for paper, data, trained_rows, needs, about in rows:
        say([f"{paper} --data {data}" + (f", needs --with {needs}" if needs else "")])
        for text in (about, f"rows: {trained_rows}"):
            say(textwrap.wrap(text, 80, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))


def _pairs(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise typer.BadParameter(f"--with {text!r} is not NAME=PATH, such as fer2013=/data/fer2013plus")
        if not Path(path).expanduser().exists():
            raise typer.BadParameter(f"--with {name}: {path} is not there")
        found[name] = str(Path(path).expanduser().absolute())
    return found


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError:
        found = ()
    if not found or min(found) < 0:
        raise typer.BadParameter(f"--seeds {text!r}: whole numbers with commas between them, such as 1,12,123")
    return found
