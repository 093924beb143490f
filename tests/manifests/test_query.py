"""One SELECT, over the views of the lake, and nothing else: no file, no second statement, no write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from manifests import cached, schema
from manifests.cached import counts_sql
from manifests.errors import QueryError, UnknownNameError
from manifests.lake import Lake, LayerFacts
from manifests.manifest import MANIFEST
from manifests.query import VIEWS, connect, manifest_table, parse_where
from manifests.vocabulary import AUS, EXPRESSIONS, TASKS, au_column


def fill(lake: Lake, dataset: str = "rafdb", expression: str = "fear", fingerprint: str = "one") -> None:
    ids = [f"{dataset}/{n}" for n in range(4)]
    with lake.publish(dataset, command="test") as step:
        facts = LayerFacts(fingerprint=fingerprint)
        rows = pa.table({"sample_id": ids, "dataset": [dataset] * 4, "subject_id": ["a", "a", "b", None]})
        step.write("samples", "", rows, facts)
        probs = [float(name == expression) for name in EXPRESSIONS]
        labels = {
            "sample_id": ids[:3],
            "expression": [expression, None, "anger"],
            "expression_probs": pa.array([probs, None, None], pa.list_(pa.float32(), 9)),
            "au12": [1, 0, None],
            "landmarks": pa.array([[float(i) for i in range(136)], [None] * 136, None], pa.list_(pa.float32(), 136)),
        }
        step.write("labels", "human", pa.table(labels), parents=["samples"])
        auto = pa.table({"sample_id": ids[3:], "valence": [0.25], "arousal": [-0.25]})
        step.write("labels", "auto", auto, parents=["samples"])
        roles = pa.table({"sample_id": ids, "task": ["all"] * 4, "role": ["train"] * 3 + ["test"]})
        step.write("protocols", "official", roles, parents=["samples"])
        faces = pa.table({"sample_id": ids, "status": ["found"] * 4, "pixel_hash": ["x", "x", "y", None]})
        step.write("faces", "yunet", faces, parents=["samples"])
        step.write("rejects", "", pa.table({"where": ["a.jpg"], "reason": ["truncated"], "expected": [True]}))


@pytest.fixture
def full(lake: Lake) -> Lake:
    fill(lake)
    return lake


def test_a_lake_answers_with_data_frames_tables_and_tuples(full: Lake) -> None:
    question = "select expression, count(*) as n from manifest where mask_expression group by all order by all"
    answer = full.query(question)
    assert answer.columns == ["expression", "n"]
    assert answer.fetchall() == [("anger", 1), ("fear", 1)]
    assert answer.arrow().to_pylist() == [{"expression": "anger", "n": 1}, {"expression": "fear", "n": 1}]
    pd.testing.assert_frame_equal(
        full.query(question).df(), pd.DataFrame({"expression": ["anger", "fear"], "n": [1, 1]})
    )
    assert answer.limit(1).fetchall() == [("anger", 1)]


def test_an_empty_lake_has_every_view_with_its_columns_and_no_row(lake: Lake, tmp_path: Path) -> None:
    empty = connect(lake)
    other = Lake(tmp_path / "other", create=True)
    fill(other)
    filled = connect(other)
    for view in VIEWS:
        answer = empty.sql(f"select * from {view}")
        assert answer.fetchall() == []
        assert (answer.columns, answer.types) == (filled.sql(f"from {view}").columns, filled.sql(f"from {view}").types)
    assert empty.sql("select * from manifest").columns == MANIFEST.names
    assert empty.sql("select * from samples").fetchall() == []


def test_the_manifest_has_samples_labels_masks_and_sources() -> None:
    names = set(MANIFEST.names)
    assert names >= set(schema.SAMPLES.names) | set(schema.LABELS.names) | {f"mask_{task}" for task in TASKS}
    assert names >= {f"{task}_source" for task in ("expression", "compound", "mental_state", "va", "landmarks")}
    assert names >= {au_column(au, "source") for au in AUS} | {"expression_offered"}


def test_layers_of_many_datasets_and_names_are_one_view_each(full: Lake) -> None:
    fill(full, "fer2013")
    connection = connect(full)
    both = [("fer2013",), ("rafdb",)]
    sources = connection.sql("select distinct dataset, source from labels order by all").fetchall()
    assert sources == [("fer2013", "auto"), ("fer2013", "human"), ("rafdb", "auto"), ("rafdb", "human")]
    assert connection.sql("select distinct dataset from samples order by 1").fetchall() == both
    assert connection.sql("select distinct dataset from rejects order by 1").fetchall() == both
    assert connection.sql("select distinct detector, pixel_hash from faces where pixel_hash = 'x'").fetchall() == [
        ("yunet", "x")
    ]
    assert connection.sql(
        "select protocol, role from protocols where dataset = 'rafdb' and role = 'test'"
    ).fetchall() == [("official", "test")]


REFUSED = {
    "select * from read_csv('/etc/passwd')": "read_csv",
    "select * from read_text('{lake}/lake.toml')": "read_text",
    "select * from read_parquet('{lake}/rafdb/samples.parquet')": "read_parquet",
    "select * from read_json('/etc/passwd')": "read_json",
    "select * from glob('/..')": "glob",
    "select * from '/etc/passwd'": "no view",
    "select * from 'http://localhost/x.parquet'": "no view",
    "select (select count(*) from read_text('/etc/passwd'))": "read_text",
    "select 1 where exists (from glob('/*'))": "glob",
    "select getenv('HOME')": "getenv",
    "select read_text('/etc/passwd')": "read_text",
    "select write_log('x')": "write_log",
    "select * from query('select 1')": "query",
    "select * from query_table('samples')": "query_table",
    "select * from arrow_scan(1, 2, 3)": "arrow_scan",
    "select * from pandas_scan(1)": "pandas_scan",
    "select * from duckdb_settings()": "duckdb_settings",
    "select * from duckdb_secrets()": "duckdb_secrets",
    "select * from checkpoint()": "checkpoint",
    "select * from information_schema.tables": "no view",
    "select * from sqlite_master": "no view",
    "select * from duckdb_settings": "no view",
    'select * from \'{file}\', (with "{file}" as (select 1) select * from "{file}") t': "WITH",
    'with "{file}" as (select 1) select * from "{file}"': "WITH",
    "select * from sqlite_master, (with sqlite_master as (select 1) select * from sqlite_master) t": "sqlite_master",
    "select * from (with SQLITE_Master as (select 1) from sqlite_master), sqlite_master": "sqlite_master",
    "from duckdb_settings, (with duckdb_settings as (select 1) from duckdb_settings) t": "duckdb_settings",
    "from pg_class, (with pg_class as (select 1) from pg_class) t": "pg_class",
    'from information_schema.tables, (with "information_schema.tables" as (select 1) select 1) t': "WITH",
    "from tables, (with tables as (select 1) from tables) t": "tables",
    "from secrets, (with secrets as (select 1) from secrets) t": "secrets",
    "copy samples to '{lake}/x.csv'": "COPY",
    "copy (select 1) to '{lake}/x.csv'": "COPY",
    "with t as (copy (select 1) to '{lake}/x.csv') select * from t": "COPY",
    "select * from (with t as (copy (select 1) to '{lake}/x.csv') select 1)": "COPY",
    "with t as (insert into samples values ('a') returning *) select * from t": "INSERT",
    "with t as (delete from samples returning *) select * from t": "DELETE",
    "attach '{lake}/x.db'": "ATTACH",
    "install httpfs": "not one SELECT",
    "load httpfs": "not one SELECT",
    "pragma version": "PRAGMA",
    "set threads = 1": "SET",
    "reset threads": "not one SELECT",
    "use memory": "not one SELECT",
    "call pragma_version()": "CALL",
    "export database '{lake}/x'": "EXPORT",
    "create table t (a int)": "CREATE",
    "create view manifest as select 1": "CREATE",
    "drop view samples": "DROP",
    "update samples set dataset = 'x'": "UPDATE",
    "explain select 1": "EXPLAIN",
    "show tables": "name a view",
    "prepare p as select 1": "PREPARE",
    "begin": "not one SELECT",
    "select 1; select 2": "SELECT and SELECT",
    "select 1; copy samples to '{lake}/x.csv'": "SELECT and COPY",
    "selec 1": "selec",
    "": "nothing",
    "-- only a comment": "nothing",
    "select nosuch from manifest": "nosuch",
    "select * from manifets": "did you mean manifest",
    "select count(*) from samples where expression = 'fear'": "expression",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_anything_but_one_reading_select_is_refused_with_one_clear_error(full: Lake, text: str) -> None:
    files = {path for path in full.home.rglob("*") if ".cache" not in path.parts}
    stored_file = full.layer("rafdb", "samples").path
    with pytest.raises(QueryError) as error:
        connect(full).sql(text.format(lake=full.home, file=stored_file)).fetchall()
    assert REFUSED[text].lower() in str(error.value).lower()
    assert len(str(error.value).splitlines()) <= 4
    assert {path for path in full.home.rglob("*") if ".cache" not in path.parts} == files


def test_the_connection_itself_reads_the_lake_only_and_is_locked(full: Lake, tmp_path: Path) -> None:
    """Should a text ever slip past the parser, DuckDB still refuses."""
    import duckdb

    from manifests.query import _sandbox

    (tmp_path / "secret.txt").write_text("secret")
    connection = _sandbox(full)
    toml = full.home / "lake.toml"
    assert connection.sql(f"select count(*) from read_text('{toml}')").fetchall() == [(1,)]
    for text in (
        "select * from read_text('/etc/passwd')",
        f"select * from read_text('{tmp_path}/secret.txt')",
        f"select * from read_text('{full.home}/../secret.txt')",
        f"copy (select 1) to '{tmp_path}/x.csv'",
        f"attach '{tmp_path}/x.db'",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "install httpfs",
    ):
        with pytest.raises(duckdb.Error):
            connection.sql(text).fetchall()


def test_python_variables_are_no_tables(full: Lake) -> None:
    secrets = pd.DataFrame({"a": [1]})
    assert len(secrets) == 1
    with pytest.raises(QueryError, match="no view 'secrets'"):
        connect(full).sql("select * from secrets")


def test_an_error_while_computing_is_a_clear_error_too(full: Lake) -> None:
    answer = full.query("select cast(sample_id as integer) from samples")
    for read in (answer.df, answer.arrow, answer.fetchall):
        with pytest.raises(QueryError, match="Could not convert"):
            read()


@pytest.mark.parametrize(
    "text",
    [
        "with m as (select * from manifest) select count(*) from m join samples using (sample_id)",
        "select m.* from manifest m limit 1",
        "select m from manifest m",
        "select columns('mask_.*') from manifest",
        "select count(*) from manifest natural join (select sample_id from samples)",
        'select sum(CASE WHEN Mask_VA THEN 1 END) as n, "AU12" from manifest group by 2 order by 2',
        "select sample_id from manifest union select sample_id from samples order by 1",
        "select count(*) from manifest a, manifest b where a.sample_id = b.sample_id and a.au12 is not null",
        "with summary as (select expression from manifest), Range_2 as (from summary) select count(*) from range_2",
        "with recursive r as (select 1 x union all select x + 1 from r where x < 3) select * from r",
        "select expression, row_number() over (partition by subject_id order by sample_id) from manifest order by 1, 2",
        "describe manifest",
        "describe select expression from manifest",
        "select count(*) from manifest",
    ],
)
def test_the_answer_is_the_same_cached_and_uncached(full: Lake, text: str) -> None:
    cached_answer, uncached = (connect(full, cached=c).sql(text) for c in (True, False))
    assert cached_answer.columns == uncached.columns
    assert cached_answer.fetchall() == uncached.fetchall() != []


def test_a_question_that_does_not_name_the_manifest_does_not_wait_for_it(full: Lake) -> None:
    full.query("select count(*) from samples").fetchall()
    assert not full.cache.exists()


def stored(lake: Lake) -> dict[str, int]:
    return {file.name: file.stat().st_ino for file in (lake.cache / "manifest").glob("*.parquet")}


def count(lake: Lake, sources: tuple[str, ...] = ("human", "auto"), **options: float) -> int:
    rows = connect(lake, sources, au_cut=options).sql("select count(expression) from manifest").fetchall()
    return int(rows[0][0])


def test_a_resolved_manifest_is_kept_and_made_anew_only_when_what_made_it_changes(full: Lake) -> None:
    assert count(full) == 2
    first = stored(full)
    assert len(first) == 1
    assert (count(full), stored(full)) == (2, first)
    assert count(full, ("auto", "human")) == 2
    assert len(stored(full)) == 2
    assert count(full, rafdb=2.0) == 2
    assert len(stored(full)) == 3
    fill(full, expression="anger", fingerprint="two")
    answer = full.query("select expression from manifest where sample_id = 'rafdb/0'").fetchall()
    assert answer == [("anger",)]
    assert len(stored(full)) == 4


def test_the_same_fingerprint_with_other_labels_is_not_answered_from_the_cache(full: Lake) -> None:
    assert full.query("select expression from manifest where sample_id = 'rafdb/0'").fetchall() == [("fear",)]
    fill(full, expression="anger")
    assert full.query("select expression from manifest where sample_id = 'rafdb/0'").fetchall() == [("anger",)]


def test_a_manifest_that_other_code_would_make_otherwise_is_made_anew(
    full: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "select expression from manifest where sample_id = 'rafdb/0'"
    assert full.query(question).fetchall() == [("fear",)]
    write = cached.manifest_sql
    monkeypatch.setattr(cached, "_sql_writer", lambda: "other code")
    monkeypatch.setattr(cached, "manifest_sql", lambda *given: write(*given).replace("l0.expression", "'anger'", 1))
    assert full.query(question).fetchall() == [("anger",)]
    assert len(stored(full)) == 2
    monkeypatch.setattr(cached, "counts_sql", lambda table: f"{counts_sql(table)} limit 1")
    assert len(connect(full).counts()) == 1


def test_a_lake_that_moved_keeps_its_resolved_manifests(full: Lake, tmp_path: Path) -> None:
    assert count(full) == 2
    first = stored(full)
    moved = Lake(full.home.rename(tmp_path / "moved"))
    assert (count(moved), stored(moved)) == (2, first)


def test_old_manifests_of_a_dataset_are_removed_and_those_of_others_stay(full: Lake) -> None:
    fill(full, "fer2013")
    for cut in range(cached.KEPT + 2):
        count(full, rafdb=float(cut) / 2)
    names = [name.partition(".")[0] for name in stored(full)]
    assert sorted(names) == ["fer2013"] + ["rafdb"] * cached.KEPT
    assert len(list((full.cache / "manifest").iterdir())) == 2 * len(names)


def test_a_cut_off_or_half_removed_entry_of_the_cache_is_made_anew(full: Lake) -> None:
    assert count(full) == 2
    (file,) = (full.cache / "manifest").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    assert count(full) == 2
    before = connect(full, ("human", "auto")).counts()
    file.with_suffix(".json").unlink()
    assert connect(full, ("human", "auto")).counts() == before


def test_what_dead_processes_left_in_the_cache_is_removed(full: Lake) -> None:
    assert count(full) == 2
    left = full.cache / "manifest" / "new.1"
    (left / "spill").mkdir(parents=True)
    os.utime(left, (time.time() - 7200,) * 2)
    assert count(full, rafdb=1.0) == 2
    assert not left.exists()


def test_a_kill_between_writing_and_renaming_leaves_no_manifest(full: Lake) -> None:
    code = f"from manifests.lake import Lake; Lake({str(full.home)!r}).query('select count(*) from manifest')"
    environment = os.environ | {"AFFECT_KILL_AT": "manifest-written"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not list((full.cache / "manifest").glob("*.parquet"))
    assert count(full) == 2


def test_without_a_place_for_the_cache_questions_are_answered_uncached_with_a_warning(full: Lake) -> None:
    full.cache.write_text("in the way")
    connection = connect(full)
    assert connection.sql("select count(expression) from manifest").fetchall() == [(2,)]
    assert "resolves the manifest anew" in connection.warnings[0]


def test_a_connection_keeps_to_the_lake_as_it_was(full: Lake) -> None:
    connection = connect(full, cached=False)
    answer = connection.sql("select count(*) from manifest where expression = 'anger'")
    fill(full, expression="anger", fingerprint="two")
    assert answer.fetchall() == [(1,)]
    assert full.query("select count(*) from manifest where expression = 'anger'").fetchall() == [(2,)]


def test_stale_layers_are_in_no_view_and_named_in_a_warning(full: Lake) -> None:
    with full.publish("rafdb", command="test") as step:
        rows = pa.table({"sample_id": ["rafdb/0"], "dataset": ["rafdb"]})
        step.write("samples", "", rows, LayerFacts(fingerprint="two"))
    connection = connect(full, ["human"])
    for view in ("labels", "faces", "protocols"):
        assert connection.sql(f"select count(*) from {view}").fetchall() == [(0,)]
    left_out = [text.partition(" is left out")[0] for text in connection.warnings]
    assert sorted(left_out) == [
        f"rafdb {key}" for key in ("faces/yunet", "labels/auto", "labels/human", "protocols/official")
    ]


def test_a_table_for_training_has_arrow_types_order_and_only_its_datasets(full: Lake) -> None:
    fill(full, "fer2013")
    columns = ["sample_id", "expression_probs", "landmarks", "au12", "mask_va"]
    table = manifest_table(full, ["rafdb"], columns, where="mask_expression or mask_va")
    assert table.schema.equals(pa.schema([MANIFEST.field(name).remove_metadata() for name in columns]))
    assert table["sample_id"].to_pylist() == ["rafdb/0", "rafdb/2", "rafdb/3"]
    assert table["landmarks"].to_pylist()[0] == [float(i) for i in range(136)]
    assert table["au12"].to_pylist() == [1, None, None]
    assert [name.partition(".")[0] for name in stored(full)] == ["rafdb"]
    assert manifest_table(full, None, ["sample_id"]).num_rows == 8
    assert manifest_table(full, [], ["sample_id"]).num_rows == 0
    with pytest.raises(UnknownNameError, match="affectnet"):
        manifest_table(full, ["affectnet"], ["sample_id"])
    with pytest.raises(QueryError, match="did you mean valence"):
        manifest_table(full, None, ["valance"])


@pytest.mark.parametrize(
    "text",
    [
        *("", "true) or (true", "1=1; drop table x", "true) group by (x", "(true) limit 1", "mask_va, mask_au"),
        *("sample_id in (select 1)", "exists (from samples)", "row_number() over () = 1", "valence > $1", "*"),
        *("columns('au.*') is not null", "write_log('x') is null", "mask_vaa", "manifest.valence > 0", "true as x"),
    ],
)
def test_a_condition_is_one_expression_over_the_columns(text: str) -> None:
    with pytest.raises(QueryError):
        parse_where(text)


@pytest.mark.parametrize("text", ["count(*) > 1", "getenv('HOME') = 'x'", "read_text('/etc/passwd') = 'x'"])
def test_a_condition_that_duckdb_refuses_is_a_clear_error(full: Lake, text: str) -> None:
    with pytest.raises(QueryError):
        manifest_table(full, None, ["sample_id"], where=text)


def test_a_condition_says_which_columns_it_names() -> None:
    where = parse_where("mask_va and lower(\"Expression\") in ('fear', 'anger') -- why")
    assert where.columns == {"mask_va", "expression"}
