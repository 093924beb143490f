"""Published tables that relate emotions to action units, as typed facts read from package data.

An AU that a row does not list has no stated relation to its emotion: callers that make labels treat it as
unknown, never as absent. Neutral is not a row of any table.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from manifests.errors import LabelRuleError, UnknownNameError
from manifests.vocabulary import AUS, COMPOUND

TABLES = ("du2014", "affwild2", "emotionet", "emfacs")
"""Names of the tables that lie in `affectdata/labels/tables/`."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


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
    file: str = ""
    """Name of the user's file it was read from; empty for a shipped table."""

    @property
    def digest(self) -> str:
        """Changes with any AU or fraction: two versions of a user's table may bear one name."""
        rows = {name: [row.prototypical, sorted(row.observational.items())] for name, row in self.rows.items()}
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()

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


def relatedness(name: str) -> RelatednessTable:
    """The table of that name, for example `du2014` (Du, Tao & Martinez 2014, Table 1), or that of a TOML file.

    Args:
        name: One of `TABLES`, or a path that ends in `.toml` (`affect relate` writes such files).

    Raises:
        UnknownNameError: There is no such table, or it names an emotion that nobody knows.
        LabelRuleError: The file is absent or no table of this form.
    """
    return read_table(Path(name)) if name.endswith(".toml") else _shipped(name)


@cache
def _shipped(name: str) -> RelatednessTable:
    if name not in TABLES:
        raise UnknownNameError("relatedness table", name, TABLES, "a file of your own: --table PATH.toml")
    text = resources.files("affectdata.labels").joinpath("tables", f"{name}.toml").read_text(encoding="utf-8")
    return _table(tomllib.loads(text))


def read_table(path: Path) -> RelatednessTable:
    """The table of a TOML file in the form of those that are shipped; see `relatedness`."""
    expected = 'name = "...", and [rows.<emotion>] with prototypical = [AU, ...] and observational = { AU = fraction }'
    try:
        table = _table(tomllib.loads(path.read_text(encoding="utf-8")))
        check_own_name(table.name)
        return replace(table, file=path.name)
    except OSError as error:
        raise LabelRuleError(f"table {path} cannot be read", found=str(error), expected=expected) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise LabelRuleError(f"table {path} is no relatedness table", found=found, expected=expected) from None


def _table(facts: dict[str, Any]) -> RelatednessTable:
    rows = {emotion: _row(emotion, row) for emotion, row in facts["rows"].items()}
    return RelatednessTable(
        name=str(facts["name"]),
        title=str(facts.get("title", "")),
        source=str(facts.get("source", "")),
        semantics=str(facts.get("semantics", "")),
        confidence=dict(facts.get("confidence", {})),
        rows=rows,
    )


def check_own_name(name: str) -> None:
    """Refuse a name that a user's table cannot have: its labels would pass for those of another table or mode.

    Raises:
        ValueError: It says why.
    """
    if name in TABLES:
        raise ValueError(f"name {name!r} is that of a published table")
    if not _NAME.fullmatch(name) or name.endswith("-soft"):
        raise ValueError(f"name {name!r}: lower-case letters and digits joined by '-', not ending in -soft")


def _row(emotion: str, row: dict[str, Any]) -> EmotionRow:
    prototypical = tuple(int(au) for au in row.get("prototypical", ()))
    observational = {int(au): float(fraction) for au, fraction in row.get("observational", {}).items()}
    wrong = sorted({*prototypical, *observational} - set(AUS)) or sorted(set(prototypical) & set(observational))
    if wrong or not all(0 < fraction < 1 for fraction in observational.values()):
        raise ValueError(f"{emotion}: AU {wrong}, or a fraction outside (0, 1)")
    return EmotionRow(
        emotion=COMPOUND.canonical(emotion),
        kind=row.get("kind", "basic"),
        prototypical=prototypical,
        observational=observational,
        starred=tuple(row.get("starred", ())),
        constituents=tuple(COMPOUND.canonical(name) for name in row.get("constituents", ())),
    )
