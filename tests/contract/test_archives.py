"""What every reader promises of packed datasets, over the first variant of each synthetic twin.

A twin packed as one archive, as an archive per folder, or named as an archive file is the same dataset: same samples,
labels, protocols, rejects by reason, and pixels.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pytest

from affectdata.ingest import ingest
from affectdata.ingest_summary import IngestSummary
from affectdata.media import decode, pixel_hash
from affectdata.synthetic import Truth, twins, write_twin
from manifests.errors import MediaError
from manifests.lake import Lake

SAMPLES, SEED, EVERY = 30, 5, 7
CASES = [(name, next(iter(twin.VARIANTS))) for name, twin in twins().items()]

PLACE = ["path", "member"]


@dataclass(frozen=True)
class Read:
    """A twin as read from one form of it."""

    root: Path
    truth: Truth
    lake: Lake
    summary: IngestSummary

    @property
    def samples(self) -> pa.Table:
        return self.lake.read(self.truth.dataset, "samples")

    @property
    def rejects(self) -> dict[str, int]:
        return {reason: reject.count for reason, reject in self.summary.rejects.items()}

    @cached_property
    def pixels(self) -> list[str]:
        """Pixel hash of some of the samples that have pictures, or why there is none."""
        rows = [row for row in self.samples.to_pylist() if row["path"] is not None]
        root = self.lake.root(self.truth.dataset)
        return [found(root, row["path"], row["member"], row["frame"]) for row in rows[::EVERY]]


def found(root: Path, path: str, member: str | None, frame: int | None) -> str:
    try:
        return pixel_hash(decode(root, path, member, frame))
    except MediaError as error:
        return error.reason


def read(root: Path, truth: Truth, lake: Path) -> Read:
    opened = Lake(lake, create=True)
    return Read(root, truth, opened, ingest(opened, truth.dataset, root, max_rejects=1, options=truth.options))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case[0])
def unpacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Read:
    folder = tmp_path_factory.mktemp("unpacked")
    truth = write_twin(request.param[0], folder / "root", samples=SAMPLES, seed=SEED, variant=request.param[1])
    return read(folder / "root", truth, folder / "lake")


def zipped(root: Path, to: Path) -> Path:
    shutil.make_archive(str(to / "packed"), "zip", root)
    return to


def tarred(root: Path, to: Path) -> Path:
    shutil.make_archive(str(to / "packed"), "tar", root)
    return to


def zip_per_folder(root: Path, to: Path) -> Path:
    for entry in root.iterdir():
        if entry.is_dir():
            shutil.make_archive(str(to / entry.name), "zip", root, entry.name)
        else:
            shutil.copy(entry, to)
    return to


def archive_file(root: Path, to: Path) -> Path:
    return Path(shutil.make_archive(str(to / "packed"), "zip", root))


def trailing_slash(root: Path, _to: Path) -> Path:
    return Path(f"{root}//")


# What a reader sees of these is one and the same: each form is tried with every third reader.
TURNS = (tarred, archive_file, trailing_slash)


@pytest.mark.parametrize("packed", [zipped, zip_per_folder, None], ids=["zipped", "zip_per_folder", "in_turn"])
def test_a_packed_dataset_is_the_same_dataset(
    unpacked: Read, packed: Callable[[Path, Path], Path] | None, tmp_path: Path
) -> None:
    packed = packed or TURNS[sorted(twins()).index(unpacked.truth.dataset) % len(TURNS)]
    (tmp_path / "data").mkdir()
    again = read(packed(unpacked.root, tmp_path / "data"), unpacked.truth, tmp_path / "lake")
    assert again.samples.drop_columns(PLACE).equals(unpacked.samples.drop_columns(PLACE))
    assert again.rejects == unpacked.rejects
    name = unpacked.truth.dataset
    layers = {layer.key for layer in unpacked.lake.layers(name)}
    assert {layer.key for layer in again.lake.layers(name)} == layers
    for key in layers - {"samples", "rejects"}:
        assert again.lake.read(name, key).equals(unpacked.lake.read(name, key)), key
    assert again.pixels == unpacked.pixels
    options = unpacked.truth.options
    assert ingest(again.lake, name, again.root, max_rejects=1, options=options).unchanged
