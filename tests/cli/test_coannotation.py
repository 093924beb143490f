"""What co-annotate prints: whoever trains on it learns which setting its labels need."""

from __future__ import annotations

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
