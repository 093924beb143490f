"""Aff-Wild2: videos in the wild with valence-arousal, expression and AUs per frame, in the editions of ABAW.

How to get it: sign the EULA and send it from an academic address (ibug.doc.ic.ac.uk/resources/aff-wild2). An edition
is a set of annotation files over the same videos. Layout: datasets/affwild2.md.

A sample is one frame of one track (one annotated person of a video). Data line k of a file is the picture `%05d.jpg`
of number k, and frame k - 1 of a raw video; nothing is ever shifted. A line without a label and without a picture
says nothing and is no sample; a picture without a line is an unlabelled one. Videos that no file names are not read.
Where a track is in train and validation of one task, its training file is refused and the track is only scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.affwild2_files import CLASSES, Marks, header_of, read_mtl, read_track
from affectdata.datasets.affwild2_tree import (
    EDITIONS,
    MEDIA,
    Places,
    choose,
    editions,
    places,
    test_lists,
    video_of,
)
from affectdata.datasets.card import Card, ExpectedReject, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.frame_lines import cut_header
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from manifests.vocabulary import EXPRESSIONS

_MTL_EDITIONS = ("abaw3", "abaw4", "abaw7", "unknown")
_UNITS = dict.fromkeys(("expression", "va", "au"), "frame")
_RULE = "per frame, by trained annotators; edition {edition}{lists}; provenance: manual"
_SPLITS = (
    "the organisers' train and validation tracks of each task{lists}; a track in both is scored only. The two persons "
    "of one video may lie in different splits, and splits differ between tasks, so a union of tasks leaks"
)


def _labelling(name: str, classes: tuple[str, ...]) -> Labelling:
    edition, _, lists = name.partition("-")
    offered = {"expression": tuple(sorted(classes, key=EXPRESSIONS.index))}
    said = _RULE.format(edition=edition, lists=", from the multi-task lists" if lists else "")
    return Labelling(f"human-{name}", offered, _UNITS, said)


_NAMES = (*EDITIONS, "unknown", *(f"{edition}-mtl" for edition in _MTL_EDITIONS))


def _metrics(protocol: str) -> tuple[str, ...]:
    """What the organisers rank by (metrics.md 5 and 7): ABAW2, and the third challenge on; others are not known.

    The compound expressions of abaw_ce are of other videos (C-EXPR-DB), which no reader knows: labels of one's own.
    """
    if protocol == "abaw2":
        return "abaw2_va", "abaw2_expr", "abaw2_au"
    edition = protocol.removesuffix("-mtl")
    later = ("abaw_va", "abaw_expr", "abaw_au", "abaw_mtl") if edition in EDITIONS[3:] else ()
    return (*later, "abaw_ce") if edition in ("abaw6", "abaw7") else later


CARD = Card(
    name="affwild2",
    title="Aff-Wild2, editions ABAW 1 to 10 and the release before them",
    about="594 annotated persons in about 600 videos in the wild: valence-arousal, 7 or 8 expressions and 8 or 12 AUs "
    "per frame; 2.94 million aligned face pictures",
    tasks=("expression", "va", "au"),
    labellings=tuple(_labelling(n, CLASSES[:7] if n in EDITIONS[:3] else CLASSES) for n in _NAMES),
    protocols=tuple(
        ProtocolCard(name, (f"human-{name}",), ("sequence",), _SPLITS.format(lists=" (lists)" if "mtl" in name else ""),
                     _metrics(name))
        for name in _NAMES
    ),
    published=(
        Published("", {"": 2_941_546}, "samples", "one source", variants=("abaw6, aligned",)),
        Published("", {"": 2_942_996}, "samples", "one source", variants=("abaw6, cropped",)),
    ),
    licence="non-commercial research under a signed EULA [one source]; no redistribution [unverified]",
    citation="Kollias & Zafeiriou, ABAW papers (arXiv 2001.11409, 2106.15318, 2202.10659, 2303.01498, 2402.19344); "
    "Aff-Wild and Aff-Wild2 papers (IJCV 2019; BMVC 2019; CVPRW 2017; arXiv 1811.07770)",
    homepage="https://ibug.doc.ic.ac.uk/resources/aff-wild2",
    access=(
        "sign the EULA of the dataset's page and send it from an academic address",
        "unpack the annotations of one edition, and cropped_aligned, cropped or the videos (batch1, batch2, new)",
    ),
    looked_for=(
        "VA_Estimation_Challenge, EXPR_..._Challenge or AU_Detection_Challenge (older: VA_Set, EXPR_Set, AU_Set) "
        "with Train_Set/<track>.txt and Validation_Set/<track>.txt",
        "training_set_annotations.txt with validation_set_annotations.txt (multi-task)",
    ),
    tree="""6th ABAW Annotations/
  VA_Estimation_Challenge/{Train_Set,Validation_Set}/<track>.txt
  EXPR_Recognition_Challenge/{Train_Set,Validation_Set}/<track>.txt
  AU_Detection_Challenge/{Train_Set,Validation_Set}/<track>.txt
cropped_aligned/<track>/00001.jpg                     (or cropped/, or batch1/ and batch2/ with the videos)""",
    subject_key="the track: one person of one video; another video may show the same person [unverified]",
    group_key="the video, as affwild2:<video id>; Aff-Wild names its videos the same way",
    sentinels={"valence or arousal": "-5 in either: neither is known", "expression": "-1", "each AU": "-1"},
    expected_rejects=(
        ExpectedReject("missing-image", 0.02, "labels of 1.5 to 2 % of the lines have no aligned picture [one source]"),
        ExpectedReject("split-leak", 0.001, "EXPR 122-60-1920x1080-1 is in train and validation [verified 3]"),
        ExpectedReject("test-list", 0.001, "lists of the test set have no labels"),
        ExpectedReject("duplicate-key", 0.001, "multi-task lists repeat pictures [verified 2]"),
    ),
    overlaps=("Aff-Wild: videos 102 to 450 are the same; never train on one and test on the other",),
    options=(
        Option("edition", "which ABAW the annotations belong to, where the tree cannot tell", "", EDITIONS),
        Option("media", "pictures to read; by default the first kind that a track has", "", MEDIA),
    ),
    revision=3,
    unverified=(
        "spelling of -5, blanks and CRLF in lines: all are read",
        "numbers of VA and AU tracks per split",
        "one more line than decoded frames in most videos [verified 2]: such a label is kept with its frame number",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """The annotations of one edition, and whatever pictures lie beside them."""
    found = editions(folder)
    if not found:
        return None
    edition, name, fits = choose(folder, found, folder.options["edition"])
    there = places(folder)
    tracks = {_track(path) for key, paths in edition.files.items() for path in paths if not key.startswith("mtl")}
    warnings = [*_media_warnings(there, tracks, folder.options["media"]), *_split_warnings(edition.files)]
    if not name:
        warnings.append(f"the edition cannot be told ({' or '.join(fits)}): say which with --edition")
    name = name or "unknown"
    header = cut_header(folder.head(edition.first("expression"), 1024))[0] if edition.first("expression") else ()
    classes = tuple(map(str, header_of("expression", header) or CLASSES))
    named: list[tuple[str, tuple[str, ...]]] = (
        [(f"{name}-mtl", CLASSES)] if any(key.startswith("mtl") for key in edition.files) else []
    )
    named += [(name, classes)] if tracks else []
    parts = {key: tuple(sorted(paths)) for key, paths in edition.files.items()}
    media = folder.options["media"] or there.first_kind()
    return Distribution(
        folder,
        f"{name}, {media}",
        tuple(path for paths in parts.values() for path in paths),
        parts | {"test lists": tuple(test_lists(folder))},
        tuple(warnings),
        tuple(_labelling(source, offered) for source, offered in named),
        tuple(protocol for protocol in CARD.protocols if protocol.name in {source for source, _ in named}),
    )


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per track, in order of their sample ids."""
    folder, there = distribution.folder, places(distribution.folder)
    for path in distribution.parts["test lists"]:
        reject(path, "test-list", "no labels")
    tracks = _tracks(distribution, reject)
    lists = _lists(distribution, reject)
    announced = _announced(folder, distribution.parts)
    unnamed = set().union(*there.frames.values()) if folder.options["media"] != "video" else set()
    for name in sorted(tracks.keys() | lists.keys() | unnamed, key=lambda name: f"{name}/".encode()):
        track = tracks.get(name, _Track(name))
        for task, path in sorted(track.files.items()):
            marks = folder.parsed(path, read_track, task, announced[task], path, reject)
            if marks is not None:
                track.marks[task] = marks
        if name in lists:
            track.mtl_role, track.mtl = lists[name]
        block = _block(distribution, there, track)
        if block is not None:
            yield block


@dataclass
class _Track:
    """One annotated person of one video: files and roles by task, and what they say."""

    name: str
    files: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    marks: dict[str, Marks] = field(default_factory=dict)
    mtl: Marks | None = None
    mtl_role: str = ""


def _tracks(distribution: Distribution, reject: Reject) -> dict[str, _Track]:
    """Tracks by name, each file under its task; the training file of a track that is also scored is refused."""
    tracks: dict[str, _Track] = {}
    for key in sorted(distribution.parts, key=lambda key: key.endswith("/train")):
        task, _, split = key.partition("/")
        for path in distribution.parts[key] if task in ("va", "expression", "au") else ():
            track = tracks.setdefault(_track(path), _Track(_track(path)))
            if task in track.files:
                reject(path, "split-leak", f"the track is also in {track.roles[task]}: {track.files[task]}")
            else:
                track.files[task], track.roles[task] = path, split
    return tracks


def _lists(distribution: Distribution, reject: Reject) -> dict[str, tuple[str, Marks]]:
    """Track -> split and listed pictures of the multi-task lists."""
    found: dict[str, tuple[str, Marks]] = {}
    for split in ("val", "train"):
        for path in distribution.parts.get(f"mtl/{split}", ()):
            for track, marks in distribution.folder.parsed(path, read_mtl, path, reject).items():
                if track in found:
                    reject(f"{path} {track}", "split-leak", f"{len(marks.numbers)} lines of a track that is scored")
                else:
                    found[track] = split, marks
    return found


def _announced(folder: Folder, parts: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[object, ...]]:
    """What the first file of each task announces; a file of another edition among them has another header."""
    first = {key.partition("/")[0]: paths[0] for key, paths in sorted(parts.items(), reverse=True) if paths}
    headers = {task: cut_header(folder.head(path, 1024))[0] for task, path in first.items() if task != "test lists"}
    return {task: header_of(task, header) or () for task, header in headers.items()}


def _block(distribution: Distribution, there: Places, track: _Track) -> Block | None:
    """The frames of one track that have a picture or a label."""
    folder = distribution.folder
    kind = there.kind(track.name, folder.options["media"])
    said = [*track.marks.values(), *([track.mtl] if track.mtl else [])]
    if kind == "video":
        numbers = _union([marks.numbers for marks in said])
    else:
        pictures = _pictures(folder, there.frames.get(kind, {}).get(track.name, ""))
        numbers = _union([pictures, *(marks.known for marks in said)])
    if not len(numbers):
        return None
    samples = _samples(there, track, kind or there.first_kind(), numbers)
    edition = {x.source.removeprefix("human-") for x in distribution.labellings}
    labels, roles = {}, {}
    for name in edition:
        if name.endswith("-mtl") and track.mtl:
            labels[f"human-{name}"] = track.mtl.at(numbers)
            listed = np.isin(numbers, track.mtl.numbers)
            roles[name] = pa.table({"all": pa.array(np.full(len(numbers), track.mtl_role), mask=~listed)})
        elif not name.endswith("-mtl") and track.marks:
            columns: dict[str, pa.ChunkedArray] = {}
            for marks in track.marks.values():
                table = marks.at(numbers)
                columns |= dict(zip(table.column_names, table.columns, strict=True))
            labels[f"human-{name}"] = pa.table(columns)
            each = {task: pa.repeat(track.roles[task], len(numbers)) for task in track.marks}
            roles[name] = pa.table(each)
    return Block(samples, labels, roles)


def _samples(there: Places, track: _Track, kind: str, numbers: NDArray[np.int64]) -> pa.Table:
    count, video = len(numbers), video_of(track.name)
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), 5, "0")
    columns: dict[str, pa.Array] = {
        "sample_id": pc.binary_join_element_wise(track.name, digits, "/"),
        "frame_index": pa.array(numbers, pa.int32()),
        "sequence_id": pa.repeat(track.name, count),
        "subject_id": pa.repeat(track.name, count),
        "group_id": pa.repeat(f"affwild2:{video}", count),
    }
    if kind == "video":
        columns["path"] = pa.repeat(there.videos.get(video, f"{video}.mp4"), count)
        columns["frame"] = pa.array(numbers - 1, pa.int32())
    else:
        wanted = there.frames[kind].get(track.name) or _beside(there.frames[kind], track.name)
        columns["path"] = pc.binary_join_element_wise(f"{wanted}/", digits, ".jpg", "")
    splits = {*track.roles.values(), *([track.mtl_role] if track.mtl else [])}
    if len(splits) == 1:
        columns["split"] = pa.repeat(splits.pop(), count)
    return pa.table(columns)


def _pictures(folder: Folder, path: str) -> NDArray[np.int64]:
    """Numbers of the frames in a folder; files named otherwise are not the dataset's."""
    if not path:
        return np.empty(0, dtype=np.int64)
    names = folder.files.paths(path)
    names = names.filter(pc.match_substring_regex(names, r"^[0-9]{5}\.jpg$"))
    numbers: NDArray[np.int64] = pc.cast(pc.utf8_slice_codeunits(names, 0, 5), pa.int64()).to_numpy()
    return np.sort(numbers)


def _beside(folders: Mapping[str, str], track: str) -> str:
    """Where the folder of a track should lie, that is not there."""
    return f"{next(iter(folders.values()), '').rpartition('/')[0]}/{track}".lstrip("/")


def _union(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    if len(parts) == 1 or all(np.array_equal(part, parts[0]) for part in parts[1:]):
        return parts[0] if parts else np.empty(0, dtype=np.int64)
    return np.unique(np.concatenate(parts))


def _track(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0].strip()


def _media_warnings(there: Places, tracks: set[str], asked: str) -> Iterator[str]:
    first = asked or there.first_kind()
    kinds = [there.kind(track, asked) for track in sorted(tracks)]
    others = sum(kind not in (first, "") for kind in kinds)
    if others:
        yield f"{others} tracks have no {first} pictures and are read from other media; --media {first} leaves them out"


def _split_warnings(files: Mapping[str, list[str]]) -> Iterator[str]:
    """Videos and tracks on both sides: within a task (two persons of a video), and between tasks."""
    sides: dict[str, dict[str, set[str]]] = {}
    for key, paths in files.items():
        task, _, split = key.partition("/")
        if task != "mtl":
            sides.setdefault(task, {}).setdefault(split, set()).update(map(_track, paths))
    shared = []
    for task, by_split in sorted(sides.items()):
        train, scored = by_split.get("train", set()), by_split.get("val", set())
        both = sorted({video_of(t) for t in train - scored} & {video_of(t) for t in scored})
        shared += [f"{task} {video}" for video in both]
    if shared:
        yield f"split-leak: one video in train and validation: {', '.join(shared)}; roles stay as released"
    train, scored = (set().union(*(s.get(side, set()) for s in sides.values())) for side in ("train", "val"))
    if len(sides) > 1 and train & scored:
        yield f"{len(train & scored)} tracks train for one task and are scored for another: a union of tasks leaks"
