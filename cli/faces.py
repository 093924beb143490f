"""affect align: faces found, brought into one geometry, and packed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.answers import check_place
from cli.examples import with_examples
from cli.printing import note, say
from cli.progress import Advance, progress
from cli.session import session, some_datasets
from manifests.errors import AffectError

if TYPE_CHECKING:
    from affectdata.faces.align import AlignProgress


@with_examples(
    ("affect align", "every dataset of the lake, to arcface112"),
    ("affect align rafdb --to fbn96 --detector yunet", "one dataset, another geometry"),
    ("affect align fer2013 --to resize48 --gray", "pictures that are cut-out faces already"),
    ("affect align affwild2 --every 5 --where \"split = 'train'\"", "some of the samples"),
    ("affect align affwild2 --shard 2/8", "a share of the chunks, on one of eight machines"),
    ("affect align affwild2 --engine ray --address head:6379", "the same on a Ray cluster"),
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
            help="dataset (its own points), yunet, sfd (boxes), or whole (the picture as it is).",
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
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="KIND", help="raw pixels, or jpeg:95 where disk is short.", show_default="raw"),
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
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", min=1, help="Faces a network looks at together.", show_default="32"),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Of networks: cpu, cuda ...", show_default="cpu")
    ] = None,
    landmarks: Annotated[
        str | None,
        typer.Option("--landmarks", metavar="NAME", help="Also 68 points: fan, onnx:PATH, or the dataset's: dataset."),
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help="Only samples for which this holds.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only samples of this selection; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="NAME", help="No samples of this selection; repeatable.")
    ] = None,
    every: Annotated[
        int | None, typer.Option("--every", metavar="N", min=1, help="Of videos, every N-th frame that is a sample.")
    ] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", hidden=True, help="Refused; says why.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N samples, to try out.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Make every N-th chunk; a run without it publishes them all."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="threads or ray.", show_default="threads")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Of the Ray cluster; none: this machine.")
    ] = None,
) -> None:
    """Find faces, bring them into one geometry and pack the crops. Resumes where it was stopped."""
    from affectdata.faces.align import AlignOptions
    from affectdata.faces.align import align as align_dataset
    from affectdata.faces.sheet import write_sheet

    lake = session(context).lake()
    if all_frames:
        raise AffectError(
            "align: frames without a sample have no name in the lake, so no crop of theirs can be published",
            then="leave --all-frames out: every frame that is a sample is aligned, labelled or not",
        )
    if preview is not None:
        check_place(preview)
    given: dict[str, Any] = {"no_face": no_face, "max_side": max_side, "score": score}
    given |= {"workers": workers, "limit": limit, "gray": gray, "ignore_space": ignore_space}
    given |= {"store": store, "batch": batch, "device": device, "landmarks": landmarks, "where": where, "every": every}
    given |= {"only": tuple(only or ()), "exclude": tuple(exclude or ()), "engine": engine, "address": address}
    given |= {"shard": None if shard is None else share(shard)}
    options = AlignOptions(**{name: value for name, value in given.items() if value is not None})
    names = dataset or some_datasets(lake)
    for name in names:
        with progress() as advance:
            summary = align_dataset(
                lake, name, alignment=to, detector=detector, options=options, progress=_teller(name, advance)
            )
        say(summary.lines())
        if preview is not None:
            sheet = preview if len(names) == 1 else preview.with_stem(f"{preview.stem}-{name}")
            note(f"{write_sheet(lake, name, to, sheet)} crops drawn on {sheet}")


def share(text: str, command: str = "align") -> tuple[int, int]:
    """`2/8` as (2, 8).

    Raises:
        AffectError: It is no such pair, or there is no such share.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise AffectError(f"{command}: --shard", found=text, expected="I/N with I from 1 to N, such as 2/8")
    return int(match[1]), int(match[2])


_WORTH_TELLING = 10**8
"""Disk need from which on it is told before it is taken, bytes."""


def _teller(dataset: str, advance: Advance) -> Callable[[AlignProgress], None]:
    """Say what disk a run needs before it takes it, then how far it is and how fast."""
    begun: float | None = None

    def tell(now: AlignProgress) -> None:
        nonlocal begun
        if begun is None:
            begun = time.monotonic()
            if now.disk.need >= _WORTH_TELLING:
                note(f"{dataset}: {now.disk}")
        seconds = time.monotonic() - begun
        rate = f"{(now.done - now.before) / seconds:.0f} faces/s, " if seconds > 1 else ""
        advance(f"align {dataset}", now.done, now.total, f"{rate}{now.done - now.crops} without a crop")

    return tell
