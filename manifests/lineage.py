"""Where a label comes from: every source's word on one sample, and the ancestors of a layer down to its ingest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pyarrow.compute as pc
import pyarrow.dataset as ds

from manifests.errors import LakeError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import Layer
from manifests.query import DEFAULT_SOURCES, manifest_table
from manifests.schema import LABELS
from manifests.vocabulary import AUS, au_column

_WHOLE = ("expression", "compound", "mental_state", "va", "landmarks")


@dataclass(frozen=True)
class Word:
    """What one source says in one column about one sample.

    Args:
        column: Label column.
        source: Name of the label layer.
        value: As stored; 68 points as their number.
        wins: The manifest takes it from here.
        out: Why the source takes no part: not among the sources asked for, or stale; empty: it does.
    """

    column: str
    source: str
    value: object
    wins: bool
    out: str = ""


def words_about(lake: Lake, sample_id: str, sources: Sequence[str] = DEFAULT_SOURCES) -> list[Word]:
    """Every source's word on one sample, column by column.

    Args:
        sample_id: As in the manifest, e.g. `rafdb/basic/train_00001`.
        sources: Order in which sources win.

    Raises:
        UnknownNameError: No such dataset.
        LakeError: No such sample.
    """
    dataset = sample_id.partition("/")[0]
    if dataset not in lake.datasets():
        raise UnknownNameError("dataset in the lake", dataset, lake.datasets())
    winners = _winners(lake, dataset, sample_id, sources)
    found = []
    for layer in lake.layers(dataset):
        if layer.kind == "labels":
            out = "stale" if layer.stale else ""
            out = out or ("" if any(fnmatchcase(layer.name, p) for p in sources) else "not asked for")
            found += [
                Word(column, layer.name, value, not out and winners.get(column) == layer.name, out)
                for column, value in _row(layer, sample_id).items()
            ]
    order = {name: place for place, name in enumerate(LABELS.names)}
    return sorted(found, key=lambda word: order[word.column])


def _row(layer: Layer, sample_id: str) -> dict[str, object]:
    """Columns that a layer knows of one sample."""
    table = ds.dataset(layer.path).to_table(filter=pc.field("sample_id") == sample_id)
    row = table.to_pylist()[0] if table.num_rows else {}
    values = {name: value for name, value in row.items() if value is not None and name != "sample_id"}
    if "landmarks" in values:
        known = sum(x is not None for x in row["landmarks"][::2])
        values["landmarks"] = f"{known} points"
    return values


def _winners(lake: Lake, dataset: str, sample_id: str, sources: Sequence[str]) -> Mapping[str, str | None]:
    """Label column -> the source that the manifest takes it from."""
    named = [f"{task}_source" for task in _WHOLE]
    named += [au_column(au, what) for au in AUS for what in ("source", "intensity_source")]
    where = f"sample_id = '{sample_id.replace(chr(39), chr(39) * 2)}'"
    table = manifest_table(lake, [dataset], ["sample_id", *named], sources=sources, where=where)
    if not table.num_rows:
        some = ds.dataset(lake.layer(dataset, "samples").path).head(1, columns=["sample_id"])["sample_id"].to_pylist()
        raise LakeError(
            f"{dataset} has no sample {sample_id!r}",
            expected=f"a sample_id such as {some[0]}" if some else "",
            then=f"affect sql \"select sample_id from samples where dataset = '{dataset}' limit 5\" shows some",
        )
    row = table.to_pylist()[0]
    winners: dict[str, str | None] = {}
    for column in LABELS.names:
        stem = column.removesuffix("_weight").removesuffix("_probs").removesuffix("_prob").removesuffix("_side")
        key = {"valence": "va_source", "arousal": "va_source"}.get(stem, f"{stem}_source")
        winners[column] = row.get(key)
    winners["expression_votes"] = None  # votes are no label; whoever has them keeps them
    return winners


@dataclass(frozen=True)
class Ancestor:
    """One layer that something was made from.

    Args:
        depth: 0: the layer asked for.
        dataset: Its dataset.
        key: `labels/human`, `crops/arcface112` ...
        fingerprint: As it was used.
        now: `as used`, `changed since`, `gone`, or why it is stale.
        command: The command that made it.
        teachers: Runs whose predictions it holds, with what each was trained on: dataset -> key -> fingerprint.
    """

    depth: int
    dataset: str
    key: str
    fingerprint: str
    now: str
    command: str
    teachers: Mapping[str, Mapping[str, Mapping[str, str]]]


def ancestors(lake: Lake, dataset: str, key: str, fingerprint: str, depth: int = 0) -> Iterator[Ancestor]:
    """A layer and everything that it was made from, parents and teachers, depth first."""
    layers = {layer.key: layer for layer in lake.layers(dataset)} if dataset in lake.datasets() else {}
    layer = layers.get(key)
    if layer is None:
        yield Ancestor(depth, dataset, key, fingerprint, "gone", "", {})
        return
    changed = layer.facts.fingerprint != fingerprint
    now = "changed since" if changed else layer.stale or "as used"
    teachers = {} if changed else teachers_of(layer)
    yield Ancestor(depth, dataset, key, fingerprint, now, layer.facts.command, teachers)
    if changed:
        return  # its parents are those of another generation
    for parent, as_used in sorted(layer.facts.parents.items()):
        if parent in layers or "/" in parent:
            yield from ancestors(lake, dataset, parent, as_used, depth + 1)
    for trained_on in teachers.values():
        for name, used in sorted(trained_on.items()):
            for one, as_used in sorted(used.items()):
                yield from ancestors(lake, name, one, as_used, depth + 2)


def teachers_of(layer: Layer) -> dict[str, Mapping[str, Mapping[str, str]]]:
    """Run -> dataset -> layer key -> fingerprint of what it was trained on; empty where no run made the layer."""
    said = json.loads(layer.facts.extra.get("teachers", "[]"))
    return {one["run"]: one["trained_on"] for one in said}
