"""The engine that runs a reader: recognise, fingerprint, read, check, and publish everything in one swap."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.assembly import Assembled, assemble
from affectdata.datasets import reader
from affectdata.datasets.card import Card, Labelling, ProtocolCard
from affectdata.datasets.parsing import content, hashed
from affectdata.datasets.reading import Block, Distribution, Reader, Reject
from affectdata.datasets.recognise import check_apart, recognise
from affectdata.ingest_summary import (
    IngestSummary,
    RejectCount,
    count_source,
    count_splits,
    differences,
)
from affectdata.memo import Memo
from affectdata.order_checks import order_warnings
from manifests.errors import DatasetError, RejectLimitError
from manifests.lake import Lake, check_dataset_name
from manifests.layer import Layer, LayerFacts, layer_key
from manifests.publication import Publication

MAX_REJECTS = 0.01
"""Largest share of items that may be refused for reasons that the CARD does not foresee."""

Progress = Callable[[str, int, int], None]
"""Called with the step in words, how much of it is done, and how much there is (0: unknown)."""


@dataclass(frozen=True)
class Fingerprint:
    """What a root holds: annotations whole, media by path and size, and by content when asked for."""

    listed: str
    media: str = ""

    @property
    def whole(self) -> str:
        """The fingerprint of the samples layer."""
        return self.listed if not self.media else hashlib.blake2b(f"{self}".encode(), digest_size=16).hexdigest()


def ingest(
    lake: Lake,
    dataset: str,
    root: str | Path,
    *,
    name: str | None = None,
    max_rejects: float = MAX_REJECTS,
    rehash: bool = False,
    options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Read a dataset as it lies on disk into the lake: samples, labels, protocols and rejects, in one swap.

    Does nothing when the lake already holds exactly this.

    Args:
        lake: Lake to write.
        dataset: Name of the reader.
        root: Folder of the dataset; it is only read.
        name: Name in the lake, by default that of the reader.
        max_rejects: Largest share of items that may be refused for unforeseen reasons.
        rehash: Read every file for the fingerprint, media too, whatever the file system says of its times.
        options: The reader's options (`affect info` lists them).
        progress: Told how far each step is.

    Raises:
        DatasetError: The folder holds something else, or nothing, or the lake.
        RejectLimitError: Too much was refused; the lake stays as it was.
        UnknownNameError: No such dataset or option.
    """
    module, tell = reader(dataset), progress or _silent
    target = check_dataset_name(name or dataset)
    check_apart(Path(root), lake.home)
    memo = Memo(lake.cache / "annotations" / f"{target}.sqlite", trusts_times=not rehash)
    distribution = recognise(module, Path(root), options, lambda count: tell("listing files", count, 0), memo)
    command = _command(dataset, target, module.CARD, distribution)
    # The lock comes before all that takes long: the second of two writers should not learn in the end that it is one.
    with lake.publish(target, command=command) as publication, memo.written():
        print_ = fingerprint(module.CARD, distribution, rehash=rehash, progress=tell)
        step = _Step(module, distribution, target, print_, command)
        before = _published(lake, target, module.CARD)
        if before and _same(lake, step, before, rehash):
            if lake.root(target) != distribution.folder.root:
                publication.source(distribution.folder.root, distribution.variant)
            return _unchanged(step, before)
        reject = listing_rejects(distribution)
        blocks = _told(module.read(distribution, reject), tell)
        assembled = assemble(target, blocks, distribution.folder.files, reject)
        memo.drop_unused()
        rejects = reject.table(module.CARD.expected_rejects, assembled.items)
        _check_limit(target, rejects, assembled.items, max_rejects)
        tell("writing layers", 0, 0)
        layers = _write(lake, publication, step, assembled, rejects)
    return _summary(step, assembled, rejects, layers)


def fingerprint(
    card: Card, distribution: Distribution, *, rehash: bool = False, progress: Progress | None = None
) -> Fingerprint:
    """What a recognised root holds, and how it will be read.

    Covers the reader's revision, the user's options, every byte of the annotations, and the path and size of every
    other file that may hold pixels. Times never count.
    """
    tell = progress or _silent
    folder = distribution.folder
    digest = hashlib.blake2b(f"{card.name} {card.revision}\n{distribution.variant}\n".encode(), digest_size=16)
    digest.update(f"{_own_options(card, distribution)}\n{distribution.settings}\n".encode())
    digest.update("".join(f"{file} at {place}\n" for file, place in folder.files.archives).encode())
    for done, path in enumerate(sorted(distribution.annotations)):
        digest.update(f"{path} {content(folder, path).hex()}\n".encode())
        tell("hashing annotations", done + 1, len(distribution.annotations))
    annotations = frozenset(distribution.annotations)
    read: defaultdict[str, set[str]] = defaultdict(set)
    for path in annotations:
        place, _, name = path.rpartition("/")
        read[place].add(name)
    for place, sizes in folder.files.media_sizes():
        lines = [f"{name} {size}\n" for name, size in sizes.items() if name not in read[place]]
        digest.update("".join([f"{place}/\n", *lines]).encode() if lines else b"")
    if not rehash:
        return Fingerprint(digest.hexdigest())
    media = [path for path in folder.files.media() if path not in annotations]
    pixels = hashlib.blake2b(digest_size=16)
    for done, path in enumerate(media):
        pixels.update(f"{path} {hashed(folder, path).hex()}\n".encode())
        tell("hashing media", done + 1, len(media))
    return Fingerprint(digest.hexdigest(), pixels.hexdigest())


@dataclass(frozen=True)
class _Step:
    module: Reader
    distribution: Distribution
    target: str
    print_: Fingerprint
    command: str

    @property
    def labellings(self) -> dict[str, Labelling]:
        return {x.source: x for x in self.distribution.labellings or self.module.CARD.labellings}

    @property
    def protocols(self) -> dict[str, ProtocolCard]:
        return {x.name: x for x in self.distribution.protocols or self.module.CARD.protocols}

    @property
    def extra(self) -> dict[str, str]:
        card = self.module.CARD
        return {"reader": card.name, "revision": str(card.revision), "variant": self.distribution.variant}


def _write(lake: Lake, publication: Publication, step: _Step, assembled: Assembled, rejects: pa.Table) -> list[str]:
    """Write every layer of the step; layers of an earlier ingest that are no longer made are dropped."""
    made: list[tuple[str, str, Iterable[pa.Table], LayerFacts]]
    made = [("rejects", "", [rejects], LayerFacts(command=step.command, extra=step.extra))]
    made += [("labels", name, assembled.labels(name), _label_facts(step, name)) for name in assembled.sources]
    made += [("protocols", name, assembled.roles(name), _protocol_facts(step, name)) for name in assembled.protocols]
    parents = {"samples": step.print_.whole}
    # What an ingest wrote is kept with the samples, so that the next one sees when a layer was dropped or replaced.
    wrote = {layer_key(kind, name): facts.filled(kind, name, parents).fingerprint for kind, name, _, facts in made}
    prints = {"listed": step.print_.listed, "media": step.print_.media, "wrote": json.dumps(wrote, sort_keys=True)}
    facts = LayerFacts(fingerprint=step.print_.whole, command=step.command, extra=step.extra | prints)
    publication.write("samples", "", assembled.samples(), facts)
    for kind, name, tables, said in made:
        publication.write(kind, name, tables, said, ["samples"])
    written = ["samples", *wrote]
    _drop_leftovers(lake, step.target, publication, written)
    publication.source(step.distribution.folder.root, step.distribution.variant)
    return written


def _protocol_facts(step: _Step, name: str) -> LayerFacts:
    card = step.protocols[name]
    return LayerFacts(
        command=step.command,
        extra=step.extra,
        truth=list(card.truth),
        keys=list(card.keys),
        metrics=list(card.metrics),
        rule=card.about,
    )


def _label_facts(step: _Step, source: str) -> LayerFacts:
    labelling = step.labellings[source]
    return LayerFacts(
        offered={task: list(classes) for task, classes in labelling.offered.items()},
        unit=dict(labelling.unit),
        rule=labelling.rule,
        au_cut=labelling.au_cut,
        landmark_base=labelling.landmark_base,
        command=step.command,
        extra=step.extra,
    )


def _drop_leftovers(lake: Lake, target: str, publication: Publication, written: Iterable[str]) -> None:
    # Layers are named by resolved paths; the lake itself may lie behind a link.
    home = lake.home.resolve()
    ours = {layer.key for layer in lake.layers(target) if "reader" in layer.facts.extra and home in layer.path.parents}
    for key in sorted(ours - set(written)):
        publication.drop(key)


def _published(lake: Lake, target: str, card: Card) -> Layer | None:
    if not lake.has(target, "samples"):
        return None
    layer = lake.layer(target, "samples")
    made_by = layer.facts.extra.get("reader", card.name)
    if made_by != card.name:
        raise DatasetError(
            f"the lake already holds a dataset {target}",
            found=f"it was read by {made_by}",
            expected=f"one that was read by {card.name}",
            then=f"affect ingest {card.name} PATH --name ANOTHER, or affect drop {target}",
        )
    return layer


def _same(lake: Lake, step: _Step, before: Layer, rehash: bool) -> bool:
    """Whether the lake holds exactly this: the same source, and every layer that was made from it, fresh."""
    extra = before.facts.extra
    if extra.get("listed") != step.print_.listed or (rehash and extra.get("media") != step.print_.media):
        return False
    there = {layer.key: layer.facts.fingerprint for layer in lake.layers(step.target) if not layer.stale}
    return "wrote" in extra and json.loads(extra["wrote"]).items() <= there.items()


def _unchanged(step: _Step, before: Layer) -> IngestSummary:
    distribution = step.distribution
    return IngestSummary(
        dataset=step.target,
        reader=step.module.CARD.name,
        variant=distribution.variant,
        samples=before.rows,
        warnings=distribution.warnings,
        unchanged=True,
        annotations=len(distribution.annotations),
        opened=_opened(distribution),
    )


def listing_rejects(distribution: Distribution) -> Reject:
    """What cannot be used for its name, or for the archive that holds it."""
    reject = Reject()
    names = distribution.folder.files.unreadable_names
    reject.many(names, "bad-name", ("the name is not UTF-8" for _ in names))
    for where, reason, detail in distribution.folder.files.refused:
        reject(where, reason, detail)
    return reject


def _check_limit(target: str, rejects: pa.Table, items: int, max_rejects: float) -> None:
    unforeseen = rejects.filter(pc.invert(rejects.column("expected")))
    if unforeseen.num_rows <= max_rejects * items:
        return
    counts = pc.value_counts(unforeseen.column("reason")).to_pylist()
    reasons = ", ".join(f"{row['counts']:,} x {row['values']}" for row in counts)
    shown = unforeseen.slice(0, 3).to_pylist()
    first = [f"  {r['where']:.80}: {r['reason']} {(r['detail'] or '').replace(chr(9), ' '):.80}" for r in shown]
    share = math.ceil(1000 * unforeseen.num_rows / items) / 1000
    raise RejectLimitError(
        f"{target}: {unforeseen.num_rows:,} of {items:,} items were refused; nothing was published",
        found="\n  ".join([f"{reasons}. First:", *first]),
        expected=f"at most {max_rejects:.2%} refused for reasons that the dataset is not known for",
        then=f"affect validate lists them; --max-rejects {share:g} allows them",
    )


def _summary(step: _Step, assembled: Assembled, rejects: pa.Table, layers: list[str]) -> IngestSummary:
    splits = count_splits(assembled.samples("split"))
    sources = {source: count_source(assembled.labels(source, "split")) for source in assembled.sources}
    published, variant = step.module.CARD.published, step.distribution.variant
    unlike = differences(published, variant, assembled.count, splits, sources)
    order = order_warnings(published, variant, splits, sources, assembled.labels)
    counted = rejects.group_by(["reason", "expected"]).aggregate([([], "count_all")]).to_pylist()
    refused = {row["reason"]: RejectCount(row["count_all"], row["expected"]) for row in counted}
    return IngestSummary(
        dataset=step.target,
        reader=step.module.CARD.name,
        variant=variant,
        samples=assembled.count,
        splits=splits,
        sources=sources,
        rejects=dict(sorted(refused.items())),
        layers=tuple(layers),
        warnings=(*step.distribution.warnings, *unlike, *order),
        annotations=len(step.distribution.annotations),
        opened=_opened(step.distribution),
    )


def _opened(distribution: Distribution) -> int:
    """Annotation files that were opened in this ingest."""
    return len(distribution.folder.memo.opened.intersection(distribution.annotations))


def _own_options(card: Card, distribution: Distribution) -> list[str]:
    inside = [option.name for option in card.options if not option.is_path]
    return [f"--{name} {distribution.folder.options[name]}" for name in inside if distribution.folder.options[name]]


def _command(dataset: str, target: str, card: Card, distribution: Distribution) -> str:
    named = [f"--name {target}"] if target != dataset else []
    return " ".join(["affect ingest", dataset, *named, *_own_options(card, distribution)])


def _told(blocks: Iterator[Block], tell: Progress) -> Iterator[Block]:
    done = 0
    for block in blocks:
        done += block.samples.num_rows
        tell("reading annotations", done, 0)
        yield block


def _silent(step: str, done: int, total: int) -> None:
    """Tell nobody."""
