"""Safe decoding of what `samples` names: image files, rows of pixel CSVs, archive members, video frames.

Every failure is a `MediaError` whose reason is a reject code; nothing here is fatal to a run.

Pixels are those the file stores. An EXIF rotation is not applied: the boxes and landmarks that datasets release
refer to stored pixels, as their tools read them. 16-bit pictures keep their high byte, palettes and CMYK become RGB,
an alpha channel is dropped without blending.
"""

from __future__ import annotations

import csv
import hashlib
import io
import mmap
import os
import stat
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectdata import archives
from affectdata.opencv import MAX_PIXELS, opencv
from affectdata.video import Video
from manifests.errors import MediaError

Image = NDArray[np.uint8]

MAX_BYTES = 512 * 1024 * 1024
"""Files and archive members above this size are refused before they are read."""

PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".gif", ".webp"))
VIDEO_SUFFIXES = frozenset((".avi", ".mp4", ".mov", ".mkv", ".mpg", ".mpeg", ".wmv", ".webm", ".m4v", ".flv"))

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

_local = threading.local()


def decode(root: Path, path: str, member: str | None = None, frame: int | None = None, *, gray: bool = False) -> Image:
    """The pixels of one sample.

    Args:
        root: The dataset's folder.
        path: File relative to it, '/' separated.
        member: Entry of a zip or tar archive, 0-based data row of a CSV with a `pixels` column, or both:
            `<entry>//<row>`.
        frame: 0-based frame of a video.
        gray: Return [h, w] instead of three channels.

    Returns:
        uint8 RGB [h, w, 3]; a gray picture has three equal channels. With `gray`, uint8 [h, w].

    Raises:
        MediaError: `unsafe-path`, `missing-image`, `missing-video`, `missing-frame`, `undecodable-image`,
            `image-too-large`, `bad-pixel-count`, `not-an-archive`.
    """
    file = resolve(root, path)
    suffix = file.suffix.lower()
    if member is not None and suffix != ".csv":
        return _entry(file, path, member, frame, gray)
    if frame is not None or suffix in VIDEO_SUFFIXES:
        return _turned_gray(_video_frame(file, path, frame or 0), gray)
    if member is not None:
        return _pixels_of(file, path, member, gray)
    return decode_bytes(_read(file, path), path, gray=gray)


def frames(
    root: Path, path: str, member: str | None, wanted: Iterable[int]
) -> Iterator[tuple[int, Image | MediaError]]:
    """Frames of one video, opened once and decoded once, in order; what cannot be had comes as its error.

    Args:
        root: The dataset's folder.
        path: The video, or an archive, relative to it.
        member: The video's entry in that archive.
        wanted: 0-based frames, ascending; the same frame may come several times.

    Yields:
        Each frame wanted with its picture, uint8 RGB [h, w, 3] not to be written into, or with a `MediaError` of the
        reasons of `decode`.
    """
    video: Video | MediaError
    try:
        file = resolve(root, path)
        if member is None:
            video = Video(file, path)
        else:
            copy, keeps = _unpacked_video(file, member)
            video = Video(copy, f"{path}:{member}", keeps)
    except MediaError as error:
        video = error
    for number in wanted:
        if isinstance(video, MediaError):
            yield number, video
            continue
        try:
            found: Image | MediaError = video.frame(number)
        except MediaError as error:
            found = error
        yield number, found


def _entry(file: Path, path: str, member: str, frame: int | None, gray: bool) -> Image:
    """The pixels of what lies in an archive; videos and tables are unpacked into a temporary file first."""
    name, _, row = member.partition(archives.ROW)
    about = f"{path}:{name}"
    if row:
        return _pixels_of(archives.spooled(file, name).path(), about, row, gray)
    if frame is None and PurePosixPath(name).suffix.lower() not in VIDEO_SUFFIXES:
        return decode_bytes(archives.archive(file).read(name, MAX_BYTES), about, gray=gray)
    copy, keeps = _unpacked_video(file, name)
    return _turned_gray(_video_frame(copy, about, frame or 0, keeps), gray)


def _unpacked_video(file: Path, name: str) -> tuple[Path, archives.Spooled]:
    """A video of an archive as a temporary file, and what keeps it there."""
    try:
        unpacked = archives.spooled(file, name)
        return unpacked.path(), unpacked
    except MediaError as error:
        raise (MediaError("missing-video", error.detail) if error.reason == "missing-image" else error) from None


def _pixels_of(file: Path, path: str, row: str, gray: bool) -> Image:
    pixels = _csv_pixels(file, path, row)
    return pixels if gray else np.repeat(pixels[..., None], 3, axis=2)


def decode_bytes(data: bytes, about: str, *, gray: bool = False) -> Image:
    """The pixels of an encoded picture; see `decode`.

    Raises:
        MediaError: `undecodable-image` or `image-too-large`.
    """
    if not data:
        raise MediaError("undecodable-image", f"{about}: an empty file")
    size = picture_size(data)
    if size is None:
        raise MediaError("undecodable-image", f"{about}: no picture format begins like this")
    if size[0] * size[1] > MAX_PIXELS:
        raise MediaError("image-too-large", f"{about}: {size[0]} x {size[1]} pixels, limit {MAX_PIXELS:,}")
    fault = _png_fault(data) if data[:8] == _PNG else None
    if fault is not None or not all(size):
        raise MediaError("undecodable-image", f"{about}: {fault or 'a picture of no pixels'}")
    cv2 = opencv()
    colour = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), colour | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise MediaError("undecodable-image", f"{about}: {str(error).strip().splitlines()[-1][:200]}") from None
    if image is None:
        raise MediaError("undecodable-image", f"{about}: truncated or damaged")
    pixels: Image = image
    return pixels


def pixel_hash(image: Image) -> str:
    """BLAKE2b-128 of shape and bytes of the RGB picture; a gray one hashes as its three equal channels.

    The same pixels hash the same whatever file format held them without loss.
    """
    rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    digest = hashlib.blake2b("x".join(map(str, rgb.shape)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def resolve(root: Path, path: str) -> Path:
    """The file that a stored path names. Symbolic links are the owner's; the path itself may not climb out.

    Raises:
        MediaError: `unsafe-path` for an absolute path, a drive, `..` or NUL.
    """
    parts = path.replace("\\", "/").split("/")
    if not path or parts[0] == "" or ".." in parts or "\x00" in path or parts[0].endswith(":"):
        raise MediaError("unsafe-path", f"{path!r} leads out of {root}")
    return root.joinpath(*parts)


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that an encoded picture's header claims, without decoding; None where it has no header."""
    if data[:8] == _PNG and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    return _other_size(data)


def _png_fault(data: bytes) -> str | None:
    """What is wrong with the chunks of a PNG that pixels depend on; libpng would tell standard error, not us."""
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            break
        if kind in _PNG_PIXELS and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return f"damaged: the checksum of chunk {kind.decode()} differs"
        if kind == b"IEND":
            return None
        at = end
    return "truncated"


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        elif 0xD0 <= marker <= 0xD9 or marker == 0x01:
            at += 2
        else:
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _other_size(data: bytes) -> tuple[int, int] | None:
    import PIL.Image

    try:
        # Only the header is read; PIL's own limit would raise for what is refused by MAX_PIXELS anyway.
        with PIL.Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except PIL.Image.DecompressionBombError:
        return (MAX_PIXELS + 1, 1)
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, TypeError, KeyError, IndexError):
        return None


def _read(file: Path, about: str) -> bytes:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a FIFO would be waited for
            raise MediaError("undecodable-image", f"{about}: no regular file")
        if status.st_size > MAX_BYTES:
            raise MediaError("image-too-large", f"{about}: {status.st_size:,} bytes, limit {MAX_BYTES:,}")
        return file.read_bytes()
    except FileNotFoundError:
        raise MediaError("missing-image", about) from None
    except (OSError, ValueError) as error:
        raise MediaError("undecodable-image", f"{about}: {error}") from None


def _stamp(file: Path) -> tuple[int, int]:
    status = os.stat(file)  # noqa: PTH116 (called for every row of a pixel CSV)
    return status.st_size, status.st_mtime_ns


class _PixelRows:
    """Where each data row of a pixel CSV begins; blank lines do not count, as in the readers."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        ends = [np.flatnonzero(piece == 0x0A) + start for start, piece in self._pieces()]
        stops = np.append(np.concatenate(ends), len(self._map)) if ends else np.array([len(self._map)])
        starts = np.concatenate([[0], stops[:-1] + 1])
        long = stops - starts > 1
        short = np.flatnonzero(~long & (stops > starts))
        # A line of one byte is a row unless that byte is the CR of an empty CRLF line.
        long[[row for row in short if self._map[int(starts[row])] != 0x0D]] = True
        self.starts, self.stops = starts[long], stops[long]
        names = next(csv.reader([self._line(0).decode("utf-8-sig", "replace")]), []) if len(self.starts) else []
        self.column = [name.strip() for name in names].index("pixels")

    def _pieces(self) -> Any:
        for start in range(0, len(self._map), 1 << 24):
            yield start, np.frombuffer(self._map[start : start + (1 << 24)], np.uint8)

    def _line(self, row: int) -> bytes:
        return self._map[int(self.starts[row]) : int(self.stops[row])].strip()

    def fields(self, row: int) -> list[str]:
        """Fields of one 0-based data row."""
        return next(csv.reader([self._line(row + 1).decode("utf-8", "replace")]), [])


@lru_cache(maxsize=8)
def _pixel_rows(file: Path, stamp: tuple[int, int]) -> _PixelRows:  # noqa: ARG001 (a changed file is indexed anew)
    return _PixelRows(file)


def _csv_pixels(file: Path, about: str, member: str) -> Image:
    try:
        rows = _pixel_rows(file, _stamp(file))
    except FileNotFoundError:
        raise MediaError("missing-image", about) from None
    except (OSError, ValueError, csv.Error) as error:
        raise MediaError("undecodable-image", f"{about}: no CSV with a pixels column ({error})") from None
    where = f"{about} row {member}"
    if not member.isdecimal() or int(member) + 1 >= len(rows.starts):
        raise MediaError("missing-image", where)
    fields = rows.fields(int(member))
    text = fields[rows.column] if rows.column < len(fields) else ""
    try:
        values = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        raise MediaError("bad-pixel-count", f"{where}: something that is no number") from None
    side = int(np.sqrt(len(values)))
    if not side or side * side != len(values) or values.min() < 0 or values.max() > 255:
        raise MediaError("bad-pixel-count", f"{where}: {len(values)} values, not a square of bytes")
    return values.astype(np.uint8).reshape(side, side)


def _video_frame(file: Path, about: str, frame: int, keeps: object = None) -> Image:
    """One frame; in ascending order, frames are decoded once each."""
    try:
        key = (file, _stamp(file))
    except (OSError, ValueError):
        raise MediaError("missing-video", about) from None
    last: tuple[object, Video] | None = getattr(_local, "video", None)
    if last is None or last[0] != key or last[1].asked > frame:
        _local.video = None  # closes the one before, should this one not open
        last = _local.video = (key, Video(file, about, keeps))
    return last[1].frame(frame)


def _turned_gray(image: Image, gray: bool) -> Image:
    if not gray:
        return image
    cv2 = opencv()
    turned: Image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return turned
