"""Twin of RAF-DB: basic and compound in the maintainers' tree, and the common repack.

    <root>/basic/EmoLabel/list_patition_label.txt        (compound/ has the same shape and the same file names)
    <root>/basic/Image/aligned/train_00001_aligned.jpg   100 x 100
    <root>/basic/Image/original/train_00001.jpg
    <root>/basic/Annotation/{manual,auto,boundingbox}/train_00001_{manu_attri,auto_attri,boundingbox}.txt

Quirks (datasets/rafdb.md 7): no newline after the last line of the list, TAB or space in the manual files, a
manual file that is absent, gender 2, boxes that reach outside the picture, one truncated picture, one listed
picture that is missing, one line without a code, one code that no class has, and a public `noise01.txt` that is no
label list. Variants `doubled` (Image/aligned/aligned) and `crlf` are re-saved copies; `repack` is third-party.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.brush import Picture
from affectdata.synthetic.face import Face, draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import Annotation, LabelTruth, Point, RejectTruth, SampleTruth, Truth

DATASET = "rafdb"
VARIANTS = ("original", "basic", "compound", "repack", "doubled", "crlf")

CODES: Mapping[str, tuple[str, ...]] = {
    "basic": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "compound": (
        "happily_surprised", "happily_disgusted", "sadly_fearful", "sadly_angry", "sadly_surprised",
        "sadly_disgusted", "fearfully_angry", "fearfully_surprised", "angrily_surprised", "angrily_disgusted",
        "disgustedly_surprised",
    ),
}  # fmt: skip
"""Subset -> class names in the order of their 1-based codes (datasets/rafdb.md 3)."""

GENDERS = ("male", "female", None)
RACES = ("Caucasian", "African-American", "Asian")
AGES = ("0-3", "4-19", "20-39", "40-69", "70+")
TEST_SHARE = 5
"""Every fifth picture is a test picture (the real share is 3,068 of 15,339)."""

_AUTO_POINTS = (17, 19, 21, 22, 24, 26, 27, 30, *range(31, 36), *range(36, 48), *range(48, 60))
"""37 of the 68 points in the order of the auto files: brows, bridge and tip, nostrils, eyes, outer lip [inferred]."""


@dataclass(frozen=True)
class _Item:
    """One picture of the list: the original, and the maintainers' aligned version of it."""

    stem: str
    code: int
    face: Face
    aligned: Picture
    quirk: str = ""


QUIRKS = ("", "spaces", "no-manual", "unsure-gender", "box-outside", "truncated", "missing", "only-original")
"""Quirk of the first training pictures, in order; the others have none."""


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`; `original` shares `samples` out to basic and compound."""
    rng = np.random.default_rng(seed)
    if variant == "repack":
        return _write_repack(root, _items(rng, "basic", samples))
    subsets = {"original": ("basic", "compound"), "compound": ("compound",)}.get(variant, ("basic",))
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    for subset in subsets:
        items = _items(rng, subset, samples // len(subsets))
        refused += _write_list(root, subset, items, "\r\n" if variant == "crlf" else "\n")
        aligned = "aligned/aligned" if variant == "doubled" else "aligned"
        # The line whose code no class has does have a picture, so that the code is the only thing wrong with it.
        write_picture(root / subset / "Image" / aligned / "train_99999_aligned.jpg", items[0].aligned)
        for item in items:
            sample = _write_item(root, subset, item, aligned)
            if item.quirk != "missing":
                found.append(sample)
    return Truth(DATASET, variant, tuple(found), tuple(refused))


def _items(rng: np.random.Generator, subset: str, samples: int) -> list[_Item]:
    """Pictures in list order: all of train, then all of test."""
    names = CODES[subset]
    codes = rng.permutation(np.arange(samples) % len(names))
    trained = samples - samples // TEST_SHARE
    items = []
    for index, code in enumerate(codes.tolist()):
        stem = f"train_{index + 1:05d}" if index < trained else f"test_{index - trained + 1:04d}"
        face = render(draw_parameters(rng, names[code]), int(rng.integers(150, 260)))
        quirk = QUIRKS[index] if index < len(QUIRKS) else ""
        items.append(_Item(stem, code + 1, face, _aligned(face), quirk))
    return items


def _aligned(face: Face) -> Picture:
    """The maintainers' 100 x 100 picture: eyes level, at a fixed place."""
    eyes = np.array([face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0)])
    run = eyes[1] - eyes[0]
    turn = cv2.getRotationMatrix2D((0, 0), float(np.degrees(np.arctan2(run[1], run[0]))), 40 / float(np.hypot(*run)))
    turn[:, 2] = np.array([49.5, 36.0]) - turn[:, :2] @ eyes.mean(axis=0)
    aligned: Picture = cv2.warpAffine(face.image, turn, (100, 100), flags=cv2.INTER_LINEAR)
    return aligned


def _write_list(root: Path, subset: str, items: list[_Item], end: str) -> list[RejectTruth]:
    """The label list with its bad lines after the training ones, and a noise list beside it.

    Returns:
        What a reader must refuse: the listed picture that is missing and the two bad lines.
    """
    folder = root / subset / "EmoLabel"
    name = "list_patition_label.txt"
    lines = [f"{item.stem}.jpg {item.code}" for item in items]
    trained = sum(item.stem.startswith("train") for item in items)
    lines[trained:trained] = ["train_99998.jpg", "train_99999.jpg 0"]
    write_lines(folder / name, lines, end=end, final=False)
    noisy = [f"{item.stem}.jpg {item.code % 7 + 1}" for item in items[:trained]]
    write_lines(folder / "noise01.txt", noisy, end=end)
    where = f"{subset}/EmoLabel/{name}"
    missing = [
        RejectTruth(f"{subset}/Image/aligned/{item.stem}_aligned.jpg", "missing-image", row)
        for row, item in enumerate(items)
        if item.quirk == "missing"
    ]
    bad = [RejectTruth(where, "bad-field-count", trained), RejectTruth(where, "unknown-code", trained + 1)]
    return [*missing, *bad]


def _write_item(root: Path, subset: str, item: _Item, aligned_folder: str) -> SampleTruth:
    image = root / subset / "Image"
    aligned = image / aligned_folder / f"{item.stem}_aligned.jpg"
    original = image / "original" / f"{item.stem}.jpg"
    if item.quirk not in ("missing", "only-original"):
        write_picture(aligned, item.aligned, truncated=item.quirk == "truncated")
    if item.quirk != "missing":
        write_picture(original, item.face.image)
    used = original if item.quirk == "only-original" else aligned
    name = CODES[subset][item.code - 1]
    annotation = _write_annotation(root / subset / "Annotation", item)
    if used is aligned:  # released points and boxes fit original pictures only
        annotation = replace(annotation, box=None, points5=None)
    label = LabelTruth("human", expression=name) if subset == "basic" else LabelTruth("human", compound=name)
    return SampleTruth(
        key=f"{subset}/{item.stem}",
        path=used.relative_to(root).as_posix(),
        split=item.stem.partition("_")[0],
        labels=(label,),
        readable=item.quirk != "truncated",
        annotation=annotation,
    )


def _write_annotation(folder: Path, item: _Item) -> Annotation:
    """Manual, automatic and box files of one original picture; all in original-image pixels."""
    landmarks = item.face.landmarks
    box = _box(item)
    write_lines(folder / "boundingbox" / f"{item.stem}_boundingbox.txt", [" ".join(f"{v:.6f}" for v in box)])
    auto = [f"{round(x * 2) / 2:g}\t{round(y * 2) / 2:g}" for x, y in landmarks[list(_AUTO_POINTS)].tolist()]
    write_lines(folder / "auto" / f"{item.stem}_auto_attri.txt", auto)
    if item.quirk == "no-manual":
        return Annotation(box=box)
    points = five_points(landmarks)
    gap = " " if item.quirk == "spaces" else "\t"
    number = int(item.stem.rpartition("_")[2])
    gender = 2 if item.quirk == "unsure-gender" else number % 2
    race, age = number % len(RACES), number % len(AGES)
    lines = [f"{x:.3f}{gap}{y:.3f}" for x, y in points]
    write_lines(folder / "manual" / f"{item.stem}_manu_attri.txt", [*lines, str(gender), str(race), str(age)])
    return Annotation(box, points, GENDERS[gender], RACES[race], AGES[age])


def _box(item: _Item) -> tuple[float, ...]:
    low, high = item.face.landmarks.min(axis=0), item.face.landmarks.max(axis=0)
    if item.quirk == "box-outside":
        low = low - 200
    return tuple(round(float(value), 6) for value in (*low, *high))


def five_points(landmarks: NDArray[np.float32]) -> tuple[Point, ...]:
    """Eye centres, nose tip and mouth corners from the 68 points (variant P of landmarks68.md), three decimals."""
    points = np.array([landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0), *landmarks[[30, 48, 54]]])
    return tuple((round(float(x), 3), round(float(y), 3)) for x, y in points)


def _write_repack(root: Path, items: list[_Item]) -> Truth:
    """The third-party copy: one folder per code, and a CSV per split that lists them."""
    found, refused = [], []
    rows: dict[str, list[str]] = {"train": ["image,label"], "test": ["image,label"]}
    for item in items:
        split = item.stem.partition("_")[0]
        path = f"DATASET/{split}/{item.code}/{item.stem}_aligned.jpg"
        rows[split].append(f"{item.stem}_aligned.jpg,{item.code}")
        if item.quirk == "missing":
            refused.append(RejectTruth(path, "missing-image", len(rows[split]) - 2))
            continue
        write_picture(root / path, item.aligned, truncated=item.quirk == "truncated")
        label = LabelTruth("human", expression=CODES["basic"][item.code - 1])
        found.append(
            SampleTruth(f"basic/{item.stem}", path, split=split, labels=(label,), readable=item.quirk != "truncated")
        )
    for split, lines in rows.items():
        write_lines(root / f"{split}_labels.csv", lines)
    return Truth(DATASET, "repack", tuple(found), tuple(refused))
