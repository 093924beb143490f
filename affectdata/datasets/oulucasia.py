"""Oulu-CASIA NIR&VIS: 80 people pose six expressions from neutral to apex, under two cameras and three lights.

How to get it: sign the agreement of the University of Oulu (CMVS); of the packages A (videos), B (original pictures)
and C (preprocessed pictures) B or C is read. Layout: datasets/oulucasia.md.

The folder is the label, and it belongs to the whole sequence: every frame carries it with unit `sequence`. Which
frames show it is a rule: `derived-last3` and `derived-first-neutral`. Camera and light are parts of the sample_id.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from manifests.errors import DatasetError
from manifests.vocabulary import EXPRESSION

CLASSES = ("happiness", "sadness", "surprise", "fear", "disgust", "anger")
_FOLDERS = {name.lower(): name for name in ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")}
"""Emotion folders [verified 5]; any other folder below a subject is refused."""

_MODALITIES = {"ni": "NI", "nir": "NI", "ni_acropped": "NI", "vl": "VL", "vis": "VL", "vl_acropped": "VL"}
_LIGHTS = {"strong": "Strong", "weak": "Weak", "dark": "Dark"}
_PACKAGES = {"original": "original", "preprocess": "preprocessed", "croppedfaces": "preprocessed",
             "_acropped": "preprocessed"}  # fmt: skip
"""What a folder above holds in its name -> package."""

_SEQUENCES = 480
"""Sequences per camera and light: 80 people x 6 expressions [verified 3]."""

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
    protocols=tuple(ProtocolCard(name, truth, ("subject", "sequence"), _FOLD) for name, truth in _PROTOCOLS.items()),
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
    unverified=(
        "the apex is the last frame",
        "P001-P050 Finnish, P051-P080 Chinese: not stored",
        "layout of package A (videos): it is refused",
        "size of the preprocessed pictures; whether their frame lists are shorter than the original ones",
    ),
)  # fmt: skip

_PLACE = re.compile(r"(?:(?P<above>.*)/)?(?P<subject>P[0-9]{3})/(?P<name>[^/]+)", re.I)
_NAME = re.compile(r"([0-9]{3})\.jpe?g", re.I)
_VIDEOS = re.compile(r"(.*/)?(NIR?|VL|VIS)[^/]*/(Strong|Weak|Dark)/P[0-9]{3}(/[^/]+)?", re.I)
_PICTURES = (".jpeg", ".jpg", ".png", ".bmp")


@dataclass(frozen=True)
class _Sequence:
    """One emotion folder; None where neither its path nor an option says."""

    place: str
    package: str | None
    modality: str | None
    light: str | None
    subject: str
    name: str

    @property
    def id(self) -> str:
        return "/".join(
            part or "unknown" for part in (self.package, self.modality, self.light, self.subject, self.name)
        )


def find(folder: Folder) -> Distribution | None:
    """Emotion folders with numbered pictures, of one package."""
    places = [(path, match) for path in folder.files.tree() if (match := _PLACE.fullmatch(path))]
    shown = [(path, match) for path, match in places if any(map(_NAME.fullmatch, folder.files.unsorted_names(path)))]
    if not any(match["name"].lower() in _FOLDERS for _, match in shown):
        _refuse_videos(folder)
        return None
    found = [sequence for path, match in shown if (sequence := _sequence(folder, path, match))]
    packages = {sequence.package: sequence.place for sequence in found}
    if len(packages) > 1:
        raise DatasetError(
            f"{folder.root} holds more than one package of Oulu-CASIA",
            found=", ".join(f"{name or 'unnamed'} ({place})" for name, place in packages.items()),
            expected="one: their frames are the same, and their numbers may differ",
            then="add --package original or --package preprocessed, or name the folder of one package",
        )
    _check_once(folder, found)
    parts = {"places": tuple(path for path, _ in places)}
    variant = f"{next(iter(packages), None) or 'unnamed'} pictures"
    return Distribution(folder, variant, (), parts, tuple(_warnings(found)))


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per subject, camera and light."""
    folder = distribution.folder
    people: dict[str, list[_Sequence]] = defaultdict(list)
    for path in distribution.parts["places"]:
        match = _PLACE.fullmatch(path)
        sequence = _sequence(folder, path, match) if match else None
        if sequence is None:
            continue
        if sequence.name.lower() in _FOLDERS:
            people[path.rpartition("/")[0]].append(sequence)
        elif shown := [name for name in folder.files.names(path) if _NAME.fullmatch(name)]:
            reject(path, "unknown-class-folder", f"{len(shown)} pictures")
    for sequences in people.values():
        yield _read_person(folder, sequences, reject)


def _sequence(folder: Folder, path: str, match: re.Match[str]) -> _Sequence | None:
    """What a folder below a subject holds; None where the user asked for others."""
    above = [part.lower() for part in reversed((match["above"] or "").split("/"))]
    named = {
        "package": next((_PACKAGES[key] for part in above for key in _PACKAGES if key in part), None),
        "modality": next((_MODALITIES[part] for part in above if part in _MODALITIES), None),
        "light": next((_LIGHTS[part] for part in above if part in _LIGHTS), None),
    }
    asked = {key: folder.options[key] for key in named}
    if any(asked[key] and named[key] and asked[key] != named[key] for key in named):
        return None
    package, modality, light = (named[key] or asked[key] or None for key in named)
    name = _FOLDERS.get(match["name"].lower(), match["name"])
    return _Sequence(path, package, modality, light, match["subject"].upper(), name)


def _check_once(folder: Folder, sequences: Iterable[_Sequence]) -> None:
    seen: dict[str, str] = {}
    for sequence in sequences:
        if (other := seen.setdefault(sequence.id, sequence.place)) != sequence.place:
            raise DatasetError(
                f"{folder.root} holds {sequence.id} twice",
                found=f"{other} and {sequence.place}",
                expected="each sequence once",
                then="name the folder of one copy; where camera or light are not in the path, ingest each with "
                "--modality, --light and a --name of its own",
            )


def _warnings(sequences: Iterable[_Sequence]) -> Iterator[str]:
    """Counts other than the published ones, missing emotion folders, and what the paths do not say."""
    people: dict[tuple[str | None, str | None], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for sequence in sequences:
        if sequence.name.lower() in _FOLDERS:
            people[sequence.modality, sequence.light][sequence.subject].add(sequence.name)
    for (modality, light), names in people.items():
        about = f"{modality or 'unknown camera'}, {light or 'unknown light'}"
        if (count := sum(map(len, names.values()))) != _SEQUENCES:
            yield f"{about}: {count} of {_SEQUENCES} sequences (verified 3)"
        absent = [
            f"{who}/{name}" for who, had in sorted(names.items()) for name in _FOLDERS.values() if name not in had
        ]
        if absent:
            more = ", ..." if len(absent) > 5 else ""
            yield f"{about}: {len(absent)} emotion folders without a picture: {', '.join(absent[:5])}{more}"
        if modality is None or light is None:
            yield f"{about}: the path does not say; add --modality and --light to put it on record"


def _refuse_videos(folder: Folder) -> None:
    """Raise for package A; return for anything else."""
    for path in folder.files.tree():
        if _VIDEOS.fullmatch(path) and folder.files.names(path, "*.avi"):
            raise DatasetError(
                f"{folder.root} holds package A of Oulu-CASIA (videos), which is not read",
                found=f"unsupported-variant: {path}/*.avi",
                expected=" or ".join(CARD.looked_for),
                then="get package B (OriginalImg) or C (PreProcess_Img) from the maintainers",
            )


@dataclass(frozen=True)
class _Frame:
    """One picture, and what the sequence's label says of it by rule."""

    key: str
    path: str
    sequence: _Sequence
    number: int
    label: str
    last: str | None
    first: str | None


def _read_person(folder: Folder, sequences: list[_Sequence], reject: Reject) -> Block:
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


def _frames(folder: Folder, sequence: _Sequence, reject: Reject) -> Iterator[_Frame]:
    """The pictures of one sequence, in order."""
    found = _numbered(folder, sequence.place, reject)
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


def _numbered(folder: Folder, place: str, reject: Reject) -> list[tuple[int, str]]:
    """Numbers and names of the pictures of one sequence."""
    found = []
    for file in folder.files.names(place):
        if match := _NAME.fullmatch(file):
            found.append((int(match[1]), file))
        elif file.lower().endswith(_PICTURES) and not file.startswith("."):
            reject(f"{place}/{file}", "bad-name", "expected 000.jpeg")
    return sorted(found)


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
