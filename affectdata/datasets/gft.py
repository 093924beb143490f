"""GFT (Sayette Group Formation Task): AU occurrence and intensity by frame, of people who talk in threes.

How to get it: annotations under CC-BY from osf.io/7wcyz; videos on request from the University of Pittsburgh. Facts:
datasets/gft.md.

EXPERIMENTAL: nobody could show a file of it. What is read here is the page's description: one CSV per participant and
coding kind, the frame number first, then one column per AU. Whatever departs from that is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published
from affectdata.datasets.gft_codes import Coded, looks_right, read_file, whole_number
from affectdata.datasets.reading import Block, Distribution, Folder, Reject
from affectdata.datasets.text import lines
from manifests.errors import DatasetError
from manifests.vocabulary import au_column

KINDS = {"occurrence": ("occ", "occurrence"), "intensity": ("int", "intensity")}
"""Coding kind -> words in a path that name it."""

_VIDEOS = (".mp4", ".avi", ".mov", ".wmv", ".mpg", ".mkv")
_PERSON = re.compile(r"(?<![A-Za-z0-9])([0-9]{3})([A-Z])(?![A-Za-z0-9])")

CARD = Card(
    name="gft",
    title="GFT (Sayette Group Formation Task)",
    about="EXPERIMENTAL, layout not verified: 96 people in 32 groups of three, 1,800 frames each, AU occurrence and, "
    "for some AUs, intensity",
    tasks=("au", "au_intensity"),
    labellings=(
        Labelling(
            "human",
            unit={"au": "frame", "au_intensity": "frame"},
            rule="manual FACS coding by frame; empty, NaN, 9 and -999 are unknown",
        ),
    ),
    protocols=(
        ProtocolCard(
            "subjects",
            ("human",),
            ("subject", "group"),
            "your --test-subjects score, all others train; the lists of the official 78 / 18 split are not published",
        ),
    ),
    licence="annotations CC-BY 4.0; videos on request",
    citation="Girard, Chu, Jeni, Cohn, De la Torre, Sayette, Sayette Group Formation Task (GFT) Spontaneous Facial "
    "Expression Database, FG 2017, 581-588",
    homepage="https://osf.io/7wcyz",
    access=("download the frame-level annotations from osf.io/7wcyz", "ask the University of Pittsburgh for videos"),
    looked_for=("CSVs named by participant (001A) and coding kind (occ, int), with a frame number and AU columns",),
    tree="""[unverified; anything like it is read]
occurrence/001A.csv  or  001A_occ.csv
intensity/001A.csv   or  001A_int.csv
videos, optional and anywhere: 001A.mp4""",
    published=(Published("", {"": 172_800}, sure="verified 3"),),
    subject_key="the name 001A: group number and seat letter [one source]",
    group_key="the group number: the three of a group meet on camera",
    sentinels={"AU": "empty, NaN, 9, -999 [unverified]"},
    options=(
        Option("coding", "kind of the files whose path does not name it", "", ("", *KINDS)),
        Option("columns", "AU numbers of the columns after the frame, such as 1,2,4,6: for files without a header"),
        Option("video-start", "0-based frame of the videos that annotation frame 1 is; without it, labels alone"),
        Option("test-subjects", "text file with one participant (001A) a line: they score, all others train",
               is_path=True),
    ),
    unverified=(
        "file and folder names, delimiter, header, missing codes",
        "which AUs are coded: 14 in one source, 10 in another; the file decides",
        "which frame of the video is annotation frame 1 (--video-start)",
        "78 train and 18 test participants; the lists",
    ),
)  # fmt: skip


def find(folder: Folder) -> Distribution | None:
    """CSVs whose names hold a participant and whose first line holds AUs, or numbers alone."""
    paths = [p for depth in ("", "*/", "*/*/") for p in folder.files.find(f"{depth}*.csv")]
    named = [path for path in paths if _PERSON.search(_name(path)) and looks_right(folder, path)]
    if not named:
        return None
    folders = {path.rpartition("/")[0] for path in named}
    odd = [path for path in paths if path not in named and path.rpartition("/")[0] in folders]
    parts = {kind: tuple(p for p in named if _kind(p, folder.options["coding"]) == kind) for kind in KINDS}
    _refuse_doubles([path for path in named if not _told(path)], folder.options["coding"])
    warnings = ["experimental: nobody could verify GFT's layout; compare some frames with the files before use"]
    videos = [p for p in folder.files if p.lower().endswith(_VIDEOS) and _PERSON.search(_name(p))]
    if videos and not folder.options["video-start"]:
        warnings.append("videos are left out: --video-start N says which of their frames is annotation frame 1")
    tested = ""
    if path := folder.options["test-subjects"]:
        tested = _test_subjects(path, {_person(p) for p in named})
    else:
        warnings.append("no split: the official lists are not published; --test-subjects FILE makes one")
    both = " and ".join(kind for kind, files in parts.items() if files)
    facts = parts | {"odd": tuple(odd), "videos": tuple(videos)}
    return Distribution(folder, f"{both} by participant", tuple(named), facts, tuple(warnings), settings=tested)


def read(distribution: Distribution, reject: Reject) -> Iterator[Block]:
    """One Block per participant."""
    folder, parts = distribution.folder, distribution.parts
    reject.many(parts["odd"], "bad-name", ("no participant such as 001A, or no AU table" for _ in parts["odd"]))
    files: dict[str, dict[str, str]] = {}
    for kind in KINDS:
        for path in parts[kind]:
            first = files.setdefault(_person(path), {}).setdefault(kind, path)
            if first != path:
                reject(path, "duplicate-key", f"{first} is read for {kind} of {_person(path)}")
    videos = _videos(parts["videos"]) if folder.options["video-start"] else {}
    tested = distribution.settings.split()
    for person, by_kind in sorted(files.items()):
        coded = {kind: read_file(folder, path, kind, reject) for kind, path in by_kind.items()}
        frames = np.unique(np.concatenate([frames for frames, _ in coded.values()]))
        role = ("test" if person in tested else "train") if tested else None
        roles = {"subjects": pa.array([role] * len(frames), pa.string())} if tested else {}
        samples = _samples(person, frames, videos.get(person), folder.options["video-start"])
        yield Block(samples, {"human": _labels(frames, coded)}, roles)


def _samples(person: str, frames: NDArray[np.int64], video: str | None, start: str) -> pa.Table:
    count = len(frames)
    columns = {
        "sample_id": pa.array([f"{person}/{frame:04d}" for frame in frames.tolist()], pa.string()),
        "sequence_id": pa.array([person] * count, pa.string()),
        "subject_id": pa.array([person] * count, pa.string()),
        "group_id": pa.array([f"gft:{person[:3]}"] * count, pa.string()),
        "frame_index": pa.array(frames, pa.int32()),
    }
    if video is not None:
        columns["path"] = pa.array([video] * count, pa.string())
        columns["frame"] = pa.array(frames - 1 + whole_number("video-start", start), pa.int32())
    return pa.table(columns)


def _labels(frames: NDArray[np.int64], coded: Mapping[str, Coded]) -> pa.Table:
    columns = {}
    for kind, (there, aus) in coded.items():
        at = np.searchsorted(frames, there)
        for au, codes in aus.items():
            values = np.full(len(frames), np.nan)
            values[at] = codes
            name = au_column(au) if kind == "occurrence" else au_column(au, "intensity")
            known = pa.array(values, mask=np.isnan(values))
            columns[name] = known.cast(pa.int8() if kind == "occurrence" else pa.float32())
    return pa.table(columns)


def _kind(path: str, wanted: str) -> str:
    found = _told(path)
    if len(found) == 1 or (wanted and not found):
        return found[0] if found else wanted
    raise DatasetError(
        f"the path of {path} does not tell its coding kind (ambiguous-variant)",
        found=" and ".join(found) or "neither occ nor int",
        expected="a folder or name with one of the words "
        + ", ".join(word for names in KINDS.values() for word in names),
        then="add --coding occurrence or --coding intensity for files that do not say it",
    )


def _told(path: str) -> list[str]:
    """The coding kinds that a path names."""
    words = set(re.split("[^a-z]+", path.lower()))
    return [kind for kind, names in KINDS.items() if words & set(names)]


def _refuse_doubles(paths: Sequence[str], coding: str) -> None:
    """Raise where `--coding` would make two tables of one participant the same kind: one of them is another."""
    first: dict[str, str] = {}
    for path in paths:
        if first.setdefault(_person(path), path) != path:
            raise DatasetError(
                f"--coding {coding} would read two tables of {_person(path)} as {coding} (ambiguous-variant)",
                found=f"{first[_person(path)]}, {path}",
                expected="one kind of table without a word for its kind in its path",
                then="rename the folders to occurrence and intensity",
            )


def _test_subjects(path: str, there: set[str]) -> str:
    """The participants that score, from the user's file."""
    try:
        listed = {line.strip() for _, line in lines(Path(path).expanduser().read_bytes())}
    except OSError as error:
        raise DatasetError(f"--test-subjects {path}", found=str(error), expected="a text file") from None
    if unknown := sorted(listed - there):
        raise DatasetError(f"--test-subjects {path} names participants that are not there",
                           found=", ".join(unknown)[:200], expected=", ".join(sorted(there))[:200])  # fmt: skip
    if torn := sorted({p[:3] for p in listed} & {p[:3] for p in there - listed}):
        raise DatasetError(
            f"--test-subjects {path} parts the members of a group (split-leak)",
            found=f"groups {', '.join(torn)[:200]}",
            expected="a group's three members together: they meet on camera",
        )
    return " ".join(sorted(listed))


def _videos(paths: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        if found.setdefault(_person(path), path) != path:
            raise DatasetError(
                f"two videos of {_person(path)} (ambiguous-variant)",
                found=f"{found[_person(path)]}, {path}",
                expected="one; move the other elsewhere",
            )
    return found


def _person(path: str) -> str:
    match = _PERSON.search(_name(path))
    return "".join(match.groups()) if match else ""


def _name(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
