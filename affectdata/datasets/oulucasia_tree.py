"""Folders of Oulu-CASIA: which package, camera, light, person and emotion each is, by the names above it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from affectdata.datasets.reading import Folder, Reject
from manifests.errors import DatasetError

FOLDERS = {name.lower(): name for name in ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")}
"""Emotion folders [verified 5]; any other folder below a subject is refused."""

_MODALITIES = {"ni": "NI", "nir": "NI", "ni_acropped": "NI", "vl": "VL", "vis": "VL", "vl_acropped": "VL"}
_LIGHTS = {"strong": "Strong", "weak": "Weak", "dark": "Dark"}
_PACKAGES = {"original": "original", "preprocess": "preprocessed", "croppedfaces": "preprocessed",
             "_acropped": "preprocessed"}  # fmt: skip
"""What a folder above holds in its name -> package."""

_SEQUENCES = 480
"""Sequences per camera and light: 80 people x 6 expressions [verified 3]."""

PLACE = re.compile(r"(?:(?P<above>.*)/)?(?P<subject>P[0-9]{3})/(?P<name>[^/]+)", re.I)
NAME = re.compile(r"([0-9]{3})\.jpe?g", re.I)
_VIDEOS = re.compile(r"(.*/)?(NIR?|VL|VIS)[^/]*/(Strong|Weak|Dark)/P[0-9]{3}(/[^/]+)?", re.I)
PICTURES = (".jpeg", ".jpg", ".png", ".bmp")


@dataclass(frozen=True)
class Sequence:
    """One emotion folder; None where neither its path nor an option says."""

    place: str
    package: str | None
    modality: str | None
    light: str | None
    subject: str
    name: str

    @property
    def id(self) -> str:
        """`original/VL/Strong/P001/Anger`, with `unknown` for what nothing says."""
        return "/".join(
            part or "unknown" for part in (self.package, self.modality, self.light, self.subject, self.name)
        )


def sequence_of(folder: Folder, path: str, match: re.Match[str]) -> Sequence | None:
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
    name = FOLDERS.get(match["name"].lower(), match["name"])
    return Sequence(path, package, modality, light, match["subject"].upper(), name)


def check_once(folder: Folder, sequences: Iterable[Sequence]) -> None:
    """Raise `DatasetError` where two folders hold the same sequence."""
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


def count_warnings(sequences: Iterable[Sequence]) -> Iterator[str]:
    """Counts other than the published ones, missing emotion folders, and what the paths do not say."""
    people: dict[tuple[str | None, str | None], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for sequence in sequences:
        if sequence.name.lower() in FOLDERS:
            people[sequence.modality, sequence.light][sequence.subject].add(sequence.name)
    for (modality, light), names in people.items():
        about = f"{modality or 'unknown camera'}, {light or 'unknown light'}"
        if (count := sum(map(len, names.values()))) != _SEQUENCES:
            yield f"{about}: {count} of {_SEQUENCES} sequences (verified 3)"
        absent = [f"{who}/{name}" for who, had in sorted(names.items()) for name in FOLDERS.values() if name not in had]
        if absent:
            more = ", ..." if len(absent) > 5 else ""
            yield f"{about}: {len(absent)} emotion folders without a picture: {', '.join(absent[:5])}{more}"
        if modality is None or light is None:
            yield f"{about}: the path does not say; add --modality and --light to put it on record"


def refuse_videos(folder: Folder) -> None:
    """Raise for package A; return for anything else."""
    for path in folder.files.tree():
        if _VIDEOS.fullmatch(path) and folder.files.names(path, "*.avi"):
            raise DatasetError(
                f"{folder.root} holds package A of Oulu-CASIA (videos), which is not read",
                found=f"unsupported-variant: {path}/*.avi",
                expected="package B or C: [NI|VL]/[Strong|Weak|Dark]/P001/Anger/000.jpeg",
                then="get package B (OriginalImg) or C (PreProcess_Img) from the maintainers",
            )


def numbered(folder: Folder, place: str, reject: Reject) -> list[tuple[int, str]]:
    """Numbers and names of the pictures of one sequence."""
    found = []
    for file in folder.files.names(place):
        if match := NAME.fullmatch(file):
            found.append((int(match[1]), file))
        elif file.lower().endswith(PICTURES) and not file.startswith("."):
            reject(f"{place}/{file}", "bad-name", "expected 000.jpeg")
    return sorted(found)
