"""affect layers, drop, relocate, upgrade: what a lake holds, and its upkeep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.examples import with_examples
from cli.printing import Csv, Grid, Json, form_of, say, show
from cli.session import known_dataset, session


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
    """List the layers of the lake: rows, whether they are stale, and the rule that made them."""
    lake = session(context).lake()
    found = lake.layers(known_dataset(lake, dataset) if dataset else None)
    columns = ("dataset", "layer", "rows", "stale", "rule", "made_by")
    rows = [(x.dataset, x.key, x.rows, x.stale or None, x.facts.rule or None, x.facts.command or None) for x in found]
    show(Grid(columns, rows), form_of(as_json, as_csv))


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
    what = f"layer {lake.layer(dataset, layer).key} of {dataset}" if layer else f"dataset {dataset}, all layers"
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
