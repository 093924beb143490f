"""affect layers, drop, relocate, upgrade: what a lake holds, and its upkeep."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, note, say, show
from cli.session import EMPTY_LAKE, known_dataset, session

if TYPE_CHECKING:
    from manifests.lake import Layer

_WIDTH = 80


@with_examples(
    ("affect layers", "every layer of every dataset"),
    ("affect layers --dataset rafdb --json", "one dataset, for a program"),
)
def layers(
    context: typer.Context,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", metavar="NAME", help="Only this dataset.")] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the layers of the lake: rows, labels per task, parents, whether they are stale, and the command."""
    from manifests.coverage import labelled_rows

    form = form_of(as_json, as_csv)
    lake = session(context).lake()
    found = lake.layers(known_dataset(lake, dataset) if dataset else None)
    if form is Form.table:
        if not found:
            note(EMPTY_LAKE)
        say(_blocks(found))
        return
    columns = ("dataset", "layer", "rows", "tasks", "parents", "stale", "rule", "made_by")
    rows = [
        (
            x.dataset,
            x.key,
            x.rows,
            ", ".join(f"{task} {count}" for task, count in labelled_rows(x).items()) or None,
            ", ".join(sorted(x.facts.parents)) or None,
            x.stale or None,
            x.facts.rule or None,
            x.facts.command or None,
        )
        for x in found
    ]
    show(Grid(columns, rows), form)


def _blocks(layers: Iterable[Layer]) -> Iterator[str]:
    """A heading per dataset; per layer its rows, and below it what it holds and comes from, in lines of 80 columns."""
    from manifests.coverage import labelled_rows

    dataset = ""
    for layer in layers:
        if layer.dataset != dataset:
            yield from ([""] if dataset else [])
            dataset = layer.dataset
            yield dataset
        yield f"  {layer.key:<44} {layer.rows:>12,} rows{'  STALE' if layer.stale else ''}"
        tasks = ", ".join(f"{task} {count:,}" for task, count in labelled_rows(layer).items())
        parents = ", ".join(sorted(layer.facts.parents))
        for what, text in (
            ("stale", layer.stale),
            ("labels", tasks),
            ("rule", layer.facts.rule),
            ("from", parents),
            ("by", layer.facts.command),
        ):
            if text:
                yield textwrap.fill(
                    text,
                    _WIDTH,
                    initial_indent=f"    {what:<7}",
                    subsequent_indent=" " * 11,
                    break_long_words=False,
                    break_on_hyphens=False,
                )


@with_examples(
    ("affect drop rafdb crops/fbn96", "one layer"),
    ("affect drop rafdb --yes", "the dataset with all its layers, without asking"),
)
def drop(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset in the lake.")],
    layer: Annotated[
        str | None,
        typer.Argument(metavar="LAYER", help="Layer as `affect layers` names it; none: the whole dataset."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a layer, or a whole dataset, out of the lake. The dataset's own folder is never touched."""
    lake = session(context).lake()
    known_dataset(lake, dataset)
    what = f"layer {lake.known_key(dataset, layer)} of {dataset}" if layer else f"dataset {dataset}, all layers"
    if not yes and not typer.confirm(f"Drop {what} from {lake.home}?"):
        raise typer.Exit(1)
    if layer:
        lake.drop(dataset, layer)
    else:
        lake.drop_dataset(dataset)
    say([f"dropped {what}"])
    stale = [x for x in lake.layers(dataset) if x.stale] if layer else []
    say(f"  now stale: {x.key}: {x.stale}" for x in stale)


@with_examples(("affect relocate rafdb /mnt/new/RAF-DB", "after the folder has moved"))
def relocate(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset in the lake.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", exists=True, file_okay=False, help="Where its media lie now.")
    ],
) -> None:
    """Say that a dataset's media now lie in another folder. Labels and crops stay as they are."""
    lake = session(context).lake()
    lake.relocate(dataset, path.absolute())
    say([f"{dataset}: media now under {lake.root(dataset)}"])


@with_examples(("affect --lake /data/lake upgrade", "bring an older lake to this version"))
def upgrade(context: typer.Context) -> None:
    """Bring lakes written by an older affectdata to the schema version of this one."""
    from manifests.lake import upgrade as upgrade_lake

    for path in session(context).lakes:
        steps = upgrade_lake(path)
        say([f"{path}: upgraded from schema version {steps[0]}" if steps else f"{path}: up to date"])
