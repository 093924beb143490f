"""affect select: lists of samples, for `only` and `exclude`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.examples import with_examples
from cli.printing import say
from cli.questions import Sources, source_list
from cli.session import session


@with_examples(
    ('affect select sfew --name old "select sample_id from samples where age > 60"', ""),
    ("affect select rafdb --name known - < question.sql", "a longer one, from a file"),
)
def select(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset in the lake.")],
    question: Annotated[
        str,
        typer.Argument(metavar="SELECT", help="One SELECT with a column sample_id; - reads it from standard input."),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the list.")],
    sources: Sources = None,
) -> None:
    """List the samples that a question names, for --only and --exclude of align and of a recipe's datasets.

    A column `reason` says why, if there is one. The views are those of `affect sql`.
    """
    from affectdata.labels.selections import select as publish
    from manifests.query import DEFAULT_SOURCES

    text = sys.stdin.read() if question == "-" else question
    wanted = source_list(sources) or DEFAULT_SOURCES
    say(publish(session(context).lake(), dataset, name, text, wanted).lines())
