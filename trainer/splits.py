"""Which samples of a dataset train, which choose the epoch, and which have to leave training because they leak."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import ProtocolError
from manifests.lake import Lake
from manifests.protocols import KEYS, clusters, identity, leaks, roles
from trainer.recipe import Recipe

SCORED = ("val", "test")
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """Samples of one dataset with one role."""

    ids: pa.Array
    """sample_id, sorted, [N]."""
    allowed: Mask
    """bool [N, T]: the role holds for the task; T in the order of `recipe.tasks.names`."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Counts:
    """What became of the samples that a protocol gives to training."""

    offered: int = 0
    """Samples with role train."""
    leaking: tuple[tuple[str, int], ...] = ()
    """Key -> training samples that share it with a scored one; a sample may share several."""
    dropped: int = 0
    """Training samples that left for it."""
    copies_kept: int = 0
    """Pixel-identical copies of scored pictures that stayed, or came back, because of `keep_copies`."""
    selection_dropped: int = 0
    """Selection samples that share a key with a reported one."""
    held_out: int = 0
    """Training samples held out to choose the epoch."""

    def lines(self, dataset: str) -> list[str]:
        """One fact a line, for people."""
        by = ", ".join(f"{key} {count:,}" for key, count in self.leaking if count) or "none"
        text = [
            f"{dataset}: {self.dropped:,} of {self.offered:,} training samples dropped: "
            f"they share something with a scored sample ({by})"
        ]
        if self.copies_kept:
            text.append(f"{dataset}: {self.copies_kept:,} identical copies of scored pictures KEPT in training")
        if self.selection_dropped:
            text.append(f"{dataset}: {self.selection_dropped:,} selection samples dropped for the same reason")
        if self.held_out:
            text.append(f"{dataset}: {self.held_out:,} training samples held out to choose the epoch")
        return text


@dataclass(frozen=True)
class Split:
    """One dataset of a recipe, divided."""

    train: Part
    selection: Part
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class Roles:
    """Roles of a dataset's samples: `identity` [N] and a role per task, text [N, T]; '' where there is none."""

    identity: pa.Table
    role: npt.NDArray[np.str_]

    def has(self, *names: str) -> Mask:
        """bool [N]: one of the roles, for any task."""
        return np.asarray(np.isin(self.role, names).any(1))

    def part(self, rows: Mask, role: str) -> Part:
        return Part(self.identity["sample_id"].combine_chunks().filter(pa.array(rows)), self.role[rows] == role)

    def at(self, rows: Mask) -> pa.Table:
        return self.identity.filter(pa.array(rows))


def split_all(recipe: Recipe, lake: Lake) -> list[Split]:
    """Every dataset of a recipe, divided; leaks are looked for across datasets too.

    A sample that is scored for any task trains none. Per key (subject, sequence, group, identical pixels) the
    training samples that share it with a scored one leave; with `keep_copies` those that share nothing but
    pixels stay, and such copies that the protocol ignores come back.

    Raises:
        UnknownNameError, StaleLayerError: As `manifests.protocols.roles`.
        ProtocolError: Nothing is left to train on.
    """
    found = [roles_of(recipe, lake, choice.name) for choice in recipe.datasets]
    scored = pa.concat_tables(r.at(r.has(*SCORED)) for r in found)
    reported = pa.concat_tables(r.at(r.has(recipe.protocol.report)) for r in found)
    drafts = [_draft(recipe, r, scored) for r in found]
    held = [np.zeros(len(d.train), np.bool_) for d in drafts]
    if recipe.selection.share is not None:
        everyone = pa.concat_tables(r.identity for r in found)
        drawable = np.concatenate([d.train & ~d.copies for d in drafts])
        chosen = _held_out(everyone, drawable, recipe.selection.share, recipe.train.seed)
        held = np.split(chosen, np.cumsum([len(d.train) for d in drafts])[:-1])
    splits = [_split(recipe, *one, reported) for one in zip(found, drafts, held, strict=True)]
    if not any(len(s.train) for s in splits):
        raise ProtocolError(
            f"recipe {recipe.name}: no training sample is left",
            found="; ".join(
                line for d, s in zip(recipe.datasets, splits, strict=True) for line in s.counts.lines(d.name)
            ),
            expected=f"samples with role train in protocol {recipe.protocol.name} that share nothing with scored ones",
        )
    return splits


def roles_of(recipe: Recipe, lake: Lake, dataset: str) -> Roles:
    who = identity(lake, dataset)
    ids = who["sample_id"].combine_chunks()
    columns = []
    for task in recipe.tasks.names:
        named = roles(lake, dataset, recipe.protocol_of(dataset), task=task, fold=recipe.fold_of(dataset))
        at = pc.index_in(ids, value_set=named["sample_id"].combine_chunks())
        role = pc.fill_null(named["role"].combine_chunks().take(at), "")
        columns.append(np.asarray(role.to_numpy(zero_copy_only=False), dtype=np.str_))
    return Roles(who, np.stack(columns, 1))


def identity_of(lake: Lake, samples: pa.Table) -> pa.Table | None:
    """What identifies samples, as `manifests.protocols.identity` has it, of those whose dataset the lake holds.

    Args:
        lake: Where they lie.
        samples: sample_id and dataset of each, as a run keeps them.
    """
    ids = samples["sample_id"].combine_chunks()
    named = [identity(lake, name) for name in sorted(set(samples["dataset"].to_pylist()) & set(lake.datasets()))]
    return pa.concat_tables(who.filter(pc.is_in(who["sample_id"], value_set=ids)) for who in named) if named else None


@dataclass(frozen=True)
class _Draft:
    """Who of a dataset may train, before the epoch's choice takes its share; masks are bool [N]."""

    train: Mask
    copies: Mask
    role: npt.NDArray[np.str_]
    shared: dict[str, Mask]
    offered: int
    dropped: int


def _draft(recipe: Recipe, found: Roles, scored: pa.Table) -> _Draft:
    candidates = found.has("train") & ~found.has(*SCORED)
    shared = {key: mask & candidates for key, mask in leaks(found.identity, scored, KEYS).items()}
    leaking = np.logical_or.reduce(list(shared.values()))
    train = candidates & ~leaking
    role, copies = found.role, np.zeros_like(train)
    if recipe.keep_copies:
        copies, role = _copies(found, scored)
        train |= copies
    return _Draft(train, copies, role, shared, int(candidates.sum()), int((leaking & ~copies).sum()))


def _split(recipe: Recipe, found: Roles, draft: _Draft, held: Mask, reported: pa.Table) -> Split:
    kept = Roles(found.identity, draft.role)
    if recipe.selection.share is not None:
        selection, spoilt = kept.part(held, "train"), 0
    else:
        chosen = found.has(recipe.selection.role) & ~found.has(recipe.protocol.report)
        clean = chosen & ~np.logical_or.reduce(list(leaks(found.identity, reported, KEYS).values()))
        selection, spoilt = found.part(clean, recipe.selection.role), int((chosen & ~clean).sum())
    counts = Counts(
        offered=draft.offered,
        leaking=tuple((key, int(mask.sum())) for key, mask in draft.shared.items()),
        dropped=draft.dropped,
        copies_kept=int(draft.copies.sum()),
        selection_dropped=spoilt,
        held_out=len(selection) if recipe.selection.share is not None else 0,
    )
    return Split(kept.part(draft.train & ~held, "train"), selection, counts)


def _copies(found: Roles, scored: pa.Table) -> tuple[Mask, npt.NDArray[np.str_]]:
    """Unscored samples that share pixels, and nothing else, with a scored one; and roles in which they train."""
    shared = leaks(found.identity, scored, KEYS)
    others = np.logical_or.reduce([mask for key, mask in shared.items() if key != "pixels"])
    copies = shared["pixels"] & ~others & found.has("train", "ignore") & ~found.has(*SCORED)
    role = found.role.copy()
    role[copies] = "train"
    return copies, role


def _held_out(who: pa.Table, candidates: Mask, share: float, seed: int) -> Mask:
    """Whole clusters of candidates, drawn at random until they make up `share` of them.

    Drawn once over the samples of every dataset: groups and pictures are shared across datasets.
    """
    rows = np.flatnonzero(candidates)
    if not len(rows):
        return np.zeros_like(candidates)
    group = clusters(who.take(pa.array(rows)), KEYS)
    order = np.random.Generator(np.random.Philox(key=[seed, 1 << 32])).permutation(group.max() + 1)
    size = np.bincount(group)[order]
    fitting = size <= share * len(rows)  # one huge cluster must not end the draw
    taken = order[fitting][np.cumsum(size[fitting]) <= share * len(rows)]
    result = np.zeros_like(candidates)
    result[rows[np.isin(group, taken)]] = True
    return result
