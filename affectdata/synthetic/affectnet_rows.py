"""The rows that every release of the AffectNet twin shows, and how a line of the original lists holds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectdata.synthetic.face import Face
from affectdata.synthetic.truth import LabelTruth

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
"""In the order of codes 0-7."""

STATUSES = {8: "none_of_these", 9: "uncertain", 10: "not_a_face"}
HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
QUIRKS = (
    *("", "null-box", "negative-width", "box-outside", "other-case", "tif", "truncated", "missing"),
    *("same-picture", "unknown-code", "out-of-range", "short-landmarks", "no-landmarks"),
)
"""Quirk of the first training rows, in order; the others have none."""


@dataclass(frozen=True)
class Row:
    """One annotated face.

    Attributes:
        number: 0-based row of its list; the id of its picture in the later releases.
        name: `<dir>/<hash>.jpg`.
    """

    number: int
    name: str
    code: int
    face: Face
    valence: float | None
    arousal: float | None
    quirk: str = ""

    @property
    def expression(self) -> str | None:
        return CLASSES[self.code] if self.code < len(CLASSES) else None

    @property
    def status(self) -> str:
        return STATUSES.get(self.code, "ok")

    @property
    def group(self) -> str:
        return f"affectnet:{self.name.rpartition('/')[2].partition('.')[0]}"


def draw_rows(rng: np.random.Generator, faces: list[Face], count: int, *, with_quirks: bool) -> list[Row]:
    rows: list[Row] = []
    for number in range(count):
        code = number % 11
        # Faces 0-15 show classes 0-7 twice; codes 8-10 show anything.
        face = faces[code + 8 * (number % 2)] if code < 8 else faces[number % len(faces)]
        rated = code < 9
        quirk = QUIRKS[number] if with_quirks and number < len(QUIRKS) else ""
        name = f"{1 + int(rng.integers(3)) * 412}/{rng.bytes(28).hex()}.jpg"
        valence, arousal = (round(float(v), 6) if rated else None for v in (face.valence, face.arousal))
        rows.append(Row(number, rows[0].name if quirk == "same-picture" else name, code, face, valence, arousal, quirk))
    return rows


def name_in_list(row: Row) -> str:
    return row.name.replace(".jpg", ".tif") if row.quirk == "tif" else row.name


def box_of(row: Row) -> tuple[str, str, str, str]:
    """face_x, face_y, face_width, face_height as the list has them: square, x equal to y."""
    low, high = float(row.face.landmarks.min()), float(row.face.landmarks.max())
    corner, side = round(low), round(high - low)
    if row.quirk == "null-box":
        return "NULL", "NULL", str(side), str(side)
    if row.quirk == "negative-width":
        return str(corner), str(corner), str(-side), str(-side)
    return (str(corner), str(corner), *((str(side + 500),) * 2 if row.quirk == "box-outside" else (str(side),) * 2))


def points_of(row: Row) -> list[str]:
    """136 numbers with up to two decimals and no trailing zeros."""
    return [f"{value:.2f}".rstrip("0").rstrip(".") for value in row.face.landmarks.ravel().tolist()]


def line_of(row: Row, *, sentinel: str = "-2") -> str:
    """The row as a line of a list."""
    points = [] if row.quirk == "no-landmarks" else points_of(row)[: 135 if row.quirk == "short-landmarks" else 136]
    valence, arousal = (sentinel if v is None else f"{v:.6f}".rstrip("0").rstrip(".") for v in ratings_of(row))
    code = 11 if row.quirk == "unknown-code" else row.code
    return ",".join([name_in_list(row), *box_of(row), ";".join(points), str(code), valence, arousal])


def ratings_of(row: Row) -> tuple[float | None, float | None]:
    """Valence and arousal as the list has them."""
    return (1.5 if row.quirk == "out-of-range" else row.valence), row.arousal


def affect_of(row: Row, source: str) -> LabelTruth:
    """Class and ratings of a row; a rating out of range is unknown."""
    valence = None if row.quirk == "out-of-range" else row.valence
    return LabelTruth(source, expression=row.expression, valence=valence, arousal=row.arousal)


def rounded(row: Row) -> NDArray[np.float32]:
    """The landmarks as the files hold them."""
    return np.array([float(value) for value in points_of(row)], np.float32).reshape(68, 2)
