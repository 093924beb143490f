"""A file of predictions as the answers to a challenge."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from affectdata.challenges import AUS, CLASS_ORDER, Answers
from manifests.errors import ChallengeError
from manifests.vocabulary import au_column
from trainer.external import predictions_in, read_table

_NAMED_BY = ("path", "image_location", "image")
_FRAME = re.compile(r"[^/]+/[0-9]{5}\.jpg")
PRESENT = 0.5
"""Probability from which an AU is answered as present."""


def answers_in(path: Path) -> Answers:
    """The predictions of a file, by the last two parts of the picture's path: `<track>/<5 digits>.jpg`.

    Raises:
        PredictionsError: The file cannot be read, or a value is no prediction.
        ChallengeError: It does not name frames, or not as the challenges do, or one twice; or it lacks classes or AUs
            of the challenges.
    """
    table = read_table(path)
    named = next((column for column in _NAMED_BY if column in table.column_names), None)
    if named is None:
        raise ChallengeError(
            f"{path} does not name frames",
            found=f"columns {', '.join(table.column_names[:12])}",
            expected="a column path, such as 14-30-1920x1080/00001.jpg",
        )
    places = [PurePosixPath(text or "").parts for text in table[named].cast(pa.string()).to_pylist()]
    frames = _frames(["/".join(parts[-2:]) for parts in places], f"{named} of {path}")
    tasks, predictions = predictions_in(table, path)
    expression, au = None, None
    if tasks.expression and predictions.expression is not None:
        classes = tasks.expression.classes
        unknown = [name for name in classes if name not in CLASS_ORDER]
        if unknown:
            raise ChallengeError(
                f"expressions of {path}",
                found=", ".join(unknown),
                expected=f"classes of the challenge: {', '.join(CLASS_ORDER)}",
                then="train with space: expr8-other",
            )
        codes = np.array([CLASS_ORDER.index(name) for name in classes], np.int64)
        expression = codes[predictions.expression.argmax(1)]
    if tasks.au and predictions.au is not None:
        lacking = [au_column(number) for number in AUS if number not in tasks.au.aus]
        if lacking:
            raise ChallengeError(f"action units of {path}", found=f"no {', '.join(lacking)}", expected="all twelve")
        au = predictions.au[:, [tasks.au.aus.index(number) for number in AUS]] >= PRESENT
    return Answers(frames, predictions.va, expression, au)


def _frames(names: list[str], about: str) -> dict[str, int]:
    """Row of each frame. Names of another form may stand among them, such as other pictures of the folder."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    unlike = [name for name in twice or names if not _FRAME.fullmatch(name)]
    if unlike and (twice or len(unlike) == len(names)):
        raise ChallengeError(
            f"{about} names no frames of tracks",
            found=", ".join(dict.fromkeys(unlike[:3])),
            expected="<track>/<5 digits>.jpg, such as 14-30-1920x1080/00001.jpg",
            then="extract the frames of each video to FOLDER/<track>/00001.jpg, 00002.jpg ..., and "
            "affect predict RUN FOLDER --out FILE",
        )
    if twice:
        raise ChallengeError(f"{about} names a frame twice", found=", ".join(twice[:3]), expected="one row per frame")
    return {name: row for row, name in enumerate(names)}
