"""A study holds printed numbers that its paper has, and recipes and metrics that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from manifests.errors import AffectError, RecipeError, UnknownNameError
from trainer.metrics.registry import metric
from trainer.recipe import load
from trainer.reproduction.job import Asked, differences, jobs
from trainer.reproduction.study import Row, Study, filled, load_study, parse_study, studies
from trainer.reproduction.workshop import Painting, Workshop
from trainer.scoring import split_name

ALL = studies()


@pytest.mark.parametrize(("paper", "data"), ALL)
def test_every_run_of_a_study_is_a_recipe_that_fits(paper: str, data: str) -> None:
    study = load_study(paper, data)
    assert (study.paper, study.data) == (paper, data)
    planned = jobs(study, Workshop(Path("x"), dict.fromkeys(study.paths, "/p")), Asked((1, 2)))
    assert len({job.name for job in planned}) == len(planned)
    assert all(metric(split_name(column.metric)[0]) for column in study.columns)
    text = str([job.wanted.model_dump() for job in planned]) + str([step.command for j in planned for step in j.before])
    assert "{seed}" not in text
    assert "{runs}" not in text


@pytest.mark.parametrize("paper", sorted({paper for paper, data in ALL if data == "fer"}))
def test_a_study_of_real_faces_has_a_size_for_a_cpu_with_a_smaller_network_in_every_run(paper: str) -> None:
    study = load_study(paper, "fer")
    small = study.smaller()
    assert small.small is None
    workshop = Workshop(Path("x"), dict.fromkeys(study.paths, "/p"))
    whole, less = (jobs(one, workshop, Asked((1,))) for one in (study, small))
    layers = {step.makes for step in small.prepare}
    for job, little in zip(whole, less, strict=True):
        assert (job.name, job.base) == (little.name, little.base)
        assert job.wanted.backbone != little.wanted.backbone
        assert {f"{name}/crops/{little.wanted.alignment}" for name in little.own} <= layers


def test_a_study_of_one_size_is_not_made_smaller() -> None:
    with pytest.raises(AffectError, match="one size"):
        load_study("sjmt", "synthetic").smaller()


@pytest.mark.parametrize(("paper", "data"), ALL)
def test_every_printed_number_stands_in_its_row_of_the_paper(paper: str, data: str, shared: Path) -> None:
    study = load_study(paper, data)
    text = _paper(study, shared)
    lines = said(text)
    for row in study.rows:
        assert not row.printed or stands(study, row, lines), f"{row.label}: its numbers stand in no row of {row.table}"


CHANGED = {
    "CCC-A and CCC-V": {"ccc-a": 0.28, "ccc-v": 0.44},
    "accuracy and F1 of expressions": {"expr-acc": 0.40, "expr-f1": 0.61},
    "accuracy and F1 of AUs": {"au-acc": 0.40, "au-f1": 0.88},
}


@pytest.mark.parametrize("swapped", CHANGED.values(), ids=CHANGED.keys())
def test_numbers_in_each_others_columns_are_found(swapped: dict[str, float], shared: Path) -> None:
    study = load_study("f3r", "synthetic")
    lines, row = said(_paper(study, shared)), study.row("student")
    assert stands(study, row, lines)
    assert not stands(study, row.model_copy(update={"printed": row.printed | swapped}), lines)


@pytest.mark.parametrize("paper", sorted({paper for paper, _ in ALL}))
def test_numbers_of_another_row_are_found(paper: str, shared: Path) -> None:
    """Where the printed numbers of two rows differ at all, and but for headings that the paper's text has twice."""
    study = load_study(paper, "synthetic")
    lines = said(_paper(study, shared))
    printed = [row for row in study.rows if row.printed]
    alike = {row.label for row in study.rows if row.label in ("Single task, RN", "Cross stitch RN")}
    for row in printed:
        for other in printed:
            if other.printed == row.printed or {row.label, other.label} <= alike or other.table != row.table:
                continue
            wrong = row.model_copy(update={"printed": other.printed})
            assert not stands(study, wrong, lines), f"{row.label} with the numbers of {other.label}"


@dataclass(frozen=True)
class Said:
    """A method's numbers in a paper's text, in their order: of a line of a table, of one of its cells, or in prose.

    A method is known by its words: those in front of the line's numbers, and those that head a cell's column.
    """

    block: int
    tables: frozenset[str]
    """Numbers of the captions next before and next after its block of tabbed lines; none: prose."""
    words: frozenset[str]
    numbers: tuple[float, ...]


def stands(study: Study, row: Row, lines: list[Said]) -> bool:
    """Whether the row's numbers, in the order of the study's columns, stand in the paper's rows of that method.

    Each table of the row holds some of them, one after the other and in its own order; it may have more columns.
    """
    numbers = [row.printed[column] for column in study.printed if column in row.printed]
    words, reach = _words(row.label), {0}
    for table in row.table.split(","):
        mine = _nearest(words, [line for line in lines if line.tables & set(re.findall(r"\d+", table))])
        if table.strip() == "text":
            mine = [line for line in lines if not line.tables and words <= line.words]
        reach |= {end for start in reach for line in mine for end in _ends(numbers, start, line.numbers)}
    return len(numbers) in reach


def _nearest(words: frozenset[str], lines: list[Said]) -> list[Said]:
    """The lines of each block that share most words with a label, and of these those with fewest others."""
    best: dict[int, tuple[int, int]] = {}
    closeness = [(len(line.words & words), -len(line.words - words)) for line in lines]
    for line, close in zip(lines, closeness, strict=True):
        best[line.block] = max(close, best.get(line.block, (1, -99)))
    return [line for line, close in zip(lines, closeness, strict=True) if close == best[line.block]]


def _ends(numbers: list[float], start: int, line: tuple[float, ...]) -> Iterator[int]:
    """Up to where the numbers from `start` on stand in the line, in order."""
    rest = iter(line)
    for end in range(start, len(numbers)):
        if numbers[end] not in rest:
            return
        yield end + 1


def said(text: str) -> list[Said]:
    """Every line of a paper's text that has numbers, and every number of a table with the heading of its column."""
    found: list[Said] = []
    lines = re.sub(r"</?b>", "", text).splitlines()
    captions = [(k, match[1]) for k, line in enumerate(lines) if (match := re.match(r"Table\.? ?(\d+)", line))]
    name, heads = "", list[str]()
    for k, line in enumerate(lines):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 2:
            block, name, heads = k, "", []
            found.append(Said(k, frozenset(), _words(line), tuple(map(float, re.findall(r"\d+\.\d+", line)))))
            continue
        first = next((at for at, cell in enumerate(cells) if _NUMBER.fullmatch(cell)), len(cells))
        if first == len(cells):
            heads, name = cells, ""
            continue
        name = cells[0] or name  # an empty cell goes on with what stands above it
        words = _words(" ".join([name, *(cell for cell in cells[1:first] if not _COUNT.fullmatch(cell))]))
        row = Said(block, _around(k, captions), words, tuple(_values(cells)))
        found.append(row)
        found += [
            replace(row, words=words | _words(head), numbers=(value,))
            for head, cell in zip(heads, cells, strict=False)
            for value in _values([cell])
        ]
    return found


def _values(cells: list[str]) -> list[float]:
    return [float(cell.rstrip("%")) for cell in cells if _NUMBER.fullmatch(cell) and cell != "-"]


def _around(line: int, captions: list[tuple[int, str]]) -> frozenset[str]:
    """Numbers of the captions before and after a line."""
    return frozenset(
        [number for at, number in captions if at <= line][-1:] + [number for at, number in captions if at > line][:1]
    )


_NUMBER = re.compile(r"-|\d+(\.\d+)?%?")
_COUNT = re.compile(r"\([\d,]+\)")


def _words(label: str) -> frozenset[str]:
    """Words and numbers of a label; what it says is not there, as in `No ADA`, is none of them."""
    return frozenset(re.findall(r"[a-z]+|\d+", re.sub(r"\bno \w+|\bx\b", "", label.lower())))


def _paper(study: Study, shared: Path) -> str:
    texts = [path.read_text(encoding="utf-8") for path in sorted((shared / "papers").glob("*.txt"))]
    return next(text for text in texts if _letters(study.title) in _letters(text[:3000]))


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def test_a_column_is_scored_by_the_run_of_its_dataset_and_by_others_only_where_a_row_has_none() -> None:
    study = load_study("sjmt", "fer")
    workshop = Workshop(Path("x"), {"fer2013": "/p"})
    scored = {job.name: tuple(job.scored) for job in jobs(study, workshop, Asked((1,)))}
    assert scored["sjmt-single-r32-fer2013-1"] == ("fer2013",)
    assert scored["sjmt-single-r32-ferplus-1"] == ("ferplus",)
    assert scored["sjmt-sjmt-r32-1"] == ("fer2013", "ferplus")
    alone = study.model_copy(
        update={"rows": tuple(row.model_copy(update={"runs": dict([*row.runs.items()][:1])}) for row in study.rows)}
    )
    scored = {job.name: tuple(job.scored) for job in jobs(alone, workshop, Asked((1,)))}
    assert scored["sjmt-single-r32-1"] == ("fer2013", "ferplus")


@pytest.mark.parametrize("paper", ["facebehaviornet", "cmcnn"])
def test_the_other_domain_is_scored_by_its_own_protocol_and_trains_no_run(paper: str) -> None:
    study = load_study(paper, "synthetic")
    planned = jobs(study, Workshop(Path("x")), Asked((1,)))
    assert any("synthetic-dim" in job.scored for job in planned)
    for job in planned:
        assert job.own == ("synthetic",)
        assert job.scored.get("synthetic-dim", "official") == "official"
        assert job.scored["synthetic"] == job.wanted.protocol.name


def test_the_line_that_is_shown_paints_what_the_study_paints(tmp_path: Path) -> None:
    paint = load_study("facebehaviornet", "synthetic").paint["synthetic-dim"]
    one, other = (Painting(tmp_path / name, 24, paint.seed, paint.variant) for name in ("one", "other"))
    one.paint()
    exec(shlex.split(other.text)[2])  # the line that a person would paste
    trees = [
        {path.relative_to(place.folder): path.read_bytes() for path in place.folder.rglob("*") if path.is_file()}
        for place in (one, other)
    ]
    assert trees[0] == trees[1]
    assert Path("images/d001/001.png") in trees[0]


TREE = {
    "paper": "p",
    "data": "synthetic",
    "title": "t",
    "citation": "c",
    "about": "a",
    "printed": {"x": {"title": "X"}},
    "columns": [{"title": "T", "metric": "top1", "dataset": "synthetic", "beside": ["x"]}],
    "rows": [{"name": "one", "label": "One", "table": "Table 1", "printed": {"x": 1.0}}],
}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"rows": [*TREE["rows"], *TREE["rows"]]}, "every row once"),
        ({"rows": [{**TREE["rows"][0], "needs": ["two"]}]}, "needs two"),
        ({"rows": [{**TREE["rows"][0], "printed": {"y": 1.0}}]}, "no column y"),
        ({"rows": [{**TREE["rows"][0], "table": ""}]}, "without its table"),
        ({"rows": [{**TREE["rows"][0], "lable": "x"}]}, "lable"),
        ({"protocols": {"synthetic-dmi": "official"}}, "no column is scored on synthetic-dmi"),
    ],
)
def test_a_study_that_does_not_fit_is_refused_with_the_reason(change: dict[str, object], error: str) -> None:
    assert isinstance(parse_study(TREE, "study"), Study)
    with pytest.raises(RecipeError, match=error):
        parse_study(TREE | change, "study")


def test_an_unknown_paper_data_or_row_names_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="sjmt"):
        load_study("sjtm", "synthetic")
    with pytest.raises(AffectError, match="synthetic"):
        load_study("sjmt", "synthetics")
    with pytest.raises(AffectError, match="sjmt-r32"):
        load_study("sjmt", "synthetic").row("sjmt-r23")


def test_braces_are_filled_only_where_a_name_is_known() -> None:
    value = {"a": ["teacher-{seed}", '{"depth": 8}'], "b": 3, "c": "{other}"}
    assert filled(value, {"seed": "12"}) == {"a": ["teacher-12", '{"depth": 8}'], "b": 3, "c": "{other}"}


def test_differences_name_each_field_once_and_a_missing_part_whole() -> None:
    one = load("sjmt-resnet32")
    other = one.replace({"train.steps": 5, "tasks.au": None, "backbone.kwargs": {"depth": 8}})
    assert differences(one, one) == []
    assert differences(one, other) == [
        ("backbone.kwargs.depth", 32, 8),
        ("train.steps", 80000, 5),
        ("tasks.au", "given", None),
    ]
