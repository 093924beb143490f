"""The `affect` application: global options, and the commands in the order of the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import (
    agreement,
    coannotation,
    datasets,
    demo,
    explaining,
    faces,
    folds,
    labels,
    layers,
    lineage,
    prediction,
    questions,
    reproduce,
    scoring,
    selections,
    teachers,
    training,
    validate,
)
from cli.errors import AffectGroup
from cli.examples import examples
from cli.session import Session

app = typer.Typer(
    cls=AffectGroup,
    help="Facial-affect datasets, as distributed, in one lake of Parquet manifests.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        ("affect demo", "the whole way, on synthetic faces"),
        ("affect ingest fer2013 /data/fer2013plus", "read a dataset into ./lake"),
        ("affect coverage", "what is labelled, by whom"),
        ('affect sql "select dataset, count(*) from manifest group by all"', ""),
        ("affect align fer2013 --to resize48 --gray", "cut the faces out, once"),
        ("affect train ferplus-baseline", "train a recipe"),
    ),
)

DATA, FACES, MODELS = "Data", "Labels and faces", "Models"
TAKE_MORE = (datasets.ingest, validate.validate)

for command, panel in (
    (datasets.datasets, DATA),
    (datasets.info, DATA),
    (datasets.ingest, DATA),
    (validate.validate, DATA),
    (questions.coverage, DATA),
    (questions.sql, DATA),
    (layers.layers, DATA),
    (lineage.lineage, DATA),
    (layers.drop, DATA),
    (layers.relocate, DATA),
    (layers.upgrade, DATA),
    (labels.ingest_labels, FACES),
    (labels.hide_labels, FACES),
    (folds.folds, FACES),
    (selections.select, FACES),
    (coannotation.co_annotate, FACES),
    (coannotation.relate, FACES),
    (agreement.agreement, FACES),
    (faces.align, FACES),
    (training.train, MODELS),
    (training.evaluate, MODELS),
    (explaining.explain, MODELS),
    (prediction.predict, MODELS),
    (scoring.score, MODELS),
    (scoring.submit, MODELS),
    (teachers.pseudo_label, MODELS),
    (training.runs, MODELS),
    (reproduce.reproduce, MODELS),
    (demo.demo, MODELS),
):
    app.command(
        rich_help_panel=panel,
        epilog=getattr(command, "epilog", None),
        # The options that only one dataset has are its reader's to know.
        context_settings={"help_option_names": ["-h", "--help"]}
        | ({"allow_extra_args": True, "ignore_unknown_options": True} if command in TAKE_MORE else {}),
    )(command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"affectdata {version('affectdata')}")
        raise typer.Exit


@app.callback()
def affect(
    context: typer.Context,
    lake: Annotated[
        list[Path] | None,
        typer.Option(
            "--lake",
            envvar="AFFECT_LAKE",
            metavar="PATH",
            help="Lake folder; repeat it to stack lakes, shared ones first: the last one takes all writes. "
            "In the variable, ':' separates them.",
            show_default="./lake",
        ),
    ] = None,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = Session(tuple(lake or [Path("lake")]))
