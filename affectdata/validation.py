"""Is this copy of a dataset whole? Counts against those published, labels against media, and media against decoding.

Reads as `ingest` does and publishes nothing.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.archives import READABLE, ROW
from affectdata.assembly import Assembled, assemble
from affectdata.datasets import reader, registry
from affectdata.datasets.card import Card
from affectdata.datasets.reading import Distribution
from affectdata.datasets.recognise import recognise
from affectdata.ingest import listing_rejects
from affectdata.ingest_summary import count_source, count_splits, is_comparable, read_counts
from affectdata.media import PICTURE_SUFFIXES, VIDEO_SUFFIXES, decode
from manifests.errors import DatasetError, LakeError, MediaError
from manifests.lake import Lake

OK, DIFFERS, UNSURE, SKIPPED, NOTE = "ok", "differs", "unsure", "not comparable", "note"
SAMPLED = 200
"""Pictures that are decoded where not all are asked for."""

Progress = Callable[[str, int, int], None]

_MISSING = ("missing-image", "missing-video", "missing-frame")
_BATCH, _SHOWN = 64, 3
_UNSURE = re.compile(r"\b(unverified|rounded|about)\b")
"""Words of a confidence tag with which no copy can be held to the number."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    UNSURE is a count that differs from a published one which is rounded or which nobody could confirm; NOTE is for
    people to judge.

    Args:
        about: What was counted.
        found: How many.
        published: How many there should be; None where nobody says.
        sure: How sure the published number is.
        verdict: One of OK, DIFFERS, UNSURE, SKIPPED, NOTE.
        detail: Examples, or why.
    """

    about: str
    found: int | None
    published: int | None
    sure: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True)
class Validation:
    """All checks of one copy of a dataset."""

    dataset: str
    place: Path
    variant: str
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]

    @property
    def differing(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict == DIFFERS)

    @property
    def verdict(self) -> str:
        """All in one line."""
        where, failed = f"{self.dataset} at {self.place}", self.differing
        if not failed:
            return f"{where}: sound, {len(self.checks)} checks"
        return f"{where}: {len(failed)} of {len(self.checks)} checks differ: {_some([x.about for x in failed])}"


def validate(
    dataset: str,
    place: Path,
    *,
    options: Mapping[str, str] | None = None,
    every: bool = False,
    progress: Progress | None = None,
) -> Validation:
    """Check a copy of a dataset without writing anything.

    Args:
        dataset: Name of the reader.
        place: Its folder or archive.
        options: The reader's options.
        every: Decode every picture and frame instead of `SAMPLED` of them.
        progress: Told how far each step is.

    Raises:
        DatasetError: The folder holds something else, or nothing.
        UnknownNameError: No such dataset or option.
    """
    module, tell = reader(dataset), progress or _silent
    found = recognise(module, place, options, lambda count: tell("listing files", count, 0))
    reject = listing_rejects(found)
    assembled = assemble(dataset, module.read(found, reject), found.folder.files, reject)
    rejects = reject.table(module.CARD.expected_rejects, assembled.items)
    expected = {row.reason: row.share for row in module.CARD.expected_rejects}
    checks = [
        *_count_checks(module.CARD, found.variant, assembled),
        *_reject_checks(rejects),
        _extra_files(found, assembled),
        _decoding(found, assembled, every, expected.get("undecodable-image", 0), tell),
    ]
    return Validation(dataset, place, found.variant, tuple(checks), found.warnings)


def known_copy(lake: Lake, name: str) -> tuple[str, list[Path], dict[str, str]]:
    """How a dataset of a lake was read: its reader, where it may lie (the likely place first), and the options.

    Raises:
        LakeError: The lake does not hold it.
    """
    root, facts = lake.root(name), lake.layer(name, "samples").facts
    files = pc.unique(lake.read(name, "samples", ["path"]).column("path")).to_pylist()
    alone = [root / str(file) for file in files] if len(files) == 1 else []
    words = [part.split(" ", 1) for part in f" {facts.command}".split(" --")[1:]]
    options = {part[0]: part[1] for part in words if len(part) == 2 and part[0] != "name"}
    archives = [file for file in alone if file.suffix.lower() in READABLE]
    return facts.extra.get("reader", name), [*archives, root], options


def validate_known(
    lake: Lake, name: str, *, options: Mapping[str, str], every: bool = False, progress: Progress | None = None
) -> Validation:
    """Check the copy that a dataset of the lake was read from; see `validate`."""
    if name not in lake.datasets():
        module = reader(name)  # a name that nobody knows is told first
        raise LakeError(f"dataset {name} is not in the lake", then=f"affect validate {module.CARD.name} PATH")
    dataset, places, chosen = known_copy(lake, name)
    if dataset not in registry():
        raise DatasetError(f"no reader {dataset} made {name}", then=f"affect validate DATASET {places[-1]}")
    for place in places:
        try:
            return validate(dataset, place, options={**chosen, **options}, every=every, progress=progress)
        except DatasetError:
            if place == places[-1]:
                raise
    raise DatasetError(f"{name} lies nowhere")


def _count_checks(card: Card, variant: str, assembled: Assembled) -> Iterator[Check]:
    splits = count_splits(assembled.samples("split"))
    sources = {source: count_source(assembled.labels(source, "split")) for source in assembled.sources}
    yield Check("samples", assembled.count, None, "", NOTE, ", ".join(f"{s} {n:,}" for s, n in splits.items()))
    gaps = any(row.reason in _MISSING for row in card.expected_rejects)
    for entry in card.published:
        column = entry.column if entry.column != "expression" and entry.source != "samples" else ""
        about = " ".join(filter(None, (entry.source, column, entry.split)))
        if not is_comparable(entry, variant, splits, sources):
            total = entry.counts.get("", sum(entry.counts.values()))
            why = f"of {', '.join(entry.variants)}" if entry.variants else "this copy lacks the split or the labels"
            yield Check(about, None, total, entry.sure, SKIPPED, why)
            continue
        read = read_counts(entry, assembled.count, splits, sources)
        for name, wanted in entry.counts.items():
            got = read.get(name, 0)
            # Of a dataset that is known to lose pictures, fewer than published is no defect of the copy.
            unlike = UNSURE if _UNSURE.search(entry.sure) or (gaps and got < wanted) else DIFFERS
            yield Check(f"{about} {name}".rstrip(), got, wanted, entry.sure, OK if entry.fits(name, got) else unlike)


def _reject_checks(rejects: pa.Table) -> Iterator[Check]:
    missing = 0
    for row in rejects.group_by(["reason", "expected"]).aggregate([([], "count_all")]).sort_by("reason").to_pylist():
        reason, count, expected = row["reason"], row["count_all"], row["expected"]
        of = rejects.filter(pc.equal(rejects.column("reason"), reason)).slice(0, _SHOWN)
        places = [" ".join(filter(None, (r["where"], r["detail"]))) for r in of.to_pylist()]
        what = "labels without media" if reason in _MISSING else "rejected"
        missing += count if reason in _MISSING else 0
        detail = ("expected of this dataset; " if expected else "") + _some(places, count)
        yield Check(f"{what}: {reason}", count, None, "", OK if expected else DIFFERS, detail)
    if not missing:
        yield Check("labels without media", 0, None, "", OK)


def _extra_files(found: Distribution, assembled: Assembled) -> Check:
    """Pictures and videos that no sample names: often another form of the same pictures, so only a note."""
    places: set[tuple[str, str | None]] = set()
    for table in assembled.samples("path", "member"):
        places.update(_rows(table, "path", "member"))
    # Rows of a table that holds pixels name the table by its path, or by the part of `member` before the row.
    named = {path for path, _ in places}
    places |= {(path, member.partition(ROW)[0]) for path, member in places if member is not None}
    files, annotations, extra = found.folder.files, frozenset(found.annotations), []
    for path in files.media():
        if Path(path).suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES and path not in annotations:
            origin = files.origin(path)
            if not (path in named if origin is None else origin in places):
                extra.append(path)
    return Check("media that no sample names", len(extra), None, "", NOTE if extra else OK, _some(extra))


def _decoding(found: Distribution, assembled: Assembled, every: bool, expected: float, tell: Progress) -> Check:
    batches = _batches(assembled) if every else _sampled(assembled)
    total, done, bad = sum(map(len, batches)), 0, Counter[str]()
    examples: list[str] = []
    root = found.folder.root
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        for count, failed in threads.map(lambda batch: _tried(root, batch), batches):
            done += count
            bad.update(error.reason for error in failed)
            examples += [str(error) for error in failed[: _SHOWN - len(examples)]]
            tell("decoding", done, total)
    about = "unreadable media" if every else f"unreadable media, {total:,} tried (--decode tries all)"
    wrong = bad.total() > expected * total
    return Check(about, bad.total(), None, "", DIFFERS if wrong else OK, _some(examples, bad.total()))


Place = tuple[str, str | None, int | None]


def _tried(root: Path, batch: Sequence[Place]) -> tuple[int, list[MediaError]]:
    failed = []
    for path, member, frame in batch:
        try:
            decode(root, path, member, frame)
        except MediaError as error:
            failed.append(error)
    return len(batch), failed


def _places(assembled: Assembled) -> Iterator[Place]:
    for table in assembled.samples("path", "member", "frame"):
        yield from (row for row in _rows(table, "path", "member", "frame") if row[0] is not None)


def _batches(assembled: Assembled) -> list[list[Place]]:
    """All media, pictures by the batch; frames of one video stay together in order, each then decoded once."""
    videos: dict[tuple[str, str | None], list[Place]] = {}
    pictures: list[Place] = []
    for place in _places(assembled):
        if place[2] is None:
            pictures.append(place)
        else:
            videos.setdefault(place[:2], []).append(place)
    in_order = [sorted(frames, key=lambda place: place[2] or 0) for frames in videos.values()]
    return [pictures[at : at + _BATCH] for at in range(0, len(pictures), _BATCH)] + in_order


def _sampled(assembled: Assembled) -> list[list[Place]]:
    """Media at even distances; of a video the first frame that is labelled, which needs least decoding."""
    first: dict[tuple[str, str | None, int | None], Place] = {}
    chosen: list[Place] = []
    for place in _places(assembled):
        if place[2] is None:
            chosen.append(place)
        else:
            first.setdefault((place[0], place[1], None), place)
    chosen += first.values()
    count = min(SAMPLED, len(chosen))
    return [[chosen[len(chosen) * n // count]] for n in range(count)]


def _rows(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    nothing = [None] * table.num_rows
    columns = [table.column(n).to_pylist() if n in table.column_names else nothing for n in names]
    return zip(*columns, strict=True)


def _some(items: Sequence[str], total: int | None = None) -> str:
    left = (len(items) if total is None else total) - min(len(items), _SHOWN)
    return "; ".join(items[:_SHOWN]) + (f"; and {left:,} more" if left > 0 else "")


def _silent(step: str, done: int, total: int) -> None:
    """Tell nobody."""
