"""affect validate: 0 when a copy is sound, 1 when something differs, and never a traceback."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyarrow as pa
import pytest

from affectdata import validation
from affectdata.assembly import Assembled
from affectdata.datasets import card
from affectdata.datasets.card import ExpectedReject, Published
from affectdata.synthetic import write_twin
from cli.errors import run


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    truth = write_twin("synthetic", tmp_path / "syn", samples=30, seed=1, variant="neutral")
    for sample in truth.samples:
        if not sample.readable:
            whole = next(s for s in truth.samples if s.readable)
            shutil.copy(tmp_path / "syn" / str(whole.path), tmp_path / "syn" / str(sample.path))
    return tmp_path / "syn"


def test_a_sound_copy_ends_with_0_and_says_so(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "synthetic", str(copy), "--decode"]) == 0
    assert "sound" in capfd.readouterr().out.splitlines()[-1]


def test_an_unreadable_picture_ends_with_1_and_is_named(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    victim = sorted(copy.rglob("*.png"))[3]
    victim.write_bytes(victim.read_bytes()[:100])
    assert run(["validate", "synthetic", str(copy), "--decode", "--json"]) == 1
    out, err = capfd.readouterr()
    (differs,) = [row for row in json.loads(out) if row["verdict"] == "differs"]
    assert victim.name in differs["detail"]
    assert "1 of" in err


def test_a_picture_that_no_label_names_is_a_note(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copy(sorted(copy.rglob("*.png"))[0], copy / "images/extra.png")
    assert run(["validate", "synthetic", str(copy)]) == 0
    assert "images/extra.png" in capfd.readouterr().out


@pytest.mark.parametrize("packed", [False, True])
def test_without_a_path_it_is_the_copy_that_the_lake_was_read_from(
    copy: Path, packed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    place = Path(shutil.make_archive("packed", "zip", copy)) if packed else copy
    assert run(["ingest", "synthetic", str(place), "--name", "mine", "--max-rejects", "1"]) == 0
    assert run(["validate", "mine"]) == 0
    assert run(["validate", "synthetic", "--name", "mine"]) == 0
    assert str(place) in capfd.readouterr().out.splitlines()[-1]


def test_what_is_not_there_is_a_message(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["nothing"], ["synthetic"], ["synthetic", str(copy / "nowhere")], ["rafdb", str(copy)]):
        assert run(["validate", *arguments]) == 2
        assert "Traceback" not in capfd.readouterr().err


def test_a_count_that_is_rounded_or_unverified_does_not_make_a_copy_unsound() -> None:
    def checks(sure: str, *expected: ExpectedReject) -> list[str]:
        assembled = SimpleNamespace(count=7, sources=(), samples=lambda *_: iter(()))
        known = replace(card("synthetic"), published=(Published("", {"": 9}, sure=sure),), expected_rejects=expected)
        return [check.verdict for check in validation._count_checks(known, "any", cast(Assembled, assembled))][1:]

    assert checks("verified 3", ExpectedReject("missing-image", 0.1, "dead links")) == [validation.UNSURE]
    assert checks("verified 3") == checks("one source") == [validation.DIFFERS]
    for sure in ("verified 3, rounded", "one source, about", "unverified"):
        assert checks(sure) == [validation.UNSURE]


def test_the_pictures_that_are_tried_are_spread_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "SAMPLED", 10)
    for count in (0, 1, 10, 19, 25):
        table = pa.table({"path": [f"{n}.png" for n in range(count)]})
        assembled = cast(Assembled, SimpleNamespace(samples=lambda *_, table=table: iter([table])))
        tried = [int(batch[0][0].removesuffix(".png")) for batch in validation._sampled(assembled)]
        assert len(set(tried)) == min(10, count)
        assert not tried or max(tried) >= count - 1 - count // 10 - 1


def test_another_total_that_sound_copies_have_fits_too() -> None:
    entry = Published("train", {"": 414_799, "happiness": 134_415}, also=(414_800,))
    assert entry.fits("", 414_799)
    assert entry.fits("", 414_800)
    assert not entry.fits("happiness", 414_800)
