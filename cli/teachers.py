"""affect pseudo-label: a run's predictions as labels, where nobody has labelled."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.examples import with_examples
from cli.faces import share
from cli.printing import note, say
from cli.questions import Sources, source_list
from cli.session import session
from cli.training import RUNS, Runs, run_folder


class Engine(StrEnum):
    """Where predictions are made."""

    local = "local"
    ray = "ray"


class Mode(StrEnum):
    """Form of the labels."""

    soft = "soft"
    hard = "hard"
    release_exact = "release_exact"


@with_examples(
    ("affect pseudo-label --teacher f3r-teacher-va", "every dataset that has its crops"),
    ("affect pseudo-label rafdb --teacher a --teacher b --name both", "the mean of two"),
    ("affect pseudo-label rafdb --teacher a --mode hard --min-confidence 0.8", ""),
    ("affect pseudo-label rafdb --teacher a --shard 1/4", "a quarter of the work, on one of four machines"),
    ("affect pseudo-label rafdb --teacher a --engine ray --address head:6379", "the same on a Ray cluster"),
)
def pseudo_label(
    context: typer.Context,
    datasets: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATASET", help="Datasets in the lake; by default all with the teacher's crops."),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option("--teacher", metavar="RUN", help="Run folder, or its name under --runs; several are averaged."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", metavar="LIST", help="expression, va, au, landmarks.", show_default="the teacher's"),
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            help="soft: class and distribution, AU probabilities. hard: class and 0/1. release_exact: hard as "
            "F3R's authors released it, an AU present where its logit is above 0.5, without calibration.",
        ),
    ] = Mode.soft,
    min_confidence: Annotated[
        float,
        typer.Option("--min-confidence", metavar="C", min=0, max=1, help="Less probable classes and AUs stay unknown."),
    ] = 0.0,
    weight: Annotated[
        float, typer.Option("--weight", metavar="W", min=0, help="Weight of the labels in training.")
    ] = 1.0,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the layer behind teacher-.", show_default="the runs'")
    ] = "",
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="Samples that it reports are left alone; repeatable.",
            show_default="the run's",
        ),
    ] = None,
    allow_transductive: Annotated[
        bool, typer.Option("--allow-transductive", help="Label reported samples too; later scores say so.")
    ] = False,
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="Take the run's probabilities as they are.")
    ] = False,
    tuned_cuts: Annotated[
        bool, typer.Option("--tuned-cuts", help="Cut AUs where the teacher's selection F1 is highest, not at 0.5.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Predict every N-th part only; publish nothing."),
    ] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="ray: parts of the work are tasks of a Ray cluster; the same labels.")
    ] = Engine.local,
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Of the Ray cluster; none: this machine.")
    ] = None,
    sources: Sources = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    runs: Runs = RUNS,
) -> None:
    """Label what nobody has labelled with a teacher's predictions, as the label source teacher-RUN.

    Samples that the protocol reports, and what is no face, get no label.
    Probabilities are calibrated on the samples that chose the teacher's epoch.
    A stopped command goes on where it was.
    """
    if not teacher:
        raise typer.BadParameter("name a run: --teacher RUN (affect runs lists them)")
    part = share(shard, "pseudo-label") if shard else None
    from affectdata.labels.teacher import TeacherRule
    from cli.progress import progress
    from manifests.query import DEFAULT_SOURCES
    from trainer.pseudo import pseudo_label as label
    from trainer.run import Run
    from trainer.teacher import Teacher
    from trainer.teaching import Request

    lake = session(context).lake()
    teachers = [Teacher(Run(run_folder(one, Path(runs))), lake, device) for one in teacher]
    request = Request(
        tasks=source_list(tasks) or (),
        rule=TeacherRule(mode.value, min_confidence, weight),
        name=name,
        sources=source_list(sources) or DEFAULT_SOURCES,
        protocols=tuple(protocol or ()),
        transductive=allow_transductive,
        calibrated=not no_calibration and mode is not Mode.release_exact,
        tuned_cuts=tuned_cuts,
        shard=part,
        engine=engine.value,
        address=address,
    )
    crops = f"crops/{teachers[0].run.recipe.alignment}"
    chosen = datasets or [one for one in lake.datasets() if lake.has(one, crops)]
    if not chosen:
        note(f"no dataset has {crops}: affect align --to {teachers[0].run.recipe.alignment} makes them")
    with progress() as advance:
        summaries = [label(teachers, one, request, progress=advance) for one in chosen]
    if request.calibrated and request.shard is None:
        for one_teacher in teachers:
            say(f"{one_teacher.run.name} {line}" for line in one_teacher.calibration.lines())
    for summary in summaries:
        say(summary.lines())
