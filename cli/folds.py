"""affect folds: protocols of one's own."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.examples import with_examples
from cli.printing import say
from cli.session import session


class Unit(StrEnum):
    """What must not be split apart."""

    subject = "subject"
    group = "group"
    sequence = "sequence"
    duplicates = "duplicates"


@with_examples(
    ("affect folds rafdb --name five --by duplicates --folds 5", ""),
    ("affect folds rafdb --name tuned --by duplicates --holdout .1 --base official", ""),
    ("affect folds emotionet --name few --by duplicates --splits 5 --per-class 15", ""),
)
def folds(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset in the lake.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the new protocol.")],
    by: Annotated[Unit, typer.Option("--by", help="What every sample must have and never be split by.")],
    count: Annotated[
        int | None, typer.Option("--folds", metavar="K", min=2, help="Number of folds; each is the test part once.")
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option("--holdout", metavar="SHARE", help="Share of the training samples to hold out, 0 to 1."),
    ] = None,
    splits: Annotated[
        int | None,
        typer.Option("--splits", metavar="K", min=1, help="Number of random splits in which few samples train."),
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option(
            "--per-class", metavar="N", min=1, help="With --splits: samples of each class that train; half of fewer."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="PROTOCOL", help="Keep its scored samples; hold out validation samples."),
    ] = None,
    scored_as: Annotated[
        str, typer.Option("--scored-as", metavar="ROLE", help="Role of the base protocol that is scored.")
    ] = "test",
    stratify: Annotated[
        str, typer.Option("--stratify", metavar="LABEL", help="Label whose classes are spread evenly, or none.")
    ] = "expression",
    truth: Annotated[
        list[str] | None,
        typer.Option("--truth", metavar="SOURCE", help="Label source that scoring takes as truth; repeat in order."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draw.")] = 0,
) -> None:
    """Write a protocol: k folds, a hold-out or random splits in which nobody and no picture lies on both sides."""
    from affectdata.labels.folds import Draw, make_folds

    draw = Draw(
        by=by.value,
        folds=count,
        holdout=holdout,
        splits=splits,
        per_class=per_class,
        base=base,
        scored_as=scored_as,
        stratify=None if stratify == "none" else stratify,
        seed=seed,
        truth=tuple(truth or ()),
    )
    say(make_folds(session(context).lake(), dataset, name, draw).lines())
