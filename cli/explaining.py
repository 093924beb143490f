"""affect explain: what a trained network has made of its tasks, as the figures of the papers show it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, show
from cli.session import session
from cli.training import RUNS, Runs, run_folder

if TYPE_CHECKING:
    from trainer.run import Run


class What(StrEnum):
    """What is explained."""

    au_by_expression = "au-by-expression"
    pyramid_levels = "pyramid-levels"


@with_examples(
    ("affect explain sjmt-resnet110 au-by-expression", "mean AU probability per predicted emotion"),
    ("affect explain sjmt-resnet110 au-by-expression --by true --csv", ""),
    ("affect explain f3r-student pyramid-levels", "share of each pyramid level in each task"),
)
def explain(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name under --runs.")],
    what: Annotated[What, typer.Argument(metavar="WHAT", help="au-by-expression or pyramid-levels.")],
    by: Annotated[
        str, typer.Option("--by", metavar="WHOSE", help="au-by-expression: group by predicted or true expressions.")
    ] = "predicted",
    role: Annotated[
        str | None,
        typer.Option(
            "--role", metavar="ROLE", help="au-by-expression: role of the pictures.", show_default="the recipe's"
        ),
    ] = None,
    weights_only: Annotated[
        bool, typer.Option("--weights-only", help="pyramid-levels: by the weights alone, without pictures.")
    ] = False,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    as_json: Json = False,
    as_csv: Csv = False,
    runs: Runs = RUNS,
) -> None:
    """Show what a run has made of its tasks, as figures of the papers do.

    au-by-expression: mean probability of each AU over the n pictures of an expression (Pons & Masip 2018, Fig. 2).

    It reads what `affect evaluate` has predicted, and needs no AU label.

    pyramid-levels: share of each level of a feature pyramid in each task's outputs (He et al. 2021, Fig. 4).

    It looks at the samples that chose the epoch.
    """
    form = form_of(as_json, as_csv)
    from trainer.run import Run

    chosen = Run(run_folder(run, runs))
    if what is What.au_by_expression:
        _au_by_expression(chosen, role, by, form)
        return
    from trainer.pyramid_levels import level_contributions

    found = level_contributions(chosen, None if weights_only else session(context).lake(), device=device)
    about = "weights alone" if weights_only else f"{found.pictures:,} pictures that chose the epoch"
    show(Grid(("task", *found.levels), found.rows()), form, title=f"share of each level, by {about}")


def _au_by_expression(run: Run, role: str | None, by: str, form: Form) -> None:
    from trainer.au_by_expression import of_run

    tables = of_run(run, role=role, by=by)
    rows = [_shown(row, form) for table in tables for row in table.rows()]
    columns = ("dataset", "expression", "n", *tables[0].aus)
    show(Grid(columns, rows), form, title=f"mean AU probability by {by} expression")


def _shown(row: tuple[object, ...], form: Form) -> tuple[object, ...]:
    """For people two decimals, as the paper prints them."""
    if form is not Form.table:
        return row
    return tuple(round(value, 2) if isinstance(value, float) else value for value in row)
