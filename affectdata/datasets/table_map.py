"""The TOML file that says what the columns of a user's own table mean; see `affectdata.datasets.table`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from manifests.errors import DatasetError
from manifests.layer import SOURCE_NAME
from manifests.refusal import refusal
from manifests.vocabulary import COMPOUNDS, EXPRESSIONS, FIVE_POINTS, MENTAL_STATES, parse_au

Unit = Literal["frame", "clip", "sequence"]
CLASSES = {"expression": EXPRESSIONS, "compound": COMPOUNDS, "mental_state": MENTAL_STATES}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SampleColumns(_Strict):
    """Which column identifies a sample, where its picture lies, and who is in it."""

    id: str = ""
    image: str = ""
    image_folder: str = ""
    image_suffix: str = ""
    frame: str = ""
    sequence: str = ""
    frame_index: str = ""
    time_s: str = ""
    subject: str = ""
    group: str = ""
    split: str = ""
    age: str = ""
    age_group: str = ""
    gender: str = ""
    ethnicity: str = ""
    attributes_source: str = ""
    box: tuple[()] | tuple[str, str, str, str] = ()
    points5: Mapping[str, tuple[str, str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _points(self) -> SampleColumns:
        if unknown := sorted(self.points5.keys() - set(FIVE_POINTS)):
            raise ValueError(f"points5 holds {', '.join(unknown)}; known: {', '.join(FIVE_POINTS)}")
        return self


class Scale(_Strict):
    """A number column whose own range is mapped linearly to -1..1."""

    column: str
    low: float = -1
    high: float = 1

    @model_validator(mode="after")
    def _ascending(self) -> Scale:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must lie below high {self.high:g}")
        return self


class LabelColumns(_Strict):
    """Which columns one source of labels fills."""

    unit: Unit = "frame"
    rule: str = ""
    expression: str = ""
    compound: str = ""
    mental_state: str = ""
    offered: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    valence: str | Scale | None = None
    arousal: str | Scale | None = None
    au: str | Mapping[str, str] = ""
    au_intensity: str | Mapping[str, str] = ""
    au_cut: float | None = None
    landmarks: str | tuple[str, ...] = ()
    landmark_base: Literal[0, 1] | None = None

    def scales(self) -> dict[str, Scale]:
        """Valence and arousal, where given."""
        given = {"valence": self.valence, "arousal": self.arousal}
        return {name: Scale(column=x) if isinstance(x, str) else x for name, x in given.items() if x}

    def classes(self) -> dict[str, str]:
        """Class task -> column."""
        return {task: column for task in CLASSES if (column := getattr(self, task))}

    @model_validator(mode="after")
    def _whole(self) -> LabelColumns:
        if self.landmarks and self.landmark_base is None:
            raise ValueError("landmarks need landmark_base = 0 or 1: the coordinate of the first pixel's centre")
        if isinstance(self.landmarks, tuple) and self.landmarks and len(self.landmarks) != 136:
            raise ValueError(f"landmarks name {len(self.landmarks)} columns, expected 136: x0, y0, ... x67, y67")
        if self.au_intensity and self.au_cut is None:
            raise ValueError("au_intensity needs au_cut: the intensity from which on an AU counts as present")
        for task, names in self.offered.items():
            if task not in CLASSES:
                raise ValueError(f"offered holds {task}; known: {', '.join(CLASSES)}")
            if unknown := sorted(set(names) - set(CLASSES[task])):
                raise ValueError(f"offered.{task} holds {', '.join(unknown)}; known: {', '.join(CLASSES[task])}")
        return self


class ProtocolColumns(_Strict):
    """Which cells of a column train and which are scored."""

    column: str
    train: tuple[str | int, ...] = ()
    val: tuple[str | int, ...] = ()
    test: tuple[str | int, ...] = ()
    truth: tuple[str, ...]
    keys: tuple[Literal["subject", "sequence", "group", "pixels"], ...] = ()

    def roles(self) -> dict[str, str]:
        """Cell -> role."""
        return {str(cell): role for role in ("train", "val", "test") for cell in getattr(self, role)}


class TableMap(_Strict):
    """The whole file."""

    file: str = ""
    samples: SampleColumns = SampleColumns()
    missing: Mapping[str, tuple[str | float | int, ...]] = Field(default_factory=dict)
    codes: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    labels: Mapping[str, LabelColumns] = Field(default_factory=dict)
    protocols: Mapping[str, ProtocolColumns] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sources(self) -> TableMap:
        for source in self.labels:
            if not SOURCE_NAME.match(source):
                raise ValueError(f"label source {source!r}; expected human[-<name>], auto[-<name>], tool-<name> ...")
        for name, protocol in self.protocols.items():
            if unknown := sorted(set(protocol.truth) - set(self.labels)):
                raise ValueError(f"protocols.{name}.truth names {', '.join(unknown)}, which [labels] does not")
        return self


def load_map(path: str) -> str:
    """Text of a map file.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"column map {path}", found=str(error), expected="a TOML file", then="affect info table"
        ) from None


def parse_map(text: str, path: str = "") -> TableMap:
    """The map that a text holds.

    Args:
        text: TOML.
        path: Its file, for messages.

    Raises:
        DatasetError: No TOML, or a key or value that does not belong there.
    """
    about = f"column map {path}" if path else "the column map"
    try:
        return TableMap.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DatasetError(f"{about} is no TOML", found=str(error), then="affect info table") from None
    except ValidationError as error:
        then = "affect info table shows a full map"
        raise refusal(f"{about}: does not fit", error, TableMap, then, DatasetError) from None


def au_columns(given: str | Mapping[str, str], columns: Sequence[str], about: str) -> dict[int, str]:
    """AU number -> column, from a table or from a pattern such as `AU*` or `AU*_intensity`.

    Raises:
        DatasetError: The pattern fits no column. UnknownNameError for a number that is no AU.
    """
    if not isinstance(given, str):
        return {parse_au(au).number: column for au, column in given.items()}
    if not given:
        return {}
    before, star, after = given.partition("*")
    pattern = re.compile(f"{re.escape(before)}0*([0-9]{{1,2}}){re.escape(after)}")
    found = {parse_au(match[1]).number: name for name in columns if (match := pattern.fullmatch(name))}
    if not star or not found:
        raise DatasetError(
            f"{about}: pattern {given!r} fits no column",
            found=", ".join(columns),
            expected="a pattern with one * for the AU's number, or a table: au = {1 = 'column', ...}",
        )
    return found
