"""Training from the weights of another run: what of them fits, and what that run has seen.

A network does not forget by being trained further. So whatever trained the first run, or chose its epoch, counts as
seen by the second: its samples are kept among those of the new run, by which `evaluate` refuses and marks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from manifests.errors import ProtocolError, RecipeError, UnknownNameError, WeightsError
from manifests.lake import Lake
from manifests.protocols import KEYS, leaks
from trainer.network import heads_for
from trainer.networks.heads import HeadSpec
from trainer.networks.sharing import TaskNetwork
from trainer.networks.weights import WeightsReport, file_sha256, read_weights
from trainer.recipe import Recipe
from trainer.run import WEIGHTS, Run
from trainer.splits import identity_of, roles_of

STARTED = "start"
"""Role, among the samples of a run, of those that only a run has seen whose weights it began from."""


@dataclass(frozen=True)
class Origin:
    """A run whose weights another began from, as `facts.json` keeps it: enough to know it when its folder is gone.

    Args:
        run, recipe: Its name and that of its recipe.
        weights: SHA-256 of its `model.safetensors`.
        sources: Label sources that trained it.
        protocol: Dataset -> protocol.
        fold, report: Fold of its recipe's protocol, and the role that it reports.
        fingerprints: Dataset -> layer key -> fingerprint of every layer that trained it.
        transductive: Why its own scores are not those of unseen samples.
    """

    run: str
    recipe: str
    weights: str
    sources: Sequence[str]
    protocol: Mapping[str, str]
    fold: int | None
    report: str
    fingerprints: Mapping[str, Mapping[str, str]]
    transductive: Sequence[str] = ()

    @classmethod
    def of(cls, run: Run) -> Origin:
        """What is to be remembered of a run."""
        asked, f = run.recipe.protocol, run.facts
        digest = file_sha256(run.path / WEIGHTS)
        where = (f.sources, f.protocol, asked.fold, asked.report, f.fingerprints, f.transductive)
        return cls(run.name, run.recipe.name, digest, *where)

    def as_taught(self, through: str) -> dict[str, Any]:
        """The same in the form of `trainer.transductive.Taught`: whoever learns from its heir learns from it too."""
        protocols = {d: (name, self.fingerprints[d].get(f"protocols/{name}", "")) for d, name in self.protocol.items()}
        return {
            "layer": through,
            "run": self.run,
            "protocols": protocols,
            "fold": self.fold,
            "report": self.report,
        }


def origins(run: Run) -> list[dict[str, Any]]:
    """A run and those that it began from, nearest first, as facts of a run that begins from it."""
    return [asdict(Origin.of(run)), *run.facts.started]


def teachers_of(run: Run) -> list[dict[str, Any]]:
    """Whoever taught a run: through labels, and through the weights that it began from; as `Taught` has them."""
    before = (Origin(**one).as_taught(f"weights of run {run.name}") for one in run.facts.started)
    return [*run.facts.taught, *before]


def parent_of(recipe: Recipe, run_dir: Path) -> Run | None:
    """The run that a recipe starts from; None where it starts anew.

    Args:
        recipe: The experiment.
        run_dir: Folder of the new run; a name is looked for beside it first.

    Raises:
        RunError: There is none, or it is unfinished.
    """
    if recipe.start is None:
        return None
    beside = run_dir.parent / recipe.start.run
    return Run(beside if beside.is_dir() or not Path(recipe.start.run).is_dir() else Path(recipe.start.run))


def take_over(network: TaskNetwork, recipe: Recipe, parent: Run) -> WeightsReport:
    """Set the tensors of a new network from a run: all but the last layers of tasks whose outputs differ.

    Args:
        network: That of `recipe`; changed in place.
        recipe: Its `start` says which task goes on as which.
        parent: The run.

    Raises:
        UnknownNameError: `start.tasks` names a task that the run has not.
        RecipeError: Tasks in another order, of which schemes that mix networks by position would make a wrong one.
        WeightsError: The weights do not load, or are of another network.
    """
    theirs = {spec.task: spec for spec in heads_for(parent.recipe.tasks)}
    named = _tasks(recipe, network.specs, theirs)
    own = network.state_dict()
    given = _renamed(read_weights(parent.path / WEIGHTS), named, theirs)
    fresh, replaced = [], []
    for spec in network.specs:
        if spec.task in named and _answers(spec) != _answers(theirs[named[spec.task]]):
            old = theirs[named[spec.task]]
            fresh.append(_prefix(network, spec.task))
            replaced.append(f"{spec.task}: {len(old.outputs)} of {old.task} -> {len(spec.outputs)}")
    given = {key: value for key, value in given.items() if not key.startswith(tuple(fresh))}
    loaded = {key: value for key, value in given.items() if key in own and value.shape == own[key].shape}
    mismatched = [
        f"{key}: {tuple(given[key].shape)}, {tuple(own[key].shape)}" for key in given if key in own.keys() - loaded
    ]
    if mismatched or not any(not key.startswith("heads.") for key in loaded):
        raise _of_another_network(recipe, parent, mismatched)
    network.load_state_dict(loaded, strict=False)
    return WeightsReport(
        source=f"run {parent.name}",
        sha256=file_sha256(parent.path / WEIGHTS),
        loaded=tuple(loaded),
        missing=tuple(key for key in own if key not in loaded),
        unexpected=tuple(key for key in given if key not in own),
        replaced=tuple(replaced),
    )


def _tasks(recipe: Recipe, specs: Sequence[HeadSpec], theirs: Mapping[str, HeadSpec]) -> dict[str, str]:
    """Task of the recipe -> task of the run that it goes on from."""
    asked = recipe.start.tasks if recipe.start else {}
    for old in asked.values():
        if old not in theirs:
            raise UnknownNameError("task of the run to start from", old, theirs)
    named = {spec.task: asked.get(spec.task, spec.task) for spec in specs}
    named = {task: old for task, old in named.items() if old in theirs and (task in asked or old not in asked.values())}
    order = [list(theirs).index(old) for old in named.values()]
    if order != sorted(set(order)):
        raise RecipeError(
            f"recipe {recipe.name}: start.tasks",
            found=", ".join(f"{task} from {old}" for task, old in named.items()),
            expected=f"each task of that run once, in its order: {', '.join(theirs)}",
        )
    return named


def _renamed(
    given: Mapping[str, Tensor], named: Mapping[str, str], theirs: Mapping[str, HeadSpec]
) -> dict[str, Tensor]:
    """The tensors under the task names of the new network; those of a task that it lacks cannot fit any."""
    heirs = {old: task for task, old in named.items()}
    words = {old: heirs.get(old, f"{old} (not in this recipe)") for old in theirs}
    return {".".join(words.get(part, part) for part in key.split(".")): value for key, value in given.items()}


def _answers(spec: HeadSpec) -> tuple[object, ...]:
    """What makes the outputs of two heads the same."""
    return spec.outputs, spec.kind, spec.whitened


def _prefix(network: TaskNetwork, task: str) -> str:
    """What the keys of a task's last layer begin with."""
    last = network.last_layer(task)
    (name,) = (name for name, module in network.named_modules() if module is last)
    return f"{name}."


def _of_another_network(recipe: Recipe, parent: Run, mismatched: Sequence[str]) -> WeightsError:
    ours, theirs = recipe.backbone, parent.recipe.backbone
    differ = [
        f"backbone.{name} {getattr(theirs, name)!r}, here {getattr(ours, name)!r}"
        for name in ("name", "in_chans", "kwargs")
        if getattr(ours, name) != getattr(theirs, name)
    ]
    differ += [] if recipe.sharing == parent.recipe.sharing else [f"sharing {parent.recipe.sharing.scheme!r}"]
    return WeightsError(
        f"recipe {recipe.name}: the weights of run {parent.name} are of another network",
        found="; ".join([*differ, *mismatched[:2]]) or "none of its tensors is one of this network",
        expected="the backbone, the sharing and the size of crops that the run was trained with",
        then=f"compare with {parent.path / 'recipe.yaml'}",
    )


def check_unreported(recipe: Recipe, lake: Lake, parent: Run) -> list[str]:
    """Refuse to begin from a run that has seen what the recipe reports; what else there is to say, a line each.

    Raises:
        ProtocolError: Samples of the reported role have trained the run, or those before it, or chose an epoch.
    """
    history = parent.samples
    known = identity_of(lake, history)
    same = related = count = 0
    for choice in recipe.datasets:
        found = roles_of(recipe, lake, choice.name)
        reported = found.at(found.has(recipe.protocol.report))
        itself = np.asarray(pc.is_in(reported["sample_id"], value_set=history["sample_id"].combine_chunks()), bool)
        count, same = count + len(itself), same + int(itself.sum())
        if known is not None:
            related += int((np.logical_or.reduce(list(leaks(reported, known, KEYS).values())) & ~itself).sum())
    if same:
        raise ProtocolError(
            f"recipe {recipe.name} begins from run {parent.name}, which has seen what it reports",
            found=f"{same:,} of {count:,} samples with role {recipe.protocol.report} trained it or chose an epoch",
            expected="a run that has seen none of them",
            then="start from a run under the same protocol and fold, or report another role",
        )
    lines = _otherwise(recipe, parent)
    if related:
        lines.append(
            f"start: {related:,} of {count:,} samples that are reported share a person, clip or picture with what "
            f"run {parent.name} has seen; scores will be given without them too"
        )
    return lines


def _otherwise(recipe: Recipe, parent: Run) -> list[str]:
    """How the run saw its pictures where this recipe sees them otherwise."""
    before = parent.recipe
    pairs: dict[str, tuple[object, object]] = {
        "alignment": (before.alignment, recipe.alignment),
        "input": (before.input, recipe.input),
    }
    both = {d.name for d in before.datasets} & {d.name for d in recipe.datasets}
    own = {name: (before.alignment_of(name), recipe.alignment_of(name)) for name in sorted(both)}
    pairs |= {f"alignment of {name}": pair for name, pair in own.items() if pair != pairs["alignment"]}
    return [
        f"start: run {parent.name} saw its pictures otherwise: {name} {old}, here {new}"
        for name, (old, new) in pairs.items()
        if old != new
    ]


def samples_before(parent: Run, own: pa.Table) -> pa.Table:
    """What a run, and those before it, have seen and the new run has not: rows for its `samples.parquet`.

    Args:
        parent: The run that training begins from.
        own: sample_id, dataset, role of the new run.
    """
    before = parent.samples
    new = before.filter(pc.invert(pc.is_in(before["sample_id"], value_set=own["sample_id"].combine_chunks())))
    place = new.column_names.index("role")
    return new.set_column(place, "role", pa.array([STARTED] * len(new), pa.string()))


def judged_before(parent: Run, own: pa.Table) -> list[str]:
    """A line where samples that choose the epoch have trained the run before: they judge it too kindly."""
    trained = parent.samples.filter(pc.field("role") != "selection")["sample_id"].combine_chunks()
    chosen = own.filter(pc.field("role") == "selection")["sample_id"]
    count = pc.sum(pc.is_in(chosen, value_set=trained)).as_py() or 0
    return (
        [f"start: {count:,} of {len(chosen):,} samples that choose the epoch have trained run {parent.name}"]
        if count
        else []
    )
