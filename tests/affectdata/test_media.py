"""Decoding: what is sound comes out exact, what is not becomes one MediaError with a reason, whatever the bytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectdata import media
from manifests.errors import MediaError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(picture: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A well-formed PNG that claims a size and holds almost no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def reason(root: Path, *place: object) -> str:
    with pytest.raises(MediaError) as caught:
        media.decode(root, *place)  # type: ignore[arg-type]  # the places of a sample as the test gives them
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_lossless_pictures_come_out_as_their_pixels(tmp_path: Path, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    (tmp_path / "a").write_bytes(encoded(PIL.Image.fromarray(PIXELS), kind, **options))
    np.testing.assert_array_equal(media.decode(tmp_path, "a"), PIXELS)


def test_every_pixel_layout_becomes_eight_bit_rgb(tmp_path: Path) -> None:
    gray = PIXELS[..., 0]
    layouts = {
        "alpha": (PIL.Image.fromarray(np.dstack([PIXELS, np.zeros_like(gray)])), PIXELS),
        "gray": (PIL.Image.fromarray(gray), np.dstack([gray] * 3)),
        "sixteen": (PIL.Image.fromarray(gray.astype(np.uint16) * 257), np.dstack([gray] * 3)),
        "palette": (PIL.Image.fromarray(PIXELS // 128 * 255).quantize(8), PIXELS // 128 * 255),
    }
    for name, (picture, wanted) in layouts.items():
        (tmp_path / name).write_bytes(encoded(picture, "PNG"))
        np.testing.assert_array_equal(media.decode(tmp_path, name), wanted, err_msg=name)
    (tmp_path / "cmyk").write_bytes(encoded(PIL.Image.fromarray(PIXELS).convert("CMYK"), "JPEG"))
    assert media.decode(tmp_path, "cmyk").shape == (20, 30, 3)


def test_exif_rotation_is_not_applied(tmp_path: Path) -> None:
    rotated = PIL.Image.Exif()
    rotated[274] = 6
    (tmp_path / "a.jpg").write_bytes(encoded(PIL.Image.fromarray(PIXELS), "JPEG", exif=rotated.tobytes()))
    assert media.decode(tmp_path, "a.jpg").shape == (20, 30, 3)


def test_gray_is_one_plane_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(PIL.Image.fromarray(PIXELS[..., 0]), "PNG"))
    np.testing.assert_array_equal(media.decode(tmp_path, "a.png", gray=True), PIXELS[..., 0])


def test_a_huge_header_is_refused_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(60_000, 60_000))
    assert reason(tmp_path, "a.png") == "image-too-large"
    jpeg = bytearray(encoded(PIL.Image.fromarray(PIXELS), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    assert reason(tmp_path, "a.jpg") == "image-too-large"


def test_damaged_pictures_have_a_reason(tmp_path: Path) -> None:
    whole = encoded(PIL.Image.fromarray(PIXELS), "JPEG")
    damaged = {
        "half.jpg": whole[: len(whole) // 2],
        "stub.jpg": whole[:20],
        "empty.jpg": b"",
        "text.jpg": b"no picture",
    }
    damaged["short.png"] = png_header(20, 20)
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        assert reason(tmp_path, name) == "undecodable-image", name
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path, "folder.jpg") == "undecodable-image"
    assert reason(tmp_path, "gone.jpg") == "missing-image"


@pytest.mark.parametrize("path", ["../a.png", "/etc/passwd", "x/../../a.png", "..\\a.png", "C:/a.png", "a\0.png", ""])
def test_a_path_never_leads_out_of_its_root(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.png").write_bytes(encoded(PIL.Image.fromarray(PIXELS), "PNG"))
    (tmp_path / "root").mkdir()
    assert reason(tmp_path / "root", path) == "unsafe-path"


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"GIF89a", b"II*\0"]),
)
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_anything_but_a_media_error(data: bytes, start: bytes) -> None:
    try:
        found = str(media.decode_bytes(start + data, "fuzz").dtype)
    except MediaError as error:
        found = error.reason
    assert found in ("uint8", "undecodable-image", "image-too-large")


def test_rows_of_a_pixel_csv_are_found_by_number(tmp_path: Path) -> None:
    gray = np.arange(3 * 48 * 48, dtype=np.int64).reshape(3, 48, 48) % 256
    rows = [f'{n},"{" ".join(map(str, picture.ravel()))}",Training' for n, picture in enumerate(gray)]
    text = "\n".join(["emotion,pixels,Usage", rows[0], "", rows[1], "1,2 3,Training", rows[2]])
    for name, content in {"lf.csv": text, "crlf.csv": text.replace("\n", "\r\n") + "\r\n"}.items():
        (tmp_path / name).write_bytes(content.encode())
        for member, picture in (("0", 0), ("1", 1), ("3", 2)):
            decoded = media.decode(tmp_path, name, member)
            np.testing.assert_array_equal(decoded, np.dstack([gray[picture]] * 3))
        np.testing.assert_array_equal(media.decode(tmp_path, name, "1", gray=True), gray[1])
        assert reason(tmp_path, name, "2") == "bad-pixel-count"
        assert reason(tmp_path, name, "4") == "missing-image"
        assert reason(tmp_path, name, "-1") == "missing-image"


def test_columns_of_a_pixel_csv_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "icml.csv").write_text("emotion, Usage, pixels\n3,Training,1 2 3 4\n")
    assert media.decode(tmp_path, "icml.csv", "0", gray=True).tolist() == [[1, 2], [3, 4]]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert reason(tmp_path, "other.csv", "0") == "undecodable-image"
    (tmp_path / "empty.csv").write_text("")
    assert reason(tmp_path, "empty.csv", "0") == "undecodable-image"


def test_members_of_a_zip_are_read_without_unpacking(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/a.png", encoded(PIL.Image.fromarray(PIXELS), "PNG"))
    np.testing.assert_array_equal(media.decode(tmp_path, "a.zip", "in/a.png"), PIXELS)
    assert reason(tmp_path, "a.zip", "in/b.png") == "missing-image"
    (tmp_path / "b.zip").write_bytes(b"PK no archive")
    assert reason(tmp_path, "b.zip", "a.png") == "not-an-archive"


def test_frames_of_a_video_come_in_any_order(tmp_path: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for level in (20, 90, 160, 230):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    levels = [int(media.decode(tmp_path, "a.avi", None, frame).mean()) for frame in (0, 2, 3, 1)]
    np.testing.assert_allclose(levels, [20, 160, 230, 90], atol=6)
    assert reason(tmp_path, "a.avi", None, 4) == "missing-frame"
    assert reason(tmp_path, "b.avi", None, 0) == "missing-video"


def test_a_video_that_is_replaced_is_opened_anew(tmp_path: Path) -> None:
    import cv2

    for level, count in ((20, 3), (200, 4)):
        writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
        for _ in range(count):
            writer.write(np.full((48, 64, 3), level, np.uint8))
        writer.release()
        frame = 0 if level == 20 else 2
        assert media.decode(tmp_path, "a.avi", None, frame).mean() == pytest.approx(level, abs=6)


def test_the_pixel_hash_is_of_pixels_and_shape_alone() -> None:
    gray = PIXELS[..., 0]
    assert media.pixel_hash(gray) == media.pixel_hash(np.dstack([gray] * 3))
    assert media.pixel_hash(PIXELS) == media.pixel_hash(np.asfortranarray(PIXELS))
    assert media.pixel_hash(PIXELS) != media.pixel_hash(PIXELS.reshape(30, 20, 3))
    assert len(media.pixel_hash(PIXELS)) == 32
