"""Frames of CK+ as rows: their names, what a sequence's emotion says of each, and the folds of the literature."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import pyarrow as pa

FOLD_SUBJECTS = tuple(f"S{number:03d}" for number in (
    5, 10, 11, 14, 22, 26, 28, 29, 32, 34, 35, 37, 42, 44, 45, 46, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
    63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91,
    92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117,
    119, 122, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 147, 148, 149, 151, 154,
    155, 156, 157, 158, 160, 501, 502, 503, 504, 505, 506, 895, 999,
))  # fmt: skip
"""The 118 subjects with an emotion label, ascending; subject n is scored in fold n mod 10 (list of Emotion-FAN)."""

FOLDS = {subject: place % 10 for place, subject in enumerate(FOLD_SUBJECTS)}

TRUTHS = {
    "ten-fold-peak": ("human",),
    "ten-fold-last3": ("derived-last3",),
    "ten-fold-last3-neutral": ("derived-last3", "derived-first-neutral"),
}
"""Protocol -> the layers that it scores against."""

STEM = re.compile(r"(S[0-9]{3})_([0-9]{3})_([0-9]{8})(\.png|_emotion\.txt|_facs\.txt|_landmarks\.txt)", re.I)

Frame = tuple[str, str, int]
"""Subject, sequence, 1-based frame number."""


def frame_of(path: str) -> Frame:
    """The frame that a file name with a `STEM` names."""
    subject, sequence, number = path.rpartition("/")[2].upper().split("_")[:3]
    return subject, sequence, int(number[:8])


def last_three(frames: Iterable[Frame], emotions: dict[Frame, str]) -> dict[Frame, str]:
    """The last three frames of each labelled sequence, counted back from its peak, with its emotion."""
    sequences: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    for frame in frames:
        sequences[frame[:2]].append(frame)
    return {
        frame: name
        for peak, name in emotions.items()
        for frame in [frame for frame in sequences[peak[:2]] if frame <= peak][-3:]
    }


def first_neutral(frames: Iterable[Frame], emotions: dict[Frame, str]) -> dict[Frame, str]:
    """Frame 1 of each labelled sequence, unless it is so short that frame 1 is among its last three."""
    labelled = {peak[:2] for peak in emotions if peak[2] > 3}
    return {frame: "neutral" for frame in frames if frame[2] == 1 and frame[:2] in labelled}


def sample_rows(frames: list[Frame], paths: list[str]) -> pa.Table:
    """Sample columns of some frames."""
    return pa.table({
        "sample_id": [key_of(frame) for frame in frames],
        "path": paths,
        "sequence_id": [f"{subject}/{sequence}" for subject, sequence, _ in frames],
        "frame_index": [number for _, _, number in frames],
        "subject_id": [subject for subject, _, _ in frames],
    })  # fmt: skip


def named(names: dict[Frame, str], frames: list[Frame]) -> pa.Table:
    """The expression column of a layer that knows some of the frames."""
    return pa.table({"expression": pa.array([names.get(frame) for frame in frames], pa.string())})


def ten_folds(scored: dict[str, dict[Frame, str]], names: Iterable[str]) -> dict[str, pa.Table]:
    """Some protocols of `TRUTHS`: every frame that their layers label, in the fold of its subject.

    Args:
        scored: Layer -> the frames that it labels.
        names: Protocols to make; one without a frame is left out.
    """
    tables = {}
    for name in names:
        frames = sorted({frame for source in TRUTHS[name] for frame in scored[source] if frame[0] in FOLDS})
        if frames:
            tables[name] = pa.table({
                "sample_id": [key_of(frame) for frame in frames],
                "task": ["expression"] * len(frames),
                "role": ["test"] * len(frames),
                "fold": pa.array([FOLDS[frame[0]] for frame in frames], pa.int16()),
            })  # fmt: skip
    return tables


def key_of(frame: Frame) -> str:
    """The sample_id of a frame, without the name of the dataset."""
    return f"{frame[0]}/{frame[1]}/{frame[2]:08d}"


def path_of(frame: Frame, top: str) -> str:
    """Where the picture of a frame lies in the official tree, given the folder of the pictures."""
    subject, sequence, number = frame
    return "/".join(filter(None, (top, subject, sequence, f"{subject}_{sequence}_{number:08d}.png")))
