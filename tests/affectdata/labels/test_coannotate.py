"""Co-annotation of a lake: a layer of its own, that never speaks where another source does."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectdata.labels.coannotate import Settings, co_annotate, mix_warnings
from affectdata.labels.coannotation import BASIC, Rule
from affectdata.labels.relate import relate, write_table
from affectdata.labels.relatedness import read_table, relatedness
from manifests.errors import LabelRuleError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.query import DEFAULT_SOURCES, manifest_table
from manifests.schema import TASK_COLUMNS
from manifests.vocabulary import AU_SPACES, au_column

SPACE = AU_SPACES["fbn17"]
AU_NAMES = [au_column(au) for au in SPACE]
LABELS = ["expression", *AU_NAMES]


def publish(lake: Lake, expressions: list[str | None], aus: np.ndarray, dataset: str = "toy") -> None:
    """One sample per expression, with AU cells [N, 17] (-1 unknown); every third person is the same."""
    ids = [f"{dataset}/{n:03d}" for n in range(len(expressions))]
    people = [f"p{n % 3}" for n in range(len(ids))]
    labels = {"sample_id": ids, "expression": pa.array(expressions, pa.string())}
    labels |= {name: pa.array(aus[:, i], pa.int8(), mask=aus[:, i] < 0) for i, name in enumerate(AU_NAMES)}
    with lake.publish(dataset, command="test") as step:
        samples = pa.table({"sample_id": ids, "dataset": [dataset] * len(ids), "subject_id": people})
        # As an ingest does: the fingerprint is that of what was read.
        step.write("samples", "", samples, LayerFacts(fingerprint=hashlib.sha256(repr(labels).encode()).hexdigest()))
        step.write("labels", "human", pa.table(labels), parents=["samples"])


def hard(**options: object) -> Settings:
    return Settings(Rule(relatedness("du2014"), SPACE), **options)  # type: ignore[arg-type]


def unknown(count: int) -> np.ndarray:
    return np.full((count, len(SPACE)), -1, np.int8)


def test_an_expression_gives_its_listed_aus_and_nothing_else(lake: Lake) -> None:
    publish(lake, ["happiness", "neutral", None], unknown(3))
    summary = co_annotate(lake, "toy", hard())
    rows = lake.read("toy", "labels/co-du2014").to_pylist()
    said = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert said == [
        {"sample_id": "toy/000", "au12": 1, "au25": 1, "au06": 1, "au06_weight": pytest.approx(0.51)},
    ]
    assert summary.rows == 1
    assert "only positives" in mix_warnings([summary])[0]


def test_a_fraction_is_a_probability_where_it_is_asked_for(lake: Lake) -> None:
    publish(lake, ["happiness"], unknown(1))
    co_annotate(lake, "toy", hard(target="fraction"))
    row = lake.read("toy", "labels/co-du2014").to_pylist()[0]
    assert (row["au06"], row["au06_prob"], row["au06_weight"]) == (1, pytest.approx(0.51), None)


def test_complete_aus_give_an_expression_only_where_none_is_known(lake: Lake) -> None:
    smile = np.zeros((2, len(SPACE)), np.int8)
    smile[:, [SPACE.index(au) for au in (6, 12, 25)]] = 1
    publish(lake, [None, "anger"], smile)
    summary = co_annotate(lake, "toy", hard())
    assert summary.emotions == {"happiness": 1}
    rows = lake.read("toy", "labels/co-du2014", ["sample_id", "expression"]).to_pylist()
    assert rows == [{"sample_id": "toy/000", "expression": "happiness"}]


def test_soft_targets_are_written_as_distributions(lake: Lake) -> None:
    cells = unknown(3)
    cells[:2] = 0
    cells[0, SPACE.index(12)] = 1
    publish(lake, [None, "fear", None], cells)
    summary = co_annotate(lake, "toy", hard(mode="soft"))
    rows = lake.read("toy", "labels/co-du2014-soft", ["sample_id", "expression", "expression_probs"]).to_pylist()
    assert [row["sample_id"] for row in rows] == ["toy/000"]
    assert rows[0]["expression"] == "happiness"
    assert sum(rows[0]["expression_probs"]) == pytest.approx(1)
    assert 1.5 < (summary.entropy or 0) < np.log(7)


def test_what_is_no_face_gets_no_label(lake: Lake) -> None:
    samples = pa.table({"sample_id": ["toy/0"], "dataset": ["toy"], "face_status": ["not_a_face"]})
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", samples)
        step.write("labels", "human", pa.table({"sample_id": ["toy/0"], "expression": ["fear"]}), parents=["samples"])
    summary = co_annotate(lake, "toy", hard())
    assert (summary.rows, summary.skipped) == (0, 1)


def manifest(lake: Lake, *sources: str) -> pa.Table:
    return manifest_table(lake, None, ["sample_id", *LABELS], sources=sources)


cells = st.integers(1, 8).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([None, "neutral", *BASIC]), min_size=n, max_size=n),
        st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=17, max_size=17), min_size=n, max_size=n),
    )
)


@settings(max_examples=25, deadline=None)
@given(said=cells, mode=st.sampled_from(["hard", "soft"]))
def test_no_cell_that_a_human_labelled_is_touched_and_dropping_the_layer_undoes_it(
    said: tuple[list[str | None], list[list[int]]], mode: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = Lake(tmp_path_factory.mktemp("co") / "lake", create=True)
    publish(lake, said[0], np.array(said[1], np.int8))
    before = manifest(lake, "human")
    ours = hard(mode=mode)
    co_annotate(lake, "toy", ours)
    with_co = manifest(lake, "human", ours.source)
    for name in LABELS:
        for old, new in zip(before[name].to_pylist(), with_co[name].to_pylist(), strict=True):
            assert old is None or old == new
    layer = lake.read("toy", f"labels/{ours.source}")
    human = {row["sample_id"]: row for row in lake.read("toy", "labels/human").to_pylist()}
    for row in layer.to_pylist():
        assert not any(row[n] is not None and human[row["sample_id"]][n] is not None for n in TASK_COLUMNS["au"])
        assert row["expression"] is None or human[row["sample_id"]]["expression"] is None
    with lake.publish("toy", command="test") as step:
        step.drop(f"labels/{ours.source}")
    assert manifest(lake, "human").equals(before)


def test_the_same_lake_gives_the_same_bytes_and_a_new_ingest_makes_the_layer_stale(lake: Lake) -> None:
    publish(lake, ["happiness", "fear"], unknown(2))
    digests = set()
    for _ in range(2):
        co_annotate(lake, "toy", hard())
        digests.add(hashlib.sha256(lake.layer("toy", "labels/co-du2014").path.read_bytes()).hexdigest())
    assert len(digests) == 1
    publish(lake, ["fear", "fear"], np.zeros((2, len(SPACE)), np.int8))
    assert lake.layer("toy", "labels/co-du2014").stale


def test_relations_count_what_is_coded_and_make_a_table_that_is_read_again(lake: Lake, tmp_path) -> None:
    cells = unknown(6)
    cells[:, SPACE.index(12)] = [1, 1, 1, 0, 0, -1]
    cells[:, SPACE.index(4)] = [0, 0, 0, 1, 1, 1]
    publish(lake, ["happiness"] * 4 + ["anger"] * 2, cells)
    found = relate(lake, ("toy",), relatedness("du2014"), sources=DEFAULT_SOURCES)
    by_pair = {(row.emotion, row.au): row for row in found.rows}
    smile = by_pair["happiness", 12]
    assert (smile.present, smile.coded, smile.published) == (3, 4, 1.0)
    assert smile.low <= smile.fraction <= smile.high
    assert (by_pair["anger", 12].coded, by_pair["anger", 4].present) == (1, 2)
    file = tmp_path / "mine.toml"
    write_table(file, found.toml("mine", min_fraction=0.1, min_count=1))
    table = read_table(file)
    assert table.row("happiness").observational == {4: 0.25, 12: 0.75}
    assert table.row("anger").prototypical == (4,)
    with pytest.raises(LabelRuleError, match="exists"):
        write_table(file, "")


def test_relations_of_data_that_lacks_one_side_are_refused(lake: Lake) -> None:
    publish(lake, ["happiness"], unknown(1))
    with pytest.raises(LabelRuleError, match="both a basic expression and an AU"):
        relate(lake, ("toy",), relatedness("du2014"))
