"""Co-annotation of a lake: a layer of its own, that never speaks where another source does."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affectdata.labels.coannotate import Settings, co_annotate, mix_warnings
from affectdata.labels.coannotation import BASIC, Rule
from affectdata.labels.relate import Relation, Relations, _relation, name_of, relate, write_table
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


def labels_of(expressions: list[str | None], aus: np.ndarray, dataset: str = "toy") -> pa.Table:
    """Rows of one source: an expression and AU cells [N, 17] (-1 unknown) per sample."""
    ids = [f"{dataset}/{n:03d}" for n in range(len(expressions))]
    cells = {name: pa.array(aus[:, i], pa.int8(), mask=aus[:, i] < 0) for i, name in enumerate(AU_NAMES)}
    return pa.table({"sample_id": ids, "expression": pa.array(expressions, pa.string())} | cells)


def publish(lake: Lake, expressions: list[str | None], aus: np.ndarray, dataset: str = "toy") -> None:
    """One sample per expression, with AU cells [N, 17] (-1 unknown); every third person is the same."""
    labels = labels_of(expressions, aus, dataset)
    people = [f"p{n % 3}" for n in range(len(expressions))]
    with lake.publish(dataset, command="test") as step:
        samples = {"sample_id": labels["sample_id"], "dataset": [dataset] * len(people), "subject_id": people}
        # As an ingest does: the fingerprint is that of what was read.
        digest = hashlib.sha256(repr(labels.to_pylist()).encode()).hexdigest()
        step.write("samples", "", pa.table(samples), LayerFacts(fingerprint=digest))
        step.write("labels", "human", labels, parents=["samples"])


def hard(**options: object) -> Settings:
    return Settings(Rule(relatedness("du2014"), SPACE), **options)  # type: ignore[arg-type]  # tests name fields


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


Said = tuple[list[str | None], list[list[int]]]
"""Expressions [N] and AU cells [N][17] of one source, -1 unknown."""

said_by_sources = st.integers(1, 5).flatmap(
    lambda n: st.dictionaries(
        st.sampled_from(["human", "human-again", "auto", "teacher-a"]),
        st.tuples(
            st.lists(st.sampled_from([None, "neutral", *BASIC]), min_size=n, max_size=n),
            st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=17, max_size=17), min_size=n, max_size=n),
        ),
        min_size=1,
    ).map(lambda said: {"human": ([None] * n, [[-1] * 17] * n)} | said)
)
random_lakes = st.dictionaries(st.sampled_from(["one", "two"]), said_by_sources, min_size=1)


def publish_all(lake: Lake, dataset: str, said: dict[str, Said]) -> None:
    with lake.publish(dataset, command="test") as step:
        tables = {source: labels_of(text, np.array(aus, np.int8), dataset) for source, (text, aus) in said.items()}
        ids = tables["human"]["sample_id"]
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": [dataset] * len(ids)}))
        for source, table in tables.items():
            step.write("labels", source, table, parents=["samples"])


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    world=random_lakes,
    table=st.sampled_from(["du2014", "emfacs", "affwild2"]),
    mode=st.sampled_from(["hard", "soft"]),
    order=st.permutations(["human", "human-again", "auto", "teacher-a"]),
)
def test_no_cell_that_a_human_or_another_source_labelled_is_touched_and_dropping_the_layer_undoes_it(
    world: dict[str, dict[str, Said]],
    table: str,
    mode: Literal["hard", "soft"],
    order: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lake = Lake(tmp_path_factory.mktemp("co") / "lake", create=True)
    for dataset, said in world.items():
        publish_all(lake, dataset, said)
    sources = [source for source in order if any(source in said for said in world.values())]
    before = manifest(lake, *sources)
    ours = Settings(Rule(relatedness(table), SPACE), mode=mode, sources=tuple(sources))
    for dataset, said in world.items():
        own = [source for source in sources if source in said]
        co_annotate(lake, dataset, replace(ours, sources=tuple(own)))
        layer = {row["sample_id"]: row for row in lake.read(dataset, f"labels/{ours.source}").to_pylist()}
        for source in said:
            for row in lake.read(dataset, f"labels/{source}").to_pylist():
                co = layer.get(row["sample_id"], {})
                assert not any(co.get(name) is not None and row[name] is not None for name in TASK_COLUMNS["au"])
                assert co.get("expression") is None or row["expression"] is None
    with_co = manifest(lake, *sources, ours.source)
    for name in LABELS:
        for old, new in zip(before[name].to_pylist(), with_co[name].to_pylist(), strict=True):
            assert old is None or old == new
    for dataset in world:
        lake.drop(dataset, f"labels/{ours.source}")
    assert manifest(lake, *sources).equals(before)


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


def test_relations_are_those_of_the_worked_example(lake: Lake) -> None:
    """methods.md 2.2: an unlabelled cell counts neither for nor against its AU."""
    cells = unknown(6)
    cells[:, SPACE.index(1)] = [1, 1, 1, 0, 0, -1]
    cells[:, SPACE.index(2)] = [0, 1, 0, -1, 1, 1]
    publish(lake, ["happiness"] * 4 + ["anger"] * 2, cells)
    rows = relate(lake, ("toy",), relatedness("du2014"), sources=DEFAULT_SOURCES).rows
    share = {(row.emotion, row.au): row.fraction for row in rows if row.coded}
    assert [share["happiness", au] for au in (1, 2)] == pytest.approx([0.75, 1 / 3])
    assert [share["anger", au] for au in (1, 2)] == [0, 1]


def test_relations_of_data_that_lacks_one_side_are_refused(lake: Lake) -> None:
    publish(lake, ["happiness"], unknown(1))
    with pytest.raises(LabelRuleError, match="both a basic expression and an AU"):
        relate(lake, ("toy",), relatedness("du2014"))


def test_pieces_give_the_bytes_and_counts_of_one(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    known = np.random.default_rng(0).integers(-1, 2, (11, len(SPACE))).astype(np.int8)
    publish(lake, [None, "fear", "happiness", "neutral", None, None, "anger", None, "surprise", None, None], known)
    for ours in (hard(), hard(mode="soft")):
        found = []
        for rows in (1 << 17, 3):
            monkeypatch.setattr("affectdata.labels.coannotate.PIECE", rows)
            summary = co_annotate(lake, "toy", ours)
            found.append((lake.layer("toy", f"labels/{ours.source}").path.read_bytes(), list(summary.lines())))
        assert found[0] == found[1]


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_a_compound_expression_gets_no_basic_one(lake: Lake, mode: str) -> None:
    smile = {au_column(au): [1] for au in (6, 12, 25)}
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", pa.table({"sample_id": ["toy/0"], "dataset": ["toy"]}))
        labels = pa.table({"sample_id": ["toy/0"], "compound": ["happily_surprised"], **smile})
        step.write("labels", "human", labels, parents=["samples"])
    ours = hard(mode=mode)
    co_annotate(lake, "toy", ours)
    assert lake.read("toy", f"labels/{ours.source}", ["expression"])["expression"].drop_null().to_pylist() == []


def test_a_layer_made_again_over_itself_keeps_its_labels(lake: Lake) -> None:
    publish(lake, ["happiness", "fear"], unknown(2))
    for sources in (("human",), ("human", "co-du2014"), ("human", "co-*")):
        co_annotate(lake, "toy", hard(sources=sources))
        layer = lake.layer("toy", "labels/co-du2014")
        assert (layer.rows, set(layer.facts.parents), layer.stale) == (2, {"samples", "labels/human"}, "")


def test_another_space_or_another_version_of_a_table_is_another_layer(lake: Lake, tmp_path: Path) -> None:
    publish(lake, ["happiness"], unknown(1))
    file = tmp_path / "ours.toml"
    fingerprints, commands = set(), []
    for space, fraction in (("fbn17", 0.5), ("fbn17", 0.6), ("disfa8", 0.6)):
        file.write_text(f'name = "mine"\n[rows.happiness]\nobservational = {{ 6 = {fraction} }}\n')
        rule = Rule(relatedness(str(file)), AU_SPACES[space])
        co_annotate(lake, "toy", Settings(rule))
        facts = lake.layer("toy", "labels/co-mine").facts
        fingerprints.add(facts.fingerprint)
        commands.append(facts.command)
    assert len(fingerprints) == 3
    assert commands[0] == "affect co-annotate toy --table ours.toml"
    assert commands[2] == "affect co-annotate toy --table ours.toml --aus disfa8"


@pytest.mark.parametrize(("present", "coded"), [(99_999, 100_000), (1, 100_000), (0, 10), (10, 10)])
def test_every_table_that_relate_writes_is_read_again(tmp_path: Path, present: int, coded: int) -> None:
    rows = tuple(Relation("fear", au, n, coded, 0, 0, 0) for au, n in ((1, present), (4, coded)))
    file = tmp_path / "My_Own.toml"
    relations = Relations(("toy",), rows, 1, {"fear": coded})
    write_table(file, relations.toml(name_of(file), min_fraction=0, min_count=1))
    row = read_table(file).row("fear")
    assert row.weight(1) == pytest.approx(present / coded, abs=1e-4)
    assert (row.weight(1) > 0) == (present > 0)


@pytest.mark.parametrize("name", ["du2014", "a b", "mine-soft", "-x"])
def test_a_table_that_would_pass_for_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabelRuleError):
        name_of(tmp_path / f"{name}.toml")
    file = tmp_path / "x.toml"
    file.write_text(f'name = "{name}"\n[rows.fear]\nprototypical = [1]\n')
    with pytest.raises(LabelRuleError, match="name"):
        read_table(file)


def test_relations_of_a_protocol_know_nothing_of_reported_samples(lake: Lake) -> None:
    cells = unknown(6)
    cells[:, SPACE.index(12)] = [1, 1, 1, 0, 0, 0]
    publish(lake, ["happiness"] * 6, cells)
    ids = lake.read("toy", "samples", ["sample_id"])["sample_id"].to_pylist()
    roles = ["train", "train", "train", "test", "val", "ignore"]
    protocol = pa.table({"sample_id": ids, "task": ["all"] * 6, "role": roles})
    with lake.publish("toy", command="test") as step:
        step.write("protocols", "official", protocol, LayerFacts(truth=["human"]), ["samples"])
    everyone = relate(lake, ("toy",), relatedness("du2014"))
    assert (everyone.rows[0].present, everyone.rows[0].coded, everyone.reported) == (3, 6, 2)
    assert "2 of 6 samples have reported roles" in everyone.toml("mine", min_fraction=0, min_count=1)
    trained = relate(lake, ("toy",), relatedness("du2014"), protocol="official")
    assert (trained.rows[0].present, trained.rows[0].coded, trained.reported) == (3, 3, 0)
    assert trained.made == "affect relate --from toy --protocol official"


def test_intervals_are_those_of_drawing_subjects_and_a_million_samples_cost_no_more() -> None:
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(30), 4)
    shown = (rng.random(120) < np.repeat(rng.random(30), 4)).astype(np.int8)
    found = _relation(relatedness("du2014"), "fear", 1, shown, people, 0)
    drawn = rng.integers(0, 30, (20_000, 30))
    shares = shown.reshape(30, 4).sum(1)[drawn].sum(1) / 120
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])), abs=0.03)
    many = _relation(relatedness("du2014"), "fear", 1, np.tile(shown, 10_000), np.arange(1_200_000), 0)
    assert many.high - many.low < 0.01
