"""What co-annotate prints: whoever trains on it learns which setting its labels need."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from cli.errors import run
from manifests.lake import Lake


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ([], ""),
        (["--target", "fraction"], "tasks.au.soft: true"),
        (["--mode", "soft"], "tasks.expression.soft: true"),
    ],
)
def test_labels_that_are_shares_say_how_to_train_on_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], setting: str
) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ["toy/a"], "dataset": ["toy"]}))
        step.write("labels", "human", pa.table({"sample_id": ["toy/a"], "expression": ["fear"]}), parents=["samples"])
    assert run(["--lake", str(lake.home), "co-annotate", "--table", "du2014", *options]) == 0
    said = "".join(capsys.readouterr())
    assert ("train on it with" in said) == bool(setting)
    assert setting in said


@pytest.fixture
def coded(tmp_path: Path) -> Lake:
    """Dataset `both` with expressions and AUs, `aus` with AUs alone."""
    lake = Lake(tmp_path / "lake", create=True)
    for dataset, known in (("both", {"expression": ["fear", "fear", "anger"]}), ("aus", {})):
        ids = [f"{dataset}/{n}" for n in range(3)]
        with lake.publish(dataset, command="test") as step:
            step.write("samples", "", pa.table({"sample_id": ids, "dataset": [dataset] * 3}))
            labels = pa.table({"sample_id": ids, "au01": pa.array([1, 0, 1], pa.int8()), **known})
            step.write("labels", "human", labels, parents=["samples"])
    return lake


def test_relate_refuses_too_few_samples_and_writes_nothing(
    coded: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.toml"
    assert run(["--lake", str(coded.home), "relate", "--from", "both", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "at most fear 2, anger 1" in said.err
    assert "--min-count 2 or less" in said.err
    least = ["--min-count", "2", "--min-fraction", "0.9"]
    assert run(["--lake", str(coded.home), "relate", "--from", "both", "--out", str(out), *least]) == 2
    assert "--min-fraction" in capsys.readouterr().err
    assert not out.exists()


def test_relate_names_a_dataset_without_both(coded: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.toml"
    asked = ["relate", "--from", "both,aus", "--min-count", "1", "--out", str(out)]
    assert run(["--lake", str(coded.home), *asked]) == 0
    assert "aus is left out" in capsys.readouterr().err
    assert "aus" not in out.read_text().lower().replace("au frequencies", "")
    assert run(["--lake", str(coded.home), "co-annotate", "both", "--table", str(out)]) == 0


def test_relate_gives_programs_numbers(coded: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--lake", str(coded.home), "relate", "--from", "both", "--min-count", "2", "--json"]) == 0
    (fear,) = (row for row in json.loads(capsys.readouterr().out) if row["AU"] == "AU1")
    assert (fear["emotion"], fear["share"], fear["present"], fear["coded"]) == ("fear", 0.5, 1, 2)
    assert fear["difference"] == pytest.approx(0.5 - fear["du2014"])


def test_lineage_of_a_sample_names_every_column(coded: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--lake", str(coded.home), "lineage", "both/0", "--sources", "human"]
    assert run([*asked, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"column": "au01", "source": "human", "value": 1, "state": "wins"} in rows
    assert run([*asked, "--csv"]) == 0
    assert capsys.readouterr().out.startswith("column,source,value,state\n")
