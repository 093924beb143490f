"""The semantic ratings inside JAFFE's README: six mean ratings per picture, 1 to 5, and which picture they are of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from affectdata.datasets.reading import Reject
from affectdata.datasets.text import lines

SCALES = {"HAP": "happiness", "SAD": "sadness", "SUR": "surprise", "ANG": "anger", "DIS": "disgust", "FEA": "fear"}

_STOP = "semantic ratings data (fear excluded)"
"""Heading of a second table, of another study with five scales [one source]; mixing both would be wrong."""

_HEADER = re.compile(r"#\s*((?:[A-Z]{3}\s+)+)PIC\s*", re.I)
_RULE = re.compile(r"[\s\-=_#]*")
_PICTURE = re.compile(r"([A-Z]{2})-([A-Z]{2}[1-5])")
_NUMBER = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_SERIAL = re.compile(r"[0-9]{1,6}")
_FIELDS = 8


@dataclass(frozen=True)
class Rating:
    """One row of the table.

    Args:
        where: File and line.
        serial: Running number, which in the official table is the serial of the picture.
        picture: `KM-NE1`.
        means: Expression -> mean rating, 1 to 5.
    """

    where: str
    serial: int
    picture: str
    means: Mapping[str, float]


def has_ratings(data: bytes) -> bool:
    """Whether a README holds the primary table."""
    return any(_scales(line) for _, line in lines(data))


def read_ratings(data: bytes, about: str, reject: Reject) -> Iterator[Rating]:
    """The rows of the primary table; in it every line that looks like one is a row or a reject.

    A line looks like a row when it begins with a number, ends with the id of a picture, or has eight fields.
    """
    # # HAP SAD SUR ANG DIS FEA PIC
    # --------------------------------------------------------------
    # 1 2.61 2.40 1.95 1.81 1.77 1.90 KM-NE1
    scales: tuple[str, ...] = ()
    for number, line in table_lines(data):
        scales = _scales(line) or scales
        fields = line.split()
        if _scales(line) or not looks_like_row(fields):
            continue
        rating = _rating(fields, scales, f"{about} line {number}", reject)
        if rating:
            yield rating


def table_lines(data: bytes) -> Iterator[tuple[int, str]]:
    """The lines from the header of the primary table to the heading of the second one, without rules."""
    inside = False
    for number, line in lines(data):
        if inside and _STOP in line.lower():
            return
        inside = inside or bool(_scales(line))
        if inside and not _RULE.fullmatch(line):
            yield number, line


def looks_like_row(fields: list[str]) -> bool:
    """Whether a line of the table is meant as a row; the rest is prose."""
    if not fields:
        return False
    return fields[0].isdecimal() or _PICTURE.fullmatch(fields[-1]) is not None or len(fields) == _FIELDS


def joined(ratings: Iterable[Rating], pictures: Mapping[str, int], reject: Reject) -> dict[str, Mapping[str, float]]:
    """Picture id -> its means. A row joins by the id of its picture alone.

    The running number only tells a mistyped id from a row without a picture: both are refused, and neither is
    repaired. Rows that say different things of one picture are all refused.

    Args:
        pictures: Id of each picture, such as `KM-NE1`, and its serial.
    """
    serials = {serial: picture for picture, serial in pictures.items()}
    rows: dict[str, list[Rating]] = {}
    for rating in ratings:
        rows.setdefault(rating.picture, []).append(rating)
    found: dict[str, Mapping[str, float]] = {}
    for picture, those in rows.items():
        first = those[0]
        alike = all(rating.means == first.means for rating in those)
        if picture in pictures and alike:
            found[picture] = first.means
            reject.many([rating.where for rating in those[1:]], "duplicate-key", [picture] * (len(those) - 1))
        elif picture in pictures:
            reject.many([rating.where for rating in those], "conflicting-duplicate", [picture] * len(those))
    for rating in (rating for picture, those in rows.items() if picture not in pictures for rating in those):
        near = serials.get(rating.serial)
        if near is None or near in rows:
            reject(rating.where, "rating-without-image", rating.picture)
        else:
            reject(rating.where, "id-mismatch", f"{rating.picture}, but picture {rating.serial} is {near}")
    return found


def _rating(fields: list[str], scales: tuple[str, ...], where: str, reject: Reject) -> Rating | None:
    text = " ".join(fields)[:80]
    if len(fields) != _FIELDS:
        reject(where, "bad-field-count", text)
    elif not _PICTURE.fullmatch(fields[-1]):
        reject(where, "bad-name", text)
    elif not _SERIAL.fullmatch(fields[0]) or not all(map(_NUMBER.fullmatch, fields[1:-1])):
        reject(where, "bad-number", text)
    else:
        values = [float(field) for field in fields[1:-1]]
        if all(1 <= value <= 5 for value in values):
            return Rating(where, int(fields[0]), fields[-1], dict(zip(scales, values, strict=True)))
        reject(where, "out-of-range", f"{text}, expected 1 to 5")
    return None


def _scales(line: str) -> tuple[str, ...]:
    """Expressions of the columns, in the order of a header; nothing for any other line."""
    match = _HEADER.fullmatch(line.strip())
    names = match[1].upper().split() if match else []
    return tuple(SCALES[name] for name in names) if sorted(names) == sorted(SCALES) else ()
