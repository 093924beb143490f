"""affect ingest-labels: labels that another tool made, as a source of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.examples import with_examples
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
    table `samples` says by id, image, or sequence and frame_index which sample a
    row is about; its table `labels.NAME`, with the NAME of --source, what the
    columns mean.
    """
    from affectdata.labels.imported import Frames
    from affectdata.labels.imported import ingest_labels as take

    frames = Frames(sequence, frame_offset)
    lake = session(context).lake()
    say(take(lake, dataset, file, source, mapping, frames=frames, max_rejects=max_rejects).lines())
