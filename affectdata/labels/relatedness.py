"""Published tables that relate emotions to action units, as typed facts read from package data.

An AU that a row does not list has no stated relation to its emotion: callers that make labels treat it as
unknown, never as absent. Neutral is not a row of any table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from manifests.errors import UnknownNameError
from manifests.vocabulary import COMPOUND

TABLES = ("du2014",)
"""Names of the tables that lie in `affectdata/labels/tables/`."""


@dataclass(frozen=True)
class EmotionRow:
    """What one table says about one emotion.

    Attributes:
        emotion: Canonical name (`vocabulary.COMPOUNDS`).
        kind: `basic` or `compound`.
        prototypical: AUs with weight 1, in printed order.
        observational: AU -> fraction of people who show it, in (0, 1).
        starred: AUs printed with an asterisk.
        constituents: The two basic emotions of a compound one; empty for a basic one.
    """

    emotion: str
    kind: str
    prototypical: tuple[int, ...]
    observational: Mapping[int, float]
    starred: tuple[int, ...] = ()
    constituents: tuple[str, ...] = ()

    @property
    def aus(self) -> frozenset[int]:
        """Every AU that the row lists."""
        return frozenset(self.prototypical) | frozenset(self.observational)

    def weight(self, au: int) -> float:
        """1 for a prototypical AU, its fraction for an observational one, 0 for an unlisted one."""
        return 1.0 if au in self.prototypical else self.observational.get(au, 0.0)


@dataclass(frozen=True)
class RelatednessTable:
    """One published table: its rows, where they come from and how sure we are of each kind of row."""

    name: str
    title: str
    source: str
    semantics: str
    confidence: Mapping[str, str]
    rows: Mapping[str, EmotionRow]

    def row(self, emotion: str) -> EmotionRow:
        """The row of an emotion, under any spelling that the vocabulary knows.

        Raises:
            UnknownNameError: The spelling is unknown, or the table has no such row (neutral, for one).
        """
        name = COMPOUND.canonical(emotion)
        if name not in self.rows:
            raise UnknownNameError(f"row of table {self.name}", emotion, self.rows)
        return self.rows[name]

    def emotions(self, kind: str) -> tuple[str, ...]:
        """Names of the rows of one kind (`basic` or `compound`), in printed order."""
        return tuple(name for name, row in self.rows.items() if row.kind == kind)

    @property
    def owned_aus(self) -> frozenset[int]:
        """AUs that at least one row lists; the others have no owner in this table."""
        return frozenset().union(*(row.aus for row in self.rows.values()))


@cache
def relatedness(name: str) -> RelatednessTable:
    """The table of that name, for example `du2014` (Du, Tao & Martinez 2014, Table 1).

    Raises:
        UnknownNameError: There is no such table.
    """
    if name not in TABLES:
        raise UnknownNameError("relatedness table", name, TABLES)
    text = resources.files("affectdata.labels").joinpath("tables", f"{name}.toml").read_text(encoding="utf-8")
    facts = tomllib.loads(text)
    rows = {emotion: _row(emotion, row) for emotion, row in facts["rows"].items()}
    return RelatednessTable(name, facts["title"], facts["source"], facts["semantics"], facts["confidence"], rows)


def _row(emotion: str, row: dict[str, Any]) -> EmotionRow:
    return EmotionRow(
        emotion=COMPOUND.canonical(emotion),
        kind=row["kind"],
        prototypical=tuple(row["prototypical"]),
        observational={int(au): fraction for au, fraction in row["observational"].items()},
        starred=tuple(row.get("starred", ())),
        constituents=tuple(COMPOUND.canonical(name) for name in row.get("constituents", ())),
    )
