"""The errors a user can meet. Each class builds its own message: object, found, expected, next command.

The command line prints `str(error)` and exits with code 2; nothing here is ever shown as a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class AffectError(Exception):
    """Base of every error that is the user's to mend, not ours; a command ends with its `exit_code`.

    Args:
        about: The object the error is about: a file, a column, a dataset, a command.
        found: What was there.
        expected: What would have been right.
        then: The command or action that mends it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, about: str, *, found: str = "", expected: str = "", then: str = "") -> None:
        self.about, self.found, self.expected, self.then = about, found, expected, then
        lines = [about]
        lines += [f"  found:    {found}"] if found else []
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  next:     {then}"] if then else []
        super().__init__("\n".join(lines))


class UnknownNameError(AffectError):
    """A name that a vocabulary, registry or lake does not hold; lists the known names, nearest first."""

    def __init__(self, kind: str, name: object, known: Iterable[str], then: str = "") -> None:
        names = list(known)
        spelt = {known_name.casefold(): known_name for known_name in names}
        near = [spelt[folded] for folded in get_close_matches(str(name).casefold(), spelt, n=3)]
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        super().__init__(
            f"unknown {kind} {name!r}{hint}",
            expected=", ".join(names) or "nothing: there is none yet",
            then=then,
        )


class SchemaError(AffectError):
    """A table that does not fit the schema of its layer: wrong type, range, name or a surviving sentinel."""


class LakeError(AffectError):
    """A lake that cannot be opened, read or published."""


class LakeVersionError(LakeError):
    """A lake written by another schema version."""


class LakeBusyError(LakeError):
    """Another process is writing this dataset; the message names it."""


class StaleLayerError(LakeError):
    """A layer whose parent has changed since it was made."""


class StorageError(LakeError):
    """The disk refused: full, read-only or over quota. The old generation stays."""


class QueryError(AffectError):
    """SQL that is not exactly one SELECT over the lake, or that DuckDB refuses."""


class SourceOrderError(AffectError):
    """A source pattern that is ambiguous, unknown, or not allowed for the purpose at hand."""


class DatasetError(AffectError):
    """A dataset folder that its reader cannot recognise or read."""


class RejectLimitError(DatasetError):
    """More unexpected rejects than `--max-rejects` allows; nothing was published."""


class MediaError(AffectError):
    """One image or frame that cannot be read; `reason` is a reject code, never fatal to a run."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


class WeightsError(AffectError):
    """Network weights that are absent, of the wrong hash, or not loadable safely."""


class RecipeError(AffectError):
    """A training recipe whose parts do not fit each other or the lake."""


class ProtocolError(AffectError):
    """A protocol that leaks, is missing, or is used for what it must not be."""


class RunError(AffectError):
    """A run folder that is missing, unfinished, or made by another recipe."""


class RunStoppedError(RunError):
    """A run that was asked to stop and has saved itself: the same command with `--resume` goes on."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: a job script tells it from a failure


class LabelRuleError(AffectError):
    """A relatedness table, or a way of deriving labels from it, that cannot be used."""


class PredictionsError(AffectError):
    """A file of predictions that cannot be scored as it is."""


class ChallengeError(AffectError):
    """A challenge's list, or predictions for it, of which no submission can be made."""
