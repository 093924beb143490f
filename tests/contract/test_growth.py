"""A dataset grows: ingesting the larger tree over the smaller one gives what a fresh ingest of it gives."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from affectdata.ingest import ingest
from affectdata.media import VIDEO_SUFFIXES
from affectdata.synthetic import twins, write_twin
from manifests.lake import Lake

CASES = [(name, next(iter(twin.VARIANTS))) for name, twin in twins().items()]
PICTURES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".pgm", *VIDEO_SUFFIXES))


def digests(lake: Lake, dataset: str) -> dict[str, str]:
    return {layer.key: hashlib.sha256(layer.path.read_bytes()).hexdigest() for layer in lake.layers(dataset)}


@pytest.mark.parametrize(("name", "variant"), CASES, ids=[name for name, _ in CASES])
def test_adding_files_gives_what_a_fresh_ingest_gives(name: str, variant: str, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    truth = write_twin(name, whole, samples=30, seed=3, variant=variant)
    shutil.copytree(whole, part)
    named = sorted({sample.path for sample in truth.samples if sample.path and sample.readable})
    files = sorted(file.relative_to(whole).as_posix() for file in whole.rglob("*") if file.is_file())
    media = [path for path in named if Path(path).suffix.lower() in PICTURES] or named
    # Without media the last annotation file is what comes later.
    media = media or files
    grown, fresh = Lake(tmp_path / "grown", create=True), Lake(tmp_path / "fresh", create=True)
    if len(media) > 1:
        (part / media[-1]).unlink()
        before = ingest(grown, name, part, max_rejects=1, options=truth.options)
        assert before.samples < len(truth.samples) or not named
        shutil.copy(whole / media[-1], part / media[-1])
    else:
        # All pixels lie in one table: a shorter one comes first.
        table = (part / media[0]).read_bytes()
        (part / media[0]).write_bytes(b"".join(table.splitlines(keepends=True)[:-4]))
        ingest(grown, name, part, max_rejects=1, options=truth.options)
        (part / media[0]).write_bytes(table)
    ingest(grown, name, part, max_rejects=1, options=truth.options)
    ingest(fresh, name, part, max_rejects=1, options=truth.options)
    assert digests(grown, name) == digests(fresh, name)
