"""Twin of Menpo 2D: the challenge package of 2017, mixed or sorted by kind, and the re-release with texts.

    <root>/trainset/00001.jpg + 00001.pts            68 or 39 points, side by side; `sorted` has a folder per kind
    <root>/testset/{semifrontal,profile}/00001.jpg   without points
    <root>/Menpo2D/{Train,Test}/image/{semifrontal,profile}/0001.jpg and a text per set

Quirks (datasets/menpo.md): `version: 1.0`, CRLF, one blank or two, a mark-up of 29 points, a picture without points,
points without a picture, a truncated picture; in texts a line too long, a word among the numbers, a listed picture
that is missing, a box whose corners come in another order, a picture that no line lists, a name beyond ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.face import Face, draw_parameters, render
from affectdata.synthetic.files import write_lines, write_picture
from affectdata.synthetic.truth import Annotation, LabelTruth, RejectTruth, SampleTruth, Truth
from manifests.vocabulary import EXPRESSIONS

DATASET = "menpo"
VARIANTS = ("challenge", "sorted", "menpo2d")
SIDE = 88

LEFT_PROFILE = (
    *(16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 26, 25, 24, 23, 27, 28, 29, 30, 33, 35, 43, 44, 45, 46, 47),
    *(51, 52, 53, 54, 55, 56, 57, 62, 63, 64, 65, 66),
)
"""Which of the 68 the twin's 39 are drawn at [one source]; a reader must not know it."""

PACKAGE_QUIRKS = ("short", "no-points", "missing", "truncated", "crlf")
TEXT_QUIRKS = ("long", "word", "missing", "swapped", "unlisted", "truncated")


@dataclass(frozen=True)
class _Item:
    """One picture: its split, kind and stem, and what is odd about it."""

    split: str
    kind: str
    stem: str
    face: Face
    quirk: str = ""

    @property
    def points(self) -> NDArray[np.float64]:
        """The points as released: 68, or 39 of a profile."""
        points = np.round(self.face.landmarks.astype(float), 3)
        return points if self.kind == "semifrontal" else points[list(LEFT_PROFILE)]

    def sample(self, release: str, path: str, *, marked: bool = True, seen: Annotation | None = None) -> SampleTruth:
        """The truth; a profile has no landmarks among the 68."""
        labels = (LabelTruth("human", landmarks=self.points.astype(np.float32)),)
        folder = path.split("/")[-2]
        kind = self.kind if marked or folder == self.kind else "unmarked"
        return SampleTruth(
            f"{release}/{self.split}/{kind}/{self.stem}",
            path,
            split=self.split,
            labels=labels if marked and self.kind == "semifrontal" else (),
            readable=self.quirk != "truncated",
            annotation=seen,
        )


def write(root: Path, *, samples: int, seed: int, variant: str = VARIANTS[0]) -> Truth:
    """Write the tree under `root`: of `samples` pictures, every fourth is a profile and every third is for testing."""
    rng = np.random.default_rng(seed)
    quirks = dict(enumerate(TEXT_QUIRKS if variant == "menpo2d" else PACKAGE_QUIRKS))
    items = []
    trained = 0
    for index in range(samples):
        split = "test" if index % 3 == 2 else "train"
        face = render(draw_parameters(rng, EXPRESSIONS[index % 7]), SIDE)
        stem = f"{index + 1:05d}" if index else "été_1"
        kind = "profile" if index % 4 == 3 else "semifrontal"
        items.append(_Item(split, kind, stem, face, quirks.get(trained, "") if split == "train" else ""))
        trained += split == "train"
    return _write_texts(root, items) if variant == "menpo2d" else _write_package(root, items, variant)


def _write_package(root: Path, items: list[_Item], variant: str) -> Truth:
    found, refused = [], []
    for item in items:
        inner = f"{item.kind}/" if item.split == "test" or variant == "sorted" else ""
        place = f"{item.split}set/{inner}{item.stem}"
        if item.quirk != "missing":
            write_picture(root / f"{place}.jpg", item.face.image, truncated=item.quirk == "truncated")
        points = item.points[:29] if item.quirk == "short" else item.points
        marked = item.split == "train" and item.quirk != "no-points"
        if marked:
            write_lines(root / f"{place}.pts", pts(points), end="\r\n" if item.quirk == "crlf" else "\n")
        if item.quirk == "missing":
            refused.append(RejectTruth(f"{place}.jpg", "missing-image"))
            continue
        if item.quirk == "short":
            refused.append(RejectTruth(f"{place}.pts", "bad-landmarks"))
        found.append(item.sample("challenge", f"{place}.jpg", marked=marked and item.quirk != "short"))
    return Truth(DATASET, variant, tuple(found), tuple(refused))


def pts(points: NDArray[np.float64]) -> list[str]:
    """A `.pts` file as the benchmark's own code writes it."""
    rows = [f"{x:.6f} {y:.6f}" for x, y in points.tolist()]
    return ["version: 1.0", f"n_points: {' ' * (len(rows) % 2)}{len(rows)}", "{", *rows, "}"]


def _write_texts(root: Path, items: list[_Item]) -> Truth:
    found, refused = [], []
    texts: dict[str, list[str]] = {}
    for item in items:
        top = f"Menpo2D/{item.split.title()}"
        path = f"{top}/image/{item.kind}/{item.stem}.jpg"
        if item.quirk != "missing":
            write_picture(root / path, item.face.image, truncated=item.quirk == "truncated")
        text = f"{top}/Menpo2D_{item.kind}_{item.split}.txt"
        seen = _detected(item)
        cells = (
            [f"{value:.3f}" for value in seen.box or ()] if item.quirk != "swapped" else ["80.0", "80.0", "1.0", "2.0"]
        )
        cells += [f"{value:.3f}" for point in seen.points5 or () for value in point]
        cells += [f"{value:.6f}" for value in item.points.ravel().tolist()]
        cells += ["1.0"] if item.quirk == "long" else []
        cells[7] = "left" if item.quirk == "word" else cells[7]
        line = " ".join([f"{item.kind}/{item.stem}.jpg", *cells])
        texts.setdefault(text, []).extend([line] if item.quirk != "unlisted" else [])
        reasons = {"long": "bad-field-count", "word": "bad-number", "missing": "missing-image", "swapped": "bad-box"}
        if item.quirk in reasons:
            where = path if item.quirk == "missing" else text
            refused.append(RejectTruth(where, reasons[item.quirk], None if where == path else len(texts[text]) - 1))
        marked = item.quirk not in ("long", "word", "unlisted")
        if item.quirk != "missing":
            known = seen if marked and item.quirk != "swapped" else None
            found.append(item.sample("menpo2d", path, marked=marked, seen=known))
    for text, rows in texts.items():
        write_lines(root / text, rows)
    return Truth(DATASET, "menpo2d", tuple(found), tuple(refused))


def _detected(item: _Item) -> Annotation:
    """The detector's box and five points, three decimals."""
    marks = item.face.landmarks.astype(float)
    low, high = marks.min(axis=0) - 3, marks.max(axis=0) + 3
    five = np.array([marks[36:42].mean(axis=0), marks[42:48].mean(axis=0), *marks[[30, 48, 54]]])
    points = tuple((round(float(x), 3), round(float(y), 3)) for x, y in five)
    return Annotation(tuple(round(float(value), 3) for value in (*low, *high)), points)
