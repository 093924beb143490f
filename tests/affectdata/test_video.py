"""Frames of a video keep their numbers, whatever is asked for, damaged or missing."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectdata import media
from affectdata.media import Image, decode, frames
from affectdata.synthetic.files import write_video
from affectdata.video import Video
from manifests.errors import MediaError

COUNT = 12
"""Frames of the test videos; frame n is grey of level 20 n."""


def level_video(path: Path, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, (64, 48))
    for number in range(COUNT):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


def chunks(data: bytes) -> list[tuple[int, int]]:
    """Offset and length of each coded picture of an AVI."""
    at, found = data.index(b"movi") + 4, []
    while data[at : at + 4] == b"00dc":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((at + 8, size))
        at += 8 + size + size % 2
    return found


def damaged(path: Path, lost: Sequence[int]) -> None:
    data = bytearray(path.read_bytes())
    places = chunks(bytes(data))
    assert len(places) == COUNT
    for number in lost:
        at, size = places[number]
        data[at : at + size] = bytes(size)
    path.write_bytes(data)


def outcome(found: Image | MediaError) -> int | str:
    """The frame that a picture is, or the reason why there is none."""
    return found.reason if isinstance(found, MediaError) else round(float(found.mean()) / 20)


def outcomes(root: Path, path: str, wanted: Sequence[int], member: str | None = None) -> list[int | str]:
    got = list(frames(root, path, member, wanted))
    assert [number for number, _ in got] == list(wanted)
    return [outcome(found) for _, found in got]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the same video in several codecs."""
    folder = tmp_path_factory.mktemp("videos")
    for name, codec in {"a.avi": "MJPG", "b.avi": "XVID", "c.mp4": "mp4v", "d.mkv": "MJPG", "e.wmv": "WMV2"}.items():
        level_video(folder / name, codec)
    return folder


@pytest.mark.parametrize("name", ["a.avi", "b.avi", "c.mp4", "d.mkv", "e.wmv"])
def test_every_codec_gives_every_frame_under_its_number(videos: Path, name: str) -> None:
    assert outcomes(videos, name, range(COUNT)) == list(range(COUNT))


@settings(max_examples=30, deadline=None)
@given(wanted=st.lists(st.integers(0, COUNT + 2), max_size=8).map(sorted), lost=st.sets(st.integers(0, COUNT - 1)))
@pytest.mark.parametrize("codec", ["MJPG", "XVID"])
def test_damaged_frames_keep_their_numbers_and_move_no_other(
    tmp_path_factory: pytest.TempPathFactory, codec: str, wanted: list[int], lost: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    damaged(level_video(folder / "a.avi", codec), sorted(lost))
    for number, found in zip(wanted, outcomes(folder, "a.avi", wanted), strict=True):
        if number >= COUNT:
            assert found == "missing-frame"
        elif number in lost:
            assert found == "undecodable-image"
        else:
            assert found == number


def test_frames_are_grabbed_once_and_only_wanted_ones_are_converted(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Counting:
        def __init__(self, *args: object) -> None:
            self._capture = capture(*args)

        def __getattr__(self, name: str) -> object:
            calls.append(name)
            return getattr(self._capture, name)

    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Counting)
    assert outcomes(videos, "a.avi", [2, 2, 7]) == [2, 2, 7]
    assert calls.count("grab") == 8
    assert calls.count("retrieve") == 2
    assert not calls.count("set")


def test_a_header_that_claims_too_many_frames_makes_the_others_missing(tmp_path: Path) -> None:
    path = level_video(tmp_path / "a.avi")
    data = path.read_bytes()
    at, size = chunks(data)[7]
    path.write_bytes(data[: at + size // 2])
    assert outcomes(tmp_path, "a.avi", range(COUNT)) == [*range(7), "undecodable-image", *["missing-frame"] * 4]
    with pytest.raises(MediaError, match="frame 9, the video ends after 7, though its header claims 12"):
        Video(path, "a.avi").frame(9)


def test_single_frames_follow_the_same_numbers(tmp_path: Path) -> None:
    damaged(level_video(tmp_path / "a.avi"), [4])
    for wanted in (3, 5, 4, 4, 11, 0):
        try:
            found: Image | MediaError = decode(tmp_path, "a.avi", None, wanted)
        except MediaError as error:
            found = error
        assert outcome(found) == ("undecodable-image" if wanted == 4 else wanted)


def test_two_faces_of_one_frame_open_the_video_once(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(media, "Video", lambda *args: opened.append(args[0]) or Video(*args))
    for wanted in (6, 6, 7, 7):
        decode(videos, "a.avi", None, wanted)
    assert opened == [videos / "a.avi"]


def test_a_video_in_an_archive_is_read_like_one_outside(videos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(videos / "b.avi", "in/b.avi")
    assert outcomes(tmp_path, "a.zip", [0, 3, 11, 12], "in/b.avi") == [0, 3, 11, "missing-frame"]
    assert outcomes(tmp_path, "a.zip", [0], "in/c.avi") == ["missing-video"]
    assert outcomes(tmp_path, "gone.zip", [0, 1], "in/b.avi") == ["missing-video"] * 2


def test_what_is_no_video_gives_its_reason_for_every_frame(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "fifo.mp4")
    for name in ("text.mp4", "empty.mp4", "folder.mp4", "fifo.mp4"):
        assert outcomes(tmp_path, name, [0, 5]) == ["undecodable-image"] * 2, name
    assert outcomes(tmp_path, "gone.mp4", [0, 5]) == ["missing-video"] * 2
    assert outcomes(tmp_path, "../a.mp4", [0]) == ["unsafe-path"]


def test_a_dropped_frame_of_an_avi_counts_nothing(tmp_path: Path) -> None:
    path = level_video(tmp_path / "a.avi")
    data = path.read_bytes()
    at, size = chunks(data)[4]
    last, length = chunks(data)[-1]
    path.write_bytes(data[: at - 4] + struct.pack("<I", 0) + data[at + size + size % 2 : last + length])
    assert outcomes(tmp_path, "a.avi", range(COUNT)) == [0, 1, 2, 3, *range(5, COUNT), "missing-frame"]


def test_reordered_frames_keep_their_numbers_when_one_is_damaged(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "photos" / "single_face.mp4"
    data = bytearray(source.read_bytes())
    raw = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    packets = [(int(raw.get(cv2.CAP_PROP_PTS)), raw.retrieve()[1].tobytes()) for _ in range(3) if raw.grab()]
    lost, packet = packets[1]
    assert [time for time, _ in packets] == [0, 4, 2]
    at = data.index(packet[4:])  # behind the length that stands for the start code in an MP4
    data[at : at + len(packet) - 4] = bytes(len(packet) - 4)
    (tmp_path / "a.mp4").write_bytes(data)
    found = dict(frames(tmp_path, "a.mp4", None, range(73)))
    assert {n: e.reason for n, e in found.items() if isinstance(e, MediaError)} == {
        lost: "undecodable-image",
        72: "missing-frame",
    }
    assert np.array_equal(found[0], decode(source.parent, source.name, None, 0))


def test_a_twins_video_reads_back(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", (np.full((32, 32, 3), 20 * n, np.uint8) for n in range(COUNT)), 32)
    assert outcomes(tmp_path, "a.avi", [0, 11]) == [0, 11]
