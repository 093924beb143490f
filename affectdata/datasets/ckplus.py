"""CK+ (Extended Cohn-Kanade): posed sequences from neutral to peak, with emotion, FACS and landmarks; and CK+48.

How to get it: sign the agreement of the University of Pittsburgh / CMU; four archives (images, landmarks, FACS labels,
emotion labels) unpack side by side. CK+48 is a community copy of the last three frames. Layout: datasets/ckplus.md.

The emotion of a sequence belongs to its last frame: that frame alone has a `human` label. The other frames are samples
without one; `derived-last3` and `derived-first-neutral` hold what the literature makes of them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.ckplus_files import Facs, emotion_of, facs_of, landmarks_of
from affectdata.datasets.ckplus_folders import read_folders
from affectdata.datasets.ckplus_frames import (
    STEM,
    TRUTHS,
    Frame,
    first_neutral,
    frame_of,
    last_three,
    named,
    path_of,
    sample_rows,
    ten_folds,
)
from affectdata.datasets.reading import Block, Distribution, Folder, Reject, vectors
from affectdata.datasets.text import header
from manifests.errors import DatasetError
from manifests.vocabulary import EXPRESSIONS, au_column

_COUNTS = {"anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28, "surprise": 83}
_CLASSES = {"expression": EXPRESSIONS[:8]}
_UNITS = dict.fromkeys(("expression", "au", "au_intensity"), "frame")
_TEN_FOLD = "ten folds by subject: the labelled subjects in ascending order, every tenth to one fold (Emotion-FAN)"
_OFFICIAL, _CK48 = "official", "ck48"
CARD = Card(
    name="ckplus",
    title="CK+ (Extended Cohn-Kanade)",
    about="593 posed sequences of 123 people from neutral to peak; FACS at the peak, an emotion for 327 of them, 68 "
    "points on every frame",
    tasks=("expression", "au", "au_intensity", "landmarks"),
    labellings=(
        Labelling(
            "human",
            _CLASSES,
            _UNITS,
            "manual, on the peak frame only: the emotion of the sequence, and the AUs that FACS coders listed. Of the "
            "AUs of the face (1-46) those not listed are absent, without an intensity; a listed intensity of 0 is "
            "present with an unknown one",
        ),
        Labelling("auto", {}, {"landmarks": "frame"}, "automatic: 68 points of an active appearance model (AAM)",
                  landmark_base="unknown, not shifted (MATLAB, probably 1)"),
        Labelling("derived-last3", _CLASSES, {"expression": "frame"},
                  "derived: the last three frames of a labelled sequence have its emotion"),
        Labelling("derived-first-neutral", _CLASSES, {"expression": "frame"},
                  "derived: frame 1 of a sequence with an emotion is neutral"),
    ),
    protocols=tuple(
        ProtocolCard(name, truth, ("subject", "sequence"), _TEN_FOLD, ("f1_of_macro_pr",))
        for name, truth in TRUTHS.items()
    ),
    licence="signed agreement (University of Pittsburgh / CMU), non-commercial research; images must not be "
    "redistributed, only listed subjects may be printed",
    citation="Kanade, Cohn, Tian, Comprehensive database for facial expression analysis, FG 2000; Lucey et al., The "
    "Extended Cohn-Kanade Dataset (CK+), CVPRW 2010",
    homepage="University of Pittsburgh and Carnegie Mellon University",
    access=(
        "sign the agreement; you get extended-cohn-kanade-images.zip, Landmarks.zip, FACS_labels.zip, "
        "Emotion_labels.zip",
        "unpack the four side by side",
    ),
    looked_for=("S005/001/S005_001_00000001.png below any folder", "CK+48/<emotion>/S010_004_00000017.png"),
    tree="""cohn-kanade-images/S005/001/S005_001_00000001.png ...
Landmarks/S005/001/S005_001_00000001_landmarks.txt
FACS/S005/001/S005_001_00000011_facs.txt
Emotion/S005/001/S005_001_00000011_emotion.txt        (the folder is empty where there is no label)
or
CK+48/{anger,contempt,disgust,fear,happy,sadness,surprise}/S010_004_00000017.png""",
    published=(
        Published("", _COUNTS | {"": 327}, "human", "ReadMe, counted"),
        Published("", {name: 3 * count for name, count in _COUNTS.items()} | {"": 981}, "derived-last3", "counted"),
        Published("", {"neutral": 327}, "derived-first-neutral", "verified 2"),
    ),
    subject_key="first field of the file name",
    sentinels={"emotion": "no file, or an empty folder", "FACS intensity": "0 (present, intensity not given)"},
    overlaps=("CK+48, ckextended.csv and other copies hold the same pictures",),
    options=(Option("variant", "which copy to read where both lie there", "", (_OFFICIAL, _CK48)),),
    revision=2,
    unverified=(
        "the meaning of FACS intensity 0",
        "base of the landmarks: not shifted",
        "picture size (640 x 490 or 640 x 480), colour of some sequences, time codes in the picture",
        "ckextended.csv: codes and counts; it is refused, because it also names no person",
    ),
)  # fmt: skip

_SEQUENCE = re.compile(r"(.*/)?S[0-9]{3}/[0-9]{3}", re.I)
STEMS = "s[0-9][0-9][0-9]_[0-9][0-9][0-9]_*.png"
_CK48_NAMES = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
_KINDS = {".png": "pictures", "_emotion.txt": "emotions", "_facs.txt": "facs", "_landmarks.txt": "landmarks"}
_IGNORED = (".db", ".ini")


def find(folder: Folder) -> Distribution | None:
    """The official tree or CK+48; where both are there, the option `variant` decides."""
    files = folder.files
    tree = files.tree()
    inner = [path for path in tree if _SEQUENCE.fullmatch(path) and files.names(path)]
    official = inner if any(files.names(path, STEMS) for path in inner) else []
    known = [path for path in tree if path.rpartition("/")[2].lower() in _CK48_NAMES]
    tops = {path.rpartition("/")[0] for path in known if files.names(path, STEMS)}
    classes = [path for top in sorted(tops) for path in files.folders("*", top) if files.names(path, STEMS)]
    found = {name: paths for name, paths in ((_OFFICIAL, official), (_CK48, classes)) if paths}
    if len(found) > 1 and not folder.options["variant"]:
        raise DatasetError(
            f"{folder.root} holds CK+ twice",
            found=f"the official tree ({official[0]} ...) and CK+48 ({classes[0]} ...)",
            expected="one of them: their pictures are the same",
            then=f"add --variant {_OFFICIAL} or --variant {_CK48}",
        )
    variant = folder.options["variant"] or next(iter(found), "")
    if variant not in found:
        _refuse_copies(folder)
        return None
    return _found_official(folder, official) if variant == _OFFICIAL else _found_ck48(folder, classes)


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per subject of the official tree, or one for CK+48."""
    parts = distribution.parts
    if "classes" in parts:
        yield read_folders(distribution.folder, parts["classes"], reject)
        return
    for path in parts["strange"]:
        named = STEM.fullmatch(path.rpartition("/")[2])
        reject(path, "id-mismatch" if named else "bad-name", "expected <subject>_<sequence>_<frame of 8 digits>")
    kinds = {kind: {frame_of(path): path for path in parts[kind]} for kind in _KINDS.values()}
    subjects: dict[str, set[Frame]] = defaultdict(set)
    for paths in kinds.values():
        for frame in paths:
            subjects[frame[0]].add(frame)
    for subject in sorted(subjects):
        yield _read_subject(distribution.folder, sorted(subjects[subject]), kinds, parts["top"][0], reject)


def _found_official(folder: Folder, inner: list[str]) -> Distribution:
    """Every file of the sequence folders, by its kind."""
    parts: dict[str, list[str]] = {kind: [] for kind in (*_KINDS.values(), "strange")}
    seen: dict[tuple[str, Frame], str] = {}
    for path in (f"{place}/{name}" for place in inner for name in folder.files.names(place)):
        name = path.rpartition("/")[2]
        if name.startswith(".") or name.lower().endswith(_IGNORED):
            continue
        match = STEM.fullmatch(name)
        if match is None or path.upper().split("/")[-3:-1] != [match[1].upper(), match[2]]:
            parts["strange"].append(path)
            continue
        kind = _KINDS[match[4].lower()]
        if (twin := seen.setdefault((kind, frame_of(path)), path)) != path:
            raise DatasetError(
                f"{folder.root} holds {kind} of CK+ twice",
                found=f"{twin} and {path}",
                expected="each picture and each label once",
                then="name the folder that holds one copy only",
            )
        parts[kind].append(path)
    absent = [kind for kind in ("emotions", "facs", "landmarks") if not parts[kind]]
    warnings = tuple(f"no {kind}: unpack its archive beside the images" for kind in absent)
    top = "/".join(parts["pictures"][0].split("/")[:-3]) if parts["pictures"] else ""
    labels = tuple(path for kind in ("emotions", "facs", "landmarks") for path in parts[kind])
    named = {kind: tuple(paths) for kind, paths in parts.items()} | {"top": (top,)}
    return Distribution(folder, "official: images, landmarks, FACS, emotions", labels, named, warnings)


def _found_ck48(folder: Folder, classes: list[str]) -> Distribution:
    used = [labelling for labelling in CARD.labellings if labelling.source in ("human", "derived-last3")]
    rule = "repack (third party, class folders); the last of three frames is the peak"
    labellings = tuple(replace(labelling, rule=f"{labelling.rule}; provenance: {rule}") for labelling in used)
    protocols = tuple(protocol for protocol in CARD.protocols if protocol.name != "ten-fold-last3-neutral")
    parts = {"classes": tuple(classes)}
    return Distribution(folder, "CK+48 (third-party copy)", (), parts, (), labellings, protocols)


def _refuse_copies(folder: Folder) -> None:
    """Raise for a copy that is known and not read; return for anything else."""
    tables = [path for depth in ("", "*/", "*/*/") for path in folder.files.find(f"{depth}ck*.csv")]
    for path in tables:
        name = path.rpartition("/")[2].lower()
        if name == "ckplus_labels.csv" or (name == "ckextended.csv" and "pixels" in header(folder.head(path))):
            raise DatasetError(
                f"{path} is a repack of CK+ that is not read",
                found="unsupported-variant: no person is named, and its codes are not confirmed",
                expected=" or ".join(CARD.looked_for),
                then="affect info ckplus; or give a code table of your own: affect ingest table PATH --map MAP.toml",
            )


def _read_subject(
    folder: Folder, frames: list[Frame], kinds: dict[str, dict[Frame, str]], top: str, reject: Reject
) -> Block:
    peaks = _peaks(frames)
    emotions = _emotions(folder, kinds["emotions"], frames, peaks, reject)
    expression: list[str | None] = [emotions.get(frame) for frame in frames]
    coded: dict[int, Facs] = {}
    points = np.full((len(frames), 136), np.nan, np.float32)
    for row, frame in enumerate(frames):
        if (path := kinds["facs"].get(frame)) and _at_peak(frame, peaks, path, reject):
            coded[row] = folder.parsed(path, facs_of, path, reject)
        if path := kinds["landmarks"].get(frame):
            found = folder.parsed(path, landmarks_of, path, reject)
            points[row] = np.nan if found is None else found
    last, first = last_three(frames, emotions), first_neutral(frames, emotions)
    labels = {
        "human": pa.table({"expression": pa.array(expression, pa.string())} | _au_columns(coded, len(frames))),
        "auto": pa.table({"landmarks": vectors(points)}),
        "derived-last3": named(last, frames),
        "derived-first-neutral": named(first, frames),
    }
    paths = [kinds["pictures"].get(frame) or path_of(frame, top) for frame in frames]
    scored = {"human": emotions, "derived-last3": last, "derived-first-neutral": first}
    return Block(sample_rows(frames, paths), labels, ten_folds(scored, TRUTHS))


Peaks = dict[tuple[str, str], int]
"""Person and sequence -> frame number of its peak."""


def _peaks(frames: list[Frame]) -> Peaks:
    """Person and sequence -> number of its last frame, which is the peak."""
    peaks: Peaks = {}
    for person, sequence, number in frames:
        peaks[person, sequence] = max(peaks.get((person, sequence), 0), number)
    return peaks


def _at_peak(frame: Frame, peaks: Peaks, path: str, reject: Reject) -> bool:
    """Whether a file of labels names the last frame of its sequence; another one is refused, not believed."""
    peak = peaks[frame[:2]]
    if frame[2] != peak:
        reject(path, "id-mismatch", f"names frame {frame[2]}, the sequence ends with {peak}")
    return frame[2] == peak


def _emotions(
    folder: Folder, paths: dict[Frame, str], frames: list[Frame], peaks: Peaks, reject: Reject
) -> dict[Frame, str]:
    """Peak frame -> emotion of its sequence. A sequence with two files has none: they name two peaks."""
    found = {}
    there = [frame for frame in frames if frame in paths]
    files = Counter(frame[:2] for frame in there)
    for frame in there:
        path = paths[frame]
        if files[frame[:2]] > 1:
            reject(path, "conflicting-duplicate", f"{files[frame[:2]]} emotion files in one sequence")
        elif not _at_peak(frame, peaks, path, reject):
            continue
        elif name := folder.parsed(path, emotion_of, path, reject):
            found[frame] = name
    return found


def _au_columns(coded: dict[int, Facs], count: int) -> dict[str, pa.Array]:
    occurrence: dict[int, list[int | None]] = defaultdict(lambda: [None] * count)
    intensity: dict[int, list[float | None]] = defaultdict(lambda: [None] * count)
    for row, facs in coded.items():
        for au, present in facs.occurrence().items():
            occurrence[au][row] = present
        for au, value in facs.intensity().items():
            intensity[au][row] = value
    columns = {au_column(au): pa.array(values, pa.int8()) for au, values in occurrence.items()}
    return columns | {au_column(au, "intensity"): pa.array(v, pa.float32()) for au, v in intensity.items()}
