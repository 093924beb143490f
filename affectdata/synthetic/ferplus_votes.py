"""FER+ votes of synthetic faces, of five kinds whose outcome under each FER+ rule is known without running it.

The outcomes were worked out by hand from the rules (datasets/fer2013.md 3), so that a reader's implementation is
compared with something other than itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from affectdata.synthetic.truth import LabelTruth

COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""Vote columns of both FER+ tables, in file order."""

_NAMES = {"NF": "not_a_face"}


@dataclass(frozen=True)
class Votes:
    """Ten votes of one picture, and what the rules make of them.

    Attributes:
        counts: Column -> votes, for columns that have any.
        majority: The class under the majority rule; None where it drops the picture.
        probability: Class -> share under the probability rule; None where it drops the picture.
    """

    counts: Mapping[str, int]
    majority: str | None
    probability: Mapping[str, float] | None

    @property
    def face_status(self) -> str:
        """What the votes say of the picture; no row of the twin has more than half of its votes, but not all, on NF."""
        return "not_a_face" if set(self.counts) == {"NF"} else "ok"

    def cells(self) -> str:
        """The ten numbers as the tables hold them."""
        return ",".join(str(self.counts.get(column, 0)) for column in COLUMNS)

    def labels(self) -> tuple[LabelTruth, ...]:
        """What the raw layer and both derived layers must say; a rule that drops the picture says nothing."""
        votes = {_NAMES.get(column, column): self.counts.get(column, 0) for column in COLUMNS}
        labels = [LabelTruth("human-ferplus", votes=votes)]
        if self.majority is not None:
            labels.append(LabelTruth("derived-ferplus-majority", expression=self.majority))
        if self.probability is not None:
            first = max(self.probability, key=lambda name: self.probability[name])  # type: ignore[index]  # not None
            labels.append(LabelTruth("derived-ferplus-probability", first, self.probability))
        return tuple(labels)


NOT_A_FACE = Votes({"NF": 10}, None, None)
UNKNOWN = Votes({"unknown": 7, "neutral": 3}, None, None)


def clear(name: str) -> Votes:
    """Eight votes for one class; the two single votes are set to 0 by every rule."""
    others = [column for column in COLUMNS[:8] if column != name][:2]
    return Votes({name: 8, **dict.fromkeys(others, 1)}, name, {name: 1.0})


def split(name: str, other: str) -> Votes:
    """Six to four: 6 > 10 / 2 is a majority; 6 < 7.5, so the probability rule moves both."""
    return Votes({name: 6, other: 4}, name, {name: 0.6, other: 0.4})


def torn(name: str, other: str) -> Votes:
    """Five, three, and two unknown: 5 is not more than 10 / 2, so no majority; 5 + 3 >= 7.5 is moved, 8 > 5 is kept."""
    return Votes({name: 5, other: 3, "unknown": 2}, None, {name: 0.625, other: 0.375})


def draw(rng: np.random.Generator, name: str, number: int) -> Votes:
    """Votes for a picture of class `name`; `number` picks the kind, so that every kind occurs."""
    other = COLUMNS[int(rng.choice([k for k in range(8) if COLUMNS[k] != name]))]
    kinds = (clear(name), split(name, other), torn(name, other), clear(name), UNKNOWN)
    return kinds[number % len(kinds)] if number % 15 else NOT_A_FACE
