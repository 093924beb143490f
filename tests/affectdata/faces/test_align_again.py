"""What was aligned before is not done again, and what comes out equals a run from scratch byte for byte."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from affectdata.faces import align as engine
from affectdata.faces import work
from affectdata.faces.align import AlignOptions, align
from affectdata.faces.detectors import DatasetDetector
from manifests.crops import CropStore
from manifests.errors import AffectError, LakeBusyError, LakeError
from manifests.lake import Lake, LayerFacts
from tests.forks import DATA, ended, fork_from, started

VIDEOS, FRAMES = 30, 8
SMALL = AlignOptions(workers=2, chunk=16)
POINTS = [12.0, 14.0, 28.0, 14.0, 20.0, 21.0, 14.0, 29.0, 26.0, 29.0]


def write_video(file: Path, seed: int) -> None:
    file.parent.mkdir(exist_ok=True)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 40))
    rng = np.random.default_rng(seed)
    for _ in range(FRAMES):
        writer.write(cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (48, 40)))
    writer.release()


def publish(lake: Lake, root: Path, videos: list[int]) -> None:
    """The dataset `clips`: every second frame of each video is a sample with five points."""
    rows = [(f"clips/{v:03d}/{f:05d}", f"{v:03d}.avi", f) for v in sorted(videos) for f in range(0, FRAMES, 2)]
    ids, paths, frames = (list(column) for column in zip(*rows, strict=True))
    points = pa.array([POINTS] * len(ids), pa.list_(pa.float32(), 10))
    table = {"sample_id": ids, "dataset": ["clips"] * len(ids), "path": paths, "points5": points}
    facts = LayerFacts(fingerprint=f"{root.name} {videos}")  # as ingest, which sees names and sizes
    with lake.publish("clips", command="test") as step:
        step.source(root, "clips")
        step.write("samples", "", pa.table({**table, "frame": pa.array(frames, pa.int32())}), facts)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos 0 to 59."""
    folder = tmp_path_factory.mktemp("clips")
    for video in range(2 * VIDEOS):
        write_video(folder / f"{video:03d}.avi", video)
    return folder


@pytest.fixture
def clips(lake: Lake, root: Path) -> Lake:
    """A lake with every second video, aligned."""
    publish(lake, root, list(range(0, 2 * VIDEOS, 2)))
    align(lake, "clips", detector="dataset", options=SMALL)
    return lake


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pictures that were decoded, as `path:frame`."""
    seen: list[str] = []
    decode = work.decode

    def counted(folder: Path, path: str, member: str | None, frame: int | None) -> np.ndarray:
        seen.append(f"{path}:{frame}")
        return decode(folder, path, member, frame)

    monkeypatch.setattr(work, "decode", counted)
    return seen


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each picture in which a face was looked for."""
    seen: list[int] = []
    find = DatasetDetector.find
    monkeypatch.setattr(DatasetDetector, "find", lambda *args: seen.append(1) or find(*args))
    return seen


def published(lake: Lake, dataset: str = "clips") -> dict[str, bytes]:
    folder = (lake.home / dataset).resolve()
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def fresh(tmp_path: Path, root: Path) -> Callable[..., dict[str, bytes]]:
    """What runs from scratch publish."""

    def made(videos: list[int], *alignments: str, **options: object) -> dict[str, bytes]:
        other = Lake(tmp_path / "fresh", create=True)
        publish(other, root, videos)
        for name in alignments or ("arcface112",):
            align(other, "clips", alignment=name, detector="dataset", options=replace(SMALL, **options))
        return published(other)

    return made


def test_new_videos_cost_only_the_chunks_that_they_lie_in(
    clips: Lake, root: Path, decoded: list[str], fresh: Callable[..., dict[str, bytes]]
) -> None:
    shards = {p.stat().st_ino for p in (clips.home / "clips" / "crops").glob("*.u8")}
    videos = sorted([*range(0, 2 * VIDEOS, 2), 7, 31])
    publish(clips, root, videos)
    summary = align(clips, "clips", detector="dataset", options=SMALL)
    assert summary.samples == len(videos) * FRAMES // 2
    assert {f"{v:03d}.avi:{f}" for v in (7, 31) for f in range(0, FRAMES, 2)} <= set(decoded)
    assert len(decoded) == len(set(decoded)) == summary.samples - summary.kept < summary.samples / 2
    assert f"{summary.kept:>9}  taken over from the crops before" in summary.lines()[-1]
    kept = {p.stat().st_ino for p in (clips.home / "clips" / "crops").glob("*.u8")} & shards
    assert kept  # the same files under other names, not copies
    assert published(clips) == fresh(videos)


def test_videos_that_are_gone_cost_no_more(
    clips: Lake, root: Path, decoded: list[str], fresh: Callable[..., dict[str, bytes]]
) -> None:
    videos = [v for v in range(0, 2 * VIDEOS, 2) if v != 20]
    publish(clips, root, videos)
    summary = align(clips, "clips", detector="dataset", options=SMALL)
    assert len(decoded) < summary.samples / 2
    assert published(clips) == fresh(videos)


def test_a_file_that_changed_its_size_is_done_again(
    clips: Lake, root: Path, tmp_path: Path, decoded: list[str]
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for video in root.iterdir():
        (moved / video.name).write_bytes(video.read_bytes())
    write_video(moved / "010.avi", 999)
    publish(clips, moved, list(range(0, 2 * VIDEOS, 2)))
    align(clips, "clips", detector="dataset", options=SMALL)
    assert {f"010.avi:{f}" for f in range(0, FRAMES, 2)} <= set(decoded)
    assert len(decoded) < VIDEOS * FRAMES / 4


def test_a_second_geometry_looks_for_no_face_again(
    clips: Lake, looked: list[int], fresh: Callable[..., dict[str, bytes]]
) -> None:
    align(clips, "clips", alignment="fbn96", detector="dataset", options=SMALL)
    assert not looked
    assert published(clips) == fresh(list(range(0, 2 * VIDEOS, 2)), "fbn96", "arcface112")


def align_small(home: Path) -> None:
    """What a killed process does."""
    align(Lake(home), "clips", detector="dataset", options=SMALL)


@pytest.mark.parametrize("point", ["chunks-taken", "chunk-renamed", "layers-linked"])
def test_a_kill_while_videos_are_added_loses_nothing(
    point: str, clips: Lake, root: Path, fresh: Callable[..., dict[str, bytes]]
) -> None:
    videos = sorted([*range(0, 2 * VIDEOS, 2), 7, 31])
    publish(clips, root, videos)
    before = published(clips)
    fork_from(*DATA)
    assert ended(started(align_small, clips.home, AFFECT_KILL_AT=point)) == -signal.SIGKILL
    assert published(clips) == before
    assert align(Lake(clips.home), "clips", detector="dataset", options=SMALL).resumed
    assert published(clips) == fresh(videos)


def test_shards_make_all_chunks_and_a_plain_run_only_publishes(
    lake: Lake, root: Path, decoded: list[str], fresh: Callable[..., dict[str, bytes]]
) -> None:
    videos = list(range(VIDEOS))
    publish(lake, root, videos)
    parts = [align(lake, "clips", detector="dataset", options=replace(SMALL, shard=(i, 3))) for i in (3, 1, 2)]
    assert not lake.has("clips", "crops/arcface112")
    assert "shard 3/3" in parts[0].lines()[0]
    assert sum(part.samples for part in parts) == len(decoded) == VIDEOS * FRAMES // 2
    assert all(0 < part.samples < len(decoded) for part in parts)
    assert align(lake, "clips", detector="dataset", options=SMALL).resumed == len(decoded) == VIDEOS * FRAMES // 2
    assert published(lake) == fresh(videos)


def test_a_plain_run_waits_for_no_shard_and_publishes_nothing_beside_one(clips: Lake, root: Path) -> None:
    publish(clips, root, [1, 2, 3])
    plan = engine._plan(clips, "clips", "arcface112", "dataset", SMALL.checked())
    folder = clips.work("clips", plan.step)
    with engine.FileLock(folder / "lock-1-of-2"), pytest.raises(LakeBusyError):
        align(clips, "clips", detector="dataset", options=SMALL)
    with engine.FileLock(folder / "lock"), pytest.raises(LakeBusyError):
        align(clips, "clips", detector="dataset", options=replace(SMALL, shard=(1, 2)))
    assert align(clips, "clips", detector="dataset", options=replace(SMALL, shard=(1, 2))).shard == (1, 2)


@pytest.mark.parametrize("wrong", [(0, 2), (3, 2)])
def test_a_shard_out_of_range_is_refused(clips: Lake, wrong: tuple[int, int]) -> None:
    with pytest.raises(AffectError, match="such as 2/8"):
        align(clips, "clips", detector="dataset", options=replace(SMALL, shard=wrong))


def test_frames_come_out_in_order_whatever_thread_made_them(clips: Lake) -> None:
    store = CropStore(clips, "clips", "arcface112")
    crops = store.gather(np.arange(len(store))).astype(int).reshape(VIDEOS, FRAMES // 2, -1)
    again = Lake(clips.home)
    align(again, "clips", alignment="arcface112_sym", detector="dataset", options=replace(SMALL, workers=5))
    other = CropStore(again, "clips", "arcface112_sym").gather(np.arange(len(store))).astype(int).reshape(crops.shape)
    apart = np.abs(crops[:, :, None] - other[:, None]).mean(-1)
    assert (apart.argmin(-1) == np.arange(FRAMES // 2)).all()


def test_fewer_samples_never_replace_the_faces_of_more(clips: Lake) -> None:
    with pytest.raises(LakeError, match="where none -> frame = 0"):
        align(clips, "clips", detector="dataset", options=replace(SMALL, where="frame = 0"))
