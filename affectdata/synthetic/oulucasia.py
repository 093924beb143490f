"""Twin of Oulu-CASIA: package B, package C, and a flattened copy of one camera and light.

    <root>/Oulu_CASIA_NIR_VIS/OriginalImg/{NI,VL}/{Strong,Weak,Dark}/P001/Anger/000.jpeg       `original`
    <root>/PreProcess_Img/{NI,VL}_Acropped/Strong/P001/Anger/000.jpeg                          `preprocessed`
    <root>/Oulu-CASIA-o/P001/Anger/000.jpeg               `flat`: nothing says package, camera or light; options do

Quirks (datasets/oulucasia.md 7): Thumbs.db between the frames, gray crops of varying size in C, one sequence of three
frames, one with a gap in its numbers, a truncated picture, an emotion folder that no one posed, a picture whose name
is no number, change_log.txt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from affectdata.synthetic.brush import Picture
from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import grey, write_lines
from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "oulucasia"
VARIANTS = ("original", "preprocessed", "flat")

SUBJECTS = ("P001", "P012", "P080")
FOLDS = {"P001": 0, "P012": 1, "P080": 9}
"""Subject i is scored in fold (i - 1) mod 10."""

EMOTIONS = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
CONDITIONS = (("VL", "Strong"), ("NI", "Strong"), ("VL", "Dark"))
GAIN = {"Strong": 1.0, "Dark": 0.05}
LENGTH = 6
SIDE = 48


@dataclass(frozen=True)
class _Pose:
    """One person posing one emotion, under one camera and light."""

    subject: str
    emotion: str
    modality: str
    light: str
    numbers: tuple[int, ...]
    neutral: Picture
    apex: Picture

    def picture(self, number: int, *, gray: bool) -> Picture:
        share = number / (LENGTH - 1)
        gain = GAIN[self.light]
        image = cv2.addWeighted(self.neutral, gain * (1 - share), self.apex, gain * share, 0)
        return grey(image) if gray else image


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write sequences of six frames under `root`."""
    rng = np.random.default_rng(seed)
    found: list[SampleTruth] = []
    for index, pose in enumerate(_poses(rng, samples // LENGTH + 1, flat=variant == "flat")):
        place = _place(pose, variant)
        (root / place).mkdir(parents=True, exist_ok=True)
        if index == 0:
            (root / place / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
        for number in pose.numbers:
            path = f"{place}/{number:03d}.jpeg"
            cut = index == 1 and number == 2
            side = SIDE + 4 * index if variant == "preprocessed" else SIDE
            image = cv2.resize(
                pose.picture(number, gray=variant == "preprocessed" or pose.modality == "NI"), (side, side)
            )
            _write_jpeg(root / path, image, truncated=cut)
            found.append(_sample(pose, number, path, variant, readable=not cut))
    top = _place(pose, variant).rpartition("/")[0]
    for path in (f"{top}/Neutral/000.jpeg", f"{_place(pose, variant)}/apex.jpeg"):
        _write_jpeg(root / path, pose.neutral)
    rejects = (
        RejectTruth(f"{top}/Neutral", "unknown-class-folder"),
        RejectTruth(f"{_place(pose, variant)}/apex.jpeg", "bad-name"),
    )
    if variant == "preprocessed":
        write_lines(root / "PreProcess_Img" / "change_log.txt", ["cropped by eye positions"])
    options = {"package": "original", "modality": "VL", "light": "Strong"} if variant == "flat" else {}
    return Truth(DATASET, variant, tuple(found), rejects, protocols=_protocols(found, variant), options=options)


def _poses(rng: np.random.Generator, count: int, *, flat: bool) -> list[_Pose]:
    people = [draw_parameters(rng, "neutral") for _ in SUBJECTS]
    resting = [render(person, SIDE).image for person in people]
    conditions = CONDITIONS[:1] if flat else CONDITIONS
    poses = []
    for index in range(min(count, len(SUBJECTS) * len(EMOTIONS) * len(conditions))):
        who = index % len(SUBJECTS)
        modality, light = conditions[index // len(SUBJECTS) % len(conditions)]
        emotion = EMOTIONS[(index // (len(SUBJECTS) * len(conditions)) + who) % len(EMOTIONS)]
        numbers = {3: (0, 1, 2), 2: (0, 1, 3, 4, 5)}.get(index, tuple(range(LENGTH)))
        apex = render(draw_parameters(rng, emotion.lower(), people[who].identity), SIDE).image
        poses.append(_Pose(SUBJECTS[who], emotion, modality, light, numbers, resting[who], apex))
    return poses


def _place(pose: _Pose, variant: str) -> str:
    tail = f"{pose.subject}/{pose.emotion}"
    if variant == "flat":
        return f"Oulu-CASIA-o/{tail}"
    if variant == "preprocessed":
        return f"PreProcess_Img/{pose.modality}_Acropped/{pose.light}/{tail}"
    return f"Oulu_CASIA_NIR_VIS/OriginalImg/{pose.modality}/{pose.light}/{tail}"


def _sample(pose: _Pose, number: int, path: str, variant: str, *, readable: bool) -> SampleTruth:
    package = "original" if variant == "flat" else variant
    sequence = f"{package}/{pose.modality}/{pose.light}/{pose.subject}/{pose.emotion}"
    label = pose.emotion.lower()
    labels = [LabelTruth("human", expression=label)]
    if number in pose.numbers[-3:]:
        labels.append(LabelTruth("derived-last3", expression=label))
    elif number == 0:
        labels.append(LabelTruth("derived-first-neutral", expression="neutral"))
    return SampleTruth(
        key=f"{sequence}/{number:03d}",
        path=path,
        subject=pose.subject,
        sequence=sequence,
        frame_index=number,
        labels=tuple(labels),
        readable=readable,
    )


def _protocols(samples: list[SampleTruth], variant: str) -> Mapping[str, frozenset[RoleTruth]]:
    """Frames under visible, strong light, in the fold of their subject."""
    package = "original" if variant == "flat" else variant
    strong = [sample for sample in samples if sample.key.startswith(f"{package}/VL/Strong/")]
    chosen = {
        "ten-fold-last3": [sample for sample in strong if sample.label("derived-last3")],
        "ten-fold-last3-neutral": [sample for sample in strong if len(sample.labels) > 1],
    }
    return {
        name: frozenset(RoleTruth(s.key, "test", "expression", FOLDS[str(s.subject)]) for s in those)
        for name, those in chosen.items()
    }


def _write_jpeg(path: Path, image: Picture, *, truncated: bool = False) -> None:
    """The release names its JPEG files .jpeg; gray stays gray."""
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data[: len(data) // 2] if truncated else data)
