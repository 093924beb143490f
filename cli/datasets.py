"""affect datasets, info, ingest: what can be read, how to get it, and reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.cards import folded
from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, say, show
from cli.session import session

WIDTHS = (13, 20, 32, 9)
"""Of the columns of `affect datasets`: 80 with what parts them."""


@with_examples(("affect datasets", "what can be read"), ("affect info rafdb", "how to get one, and its layout"))
def datasets(context: typer.Context, as_json: Json = False, as_csv: Csv = False) -> None:
    """List the datasets that affectdata reads, and how many samples of each the lake holds."""
    from affectdata.datasets import card, registry
    from manifests.errors import LakeError

    form = form_of(as_json, as_csv)
    held: dict[str, int] = {}
    try:
        lake = session(context).lake()
        held = {name: lake.layer(name, "samples").rows for name in lake.datasets() if lake.has(name, "samples")}
    except LakeError:
        pass  # a list of readers needs no lake
    cards = {name: card(name) for name in registry()}
    rows: list[tuple[object, ...]]
    rows = [(name, c.title, ", ".join(c.tasks), c.licence, held.pop(name, None)) for name, c in cards.items()]
    rows += [(name, "your own name for a dataset", None, None, count) for name, count in held.items()]
    if form is not Form.table:
        show(Grid(("dataset", "title", "tasks", "licence", "samples_in_lake"), rows), form)
        return
    cells = [
        (str(name), str(tasks or title), str(licence or ""), f"{count:>9,}" if count is not None else "")
        for name, title, tasks, licence, count in rows
    ]
    say(folded(("dataset", "tasks", "licence", "  in lake"), cells, WIDTHS))


@with_examples(("affect info fer2013", "layout, counts, licence, citation"))
def info(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name as `affect datasets` lists it.")],
) -> None:
    """Say what a dataset is, how to get it, what its folder looks like, and what it was published with."""
    from affectdata.datasets import card
    from cli.cards import card_lines

    say(card_lines(card(dataset)))


@with_examples(
    ("affect ingest rafdb /data/RAF-DB", ""),
    ("affect ingest rafdb /data/RAF-DB --images original", "its other pictures"),
    ("affect ingest table /data/mine --map mine.toml --name mine", "your own dataset"),
)
def ingest(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Reader; `affect datasets` lists them.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or archive as distributed; it is only read.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name in the lake.", show_default="the reader's")
    ] = None,
    max_rejects: Annotated[
        float | None,
        typer.Option(
            "--max-rejects", metavar="SHARE", min=0, max=1, help="Unforeseen rejects allowed.", show_default="0.01"
        ),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option("--map", metavar="TOML", help="For `table`: which column means what.")
    ] = None,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Also read media bytes to find changes, not names and sizes alone.")
    ] = False,
) -> None:
    """Read a dataset, as distributed, into the lake. Nothing is copied; the folder is never written.

    A dataset's own options, such as `--images original` of rafdb, come last; `affect info DATASET` lists them.
    """
    from affectdata.datasets.recognise import check_apart
    from affectdata.ingest import MAX_REJECTS
    from affectdata.ingest import ingest as read
    from cli.progress import progress

    options = own_options(context.args) | ({"map": str(mapping)} if mapping else {})
    check_apart(path, session(context).lakes[-1])
    lake = session(context).lake(create=True)
    with progress() as advance:
        summary = read(
            lake,
            dataset,
            path,
            name=name,
            max_rejects=MAX_REJECTS if max_rejects is None else max_rejects,
            rehash=rehash,
            options=options,
            progress=advance,
        )
    say(summary.lines())


def own_options(arguments: list[str]) -> dict[str, str]:
    """`--name value` and `--name=value` of the options that only one dataset has; its reader knows which exist.

    Raises:
        AffectError: Something that is no such pair.
    """
    from manifests.errors import AffectError

    given, rest = {}, list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or not (equals or rest):
            raise AffectError(
                f"argument {name!r} of affect ingest",
                expected="one DATASET, one PATH, and options as --name value",
                then="affect ingest --help",
            )
        given[name.removeprefix("--")] = value if equals else rest.pop(0)
    return given
