"""The list of files: one walk, order-free, and safe with odd names and links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from affectdata.datasets.listing import list_files
from manifests.errors import DatasetError


def test_paths_are_found_by_pattern_component_by_component(tmp_path: Path) -> None:
    for path in (
        "basic/EmoLabel/list.txt",
        "basic/Image/aligned/a.JPG",
        "v.m4v",
        "readme.txt",
        "deep/er/EmoLabel/list.txt",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"12345")
    files = list_files(tmp_path)
    assert files.find("*/emolabel/LIST.txt") == ["basic/EmoLabel/list.txt"]
    assert files.find("*.txt") == ["readme.txt"]
    assert files.folders("*/EmoLabel") == ["basic/EmoLabel"]
    assert files.under("basic/Image") == ["basic/Image/aligned/a.JPG"]
    assert files.media() == ["v.m4v", "basic/Image/aligned/a.JPG"]
    assert files.size("readme.txt") == 5
    assert "basic/EmoLabel/list.txt" in files
    assert "basic/EmoLabel" not in files
    assert len(files) == 5


def test_links_are_followed_but_never_in_circles(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/a.png").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/images").symlink_to(tmp_path / "disk")
    (tmp_path / "root/again").symlink_to(tmp_path / "disk")
    (tmp_path / "root/self").symlink_to(tmp_path / "root")
    (tmp_path / "root/broken").symlink_to(tmp_path / "nowhere")
    assert list(list_files(tmp_path / "root")) == ["again/a.png", "images/a.png"]


def test_names_that_are_not_utf8_are_kept_apart(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb"):  # noqa: PTH123 (a name that pathlib cannot spell)
        pass
    files = list_files(tmp_path)
    assert len(files) == 0
    assert files.unreadable_names == ["caf\\xe9.jpg"]


def test_a_file_that_cannot_be_asked_for_its_size_is_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "a.png").touch()
    with pytest.raises(DatasetError, match=r"loop\.png"):
        list_files(tmp_path)
