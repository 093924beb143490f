"""A study: a paper's comparison table as data, with the recipe of each row and the numbers that the paper prints.

`trainer/studies/<paper>-<data>.yaml` holds one. A printed number stands there only if the paper's text has it, with
the number of its table; what the paper leaves blank stays blank.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from manifests.errors import AffectError, UnknownNameError
from manifests.refusal import refusal
from trainer.settings import Part

STUDIES = Path(__file__).parent.parent / "studies"
"""Folder of the studies that come with the package."""

SEEDS = (1, 12, 123, 1234, 12345)
"""The five seeds of Yu & Xu 2021 (methods.md 0.4)."""

DATA = ("synthetic", "fer")
"""What a study runs on: painted faces, whose every label is known, or FER2013 and FER+."""

_NAME = r"^[a-z0-9][a-z0-9-]*$"


class PrintedColumn(Part):
    """A column of the paper's table."""

    title: str
    """As the paper heads it."""
    unit: str = ""
    """% or nothing; the numbers are written as the paper has them."""


class Column(Part):
    """One of our metrics, and what is printed beside it."""

    title: str
    metric: str
    """As `affect evaluate` names it; `top1[expr7]` scores over a class space."""
    dataset: str
    """Dataset of the study's lake that is scored."""
    scale: float = Field(default=1, gt=0)
    """What our values are multiplied with to have the paper's unit: 100 for percent."""
    beside: tuple[str, ...] = ()
    """Columns of the paper that it is compared with, in `printed`."""


class Paint(Part):
    """A set of painted faces."""

    samples: int
    """Pictures."""
    variant: str | None = None
    """Of the set `synthetic`, a visual domain; none: its first."""
    seed: int = 1


class Step(Part):
    """A command that has to run before, without the leading `affect`; {runs}, {seed}, {data} and paths are filled."""

    command: str
    makes: str
    """`dataset/layer` that it leaves in the lake, such as synthetic/crops/resize48; it does not run where that is."""


class Experiment(Part):
    """One run per seed."""

    recipe: str
    """A recipe of the package."""
    set: dict[str, Any] = Field(default={})
    """Fields of the recipe that are changed, as `affect train --set` has them; {seed} is filled in."""
    before: tuple[Step, ...] = ()
    """What this run needs: labels of a teacher, for one."""


class Row(Part):
    """A method."""

    name: str = Field(pattern=_NAME)
    """Short name; also of the run folders, with the seed behind it."""
    label: str
    """As the paper calls it."""
    table: str = ""
    """Where it is printed."""
    runs: dict[str, Experiment] = Field(default={})
    """What is trained for it; most have one, a row of single-task networks has one per task. None: printed only."""
    set: dict[str, Any] = Field(default={})
    """Fields that are changed in all of its recipes."""
    needs: tuple[str, ...] = ()
    """Rows whose runs must be there first."""
    printed: dict[str, float] = Field(default={})
    """Column of the paper -> number."""
    small: dict[str, Any] = Field(default={})
    """Fields that are changed in all of its recipes where the study is made small."""


class Small(Part):
    """The size of a study that two CPU cores can run."""

    prepare: tuple[Step, ...] = ()
    """What it needs in the lake besides."""
    set: dict[str, Any]
    """Fields that are changed in every recipe, over those of study, row and run."""


class Study(Part):
    """One paper on one kind of data."""

    paper: str = Field(pattern=_NAME)
    data: str
    title: str
    """Title of the paper, as printed."""
    citation: str
    about: str
    """What stands for the paper's data here."""
    paths: dict[str, str] = Field(default={})
    """What the user has to name -> what it is, for `--with NAME=PATH`."""
    paint: dict[str, Paint] = Field(default={})
    """Folder under {data} -> the synthetic set that is written there."""
    prepare: tuple[Step, ...] = ()
    """What fills the lake, in order."""
    set: dict[str, Any] = Field(default={})
    """Fields that are changed in every recipe: the data, and sizes."""
    small: Small | None = None
    """Its size for a CPU; none: it has one size."""
    protocols: dict[str, str] = Field(default={})
    """Dataset that no row trains on -> protocol by which it is scored; the recipe's for those not named."""
    printed: dict[str, PrintedColumn]
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[Row, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> Study:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("every row once")
        wrong = [f"row {row.name} needs {n}" for row in self.rows for n in row.needs if n not in names]
        columns = [*(k for row in self.rows for k in row.printed), *(k for c in self.columns for k in c.beside)]
        wrong += [f"no column {key} in `printed`" for key in columns if key not in self.printed]
        scored = {column.dataset for column in self.columns}
        wrong += [f"no column is scored on {name} of `protocols`" for name in self.protocols if name not in scored]
        wrong += [f"{row.name} is printed without its table" for row in self.rows if row.printed and not row.table]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def smaller(self) -> Study:
        """This study at its size for a CPU.

        Raises:
            AffectError: It has one size.
        """
        if self.small is None:
            raise AffectError(
                f"{self.paper} on {self.data} has one size, which is for a CPU",
                then="leave --small out, or give --steps",
            )
        rows = tuple(row.model_copy(update={"runs": _smaller(row, self.small)}) for row in self.rows)
        unused = f"/crops/{self.set['alignment']}" if "alignment" in self.small.set else None
        prepare = (*(s for s in self.prepare if not (unused and s.makes.endswith(unused))), *self.small.prepare)
        return self.model_copy(update={"rows": rows, "prepare": prepare, "small": None})

    def row(self, name: str) -> Row:
        """A row by its name.

        Raises:
            UnknownNameError: There is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise UnknownNameError(f"row of {self.paper} on {self.data}", name, [row.name for row in self.rows])


def _smaller(row: Row, small: Small) -> dict[str, Experiment]:
    more = {**small.set, **row.small}
    return {key: run.model_copy(update={"set": {**run.set, **more}}) for key, run in row.runs.items()}


def studies() -> list[tuple[str, str]]:
    """Paper and data of every study of the package, in order."""
    found = [path.stem.rpartition("-") for path in STUDIES.glob("*.yaml")]
    return sorted((paper, data) for paper, _, data in found)


def load_study(paper: str, data: str) -> Study:
    """The study of a paper on a kind of data.

    Raises:
        UnknownNameError: There is none; the message lists what there is.
        RecipeError: Its file does not fit.
    """
    known = studies()
    if paper not in {name for name, _ in known}:
        raise UnknownNameError("paper", paper, sorted({name for name, _ in known}), "affect reproduce --list")
    if (paper, data) not in known:
        raise UnknownNameError(f"data for {paper}", data, [kind for name, kind in known if name == paper])
    path = STUDIES / f"{paper}-{data}.yaml"
    return parse_study(yaml.safe_load(path.read_text(encoding="utf-8")), f"study {path.stem}")


def parse_study(tree: object, about: str) -> Study:
    """A study from nested plain values.

    Raises:
        RecipeError: Names every wrong field with what was found and what was expected.
    """
    try:
        return Study.model_validate(tree)
    except ValidationError as error:
        raise refusal(f"{about}: does not fit", error, Study, "correct the study") from None


def filled(value: Any, given: dict[str, str]) -> Any:
    """The value with `{name}` replaced in every text in it, however deep; other braces stay."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: given.get(match[1], match[0]), value)
    if isinstance(value, dict):
        return {key: filled(inner, given) for key, inner in value.items()}
    return [filled(inner, given) for inner in value] if isinstance(value, list | tuple) else value
