"""Every odd or broken file is decoded right or recorded with a reason, and none ends a run."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from affectdata.ingest import ingest
from manifests.crops import CropStore
from manifests.lake import Lake
from tests.affectdata.bad_images import GREY, PICTURE, Kind, kinds, write

KINDS = kinds()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write(folder)
    return folder


def test_the_corpus_has_what_datasets_have() -> None:
    assert len(KINDS) >= 100
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert {kind.expected for kind in KINDS} == {
        "right", "undecodable-image", "image-too-large", "missing-image", "missing-video", "missing-frame",
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: ascii(kind.name)[1:-1])
def test_every_kind_has_its_outcome(corpus: Path, kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    found, detail = kind.found(corpus)
    assert found == kind.expected, detail
    said = capfd.readouterr().err
    assert not said or kind.name == "short.png"  # a PNG without a fault but in its pixels is told on by libpng


def test_no_kind_ends_a_run_and_each_is_in_the_faces_layer(tmp_path: Path) -> None:
    there = [kind for kind in KINDS if kind.name.isprintable()]  # a table in UTF-8 cannot name the others
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "frame"])
        writer.writerows([f"{n:03d}", kind.name, kind.frame] for n, kind in enumerate(there))
    root = tmp_path / "corpus"
    root.mkdir()
    write(root)
    (root / "loop.jpg").unlink()  # ingest refuses a folder that it cannot list whole; the link comes later
    (root / "loop.jpg").write_bytes(b"")
    (tmp_path / "labels.csv").rename(root / "labels.csv")
    (tmp_path / "map.toml").write_text("file='labels.csv'\n[samples]\nid='id'\nimage='image'\nframe='frame'\n")
    lake = Lake(tmp_path / "lake", create=True)
    options = {"map": str(tmp_path / "map.toml")}
    summary = ingest(lake, "table", root, name="corpus", max_rejects=1, options=options)
    refused = {kind.name for kind in there if kind.expected in ("missing-image", "missing-video")}
    refused |= {"folder.jpg", "pipe.jpg", "pipe.mp4"}  # no files: as if they were not there
    reasons = {reason: found.count for reason, found in summary.rejects.items()}
    assert reasons == {"bad-name": 1, "missing-image": 4, "missing-video": 2}
    assert summary.samples == len(there) - len(refused)

    (root / "loop.jpg").unlink()
    (root / "loop.jpg").symlink_to("loop.jpg")
    command = [sys.executable, "-m", "cli", "--lake", str(lake.home), "align", "corpus", "--to", "resize32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    rows = lake.read("corpus", "faces/whole").to_pylist()
    found = {there[int(row["sample_id"].split("/")[1])].name: row["status"] for row in rows}
    wanted = {k.name: "found" if k.expected == "right" else k.expected for k in there if k.name not in refused}
    assert found == wanted
    store = CropStore(lake, "corpus", "resize32")
    assert len(store) == list(wanted.values()).count("found")
    crops = dict(zip(store.sample_ids.to_pylist(), store.gather(np.arange(len(store))), strict=True))
    for number, kind in enumerate(there):
        if isinstance(kind.outcome, np.ndarray) and kind.outcome.shape[:2] == PICTURE.shape[:2]:
            mean = (GREY if kind.outcome.ndim == 2 else kind.outcome).mean((0, 1))
            if kind.outcome is PICTURE or kind.outcome is GREY:
                assert np.abs(crops[f"corpus/{number:03d}"].mean((0, 1)) - mean).max() < 5, kind.name
