"""Oulu-CASIA NIR&VIS: 80 people pose six expressions from neutral to apex, under two cameras and three lights.

How to get it: sign the agreement of the University of Oulu (CMVS); of the packages A (videos), B (original pictures)
and C (preprocessed pictures) B or C is read. Layout: datasets/oulucasia.md.

The folder is the label, and it belongs to the whole sequence: every frame carries it with unit `sequence`. Which
frames show it is a rule: `derived-last3` and `derived-first-neutral`. Camera and light are parts of the sample_id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard
from affectdata.datasets.oulucasia_tree import (
    FOLDERS,
    NAME,
    PLACE,
    Sequence,
    check_once,
    count_warnings,
    numbered,
    refuse_videos,
    sequence_of,
)
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from manifests.errors import DatasetError
from manifests.vocabulary import EXPRESSION

CLASSES = ("happiness", "sadness", "surprise", "fear", "disgust", "anger")
_FOLD = "VL/Strong, ten folds by subject: subject i is scored in fold (i - 1) mod 10 [one source]"
_PROTOCOLS = {
    "ten-fold-last3": ("derived-last3",),
    "ten-fold-last3-neutral": ("derived-last3", "derived-first-neutral"),
}
_FRAME = {"expression": "frame"}

CARD = Card(
    name="oulucasia",
    title="Oulu-CASIA NIR&VIS facial expression database",
    about="2,880 posed sequences: 80 people x 6 expressions x near infrared (NI) and visible light (VL) x strong, weak "
    "and dark light",
    tasks=("expression",),
    labellings=(
        Labelling("human", {"expression": CLASSES}, {"expression": "sequence"},
                  "manual: the expression that the person was asked to pose; it holds for the sequence, whose first "
                  "frames are neutral"),
        Labelling("derived-last3", {"expression": CLASSES}, _FRAME,
                  "derived: the last three frames of a sequence show its expression (the apex is last [unverified])"),
        Labelling("derived-first-neutral", {"expression": ("neutral", *CLASSES)}, _FRAME,
                  "derived: frame 000 of a sequence is neutral"),
    ),
    protocols=tuple(
        ProtocolCard(name, truth, ("subject", "sequence"), _FOLD, ("f1_of_macro_pr",))
        for name, truth in _PROTOCOLS.items()
    ),
    licence="signed agreement with the University of Oulu (CMVS), research only",
    citation="Zhao, Huang, Taini, Li, Pietikäinen, Facial expression recognition from near-infrared videos, Image and "
    "Vision Computing 29(9), 607-619, 2011",
    homepage="University of Oulu, Center for Machine Vision and Signal Analysis (CMVS)",
    access=("sign the agreement", "unpack package B (OriginalImg) or C (PreProcess_Img)"),
    looked_for=("[NI|VL]/[Strong|Weak|Dark]/P001/Anger/000.jpeg below any folder",),
    tree="""OriginalImg/{NI,VL}/{Strong,Weak,Dark}/P001/{Anger,Disgust,Fear,Happiness,Sadness,Surprise}/000.jpeg
or
PreProcess_Img/{NI_Acropped,VL_Acropped}/{Strong,Weak,Dark}/P001/Anger/000.jpeg""",
    subject_key="folder P001 ... P080, the same person under both cameras and all lights",
    overlaps=("packages B and C show the same frames",),
    options=(
        Option("package", "read this package only; also stands where the path does not say", "",
               ("original", "preprocessed")),
        Option("modality", "read this camera only; also stands where the path does not say", "", ("NI", "VL")),
        Option("light", "read this light only; also stands where the path does not say", "",
               ("Strong", "Weak", "Dark")),
    ),
    revision=2,
    unverified=(
        "the apex is the last frame",
        "P001-P050 Finnish, P051-P080 Chinese: not stored",
        "layout of package A (videos): it is refused",
        "size of the preprocessed pictures; whether their frame lists are shorter than the original ones",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """Emotion folders with numbered pictures, of one package."""
    places = [(path, match) for path in folder.files.tree() if (match := PLACE.fullmatch(path))]
    shown = [(path, match) for path, match in places if any(map(NAME.fullmatch, folder.files.unsorted_names(path)))]
    if not any(match["name"].lower() in FOLDERS for _, match in shown):
        refuse_videos(folder)
        return None
    found = [sequence for path, match in shown if (sequence := sequence_of(folder, path, match))]
    packages = {sequence.package: sequence.place for sequence in found}
    if len(packages) > 1:
        raise DatasetError(
            f"{folder.root} holds more than one package of Oulu-CASIA",
            found=", ".join(f"{name or 'unnamed'} ({place})" for name, place in packages.items()),
            expected="one: their frames are the same, and their numbers may differ",
            then="add --package original or --package preprocessed, or name the folder of one package",
        )
    check_once(folder, found)
    parts = {"places": tuple(path for path, _ in places)}
    variant = f"{next(iter(packages), None) or 'unnamed'} pictures"
    return Distribution(folder, variant, (), parts, tuple(count_warnings(found)))


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per subject, camera and light."""
    folder = distribution.folder
    people: dict[str, list[Sequence]] = defaultdict(list)
    for path in distribution.parts["places"]:
        match = PLACE.fullmatch(path)
        sequence = sequence_of(folder, path, match) if match else None
        if sequence is None:
            continue
        if sequence.name.lower() in FOLDERS:
            people[path.rpartition("/")[0]].append(sequence)
        elif shown := [name for name in folder.files.names(path) if NAME.fullmatch(name)]:
            reject(path, "unknown-class-folder", f"{len(shown)} pictures")
    for sequences in people.values():
        yield _read_person(folder, sequences, reject)


@dataclass(frozen=True)
class _Frame:
    """One picture, and what the sequence's label says of it by rule."""

    key: str
    path: str
    sequence: Sequence
    number: int
    label: str
    last: str | None
    first: str | None


def _read_person(folder: Folder, sequences: list[Sequence], reject: Reject) -> Block:
    # OriginalImg/VL/Strong/P012/Anger/017.jpeg        the number is 0-based; Thumbs.db may lie between
    frames = [frame for sequence in sequences for frame in _frames(folder, sequence, reject)]
    samples = pa.table({
        "sample_id": pa.array([frame.key for frame in frames], pa.string()),
        "path": pa.array([frame.path for frame in frames], pa.string()),
        "sequence_id": pa.array([frame.sequence.id for frame in frames], pa.string()),
        "frame_index": pa.array([frame.number for frame in frames], pa.int32()),
        "subject_id": pa.array([frame.sequence.subject for frame in frames], pa.string()),
    })  # fmt: skip
    said = {
        "human": [frame.label for frame in frames],
        "derived-last3": [frame.last for frame in frames],
        "derived-first-neutral": [frame.first for frame in frames],
    }
    labels = {source: pa.table({"expression": pa.array(names, pa.string())}) for source, names in said.items()}
    return Block(samples, labels, _ten_folds(frames))


def _frames(folder: Folder, sequence: Sequence, reject: Reject) -> Iterator[_Frame]:
    """The pictures of one sequence, in order."""
    found = numbered(folder, sequence.place, reject)
    last = frozenset(sorted({number for number, _ in found})[-3:])
    label = EXPRESSION.canonical(sequence.name)
    for number, file in found:
        yield _Frame(
            f"{sequence.id}/{number:03d}",
            f"{sequence.place}/{file}",
            sequence,
            number,
            label,
            label if number in last else None,
            "neutral" if number == 0 and number not in last else None,
        )


def _ten_folds(frames: Iterable[_Frame]) -> dict[str, pa.Table]:
    """The frames that each protocol scores, in the fold of their subject."""
    strong = [frame for frame in frames if (frame.sequence.modality, frame.sequence.light) == ("VL", "Strong")]
    scored = {
        "ten-fold-last3": [frame for frame in strong if frame.last],
        "ten-fold-last3-neutral": [frame for frame in strong if frame.last or frame.first],
    }
    return {
        name: pa.table({
            "sample_id": [frame.key for frame in chosen],
            "task": ["expression"] * len(chosen),
            "role": ["test"] * len(chosen),
            "fold": pa.array([(int(frame.sequence.subject[1:]) - 1) % 10 for frame in chosen], pa.int16()),
        })
        for name, chosen in scored.items()
        if chosen
    }  # fmt: skip
