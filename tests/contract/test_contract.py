"""What every reader promises, over the whole registry: each synthetic twin in each of its variants.

A twin says what a correct reader must find (`affectdata.synthetic.truth`); here the lake is compared with it, cell by
cell. A reader that comes with a twin is tested by its presence.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from affectdata.datasets import card, listing, registry
from affectdata.ingest import ingest
from affectdata.ingest_summary import IngestSummary
from affectdata.media import decode, pixel_hash
from affectdata.synthetic import LabelTruth, SampleTruth, Truth, twins, write_twin
from affectdata.synthetic.truth import Annotation
from manifests.errors import DatasetError, MediaError
from manifests.lake import Lake
from manifests.protocols import KEYS, leaks, roles
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

    @cached_property
    def pixel_rows(self) -> dict[str, str]:
        """Data row of a CSV that holds pixels -> sample_id."""
        rows = self.lake.read(self.name, "samples", ["sample_id", "member"]).to_pylist()
        return {row["member"]: row["sample_id"] for row in rows}

    def id(self, sample: SampleTruth) -> str:
        return f"{self.name}/{sample.key}" if sample.member is None else self.pixel_rows[sample.member]

    def ingest(self, lake: Lake, root: Path, dataset: str | None = None) -> IngestSummary:
        options = self.truth.options if dataset is None else {}
        return ingest(lake, dataset or self.name, root, max_rejects=1, options=options)

    def rows(self, layer: str) -> dict[str, dict[str, object]]:
        """sample_id -> row."""
        return {row["sample_id"]: row for row in self.lake.read(self.name, layer).to_pylist()}


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name, variant = request.param
    folder = tmp_path_factory.mktemp("contract")
    truth = write_twin(name, folder / "root", samples=SAMPLES, seed=SEED, variant=variant)
    lake = Lake(folder / "lake", create=True)
    summary = ingest(lake, name, folder / "root", max_rejects=1, options=truth.options)
    return Case(folder / "root", truth, lake, summary)


def digests(lake: Lake, dataset: str) -> dict[str, str]:
    return {layer.key: hashlib.sha256(layer.path.read_bytes()).hexdigest() for layer in lake.layers(dataset)}


def test_every_reader_has_a_twin() -> None:
    assert set(registry()) - {"table"} == set(twins())


def test_every_item_is_a_sample_and_nothing_else_is(case: Case) -> None:
    found = case.rows("samples")
    assert set(found) == {case.id(sample) for sample in case.truth.samples}
    for sample in case.truth.samples:
        row = found[case.id(sample)]
        assert (row["path"], row["member"], row["frame"]) == (sample.path, sample.member, sample.frame)


def test_what_is_refused_is_refused_for_its_reason(case: Case) -> None:
    assert {reason: reject.count for reason, reject in case.summary.rejects.items()} == case.truth.rejects_by_reason()


def test_identity_and_attributes_are_those_of_the_source(case: Case) -> None:
    rows = case.rows("samples")
    for sample in case.truth.samples:
        row = rows[case.id(sample)]
        assert (row["split"], row["subject_id"], row["sequence_id"], row["frame_index"]) == (
            *(sample.split, sample.subject, sample.sequence, sample.frame_index),
        )
        assert (row["group_id"], row["face_status"]) == (sample.group, sample.face_status)
        about = sample.annotation or Annotation()
        found = (row["gender"], row["ethnicity"], row["age_group"], row["age"])
        assert found == (about.gender, about.ethnicity, about.age_group, about.age)
        box, points = about.box, about.points5
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


@dataclass(frozen=True, eq=False)
class Landmarks:
    """68 points that equal a stored list within what .pts files round away; NaN equals NULL."""

    points: np.ndarray

    def __eq__(self, other: object) -> bool:
        found = np.array(other, float)  # None becomes NaN
        return bool(np.allclose(found, self.points.ravel(), atol=2e-3, equal_nan=True))


def known_cells(label: LabelTruth) -> dict[str, object]:
    """Label column -> value, for what the truth knows; sequences and numbers within float32."""
    cells: dict[str, object] = {
        "expression": label.expression,
        "compound": label.compound,
        "mental_state": label.mental_state,
        "valence": None if label.valence is None else pytest.approx(label.valence),
        "arousal": None if label.arousal is None else pytest.approx(label.arousal),
    }
    if label.expression_probs is not None:
        cells["expression_probs"] = pytest.approx([label.expression_probs.get(name, 0) for name in EXPRESSIONS])
    if label.votes is not None:
        cells["expression_votes"] = [label.votes.get(name) for name in VOTES]
    if label.landmarks is not None:
        # .pts files hold three decimals.
        cells["landmarks"] = Landmarks(label.landmarks)
    cells |= {au_column(au, "side"): side for au, side in label.sides.items()}
    cells |= {au_column(au): value for au, value in label.aus.items()}
    cells |= {au_column(au, "intensity"): pytest.approx(value) for au, value in label.au_intensities.items()}
    return {name: value for name, value in cells.items() if value is not None}


def test_the_layers_of_every_source_name_what_was_offered_and_for_what(case: Case) -> None:
    for layer in case.lake.layers(case.name):
        if layer.kind == "labels":
            assert layer.facts.unit
            assert layer.facts.rule
            for task in ("expression", "compound", "mental_state"):
                column = case.lake.read(case.name, layer.key, [task]).column(0)
                assert set(column.drop_null().to_pylist()) <= set(layer.facts.offered.get(task, ()))


def test_protocols_say_who_trains_and_keep_their_keys_apart(case: Case) -> None:
    layers = {layer.name: layer for layer in case.lake.layers(case.name) if layer.kind == "protocols"}
    ids = {sample.key: case.id(sample) for sample in case.truth.samples}
    named = {protocol.name: protocol for protocol in card(case.name).protocols}
    assert set(layers) <= set(named)
    if case.truth.protocols:
        assert set(layers) == set(case.truth.protocols)
    for name, wanted in case.truth.protocols.items():
        rows = case.lake.read(case.name, layers[name].key).to_pylist()
        found = {(row["sample_id"], row["role"], row["task"], row["fold"]) for row in rows}
        assert found == {(ids[row.key], row.role, row.task, row.fold) for row in wanted}
    for name, layer in layers.items():
        if not case.truth.protocols:
            rows = case.rows(layer.key)
            for sample in case.truth.samples:
                if case.id(sample) in rows and sample.split:
                    assert rows[case.id(sample)]["role"] == ROLES.get(sample.split, sample.split)
        assert layer.facts.keys == list(named[name].keys)
        assert_apart(case, name, [key for key in KEYS if key in layer.facts.keys])


def assert_apart(case: Case, protocol: str, keys: list[str]) -> None:
    """No sample that trains shares a key with one that is scored, in any fold, for any task."""
    samples = case.lake.read(case.name, "samples").append_column(
        "pixel_hash", pa.nulls(len(case.truth.samples), pa.string())
    )
    rows = case.lake.read(case.name, f"protocols/{protocol}").to_pylist()
    for task in {row["task"] for row in rows}:
        for fold in {row["fold"] for row in rows if row["task"] in (task, "all")} - {None} or {None}:
            said = roles(case.lake, case.name, protocol, task=str(task), fold=fold).to_pylist()
            role = {row["sample_id"]: row["role"] for row in said}
            mine = [role.get(i) for i in samples["sample_id"].to_pylist()]
            train, scored = (pa.array([r in wanted for r in mine]) for wanted in (("train",), ("val", "test")))
            shared = leaks(samples.filter(train), samples.filter(scored), keys) if keys else {}
            assert not any(mask.any() for mask in shared.values()), f"{protocol} {task} {fold}"


def test_sound_media_decode_and_corrupt_ones_stay_as_samples(case: Case) -> None:
    for sample in case.truth.samples:
        if sample.path is None:
            continue
        if sample.readable:
            assert decode(case.root, sample.path, sample.member, sample.frame).ndim == 3
        else:
            with pytest.raises(MediaError, match="undecodable-image"):
                decode(case.root, sample.path, sample.member, sample.frame)


def test_copies_have_one_pixel_hash(case: Case) -> None:
    by_key = {sample.key: sample for sample in case.truth.samples if sample.readable}
    for keys in case.truth.copies:
        found = [by_key[key] for key in keys if key in by_key]
        assert len({pixel_hash(decode(case.root, str(s.path), s.member, s.frame)) for s in found}) <= 1


def test_ingesting_again_is_a_no_op_that_says_so(case: Case) -> None:
    before = digests(case.lake, case.name)
    again = case.ingest(case.lake, Path(f"{case.root}/"))
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
    case.ingest(other, case.root)
    assert digests(other, case.name) == digests(case.lake, case.name)


def test_every_other_reader_refuses_the_tree_and_names_the_right_one(case: Case, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    for other in set(registry()) - {case.name, "table"}:
        with pytest.raises(DatasetError, match=f"affect ingest {case.name}"):
            ingest(lake, other, case.root)
    assert lake.datasets() == []


def test_no_label_column_is_left_out_of_the_comparison() -> None:
    compared = {"expression", "expression_probs", "expression_votes", "compound", "mental_state", "landmarks"}
    compared |= {"valence", "arousal"}
    compared |= {column for au in AUS for column in (au_column(au), au_column(au, "intensity"), au_column(au, "side"))}
    elsewhere = {name for name in LABELS.names if name.endswith(("_weight", "_prob"))} | {"sample_id"}
    assert set(LABELS.names) == compared | elsewhere
