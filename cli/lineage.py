"""affect lineage: who says what about a sample, and what a run was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.examples import with_examples
from cli.printing import Csv, Grid, Json, form_of, say, show
from cli.questions import Sources, source_list
from cli.session import session
from cli.training import RUNS, Runs, run_folder

if TYPE_CHECKING:
    from manifests.lake import Lake
    from trainer.run import Run


@with_examples(
    ("affect lineage rafdb/basic/train_00001", "every source's word on one sample, and which wins"),
    ("affect lineage runs/student", "layers, teachers and their ancestors, down to ingest"),
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

        say(_run_lines(lake, Run(folder, finished=False)))
        return
    if what.partition("/")[0] not in lake.datasets():
        raise _neither(what, folder, lake)
    from manifests.lineage import words_about
    from manifests.query import DEFAULT_SOURCES

    words = words_about(lake, what, source_list(sources) or DEFAULT_SOURCES)
    rows = [(w.column, w.source, _short(w.value), "wins" if w.wins else w.out or "") for w in words]
    show(Grid(("column", "source", "value", ""), rows), form)


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
