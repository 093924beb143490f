"""Labels of another tool find their samples by key, never by position, and become a source of their own."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from affectdata.labels import imported
from affectdata.labels.imported import Frames, ingest_labels
from manifests.errors import DatasetError, LabelRuleError, RejectLimitError
from manifests.lake import Lake
from manifests.query import manifest_table

OPENFACE = """[samples]
frame_index = "frame"
[labels.tool-openface]
rule = "OpenFace 2.2"
au = "AU*_c"
au_intensity = "AU*_r"
au_cut = 1.0
"""
# The header as OpenFace writes it: a blank after each comma.
ROWS = """frame, face_id, timestamp, confidence, success, AU12_r, AU12_c
1, 0, 0.000, 0.98, 1, 0.00, 0.00
3, 0, 0.067, 0.98, 1, 2.31, 1.00
2, 0, 0.033, 0.98, 1, 1.10, 1.00
"""


@pytest.fixture
def clips(lake: Lake) -> Lake:
    ids = [f"clips/{clip}/{frame:05d}" for clip in ("a", "b") for frame in (1, 2, 3)]
    samples = {
        "sample_id": ids,
        "dataset": ["clips"] * 6,
        "path": [f"{name[6:]}.jpg" for name in ids],
        "sequence_id": ["a"] * 3 + ["b"] * 3,
        "frame_index": [1, 2, 3] * 2,
    }
    with lake.publish("clips", command="test") as step:
        step.write("samples", "", pa.table(samples))
    return lake


def write(folder: Path, rows: str, mapping: str = OPENFACE) -> tuple[Path, Path]:
    (folder / "134.csv").write_text(rows)
    (folder / "map.toml").write_text(mapping)
    return folder / "134.csv", folder / "map.toml"


def test_a_file_per_video_is_joined_by_sequence_and_frame_number(clips: Lake, tmp_path: Path) -> None:
    file, mapping = write(tmp_path, ROWS)
    summary = ingest_labels(clips, "clips", file, "tool-openface", mapping, frames=Frames("b"))
    assert (summary.matched, summary.labelled) == (3, 3)
    rows = clips.read("clips", "labels/tool-openface", ["sample_id", "au12", "au12_intensity"]).to_pylist()
    assert [(row["sample_id"], row["au12"]) for row in rows] == [
        ("clips/b/00001", 0),
        ("clips/b/00002", 1),
        ("clips/b/00003", 1),
    ]
    assert rows[2]["au12_intensity"] == pytest.approx(2.31)
    assert clips.layer("clips", "labels/tool-openface").facts.rule == "OpenFace 2.2"
    seen = manifest_table(clips, ["clips"], ["sample_id", "au12_source"], sources=["human", "tool-*"]).to_pylist()
    assert [row["au12_source"] for row in seen] == [None] * 3 + ["tool-openface"] * 3


def test_an_offset_turns_their_numbers_into_ours(clips: Lake, tmp_path: Path) -> None:
    file, mapping = write(tmp_path, ROWS)
    with pytest.raises(RejectLimitError, match="have no sample"):
        ingest_labels(clips, "clips", file, "tool-openface", mapping, frames=Frames("b", 1))
    summary = ingest_labels(clips, "clips", file, "tool-openface", mapping, frames=Frames("b", 1), max_rejects=1)
    assert dict(summary.rejects) == {"rating-without-image": 1}
    rows = clips.read("clips", "labels/tool-openface", ["sample_id", "au12"]).to_pylist()
    assert rows == [{"sample_id": "clips/b/00002", "au12": 0}, {"sample_id": "clips/b/00003", "au12": 1}]


def test_rows_are_found_by_image_and_a_repeated_one_is_refused(clips: Lake, tmp_path: Path) -> None:
    mapping = '[samples]\nimage = "input"\n[labels.tool-pyfeat]\nexpression = "emotion"\n'
    file, map_path = write(tmp_path, "input,emotion\nb/00003.jpg,joy\na/00001.jpg,fear\na/00001.jpg,anger\n", mapping)
    summary = ingest_labels(clips, "clips", file, "tool-pyfeat", map_path, max_rejects=0.5)
    assert dict(summary.rejects) == {"duplicate-key": 1}
    rows = clips.read("clips", "labels/tool-pyfeat", ["sample_id", "expression"]).to_pylist()
    assert rows == [
        {"sample_id": "clips/a/00001", "expression": "fear"},
        {"sample_id": "clips/b/00003", "expression": "happiness"},
    ]


BY_IMAGE = '[samples]\nimage = "input"\n[labels.tool-pyfeat]\nexpression = "emotion"\n'


def placed(lake: Lake, paths: list[str | None], frames: list[int | None]) -> Lake:
    """The dataset `clips` with its samples in other places."""
    samples = lake.read("clips", "samples", ["sample_id", "dataset"])
    places = {"path": pa.array(paths, pa.string()), "frame": pa.array(frames, pa.int32())}
    with lake.publish("clips", command="test") as step:
        step.write("samples", "", pa.table(dict(zip(samples.column_names, samples.columns, strict=True)) | places))
    return lake


def test_a_row_without_a_picture_is_about_no_sample_without_one(clips: Lake, tmp_path: Path) -> None:
    placed(clips, [None, "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"], [None] * 6)
    file, map_path = write(tmp_path, "input,emotion\n,joy\nb.jpg,fear\n", BY_IMAGE)
    summary = ingest_labels(clips, "clips", file, "tool-pyfeat", map_path, max_rejects=0.5)
    assert dict(summary.rejects) == {"rating-without-image": 1}
    assert clips.read("clips", "labels/tool-pyfeat")["sample_id"].to_pylist() == ["clips/a/00002"]


def test_a_picture_with_several_faces_gives_its_label_to_none_of_them(clips: Lake, tmp_path: Path) -> None:
    placed(clips, ["two.jpg", "two.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"], [None] * 6)
    file, map_path = write(tmp_path, "input,emotion\ntwo.jpg,joy\nc.jpg,fear\n", BY_IMAGE)
    with pytest.raises(LabelRuleError, match="1 rows name a place of several samples"):
        ingest_labels(clips, "clips", file, "tool-pyfeat", map_path, max_rejects=1)


def test_what_lies_beside_the_file_is_not_looked_at(
    clips: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imported, "list_files", lambda root: pytest.fail(f"{root} was listed"))
    file, map_path = write(tmp_path, "input,emotion\nb/00003.jpg,joy\n", BY_IMAGE)
    assert ingest_labels(clips, "clips", file, "tool-pyfeat", map_path).matched == 1


def test_rows_of_a_video_are_found_by_image_and_frame(clips: Lake, tmp_path: Path) -> None:
    placed(clips, ["a.mp4", "a.mp4", "a.mp4", "b.mp4", "b.mp4", "e.jpg"], [0, 1, 12, 0, 1, None])
    mapping = BY_IMAGE.replace('"input"', '"input"\nframe = "n"')
    file, map_path = write(tmp_path, "input,n,emotion\na.mp4,12,joy\nb.mp4,0,fear\ne.jpg,,anger\n", mapping)
    ingest_labels(clips, "clips", file, "tool-pyfeat", map_path)
    rows = clips.read("clips", "labels/tool-pyfeat", ["sample_id", "expression"]).to_pylist()
    assert [(row["sample_id"][6:], row["expression"]) for row in rows] == [
        ("a/00003", "happiness"), ("b/00001", "fear"), ("b/00003", "anger")
    ]  # fmt: skip


@pytest.mark.parametrize("source", ["co-mine", "teacher-x", "openface", "Tool-x"])
def test_a_name_that_says_another_origin_is_refused(clips: Lake, tmp_path: Path, source: str) -> None:
    file, mapping = write(tmp_path, ROWS, OPENFACE.replace("tool-openface", "tool-x"))
    with pytest.raises(LabelRuleError, match="label source"):
        ingest_labels(clips, "clips", file, source, mapping)


def test_a_map_without_a_key_or_with_another_source_is_refused(clips: Lake, tmp_path: Path) -> None:
    file, mapping = write(tmp_path, ROWS, '[labels.tool-x]\nau = "AU*_c"\n')
    with pytest.raises(LabelRuleError, match="finds its sample"):
        ingest_labels(clips, "clips", file, "tool-x", mapping)
    with pytest.raises(LabelRuleError, match=r"exactly \[labels.tool-y\]"):
        ingest_labels(clips, "clips", file, "tool-y", mapping)
    with pytest.raises(DatasetError, match="column map"):
        ingest_labels(clips, "clips", file, "tool-y", tmp_path / "none.toml")


def test_files_per_video_add_up_and_one_of_them_can_be_read_again(clips: Lake, tmp_path: Path) -> None:
    file, mapping = write(tmp_path, ROWS)
    layers = {}
    for order in ("ab", "ba", "aba"):
        for clip in order:
            ingest_labels(clips, "clips", file, "tool-openface", mapping, frames=Frames(clip))
        layer = clips.layer("clips", "labels/tool-openface")
        assert (layer.rows, layer.stale) == (6, "")
        layers[order] = layer.facts.fingerprint
        with clips.publish("clips", command="test") as step:
            step.drop("labels/tool-openface")
    assert len(set(layers.values())) == 1
    for clip in "ab":
        ingest_labels(clips, "clips", file, "tool-openface", mapping, frames=Frames(clip))
    write(tmp_path, ROWS.splitlines()[0] + "\n2, 0, 0.033, 0.98, 1, 1.10, 0.00\n")
    ingest_labels(clips, "clips", file, "tool-openface", mapping, frames=Frames("a"))
    rows = clips.read("clips", "labels/tool-openface", ["sample_id", "au12"]).to_pylist()
    assert [row["sample_id"][6:] for row in rows] == ["a/00002", "b/00001", "b/00002", "b/00003"]
    assert rows[0]["au12"] == 0
    with pytest.raises(LabelRuleError, match="another map"):
        write(tmp_path, ROWS, OPENFACE.replace("1.0", "2.0"))
        ingest_labels(clips, "clips", file, "tool-openface", mapping, frames=Frames("b"))


@pytest.mark.parametrize("source", ["human", "human-raters", "tool-openface"])
def test_labels_that_were_not_imported_are_never_replaced(clips: Lake, tmp_path: Path, source: str) -> None:
    with clips.publish("clips", command="test") as step:
        human = pa.table({"sample_id": ["clips/a/00001"], "au12": pa.array([1], pa.int8())})
        step.write("labels", source, human, parents=["samples"])
    file, mapping = write(tmp_path, ROWS, OPENFACE.replace("tool-openface", source))
    with pytest.raises(LabelRuleError, match="was not imported"):
        ingest_labels(clips, "clips", file, source, mapping, frames=Frames("b"))
    assert clips.layer("clips", f"labels/{source}").rows == 1
