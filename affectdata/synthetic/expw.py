"""Twin of ExpW: one list of faces, whole photographs with one to three of them (datasets/expw.md).

    origin    readme.txt   data/label/label.lst   data/image/origin/<keyword>_<noun>_<number>.jpg
    moved     label.lst   Images/...                                   (a copy, with CRLF)

Quirks: face ids with holes, keywords with underscores and capitals that are not the label, zeros as edges, a box that
ends at the border and one beyond it, a photograph without a listed face, one that is truncated and one that is
missing, a line of seven fields, a code that there is not, a box without area, a repeated key; the readme's byte order
mark and full-width colons.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.face import Face, draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import Annotation, LabelTruth, RejectTruth, SampleTruth, Truth

DATASET = "expw"
VARIANTS = ("origin", "moved")

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""In the order of codes 0-6."""

_PLACES = {"origin": ("data/label/label.lst", "data/image/origin"), "moved": ("label.lst", "Images")}
_STEMS = ("joyful_teacher", "frightened_by_the_movie_boy", "angry_African", "awe_old")
_IDS = ((0,), (0, 2), (0, 1, 3))
"""Face ids of a photograph: false detections have left holes."""

_SIDE = 80
_FACES = 14


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write photographs with `samples` faces in all, and their list."""
    rng = np.random.default_rng(seed)
    faces = [render(draw_parameters(rng, CLASSES[n % len(CLASSES)]), _SIDE) for n in range(_FACES)]
    path, folder = _PLACES[variant]
    lines: list[str] = []
    found: list[SampleTruth] = []
    refused: list[RejectTruth] = []
    photograph = 0
    while len(lines) < samples:
        ids = _IDS[photograph % len(_IDS)]
        stem = f"{_STEMS[photograph % len(_STEMS)]}_{photograph * 37 + 88}"
        name = f"{stem}.jpg"
        shown = [int(n) for n in rng.integers(_FACES, size=len(ids))]
        if photograph != 3:
            write_picture(root / folder / name, _side_by_side([faces[n] for n in shown]), truncated=photograph == 2)
        for place, (face, n) in enumerate(zip(ids, shown, strict=True)):
            box = _box(place, beyond=photograph == 1)
            score = f"{float(rng.uniform(0.23, 137.6)):.6g}"
            lines.append(" ".join(map(str, (name, face, *box, score, n % len(CLASSES)))))
            if photograph == 3:
                refused.append(RejectTruth(f"{folder}/{name}", "missing-image", len(lines) - 1))
            else:
                found.append(_sample(stem, face, f"{folder}/{name}", box, CLASSES[n % len(CLASSES)], photograph != 2))
        photograph += 1
    write_picture(root / folder / "calm_nobody_5.jpg", faces[0].image)
    for line, reason in _bad_lines(lines[0]):
        refused.append(RejectTruth(path, reason, len(lines)))
        lines.append(line)
    write_lines(root / path, lines, end="\r\n" if variant == "moved" else "\n")
    readme = "\ufeffimage_name face_id_in_image face_box_top ... face_box_cofidence expression_label\n0\uff1a angry\n"
    (root / "readme.txt").write_bytes(readme.encode())
    return Truth(DATASET, variant, tuple(found), tuple(refused))


def _side_by_side(faces: list[Face]) -> NDArray[np.uint8]:
    """A photograph of several people."""
    return np.concatenate([face.image for face in faces], axis=1)


def _box(place: int, *, beyond: bool) -> tuple[int, int, int, int]:
    """Top, left, right, bottom of the face at a place: square, ends exclusive, three pixels beyond the border."""
    more = 3 if beyond else 0
    return 0, place * _SIDE, (place + 1) * _SIDE + more, _SIDE + more


def _sample(stem: str, face: int, path: str, box: tuple[int, int, int, int], name: str, readable: bool) -> SampleTruth:
    top, left, right, bottom = box
    return SampleTruth(
        key=f"{stem}/{face:02d}",
        path=path,
        split="all",
        group=f"expw:{stem}",
        labels=(LabelTruth("human", expression=name),),
        readable=readable,
        annotation=Annotation(box=(float(left), float(top), float(right), float(bottom))),
    )


def _bad_lines(first: str) -> list[tuple[str, str]]:
    """Lines that a reader must refuse, and why."""
    name, _, top, left, right, bottom, score, code = first.split()
    return [
        (f"{name} 7 {top} {left} {right} {bottom} {score}", "bad-field-count"),
        (f"{name} 7 {top} {left} {right} {bottom} {score} 7", "unknown-code"),
        (f"{name} 7 40 60 60 40 {score} {code}", "bad-box"),
        (first, "duplicate-key"),
    ]
