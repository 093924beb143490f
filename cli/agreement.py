"""affect agreement: how far annotators agree."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, note, say, show
from cli.questions import source_list
from cli.session import known_dataset, session


@with_examples(
    ("affect agreement fer2013", "votes, and every two human labellings"),
    ("affect agreement disfa --sources human,tool-openface", ""),
)
def agreement(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset in the lake.")],
    sources: Annotated[
        str | None,
        typer.Option(
            "--sources",
            metavar="LIST",
            help="Labellings to compare, comma separated, * allowed.",
            show_default="human,human-*,auto",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")] = 0,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Say how far annotators agree: within votes, and between every two labellings of a dataset.

    Classes and AUs: kappa and Krippendorff's alpha. Valence, arousal and AU intensities: ICC(A,1) and alpha.
    Intervals are 95 %, by bootstrap over people, videos or groups of identical pictures.
    """
    from affectdata.labels.agreement import agreement as agree
    from manifests.query import DEFAULT_SOURCES

    form = form_of(as_json, as_csv)
    lake = session(context).lake()
    found = agree(lake, known_dataset(lake, dataset), source_list(sources) or DEFAULT_SOURCES, seed=seed)
    if form is not Form.table:
        columns = ("column", "between", "coefficient", "value", "low", "high", "samples", "units")
        show(Grid(columns, [[getattr(row, name) for name in columns] for row in found]), form)
        return
    heading: tuple[str, str] | None = None
    for row in found:
        if (row.column, row.between) != heading:
            heading = (row.column, row.between)
            say([f"{row.column}: {row.between}", f"  {row.samples:,} samples of {row.units:,} units"])
        say([f"  {row.coefficient:<32} {row.value:6.3f}  [{row.low:.3f}, {row.high:.3f}]"])
    if not found:
        note(f"{dataset} has no votes and no two labellings of the same samples: affect layers --dataset {dataset}")
