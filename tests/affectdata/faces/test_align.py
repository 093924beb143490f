"""`align` makes one crop per face, says what became of every other sample, and can be stopped anywhere."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from filelock import FileLock

from affectdata.faces import align as engine
from affectdata.faces import chunks, disk, geometry
from affectdata.faces.align import AlignOptions, AlignProgress, align
from affectdata.faces.alignments import alignment
from affectdata.faces.detectors import Face
from affectdata.faces.sheet import write_sheet
from manifests.crops import CropStore
from manifests.errors import (
    AffectError,
    LakeBusyError,
    LakeError,
    StaleLayerError,
    StorageError,
    UnknownNameError,
    WeightsError,
)
from manifests.jpegs import encode
from manifests.lake import Lake, LayerFacts
from tests.affectdata.faces.conftest import (
    COUNT,
    LABELS_ONLY,
    MISSING,
    TRUNCATED,
    WITHOUT_POINTS,
    landmarks,
    publish_toy,
)
from tests.forks import DATA, ended, fork_from, started

SMALL = AlignOptions(workers=2, chunk=4)
BAD = {TRUNCATED, MISSING, LABELS_ONLY}


def published(lake: Lake) -> dict[str, bytes]:
    """Every file of the current generation of `toy`."""
    folder = (lake.home / "toy").resolve()
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def ranges(lake: Lake) -> list[range]:
    """Rows of the chunks of `toy`."""
    found = engine._plan(lake, "toy", "arcface112", "dataset", SMALL.checked()).ranges
    assert len(found) > 2
    return found


def statuses(lake: Lake, detector: str) -> list[str]:
    return lake.read("toy", f"faces/{detector}", ["status"]).column("status").to_pylist()


def test_every_sample_gets_a_crop_or_a_reason(toy: Lake) -> None:
    summary = align(toy, "toy", detector="dataset", options=SMALL)
    found = statuses(toy, "dataset")
    assert len(found) == COUNT
    assert {n for n in range(COUNT) if found[n] != "found"} == BAD | {WITHOUT_POINTS}
    assert found[LABELS_ONLY] == "no-media"
    assert found[WITHOUT_POINTS] == "no-points"
    assert summary.crops == COUNT - 4
    assert sum(summary.statuses.values()) == summary.samples == COUNT
    assert len(CropStore(toy, "toy", "arcface112")) == summary.crops


def test_every_decoded_picture_has_its_size_and_pixel_hash(toy: Lake) -> None:
    align(toy, "toy", detector="dataset", options=SMALL)
    rows = toy.read("toy", "faces/dataset").to_pylist()
    assert all((row["pixel_hash"] is None) == (n in BAD) for n, row in enumerate(rows))
    assert len({row["pixel_hash"] for row in rows} - {None}) == COUNT - len(BAD)
    assert (rows[0]["width"], rows[0]["height"]) == (80, 60)


def test_the_stored_transform_takes_the_datasets_points_to_the_template(toy: Lake) -> None:
    align(toy, "toy", detector="dataset", alignment="fbn96", options=SMALL)
    store = CropStore(toy, "toy", "fbn96")
    for row, sample in enumerate(store.sample_ids.to_pylist()):
        points = geometry.five_points(landmarks(int(sample[-2:])))
        expected = alignment("fbn96").transform(Face(None, points, None), (80, 60))
        assert geometry.to_crop(points, store.transform[row]) == pytest.approx(
            geometry.apply(expected, points), abs=1e-3
        )


def test_whole_pictures_are_resized_with_a_hash_and_without_a_box(toy: Lake) -> None:
    summary = align(toy, "toy", alignment="resize48", options=replace(SMALL, gray=True))
    assert (summary.detector, summary.crops) == ("whole", COUNT - len(BAD))
    store = CropStore(toy, "toy", "resize48")
    assert store.shape == (48, 48, 1)
    assert toy.layer("toy", "crops/resize48").facts.extra["color"] == "gray"
    faces = toy.read("toy", "faces/whole")
    assert faces.column("box_x1").null_count == COUNT
    assert faces.column("pixel_hash").null_count == len(BAD)
    picture = cv2.cvtColor(cv2.imread(str(toy.root("toy") / "00.png")), cv2.COLOR_BGR2GRAY)
    shrunk = cv2.resize(cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA), (48, 48))
    assert np.abs(store.gather(np.array([0]))[0, ..., 0].astype(int) - shrunk).max() <= 1


def test_crops_of_colour_pictures_are_rgb(lake: Lake, tmp_path: Path) -> None:
    publish_toy(lake, tmp_path / "toy")
    cv2.imwrite(str(tmp_path / "toy" / "00.png"), np.full((48, 48, 3), (10, 20, 200), np.uint8))  # cv2: BGR, red
    align(lake, "toy", alignment="resize48", options=SMALL)
    assert (CropStore(lake, "toy", "resize48").gather(np.array([0])) == (200, 20, 10)).all()


def test_a_second_run_does_nothing_and_says_so(toy: Lake) -> None:
    align(toy, "toy", detector="dataset", options=SMALL)
    before = (toy.home / "toy").resolve()
    again = align(toy, "toy", detector="dataset", options=SMALL)
    assert again.unchanged
    assert "nothing to do" in again.lines()[0]
    assert (toy.home / "toy").resolve() == before


def test_two_alignments_share_one_faces_layer_and_both_stay_fresh(toy: Lake) -> None:
    align(toy, "toy", detector="dataset", options=SMALL)
    align(toy, "toy", detector="dataset", alignment="fbn96", options=SMALL)
    assert {layer.key: layer.stale for layer in toy.layers("toy")} == {
        "crops/arcface112": "", "crops/fbn96": "", "faces/dataset": "", "labels/human": "", "samples": "",
    }  # fmt: skip


def test_other_options_align_again(toy: Lake) -> None:
    align(toy, "toy", alignment="resize48", options=SMALL)
    again = align(toy, "toy", alignment="resize48", options=replace(SMALL, gray=True))
    assert not again.unchanged
    assert CropStore(toy, "toy", "resize48").shape == (48, 48, 1)


def test_without_a_face_the_policy_decides_what_is_cut_out(toy: Lake) -> None:
    summary = align(toy, "toy", detector="dataset", options=replace(SMALL, no_face="centre"))
    assert summary.crops == COUNT - len(BAD)
    assert statuses(toy, "dataset")[WITHOUT_POINTS] == "no-points"
    store = CropStore(toy, "toy", "arcface112")
    row = store.locate([f"toy/{WITHOUT_POINTS:02d}"])[0]
    middle = geometry.to_crop([39.5, (60 + WITHOUT_POINTS - 1) / 2], store.transform[row])
    assert middle == pytest.approx(np.array([55.5, 55.5]), abs=1e-4)


def test_the_limit_takes_the_first_samples(toy: Lake) -> None:
    assert align(toy, "toy", detector="dataset", options=replace(SMALL, limit=2)).samples == 2
    assert not align(toy, "toy", detector="dataset", options=SMALL).unchanged


@pytest.mark.parametrize("trial", ["arcface112", "fbn96", "resize48"])
def test_a_trial_never_replaces_the_faces_that_crops_were_cut_out_with(toy: Lake, trial: str) -> None:
    align(toy, "toy", detector="dataset", options=SMALL)
    before = published(toy)
    with pytest.raises(LakeError, match=r"limit none -> 2[^$]*affect drop toy crops/arcface112"):
        align(toy, "toy", alignment=trial, detector="dataset", options=replace(SMALL, limit=2))
    assert published(toy) == before
    toy.drop("toy", "crops/arcface112")
    assert align(toy, "toy", alignment=trial, detector="dataset", options=replace(SMALL, limit=2)).samples == 2


def test_faces_found_otherwise_never_make_other_crops_stale(toy: Lake) -> None:
    align(toy, "toy", detector="dataset", options=replace(SMALL, limit=2))
    with pytest.raises(LakeError, match="crops/arcface112 depends on it"):
        align(toy, "toy", alignment="fbn96", detector="dataset", options=SMALL)
    align(toy, "toy", detector="dataset", options=SMALL)
    align(toy, "toy", alignment="fbn96", detector="dataset", options=SMALL)
    assert not any(layer.stale for layer in toy.layers("toy"))


def test_points_in_one_place_have_the_same_status_whatever_the_alignment(toy: Lake) -> None:
    labels = toy.read("toy", "labels/human")
    points = labels.column("landmarks").to_pylist()
    points[0] = [30.0] * 136
    bad = labels.set_column(
        labels.column_names.index("landmarks"), "landmarks", pa.array(points, labels.schema.field("landmarks").type)
    )
    with toy.publish("toy", command="test") as step:
        step.write("labels", "human", bad, parents=["samples"])
    found = []
    for name in ("arcface112", "resize48"):
        align(toy, "toy", alignment=name, detector="dataset", options=SMALL)
        found.append(toy.read("toy", "faces/dataset"))
    assert found[0].equals(found[1])
    assert found[0].column("status")[0].as_py() == "degenerate-points"
    assert CropStore(toy, "toy", "arcface112").locate(["toy/00"])[0] == -1
    assert CropStore(toy, "toy", "resize48").locate(["toy/00"])[0] >= 0


def test_progress_tells_the_disk_need_before_the_first_chunk(toy: Lake) -> None:
    told: list[AlignProgress] = []
    align(toy, "toy", detector="dataset", options=SMALL, progress=told.append)
    assert [p.done for p in told] == [0, *(part.stop for part in ranges(toy))]
    assert (told[-1].crops, told[-1].total) == (COUNT - 4, COUNT)
    assert told[0].disk.need == COUNT * 112 * 112 * 3
    assert "GB" in str(told[0].disk)


def test_crops_that_cannot_fit_are_refused_before_anything_is_written(
    toy: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(StorageError, match="do not fit"):
        align(toy, "toy", detector="dataset", options=SMALL)
    assert not toy.has("toy", "crops/arcface112")
    assert align(toy, "toy", detector="dataset", options=replace(SMALL, ignore_space=True)).crops == COUNT - 4


def test_a_full_disk_keeps_the_finished_chunks_and_the_rerun_equals_an_uninterrupted_one(
    toy: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        sync, calls = chunks.sync, []

        def full(path: Path) -> None:
            calls.append(path)
            if len(calls) > 3:  # of the first chunk: crops, table, folder
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(path)

        patch.setattr(chunks, "sync", full)
        with pytest.raises(StorageError, match="no space left"):
            align(toy, "toy", detector="dataset", options=SMALL)
    left = sorted(p.suffix for p in (toy.home / ".work" / "toy").rglob("chunk*"))
    assert left == [".parquet", ".pixels"]
    assert align(toy, "toy", detector="dataset", options=SMALL).resumed == len(ranges(toy)[0])
    other = Lake(tmp_path / "other", create=True)
    publish_toy(other, tmp_path / "toy")
    align(other, "toy", detector="dataset", options=replace(SMALL, workers=1))
    assert published(toy) == published(other)


def align_small(home: Path) -> None:
    """What a killed process does."""
    align(Lake(home), "toy", detector="dataset", options=SMALL)


@pytest.mark.parametrize("point", ["chunk-pixels-written", "chunk-renamed", "chunks-done", "generation-renamed"])
def test_a_killed_run_goes_on_and_ends_byte_identical(point: str, toy: Lake, tmp_path: Path) -> None:
    before = published(toy)
    fork_from(*DATA)
    assert ended(started(align_small, toy.home, AFFECT_KILL_AT=point)) == -signal.SIGKILL
    assert published(toy) == before
    again = align(Lake(toy.home), "toy", detector="dataset", options=SMALL)
    first = len(ranges(toy)[0])
    assert again.resumed == {"chunk-pixels-written": 0, "chunk-renamed": first}.get(point, COUNT)
    other = Lake(tmp_path / "other", create=True)
    publish_toy(other, tmp_path / "toy")
    align(other, "toy", detector="dataset", options=SMALL)
    assert published(toy) == published(other)
    assert not list((toy.home / ".work" / "toy").iterdir())


def test_a_damaged_chunk_of_a_killed_run_is_made_again(toy: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            align(toy, "toy", detector="dataset", options=SMALL)
    plan = engine._plan(toy, "toy", "arcface112", "dataset", SMALL.checked())
    first, second, *others = [plan.chunk(part, toy.work("toy", plan.step)) for part in plan.ranges]
    first.files.pixels.write_bytes(b"cut off")
    second.files.rows.write_bytes(b"cut off")
    assert align(toy, "toy", detector="dataset", options=SMALL).resumed == sum(len(chunk.rows) for chunk in others)


def test_scratch_of_abandoned_options_is_removed(toy: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            align(toy, "toy", detector="dataset", options=replace(SMALL, gray=True))
    align(toy, "toy", detector="dataset", options=SMALL)
    assert not list((toy.home / ".work" / "toy").iterdir())


def test_a_second_process_on_the_same_crops_is_told_to_wait(toy: Lake) -> None:
    plan = engine._plan(toy, "toy", "arcface112", "dataset", SMALL.checked())
    with FileLock(toy.work("toy", plan.step) / "lock"), pytest.raises(LakeBusyError, match="another process"):
        align(toy, "toy", detector="dataset", options=SMALL)
    assert align(toy, "toy", detector="dataset", options=SMALL).crops == COUNT - 4


def test_samples_that_change_while_a_run_lasts_are_not_published_as_fresh(toy: Lake) -> None:
    def ingest_again(_: AlignProgress) -> None:
        samples = toy.read("toy", "samples")
        with toy.publish("toy", command="affect ingest toy") as step:
            step.write("samples", "", samples, LayerFacts(fingerprint="two"))

    with pytest.raises(StaleLayerError, match="samples of toy changed while this step ran"):
        align(toy, "toy", alignment="resize48", options=SMALL, progress=ingest_again)
    assert not toy.has("toy", "faces/whole")
    assert align(toy, "toy", alignment="resize48", options=SMALL).crops == COUNT - len(BAD)


def test_an_alignment_that_needs_points_refuses_a_detector_without(toy: Lake) -> None:
    with pytest.raises(AffectError, match="five points"):
        align(toy, "toy", detector="whole", options=SMALL)


def test_missing_weights_offer_to_look_for_nothing_where_nothing_is_needed(
    toy: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise WeightsError("weights are not on this machine", then="connect to the network")

    monkeypatch.setattr("affectdata.faces.making.detector", none)
    with pytest.raises(WeightsError, match=r"--detector whole.*or connect to the network"):
        align(toy, "toy", alignment="resize48", detector="yunet", options=SMALL)
    with pytest.raises(WeightsError) as refused:
        align(toy, "toy", alignment="arcface112", detector="yunet", options=SMALL)
    assert refused.value.then == "connect to the network"


def test_the_summary_counts_crops_that_are_stretched(toy: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert align(toy, "toy", alignment="resize48", options=SMALL).stretched == 0
    monkeypatch.setattr("affectdata.faces.align.ANISOTROPY_LIMIT", 1.2)
    summary = align(toy, "toy", alignment="resize96", options=SMALL)
    assert summary.stretched == 4  # pictures of 80 x 60, 61, 62 and 64; the next is 80 x 67
    assert "4  stretched more than" in "\n".join(summary.lines())


def test_a_dataset_without_any_points_is_told_to_use_a_detector(toy: Lake) -> None:
    toy.drop("toy", "labels/human")
    with pytest.raises(AffectError, match="--detector yunet"):
        align(toy, "toy", detector="dataset", options=SMALL)


def test_faces_are_measured_whatever_they_are_cut_to(toy: Lake) -> None:
    align(toy, "toy", detector="dataset", options=SMALL)
    rows = toy.read("toy", "faces/dataset").to_pylist()
    assert all((row["perceptual_hash"] is None) == (row["status"] != "found") for row in rows)
    assert rows[0]["eye_distance"] == pytest.approx(24)
    assert rows[0]["sharpness"] > 0
    align(toy, "toy", alignment="resize48", detector="dataset", options=SMALL)
    assert toy.read("toy", "faces/dataset").to_pylist() == rows


def test_jpeg_crops_are_those_of_raw_shards_and_take_less(toy: Lake, tmp_path: Path) -> None:
    align(toy, "toy", alignment="resize48", options=SMALL)
    other = Lake(tmp_path / "other", create=True)
    publish_toy(other, tmp_path / "toy")
    told: list[AlignProgress] = []
    align(other, "toy", alignment="resize48", options=replace(SMALL, store="jpeg:90"), progress=told.append)
    assert "about" in str(told[0].disk)
    raw, jpeg = (CropStore(lake, "toy", "resize48") for lake in (toy, other))
    assert jpeg.sample_ids == raw.sample_ids
    shards = [data for name, data in sorted(published(other).items()) if name.endswith(".jpegs")]
    assert b"".join(shards) == encode(raw.gather(np.arange(len(raw))), 90)[0]
    assert sum(map(len, shards)) < raw.nbytes


@pytest.mark.parametrize(
    "wrong",
    [
        {"no_face": "guess"},
        {"workers": -1},
        {"limit": 0},
        {"score": 2.0},
        {"max_side": 1},
        {"store": "jpeg:0"},
        {"store": "png"},
    ],
    ids=str,
)
def test_wrong_options_are_refused(toy: Lake, wrong: dict[str, object]) -> None:
    with pytest.raises(AffectError, match=r"policy|out of range|store"):
        align(toy, "toy", detector="dataset", options=replace(SMALL, **wrong))


def test_an_unknown_dataset_is_refused_by_name(toy: Lake) -> None:
    with pytest.raises(UnknownNameError, match="toy"):
        align(toy, "tox", options=SMALL)


def test_the_contact_sheet_shows_the_crops_with_their_points(toy: Lake, tmp_path: Path) -> None:
    align(toy, "toy", detector="dataset", options=SMALL)
    assert write_sheet(toy, "toy", "arcface112", tmp_path / "sheet.png", columns=4) == COUNT - 4
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB).astype(int)
    for colour in ((255, 64, 64), (64, 255, 64), (64, 160, 255), (255, 255, 64), (255, 64, 255)):
        drawn = (np.abs(sheet - colour).max(-1) < 12).sum()
        assert drawn >= 5 * (COUNT - 4), colour
    with pytest.raises(StorageError, match="contact sheet"):
        write_sheet(toy, "toy", "arcface112", tmp_path / "nowhere" / "sheet.png")
