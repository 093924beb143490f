"""What every reader promises, over the whole registry: each synthetic twin in each of its variants.

A twin says what a correct reader must find (`affectdata.synthetic.truth`); here the lake is compared with it, cell by
cell. A reader that comes with a twin is tested by its presence.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from affectdata.datasets import card, listing, registry
from affectdata.ingest import ingest
from affectdata.ingest_summary import IngestSummary
from affectdata.media import decode, pixel_hash
from affectdata.synthetic import LabelTruth, SampleTruth, Truth, twins, write_twin
from manifests.errors import DatasetError, MediaError
from manifests.lake import Lake
from manifests.protocols import KEYS, leaks
from manifests.schema import LABELS
from manifests.vocabulary import AUS, EXPRESSIONS, VOTES, au_column

SAMPLES, SEED = 40, 7
CASES = [(name, variant) for name, twin in twins().items() for variant in twin.VARIANTS]
ROLES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
"""Splits whose names are not roles."""


@dataclass(frozen=True)
class Case:
    """One twin, ingested."""

    root: Path
    truth: Truth
    lake: Lake
    summary: IngestSummary

    @property
    def name(self) -> str:
        return self.truth.dataset

    def ids(self) -> dict[tuple[str | None, str | None], str]:
        """Path and member -> sample_id."""
        rows = self.lake.read(self.name, "samples", ["sample_id", "path", "member"]).to_pylist()
        return {(row["path"], row["member"]): row["sample_id"] for row in rows}

    def id(self, sample: SampleTruth) -> str:
        return self.ids()[sample.path, sample.member]

    def rows(self, layer: str) -> dict[str, dict[str, object]]:
        """sample_id -> row."""
        return {row["sample_id"]: row for row in self.lake.read(self.name, layer).to_pylist()}


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name, variant = request.param
    folder = tmp_path_factory.mktemp("contract")
    truth = write_twin(name, folder / "root", samples=SAMPLES, seed=SEED, variant=variant)
    lake = Lake(folder / "lake", create=True)
    return Case(folder / "root", truth, lake, ingest(lake, name, folder / "root", max_rejects=1))


def digests(lake: Lake, dataset: str) -> dict[str, str]:
    return {layer.key: hashlib.sha256(layer.path.read_bytes()).hexdigest() for layer in lake.layers(dataset)}


def test_every_reader_has_a_twin() -> None:
    assert set(registry()) - {"table"} == set(twins())


def test_every_item_is_a_sample_and_nothing_else_is(case: Case) -> None:
    assert set(case.ids()) == {(sample.path, sample.member) for sample in case.truth.samples}
    for sample in case.truth.samples:
        if sample.member is None:
            assert case.id(sample) == f"{case.name}/{sample.key}"


def test_what_is_refused_is_refused_for_its_reason(case: Case) -> None:
    assert {reason: reject.count for reason, reject in case.summary.rejects.items()} == case.truth.rejects_by_reason()


def test_identity_and_attributes_are_those_of_the_source(case: Case) -> None:
    rows = case.rows("samples")
    for sample in case.truth.samples:
        row = rows[case.id(sample)]
        assert (row["split"], row["subject_id"]) == (sample.split, sample.subject)
        about = sample.annotation
        found = (row["gender"], row["ethnicity"], row["age_group"])
        assert found == ((about.gender, about.ethnicity, about.age_group) if about else (None, None, None))
        # Released points and boxes fit original pictures only.
        fits = about is not None and "aligned" not in sample.path
        box, points = (about.box, about.points5) if about and fits else (None, None)
        edges = [row[f"box_{edge}"] for edge in ("x1", "y1", "x2", "y2")]
        assert edges == (pytest.approx(box) if box else [None] * 4)
        assert row["points5"] == (pytest.approx([x for point in points for x in point]) if points else None)


def test_every_known_cell_is_in_the_lake_and_every_unknown_one_is_null(case: Case) -> None:
    named = {label.source for sample in case.truth.samples for label in sample.labels}
    layers = {layer.name: layer for layer in case.lake.layers(case.name) if layer.kind == "labels"}
    assert {name for name, layer in layers.items() if layer.rows} == named
    for source in named:
        rows = case.rows(f"labels/{source}")
        for sample in case.truth.samples:
            row, label = rows.get(case.id(sample)), sample.label(source)
            if row is None:
                assert label is None or not known_cells(label), f"{sample.key} lost its {source} labels"
                continue
            found = {name: value for name, value in row.items() if value is not None and name != "sample_id"}
            wanted = known_cells(label) if label else {}
            assert set(found) == set(wanted), f"{sample.key} {source}"
            for name, value in wanted.items():
                assert found[name] == value, f"{sample.key} {source} {name}"


def known_cells(label: LabelTruth) -> dict[str, object]:
    """Label column -> value, for what the truth knows; sequences and numbers within float32."""
    cells: dict[str, object] = {
        "expression": label.expression,
        "compound": label.compound,
        "valence": None if label.valence is None else pytest.approx(label.valence),
        "arousal": None if label.arousal is None else pytest.approx(label.arousal),
    }
    if label.expression_probs is not None:
        cells["expression_probs"] = pytest.approx([label.expression_probs.get(name, 0) for name in EXPRESSIONS])
    if label.votes is not None:
        cells["expression_votes"] = [label.votes.get(name) for name in VOTES]
    if label.landmarks is not None:
        # .pts files hold three decimals.
        cells["landmarks"] = pytest.approx(label.landmarks.ravel().tolist(), abs=2e-3)
    cells |= {au_column(au): value for au, value in label.aus.items()}
    cells |= {au_column(au, "intensity"): pytest.approx(value) for au, value in label.au_intensities.items()}
    return {name: value for name, value in cells.items() if value is not None}


def test_the_layers_of_every_source_name_what_was_offered_and_for_what(case: Case) -> None:
    for layer in case.lake.layers(case.name):
        if layer.kind == "labels":
            assert layer.facts.unit
            assert layer.facts.rule
            column = case.lake.read(case.name, layer.key, ["expression"]).column(0)
            assert set(column.drop_null().to_pylist()) <= set(layer.facts.offered.get("expression", ()))


def test_protocols_follow_the_splits_and_keep_their_keys_apart(case: Case) -> None:
    protocols = [layer for layer in case.lake.layers(case.name) if layer.kind == "protocols"]
    assert protocols
    samples = case.lake.read(case.name, "samples")
    for layer in protocols:
        rows = case.rows(layer.key)
        for sample in case.truth.samples:
            if case.id(sample) in rows and sample.split:
                assert rows[case.id(sample)]["role"] == ROLES.get(sample.split, sample.split)
        keys = [key for key in KEYS if key in layer.facts.keys]
        assert keys == list(next(p.keys for p in card(case.name).protocols if p.name == layer.name))
        scored = pa.array([rows.get(i, {}).get("role") in ("val", "test") for i in samples["sample_id"].to_pylist()])
        train = pa.array([rows.get(i, {}).get("role") == "train" for i in samples["sample_id"].to_pylist()])
        if keys:
            pictures = samples.append_column("pixel_hash", pa.nulls(samples.num_rows, pa.string()))
            shared = leaks(pictures.filter(train), pictures.filter(scored), keys)
            assert not any(mask.any() for mask in shared.values())


def test_sound_media_decode_and_corrupt_ones_stay_as_samples(case: Case) -> None:
    for sample in case.truth.samples:
        if sample.readable:
            assert decode(case.root, sample.path, sample.member, None).ndim == 3
        else:
            with pytest.raises(MediaError, match="undecodable-image"):
                decode(case.root, sample.path, sample.member, None)


def test_copies_have_one_pixel_hash(case: Case) -> None:
    by_key = {sample.key: sample for sample in case.truth.samples if sample.readable}
    for keys in case.truth.copies:
        found = [by_key[key] for key in keys if key in by_key]
        assert len({pixel_hash(decode(case.root, s.path, s.member, None)) for s in found}) <= 1


def test_ingesting_again_is_a_no_op_that_says_so(case: Case) -> None:
    before = digests(case.lake, case.name)
    again = ingest(case.lake, case.name, Path(f"{case.root}/"), max_rejects=1)
    assert again.unchanged
    assert "unchanged" in str(again)
    assert digests(case.lake, case.name) == before


def test_another_run_in_another_directory_order_gives_the_same_bytes(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(folder: Path) -> Iterator[os.DirEntry[str]]:
        return iter(sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(listing, "os", SimpleNamespace(scandir=backwards, path=os.path))
    other = Lake(tmp_path / "lake", create=True)
    ingest(other, case.name, case.root, max_rejects=1)
    assert digests(other, case.name) == digests(case.lake, case.name)


def test_every_other_reader_refuses_the_tree_and_names_the_right_one(case: Case, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    for other in set(registry()) - {case.name, "table"}:
        with pytest.raises(DatasetError, match=f"affect ingest {case.name}"):
            ingest(lake, other, case.root)
    assert lake.datasets() == []


def test_no_label_column_is_left_out_of_the_comparison() -> None:
    compared = {"expression", "expression_probs", "expression_votes", "compound", "valence", "arousal", "landmarks"}
    compared |= {au_column(au) for au in AUS} | {au_column(au, "intensity") for au in AUS}
    elsewhere = {name for name in LABELS.names if name.endswith(("_weight", "_side"))} | {"sample_id", "mental_state"}
    assert set(LABELS.names) == compared | elsewhere
