"""affect co-annotate, relate: labels that follow from other labels by a published rule."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, note, say, show
from cli.questions import Sources
from cli.session import session, some_datasets


class Mode(StrEnum):
    """Direction and form of the rule."""

    hard = "hard"
    soft = "soft"


class Target(StrEnum):
    """How an observational AU is written."""

    weight = "weight"
    fraction = "fraction"


class Jaw(StrEnum):
    """What AU26 of a table means."""

    drop = "26"
    either = "26or27"


class Require(StrEnum):
    """Which AUs an emotion needs."""

    all = "all"
    prototypical = "prototypical"


class Neutral(StrEnum):
    """Score of neutral in soft targets."""

    rest = "rest"
    none = "none"


@with_examples(
    ("affect co-annotate --table du2014", "every dataset of the lake"),
    ("affect co-annotate rafdb --table du2014 --target fraction", ""),
    ("affect co-annotate emotionet --table du2014 --mode soft --temperature 0.2", ""),
    ("affect co-annotate rafdb --table mine.toml", "a table that affect relate wrote"),
)
def co_annotate(
    context: typer.Context,
    datasets: Annotated[
        list[str] | None, typer.Argument(metavar="DATASET", help="Datasets in the lake; by default all.")
    ] = None,
    table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="du2014, affwild2, emotionet, emfacs, or PATH.toml.")
    ] = "du2014",
    mode: Annotated[
        Mode, typer.Option("--mode", help="hard: expression <-> AUs. soft: AUs to a distribution over expressions.")
    ] = Mode.hard,
    target: Annotated[
        Target,
        typer.Option("--target", help="An observational AU as a positive of this weight, or as a probability."),
    ] = Target.weight,
    jaw: Annotated[
        Jaw, typer.Option("--jaw", help="26: no AU26 where AU27 is coded. 26or27: AU26 means either.")
    ] = Jaw.drop,
    require: Annotated[
        Require, typer.Option("--require", help="AUs that must be present for an emotion.")
    ] = Require.all,
    neutral: Annotated[
        Neutral, typer.Option("--neutral", help="Soft score of neutral: 1 - the largest AU, or none.")
    ] = Neutral.rest,
    temperature: Annotated[
        float, typer.Option("--temperature", metavar="T", min=0.01, help="Of the soft targets; 1 is nearly flat.")
    ] = 1.0,
    space: Annotated[
        str, typer.Option("--aus", metavar="SPACE", help="AUs that a network predicts; others are ignored in rules.")
    ] = "fbn17",
    sources: Sources = None,
) -> None:
    """Derive AUs from expressions and expressions from AUs by a published table, as the label source co-TABLE.

    Only what no source knows is filled; a listed AU becomes positive, an unlisted one stays unknown.
    """
    from affectdata.labels.coannotate import Settings, mix_warnings
    from affectdata.labels.coannotate import co_annotate as derive
    from affectdata.labels.coannotation import Rule
    from affectdata.labels.relatedness import relatedness
    from cli.questions import source_list
    from manifests.errors import UnknownNameError
    from manifests.query import DEFAULT_SOURCES
    from manifests.vocabulary import AU_SPACES

    if space not in AU_SPACES:
        raise UnknownNameError("AU space", space, AU_SPACES)
    rule = Rule(relatedness(table), AU_SPACES[space], jaw.value, require.value, neutral.value, temperature)
    settings = Settings(rule, mode.value, target.value, source_list(sources) or DEFAULT_SOURCES)
    lake = session(context).lake()
    summaries = [derive(lake, name, settings) for name in datasets or some_datasets(lake)]
    for summary in summaries:
        say(summary.lines())
    if mode is Mode.soft:
        note("train on it with tasks.expression.soft: true; without, its largest class is a label like any other")
    elif target is Target.fraction:
        note("train on it with tasks.au.soft: true; without, every listed AU is a positive of weight 1")
    for warning in mix_warnings(summaries):
        note(f"warning: {warning}")


@with_examples(
    ("affect relate --from ckplus --min-count 20", "P(AU | emotion) beside du2014"),
    ("affect relate --from affwild2 --out mine.toml", "a table for affect co-annotate --table"),
)
def relate(
    context: typer.Context,
    datasets: Annotated[str, typer.Option("--from", metavar="LIST", help="Datasets that know both, comma separated.")],
    beside: Annotated[str, typer.Option("--beside", metavar="TABLE", help="Table to compare with.")] = "du2014",
    min_count: Annotated[
        int, typer.Option("--min-count", metavar="N", min=1, help="Samples of the emotion that are coded for the AU.")
    ] = 100,
    min_fraction: Annotated[
        float, typer.Option("--min-fraction", metavar="P", min=0, max=1, help="Smaller shares are left out.")
    ] = 0.10,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write a table (.toml).")] = None,
    sources: Sources = None,
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="NAME", help="Count only samples that train in it.")
    ] = "",
    fold: Annotated[int | None, typer.Option("--fold", metavar="K", help="Fold of a folded protocol.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap over subjects.")] = 0,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Infer which AUs go with which emotion from data that codes both, with intervals, beside a published table."""
    from affectdata.labels.relate import comparison, name_of, numbers, write_table
    from affectdata.labels.relate import relate as infer
    from affectdata.labels.relatedness import relatedness
    from cli.questions import source_list
    from manifests.query import DEFAULT_SOURCES

    form = form_of(as_json, as_csv)
    names = source_list(datasets) or ()
    name = name_of(out) if out else ""
    lake = session(context).lake()
    wanted = source_list(sources) or DEFAULT_SOURCES
    found = infer(lake, names, relatedness(beside), sources=wanted, protocol=protocol, fold=fold, seed=seed)
    for left_out in found.left_out:
        note(f"warning: {left_out} is left out: no sample of it has both a basic expression and an AU")
    found.check_counts(min_count)
    if form is Form.table:
        header: tuple[str, ...] = ("emotion", "AU", "share", "95 %", "count", beside, "difference")
        rows = list(comparison(found, min_count=min_count, min_fraction=min_fraction))
    else:
        header = ("emotion", "AU", "share", "low", "high", "present", "coded", beside, "difference")
        rows = list(numbers(found, min_count=min_count, min_fraction=min_fraction))
    show(Grid(header, rows), form)
    if not rows:
        note(f"no AU is on a share of {min_fraction:g} of an emotion: choose less with --min-fraction P")
    counts = ", ".join(f"{name} {count:,}" for name, count in found.samples.items())
    note(f"{found.subjects:,} subjects; samples: {counts}")
    if found.reported:
        note(
            f"warning: a protocol reports {found.reported:,} of them; labels that a table of theirs makes have seen "
            "them. --protocol NAME counts training samples only"
        )
    if out:
        write_table(out, found.toml(name, min_fraction=min_fraction, min_count=min_count))
        note(f"wrote {out}: affect co-annotate --table {out}")
