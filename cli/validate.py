"""affect validate: is a copy of a dataset whole?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.cards import wrapped
from cli.datasets import own_options
from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, note, say, show
from cli.session import session


@with_examples(
    ("affect validate rafdb", "the copy that the lake was read from"),
    ("affect validate rafdb /data/RAF-DB --decode", "a copy on disk, every picture of it"),
)
def validate(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Reader, or dataset in the lake.")],
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="Folder or archive.", show_default="where the lake's copy was read from"),
    ] = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every picture and frame, not 200 of them.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name in the lake.", show_default="DATASET")
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Check a copy of a dataset, writing nothing: published counts, missing and extra files, rejects, decoding.

    The exit code is 0 when it is sound, 1 when something differs. A dataset's own options come last, as in ingest.
    """
    from affectdata.validation import SKIPPED, validate_known
    from affectdata.validation import validate as check
    from cli.progress import progress

    form = form_of(as_json, as_csv)
    given = list(context.args)
    if path is not None and str(path).startswith("--"):
        given, path = [str(path), *given], None  # PATH was left out, and an option of the dataset took its place
    options = own_options(given)
    with progress() as advance:
        if path is None:
            found = validate_known(
                session(context).lake(), name or dataset, options=options, every=decode, progress=advance
            )
        else:
            found = check(dataset, path, options=options, every=decode, progress=advance)
    if form is Form.table:
        rows = [
            (x.about, x.found, x.published, f"{x.verdict} ({x.sure})" if x.sure else x.verdict) for x in found.checks
        ]
        show(Grid(("check", "found", "published", "verdict"), rows))
        told = [(x.about, x.detail) for x in found.checks if x.verdict != SKIPPED]
        told += dict.fromkeys((SKIPPED, x.detail) for x in found.checks if x.verdict == SKIPPED)
        for about, detail in told:
            say(wrapped(detail, f"  {about}: ") if detail else ())
        for warning in found.warnings:
            say(wrapped(warning, "  warning: "))
        say([found.verdict])
    else:
        columns = ("check", "found", "published", "sure", "verdict", "detail")
        show(Grid(columns, [(x.about, x.found, x.published, x.sure, x.verdict, x.detail) for x in found.checks]), form)
        note(found.verdict)
    if found.differing:
        raise typer.Exit(1)
