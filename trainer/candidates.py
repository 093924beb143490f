"""Which samples a teacher may label: faces, and none that a protocol reports."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ProtocolError, UnknownNameError
from manifests.lake import Lake
from manifests.protocols import identity, roles
from manifests.vocabulary import TASKS
from trainer.run import Run


def candidates(
    lake: Lake, dataset: str, reporting: Sequence[tuple[Run, str]], *, transductive: bool = False
) -> tuple[pa.Table, int]:
    """sample_id and pixel_hash of every face that may be labelled, sorted; and how many have a reported role.

    Args:
        reporting: Runs with the protocols that say what is reported, see `reporting_protocols`.
        transductive: Those with reported roles may be labelled too.

    Raises:
        ProtocolError: A folded protocol without a fold.
    """
    samples = lake.read(dataset, "samples", ["sample_id", "face_status"])
    face = pc.fill_null(pc.not_equal(samples["face_status"], "not_a_face"), True)
    who = identity(lake, dataset).select(["sample_id", "pixel_hash"]).sort_by("sample_id")
    who = who.filter(pc.is_in(who["sample_id"], value_set=samples.filter(face)["sample_id"].combine_chunks()))
    scored = [_reported(lake, dataset, run, name) for run, name in reporting]
    held = pc.is_in(who["sample_id"], value_set=pa.concat_arrays([pa.array([], pa.string()), *scored]))
    count = int(pc.sum(held).as_py() or 0)
    return who if transductive else who.filter(pc.invert(held)), count


def reporting_protocols(
    lake: Lake, dataset: str, runs: Sequence[Run], asked: Sequence[str] = (), *, transductive: bool = False
) -> list[tuple[Run, str]]:
    """The protocols that say what is reported: those asked for, each run's own, or else every one of the dataset.

    Raises:
        ProtocolError: None says it, and samples with reported roles are not to be labelled.
        UnknownNameError: No such protocol.
    """
    known = [layer.name for layer in lake.layers(dataset) if layer.kind == "protocols"]
    for name in asked:
        if name not in known:
            raise UnknownNameError(f"protocol of {dataset}", name, known)
    if not (asked or known or transductive):
        raise ProtocolError(
            f"{dataset} has no protocol, so it is not known which of its samples will be reported",
            then=f"affect folds {dataset} --name NAME ..., or --allow-transductive to label all of it",
        )
    return [(run, name) for run in runs for name in asked or _own(run, dataset, known)]


def _own(run: Run, dataset: str, known: list[str]) -> list[str]:
    own = run.recipe.protocol_of(dataset)
    return [own] if own in known else known


def _reported(lake: Lake, dataset: str, run: Run, protocol: str) -> pa.Array:
    """Samples that the protocol scores for any task, in the run's fold where it has folds."""
    rows = lake.read(dataset, f"protocols/{protocol}", ["sample_id", "task", "role", "fold"])
    folded = rows["fold"].null_count < rows.num_rows
    fold = run.recipe.fold_of(dataset) if protocol == run.recipe.protocol_of(dataset) else None
    if folded and fold is None:
        raise ProtocolError(
            f"protocol {protocol} of {dataset} has folds, and run {run.name} was not trained in one of them",
            expected="a protocol without folds, or the run's own",
            then="--protocol NAME",
        )
    found = [
        roles(lake, dataset, protocol, task=task, fold=fold)
        for task in sorted({*rows["task"].unique().to_pylist()} & {*TASKS, "all"})
    ]
    scored = pa.concat_tables(found) if found else rows.slice(0, 0)
    scored = scored.filter(pc.is_in(scored["role"], value_set=pa.array(["val", "test"])))
    return scored["sample_id"].combine_chunks().cast(pa.string())
