"""Frames of one video: decoded once each, in order, under exact numbers.

Frame n is the n-th coded picture of the video stream in the order of display, from 0, whatever its time stamp: as
OpenCV and ffmpeg count, so a variable frame rate needs no rule, and chunks of an AVI that hold nothing (a dropped
frame) count nothing. A picture that cannot be decoded keeps its number, and so do all behind it. Nothing is sought
for: seeks of `CAP_PROP_POS_FRAMES` miss by some frames in several codecs. A rotation in the container is applied, as
players, ffmpeg and OpenCV apply it.

What cannot be seen from here: a damaged picture that its decoder patches up with pixels of its neighbours (H.264).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectdata.opencv import MAX_PIXELS, opencv
from manifests.errors import MediaError


class Video:
    """An open video that goes forward only.

    Args:
        file: A video file.
        about: Its name for messages.
        keeps: What must live as long as the video is read, such as the owner of a temporary file.

    Attributes:
        asked: The frame asked for last; those before it are gone.

    Raises:
        MediaError: `missing-video`, `undecodable-image` where no video begins there, `image-too-large`.
    """

    def __init__(self, file: Path, about: str, keeps: object = None) -> None:
        cv2 = opencv()
        if not file.is_file():
            there = file.exists()
            raise MediaError("undecodable-image" if there else "missing-video", f"{about}: no file" if there else about)
        self._file, self._about, self._keeps = file, about, keeps
        # FFmpeg alone: other backends would take some names for patterns of picture files.
        self._capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise MediaError("undecodable-image", f"{about}: no video that can be opened")
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            raise MediaError("image-too-large", f"{about}: {width} x {height} pixels, limit {MAX_PIXELS:,}")
        self.asked = -1
        self._at = -1
        self._picture: NDArray[np.uint8] | None = None
        self._grabbed = self._failed = 0
        self._order: _Order | None = None
        self._ended = False

    def frame(self, number: int) -> NDArray[np.uint8]:
        """One frame, uint8 RGB [h, w, 3]; do not write into it. Frames between the last one and it are not converted.

        Args:
            number: 0-based; the same as last time or a later one.

        Raises:
            MediaError: `missing-frame` beyond the end; `undecodable-image` for a frame that is damaged.
        """
        if number < self.asked:
            raise ValueError(f"frame {number} of {self._about} after frame {self.asked}")
        self.asked = number
        while self._at < number and not self._ended:
            self._advance()
        if self._at == number:
            return self._converted()
        if self._order is not None and number < self._order.total:
            raise MediaError("undecodable-image", f"{self._about}: frame {number} is damaged")
        claimed = int(self._capture.get(opencv().CAP_PROP_FRAME_COUNT))
        more = f", though its header claims {claimed}" if claimed > number else ""
        raise MediaError("missing-frame", f"{self._about}: frame {number}, the video ends after {self._at + 1}{more}")

    def _advance(self) -> None:
        """Go to the next frame that its decoder gives, and find out its number; or to the end."""
        self._picture = None
        while not self._capture.grab():
            # The end, or a damaged packet: which of both, only the number of packets says. A decoder that reorders
            # frames fails some frames before the one that is lost, so that counting failures would misnumber these.
            self._failed += 1
            if self._order is None:
                self._order = _Order(self._file, self._time(), self._at)
            if self._grabbed + self._failed > self._order.packets:
                self._ended = True
                return
        self._grabbed += 1
        number = None if self._order is None else self._order.number(self._time())
        number = self._grabbed + self._failed - 1 if number is None else number
        self._at = max(number, self._at + 1)

    def _time(self) -> int:
        return int(self._capture.get(opencv().CAP_PROP_PTS))

    def _converted(self) -> NDArray[np.uint8]:
        if self._picture is None:
            cv2 = opencv()
            there, image = self._capture.retrieve()
            if not there or image is None or image.ndim != 3:
                raise MediaError("undecodable-image", f"{self._about}: frame {self._at}")
            self._picture = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            self._picture.setflags(write=False)  # given out again for a second face in the same frame
        return self._picture


class _Order:
    """The place of each packet of a video in the order of display, from time stamps; read without decoding.

    Args:
        file: The video.
        time: Time stamp of a frame whose number is known.
        number: That number; below 0: none is known yet, and the first packet in order is frame 0.

    Attributes:
        packets: Packets of the video stream, one for each coded picture.
        total: Frames, damaged ones included.
    """

    def __init__(self, file: Path, time: int, number: int) -> None:
        cv2 = opencv()
        raw = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        times = []
        while raw.grab():
            times.append(int(raw.get(cv2.CAP_PROP_PTS)))
        self.packets = len(times)
        places = {stamp: place for place, stamp in enumerate(sorted(times))}
        # Some containers (MPEG-PS) stamp several packets alike: then there is no order to read.
        self._places = places if len(places) == len(times) else {}
        self._first = self._places.get(time, number) - number if number >= 0 else 0
        self.total = self.packets - self._first

    def number(self, time: int) -> int | None:
        """Number of the frame with a time stamp; None where stamps do not tell."""
        place = self._places.get(time)
        return None if place is None else place - self._first
