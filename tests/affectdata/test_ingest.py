"""The engine: the same bytes from the same input, nothing for nothing, and one clear answer to bad input."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from affectdata import ingest as engine
from affectdata.datasets import listing
from affectdata.ingest import ingest
from manifests.errors import AffectError, DatasetError, LakeBusyError, RejectLimitError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts

HEADER = "image,subject,split,expression,valence,arousal"


def write_rafdb(root: Path, count: int = 6, *, missing: int = 0) -> Path:
    """A small RAF-DB whose pictures are stubs: ingest does not decode."""
    lines = [f"train_{n:05d}.jpg {n % 7 + 1}" for n in range(1, count + 1)]
    (root / "basic/EmoLabel").mkdir(parents=True)
    (root / "basic/EmoLabel/list_patition_label.txt").write_text("\n".join(lines))
    (root / "basic/Image/aligned").mkdir(parents=True)
    for n in range(1, count + 1 - missing):
        (root / f"basic/Image/aligned/train_{n:05d}_aligned.jpg").write_bytes(b"stub")
    return root


def digests(lake: Lake, dataset: str) -> dict[str, str]:
    """Layer -> hash of its file."""
    return {layer.key: hashlib.sha256(layer.path.read_bytes()).hexdigest() for layer in lake.layers(dataset)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_rafdb(tmp_path / "RAF-DB")


def test_ingesting_twice_does_nothing_and_says_so(lake: Lake, root: Path) -> None:
    assert not ingest(lake, "rafdb", root).unchanged
    generation = (lake.home / "rafdb").resolve()
    again = ingest(lake, "rafdb", Path(f"{root}/"))
    assert again.unchanged
    assert again.samples == 6
    assert "unchanged" in again.lines()[0]
    assert (lake.home / "rafdb").resolve() == generation


def test_another_directory_order_gives_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Lake(tmp_path / name, create=True) for name in ("first", "second"))
    ingest(first, "rafdb", root)
    scan = os.scandir

    def backwards(folder: Path) -> Iterator[os.DirEntry[str]]:
        return iter(sorted(scan(folder), key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(listing, "os", SimpleNamespace(scandir=backwards, path=os.path))
    ingest(second, "rafdb", root)
    assert digests(first, "rafdb") == digests(second, "rafdb")


def test_changed_annotations_replace_the_layers_and_changed_pictures_count(lake: Lake, root: Path) -> None:
    ingest(lake, "rafdb", root)
    before = lake.layer("rafdb", "samples").facts.fingerprint
    labels = root / "basic/EmoLabel/list_patition_label.txt"
    labels.write_text(labels.read_text().replace("train_00001.jpg 2", "train_00001.jpg 4"))
    assert not ingest(lake, "rafdb", root).unchanged
    assert lake.read("rafdb", "labels/human").column("expression")[0].as_py() == "happiness"
    assert lake.layer("rafdb", "samples").facts.fingerprint != before
    (root / "basic/Image/aligned/train_00001_aligned.jpg").write_bytes(b"longer than before")
    assert not ingest(lake, "rafdb", root).unchanged


def test_rehash_sees_what_sizes_do_not_show(lake: Lake, root: Path) -> None:
    ingest(lake, "rafdb", root, rehash=True)
    assert ingest(lake, "rafdb", root, rehash=True).unchanged
    assert ingest(lake, "rafdb", root).unchanged
    (root / "basic/Image/aligned/train_00001_aligned.jpg").write_bytes(b"STUB")
    assert ingest(lake, "rafdb", root).unchanged
    assert not ingest(lake, "rafdb", root, rehash=True).unchanged


def test_a_layer_that_was_dropped_or_replaced_comes_back(lake: Lake, root: Path) -> None:
    ingest(lake, "rafdb", root)
    before = digests(lake, "rafdb")
    for key in ("labels/human", "protocols/official"):
        lake.drop("rafdb", key)
        assert not ingest(lake, "rafdb", root).unchanged
        assert digests(lake, "rafdb") == before
    with lake.publish("rafdb", command="by hand") as publication:
        publication.write("labels", "human", lake.read("rafdb", "labels/human").slice(0, 1), LayerFacts(rule="one"))
    assert not ingest(lake, "rafdb", root).unchanged
    assert digests(lake, "rafdb") == before
    assert ingest(lake, "rafdb", root).unchanged


def test_a_second_writer_learns_that_it_is_one_before_anything_is_read(lake: Lake, root: Path) -> None:
    steps = []
    with lake.publish("rafdb", command="the first"), pytest.raises(LakeBusyError, match="the first"):
        ingest(lake, "rafdb", root, progress=lambda step, _done, _total: steps.append(step))
    assert set(steps) == {"listing files"}


def test_a_folder_that_cannot_be_read_keeps_the_old_generation(
    lake: Lake, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(lake, "rafdb", root)
    before = digests(lake, "rafdb")

    def refusing(folder: Path) -> Iterator[os.DirEntry[str]]:
        if folder.name == "aligned":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return os.scandir(folder)

    monkeypatch.setattr(listing, "os", SimpleNamespace(scandir=refusing))
    with pytest.raises(DatasetError, match="basic/Image/aligned: Permission denied"):
        ingest(lake, "rafdb", root)
    assert digests(lake, "rafdb") == before


def test_a_note_beside_the_data_changes_nothing(lake: Lake, root: Path) -> None:
    ingest(lake, "rafdb", root)
    (root / "README.txt").write_text("moved here in May")
    assert ingest(lake, "rafdb", root).unchanged


def test_a_moved_dataset_is_found_again_without_reading_it(lake: Lake, root: Path, tmp_path: Path) -> None:
    ingest(lake, "rafdb", root)
    before = digests(lake, "rafdb")
    moved = root.rename(tmp_path / "moved")
    assert ingest(lake, "rafdb", moved).unchanged
    assert lake.root("rafdb") == moved
    assert digests(lake, "rafdb") == before


def test_layers_that_are_no_longer_made_are_dropped(lake: Lake, tmp_path: Path) -> None:
    root = tmp_path / "ferplus"
    part = root / "FER2013Train"
    part.mkdir(parents=True)
    (part / "fer0000001.png").touch()
    (part / "label.csv").write_text('fer0000001.png,"(0, 0, 48, 48)",5,0,0,3,1,0,0,0,1,0\n')
    side = root / "labels.csv"
    side.write_text("csv_row,ferplus_name,usage,fer_emotion,ambiguous_duplicate\n0,fer0000001.png,Training,4,0\n")
    assert "labels/human-fer2013" in ingest(lake, "fer2013", root).layers
    side.unlink()
    ingest(lake, "fer2013", root)
    assert not lake.has("fer2013", "labels/human-fer2013")
    assert lake.has("fer2013", "labels/human-ferplus")


def test_a_lake_behind_a_link_drops_them_too(root: Path, tmp_path: Path) -> None:
    Lake(tmp_path / "disk", create=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    lake = Lake(tmp_path / "link")
    ingest(lake, "rafdb", root)
    facts = LayerFacts(extra={"reader": "rafdb"})
    with lake.publish("rafdb", command="an earlier revision") as publication:
        publication.write("labels", "human-old", lake.read("rafdb", "labels/human"), facts, ["samples"])
    (root / "basic/Image/aligned/train_00001_aligned.jpg").write_bytes(b"longer than before")
    ingest(lake, "rafdb", root)
    assert not lake.has("rafdb", "labels/human-old")


def test_one_dataset_under_two_names(lake: Lake, root: Path) -> None:
    ingest(lake, "rafdb", root)
    ingest(lake, "rafdb", root, name="rafdb-copy")
    assert lake.datasets() == ["rafdb", "rafdb-copy"]
    assert lake.read("rafdb-copy", "samples").column("sample_id")[0].as_py() == "rafdb-copy/basic/train_00001"
    assert lake.layer("rafdb-copy", "samples").facts.command == (
        "affect ingest rafdb --name rafdb-copy --images aligned"
    )


def test_a_name_belongs_to_one_reader(lake: Lake, root: Path, tmp_path: Path) -> None:
    ingest(lake, "rafdb", root, name="faces")
    (tmp_path / "fer").mkdir()
    (tmp_path / "fer/train.csv").write_text("emotion,pixels\n")
    with pytest.raises(DatasetError, match="read by rafdb"):
        ingest(lake, "fer2013", tmp_path / "fer", name="faces")


def test_no_layer_holds_an_absolute_path(lake: Lake, root: Path) -> None:
    ingest(lake, "rafdb", root)
    for layer in lake.layers("rafdb"):
        assert str(root).encode() not in layer.path.read_bytes()


def test_progress_is_told(lake: Lake, root: Path) -> None:
    steps = []
    ingest(lake, "rafdb", root, progress=lambda step, done, total: steps.append((step, done, total)))
    assert {step for step, _, _ in steps} >= {"listing files", "hashing annotations", "reading annotations"}


def test_the_dataset_folder_is_never_written(lake: Lake, root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    for path in sorted(before, reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    ingest(lake, "rafdb", root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


class TestBadInput:
    """Each ends in one message that says what to do, and leaves the lake as it was."""

    def refused(self, lake: Lake, root: Path, dataset: str = "rafdb", **options: object) -> str:
        with pytest.raises(AffectError) as caught:
            ingest(lake, dataset, root, **options)  # type: ignore[arg-type]  # options as the test gives them
        assert lake.datasets() == []
        return str(caught.value)

    def test_a_missing_root(self, lake: Lake, tmp_path: Path) -> None:
        assert "no such folder" in self.refused(lake, tmp_path / "nowhere")

    def test_a_file_instead_of_a_folder(self, lake: Lake, tmp_path: Path) -> None:
        (tmp_path / "basic.rar").touch()
        assert "unpack it first" in self.refused(lake, tmp_path / "basic.rar")
        (tmp_path / "basic.zip").touch()
        assert "damaged" in self.refused(lake, tmp_path / "basic.zip")

    def test_an_empty_folder(self, lake: Lake, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "an empty folder" in self.refused(lake, tmp_path / "empty")

    def test_another_dataset_names_the_likely_one(self, lake: Lake, root: Path) -> None:
        message = self.refused(lake, root, "fer2013")
        assert "this looks like rafdb: affect ingest rafdb" in message
        assert "basic/EmoLabel/" in message
        assert "fer0000000.png" in message

    def test_a_folder_of_something_else(self, lake: Lake, tmp_path: Path) -> None:
        (tmp_path / "holiday").mkdir()
        (tmp_path / "holiday/beach.jpg").touch()
        message = self.refused(lake, tmp_path / "holiday")
        assert "beach.jpg" in message
        assert "list_patition_label.txt" in message

    def test_an_unknown_dataset_or_option(self, lake: Lake, root: Path) -> None:
        assert "did you mean rafdb" in self.refused(lake, root, "rafd")
        assert "images" in self.refused(lake, root, options={"image": "original"})
        assert "aligned, original" in self.refused(lake, root, options={"images": "both"})

    def test_more_rejects_than_allowed(self, lake: Lake, tmp_path: Path) -> None:
        message = self.refused(lake, write_rafdb(tmp_path / "r", 20, missing=3))
        assert "3 of 20 items were refused" in message
        assert "missing-image" in message
        assert "train_00018" in message


def test_too_many_rejects_keep_the_old_generation(lake: Lake, root: Path) -> None:
    ingest(lake, "rafdb", root)
    before = digests(lake, "rafdb")
    (root / "basic/Image/aligned/train_00003_aligned.jpg").unlink()
    with pytest.raises(RejectLimitError):
        ingest(lake, "rafdb", root)
    assert digests(lake, "rafdb") == before
    summary = ingest(lake, "rafdb", root, max_rejects=0.2)
    assert summary.samples == 5
    assert summary.rejects["missing-image"].count == 1
    assert not summary.rejects["missing-image"].expected


def test_expected_rejects_do_not_count_until_they_pass_their_bound(lake: Lake, tmp_path: Path) -> None:
    header = f"{HEADER},{','.join(f'AU{au}' for au in AUS)},{','.join(f'AU{au}_intensity' for au in AUS)}"
    row = ",s001,train,0,0,0" + ",0" * len(AUS) + ",0" * len(AUS)
    lines = [f"s001/{n:03d}.png{row}" for n in range(40)]
    (tmp_path / "set/images/s001").mkdir(parents=True)
    (tmp_path / "set/annotations.csv").write_text("\n".join([header, *lines]))
    for n in range(40):
        (tmp_path / f"set/images/s001/{n:03d}.png").touch()
    (tmp_path / "set/images/s001/000.png").unlink()
    assert ingest(lake, "synthetic", tmp_path / "set").rejects["missing-image"].expected
    for n in range(5):
        (tmp_path / f"set/images/s001/{n:03d}.png").unlink(missing_ok=True)
    with pytest.raises(RejectLimitError, match="5 of 40"):
        ingest(lake, "synthetic", tmp_path / "set")


AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26)


@pytest.fixture
def from_table(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write one CSV with a column `image` beside one picture."""

    def write(names: bytes) -> Path:
        root = tmp_path / "mine"
        (root / "sub").mkdir(parents=True)
        (root / "sub/a.png").touch()
        (tmp_path / "outside.png").touch()
        (root / "labels.csv").write_bytes(b"id,image\n" + names)
        (tmp_path / "map.toml").write_text("file='labels.csv'\n[samples]\nid='id'\nimage='image'\n")
        return root

    return write


def test_paths_that_leave_the_root_are_refused_and_untidy_ones_are_not(
    lake: Lake, from_table: Callable[[bytes], Path], tmp_path: Path
) -> None:
    outside = tmp_path / "outside.png"
    rows = f"1,../outside.png\n2,{outside}\n3,sub/../../outside.png\n4,.\\sub\\a.png\n5,./sub//a.png\n6,\n7,C:\\a.png\n"
    summary = ingest(
        lake, "table", from_table(rows.encode()), max_rejects=1, options={"map": str(tmp_path / "map.toml")}
    )
    assert {reason: r.count for reason, r in summary.rejects.items()} == {"unsafe-path": 4}
    samples = lake.read("table", "samples", ["sample_id", "path"]).to_pylist()
    assert samples == [
        {"sample_id": "table/4", "path": "sub/a.png"},
        {"sample_id": "table/5", "path": "sub/a.png"},
        {"sample_id": "table/6", "path": None},
    ]


def test_names_that_are_not_utf8_are_counted(lake: Lake, from_table: Callable[[bytes], Path], tmp_path: Path) -> None:
    root = from_table(b"1,sub/a.png\n2,caf\xe9.png\n")
    with open(os.fsencode(root) + b"/caf\xe9.png", "wb"):  # noqa: PTH123 (a name that pathlib cannot spell)
        pass
    summary = ingest(lake, "table", root, max_rejects=1, options={"map": str(tmp_path / "map.toml")})
    assert summary.samples == 1
    assert summary.rejects["bad-name"].count == 2
    assert "caf\\xe9.png" in lake.read("table", "rejects").column("where").to_pylist()


def test_of_two_rows_with_one_key_the_first_stays(
    lake: Lake, from_table: Callable[[bytes], Path], tmp_path: Path
) -> None:
    root = from_table(b"1,sub/a.png\n1,\n,\n")
    summary = ingest(lake, "table", root, max_rejects=1, options={"map": str(tmp_path / "map.toml")})
    assert {reason: r.count for reason, r in summary.rejects.items()} == {"bad-name": 1, "duplicate-key": 1}
    assert lake.read("table", "samples").column("path").to_pylist() == ["sub/a.png"]


def test_every_folder_is_listed_once(lake: Lake, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans: list[Path] = []

    def counted(folder: Path) -> Iterator[os.DirEntry[str]]:
        scans.append(folder)
        return os.scandir(folder)

    monkeypatch.setattr(listing, "os", SimpleNamespace(scandir=counted, path=os.path))
    ingest(lake, "rafdb", root)
    assert len(scans) == len(set(scans)) == 1 + sum(path.is_dir() for path in root.rglob("*"))


def test_unknown_names_come_with_the_known_ones(lake: Lake, root: Path) -> None:
    with pytest.raises(UnknownNameError, match="fer2013"):
        ingest(lake, "nothing-like-it", root)
    assert engine.MAX_REJECTS == 0.01
