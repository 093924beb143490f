"""affect lineage: who says what about a sample, and what a run was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.examples import with_examples
from cli.printing import Csv, Form, Grid, Json, form_of, say, show
from cli.questions import Sources, source_list
from cli.session import session
from cli.training import RUNS, Runs, run_folder

if TYPE_CHECKING:
    from manifests.lake import Lake
    from trainer.run import Run


@with_examples(
    ("affect lineage rafdb/basic/train_00001", "every source's word on one sample, and which wins"),
    ("affect lineage runs/student", "layers, teachers and their ancestors, down to ingest"),
    ("affect lineage runs/student --json", "the same, for a program"),
)
def lineage(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="SAMPLE_ID|RUN", help="A sample of the lake, or a run.")],
    sources: Sources = None,
    as_json: Json = False,
    as_csv: Csv = False,
    runs: Runs = RUNS,
) -> None:
    """Say where a label, or a whole run, comes from."""
    form = form_of(as_json, as_csv)
    lake = session(context).lake()
    folder = run_folder(what, Path(runs))
    if (folder / "facts.json").exists():
        from trainer.run import Run

        run = Run(folder, finished=False)
        if form is Form.table:
            say(_run_lines(lake, run))
        else:
            show(Grid(RUN_COLUMNS, list(_run_rows(lake, run))), form)
        return
    if what.partition("/")[0] not in lake.datasets():
        raise _neither(what, folder, lake)
    from manifests.lineage import words_about
    from manifests.query import DEFAULT_SOURCES

    words = words_about(lake, what, source_list(sources) or DEFAULT_SOURCES)
    shown = _short if form is Form.table else _as_stored
    rows = [(w.column, w.source, shown(w.value), "wins" if w.wins else w.out or None) for w in words]
    show(Grid(("column", "source", "value", "state"), rows), form)


def _neither(what: str, folder: Path, lake: Lake) -> Exception:
    from manifests.errors import AffectError

    return AffectError(
        f"{what!r} is neither a run nor a sample of the lake",
        found=f"no run in {folder}; the lake holds {', '.join(lake.datasets()) or 'no dataset'}",
        expected="a run, or a sample_id such as rafdb/basic/train_00001",
        then='affect runs lists runs; affect sql "select sample_id from samples limit 5" shows samples',
    )


def _short(value: object) -> str:
    if isinstance(value, list):
        return " ".join("-" if x is None else f"{x:.3g}" for x in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _as_stored(value: object) -> object:
    return value


RUN_COLUMNS = (
    *("run", "recipe", "sources", "dataset", "protocol"),
    *("depth", "what", "fingerprint", "state", "origin", "teachers"),
)
"""Of a run's lineage for programs: a row for each layer and each file of weights, under the run that they trained.

`origin` is the command that made a layer, or where weights are from; `depth` 0 is a layer that trained the run itself.
"""


def _run_rows(lake: Lake, run: Run) -> Iterator[tuple[object, ...]]:
    facts = run.facts
    about = (run.name, run.recipe.name, list(facts.sources))
    if facts.weights:
        origin = facts.weights["source"]
        yield (*about, None, None, 0, "weights to begin from", facts.weights["sha256"], None, origin, [])
    yield from _layer_rows(lake, about, facts.fingerprints, facts.protocol)
    for one in facts.started:
        about = (one["run"], one["recipe"], list(one["sources"]))
        yield (*about, None, None, 0, "weights", one["weights"], None, f"run {one['run']}", [])
        yield from _layer_rows(lake, about, one["fingerprints"], one["protocol"])


def _layer_rows(
    lake: Lake,
    about: tuple[object, ...],
    fingerprints: Mapping[str, Mapping[str, str]],
    protocol: Mapping[str, str],
) -> Iterator[tuple[object, ...]]:
    from manifests.lineage import ancestors

    for dataset, used in fingerprints.items():
        for key, fingerprint in sorted(used.items()):
            for one in ancestors(lake, dataset, key, fingerprint):
                layer = (one.depth, one.key, one.fingerprint, one.now, one.command or None, list(one.teachers))
                mine = protocol.get(dataset) if one.dataset == dataset else None
                yield (*about, one.dataset, mine, *layer)


def _run_lines(lake: Lake, run: Run) -> Iterator[str]:
    facts = run.facts
    yield f"run {run.name}: recipe {run.recipe.name}, {facts.state}, sources {', '.join(facts.sources)}"
    if facts.weights:
        yield f"  weights to begin from: {facts.weights['source']}, SHA-256 {facts.weights['sha256']}"
    yield from _layers(lake, facts.fingerprints, facts.protocol, "  ")
    for depth, one in enumerate(facts.started, 1):
        indent = "  " * depth
        fold = "" if one["fold"] is None else f", fold {one['fold']}"
        yield f"{indent}began from run {one['run']}: recipe {one['recipe']}, reports {one['report']}{fold}"
        yield f"{indent}  weights SHA-256 {one['weights']}, sources {', '.join(one['sources'])}, which was trained on"
        yield from _layers(lake, one["fingerprints"], one["protocol"], indent + "  ")


def _layers(
    lake: Lake, fingerprints: Mapping[str, Mapping[str, str]], protocol: Mapping[str, str], indent: str
) -> Iterator[str]:
    """The layers that trained a run, and what they were made from."""
    from manifests.lineage import ancestors

    for dataset, used in fingerprints.items():
        yield f"{indent}{dataset}, protocol {protocol.get(dataset, '-')}"
        for key, fingerprint in sorted(used.items()):
            for one in ancestors(lake, dataset, key, fingerprint):
                where = "" if one.dataset == dataset else f"{one.dataset} "
                command = f"  ({one.command})" if one.command else ""
                deep = indent + "  " * (one.depth + 1)
                yield f"{deep}{where}{one.key} {one.fingerprint[:12]} {one.now}{command}"
                for teacher in one.teachers:
                    yield f"{deep}  taught by run {teacher}, which was trained on"
