"""A dataset grows: the next ingest opens only what is new, and gives what a fresh ingest of the larger tree gives."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from affectdata import memo
from affectdata.archives import READABLE, _archive
from affectdata.datasets import reader
from affectdata.datasets.recognise import recognise
from affectdata.ingest import ingest
from affectdata.media import VIDEO_SUFFIXES
from affectdata.synthetic import twins, write_twin
from manifests.lake import Lake

CASES = [(name, variant) for name, twin in twins().items() for variant in twin.VARIANTS]
PICTURES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".pgm", *VIDEO_SUFFIXES))
LINES = frozenset((".txt", ".csv", ".json", ".pts"))
"""Files to which a blank line may be added."""

_watched: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _watched is not None:
        _watched.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else "")


sys.addaudithook(_watch)


@contextmanager
def opened_below(root: Path) -> Iterator[set[str]]:
    """Paths of the files below a folder that this process opens."""
    global _watched
    found: set[str] = set()
    _archive.cache_clear()
    _watched = []
    try:
        yield found
    finally:
        seen, _watched = _watched, None
        files = (Path(path) for path in seen if path.startswith(f"{root}/"))
        # The directory of an archive is read to list what it holds; entries that are read are counted by the summary.
        found |= {f.relative_to(root).as_posix() for f in files if not f.is_dir() and f.suffix not in READABLE}


def digests(lake: Lake, dataset: str) -> dict[str, str]:
    return {layer.key: hashlib.sha256(layer.path.read_bytes()).hexdigest() for layer in lake.layers(dataset)}


def settled(root: Path) -> None:
    """Times of some while ago: what changed just now may change again within the same tick, and is not trusted."""
    for file in root.rglob("*"):
        os.utime(file, (1_700_000_000, 1_700_000_000))


@pytest.mark.parametrize(("name", "variant"), CASES, ids=[f"{name}-{variant}" for name, variant in CASES])
def test_only_new_and_changed_files_are_opened_and_the_lake_is_that_of_a_fresh_ingest(
    name: str, variant: str, tmp_path: Path
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    truth = write_twin(name, whole, samples=24, seed=3, variant=variant)
    shutil.copytree(whole, part)
    annotations = recognise(reader(name), whole, truth.options).annotations
    named = sorted({sample.path for sample in truth.samples if sample.path and sample.readable})
    media = [path for path in named if Path(path).suffix.lower() in PICTURES and path not in annotations]
    new = set()
    if len(media) > 1:
        (part / media[-1]).unlink()
        new.add(media[-1])
    longer = [path for path in annotations if Path(path).suffix in LINES and (whole / path).is_file()]
    # All pixels or labels may lie in one table: then a shorter one comes first.
    for path in longer[-1:]:
        lines = (part / path).read_bytes().splitlines(keepends=True)
        (part / path).write_bytes(b"".join(lines[:-1]) if len(longer) == 1 and len(lines) > 9 else b"".join(lines))
        new.add(path)
    settled(part)
    grown, fresh = Lake(tmp_path / "grown", create=True), Lake(tmp_path / "fresh", create=True)
    ingest(grown, name, part, max_rejects=1, options=truth.options)
    for path in new:
        shutil.copy(whole / path, part / path)
    for path in longer[-1:]:
        (part / path).write_bytes((whole / path).read_bytes() + b"\n")
    with opened_below(part) as opened:
        second = ingest(grown, name, part, max_rejects=1, options=truth.options)
    # A side file of a picture is of no use, and not parsed, before its picture is there.
    beside = {path for path in annotations for added in new if Path(path).name.startswith(Path(added).stem)}
    assert opened <= new | beside
    assert second.opened == len(opened & set(annotations))
    ingest(fresh, name, part, max_rejects=1, options=truth.options)
    assert digests(grown, name) == digests(fresh, name)


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Lake, Path]:
    """A lake with a dataset whose files have long been at rest, and the dataset."""
    root = tmp_path / "root"
    write_twin("affwild2", root, samples=24, seed=3)
    settled(root)
    lake = Lake(tmp_path / "lake", create=True)
    ingest(lake, "affwild2", root, max_rejects=1)
    return lake, root


@pytest.mark.parametrize("harm", ["absent", "empty", "cut", "flipped", "foreign"])
def test_whatever_becomes_of_the_memo_an_ingest_gives_the_same(kept: tuple[Lake, Path], harm: str) -> None:
    lake, root = kept
    file = lake.cache / "annotations/affwild2.sqlite"
    data = file.read_bytes()
    before = digests(lake, "affwild2")
    if harm == "absent":
        file.unlink()
    elif harm == "flipped":
        file.write_bytes(data[:200] + bytes(byte ^ 0x55 for byte in data[200:]))
    else:
        file.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "foreign": b"PAR1" * 500}[harm])
    lake.drop("affwild2", next(key for key in before if key.startswith("labels/")))
    assert not ingest(lake, "affwild2", root, max_rejects=1).unchanged
    assert digests(lake, "affwild2") == before
    assert ingest(lake, "affwild2", root, max_rejects=1).opened == 0


def test_an_unchanged_dataset_is_not_opened_and_rehash_opens_all(kept: tuple[Lake, Path]) -> None:
    lake, root = kept
    with opened_below(root) as opened:
        assert ingest(lake, "affwild2", root, max_rejects=1).unchanged
    assert not opened
    again = ingest(lake, "affwild2", root, max_rejects=1, rehash=True)
    assert again.opened == again.annotations


def test_a_file_changed_within_a_tick_of_the_last_look_is_read_again(
    kept: tuple[Lake, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, root = kept
    path = next(root.rglob("*Train_Set/*.txt"))
    path.write_bytes(path.read_bytes() + b"\n")
    assert ingest(lake, "affwild2", root, max_rejects=1).opened == 1
    # Nothing tells a second change now from the first, so nothing may be known of it.
    assert ingest(lake, "affwild2", root, max_rejects=1).opened == 1
    monkeypatch.setattr(memo, "RACY_S", -1.0)
    assert ingest(lake, "affwild2", root, max_rejects=1).opened == 1
    assert ingest(lake, "affwild2", root, max_rejects=1).opened == 0


def test_what_the_last_ingest_did_not_use_is_forgotten(kept: tuple[Lake, Path]) -> None:
    lake, root = kept
    file = lake.cache / "annotations/affwild2.sqlite"
    size = file.stat().st_size
    for path in list(root.rglob("*Set/*.txt"))[1:]:
        path.unlink()
    ingest(lake, "affwild2", root, max_rejects=1)
    assert file.stat().st_size < size
    lake.drop_dataset("affwild2")
    assert not file.exists()
