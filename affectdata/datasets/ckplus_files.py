"""The three text files beside CK+ pictures: emotion, FACS and landmarks, as MATLAB's `save -ascii` writes them.

Leading blanks and %e numbers; split on white space everywhere (datasets/ckplus.md 2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.reading import Reject
from affectdata.datasets.text import lines
from manifests.vocabulary import AU_NAMES, AUS

CODES = dict(enumerate(("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")))
"""Codes of the ReadMe [verified >10]; in the files only 1-7 occur."""

FACE_AUS = tuple(au for au in AU_NAMES if au <= 46)
"""AUs of the face: what a coded peak frame does not list is absent. Head and eye positions (51-64) are not in it,
because nothing says that they were always coded."""

_NUMERAL = r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]{1,3})?"
_GAP = r"[^\S\n]"
_NUMBER = re.compile(_NUMERAL)
_POINTS = re.compile(rf"(?:{_GAP}*+{_NUMERAL}{_GAP}++{_NUMERAL}{_GAP}*+\n){{68}}")
_LARGEST = 1e5


@dataclass
class Facs:
    """The AUs that coders listed for one frame.

    Args:
        listed: AU -> intensity 1-5 (A-E), or None where it is present with an unknown intensity.
        spoilt: AUs of lines whose intensity cannot be read: nothing is known of them.
        whole: Whether every line named an AU, so that what is not listed is absent.
    """

    listed: dict[int, float | None] = field(default_factory=dict)
    spoilt: set[int] = field(default_factory=set)
    whole: bool = True

    def occurrence(self) -> dict[int, int]:
        """AU -> 0 or 1."""
        absent = dict.fromkeys(FACE_AUS, 0) if self.whole else {}
        said = absent | dict.fromkeys(self.listed, 1)
        return {au: value for au, value in said.items() if au not in self.spoilt}

    def intensity(self) -> dict[int, float]:
        """AU -> intensity, for those listed with one."""
        return {au: value for au, value in self.listed.items() if value is not None and au not in self.spoilt}


def emotion_of(data: bytes, about: str, reject: Reject) -> str | None:
    """The class of a sequence; None, with a reject, for anything but one known code."""
    #    3.0000000e+00        one number, nothing else
    rows = list(lines(data))
    fields = [token for _, line in rows for token in line.split()]
    if not fields:
        reject(about, "missing-annotation", "an empty file")
    elif len(fields) > 1:
        reject.many([f"{about} line {number}" for number, _ in rows], "bad-field-count", [line for _, line in rows])
    elif (code := _whole(fields[0])) is None:
        reject(about, "bad-number", fields[0])
    elif code not in CODES:
        reject(about, "unknown-code", f"{code}, expected 0-7")
    else:
        return CODES[code]
    return None


def facs_of(data: bytes, about: str, reject: Reject) -> Facs:
    """The AUs of one file. Every line is one AU, or one reject."""
    #    1.0000000e+00   4.0000000e+00        AU, intensity: 1-5 are A-E,
    #    5.0000000e+00   0.0000000e+00        0 is present with an intensity that was not given
    found = Facs()
    for number, line in lines(data):
        _add_line(found, line, f"{about} line {number}", reject)
    if not found.listed and found.whole and not found.spoilt:
        found.whole = False
        reject(about, "missing-annotation", "an empty file")
    return found


def landmarks_of(data: bytes, about: str, reject: Reject) -> NDArray[np.float32] | None:
    """68 points as released, float32 [136], or None with a `bad-landmarks` reject."""
    #    2.0743372e+02   1.9264301e+02        68 lines x y
    rows = [line for _, line in lines(data)]
    text = "\n".join((*rows, ""))
    if _POINTS.fullmatch(text):
        points = np.array(text.split(), dtype=np.float64)
        if np.abs(points).max() < _LARGEST:
            return points.astype(np.float32)
    reject(about, "bad-landmarks", f"{len(rows)} lines, expected 68 pairs of numbers")
    return None


def _add_line(found: Facs, line: str, where: str, reject: Reject) -> None:
    fields = line.split()
    au = _whole(fields[0]) if len(fields) == 2 else None
    intensity = _whole(fields[1]) if len(fields) == 2 else None
    if au is None or au not in AUS:
        reason = "bad-field-count" if len(fields) != 2 else "bad-number" if au is None else "unknown-code"
        reject(where, reason, f"{line.strip():.80}, expected an AU and its intensity")
        found.whole = False
    elif intensity is None or not 0 <= intensity <= 5:
        reject(where, "bad-number" if intensity is None else "out-of-range", f"AU{au} intensity {fields[1]:.40}")
        found.spoilt.add(au)
    elif au not in found.listed:
        found.listed[au] = float(intensity) or None
    elif found.listed[au] == (float(intensity) or None):
        reject(where, "duplicate-key", f"AU{au} again")
    else:
        reject(where, "conflicting-duplicate", f"AU{au} with intensities {found.listed[au] or 0:g} and {intensity}")
        found.listed[au] = None


def _number(token: str) -> float | None:
    """A finite number; Python would also take `1_0` and `nan`."""
    value = float(token) if _NUMBER.fullmatch(token) else np.inf
    return value if np.isfinite(value) else None


def _whole(token: str) -> int | None:
    value = _number(token)
    return int(value) if value is not None and value == int(value) else None
