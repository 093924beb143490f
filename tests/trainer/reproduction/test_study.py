"""A study holds printed numbers that its paper has, and recipes and metrics that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from manifests.errors import AffectError, RecipeError, UnknownNameError
from trainer.metrics.registry import metric
from trainer.recipe import load
from trainer.reproduction.job import Asked, differences, jobs
from trainer.reproduction.study import Study, filled, load_study, parse_study, studies
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
    text = next(t for t in _papers(shared) if _letters(study.title) in _letters(t[:3000]))
    lines = [set(_numbers(line)) for line in text.splitlines()]
    for row in study.rows:
        tables = re.findall(r"\d+", row.table)
        left = set(row.printed.values())
        for _ in tables:  # a row of each of them, the one that holds most of what is left
            left -= max((left & numbers for numbers in lines), key=len)
        assert not left, f"{row.label}: {left} stand in no row of {row.table}"
        assert all(re.search(rf"Table\.? ?{table}\b", text) for table in tables), f"{row.label}: {row.table}"


def _papers(shared: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted((shared / "papers").glob("*.txt"))]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line)]


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
