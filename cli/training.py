"""affect train, evaluate, runs: recipes in, run folders out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, note, say, show
from cli.session import session
from manifests.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

    from trainer.metrics.result import MetricResult
    from trainer.scores import DatasetScores, Scores

Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", envvar="AFFECT_RUNS", help="Folder of the run folders.")]
By = Annotated[
    str,
    typer.Option("--by", metavar="NAMES", help="Also by subgroup: gender, age, ethnicity, face_size; with commas."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="Also this metric, as f1_of_macro_pr, au_f1_one or top1[expr7]; repeatable.",
        show_default="the usual ones, and those of the protocol",
    ),
]
Resamples = Annotated[
    int | None,
    typer.Option(
        "--resamples", metavar="N", min=0, help="Draws for the intervals; 0: no intervals.", show_default="2000"
    ),
]
Compound = Annotated[
    str,
    typer.Option(
        "--compound",
        metavar="CLASSES",
        help="Also compound expressions, by rule from AUs, expressions and valence: rafdb11, emotionet16, sjmt8 or "
        "cexpr7; with :binary or :weighted AU lists.",
    ),
]
RUNS = Path("runs")


@with_examples(
    ("affect train --list", "the recipes that come with affectdata"),
    ("affect train demo --max-minutes 60", "finish within an hour"),
    ("affect train mine.yaml --set train.epochs=5 --set train.lr=3e-4", ""),
    ("affect train mine.yaml --resume", "go on where it stopped"),
    ("affect train mine.yaml --run finer --set start.run=mine", "from its weights"),
)
def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="Name of a recipe of the package, or a YAML file.", show_default=False),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the recipes of the package.")] = False,
    show_fields: Annotated[
        bool, typer.Option("--fields", help="List every field of a recipe with its default and meaning.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option("--run", "--name", metavar="NAME", help="Name of the run.", show_default="the recipe's name"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe, e.g. train.epochs=3."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda; auto takes a GPU if there is one.")
    ] = "auto",
    devices: Annotated[
        int, typer.Option("--devices", metavar="N", min=1, help="How many GPUs (or CPU processes).")
    ] = 1,
    nodes: Annotated[
        int, typer.Option("--nodes", metavar="N", min=1, help="How many machines; see docs/slurm.md.")
    ] = 1,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            "--max-minutes",
            metavar="MIN",
            help="Finish within so many minutes: the learning rate falls to its end by then.",
        ),
    ] = None,
    runs: Runs = RUNS,
) -> None:
    """Train a recipe on the lake. Everything about the run is kept in its folder."""
    from trainer import recipe as recipes

    if show_list:
        _list_recipes()
        return
    if show_fields:
        show(Grid(("field", "default", "meaning"), list(recipe_fields(recipes.Recipe))))
        return
    if recipe is None:
        raise typer.BadParameter("name a recipe, or --list them")
    limit: dict[str, object] = {} if max_minutes is None else {"train.max_minutes": max_minutes}
    chosen = recipes.load(recipe).replace(limit | changed_fields(changes or []))
    lake = session(context).lake()
    from trainer.fit import Machine, is_first_process
    from trainer.fit import train as fit

    folder = _runs_folder(runs) / (name or chosen.name)
    try:
        run = fit(chosen, lake, folder, resume=resume, machine=Machine(device, devices, nodes))
    except KeyboardInterrupt:
        if not (folder / "facts.json").exists():
            raise
        again = f"affect train {folder / 'recipe.yaml'} --run {folder.name} --resume"
        raise KeyboardInterrupt(f"stopped; {again} goes on after the last whole epoch") from None
    if is_first_process():
        say([f"run: {run.path}"])


def _runs_folder(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"runs folder {folder}", found="a file, no folder", expected="a folder of run folders")
    return folder


def changed_fields(given: Sequence[str]) -> dict[str, object]:
    """`train.epochs=3` -> {"train.epochs": 3}; values are read as YAML, so that lists and null work."""
    import yaml

    changes: dict[str, object] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"--set {text!r} is not KEY=VALUE, such as train.epochs=3")
        try:
            changes[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise typer.BadParameter(f"--set {text!r}: the value is not YAML") from None
    return changes


def _list_recipes() -> None:
    from trainer import recipe as recipes

    found = [recipes.load(name) for name in recipes.names()]
    columns = ("recipe", "datasets", "tasks", "backbone", "about")
    rows = [
        (r.name, ", ".join(d.name for d in r.datasets), ", ".join(r.tasks.names), r.backbone.name, r.about)
        for r in found
    ]
    show(Grid(columns, rows))


def recipe_fields(part: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted name, default and meaning of every field of a part of a recipe and of the parts inside it."""
    for name, field in part.model_fields.items():
        default = "required" if field.is_required() else str(_plain(field.default))
        inner = _part(field.annotation)
        if inner is None:
            yield f"{prefix}{name}", default, field.description or ""
        else:
            yield f"{prefix}{name}", "", (inner.__doc__ or "").strip()
            yield from recipe_fields(inner, f"{prefix}{name}.")


def _plain(default: object) -> object:
    return list(default) if isinstance(default, tuple) else default


def _part(annotation: Any) -> type[BaseModel] | None:
    """The part of a recipe inside an annotation such as `Part | None` or `tuple[Part, ...]`."""
    from trainer.settings import Part

    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((part for part in map(_part, getattr(annotation, "__args__", ())) if part), None)


@with_examples(
    ("affect evaluate demo", "the protocol and role of its recipe"),
    ("affect evaluate runs/mine --protocol five --fold 0 --role test", ""),
    ("affect evaluate fold-0 fold-1 fold-2", "their mean, and the folds scored as one"),
    ("affect evaluate mine --on sfew:official --by gender,age", "on a dataset that it was not trained on, by subgroup"),
    ("affect evaluate mine --metric uar_zero --metric nme_ip", "variants, to compare with older papers"),
    ("affect evaluate facebehaviornet --on rafdb --compound rafdb11", "compound expressions, zero-shot"),
)
def evaluate(
    context: typer.Context,
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Run folders, or names under --runs; several: folds or seeds of one experiment."
        ),
    ],
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", metavar="NAME", help="Protocol to score by.", show_default="the recipe's"),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option("--fold", metavar="N", min=0, help="Fold of the protocol.", show_default="the recipe's"),
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLE", help="val or test.", show_default="the recipe's")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "--on",
            "-d",
            metavar="NAME[:PROTOCOL]",
            help="Only this dataset, also another than the recipe's, by a protocol of its own; repeatable.",
            show_default="the recipe's",
        ),
    ] = None,
    by: By = "",
    metric: Metrics = None,
    resamples: Resamples = None,
    compound: Compound = "",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    allow_changed: Annotated[
        bool, typer.Option("--allow-changed", help="Score although the lake has changed since training.")
    ] = False,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Score although the run has seen some of the samples; says so.")
    ] = False,
    as_json: Json = False,
    as_csv: Csv = False,
    runs: Runs = RUNS,
) -> None:
    """Score a run on a role of a protocol. Truth comes only from the sources that the protocol names."""
    form = form_of(as_json, as_csv)
    from trainer.run import Run

    chosen, lake = [Run(run_folder(name, runs)) for name in run], session(context).lake()
    from trainer.across import across, several_to_json
    from trainer.evaluate import evaluate as score
    from trainer.metrics.uncertainty import RESAMPLES

    scores = [
        score(
            one,
            lake,
            protocol=protocol,
            fold=fold,
            role=role,
            datasets=dataset,
            device=device,
            by=[name.strip() for name in by.split(",") if name.strip()],
            metrics=metric or (),
            resamples=RESAMPLES if resamples is None else resamples,
            compound=compound,
            allow_changed=allow_changed,
            allow_seen=allow_seen,
        )
        for one in chosen
    ]
    together = across(scores)
    if form is Form.json:
        say([scores[0].to_json().rstrip() if len(scores) == 1 else several_to_json(scores, together)])
    elif form is Form.csv:
        show(Grid(SCORE_COLUMNS, [row for one in scores for row in score_rows(one)]), form)
    else:
        for one in scores:
            say([f"run {one.run}"] if len(scores) > 1 else [])
            say(one.lines())
        for each in together:
            say(each.lines())


SCORE_COLUMNS = (
    *("run", "dataset", "protocol", "fold", "role", "group"),
    *("metric", "variant", "value", "low", "high", "samples"),
)


def score_rows(scores: Scores) -> list[tuple[object, ...]]:
    """Every score as a row of `SCORE_COLUMNS`, those of subgroups too."""
    return [
        (scores.run, d.dataset, d.protocol, d.fold, d.role, group, r.name, r.variant, r.value, *_bounds(r), r.rows_used)
        for d in scores.datasets
        for group, results in _results(d)
        for r in results
    ]


def _results(scores: DatasetScores) -> Iterator[tuple[str, tuple[MetricResult, ...]]]:
    yield "", scores.results
    if scores.copies or scores.seen:
        yield "", scores.clean
    for group in scores.groups:
        yield f"{group.attribute}={group.value}", group.results


def _bounds(result: MetricResult) -> tuple[float | None, float | None]:
    return (None, None) if result.interval is None else (result.interval.low, result.interval.high)


def run_folder(run: str, runs: Path) -> Path:
    """The folder that a name under the runs folder, or a path, stands for."""
    return Path(run) if Path(run).is_dir() and (Path(run) / "facts.json").exists() else _runs_folder(runs) / run


@with_examples(("affect runs", "every run in ./runs"), ("affect runs --csv", "for a spreadsheet"))
def runs(folder: Runs = RUNS, as_json: Json = False, as_csv: Csv = False) -> None:
    """List runs: state, epochs, score of the selection, minutes."""
    from trainer.run import RunLine
    from trainer.run import runs as list_runs

    form, place = form_of(as_json, as_csv), _runs_folder(folder)
    columns = [f.name for f in fields(RunLine)]
    rows = [[getattr(line, c) for c in columns] for line in list_runs(place)]
    if form is Form.table and not rows:
        note(f"no run in {place}: affect train RECIPE, or --runs DIR")
    show(Grid(columns, rows), form)
