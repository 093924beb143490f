"""The first source that knows wins, and what cannot be resolved is refused: example by example.

`test_random_lakes.py` holds what is true of every lake.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifests.errors import SourceOrderError, UnknownNameError
from manifests.lake import Lake
from manifests.query import connect, manifest_table
from manifests.resolve import DEFAULT_SOURCES, resolve
from tests.manifests.lakes import CUT, SAMPLES, Cells, add_labels, add_samples, manifest, table


def one(**said: Any) -> list[Cells]:
    return [said] * SAMPLES


def test_two_layers_under_one_pattern_must_be_ordered_by_name(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human-abaw3", one(expression="fear"))
    add_labels(lake, "human-abaw5", one(expression="anger"))
    with pytest.raises(SourceOrderError) as error:
        connect(lake)
    assert "human-abaw3" in str(error.value)
    assert "human-abaw5" in str(error.value)
    typed = error.value.then.removeprefix("--sources ").split(",")
    assert typed == ["human", "human-abaw3", "human-abaw5", "human-*", "auto"]
    assert manifest(lake, typed)[0]["expression"] == "fear"
    assert manifest(lake, ["human-abaw5", "human-*"])[0]["expression"] == "anger"


def test_layers_that_share_no_task_column_need_no_order(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human-one", one(expression="fear"))
    add_labels(lake, "human-two", one(valence=0.5))
    row = manifest(lake, DEFAULT_SOURCES)[0]
    assert (row["expression_source"], row["va_source"]) == ("human-one", "human-two")


def test_an_intensity_with_a_cut_speaks_of_the_au_too(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human-one", one(au01=1))
    add_labels(lake, "human-two", one(au01_intensity=3.0))
    assert manifest(lake, DEFAULT_SOURCES)[0]["au01"] == 1
    with pytest.raises(SourceOrderError, match="au01"):
        connect(lake, au_cut={"set": 2})


def test_a_source_that_nothing_in_the_lake_has_is_an_error_with_the_known_names(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(au01=1))
    add_labels(lake, "co-du2014", one(au01=1))
    with pytest.raises(SourceOrderError, match="did you mean co-du2014") as error:
        connect(lake, ["co-du2041"])
    assert "human" in error.value.expected
    with pytest.raises(SourceOrderError, match="teacher-"):
        connect(lake, ["teacher-*"])
    with pytest.raises(SourceOrderError, match="a name or a pattern"):
        connect(lake, ["human' or 1=1"])


def test_a_source_of_another_dataset_is_no_error(lake: Lake) -> None:
    add_samples(lake, "a")
    add_labels(lake, "human", one(au01=1), "a")
    add_samples(lake, "b")
    add_labels(lake, "co-du2014", one(au01=0), "b")
    sources = [row["au01_source"] for row in manifest(lake, ["co-du2014", "human"])]
    assert sources == ["human"] * SAMPLES + ["co-du2014"] * SAMPLES


def test_a_stale_layer_is_left_out_with_a_warning(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(expression="fear"))
    add_samples(lake, fingerprint="two")
    resolved = resolve(lake)
    assert resolved.datasets[0].sources == ()
    assert "set labels/human is left out: it is stale" in resolved.warnings[0]
    connection = connect(lake)
    assert connection.warnings == list(resolved.warnings)
    assert connection.sql("select count(expression) from manifest").fetchall() == [(0,)]


def test_a_dataset_without_samples_is_left_out_with_a_warning(lake: Lake) -> None:
    with lake.publish("set", command="test") as step:
        step.write("labels", "human", table(one(au01=1)))
    resolved = resolve(lake)
    assert resolved.datasets == ()
    assert "no samples" in resolved.warnings[0]


def test_a_cut_given_by_the_reader_wins_over_the_cut_of_the_layer(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(au01_intensity=1.5), au_cut=CUT)

    def present(**cut: float) -> list[int]:
        return manifest_table(lake, ["set"], ["au01"], sources=["human"], au_cut=cut)["au01"].to_pylist()

    assert present() == [0] * SAMPLES
    assert present(set=1.5) == [1] * SAMPLES
    with pytest.raises(UnknownNameError, match="sett"):
        present(sett=1.0)


def test_a_coded_au_is_never_overwritten_by_a_cut_or_a_lower_source(lake: Lake) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(au01=0, au01_intensity=5.0), au_cut=CUT)
    add_labels(lake, "auto", one(au01=1))
    row = manifest(lake, ["human", "auto"])[0]
    assert (row["au01"], row["au01_source"], row["au01_intensity"]) == (0, "human", 5.0)


def test_every_dataset_has_the_same_columns_and_types(lake: Lake) -> None:
    for dataset, said in (("a", {"expression": "fear"}), ("b", {"au01": 1})):
        add_samples(lake, dataset)
        add_labels(lake, "human", one(**said), dataset)
    for cached in (True, False):
        both = connect(lake, cached=cached).sql("select * from manifest")
        parts = [connect(lake, cached=cached).sql(f"select * from manifest where dataset = '{d}'") for d in "ab"]
        assert both.columns == parts[0].columns == parts[1].columns
        assert both.types == parts[0].types == parts[1].types


def test_the_upper_lake_of_a_stack_adds_its_layers(lake: Lake, tmp_path: Path) -> None:
    add_samples(lake)
    add_labels(lake, "human", one(expression="fear"))
    mine = Lake([lake.home, tmp_path / "mine"], create=True)
    with mine.publish("set", command="test") as step:
        step.write("labels", "teacher-a", table(one(expression="anger", au01=1)), parents=["samples"])
    row = manifest(mine, ["human", "teacher-a"], cached=True)[0]
    assert (row["expression"], row["expression_source"], row["au01_source"]) == ("fear", "human", "teacher-a")
    assert not lake.cache.exists()
    assert mine.cache.is_dir()
