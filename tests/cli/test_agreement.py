"""`affect agreement` says the same in every form, and what two raters of affect and of AU intensity share."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest

from cli.errors import run
from manifests.lake import Lake

VALENCE = [-0.5, 0.0, 0.5, 0.75]


def published(lake: Lake, subjects: list[str]) -> None:
    ids = [f"d/{i}" for i in range(4)]
    samples = {"sample_id": ids, "dataset": ["d"] * 4, "subject_id": subjects}
    with lake.publish("d", command="x") as step:
        step.write("samples", "", pa.table(samples))
        for source, shift in (("human-a", 0.0), ("human-b", 0.25), ("tool-c", 0.0)):
            columns = {"valence": [v + shift for v in VALENCE], "au12_intensity": [0.0, 1.0, 3.0, 5.0]}
            step.write("labels", source, pa.table({"sample_id": ids, **columns}), parents=["samples"])


def test_raters_are_told_by_icc_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    published(lake, ["s1", "s1", "s2", "s3"])
    command = ["--lake", str(lake.home), "agreement", "d"]
    assert run([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["between"] for row in rows} == {"human-a and human-b"}
    icc = {row["column"]: row for row in rows if row["coefficient"] == "ICC(A,1)"}
    assert icc["au12_intensity"]["value"] == pytest.approx(1)
    # A constant shift is disagreement: MSR 0.6146, MSC 0.125, MSE 0 of two raters and four faces.
    assert icc["valence"]["value"] == pytest.approx(0.614583 / (0.614583 + 2 / 4 * 0.125), abs=1e-5)
    assert (icc["valence"]["samples"], icc["valence"]["units"]) == (4, 3)
    assert run([*command, "--csv"]) == 0
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == len(rows)
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "valence: human-a and human-b\n  4 samples of 3 units\n" in shown
    assert f"{icc['valence']['value']:.3f}" in shown


def test_a_tool_is_compared_when_it_is_named_and_one_person_has_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    published(lake, ["s1"] * 4)
    assert run(["--lake", str(lake.home), "agreement", "d", "--sources", "human-a,tool-c", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["between"] for row in rows} == {"human-a and tool-c"}
    assert all(row["value"] == pytest.approx(1) and row["low"] is None and row["high"] is None for row in rows)
