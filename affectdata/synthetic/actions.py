"""What a synthetic face does: which action units are on, how strongly, and what that feels like.

An expression is acted through the table of Du et al. 2014: its prototypical AUs always, each observational AU
with its printed fraction. AUs outside `DRAWN_AUS` (only AU11 in that table) are not acted. Valence and arousal
follow from the acted AUs by a rule of our own (`valence_arousal`): synthetic, published nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affectdata.labels.relatedness import relatedness
from manifests.vocabulary import AU_SPACES, COMPOUND, COMPOUNDS, EXPRESSIONS

DRAWN_AUS = AU_SPACES["fbn17"]
"""The 17 AUs that move a synthetic face, in the order of `Acting.intensities`."""

TABLE = relatedness("du2014")

BASIC = ("neutral", *TABLE.emotions("basic"))
"""Neutral and the six basic expressions: what the synthetic datasets draw from."""

UNOWNED_AUS = tuple(au for au in DRAWN_AUS if au not in TABLE.owned_aus)
"""Drawn AUs that no expression of the table lists (AU14): on at `UNOWNED_RATE` whatever the expression."""

UNOWNED_RATE = 0.12
INTENSITIES = (2, 5)
"""Lowest and highest intensity of an AU that is on; below 2 it would hardly be seen at 96 pixels."""

ANCHORS = {
    "neutral": (0.0, 0.0),
    "happiness": (0.85, 0.40),
    "sadness": (-0.75, -0.45),
    "surprise": (0.15, 0.85),
    "fear": (-0.65, 0.75),
    "disgust": (-0.80, 0.25),
    "anger": (-0.70, 0.65),
}
"""(valence, arousal) of each basic expression at full strength: our choice on the affect circle, not measured."""

EYES_AND_JAW = (5, 26)
"""AUs that add arousal whatever the expression: wide eyes and a dropped jaw."""

AROUSAL_OF_EYES_AND_JAW = 0.1
"""Arousal that each of them adds at intensity 5."""


@dataclass(frozen=True)
class Acting:
    """One moment of a face.

    Attributes:
        category: A name of `COMPOUNDS`: neutral, a basic or a compound expression.
        intensities: FACS intensity 0-5 of each AU of `DRAWN_AUS`; 0 is absent.
    """

    category: str
    intensities: tuple[float, ...]

    def intensity(self, au: int) -> float:
        """Intensity 0-5 of one drawn AU."""
        return self.intensities[DRAWN_AUS.index(au)]

    @property
    def present(self) -> frozenset[int]:
        """The AUs that are on."""
        return frozenset(au for au, value in zip(DRAWN_AUS, self.intensities, strict=True) if value > 0)

    @property
    def expression(self) -> str | None:
        """The basic expression, or None where the category is a compound one."""
        return self.category if self.category in EXPRESSIONS else None


def acting(category: str, intensities: dict[int, float]) -> Acting:
    """An acting from AU -> intensity; AUs left out are absent.

    Raises:
        UnknownNameError: The category is no name of `COMPOUNDS`.
    """
    return Acting(COMPOUND.canonical(category), tuple(float(intensities.get(au, 0)) for au in DRAWN_AUS))


def draw_acting(rng: np.random.Generator, category: str | None = None) -> Acting:
    """One acting of `category`, or of a basic expression drawn evenly.

    Prototypical AUs are on, observational ones with their fraction, others off; intensities are whole numbers
    around one strength per face, so that the AUs of a face agree.
    """
    category = COMPOUND.canonical(category) if category is not None else BASIC[rng.integers(len(BASIC))]
    strength = rng.uniform(0.5, 1.0)
    row = TABLE.rows.get(category)
    intensities: dict[int, float] = {}
    for au in DRAWN_AUS:
        chance = UNOWNED_RATE if au in UNOWNED_AUS else row.weight(au) if row else 0.0
        level = 5 * strength * rng.uniform(0.8, 1.2)
        if rng.random() < chance:
            intensities[au] = float(np.clip(round(level), *INTENSITIES))
    return acting(category, intensities)


def strength_of(acted: Acting) -> float:
    """Mean intensity of the category's prototypical drawn AUs, as a share of 5; 0 for neutral."""
    row = TABLE.rows.get(acted.category)
    levels = [acted.intensity(au) for au in row.prototypical if au in DRAWN_AUS] if row else []
    return float(np.mean(levels)) / 5 if levels else 0.0


def valence_arousal(acted: Acting) -> tuple[float, float]:
    """Valence and arousal in [-1, 1] by the synthetic rule, a function of the acting alone.

    The category's anchor (the mean of both constituents' anchors for a compound one) times `strength_of`, plus
    `AROUSAL_OF_EYES_AND_JAW` x intensity / 5 of AU5 and of AU26; clipped.
    """
    row = TABLE.rows.get(acted.category)
    names = row.constituents if row and row.constituents else (acted.category,)
    valence, arousal = np.mean([ANCHORS[name] for name in names], axis=0) * strength_of(acted)
    arousal += sum(AROUSAL_OF_EYES_AND_JAW * acted.intensity(au) / 5 for au in EYES_AND_JAW)
    return float(np.clip(valence, -1, 1)), float(np.clip(arousal, -1, 1))


COMPOUND_CATEGORIES = tuple(name for name in COMPOUNDS if name in TABLE.emotions("compound"))
"""The 15 compound expressions that the table can act."""
