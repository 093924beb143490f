"""A step appears whole or not at all, says what it was made from, and never disturbs another step."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import killpoints, publication
from manifests import lake as lake_module
from manifests.errors import (
    LakeBusyError,
    LakeError,
    LakeVersionError,
    SchemaError,
    StaleLayerError,
    StorageError,
    UnknownNameError,
)
from manifests.lake import Lake, LayerFacts
from tests.forks import DATA, ended, fork_from, started


def samples(count: int, dataset: str = "rafdb") -> pa.Table:
    return pa.table({"sample_id": [f"{dataset}/{i:05d}" for i in range(count)], "dataset": [dataset] * count})


def labels(count: int, value: int = 1, dataset: str = "rafdb") -> pa.Table:
    return pa.table({"sample_id": samples(count, dataset)["sample_id"], "au12": [value] * count})


def publish(lake: Lake, count: int = 3, value: int = 1, fingerprint: str = "one") -> None:
    with lake.publish("rafdb", command="affect ingest rafdb") as step:
        step.source(Path("/data/RAF-DB"), "basic")
        step.write("samples", "", samples(count), LayerFacts(fingerprint=fingerprint))
        step.write("labels", "human", labels(count, value), parents=["samples"])


def contents(lake: Lake) -> dict[str, bytes]:
    folder = (lake.home / "rafdb").resolve()
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layers_of_a_step_appear_together(lake: Lake) -> None:
    publish(lake)
    assert [layer.key for layer in lake.layers("rafdb")] == ["labels/human", "samples"]
    assert lake.read("rafdb", "labels/human", ["au12"])["au12"].to_pylist() == [1, 1, 1]
    assert lake.root("rafdb") == Path("/data/RAF-DB")
    assert lake.datasets() == ["rafdb"]


def test_a_step_that_raises_changes_nothing(lake: Lake) -> None:
    publish(lake)
    before = contents(lake)
    with pytest.raises(SchemaError), lake.publish("rafdb", command="x") as step:
        step.write("samples", "", samples(9))
        step.write("labels", "human", labels(9, value=7))
    assert contents(lake) == before
    assert sorted(p.name for p in (lake.home / ".generations" / "rafdb").iterdir()) == ["000001"]


def test_layers_that_a_step_leaves_alone_are_hard_links(lake: Lake) -> None:
    publish(lake)
    before = lake.layer("rafdb", "samples").path.stat().st_ino
    with lake.publish("rafdb", command="x") as step:
        step.write("labels", "co-du2014", labels(3), parents=["samples"])
    assert lake.layer("rafdb", "samples").path.stat().st_ino == before
    assert lake.has("rafdb", "labels/human")


def test_the_same_step_twice_gives_the_same_bytes(lake: Lake, tmp_path: Path) -> None:
    other = Lake(tmp_path / "other", create=True)
    publish(lake)
    publish(other)
    publish(other)
    assert contents(lake) == contents(other)


def test_readers_keep_their_paths_while_a_step_publishes(lake: Lake) -> None:
    publish(lake)
    held = lake.layer("rafdb", "labels/human").path
    publish(lake, value=0)
    assert pq.read_table(held)["au12"].to_pylist() == [1, 1, 1]
    assert lake.read("rafdb", "labels/human")["au12"].to_pylist() == [0, 0, 0]


def test_a_layer_is_stale_when_its_parent_changed(lake: Lake) -> None:
    publish(lake)
    with lake.publish("rafdb", command="x") as step:
        step.write("labels", "co-du2014", labels(3), parents=["samples", "labels/human"])
        step.write("labels", "teacher-a", labels(3), parents=["labels/co-du2014"])
    assert not any(layer.stale for layer in lake.layers("rafdb"))
    with lake.publish("rafdb", command="x") as step:
        step.write("samples", "", samples(4), LayerFacts(fingerprint="two"))
        step.write("labels", "human", labels(4), parents=["samples"])
    stale = {layer.key: layer.stale for layer in lake.layers("rafdb")}
    assert stale["labels/human"] == stale["samples"] == ""
    assert "labels/human has changed" in stale["labels/co-du2014"]
    assert "co-du2014 is stale" in stale["labels/teacher-a"]


def test_a_layer_is_stale_when_its_parent_is_dropped(lake: Lake) -> None:
    publish(lake)
    with lake.publish("rafdb", command="x") as step:
        step.write("labels", "co-du2014", labels(3), parents=["labels/human"])
    lake.drop("rafdb", "labels/human")
    assert "is gone" in lake.layer("rafdb", "labels/co-du2014").stale


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_a_parent_that_changed_after_it_was_read_stops_the_step(lake: Lake, change: str) -> None:
    publish(lake)
    read = lake.fingerprints("rafdb")
    if change == "replaced":
        publish(lake, value=0, fingerprint="two")
    else:
        lake.drop("rafdb", "labels/human")
    parents = {key: read[key] for key in ("samples", "labels/human")}
    with (
        pytest.raises(StaleLayerError, match="changed while this step ran"),
        lake.publish("rafdb", command="affect align rafdb") as step,
    ):
        step.write("labels", "co-du2014", labels(3), parents=parents)
    assert not lake.has("rafdb", "labels/co-du2014")


def test_a_layer_notes_the_parents_it_was_read_from(lake: Lake) -> None:
    publish(lake)
    read = {"samples": lake.fingerprints("rafdb")["samples"]}
    with lake.publish("rafdb", command="x") as step:
        step.write("labels", "co-du2014", labels(3), parents=read)
    assert lake.layer("rafdb", "labels/co-du2014").facts.parents == read == {"samples": "one"}


def test_no_layer_is_its_own_parent_nor_made_from_what_was_made_from_it(lake: Lake) -> None:
    publish(lake)
    with pytest.raises(LakeError, match="from itself"), lake.publish("rafdb", command="x") as step:
        step.write("labels", "human", labels(3), parents=["samples", "labels/human"])
    with lake.publish("rafdb", command="x") as step:
        step.write("labels", "co-a", labels(3), parents=["labels/human"])
        step.write("labels", "co-b", labels(3), parents=["labels/co-a"])
    with pytest.raises(LakeError, match="from itself"), lake.publish("rafdb", command="x") as step:
        step.write("labels", "co-a", labels(3), parents=["labels/co-b"])


def test_dropping_a_crops_layer_drops_its_shards(lake: Lake, tmp_path: Path) -> None:
    publish(lake)
    shard = tmp_path / "pixels"
    shard.write_bytes(b"12345")
    index = pa.table({"sample_id": ["rafdb/00000"], "shard": [0], "row": [0]})
    with lake.publish("rafdb", command="affect align") as step:
        step.write("crops", "arcface112", index, parents=["samples"])
        step.link("crops/arcface112.000.u8", shard)
    assert (lake.home / "rafdb" / "crops" / "arcface112.000.u8").read_bytes() == b"12345"
    lake.drop("rafdb", "crops/arcface112")
    assert not list(lake.home.rglob("*.u8"))


@pytest.mark.parametrize("key", ["labels/human", ""])
def test_a_damaged_layer_can_be_dropped(lake: Lake, key: str) -> None:
    publish(lake)
    path = lake.layer("rafdb", "labels/human").path
    path.unlink()  # other generations share the file
    path.write_bytes(b"PAR1 and no more")
    again = Lake(lake.home)
    with pytest.raises(LakeError, match="cannot be read"):
        again.layers()
    if key:
        again.drop("rafdb", key)
        assert [layer.key for layer in again.layers()] == ["samples"]
    else:
        again.drop_dataset("rafdb")
        assert again.layers() == []


def test_samples_cannot_be_dropped_alone_but_a_dataset_can(lake: Lake) -> None:
    publish(lake)
    with pytest.raises(LakeError, match="cannot be dropped alone"):
        lake.drop("rafdb", "samples")
    lake.drop_dataset("rafdb")
    assert lake.datasets() == []


def test_an_upper_lake_adds_to_and_wins_over_a_lower_one(tmp_path: Path) -> None:
    base = Lake(tmp_path / "base", create=True)
    publish(base)
    stack = Lake([tmp_path / "base", tmp_path / "mine"], create=True)
    with stack.publish("rafdb", command="x") as step:
        step.write("labels", "co-du2014", labels(3), parents=["samples"])
    assert [layer.key for layer in stack.layers("rafdb")] == ["labels/co-du2014", "labels/human", "samples"]
    assert [layer.key for layer in base.layers("rafdb")] == ["labels/human", "samples"]
    assert not any(layer.stale for layer in stack.layers("rafdb"))
    with pytest.raises(LakeError, match="writable lake"):
        stack.drop("rafdb", "labels/human")
    with stack.publish("rafdb", command="x") as step:
        step.write("labels", "human", labels(3, value=0), parents=["samples"])
    assert stack.read("rafdb", "labels/human")["au12"].to_pylist() == [0, 0, 0]
    assert base.read("rafdb", "labels/human")["au12"].to_pylist() == [1, 1, 1]


def test_two_writers_at_once_one_is_told_who_holds_the_lock(lake: Lake) -> None:
    with lake.publish("rafdb", command="affect align rafdb") as step:
        step.write("samples", "", samples(3))
        with pytest.raises(LakeBusyError) as error, Lake(lake.home).publish("rafdb", command="affect ingest rafdb"):
            pass
    assert f"process {os.getpid()}" in str(error.value)
    assert "affect align rafdb" in str(error.value)
    assert lake.has("rafdb", "samples")


def test_two_datasets_are_written_at_once(lake: Lake) -> None:
    with lake.publish("rafdb", command="a") as one, lake.publish("fer2013", command="b") as two:
        one.write("samples", "", samples(1))
        two.write("samples", "", samples(1, "fer2013"))
    assert lake.datasets() == ["fer2013", "rafdb"]


def test_ids_must_stay_in_order_across_batches(lake: Lake) -> None:
    with pytest.raises(SchemaError, match="across batches"), lake.publish("rafdb", command="x") as step:
        step.write("samples", "", [samples(3), samples(3)])


def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(lake)
    before = contents(lake)

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(publication, "sync", full)
    with pytest.raises(StorageError, match="no space left"):
        publish(lake, value=0)
    monkeypatch.undo()
    assert contents(lake) == before
    publish(lake, value=0)
    assert lake.read("rafdb", "labels/human")["au12"].to_pylist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "A", ".hidden", "x\0"])
def test_no_dataset_name_leads_out_of_the_lake(lake: Lake, name: str) -> None:
    with pytest.raises(LakeError):
        lake.publish(name, command="x")
    with pytest.raises(LakeError):
        lake.layers(name)


@pytest.mark.parametrize(
    ("kind", "name"), [("labels", "../human"), ("labels", "mine"), ("crops", "a/b"), ("faces", "")]
)
def test_no_layer_name_leads_out_of_its_dataset(lake: Lake, kind: str, name: str) -> None:
    with pytest.raises(LakeError), lake.publish("rafdb", command="x") as step:
        step.write(kind, name, samples(1))


def test_no_linked_file_leads_out_of_the_lake(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(LakeError), lake.publish("rafdb", command="x") as step:
        step.link("../../f", tmp_path / "f")


def test_unknown_datasets_and_layers_list_what_there_is(lake: Lake) -> None:
    publish(lake)
    with pytest.raises(UnknownNameError, match="rafdb"):
        lake.layer("rafbd", "samples")
    with pytest.raises(UnknownNameError, match="labels/human"):
        lake.layer("rafdb", "labels/humans")


def test_a_folder_that_is_no_lake_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="no lake at"):
        Lake(tmp_path / "nothing")
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(LakeError, match="not a lake"):
        Lake(tmp_path, create=True)


def test_an_older_lake_names_the_command_that_upgrades_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(lake)
    now = lake_module.schema.SCHEMA_VERSION
    monkeypatch.setattr(lake_module.schema, "SCHEMA_VERSION", now + 1)
    with pytest.raises(LakeVersionError, match="upgrade"):
        Lake(lake.home)
    with pytest.raises(LakeVersionError, match="nothing leads there"):
        lake_module.upgrade(lake.home)
    seen: list[Path] = []
    monkeypatch.setitem(lake_module.MIGRATIONS, now, seen.append)
    assert lake_module.upgrade(lake.home) == [now]
    assert seen == [lake.home]
    assert Lake(lake.home).datasets() == ["rafdb"]


def test_labels_of_version_1_gain_the_new_columns_and_keep_what_they_say(lake: Lake) -> None:
    publish(lake)
    before = lake.read("rafdb", "labels/human")
    layer = lake.layer("rafdb", "labels/human")
    old = pq.read_table(layer.path)
    pq.write_table(old.drop_columns([name for name in old.column_names if name.endswith("_prob")]), layer.path)
    (lake.home / "lake.toml").write_text("schema = 1\n")
    assert lake_module.upgrade(lake.home) == [1, 2]
    after = Lake(lake.home)
    assert after.read("rafdb", "labels/human").equals(before)
    assert after.layer("rafdb", "labels/human").facts == layer.facts


def test_faces_and_crops_of_version_2_gain_the_new_columns_and_keep_what_they_say(lake: Lake) -> None:
    publish(lake)
    ids = pa.table({"sample_id": ["rafdb/0"]})
    with lake.publish("rafdb", command="test") as step:
        step.write("faces", "yunet", ids.append_column("status", pa.array(["found"])), LayerFacts(), ["samples"])
        crops = ids.append_column("shard", pa.array([0])).append_column("row", pa.array([0]))
        step.write("crops", "a", crops, LayerFacts(), ["samples"])
    before = {key: (lake.read("rafdb", key), lake.layer("rafdb", key)) for key in ("faces/yunet", "crops/a")}
    new = {"face_size", "eye_distance", "roll", "yaw", "pitch", "sharpness", "perceptual_hash", "offset", "length"}
    for table, layer in before.values():
        pq.write_table(pq.read_table(layer.path).drop_columns(list(new & set(table.column_names))), layer.path)
    (lake.home / "lake.toml").write_text("schema = 2\n")
    assert lake_module.upgrade(lake.home) == [2]
    after = Lake(lake.home)
    for key, (table, layer) in before.items():
        assert after.read("rafdb", key).equals(table)
        assert after.layer("rafdb", key).facts == layer.facts


def test_a_newer_lake_is_refused(lake: Lake) -> None:
    (lake.home / "lake.toml").write_text("schema = 99\n")
    with pytest.raises(LakeVersionError, match="newer"):
        Lake(lake.home)


def test_a_broken_layer_file_is_named(lake: Lake) -> None:
    publish(lake)
    lake.layer("rafdb", "labels/human").path.write_bytes(b"PAR1 cut short")
    with pytest.raises(LakeError, match="labels/human"):
        Lake(lake.home).layers("rafdb")


def test_the_log_says_what_ran_when(lake: Lake) -> None:
    publish(lake)
    line = json.loads((lake.home / "log.jsonl").read_text())
    assert line["command"] == "affect ingest rafdb"
    assert line["wrote"] == ["labels/human", "samples"]
    assert line["time"].endswith("+00:00")


def test_relocating_changes_the_root_and_nothing_else(lake: Lake) -> None:
    publish(lake)
    before = lake.read("rafdb", "samples")
    lake.relocate("rafdb", Path("/mnt/RAF-DB"))
    assert lake.root("rafdb") == Path("/mnt/RAF-DB")
    assert lake.read("rafdb", "samples").equals(before)


def test_a_folder_without_the_media_is_no_place_to_relocate_to(lake: Lake, tmp_path: Path) -> None:
    table = samples(40).append_column("path", pa.array([f"pictures/{i}.jpg" for i in range(40)]))
    with lake.publish("rafdb", command="test") as step:
        step.source(Path("/data/RAF-DB"), "basic")
        step.write("samples", "", table)
    with pytest.raises(LakeError, match=r"does not hold the media(.|\n)*pictures/0.jpg"):
        lake.relocate("rafdb", tmp_path)
    assert lake.root("rafdb") == Path("/data/RAF-DB")
    (tmp_path / "pictures").mkdir()
    for i in range(40):
        (tmp_path / f"pictures/{i}.jpg").touch()
    lake.relocate("rafdb", tmp_path)
    assert lake.root("rafdb") == tmp_path


PUBLICATION_POINTS = [name for name in killpoints.POINTS if name.startswith(("publish", "layer", "gener", "dataset"))]


def _publish_another(home: Path) -> None:
    publish(Lake(home), count=5, value=0, fingerprint="two")


@pytest.mark.parametrize("point", PUBLICATION_POINTS)
def test_a_kill_at_any_point_leaves_the_old_or_the_new_generation(lake: Lake, tmp_path: Path, point: str) -> None:
    publish(lake)
    old = contents(lake)
    expected = Lake(tmp_path / "expected", create=True)
    publish(expected)
    publish(expected, count=5, value=0, fingerprint="two")
    fork_from(*DATA)
    assert ended(started(_publish_another, lake.home, AFFECT_KILL_AT=point)) == -signal.SIGKILL
    assert contents(Lake(lake.home)) in (old, contents(expected))
    publish(Lake(lake.home), count=5, value=0, fingerprint="two")
    assert contents(lake) == contents(expected)
    assert not list(lake.home.rglob("*.new"))


@pytest.mark.parametrize("name", ["\U0001f600 faces", 'a "b" \\ c', "\x7f\n\t", "\u00e9"])
def test_a_root_of_any_text_comes_back(lake: Lake, name: str) -> None:
    with lake.publish("rafdb", command="x") as step:
        step.source(Path("/data") / name, "basic")
        step.write("samples", "", samples(1))
    assert lake.root("rafdb") == Path("/data") / name


def test_a_root_that_is_no_text_is_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="not UTF-8"), lake.publish("rafdb", command="x") as step:
        step.source(Path(os.fsdecode(b"/data/\xff")), "basic")


def test_a_lake_whose_making_was_killed_is_made(tmp_path: Path) -> None:
    (tmp_path / "lake.toml.new").write_text("sch")
    assert Lake(tmp_path, create=True).datasets() == []


def test_a_dropped_dataset_leaves_nothing_behind_and_is_read_anew(lake: Lake) -> None:
    publish(lake, count=3)
    other = Lake(lake.home)  # another process that has read the layers
    other.layers("rafdb")
    (lake.work("rafdb", "align") / "chunk-00000.u8").write_bytes(b"pixels")
    cached = lake.cache / "manifest" / "rafdb.abc.parquet"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"labels")
    predicted, others = (lake.cache / "predictions" / "run-0123" / name for name in ("rafdb", "rafdb2"))
    for folder in (predicted, others):
        folder.mkdir(parents=True)
        (folder / "part.parquet").write_bytes(b"predictions")
    lake.drop_dataset("rafdb")
    assert not cached.exists()
    assert not predicted.exists()
    assert others.exists()
    assert not (lake.home / ".work" / "rafdb").exists()
    publish(lake, count=5, fingerprint="two")
    assert other.layer("rafdb", "samples").rows == lake.layer("rafdb", "samples").rows == 5
