"""Archives under a root: listed as if unpacked, read in place, and never a way out of the root."""

from __future__ import annotations

import gc
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from affectdata import archives
from affectdata.archives import spooled
from affectdata.datasets.listing import Listing, list_files
from affectdata.datasets.reading import Folder
from affectdata.media import decode
from manifests.errors import DatasetError, MediaError


def zip_of(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def tar_of(path: Path, entries: dict[str, bytes | tarfile.TarInfo]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in entries.items():
            if isinstance(data, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            else:
                archive.addfile(data)


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def reasons(files: Listing) -> list[tuple[str, str]]:
    return [(where, reason) for where, reason, _ in files.refused]


def test_entries_below_one_folder_or_alone_open_in_place_and_others_in_a_folder_of_the_archives_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    zip_of(tmp_path / "in/one.zip", {"top/a.txt": b"1", "top/deep/b.txt": b"22"})
    zip_of(tmp_path / "in/alone.zip", {"c.txt": b"333"})
    tar_of(tmp_path / "in/two.parts.tar", {"x/d.txt": b"4444", "e.txt": b"55555"})
    files = list_files(tmp_path)
    wanted = ["in/c.txt", "in/top/a.txt", "in/top/deep/b.txt", "in/two.parts/e.txt", "in/two.parts/x/d.txt"]
    assert list(files) == wanted
    assert [files.size(path) for path in wanted] == [3, 1, 2, 5, 4]
    assert files.origin("in/two.parts/x/d.txt") == ("in/two.parts.tar", "x/d.txt")
    folder = Folder(tmp_path, files)
    assert [len(folder.read_bytes(path)) for path in wanted] == [3, 1, 2, 5, 4]
    assert folder.head("in/top/deep/b.txt", 1) == b"2"


def test_a_real_file_wins_over_an_entry(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/a.txt").write_bytes(b"real")
    zip_of(tmp_path / "packed.zip", {"top/a.txt": b"packed", "top/b.txt": b"b"})
    files = list_files(tmp_path)
    assert Folder(tmp_path, files).read_bytes("top/a.txt") == b"real"
    assert files.origin("top/b.txt") == ("packed.zip", "top/b.txt")
    assert "1 entries are not read" in files.warnings[0]


def test_an_archive_that_lies_unpacked_elsewhere_is_not_read_twice(tmp_path: Path) -> None:
    (tmp_path / "data/top").mkdir(parents=True)
    (tmp_path / "data/top/a.txt").write_bytes(b"1")
    zip_of(tmp_path / "a.zip", {"top/a.txt": b"1"})
    files = list_files(tmp_path)
    assert list(files) == ["data/top/a.txt"]
    assert "unpacked in data/top" in files.warnings[0]


def test_samples_name_the_archive_and_the_entry(tmp_path: Path) -> None:
    zip_of(tmp_path / "z.zip", {"top/a.png": b"1", "top/p.csv": b"2"})
    (tmp_path / "real.png").touch()
    files = list_files(tmp_path)
    paths = ["top/a.png", "real.png", None, "top/p.csv", "real.csv"]
    samples = pa.table({"path": paths, "member": pa.array([None, None, None, "7", "8"])})
    stored = files.stored(samples)
    assert stored["path"].to_pylist() == ["z.zip", "real.png", None, "z.zip", "real.csv"]
    assert stored["member"].to_pylist() == ["top/a.png", None, None, "top/p.csv//7", "8"]
    assert files.stored(samples.select(["path"]))["member"].to_pylist()[0] == "top/a.png"


def test_entries_that_lead_out_and_links_are_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    zip_of(tmp_path / "z.zip", {"../out.txt": b"1", "/abs.txt": b"2", "C:/d.txt": b"3", "t\\ok.txt": b"4"})
    tar_of(
        tmp_path / "t.tar",
        {"x/a.txt": b"1", "x/s": link("x/s", "/etc/passwd"), "x/h": link("x/h", "x/a.txt", tarfile.LNKTYPE)},
    )
    files = list_files(tmp_path)
    assert list(files) == ["t/ok.txt", "x/a.txt", "x/h"]
    assert Folder(tmp_path, files).read_bytes("x/h") == b"1"
    unsafe = [("z.zip:../out.txt", "unsafe-path"), ("z.zip:/abs.txt", "unsafe-path"), ("z.zip:C:/d.txt", "unsafe-path")]
    assert sorted(reasons(files)) == sorted([("t.tar:x/s", "unsafe-file"), *unsafe])


def test_what_cannot_be_read_in_place_is_named(tmp_path: Path) -> None:
    for name in ("a.tar.gz", "b.rar", "c.7z", "d.zip"):
        (tmp_path / name).write_bytes(b"no archive")
    files = list_files(tmp_path)
    assert reasons(files) == [("d.zip", "not-an-archive")]
    assert "a.tar.gz; b.rar; c.7z" in files.warnings[-1].replace(", ", "; ")
    assert "unpack" in files.warnings[-1]


def test_encrypted_entries_are_left_out_and_told_once(tmp_path: Path) -> None:
    zip_of(tmp_path / "z.zip", {"a.txt": b"1", "b.txt": b"2"})
    data = bytearray((tmp_path / "z.zip").read_bytes())
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] |= 1
    (tmp_path / "z.zip").write_bytes(bytes(data))
    files = list_files(tmp_path)
    assert (list(files), reasons(files)) == ([], [("z.zip", "protected-file")])
    assert "password" in files.warnings[0]


def test_the_last_entry_of_a_name_is_read_and_the_other_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("t/a.txt", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("t/a.txt", b"new")
    files = list_files(tmp_path)
    assert Folder(tmp_path, files).read_bytes("t/a.txt") == b"new"
    assert reasons(files) == [("z.zip:t/a.txt", "duplicate-key")]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_damage_inside_an_archive_is_an_error_of_that_entry_alone(tmp_path: Path, method: int) -> None:
    zip_of(tmp_path / "z.zip", {"t/a.txt": bytes(range(250)) * 9, "t/b.txt": b"whole"}, method)
    data = bytearray((tmp_path / "z.zip").read_bytes())
    data[90] ^= 0xFF
    (tmp_path / "z.zip").write_bytes(bytes(data))
    folder = Folder(tmp_path, list_files(tmp_path))
    with pytest.raises(DatasetError, match="damaged"):
        folder.read_bytes("t/a.txt")
    assert folder.read_bytes("t/b.txt") == b"whole"
    with pytest.raises(MediaError, match="undecodable-image"):
        decode(tmp_path, "z.zip", "t/a.txt")


def test_a_lying_size_unpacks_no_more_than_it_says(tmp_path: Path) -> None:
    zip_of(tmp_path / "bomb.zip", {"t/a.png": b"\0" * 5_000_000})
    data = bytearray((tmp_path / "bomb.zip").read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    (tmp_path / "bomb.zip").write_bytes(bytes(data))
    with pytest.raises(MediaError, match="checksum"):
        decode(tmp_path, "bomb.zip", "t/a.png")


def test_a_bomb_is_not_unpacked_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zip_of(tmp_path / "bomb.zip", {"t/a.avi": b"\0" * 1_000_000, "t/b.avi": bytes(range(256)) * 8})
    monkeypatch.setattr(archives, "SUSPECT", 1_000)
    with pytest.raises(MediaError, match=r"unsafe-file.*unpack to 1,000,000"):
        decode(tmp_path, "bomb.zip", "t/a.avi", 0)
    assert spooled(tmp_path / "bomb.zip", "t/b.avi").path().stat().st_size == 2_048


def test_what_macs_add_to_archives_is_left_out(tmp_path: Path) -> None:
    zip_of(tmp_path / "z.zip", {"t/a.txt": b"1", "__MACOSX/t/._a.txt": b"2", "t/.DS_Store": b"3"})
    assert list(list_files(tmp_path)) == ["t/a.txt"]


def test_empty_folders_of_an_archive_are_folders(tmp_path: Path) -> None:
    zip_of(tmp_path / "z.zip", {"t/": b"", "t/empty/": b"", "t/a.txt": b"1"})
    assert list_files(tmp_path).folders("*/*") == ["t/empty"]


def test_a_cut_tar_gives_what_it_has(tmp_path: Path) -> None:
    tar_of(tmp_path / "t.tar", {"x/a.txt": b"1" * 600, "x/b.txt": b"2" * 600})
    data = (tmp_path / "t.tar").read_bytes()
    (tmp_path / "t.tar").write_bytes(data[:1900])
    files = list_files(tmp_path)
    assert "x/a.txt" in files
    assert ("t.tar", "not-an-archive") in reasons(files)


def test_a_tar_that_ends_with_a_zip_is_still_a_tar(tmp_path: Path) -> None:
    zip_of(tmp_path / "inner", {"inside.txt": b"1" * 100})
    tar_of(tmp_path / "t.tar", {"x/a.txt": b"1", "x/notes.zip": (tmp_path / "inner").read_bytes()})
    files = list_files(tmp_path)
    assert [path for path in files if path != "inner"] == ["x/a.txt", "x/notes.zip"]
    assert "holds archives" in files.warnings[0]


@pytest.mark.parametrize("size", [1 << 70, -512, -1024])
def test_a_tar_entry_of_an_impossible_size_is_a_damaged_archive(tmp_path: Path, size: int) -> None:
    header = bytearray(tarfile.TarInfo("x/a.txt").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = bytes([0xFF if size < 0 else 0x80]) + (size % (1 << 88)).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "t.tar").write_bytes(bytes(header) + bytes(2048))
    files = list_files(tmp_path)
    assert (list(files), reasons(files)) == ([], [("t.tar", "not-an-archive")])


def test_a_zip_entry_of_an_impossible_size_is_a_damaged_archive(tmp_path: Path) -> None:
    zip_of(tmp_path / "z.zip", {"t/a.txt": b"1"})
    data = (tmp_path / "z.zip").read_bytes()
    at, end = data.find(b"PK\x01\x02"), bytearray(data[data.find(b"PK\x05\x06") :])
    # The 64-bit size stands in an extra field: id 1, eight bytes.
    extra = b"\x01\x00\x08\x00" + b"\xff" * 8
    entry = bytearray(data[at : at + 46 + len("t/a.txt")])
    entry[24:28], entry[30:32] = b"\xff" * 4, len(extra).to_bytes(2, "little")
    end[12:16] = (len(entry) + len(extra)).to_bytes(4, "little")
    (tmp_path / "z.zip").write_bytes(data[:at] + bytes(entry) + extra + bytes(end))
    files = list_files(tmp_path)
    assert (list(files), reasons(files)) == ([], [("z.zip", "not-an-archive")])


def test_a_forked_process_does_not_remove_the_temporary_files_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the child does not clean up
    zip_of(tmp_path / "z.zip", {f"t/{n}.txt": bytes([n]) for n in range(20)})
    held = [spooled(tmp_path / "z.zip", "t/0.txt")]
    path = held[0].path()
    child = os.fork()
    if not child:
        try:
            held.clear()
            for n in range(1, 20):  # more than are kept: the first one is dropped here
                spooled(tmp_path / "z.zip", f"t/{n}.txt").path()
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert path.read_bytes() == b"\0"
    held.clear()
    for n in range(1, 20):
        spooled(tmp_path / "z.zip", f"t/{n}.txt")
    gc.collect()
    assert not path.exists()


def test_of_two_archives_with_one_name_the_user_is_told_even_where_sizes_agree(tmp_path: Path) -> None:
    zip_of(tmp_path / "a.zip", {"top/1_exp.npy": b"3", "top/2_exp.npy": b"4", "top/x.txt": b""})
    zip_of(tmp_path / "b.zip", {"top/1_exp.npy": b"6", "top/2_exp.npy": b"4", "top/y.txt": b""})
    files = list_files(tmp_path)
    assert Folder(tmp_path, files).read_bytes("top/1_exp.npy") == b"3"
    told = " ".join(files.warnings)
    assert "b.zip: 1 entries are not read: files of their names and sizes lie there" in told
    assert "b.zip: 1 entries are not read: other files of their names lie there" in told
