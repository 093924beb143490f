"""Where the frames of DISFA are: a video per person and camera, or the pictures that a user extracted from it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectdata.datasets.reading import Folder, Reject
from manifests.errors import DatasetError

CAMERAS = ("left", "right")

_VIDEO = re.compile(r"(?i)^(left|right)video_?(SN\d{3}).*\.avi$")
_PICTURES = re.compile(r"(?i)^(left|right)?(?:video)?_?(SN\d{3})(?:_comp)?(?:\.avi)?$")
_RIGHT = re.compile(r"(?i)(?<![a-z])right")
_NUMBER = re.compile(r"(?i)(\d{1,6})\.(?:jpe?g|png|bmp)$")


@dataclass(frozen=True)
class Take:
    """What one camera saw of one person.

    Args:
        name: `SN001/left`.
        video: Path of the video, or empty.
        length: Frames of the video by its header; None: it does not say, or the frames are pictures.
        pictures: Label frame (1-based) -> path.
        first: Number of the first picture.
        doubled: Pictures whose number another one has; they are not used.
        folder: Where a picture that is missing would be.
    """

    subject: str
    camera: str
    video: str = ""
    length: int | None = None
    pictures: dict[int, str] = field(default_factory=dict)
    folder: str = ""
    first: int = 1
    doubled: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.subject}/{self.camera}"

    def frames_within(self, frames: NDArray[np.int64], reject: Reject) -> NDArray[np.int64]:
        """Frames that the video has; the labels of others are refused as `missing-frame`, doubled pictures too."""
        reject.many(self.doubled, "duplicate-key", ("another picture has its number" for _ in self.doubled))
        if self.length is None:
            return frames
        beyond = frames[frames > self.length]
        detail = f"the video has {self.length:,} frames"
        reject.many((f"{self.name} frame {frame}" for frame in beyond), "missing-frame", (detail for _ in beyond))
        return frames[frames <= self.length]

    def paths(self, frames: NDArray[np.int64]) -> list[str]:
        """Path of each frame; where its picture is missing, one that is not there."""
        if self.video:
            return [self.video] * len(frames)
        return [self.pictures.get(frame, f"{self.folder}/frame {frame}") for frame in frames.tolist()]


@dataclass(frozen=True)
class Media:
    """Where the frames of the chosen cameras lie.

    Args:
        kind: `videos` or `images`.
        paths: Camera and person -> video, or folder of pictures.
    """

    folder: Folder
    kind: str
    cameras: tuple[str, ...]
    paths: dict[tuple[str, str], str]

    def takes(self, subject: str) -> Iterator[Take]:
        """What the cameras saw of a person; where nothing is there, a path at which it should be."""
        for camera in self.cameras:
            path = self.paths.get((camera, subject), "")
            yield self._video(subject, camera, path) if self.kind == "videos" else self._images(subject, camera, path)

    def _video(self, subject: str, camera: str, path: str) -> Take:
        absent = f"Videos_{camera.title()}Camera/{camera.title()}Video{subject}_comp.avi"
        return Take(subject, camera, path or absent, avi_frames(self.folder.head(path)) if path else None)

    def _images(self, subject: str, camera: str, path: str) -> Take:
        if not path:
            return Take(subject, camera, folder=f"pictures of {subject}, {camera} camera")
        names = self.folder.files.names(path)
        numbered = [(int(match[1]), name) for name in names if (match := _NUMBER.search(name))]
        base = self.folder.options["image-base"]
        first = int(base) if base != "auto" else min(1, *(number for number, _ in numbered))
        pictures: dict[int, str] = {}
        doubled = []
        for number, name in numbered:
            if pictures.setdefault(number - first + 1, f"{path}/{name}") != f"{path}/{name}":
                doubled.append(f"{path}/{name}")
        return Take(subject, camera, pictures=pictures, folder=path, first=first, doubled=tuple(doubled))


def media(folder: Folder) -> Media:
    """Where the frames of the chosen cameras lie.

    Raises:
        DatasetError: Nowhere; or both as videos and as pictures, and the user has not said which; or a person's twice.
    """
    chosen = folder.options["camera"]
    cameras = CAMERAS if chosen == "both" else (chosen,)
    found = {"videos": list(_videos(folder)), "images": list(_picture_folders(folder))}
    kinds = [kind for kind, paths in found.items() if any(camera in cameras for camera, _, _ in paths)]
    if folder.options["media"]:
        kinds = [kind for kind in kinds if kind == folder.options["media"]]
    if len(kinds) != 1:
        raise DatasetError(
            f"frames of DISFA's {chosen} camera in {folder.root}",
            found="both videos and extracted pictures" if kinds else "labels, but no such videos or pictures",
            expected="Videos_LeftCamera/LeftVideoSN001_comp.avi, or pictures in LeftVideoSN001_comp/ or SN001/",
            then="--media videos or --media images" if kinds else "unpack the videos there, or choose --camera",
        )
    paths: dict[tuple[str, str], str] = {}
    for camera, subject, path in found[kinds[0]]:
        if (camera, subject) in paths:
            raise DatasetError(
                f"{kinds[0]} of {subject}, {camera} camera, lie in {folder.root} twice",
                found=f"{paths[camera, subject]} and {path}",
                expected="one copy",
                then="name a folder that holds one copy",
            )
        paths[camera, subject] = path
    return Media(folder, kinds[0], cameras, paths)


def _videos(folder: Folder) -> Iterator[tuple[str, str, str]]:
    """Camera, person and path of every video."""
    for path in folder.files.tree():
        for name in folder.files.names(path):
            match = _VIDEO.match(name) if name.lower().endswith(".avi") else None
            if match:
                yield match[1].lower(), match[2].upper(), f"{path}/{name}".lstrip("/")


def _picture_folders(folder: Folder) -> Iterator[tuple[str, str, str]]:
    """Camera, person and path of every folder of pictures; without a word about it the camera is the left one."""
    # SN001/0.png    LeftVideoSN001_comp/LeftVideoSN001_comp_00001.jpg    LeftVideoSN001_comp.avi/frame-1.jpg
    for path in folder.files.tree():
        above, _, name = path.rpartition("/")
        match = _PICTURES.match(name)
        if match and any(_NUMBER.search(file) for file in folder.files.names(path)):
            camera = (match[1] or ("right" if _RIGHT.search(above) else "left")).lower()
            yield camera, match[2].upper(), path


def avi_frames(head: bytes) -> int | None:
    """Frames that an AVI header tells, or None. `dmlh` counts the whole of a file above 1 GB, and is 0 in others."""
    if head[:4] != b"RIFF" or head[8:12] != b"AVI ":
        return None
    for chunk, offset in ((b"dmlh", 8), (b"avih", 24)):
        at = head.find(chunk)
        if at >= 0 and len(head) >= at + offset + 4:
            count: int = struct.unpack_from("<I", head, at + offset)[0]
            if count:
                return count
    return None
