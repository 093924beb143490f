"""affect score, submit: anybody's predictions, judged by a protocol or written as a challenge asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, say, show
from cli.session import session
from cli.training import SCORE_COLUMNS, By, Compound, Metrics, Resamples, score_rows


@with_examples(
    ("affect score openface.csv -d disfa --protocol 3fold --fold 0", "another tool's AUs"),
    ("affect score theirs.parquet -d rafdb --protocol official --by gender", ""),
)
def score(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Predictions, as CSV or Parquet.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", metavar="NAME", help="Dataset in the lake.")],
    protocol: Annotated[str, typer.Option("--protocol", metavar="NAME", help="Protocol to score by.")],
    fold: Annotated[
        int | None, typer.Option("--fold", metavar="N", min=0, help="Fold of a folded protocol.", show_default="none")
    ] = None,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="val or test.")] = "test",
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Score although some samples have no prediction; says how many.")
    ] = False,
    by: By = "",
    metric: Metrics = None,
    resamples: Resamples = None,
    compound: Compound = "",
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Score anybody's predictions. Truth comes only from the sources that the protocol names.

    One row per sample, found by the column `sample_id`, or by `path` (and `frame` for videos).

    Expression: `expression` (a name), or `p_<class>` (probabilities of all classes).

    Valence and arousal: `valence` and `arousal`, -1 to 1. Action units: `p_auNN`, `auNN` or `AUNN_c`, 0 to 1.

    Intensities of action units: `auNN_intensity` or `AUNN_r`, 0 to 5.

    Landmarks: `x_0` ... `x_67` and `y_0` ... `y_67`, pixels of the source picture. Other columns are left alone.
    """
    form = form_of(as_json, as_csv)
    lake = session(context).lake()
    from trainer.metrics.uncertainty import RESAMPLES
    from trainer.score_file import score_file

    scores = score_file(
        file,
        lake,
        dataset,
        protocol,
        fold=fold,
        role=role,
        skip_missing=skip_missing,
        by=[name.strip() for name in by.split(",") if name.strip()],
        metrics=metric or (),
        resamples=RESAMPLES if resamples is None else resamples,
        compound=compound,
    )
    if form is Form.json:
        say([scores.to_json().rstrip()])
    elif form is Form.csv:
        show(Grid(SCORE_COLUMNS, score_rows(scores)), form)
    else:
        say(scores.lines())


@with_examples(
    ("affect submit all.parquet --challenge abaw6-va --test-list LIST.txt", ""),
)
def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Predictions of the test frames, as CSV or Parquet.")],
    challenge: Annotated[str, typer.Option("--challenge", metavar="NAME", help="abaw6-va, abaw6-expr, abaw4-mtl ...")],
    test_list: Annotated[
        Path, typer.Option("--test-list", metavar="LIST", help="The organisers' list of the frames they expect.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write.", show_default="CHALLENGE.txt")
    ] = None,
) -> None:
    """Write a challenge's file: every frame of the organisers' list, in their order, with a prediction behind it.

    The predictions name frames in a column `path`, whose last two parts are `<track>/<5 digits>.jpg`.

    Of videos, extract the frames to FOLDER/<track>/00001.jpg ... and predict on FOLDER: a video names no such frames.

    A frame without a prediction takes that of the frame before it in its track; how many did is printed.
    """
    from affectdata.challenges import challenge as challenge_of
    from affectdata.challenges import submit as write
    from trainer.answers import answers_in

    known = challenge_of(challenge)
    made = write(challenge, test_list, answers_in(file), out or Path(f"{challenge}.txt"))
    share = made.filled / made.lines
    say(
        [
            f"{made.path}: {made.lines:,} frames of {made.tracks:,} tracks, as the list has them",
            f"  {made.filled:,} ({share:.2%}) have no prediction and take that of a neighbour",
            f"  header {known.header.split(',')[0]},... [{known.sure}]",
        ]
    )
