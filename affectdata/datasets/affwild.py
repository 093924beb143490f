"""Aff-Wild (First Affect-in-the-Wild Challenge, 2017): videos with valence and arousal per frame.

How to get it: by e-mail to the maintainers (ibug.doc.ic.ac.uk/resources/first-affect-wild-challenge). Layout:
datasets/affwild.md. Line n of a file is decoded frame n - 1; nothing is shifted, and a label beyond the last frame
of its video shows as `missing-frame` when the frame is decoded. Test videos come without labels, one sample a video.

Boxes and points are not read: their format is unverified. The same videos are in Aff-Wild2 with other annotations.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectdata.datasets.card import Card, ExpectedReject, Labelling, ProtocolCard, Published
from affectdata.datasets.frame_lines import cut_header, frame_lines
from affectdata.datasets.reading import Block, Distribution, Folder, Reject

_ENDS = (".mp4", ".avi")

CARD = Card(
    name="affwild",
    title="Aff-Wild (Affect-in-the-Wild Challenge, CVPRW 2017)",
    about="298 videos in the wild with valence and arousal per frame; labels of 252 are released [unverified]",
    tasks=("va",),
    labellings=(
        Labelling("human", unit={"va": "frame"}, rule="valence and arousal per frame, as released; provenance: manual"),
    ),
    protocols=(
        ProtocolCard("official", ("human",), ("sequence", "group"), "train and test videos; test labels are withheld"),
    ),
    published=(
        Published("test", {"": 46}, "samples", "unverified"),
    ),
    licence="academic non-commercial research, on request",
    citation="Zafeiriou et al., Aff-Wild: Valence and Arousal in-the-wild Challenge, CVPRW 2017; Kollias et al., Deep "
    "Affect Prediction in-the-wild, IJCV 2019",
    homepage="https://ibug.doc.ic.ac.uk/resources/first-affect-wild-challenge",
    access=("ask the maintainers by e-mail", "unpack videos and annotations into one folder"),
    looked_for=("annotations/train/valence/<id>.txt with annotations/train/arousal/<id>.txt",),
    tree="""videos/train/318.mp4                     (.mp4 or .avi; videos/test/ the same)
annotations/train/valence/318.txt        one number a line, no header
annotations/train/arousal/318.txt""",
    group_key="the video, as affwild2:<id>: Aff-Wild2 names the same videos so",
    sentinels={"valence, arousal": "none known [unverified]: what lies outside -1..1 is refused"},
    expected_rejects=(
        ExpectedReject("length-mismatch", 0.001, "the two files of a video may differ in length [verified 2]"),
        ExpectedReject("missing-annotation", 0.001, "a video with one of its two files cannot be read"),
    ),
    overlaps=("Aff-Wild2: videos 102 to 450 are the same; never train on one and test on the other",),
    unverified=(
        "no code for unknown is known: -5 is out of range here",
        "252 train and 46 test videos",
        "bboxes (or bboxs) and landmarks: not read",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """`annotations/train` with a folder per dimension, up to two folders deep, without headers."""
    tops = [
        path.rpartition("/")[0]
        for depth in ("", "*/", "*/*/")
        for path in folder.files.folders(f"{depth}annotations/train/valence")
        if _texts(folder, path)
    ]
    if not tops:
        return None
    top = tops[0]
    both = {side: {_stem(path): path for path in _texts(folder, f"{top}/{side}")} for side in ("valence", "arousal")}
    first = next(iter(both["valence"].values()))
    if cut_header(folder.head(first, 256))[0] == ("valence", "arousal"):
        return None
    above = top.rpartition("annotations/train")[0]
    videos = {split: _videos(folder, f"{above}videos/{split}") for split in ("train", "test")}
    parts = {side: tuple(paths.values()) for side, paths in both.items()} | videos
    files = (*parts["valence"], *parts["arousal"])
    warnings = [] if videos["train"] or videos["test"] else ["no videos/train: every label is without a picture"]
    if len(tops) > 1:
        warnings.append(f"{', '.join(tops[1:])} is not read: {top} is")
    return Distribution(folder, "challenge 2017", files, parts, tuple(warnings))


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per training video in order of id, and one for the test videos."""
    folder, parts = distribution.folder, distribution.parts
    tests = {_stem(path): path for path in parts["test"]}
    if tests:
        yield _unlabelled("test", tests)
    valence, arousal, videos = ({_stem(p): p for p in parts[key]} for key in ("valence", "arousal", "train"))
    for name in sorted(valence.keys() | arousal.keys(), key=lambda name: f"{name}/".encode()):
        if name not in valence or name not in arousal:
            there, absent = ("arousal", "valence") if name in arousal else ("valence", "arousal")
            reject({**valence, **arousal}[name], "missing-annotation", f"{there} without {absent}")
        else:
            video = videos.get(name) or _beside(valence[name], name)
            yield _block(folder, name, video, (valence[name], arousal[name]), reject)
    unnamed = {name: path for name, path in videos.items() if name not in valence and name not in arousal}
    if unnamed:
        yield _unlabelled("train", unnamed)


def _block(folder: Folder, name: str, video: str, files: tuple[str, str], reject: Reject) -> Block:
    # 0.012        one number a line, no header; the files of a video are paired line by line
    # -0.034
    columns = []
    for side, path in zip(("valence", "arousal"), files, strict=True):
        table = folder.parsed(path, frame_lines, (side,), pa.float32(), path, reject)
        values = table.column(0).combine_chunks()
        outside = pc.fill_null(pc.greater(pc.abs(values), 1), False)
        rows = np.flatnonzero(outside.to_numpy(zero_copy_only=False)).tolist()
        reject.many((f"{path} line {row + 1}" for row in rows), "out-of-range", (f"{values[row]}" for row in rows))
        columns.append(pc.if_else(outside, None, values))
    count = min(map(len, columns))
    if len(columns[0]) != len(columns[1]):
        detail = f"{len(columns[0])} lines of valence, {len(columns[1])} of arousal: the first {count} are read"
        reject(files[0], "length-mismatch", detail)
    numbers = pa.array(np.arange(1, count + 1))
    digits = pc.utf8_lpad(pc.cast(numbers, pa.string()), 5, "0")
    samples = pa.table({
        "sample_id": pc.binary_join_element_wise("train", name, digits, "/"),
        "path": pa.repeat(video, count),
        "frame": pa.array(np.arange(count), pa.int32()),
        "frame_index": numbers.cast(pa.int32()),
        "sequence_id": pa.repeat(name, count),
        "group_id": pa.repeat(f"affwild2:{name}", count),
        "split": pa.repeat("train", count),
    })  # fmt: skip
    known = pc.and_(*(pc.is_valid(column.slice(0, count)) for column in columns))
    labels = {
        side: pc.if_else(known, column.slice(0, count), None)
        for side, column in zip(("valence", "arousal"), columns, strict=True)
    }
    return Block(samples, {"human": pa.table(labels)}, {"official": samples.column("split")})


def _unlabelled(split: str, videos: dict[str, str]) -> Block:
    """Videos without labels, each as one sample."""
    names = sorted(videos)
    samples = pa.table({
        "sample_id": [f"{split}/{name}" for name in names],
        "path": [videos[name] for name in names],
        "sequence_id": names,
        "group_id": [f"affwild2:{name}" for name in names],
        "split": pa.repeat(split, len(names)),
    })  # fmt: skip
    return Block(samples, {}, {"official": samples.column("split")})


def _texts(folder: Folder, path: str) -> list[str]:
    return [f"{path}/{name}" for name in folder.files.names(path, "*.txt") if not name.startswith(".")]


def _videos(folder: Folder, path: str) -> tuple[str, ...]:
    names = [name for name in folder.files.names(path) if name.lower().endswith(_ENDS) and not name.startswith(".")]
    chosen = {_stem(name): name for name in sorted(names, reverse=True)}
    return tuple(f"{path}/{chosen[stem]}" for stem in sorted(chosen))


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _beside(annotation: str, name: str) -> str:
    """Where the video of an annotation should lie, that is not there."""
    return f"{annotation.rpartition('annotations/train/')[0]}videos/train/{name}.mp4"
