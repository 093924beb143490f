"""affect predict: a run's predictions for pictures and videos that are in no lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.answers import check_place
from cli.examples import with_examples
from cli.printing import note, say
from cli.progress import progress
from cli.training import RUNS, Runs, run_folder


@with_examples(
    ("affect predict demo photo.jpg", "print what the run sees in one picture"),
    ("affect predict demo pictures/ --out all.parquet", "every picture and video below a folder"),
    ("affect predict demo clip.mp4 --every 5 --overlay drawn", "and draw it onto the frames"),
)
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name under --runs.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, videos, or folders of them.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="CSV or Parquet to write.", show_default="CSV is printed"),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", metavar="DIR", help="Also draw predictions onto copies, in this folder.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option("--detector", metavar="NAME", help="yunet, sfd or whole.", show_default="as the run's crops"),
    ] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(
            "--landmarks",
            metavar="MODEL",
            help="fan or onnx:PATH, where the alignment needs 68 points.",
            show_default="none",
        ),
    ] = None,
    no_face: Annotated[
        str, typer.Option("--no-face", metavar="POLICY", help="Without a face: skip or centre.")
    ] = "skip",
    every: Annotated[int, typer.Option("--every", metavar="N", min=1, help="Of videos, every n-th frame.")] = 1,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    runs: Runs = RUNS,
) -> None:
    """Predict expression, valence-arousal, action units and landmarks for pictures and videos, by the run's alignment.

    A picture without a face is a row without predictions, and its status says why.

    Columns are those that `affect score` and `affect submit` read.
    """
    if out is not None:
        check_place(out)
    from trainer.overlay import check_overlay, draw
    from trainer.predict import Asked, check_inputs, detector_of, predict_files
    from trainer.predictions_file import PredictionsFile, as_csv
    from trainer.run import Run

    check_inputs(paths)
    if overlay is not None:
        check_overlay(overlay, paths)
    chosen = Run(run_folder(run, runs))
    asked = Asked(detector, landmarks, no_face, every, device)
    found = faces = drawn = 0
    with progress() as advance, PredictionsFile(out) as file:
        for path in paths:
            rows: list[dict[str, object]] = []
            tables = predict_files(chosen, [path], asked, lambda done: advance("predict", done, 0))
            for table in tables:
                found += len(table)
                faces += sum(status == "found" for status in table["status"].to_pylist())
                file.write(table)
                rows += table.to_pylist() if overlay is not None else []
                if out is None:
                    say(as_csv(table, header=found == len(table)))
            if overlay is not None:
                drawn += draw(path if path.is_dir() else path.parent, rows, overlay)
    note(f"{found:,} pictures and frames, {faces:,} with a face" + (f"; {out}" if out is not None else ""))
    others = sorted({d.alignment for d in chosen.recipe.datasets if d.alignment} - {chosen.recipe.alignment})
    if faces and others:
        note(f"crops are {chosen.recipe.alignment}; what the run learned on {', '.join(others)} may not hold for them")
    if faces and detector_of(chosen, asked) == "whole":
        note("each was taken for a face as it is, none was looked for: --detector yunet does so")
    if overlay is not None:
        note(f"{drawn:,} files drawn in {overlay}")
