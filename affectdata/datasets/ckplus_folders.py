"""CK+48: a third-party copy of CK+ that keeps the last three frames of each labelled sequence in class folders."""

from __future__ import annotations

from collections import defaultdict

from affectdata.datasets.ckplus_frames import STEM, Frame, frame_of, named, sample_rows, ten_folds
from affectdata.datasets.reading import Block, Folder, Reject
from manifests.errors import UnknownNameError
from manifests.vocabulary import EXPRESSION

CLASSES = {"anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"}
"""What the folders stand for; they are named as in the ReadMe, `happy` and `sadness`."""


def read_folders(folder: Folder, classes: tuple[str, ...], reject: Reject) -> Block:
    """The pictures of some class folders as one Block."""
    # CK+48/anger/S010_004_00000017.png
    rows: list[tuple[Frame, str, str]] = []
    for place in classes:
        names = folder.files.names(place, "*.png")
        name = _class_of(place)
        if name is None:
            reject(place, "unknown-class-folder", f"{len(names)} pictures")
            continue
        for file in names:
            if STEM.fullmatch(file):
                rows.append((frame_of(file), name, f"{place}/{file}"))
            else:
                reject(f"{place}/{file}", "bad-name", "expected S010_004_00000017.png")
    said: dict[tuple[str, str], set[str]] = defaultdict(set)
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for frame, name, _ in rows:
        said[frame[:2]].add(name)
        numbers[frame[:2]].add(frame[2])
    for sequence, found in said.items():
        if len(found) > 1:
            reject("/".join(sequence), "conflicting-duplicate", f"in the folders of {', '.join(sorted(found))}")
    last = {frame: name for frame, name, _ in rows if len(said[frame[:2]]) == 1}
    peaks = {frame: name for frame, name in last.items() if _is_peak(frame[2], numbers[frame[:2]])}
    frames = [frame for frame, _, _ in rows]
    samples = sample_rows(frames, [path for _, _, path in rows])
    labels = {"human": named(peaks, frames), "derived-last3": named(last, frames)}
    scored = {"human": peaks, "derived-last3": last}
    return Block(samples, labels, ten_folds(scored, ("ten-fold-peak", "ten-fold-last3")))


def _is_peak(number: int, numbers: set[int]) -> bool:
    """Whether a picture is the last of its sequence: known only where all three are there."""
    return numbers == {number - 2, number - 1, number}


def _class_of(place: str) -> str | None:
    """The class of a folder, by its name; neutral is none: CK+48 holds the last frames only."""
    try:
        name = EXPRESSION.canonical(place.rpartition("/")[2])
    except UnknownNameError:
        return None
    return name if name in CLASSES else None
