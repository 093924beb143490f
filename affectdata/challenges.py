"""Challenge files: predictions of test frames in the lines that organisers ask for (datasets/affwild2.md).

The organisers' list of a task has a header and one line per frame that is expected. A submission is the same header and
frames, in the same order, with a prediction behind each. Frames without a prediction (no face was found, or no picture
exists) take that of the frame before them in their track, as F3R's release does; those at the start of a track, of
which nothing is published, take the first one that follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.affwild2_files import CLASSES
from manifests.errors import ChallengeError, StorageError, UnknownNameError
from manifests.vocabulary import AU_SPACES

_EXPRESSION = "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
_VA = "image_location,valence,arousal"
_AU = "image_location,AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
_MULTI = "image,valence,arousal,expression,aus"


@dataclass(frozen=True)
class Challenge:
    """One task of one edition.

    Attributes:
        tasks: What every line holds, in order.
        header: First line of the organisers' list, and of a submission.
        sure: How sure the header is.
    """

    tasks: tuple[str, ...]
    header: str
    sure: str


_SINGLE = {"expr": (("expression",), _EXPRESSION), "va": (("va",), _VA), "au": (("au",), _AU)}
CHALLENGES = {
    f"{edition}-{task}": Challenge(tasks, header, sure)
    for edition, sure in (("abaw5", "one source"), ("abaw6", "verified 3"), ("abaw8", "verified 3, as abaw6"))
    for task, (tasks, header) in _SINGLE.items()
} | {
    f"{edition}-mtl": Challenge(("va", "expression", "au"), _MULTI, sure)
    for edition, sure in (("abaw3", "verified 2"), ("abaw4", "verified 4"), ("abaw7", "assumed [one source]"))
}
"""Challenges whose lists are known well enough to be answered."""

CLASS_ORDER = CLASSES
"""Expression classes by their code in these files."""
AUS = AU_SPACES["affwild2_12"]
"""AUs in their order in these files."""


@dataclass(frozen=True)
class Answers:
    """Predictions of frames, by their name in the organisers' list (`<track>/<5 digits>.jpg`).

    Attributes:
        frames: Name -> row.
        va: float [N, 2], or None.
        expression: int [N], codes of `CLASS_ORDER`, or None.
        au: bool [N, 12], in the order of `AUS`, or None.
    """

    frames: Mapping[str, int]
    va: NDArray[np.float32] | None = None
    expression: NDArray[np.int64] | None = None
    au: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Submission:
    """What was written.

    Attributes:
        lines: Frames, which are those of the list.
        filled: Frames that took the prediction of another.
        tracks: Tracks.
    """

    path: Path
    lines: int
    filled: int
    tracks: int


def challenge(name: str) -> Challenge:
    """The challenge of that name.

    Raises:
        UnknownNameError: None has it, or its list is not known.
    """
    if name not in CHALLENGES:
        raise UnknownNameError("challenge", name, CHALLENGES)
    return CHALLENGES[name]


def submit(name: str, test_list: Path, answers: Answers, out: Path) -> Submission:
    """Write the submission of a challenge.

    Args:
        name: One of `CHALLENGES`.
        test_list: The organisers' list of test frames.
        answers: Predictions.
        out: File to write; never the list.

    Raises:
        ChallengeError: The list is of another challenge, a task or a whole track has no prediction, or `out` exists.
        StorageError: It cannot be written.
    """
    wanted = challenge(name)
    header, frames = read_list(test_list)
    if header != wanted.header:
        raise ChallengeError(
            f"{test_list} is not the list of {name}",
            found=f"{header:.120}",
            expected=wanted.header,
            then="choose the list of that task, or another --challenge",
        )
    lacking = [task for task in wanted.tasks if getattr(answers, task) is None]
    if lacking:
        raise ChallengeError(f"{name} asks for {', '.join(lacking)}", found="no such column in the predictions")
    if out.exists():
        raise ChallengeError(f"{out} exists", expected="a new file", then="remove it, or choose another --out")
    rows, filled = _rows(frames, answers.frames)
    lines = (f"{frame},{_line(wanted, answers, row)}" for frame, row in zip(frames, rows.tolist(), strict=True))
    try:
        out.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{out} cannot be written", found=str(error)) from None
    return Submission(out, len(frames), filled, len({_track(frame) for frame in frames}))


def read_list(path: Path) -> tuple[str, list[str]]:
    """Header and frames of an organisers' list. Dummy values behind a frame are left alone.

        image_location,valence,arousal
        14-30-1920x1080/00001.jpg,

    Raises:
        ChallengeError: It cannot be read, or holds no frames.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChallengeError(f"test list {path} cannot be read", found=str(error)) from None
    frames = [line.split(",")[0].strip() for line in lines[1:] if line.strip()]
    if not frames:
        raise ChallengeError(f"test list {path}", found="no frames", expected="a header and one line per frame")
    if len(set(frames)) != len(frames):
        raise ChallengeError(f"test list {path}", found="a frame twice", expected="every frame once")
    return lines[0].strip(), frames


def _rows(frames: Sequence[str], known: Mapping[str, int]) -> tuple[NDArray[np.int64], int]:
    """Row of the prediction of each frame, and how many frames take that of another."""
    by_track: dict[str, list[int]] = {}
    for place, frame in enumerate(frames):
        by_track.setdefault(_track(frame), []).append(place)
    rows = np.array([known.get(frame, -1) for frame in frames], np.int64)
    filled = int((rows < 0).sum())
    empty = [track for track, places in by_track.items() if (rows[places] < 0).all()]
    if empty:
        raise ChallengeError(
            f"{len(empty)} of {len(by_track)} tracks have no prediction at all",
            found=", ".join(empty[:5]),
            expected="at least one frame of each; names such as 14-30-1920x1080/00001.jpg",
            then="affect predict RUN FOLDER, where FOLDER holds the tracks",
        )
    for places in by_track.values():
        at = np.array(sorted(places, key=lambda place: frames[place]))
        there = rows[at] >= 0
        last = np.maximum.accumulate(np.where(there, np.arange(len(at)), -1))
        rows[at] = rows[at[np.where(last < 0, np.argmax(there), last)]]
    return rows, filled


def _track(frame: str) -> str:
    return frame.rpartition("/")[0]


def _line(wanted: Challenge, answers: Answers, row: int) -> str:
    cells: list[str] = []
    for task in wanted.tasks:
        if task == "va" and answers.va is not None:
            cells += [f"{value:.6f}" for value in np.clip(answers.va[row], -1, 1).tolist()]
        elif task == "expression" and answers.expression is not None:
            cells.append(str(int(answers.expression[row])))
        elif answers.au is not None:
            cells += [str(int(value)) for value in answers.au[row].tolist()]
    return ",".join(cells)
