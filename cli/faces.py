"""affect align: faces found, brought into one geometry, and packed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.answers import check_place
from cli.examples import with_examples
from cli.printing import note, say
from cli.progress import Advance, progress
from cli.session import session

if TYPE_CHECKING:
    from affectdata.faces.align import AlignProgress


@with_examples(
    ("affect align", "every dataset of the lake, to arcface112"),
    ("affect align rafdb --to fbn96 --detector yunet", "one dataset, another geometry"),
    ("affect align fer2013 --to resize48 --gray", "pictures that are cut-out faces already"),
)
def align(
    context: typer.Context,
    dataset: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATASET", help="Datasets in the lake; none: all of them.", show_default=False),
    ] = None,
    to: Annotated[
        str,
        typer.Option("--to", "--alignment", metavar="NAME", help="Geometry: arcface112, fbn96, resize<n> (pixels) ..."),
    ] = "arcface112",
    detector: Annotated[
        str | None,
        typer.Option(
            "--detector",
            metavar="NAME",
            help="dataset (its own points), yunet, or whole (the picture as it is).",
            show_default="yunet; whole for resize<n>",
        ),
    ] = None,
    gray: Annotated[bool, typer.Option("--gray", help="Store one channel (luma) instead of three.")] = False,
    no_face: Annotated[
        str | None,
        typer.Option("--no-face", metavar="POLICY", help="Without a face: skip, box or centre.", show_default="skip"),
    ] = None,
    max_side: Annotated[
        int | None,
        typer.Option("--max-side", metavar="PX", help="Shrink to this side to detect.", show_default="640"),
    ] = None,
    score: Annotated[
        float | None,
        typer.Option("--score", metavar="X", help="Lowest confidence of a face, 0 to 1.", show_default="0.6"),
    ] = None,
    ignore_space: Annotated[
        bool, typer.Option("--ignore-space", help="Begin even if the crops may not fit on the disk.")
    ] = False,
    preview: Annotated[
        Path | None, typer.Option("--preview", metavar="PNG", help="Also write a sheet of crops to look at.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Threads.", show_default="one per core")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N samples, to try out.")
    ] = None,
) -> None:
    """Find faces, bring them into one geometry and pack the crops. Resumes where it was stopped."""
    from affectdata.faces.align import AlignOptions
    from affectdata.faces.align import align as align_dataset
    from affectdata.faces.sheet import write_sheet

    lake = session(context).lake()
    if preview is not None:
        check_place(preview)
    given: dict[str, Any] = {"no_face": no_face, "max_side": max_side, "score": score}
    given |= {"workers": workers, "limit": limit, "gray": gray, "ignore_space": ignore_space}
    options = AlignOptions(**{name: value for name, value in given.items() if value is not None})
    for name in dataset or lake.datasets():
        with progress() as advance:
            summary = align_dataset(
                lake, name, alignment=to, detector=detector, options=options, progress=_teller(name, advance)
            )
        say(summary.lines())
        if preview is not None:
            sheet = preview if not dataset or len(dataset) == 1 else preview.with_stem(f"{preview.stem}-{name}")
            note(f"{write_sheet(lake, name, to, sheet)} crops drawn on {sheet}")


_WORTH_TELLING = 10**8
"""Disk need from which on it is told before it is taken, bytes."""


def _teller(dataset: str, advance: Advance) -> Callable[[AlignProgress], None]:
    """Say what disk a run needs before it takes it, then how far it is."""
    told = False

    def tell(now: AlignProgress) -> None:
        nonlocal told
        if not told and now.disk.need >= _WORTH_TELLING:
            note(f"{dataset}: {now.disk}")
        told = True
        advance(f"align {dataset}", now.done, now.total)

    return tell
