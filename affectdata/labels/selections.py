"""`affect select`: the samples that a question names, as a list for `only` and `exclude`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.labels.known import known_layers
from manifests.errors import QueryError
from manifests.lake import Lake
from manifests.layer import LayerFacts, layer_key
from manifests.query import DEFAULT_SOURCES, VIEWS, connect
from manifests.statement import parse_select


@dataclass(frozen=True)
class SelectionSummary:
    """What was listed.

    Args:
        listed: Samples in the list.
        samples: Samples of the dataset.
        elsewhere: Rows of the answer that name samples of other datasets; they are left out.
    """

    dataset: str
    name: str
    listed: int
    samples: int
    elsewhere: int

    def lines(self) -> Iterator[str]:
        """One fact a line, for people."""
        yield f"{self.dataset}: selections/{self.name}: {self.listed:,} of {self.samples:,} samples"
        if self.elsewhere:
            yield f"  {self.elsewhere:,} rows of the answer are about other datasets and are left out"


def select(
    lake: Lake, dataset: str, name: str, question: str, sources: Sequence[str] = DEFAULT_SOURCES
) -> SelectionSummary:
    """Publish the samples of a dataset that a question names as `selections/<name>`.

    The layer is stale when what the question looked at has changed: it says what to ask again.

    Args:
        question: One SELECT whose answer has a column `sample_id`, and `reason` if it says why.
        sources: Label sources of its view `manifest`, first wins.

    Raises:
        UnknownNameError: No such dataset.
        LakeError: A bad name.
        QueryError: Not one SELECT, no column `sample_id`, or no sample of the dataset in the answer.
        StaleLayerError: What the question looked at changed meanwhile.
    """
    key = layer_key("selections", name)
    samples = lake.layer(dataset, "samples").rows
    fingerprints = lake.fingerprints(dataset)
    tables = parse_select(question, VIEWS).tables
    answer = connect(lake, sources).sql(question).arrow()
    if "sample_id" not in answer.column_names:
        raise QueryError(
            "this question names no samples", found=", ".join(answer.column_names), expected="a column sample_id"
        )
    ours = lake.read(dataset, "samples", ["sample_id"])["sample_id"].combine_chunks()
    inside = pc.is_in(answer["sample_id"], value_set=ours)
    found = answer.filter(inside)
    if not found.num_rows:
        raise QueryError(
            f"this question names no sample of {dataset}",
            found=f"{answer.num_rows:,} rows",
            then=f"affect sql \"select sample_id from samples where dataset = '{dataset}' limit 5\" shows some",
        )
    parents = ["samples", *(parent for parent in _looked_at(lake, dataset, tables, sources) if parent != key)]
    command = f'affect select {dataset} --name {name} "{question}"'
    command += f" --sources {','.join(sources)}" if tuple(sources) != DEFAULT_SOURCES else ""
    listed = _listed(found)
    with lake.publish(dataset, command=f"affect select {dataset} --name {name}") as step:
        facts = LayerFacts(rule=question, command=command)
        step.write("selections", name, listed, facts, {parent: fingerprints.get(parent, "") for parent in parents})
    return SelectionSummary(dataset, name, listed.num_rows, samples, answer.num_rows - found.num_rows)


def _listed(found: pa.Table) -> pa.Table:
    """Each sample once, in order, with the least of its reasons: whichever row came first is chance."""
    reason = found["reason"].cast(pa.string()) if "reason" in found.column_names else pa.nulls(len(found), pa.string())
    table = pa.table({"sample_id": found["sample_id"], "reason": reason})
    once = table.group_by("sample_id").aggregate([("reason", "min")]).sort_by("sample_id")
    return once.rename_columns({"reason_min": "reason"}).select(["sample_id", "reason"])


def _looked_at(lake: Lake, dataset: str, tables: frozenset[str], sources: Sequence[str]) -> list[str]:
    """Layers of the dataset that views of a question show."""
    kinds = {*tables} - {"manifest", "samples"}
    shown = [layer.key for layer in lake.layers(dataset) if layer.kind in kinds and not layer.stale]
    if "manifest" in tables:
        shown += [layer.key for layer in known_layers(lake, dataset, sources, own="")]
    return list(dict.fromkeys(shown))
