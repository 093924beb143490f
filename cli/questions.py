"""affect coverage, sql: what the lake knows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import AnswerForm, answer_form, write_answer
from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, note, show
from cli.session import EMPTY_LAKE, known_dataset, session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifests.lake import Lake

Sources = Annotated[
    str | None,
    typer.Option(
        "--sources",
        metavar="LIST",
        help="Label sources, comma separated, first wins; '*' matches, as in human-*.",
        show_default="human,human-*,auto",
    ),
]


def source_list(text: str | None) -> tuple[str, ...] | None:
    """`a, b` -> ("a", "b"); None for nothing."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None


def au_cuts(given: Sequence[str]) -> dict[str, float]:
    """`disfa:2` -> {"disfa": 2.0}: the AU intensity from which on an AU counts as present."""
    cuts = {}
    for text in given:
        dataset, colon, value = text.partition(":")
        try:
            cuts[dataset] = float(value)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not DATASET:INTENSITY, such as disfa:2") from None
        if not (colon and dataset and 0 <= cuts[dataset] <= 5):
            raise typer.BadParameter(f"{text!r} is not DATASET:INTENSITY with an intensity of 0 to 5")
    return cuts


@with_examples(
    ("affect coverage", "samples labelled per task, by dataset and source"),
    ("affect coverage --dataset fer2013 --classes", "how many of each class"),
    ("affect coverage --dataset synthetic --aus", "how many per action unit"),
    ("affect coverage --together", "which tasks are known of the same samples"),
    ("affect coverage --sources human,auto --csv", "these sources, for a spreadsheet"),
)
def coverage(
    context: typer.Context,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", metavar="NAME", help="Only this dataset; repeatable.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option("--sources", metavar="LIST", help="Only these label sources, comma separated.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="SOURCE", help="Only this label layer, e.g. human-ferplus.")
    ] = None,
    classes: Annotated[bool, typer.Option("--classes", help="Count classes instead of tasks.")] = False,
    aus: Annotated[bool, typer.Option("--aus", help="Count action units instead of tasks.")] = False,
    together: Annotated[
        bool, typer.Option("--together", help="Count samples by the tasks that the manifest knows together.")
    ] = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Count what is labelled: samples per task for every dataset and label source."""
    form = form_of(as_json, as_csv)
    if classes + aus + together > 1:
        raise typer.BadParameter("say one of --classes, --aus and --together")
    from manifests.coverage import coverage as count

    wanted = (layer,) if layer else source_list(sources)
    lake = session(context).lake()
    if together:
        show(_known_together(lake, wanted, dataset), form)
        return
    found = count(lake, sources=wanted, datasets=dataset)
    if form is Form.table and not lake.datasets():
        note(EMPTY_LAKE)
    table = found.classes if classes else found.aus if aus else found.tasks
    if form is Form.table and found.layers and not len(table):
        note(f"no label layer that was asked for has {'classes' if classes else 'action units'}")
        return
    if form is Form.table:
        said = [name for name in table.column_names if name in _ALWAYS or any(table[name].to_pylist())]
        table = table.select(said)  # for people: no column of zeros
    show(Grid(table.column_names, [tuple(row.values()) for row in table.to_pylist()]), form)


_ALWAYS = ("dataset", "source", "rows")
"""Columns of coverage that are shown even where nothing is counted."""


def _known_together(lake: Lake, sources: Sequence[str] | None, datasets: Sequence[str] | None) -> Grid:
    from manifests.coverage import manifest_coverage
    from manifests.query import DEFAULT_SOURCES, connect

    wanted = {known_dataset(lake, name) for name in datasets or ()}
    found = manifest_coverage(connect(lake, sources or DEFAULT_SOURCES))
    rows = [
        (one.dataset, ", ".join(sorted(tasks)) or "nothing", count)
        for one in found
        if not wanted or one.dataset in wanted
        for tasks, count in sorted(one.patterns.items(), key=lambda item: -item[1])
    ]
    return Grid(("dataset", "known", "samples"), rows)


@with_examples(
    ('affect sql "select dataset, count(*) from manifest group by all"', ""),
    ('affect sql "select path, valence from manifest where mask_va" --out va.csv', ""),
    ("affect sql --sources human-ferplus,human - < question.sql", "from a file, these sources"),
    ("affect sql --schema", "every column and what it means"),
)
def sql(
    context: typer.Context,
    question: Annotated[
        str | None, typer.Argument(metavar="SELECT", help="One SELECT; - reads it from standard input.")
    ] = None,
    form: Annotated[
        AnswerForm | None,
        typer.Option("--format", help="Form of the answer; otherwise the file's name says it, or a table."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to a file: .csv, .json or .parquet.")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", metavar="N", min=0, help="Rows of a table at most; 0: all.", show_default="200"),
    ] = None,
    sources: Sources = None,
    au_cut: Annotated[
        list[str] | None,
        typer.Option(
            "--au-cut",
            metavar="DATASET:X",
            help="AU intensity (0 to 5) from which on an AU counts as present; repeatable.",
        ),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="List views and columns with their meaning.")] = False,
) -> None:
    """Ask the lake one SELECT, read-only. Views: manifest, samples, labels, faces, protocols ..."""
    if schema:
        _show_schema(form)
        return
    if question is None:
        raise typer.BadParameter('give a SELECT, e.g. affect sql "select count(*) from manifest"')
    wanted, cuts = answer_form(form, out), au_cuts(au_cut or [])
    text = sys.stdin.read() if question == "-" else question
    from manifests.query import DEFAULT_SOURCES, connect

    lake = connect(session(context).lake(), source_list(sources) or DEFAULT_SOURCES, au_cut=cuts)
    answer = lake.sql(text).arrow()
    for warning in lake.warnings:
        note(f"warning: {warning}")
    write_answer(answer.to_reader(), wanted, out, rows)


def _show_schema(form: AnswerForm | None) -> None:
    from manifests import schema
    from manifests.manifest import MANIFEST
    from manifests.query import VIEWS
    from manifests.vocabulary import AUS

    if form is AnswerForm.parquet:
        raise typer.BadParameter("--schema is shown as table, csv or json")
    shown = Form(form.value if form else "table")
    rows = [("manifest", f.name, str(f.type), f.metadata[b"about"].decode()) for f in MANIFEST]
    rows += [(view, *column) for view in VIEWS if view in schema.KINDS for column in schema.describe(view)]
    if shown is Form.table:
        rows = [row for row in rows if not _ANOTHER_AU.match(row[1])]
    show(Grid(("view", "column", "type", "meaning"), rows), shown)
    if shown is Form.table:
        note(f"au01 stands for au{AUS[0]:02d} to au{AUS[-1]:02d}; every view also has `dataset`")


_ANOTHER_AU = re.compile(r"au(?!01)\d\d(_|$)")
"""All AUs have the same columns; for people, one of them is enough."""
