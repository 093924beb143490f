"""A corpus of pictures and videos as they lie in real datasets, odd or broken, each with the outcome it must have.

`python -m tests.affectdata.bad_images` prints the table.
"""

from __future__ import annotations

import base64
import io
import os
import struct
import sys
import tempfile
import wave
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from affectdata.media import Image, decode
from affectdata.opencv import opencv
from manifests.errors import MediaError

W, H = 48, 32
UNDECODABLE, TOO_LARGE, MISSING = "undecodable-image", "image-too-large", "missing-image"
NO_VIDEO, NO_FRAME = "missing-video", "missing-frame"
EXACT, LOSSY = 0.0, 4.0
"""Mean difference to the known picture, grey levels, up to which a picture is decoded right."""

_y, _x = np.mgrid[:H, :W]
PICTURE: Image = np.stack([40 + 4 * _x, 60 + 5 * _y, 200 - 2 * _x - 2 * _y], -1).astype(np.uint8)
"""The known picture: smooth, so that JPEG keeps it, and different in every channel and direction."""
GREY: Image = np.array(PIL.Image.fromarray(PICTURE).convert("L"))
TWO_LEVELS: Image = np.where(GREY > 128, 255, 0).astype(np.uint8)
ALPHA: Image = np.dstack([PICTURE, np.full((H, W), 90, np.uint8)])

ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYn"
    "KSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo"
    "KCgoKCgoKCj/yQARCAAgADADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AJeoKSLue7eU5d4uXBxFfd0lPmhX"
    "fxWed+paTZQ4K3UDj5/A7wYCkCm/HGGyos77CJkSId2Nm0/1Bx/MwuVho5Aj2azVGJrvuhX3y2p1AYmsxeExohyzpnQucg78/9k="
)
"""The picture with arithmetic coding, which no encoder here writes: quality 80, by jpegtran -arithmetic."""


@dataclass(frozen=True)
class Kind:
    """One file of the corpus.

    Attributes:
        name: Of the file.
        make: Writes it.
        outcome: The pixels that it must decode to, or the reason that must be recorded.
        tolerance: See `LOSSY`.
        frame: Of a video.
        why: What is odd about it.
    """

    name: str
    make: Callable[[Path], object]
    outcome: Image | str
    why: str
    tolerance: float = EXACT
    frame: int | None = None

    def found(self, root: Path) -> tuple[str, str]:
        """What `decode` makes of it: `right`, `WRONG` or the reason, and the detail."""
        try:
            pixels = decode(root, self.name, None, self.frame)
        except MediaError as error:
            return error.reason, error.detail
        if isinstance(self.outcome, str):
            return "WRONG", f"decoded to {pixels.shape}, expected {self.outcome}"
        wanted = self.outcome if self.outcome.ndim == 3 else np.dstack([self.outcome] * 3)
        if pixels.shape != wanted.shape:
            return "WRONG", f"{pixels.shape}, expected {wanted.shape}"
        difference = float(np.abs(pixels.astype(int) - wanted).mean())
        return "right" if difference <= self.tolerance else "WRONG", f"mean difference {difference:.2f}"

    @property
    def expected(self) -> str:
        """`right`, or the reason."""
        return self.outcome if isinstance(self.outcome, str) else "right"


def encoded(kind: str, pixels: np.ndarray | None = None, mode: str | None = None, **options: object) -> bytes:
    """By Pillow, converted to one of its modes first."""
    picture = PIL.Image.fromarray(PICTURE if pixels is None else pixels)
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def by_opencv(suffix: str, pixels: np.ndarray, *options: int) -> bytes:
    rgb = pixels.ndim == 3 and pixels.shape[2] == 3
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if rgb else pixels, options)
    assert done
    return bytes(data.tobytes())


def put(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def sixteen_bit_rgb() -> bytes:
    """Low bytes that a cut to the high byte must drop."""
    low = np.full_like(PICTURE, 200)
    rows = np.stack([PICTURE, low], -1).reshape(H, -1)
    return png(W, H, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


def interlaced() -> bytes:
    """Adam7, which no encoder here writes."""
    starts = ((0, 0), (4, 0), (0, 4), (2, 0), (0, 2), (1, 0), (0, 1))
    steps = ((8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2))
    passes = [PICTURE[y::dy, x::dx] for (x, y), (dx, dy) in zip(starts, steps, strict=True)]
    return png(W, H, 8, 2, b"".join(b"\0" + row.tobytes() for part in passes for row in part), interlace=1)


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each JPEG segment before the scan."""
    at = 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], at, end
        at = end


def without(data: bytes, marker: int) -> bytes:
    for found, start, end in segments(data):
        if found == marker:
            return data[:start] + data[end:]
    raise ValueError(f"no segment {marker:x}")


def frame_header(place: int, change: bytes) -> bytes:
    """A JPEG with some bytes of its frame header changed."""
    whole = encoded("JPEG", quality=95)
    at = next(start for marker, start, _ in segments(whole) if marker == 0xC0) + place
    return whole[:at] + change + whole[at + len(change) :]


def exif(turn: int) -> bytes:
    found = PIL.Image.Exif()
    found[274] = turn
    return encoded("JPEG", quality=95, exif=found.tobytes())


def with_thumbnail() -> bytes:
    """EXIF whose second directory holds another, smaller JPEG, which must not be taken for the picture."""
    small = encoded("JPEG", np.full((16, 16, 3), 255, np.uint8))
    first = struct.pack("<HI", 0, 14)
    entries = struct.pack("<HHHIIHHII", 2, 0x201, 4, 1, 44, 0x202, 4, 1, len(small)) + struct.pack("<I", 0)
    tiff = b"II*\0\x08\0\0\0" + first + entries
    return encoded("JPEG", quality=95, exif=b"Exif\0\0" + tiff.ljust(44, b"\0") + small)


def with_icc() -> bytes:
    from PIL import ImageCms

    return encoded("JPEG", quality=95, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def cmyk() -> bytes:
    """Inverted, as Pillow writes it and Adobe's programs do."""
    return encoded("JPEG", mode="CMYK", quality=95)


def animated(kind: str, **options: object) -> bytes:
    others = [PIL.Image.new("RGB", (W, H), colour) for colour in ("red", "blue")]
    return encoded(kind, save_all=True, append_images=others, duration=100, **options)


def ascii_pixels(magic: str, image: Image) -> bytes:
    return f"{magic}\n# a comment\n{W} {H}\n255\n{' '.join(map(str, image.ravel()))}\n".encode()


def big_endian_16_bit_pgm() -> bytes:
    return f"P5 {W} {H} 65535\n".encode() + (GREY.astype(np.uint16) * 257).astype(">u2").tobytes()


def top_down_bmp() -> bytes:
    data = bytearray(encoded("BMP"))
    data[22:26] = struct.pack("<i", -H)
    rows = W * 3
    body = data[54:]
    return bytes(data[:54]) + b"".join(bytes(body[y * rows : (y + 1) * rows]) for y in reversed(range(H)))


def unreadable(path: Path) -> None:
    path.write_bytes(encoded("JPEG"))
    path.chmod(0)


def video(path: Path, count: int = 4) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (W, H))
    for _ in range(count):
        writer.write(cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGR))
    writer.release()


def truncated_video(path: Path) -> None:
    video(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 100])


def sound(path: Path) -> None:
    with path.open("wb") as file, wave.open(file) as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(4000))


def kinds() -> list[Kind]:
    """The corpus. Names end as datasets name such files, whatever is in them."""
    found = [*jpegs(), *pngs(), *gifs_and_webps(), *tiffs(), *bitmaps(), *rarities(), *no_pictures(), *videos()]
    if os.geteuid():  # root reads everything
        found.append(Kind("locked.jpg", unreadable, UNDECODABLE, "no permission"))
    return found


def jpegs() -> list[Kind]:
    whole = encoded("JPEG", quality=95)
    good = {
        "baseline.jpg": (whole, "as it should be"),
        "progressive.jpg": (encoded("JPEG", quality=95, progressive=True), "progressive"),
        "arithmetic.jpg": (ARITHMETIC, "arithmetic coding"),
        "full-chroma.jpg": (encoded("JPEG", quality=95, subsampling=0), "4:4:4"),
        "restarts.jpg": (by_opencv(".jpg", PICTURE, cv2.IMWRITE_JPEG_RST_INTERVAL, 2), "restart markers"),
        "no-jfif.jpg": (without(whole, 0xE0), "no JFIF header"),
        "cmyk-adobe.jpg": (cmyk(), "CMYK, inverted, as Adobe says"),
        "cmyk-plain.jpg": (without(cmyk(), 0xEE), "the same without Adobe's marker"),
        "icc.jpg": (with_icc(), "ICC profile (not applied)"),
        "thumbnail.jpg": (with_thumbnail(), "another JPEG in its EXIF"),
        "comment.jpg": (whole[:2] + b"\xff\xfe\x00\x0bcomment\0\0" + whole[2:], "a comment"),
        "trailing.jpg": (whole + b"garbage" * 99, "garbage behind the end"),
        "jpeg.png": (whole, "a JPEG named .png"),
        "no-extension": (whole, "no extension"),
        "UPPER.JPG": (whole, "capitals"),
        "日本語 ü.jpg": (whole, "a name beyond ASCII, with a space"),
        os.fsdecode(b"latin-\xfc.jpg"): (whole, "a name that is no UTF-8"),
        **{f"exif-{n}.jpg": (exif(n), f"EXIF orientation {n} (not applied)") for n in range(1, 9)},
    }
    bad = {
        **{f"cut-{n}.jpg": (whole[: len(whole) * n // 100], f"first {n} %") for n in (1, 10, 50, 90, 98)},
        "no-end.jpg": (whole[:-2], "only the end marker is missing"),
        "leading.jpg": (b"\n\n" + whole, "bytes before the beginning"),
        "early-end.jpg": (whole[:400] + b"\xff\x00\xff\xd9" + whole[404:], "an end in the header"),
        "lossless-mode.jpg": (frame_header(1, b"\xc3"), "claims to be a lossless JPEG"),
        "twelve-bit.jpg": (frame_header(4, b"\x0c"), "claims 12 bits"),
        "no-lines.jpg": (frame_header(5, struct.pack(">H", 0)), "claims no lines"),
    }
    huge = frame_header(5, struct.pack(">HH", 60_000, 60_000))
    return [
        *(Kind(name, put(data), PICTURE, why, LOSSY) for name, (data, why) in good.items()),
        Kind("grey.jpg", put(encoded("JPEG", GREY, quality=95)), GREY, "one channel", LOSSY),
        *(Kind(name, put(data), UNDECODABLE, why) for name, (data, why) in bad.items()),
        Kind("huge.jpg", put(huge), TOO_LARGE, "claims 60,000 x 60,000"),
    ]


def pngs() -> list[Kind]:
    whole = encoded("PNG")
    wide = np.tile(PICTURE[:1], (1, 1000, 1))
    good = {
        "png.jpg": (whole, PICTURE, "a PNG named .jpg"),
        "rgb16.png": (sixteen_bit_rgb(), PICTURE, "16 bits: the high byte"),
        "grey16.png": (by_opencv(".png", GREY.astype(np.uint16) * 257), GREY, "16-bit grey"),
        "one-bit.png": (encoded("PNG", TWO_LEVELS, mode="1"), TWO_LEVELS, "1 bit"),
        "palette.png": (encoded("PNG", GREY, mode="P"), GREY, "palette"),
        "palette-alpha.png": (
            encoded("PNG", GREY, mode="P", transparency=bytes(range(256))), GREY, "palette, transparency (dropped)",
        ),
        "alpha.png": (encoded("PNG", ALPHA), PICTURE, "alpha (dropped, not blended)"),
        "la.png": (encoded("PNG", np.dstack([GREY, GREY])), GREY, "grey with alpha"),
        "interlaced.png": (interlaced(), PICTURE, "Adam7"),
        "animated.png": (animated("PNG"), PICTURE, "APNG: the first picture"),
        "trailing.png": (whole + b"garbage" * 99, PICTURE, "garbage behind the end"),
        "dot.png": (encoded("PNG", PICTURE[:1, :1]), PICTURE[:1, :1], "1 x 1"),
        "column.png": (encoded("PNG", PICTURE[:, :1]), PICTURE[:, :1], "1 x 32"),
        "wide.png": (encoded("PNG", wide), wide, "48,000 x 1"),
    }  # fmt: skip
    bad = {
        "cut.png": (whole[: len(whole) // 2], UNDECODABLE, "first half"),
        "no-end.png": (whole[:-12], UNDECODABLE, "its last chunk is missing"),
        "flipped.png": (whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], UNDECODABLE, "a bit flipped"),
        "short.png": (png(W, H, 8, 2, b"\0" * 100), UNDECODABLE, "fewer rows than claimed"),
        "empty-size.png": (png(0, 0, 8, 2, b""), UNDECODABLE, "0 x 0"),
        "huge.png": (png(60_000, 60_000, 8, 2, b"\0"), TOO_LARGE, "claims 60,000 x 60,000"),
        "bomb.png": (png(12_000, 9_000, 1, 0, bytes(1501 * 9000)), TOO_LARGE, "13 KB of 108 megapixels"),
    }
    return [Kind(name, put(data), outcome, why) for name, (data, outcome, why) in (good | bad).items()]


def gifs_and_webps() -> list[Kind]:
    return [
        Kind("still.gif", put(encoded("GIF", GREY)), GREY, "GIF"),
        Kind("animated.gif", put(animated("GIF")), PICTURE, "animated: the first picture", LOSSY),
        Kind("cut.gif", put(animated("GIF")[:300]), UNDECODABLE, "GIF cut off"),
        Kind("lossy.webp", put(encoded("WEBP", quality=95)), PICTURE, "WebP", LOSSY),
        Kind("lossless.webp", put(encoded("WEBP", lossless=True)), PICTURE, "WebP, lossless"),
        Kind("alpha.webp", put(encoded("WEBP", ALPHA, lossless=True)), PICTURE, "WebP, alpha (dropped)"),
        Kind("animated.webp", put(animated("WEBP", lossless=True)), PICTURE, "animated: the first picture"),
        Kind("cut.webp", put(encoded("WEBP", lossless=True)[:60]), UNDECODABLE, "WebP cut off"),
    ]


def tiffs() -> list[Kind]:
    floats = (PICTURE / 255).astype(np.float32)
    return [
        Kind("lzw.tif", put(encoded("TIFF", compression="tiff_lzw")), PICTURE, "TIFF, LZW"),
        Kind("jpeg.tif", put(encoded("TIFF", compression="jpeg", quality=95)), PICTURE, "TIFF, JPEG inside", LOSSY),
        Kind("cmyk.tif", put(encoded("TIFF", mode="CMYK")), PICTURE, "TIFF, CMYK", LOSSY),
        Kind("rgb16.tif", put(by_opencv(".tiff", PICTURE.astype(np.uint16) * 257)), PICTURE, "TIFF, 16 bits"),
        Kind("grey16.tif", put(encoded("TIFF", GREY.astype(np.uint16) * 257)), GREY, "TIFF, 16-bit grey"),
        Kind("float.tif", put(by_opencv(".tiff", floats)), UNDECODABLE, "TIFF of floats: no known range"),
        Kind("pages.tif", put(animated("TIFF")), PICTURE, "three pages: the first"),
        Kind("fax.tif", put(encoded("TIFF", TWO_LEVELS, mode="1", compression="group4")), TWO_LEVELS, "TIFF, fax"),
        Kind("cut.tif", put(encoded("TIFF")[:500]), UNDECODABLE, "TIFF cut off"),
    ]


def bitmaps() -> list[Kind]:
    four = cv2.cvtColor(ALPHA, cv2.COLOR_RGBA2BGRA)
    return [
        Kind("plain.bmp", put(encoded("BMP")), PICTURE, "BMP"),
        Kind("palette.bmp", put(encoded("BMP", GREY, mode="P")), GREY, "BMP, palette"),
        Kind("one-bit.bmp", put(encoded("BMP", TWO_LEVELS, mode="1")), TWO_LEVELS, "BMP, 1 bit"),
        Kind("alpha.bmp", put(by_opencv(".bmp", four)), PICTURE, "BMP, 32 bits"),
        Kind("top-down.bmp", put(top_down_bmp()), PICTURE, "BMP, first row first"),
        Kind("cut.bmp", put(encoded("BMP")[:800]), UNDECODABLE, "BMP cut off"),
        Kind("binary.ppm", put(encoded("PPM")), PICTURE, "PPM"),
        Kind("ascii.ppm", put(ascii_pixels("P3", PICTURE)), PICTURE, "PPM, ASCII"),
        Kind("ascii.pgm", put(ascii_pixels("P2", GREY)), GREY, "PGM, ASCII"),
        Kind("grey16.pgm", put(big_endian_16_bit_pgm()), GREY, "PGM, 16 bits"),
        Kind("bits.pbm", put(encoded("PPM", TWO_LEVELS, mode="1")), TWO_LEVELS, "PBM"),
        Kind("cut.ppm", put(encoded("PPM")[:800]), UNDECODABLE, "PPM cut off"),
    ]


def rarities() -> list[Kind]:
    floats = (PICTURE / 255).astype(np.float32)
    return [
        Kind("picture.jp2", put(encoded("JPEG2000")), PICTURE, "JPEG 2000", LOSSY),
        Kind("picture.avif", put(encoded("AVIF", quality=95)), PICTURE, "AVIF", LOSSY),
        Kind("picture.hdr", put(by_opencv(".hdr", floats)), UNDECODABLE, "Radiance HDR: no known range"),
        Kind("picture.exr", put(b"\x76\x2f\x31\x01" + bytes(200)), UNDECODABLE, "OpenEXR"),
    ]


def no_pictures() -> list[Kind]:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    files = {
        "empty.jpg": (b"", "zero bytes"),
        "one-byte.jpg": (b"\xff", "one byte"),
        "zeros.jpg": (bytes(5000), "nothing but zero bytes"),
        "text.jpg": (b"not a picture", "text"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "an error page"),
        "drawing.jpg": (drawing, "SVG"),
        "pointer.jpg": (pointer.encode(), "git-lfs pointer"),
        "archive.jpg": (b"PK\x03\x04" + bytes(100), "a zip"),
        "document.jpg": (encoded("PDF"), "a PDF"),
    }
    return [
        *(Kind(name, put(data), UNDECODABLE, why) for name, (data, why) in files.items()),
        Kind("folder.jpg", Path.mkdir, UNDECODABLE, "a folder"),
        Kind("loop.jpg", lambda path: path.symlink_to(path.name), UNDECODABLE, "a link to itself"),
        Kind("dangling.jpg", lambda path: path.symlink_to("nowhere.jpg"), MISSING, "a link to nothing"),
        Kind("pipe.jpg", os.mkfifo, UNDECODABLE, "a FIFO that nobody writes"),
        Kind("gone.jpg", lambda _: None, MISSING, "not there"),
    ]


def videos() -> list[Kind]:
    return [
        Kind("whole.avi", video, PICTURE, "a video, frame 3", LOSSY, frame=3),
        Kind("beyond.avi", video, NO_FRAME, "a frame beyond the end", frame=4),
        Kind("cut-0.avi", truncated_video, UNDECODABLE, "a video cut off in frame 0", frame=0),
        Kind("cut-3.avi", truncated_video, NO_FRAME, "the same, frame 3", frame=3),
        Kind("no-frames.avi", lambda path: video(path, 0), NO_FRAME, "a video without frames", frame=0),
        Kind("sound.mp4", sound, UNDECODABLE, "sound alone", frame=0),
        Kind("text.mp4", put(b"not a video"), UNDECODABLE, "text", frame=0),
        Kind("empty.mp4", put(b""), UNDECODABLE, "zero bytes", frame=0),
        Kind("pipe.mp4", os.mkfifo, UNDECODABLE, "a FIFO", frame=0),
        Kind("gone.mp4", lambda _: None, NO_VIDEO, "not there", frame=0),
    ]


def write(folder: Path) -> list[Kind]:
    """The corpus in a folder."""
    opencv()  # before videos are written, so that its settings hold
    found = kinds()
    for kind in found:
        kind.make(folder / kind.name)
    return found


def table(folder: Path) -> list[tuple[str, str, str, str, str]]:
    """Name, oddity, expected, found and detail of every kind."""
    return [(k.name, k.why, k.expected, *k.found(folder)) for k in write(folder)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        rows = table(Path(place))
    for name, why, expected, found, detail in rows:
        print(
            f"{'ok' if expected == found else 'FAILS':6} {name:24} {why:36} {found:18} {detail.removeprefix(name)[:70]}"
        )
    print(f"{len(rows)} kinds")
    sys.exit(any(expected != found for _, _, expected, found, _ in rows))
