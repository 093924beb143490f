"""Twin of Aff-Wild2: the annotations of one ABAW edition over frames of faces, or over raw videos.

    <root>/6th ABAW Annotations/VA_Estimation_Challenge/{Train_Set,Validation_Set}/<track>.txt
    <root>/6th ABAW Annotations/{EXPR_Recognition_Challenge,AU_Detection_Challenge}/...
    <root>/cropped_aligned/<track>/00001.jpg             (cropped/ the same; batch1/<video>.avi in variant `video`)

Quirks (datasets/affwild2.md 7): a track in train and validation of EXPR, two persons of one video in different
splits, `-5` in one field, `-5.0`, partly unknown AU rows, lines beyond the last frame without a label, a label
without a picture, a picture without a line, a picture that is truncated, CRLF, `*_3d.jpg`, test lists with dummy
values, a code that the header does not name, `__MACOSX`. Variants: `abaw6`, `abaw1` (7 classes, 8 AUs), `abaw3`
(with multi-task lists), `abaw4` (multi-task lists only), `abaw0` (annotations beside videos), `cropped`, `video`,
`unknown` (a tree that several editions share).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from affectdata.synthetic.brush import Picture
from affectdata.synthetic.face import draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture, write_video
from affectdata.synthetic.truth import LabelTruth, RejectTruth, RoleTruth, SampleTruth, Truth

DATASET = "affwild2"
VARIANTS = ("abaw6", "abaw1", "abaw3", "abaw4", "abaw0", "cropped", "video", "unknown")

CLASSES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
AUS = {8: (1, 2, 4, 6, 12, 15, 20, 25), 12: (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)}


@dataclass(frozen=True)
class _Shape:
    """How an edition names its folders, and what its headers announce."""

    tops: Mapping[str, str]
    splits: Mapping[str, str]
    classes: int = 8
    aus: int = 12


_SPLITS = {"train": "Train_Set", "val": "Validation_Set"}


def _challenge(top: str, expression: str) -> dict[str, str]:
    names = {"va": "VA_Estimation_Challenge", "expression": f"EXPR_{expression}_Challenge"}
    return {task: f"{top}/{name}" for task, name in (names | {"au": "AU_Detection_Challenge"}).items()}


_SHAPES = {
    "abaw6": _Shape(_challenge("6th ABAW Annotations", "Recognition"), _SPLITS),
    "abaw3": _Shape(_challenge("Third ABAW Annotations", "Classification"), _SPLITS),
    "unknown": _Shape(_challenge("annotations", "Classification"), _SPLITS),
    "abaw1": _Shape(
        {"va": "annotations/VA_Set", "expression": "annotations/EXPR_Set", "au": "annotations/AU_Set"},
        {"train": "Training_Set", "val": "Validation_Set"},
        *(7, 8),
    ),
    "abaw0": _Shape(
        {task: f"lab/Aff-Wild2_ready/{name}_Set/annotations" for task, name in
         (("va", "VA"), ("expression", "Expression"), ("au", "AU"))},
        {"train": "Train_set", "val": "Validation_Set"},
        *(7, 8),
    ),
}  # fmt: skip

TRACKS: tuple[tuple[str, dict[str, str]], ...] = (
    ("10-60-1280x720", {"va": "train", "expression": "train", "au": "train"}),
    ("10-60-1280x720_right", {"va": "train", "expression": "train"}),
    ("122-60-1920x1080-1", {"va": "train", "expression": "both"}),
    ("135-24-1920x1080_left", {"va": "train", "expression": "val", "au": "train"}),
    ("135-24-1920x1080_right", {"va": "train", "expression": "train"}),
    ("318", {"va": "val", "expression": "train", "au": "val"}),
    ("video10_1_left", {"va": "val", "au": "val"}),
    ("14-30-1920x1080", {}),
)
"""Tracks and their split per task; the last one is a test track."""


@dataclass
class _Frame:
    """One frame of a track: what each task's line says of it, and whether there is a picture."""

    number: int
    cells: dict[str, str] = field(default_factory=dict)
    labels: dict[str, LabelTruth] = field(default_factory=dict)
    picture: bool = True
    readable: bool = True


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write one edition: about `samples` frames over the eight tracks."""
    rng = np.random.default_rng(seed)
    shape = _SHAPES.get(variant, _SHAPES["abaw6"])
    media = {"video": "video", "abaw0": "video", "cropped": "cropped"}.get(variant, "aligned")
    length = max(5, -(-samples // len(TRACKS)))
    faces = [render(draw_parameters(rng, CLASSES[k]), 64).image for k in range(3)]
    twin = _Twin(root, variant, shape, media)
    for at, (track, roles) in enumerate(TRACKS):
        frames = _frames(rng, shape, at, length, roles, media)
        if variant != "abaw4":
            twin.write_annotations(track, roles, frames)
        twin.write_media(track, frames, faces)
        twin.add(track, roles, frames)
    if variant in ("abaw3", "abaw4"):
        twin.write_lists(rng, length)
    twin.write_clutter()
    return twin.truth()


def _frames(
    rng: np.random.Generator, shape: _Shape, at: int, length: int, roles: Mapping[str, str], media: str
) -> list[_Frame]:
    frames = [_Frame(number) for number in range(1, length + 1)]
    for frame in frames:
        for task in roles:
            frame.cells[task], frame.labels[task] = _line(rng, shape, task)
    if roles:
        # The last line of most files has no frame; here it has no label either.
        last = frames[-1]
        for task in roles:
            last.cells[task], last.labels[task] = _unknown(shape, task)
        last.picture = False
    if at == 0:
        frames[0].cells["va"], frames[0].labels["va"] = "0.25,-5", LabelTruth("")
        frames[1].picture = media == "video"
        frames[2].readable = False
        frames[3].cells["expression"], frames[3].labels["expression"] = str(shape.classes), LabelTruth("")
    if at == 3:
        frames[1].cells["va"], frames[1].labels["va"] = "-5.0,-5.000", LabelTruth("")
        aus = AUS[shape.aus]
        frames[2].cells["au"] = ",".join(["-1", *["1"] * (len(aus) - 1)])
        frames[2].labels["au"] = LabelTruth("", aus=dict.fromkeys(aus[1:], 1))
    if not roles:
        return frames if media != "video" else []
    return frames


def _line(rng: np.random.Generator, shape: _Shape, task: str) -> tuple[str, LabelTruth]:
    if task == "va":
        valence, arousal = (round(float(x), 3) for x in rng.uniform(-1, 1, 2))
        return f"{valence:g},{arousal:g}", LabelTruth("", valence=valence, arousal=arousal)
    if task == "expression":
        code = int(rng.integers(shape.classes))
        return str(code), LabelTruth("", expression=CLASSES[code])
    aus = {au: int(rng.integers(2)) for au in AUS[shape.aus]}
    return ",".join(map(str, aus.values())), LabelTruth("", aus=aus)


def _unknown(shape: _Shape, task: str) -> tuple[str, LabelTruth]:
    cells = {"va": "-5,-5", "expression": "-1", "au": ",".join(["-1"] * shape.aus)}
    return cells[task], LabelTruth("")


class _Twin:
    """The tree as it is written, and the truth of it."""

    def __init__(self, root: Path, variant: str, shape: _Shape, media: str) -> None:
        self.root, self.variant, self.shape, self.media = root, variant, shape, media
        self.edition = "abaw6" if variant in ("cropped", "video") else variant
        self.samples: dict[str, SampleTruth] = {}
        self.rejects: list[RejectTruth] = []
        self.roles: dict[str, set[RoleTruth]] = {}

    def write_annotations(self, track: str, roles: Mapping[str, str], frames: list[_Frame]) -> None:
        headers = {
            "va": "valence,arousal",
            "expression": ",".join(name.title() for name in CLASSES[: self.shape.classes]),
            "au": ",".join(f"AU{au}" for au in AUS[self.shape.aus]),
        }
        for task, split in roles.items():
            lines = [headers[task], *(frame.cells[task] for frame in frames)]
            for side in ("train", "val") if split == "both" else (split,):
                path = f"{self.shape.tops[task]}/{self.shape.splits[side]}/{track}.txt"
                write_lines(self.root / path, lines, end="\r\n" if track == "318" else "\n", final=track != "318")
                if split == "both" and side == "train":
                    self.rejects.append(RejectTruth(path, "split-leak"))
                self.rejects += [
                    RejectTruth(path, "unknown-code", row)
                    for row, frame in enumerate(frames)
                    if task == "expression" and frame.cells[task] == str(self.shape.classes)
                ]

    def folder(self, track: str) -> str:
        return f"{'cropped' if self.media == 'cropped' else 'cropped_aligned/cropped_aligned'}/{track}"

    def write_media(self, track: str, frames: list[_Frame], faces: list[Picture]) -> None:
        if self.media == "video":
            self._write_video(track, len(frames), faces)
            return
        for frame in frames:
            if frame.picture:
                name = f"{self.folder(track)}/{frame.number:05d}.jpg"
                image = faces[frame.number % len(faces)]
                write_picture(self.root / name, image, truncated=not frame.readable)
        write_picture(self.root / self.folder(track) / "00001_3d.jpg", faces[0])

    def _write_video(self, track: str, count: int, faces: list[Picture]) -> None:
        path = self.root / self.video(track)
        if count and not path.exists():
            write_video(path, islice(cycle(faces), count), 64)

    def video(self, track: str) -> str:
        folder = "batch1" if self.variant == "video" else "lab/Aff-Wild2_ready/VA_Set/videos/Train_Set"
        return f"{folder}/{_video(track)}.avi"

    def add(self, track: str, roles: Mapping[str, str], frames: list[_Frame]) -> None:
        """The truth of one track as its task files tell it; of the lists-only edition, of its pictures."""
        roles = {} if self.variant == "abaw4" else {t: "val" if r == "both" else r for t, r in roles.items()}
        for frame in frames:
            label = self._label(frame) if roles else LabelTruth("")
            key = f"{track}/{frame.number:05d}"
            if not frame.picture and self.media != "video":
                if label != LabelTruth(label.source):
                    self.rejects.append(RejectTruth(f"{self.folder(track)}/{frame.number:05d}.jpg", "missing-image"))
                continue
            splits = set(roles.values())
            self.samples[key] = self._sample(key, track, frame, splits.pop() if len(splits) == 1 else None)
            if label != LabelTruth(label.source):
                self.samples[key] = replace(self.samples[key], labels=(label,))
            for task, role in roles.items():
                self.roles.setdefault(self.edition, set()).add(RoleTruth(key, role, task))

    def _sample(self, key: str, track: str, frame: _Frame, split: str | None) -> SampleTruth:
        video = self.media == "video"
        return SampleTruth(
            key,
            self.video(track) if video else f"{self.folder(track)}/{frame.number:05d}.jpg",
            frame=frame.number - 1 if video else None,
            split=split,
            subject=track,
            sequence=track,
            frame_index=frame.number,
            group=f"affwild2:{_video(track)}",
            readable=frame.readable or video,
        )

    def _label(self, frame: _Frame) -> LabelTruth:
        said = frame.labels
        va, au = said.get("va", LabelTruth("")), said.get("au", LabelTruth(""))
        expression = said.get("expression", LabelTruth("")).expression
        name = f"human-{self.edition}"
        return LabelTruth(name, expression=expression, valence=va.valence, arousal=va.arousal, aus=au.aus)

    def write_lists(self, rng: np.random.Generator, length: int) -> None:
        """Multi-task lists: sparse, one line twice, one picture listed with unlike labels."""
        flat = self.variant == "abaw4"
        names = ("training_set_annotations.txt", "validation_set_annotations.txt")
        for name, split, tracks in (
            (names[0] if flat else "train_set.txt", "train", ("135-24-1920x1080_right", "10-60-1280x720")),
            (names[1] if flat else "validation_set.txt", "val", ("318", "video10_1_left")),
        ):
            path = name if flat else f"Third ABAW Annotations/MTL_Challenge/{name}"
            lines = ["image,valence,arousal,expression,aus"]
            for track in tracks:
                for number in range(1, length, 2):
                    lines += self._listed(rng, track, number, split)
            again = lines[1]
            self.rejects.append(RejectTruth(path, "duplicate-key", len(lines) - 1))
            write_lines(self.root / path, [*lines, again])

    def _listed(self, rng: np.random.Generator, track: str, number: int, split: str) -> list[str]:
        shape = _SHAPES["abaw6"]
        cells, labels = zip(*(_line(rng, shape, task) for task in ("va", "expression", "au")), strict=True)
        key, name = f"{track}/{number:05d}", f"{self.edition}-mtl"
        found = self.samples[key]
        label = replace(labels[0], source=f"human-{name}", expression=labels[1].expression, aus=labels[2].aus)
        self.samples[key] = replace(found, labels=(*found.labels, label))
        self.roles.setdefault(name, set()).add(RoleTruth(key, split))
        self._resplit(track, split)
        return [f"{key}.jpg,{','.join(cells)}"]

    def _resplit(self, track: str, split: str) -> None:
        """The split of a track's samples, which must be that of all its tasks."""
        splits = {split} | {r.role for r in self.roles.get(self.edition, ()) if r.key.startswith(f"{track}/")}
        for key, sample in self.samples.items():
            if key.startswith(f"{track}/"):
                self.samples[key] = replace(sample, split=splits.copy().pop() if len(splits) == 1 else None)

    def write_clutter(self) -> None:
        """Test lists with dummy values, and what archive tools leave behind."""
        header = "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
        name = "CVPR_6th_ABAW_Expr_test_set_example.txt"
        write_lines(self.root / name, [header, "14-30-1920x1080/00001.jpg,0"])
        self.rejects.append(RejectTruth(name, "test-list"))
        top = self.shape.tops["va"]
        write_lines(self.root / "__MACOSX" / top / self.shape.splits["train"] / "._318.txt", ["Mac OS X"])
        if self.variant != "abaw4":
            write_lines(self.root / top / self.shape.splits["train"] / "._318.txt", ["Mac OS X"])

    def truth(self) -> Truth:
        protocols = {name: frozenset(roles) for name, roles in self.roles.items()}
        # Lists alone are the shape of abaw4 and of abaw7.
        options = {"edition": "abaw4"} if self.variant == "abaw4" else {}
        samples, rejects = tuple(self.samples.values()), tuple(self.rejects)
        return Truth(DATASET, self.variant, samples, rejects, protocols=protocols, options=options)


def _video(track: str) -> str:
    return track.removesuffix("_left").removesuffix("_right")
