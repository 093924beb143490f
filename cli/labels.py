"""affect ingest-labels, hide-labels: labels of another tool, and labels hidden to measure what they are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.examples import with_examples
from cli.folds import Unit
from cli.printing import say
from cli.session import session


@with_examples(
    ("affect ingest-labels rafdb au.csv --source tool-pyfeat --map a.toml", ""),
    ("affect ingest-labels bp4d 7.csv --source tool-x --map x.toml --sequence 7", ""),
)
def ingest_labels(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset in the lake that the rows are about.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="CSV or Parquet; it is only read.")
    ],
    source: Annotated[str, typer.Option("--source", metavar="NAME", help="Name of the source, such as tool-openface.")],
    mapping: Annotated[
        Path, typer.Option("--map", metavar="TOML", help="Which column means what, as for `affect ingest table`.")
    ],
    sequence: Annotated[
        str, typer.Option("--sequence", metavar="ID", help="Sequence of every row, for a file per video.")
    ] = "",
    frame_offset: Annotated[
        int, typer.Option("--frame-offset", metavar="N", help="Added to the file's frame numbers.")
    ] = 0,
    max_rejects: Annotated[
        float, typer.Option("--max-rejects", metavar="SHARE", min=0, max=1, help="Rows without a sample allowed.")
    ] = 0.01,
) -> None:
    """Take labels of another tool (OpenFace, py-feat, a colleague) as a label source of a dataset.

    The map is that of `affect ingest table` (docs/table.md) without `file`. Its
    table `samples` says by id, image (and frame, for videos), or sequence and
    frame_index which sample a row is about; its table `labels.NAME`, with the
    NAME of --source, what the columns mean.
    """
    from affectdata.labels.imported import Frames
    from affectdata.labels.imported import ingest_labels as take

    frames = Frames(sequence, frame_offset)
    lake = session(context).lake()
    say(take(lake, dataset, file, source, mapping, frames=frames, max_rejects=max_rejects).lines())


@with_examples(
    ("affect hide-labels fer2013 --name few --keep all=0.3 --base ferplus ...", "30 % keep theirs"),
    ("affect hide-labels mine --name one --keep va=0.5 --keep au=0.5", "one task each"),
)
def hide_labels(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset in the lake.")],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Of the labels, derived-NAME, and of the protocol with them.")
    ],
    keep: Annotated[
        list[str],
        typer.Option("--keep", metavar="TASKS=SHARE", help="Tasks that a share of training samples keeps; repeatable."),
    ],
    labels: Annotated[str, typer.Option("--labels", metavar="SOURCE", help="Labelling to copy from.")] = "human",
    base: Annotated[
        str, typer.Option("--base", metavar="PROTOCOL", help="Who trains; everybody else keeps all labels.")
    ] = "official",
    by: Annotated[Unit, typer.Option("--by", help="What is never split between two shares.")] = Unit.subject,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 0,
) -> None:
    """Copy a labelling without the labels of most training samples, to measure what labels are worth.

    Trains: recipes with `sources: [derived-NAME, ...]` and `protocol: {name: NAME}`; what is hidden chooses nothing.

    TASKS is all, or tasks with + between them: `--keep va+au=0.3`.
    """
    from affectdata.labels.hidden import Hiding, parse_part
    from affectdata.labels.hidden import hide_labels as hide

    hiding = Hiding(labels, tuple(map(parse_part, keep)), base, by.value, seed)
    say(hide(session(context).lake(), dataset, name, hiding).lines())
