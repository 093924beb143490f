"""Twin of CK+: the official tree, the same in its zip-named wrappers, and CK+48.

    <root>/cohn-kanade-images/S005/001/S005_001_00000001.png ...
    <root>/Landmarks/S005/001/S005_001_00000001_landmarks.txt ...
    <root>/FACS/S005/001/S005_001_00000006_facs.txt              the last frame only
    <root>/Emotion/S005/001/S005_001_00000006_emotion.txt        the folder holds no label where there is none

Quirks (datasets/ckplus.md 7): an unlabelled sequence whose emotion folder holds a .DS_Store only, a FACS file of one
line, intensity 0, a head AU, a picture that is missing, one that is truncated, landmarks of 67 lines, a FACS intensity
of 7, an emotion code of 9. Variant `wrapped` has the zip-named parents, `emotion` in lower case and CRLF. `ck48` has
the last three frames in class folders, with a folder `neutral` that CK+48 does not have, a sequence of two frames, a
sequence in two folders, and a name that is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.brush import Picture
from affectdata.synthetic.face import Face, draw_parameters, render
from affectdata.synthetic.files import grey, write_lines, write_picture
from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth
from manifests.vocabulary import AU_NAMES

DATASET = "ckplus"
VARIANTS = ("official", "wrapped", "ck48")

CODES = {1: "anger", 2: "contempt", 3: "disgust", 4: "fear", 5: "happiness", 6: "sadness", 7: "surprise"}
FOLDERS = {name: name for name in CODES.values()} | {"happiness": "happy"}
FOLDS = {"S005": 0, "S010": 1, "S011": 2, "S014": 3, "S895": 6, "S999": 7}
"""Subject -> fold, from the published list of ten folds (there numbered from 1)."""

FACE = tuple(au for au in AU_NAMES if au < 50)
LENGTH = 6
SIDE = 64

QUIRKS = ("plain", "unlabelled", "one-line", "missing", "out-of-range", "bad-emotion")
"""Quirk of the first sequences, in order; the others are plain."""

Protocols = Mapping[str, frozenset[RoleTruth]]


@dataclass(frozen=True)
class _Sequence:
    subject: str
    number: str
    code: int
    quirk: str
    facs: Mapping[int, int]
    neutral: Face
    apex: Face

    @property
    def id(self) -> str:
        return f"{self.subject}/{self.number}"

    @property
    def stem(self) -> str:
        return f"{self.subject}_{self.number}"

    @property
    def emotion(self) -> str | None:
        return None if self.quirk in ("unlabelled", "bad-emotion") else CODES[self.code]

    def frame(self, number: int) -> tuple[Picture, NDArray[np.float32]]:
        """Picture and points of a 1-based frame, from neutral to the peak."""
        share = (number - 1) / (LENGTH - 1)
        image = cv2.addWeighted(self.neutral.image, 1 - share, self.apex.image, share, 0)
        return grey(image), self.neutral.landmarks * (1 - share) + self.apex.landmarks * share


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`: sequences of six frames, or of three in `ck48`."""
    rng = np.random.default_rng(seed)
    if variant == "ck48":
        return _write_ck48(root, _sequences(rng, samples // 3))
    wrapped = variant == "wrapped"
    tops = {
        "images": "extended-cohn-kanade-images/cohn-kanade-images" if wrapped else "cohn-kanade-images",
        "landmarks": "Landmarks/Landmarks" if wrapped else "Landmarks",
        "facs": "FACS_labels/FACS" if wrapped else "FACS",
        "emotion": "Emotion_labels/emotion" if wrapped else "Emotion",
    }
    writer = _Official(root, tops, "\r\n" if wrapped else "\n")
    found = [sample for sequence in _sequences(rng, samples // LENGTH) for sample in writer.write(sequence)]
    return Truth(DATASET, variant, tuple(found), tuple(writer.rejects), protocols=_protocols(found))


def _sequences(rng: np.random.Generator, count: int) -> list[_Sequence]:
    """Two sequences of each subject in turn."""
    subjects = list(FOLDS)
    people = [draw_parameters(rng, "neutral") for _ in subjects]
    result = []
    for index in range(count):
        person = index // 2 % len(subjects)
        code = index % len(CODES) + 1
        acted = draw_parameters(rng, "anger" if CODES[code] == "contempt" else CODES[code], people[person].identity)
        intensities = [int(value) for value in rng.integers(1, 6, 3)]
        facs = dict(zip((1, 4, 17), intensities, strict=True)) | {5: 0, 25: 5, 63: 2}
        quirk = QUIRKS[index] if index < len(QUIRKS) else "plain"
        facs = {12: intensities[0]} if quirk == "one-line" else facs
        number = f"{index // (2 * len(subjects)) * 2 + index % 2 + 1:03d}"
        faces = render(people[person], SIDE), render(acted, SIDE)
        result.append(_Sequence(subjects[person], number, code, quirk, facs, *faces))
    return result


class _Official:
    """Writes sequences into the four folders of the release."""

    def __init__(self, root: Path, tops: Mapping[str, str], end: str) -> None:
        self._root, self._tops, self._end = root, tops, end
        self.rejects: list[RejectTruth] = []

    def write(self, sequence: _Sequence) -> list[SampleTruth]:
        """One sequence; returns the frames that have a picture."""
        self._write_peak(sequence)
        found = []
        for number in range(1, LENGTH + 1):
            path = f"{self._place(sequence, 'images')}/{sequence.stem}_{number:08d}.png"
            image, points = sequence.frame(number)
            said = self._landmarks(sequence, number, points)
            if sequence.quirk == "missing" and number == 2:
                self.rejects.append(RejectTruth(path, "missing-image"))
                continue
            cut = sequence.quirk == "unlabelled" and number == 3
            write_picture(self._root / path, image, truncated=cut)
            labels = _labels(sequence, number)
            if said is not None:
                labels.append(LabelTruth("auto", landmarks=said))
            found.append(_sample(sequence, number, path, labels, readable=not cut))
        return found

    def _place(self, sequence: _Sequence, kind: str) -> str:
        return f"{self._tops[kind]}/{sequence.id}"

    def _write_peak(self, sequence: _Sequence) -> None:
        """The emotion and FACS files of the last frame."""
        stem = f"{sequence.stem}_{LENGTH:08d}"
        emotion, facs = (f"{self._place(sequence, kind)}/{stem}_{kind}.txt" for kind in ("emotion", "facs"))
        rows = [f"   {au:.7e}   {intensity:.7e}" for au, intensity in sequence.facs.items()]
        if sequence.quirk == "out-of-range":
            rows.insert(2, f"   {9:.7e}   {7:.7e}")
            self.rejects.append(RejectTruth(facs, "out-of-range", 2))
        write_lines(self._root / facs, rows, end=self._end)
        if sequence.quirk == "unlabelled":
            write_lines(self._root / self._place(sequence, "emotion") / ".DS_Store", ["Bud1"])
            return
        code = 9 if sequence.quirk == "bad-emotion" else sequence.code
        if code not in CODES:
            self.rejects.append(RejectTruth(emotion, "unknown-code"))
        write_lines(self._root / emotion, [f"   {code:.7e}"], end=self._end)

    def _landmarks(self, sequence: _Sequence, number: int, points: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Write the points of one frame; None where the file lacks a line."""
        rows = [f"   {x:.7e}   {y:.7e}" for x, y in points.tolist()]
        path = f"{self._place(sequence, 'landmarks')}/{sequence.stem}_{number:08d}_landmarks.txt"
        short = sequence.quirk == "one-line" and number == 2
        write_lines(self._root / path, rows[:67] if short else rows, end=self._end)
        if short:
            self.rejects.append(RejectTruth(path, "bad-landmarks"))
        return None if short else points


def _labels(sequence: _Sequence, number: int) -> list[LabelTruth]:
    """What people and the two rules say of one frame."""
    labels = []
    emotion = sequence.emotion
    if number == LENGTH:
        aus = dict.fromkeys(FACE, 0) | dict.fromkeys(sequence.facs, 1)
        if sequence.quirk == "out-of-range":
            del aus[9]
        known = {au: float(value) for au, value in sequence.facs.items() if value}
        labels.append(LabelTruth("human", expression=emotion, aus=aus, au_intensities=known))
    if emotion and number > LENGTH - 3:
        labels.append(LabelTruth("derived-last3", expression=emotion))
    if emotion and number == 1:
        labels.append(LabelTruth("derived-first-neutral", expression="neutral"))
    return labels


def _sample(
    sequence: _Sequence, number: int, path: str, labels: Sequence[LabelTruth], *, readable: bool = True
) -> SampleTruth:
    return SampleTruth(
        key=f"{sequence.id}/{number:08d}",
        path=path,
        subject=sequence.subject,
        sequence=sequence.id,
        frame_index=number,
        labels=tuple(labels),
        readable=readable,
    )


def _protocols(samples: Sequence[SampleTruth]) -> Protocols:
    """Labelled frames in the fold of their subject, per choice of frames."""
    chosen = {
        "ten-fold-peak": ("human",),
        "ten-fold-last3": ("derived-last3",),
        "ten-fold-last3-neutral": ("derived-last3", "derived-first-neutral"),
    }
    said = {
        name: frozenset(
            RoleTruth(sample.key, "test", "expression", FOLDS[str(sample.subject)])
            for sample in samples
            if any(label.expression for source in sources if (label := sample.label(source)))
        )
        for name, sources in chosen.items()
    }
    return {name: rows for name, rows in said.items() if rows}


def _write_ck48(root: Path, sequences: list[_Sequence]) -> Truth:
    """Class folders with the last three frames, 48 x 48."""
    found, rejects = [], [RejectTruth("CK+48/neutral", "unknown-class-folder")]
    odd = {1: "two-frames", 2: "two-folders"}
    for index, sequence in enumerate(sequences):
        quirk = odd.get(index, "")
        folder = FOLDERS[CODES[sequence.code]]
        for number in range(LENGTH - 2, LENGTH + 1):
            if quirk == "two-frames" and number == LENGTH:
                continue
            path = f"CK+48/{folder}/{sequence.stem}_{number:08d}.png"
            image = cv2.resize(sequence.frame(number)[0], (48, 48), interpolation=cv2.INTER_AREA)
            if quirk == "two-folders" and number == LENGTH:
                path = path.replace(folder, "happy")
                rejects.append(RejectTruth(path, "conflicting-duplicate"))
            write_picture(root / path, image, truncated=index == 0 and number == LENGTH - 1)
            said = CODES[sequence.code]
            labels = [] if quirk == "two-folders" else [LabelTruth("derived-last3", expression=said)]
            if not quirk and number == LENGTH:
                labels.append(LabelTruth("human", expression=said))
            readable = index != 0 or number != LENGTH - 1
            found.append(_sample(sequence, number, path, labels, readable=readable))
    write_picture(root / "CK+48" / "neutral" / "S005_001_00000001.png", grey(sequences[0].neutral.image))
    write_picture(root / "CK+48" / "anger" / "S005_copy.png", grey(sequences[0].apex.image))
    rejects.append(RejectTruth("CK+48/anger/S005_copy.png", "bad-name"))
    protocols = {name: rows for name, rows in _protocols(found).items() if name != "ten-fold-last3-neutral"}
    return Truth(DATASET, "ck48", tuple(found), tuple(rejects), protocols=protocols)
