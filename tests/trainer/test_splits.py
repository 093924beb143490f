"""What shares a person, clip, group or picture with a scored sample does not train."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.errors import ProtocolError, RecipeError, StaleLayerError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.protocols import identity, leaks
from trainer.data import prepare
from trainer.splits import Part, Split, split_all

from .conftest import MakeRecipe, Toy


def ids(part: object) -> set[str]:
    return set(part.ids.to_pylist())  # type: ignore[attr-defined]  # a Part


def test_a_clean_protocol_loses_nothing(toy: Lake, recipe: MakeRecipe) -> None:
    (split,) = split_all(recipe(), toy)
    assert (len(split.train), len(split.selection), split.counts.dropped) == (64, 16, 0)


def test_relatives_of_scored_samples_leave_training_and_are_counted(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    toy.subject[3] = toy.subject[90]  # a test sample's person
    toy.subject[4] = toy.subject[70]  # a val sample's person
    toy.picture[5] = 91
    toy.code[5] = toy.code[91]
    toy.subject[5] = toy.subject[90]  # a copy, and the person too
    prepared = prepare(recipe(), toy.publish(lake))
    ((_, counts),) = prepared.counts
    assert counts.dropped == 3
    assert dict(counts.leaking) == {"subject": 3, "sequence": 0, "group": 0, "pixels": 1}
    assert not set(prepared.train.ids) & {"toy/00003", "toy/00004", "toy/00005"}
    assert any("3 of 64 training samples dropped" in line and "subject 3" in line for line in prepared.lines())


def test_copies_stay_only_to_measure_them(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    toy.picture[5], toy.code[5] = 91, toy.code[91]
    toy.picture[6], toy.code[6], toy.role[6] = 92, toy.code[92], "ignore"  # set aside by the protocol
    toy.subject[7] = toy.subject[93]
    toy.publish(lake)
    (clean,), (kept,) = split_all(recipe(), lake), split_all(recipe(keep_copies=True), lake)
    assert ids(kept.train) - ids(clean.train) == {"toy/00005", "toy/00006"}
    assert "toy/00007" not in ids(kept.train)
    assert kept.counts.copies_kept == 2


def test_selection_samples_that_share_with_reported_ones_leave_too(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    toy.subject[70] = toy.subject[90]
    (split,) = split_all(recipe(), toy.publish(lake))
    assert "toy/00070" not in ids(split.selection)
    assert split.counts.selection_dropped == 1


def test_leaks_are_found_across_datasets(lake: Lake, recipe: MakeRecipe) -> None:
    toy, other = Toy(), Toy(seed=9)
    other.picture[:2], other.code[:2] = [91, 92], toy.code[[91, 92]]
    other.seed = 0  # the same pictures as in toy
    other.picture[2:] += 10_000
    toy.publish(lake)
    other.publish(lake, "other")
    both = recipe().replace({"datasets": [{"name": "toy"}, {"name": "other"}]})
    _, split = split_all(both, lake)
    assert split.counts.dropped == 2  # persons of the same name are other persons in another dataset


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.floats(0.05, 0.5))
def test_the_share_held_out_of_train_takes_whole_clusters(
    tmp_path_factory: pytest.TempPathFactory, recipe: MakeRecipe, seed: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    toy = Toy(count=60, seed=seed)
    toy.picture[:40] = random.integers(0, 25, 40)
    toy.code[:40] = toy.picture[:40] % 7
    toy.subject[:40] = [f"p{i}" for i in random.integers(0, 30, 40)]
    lake = toy.publish(Lake(tmp_path_factory.mktemp("lake") / "lake", create=True))
    chosen = recipe(selection__role="train", selection__share=share)
    (split,) = split_all(chosen, lake)
    assert len(split.selection) <= share * (len(split.train) + len(split.selection)) + 1e-9
    who = identity(lake, "toy")
    index = {sample: i for i, sample in enumerate(who["sample_id"].to_pylist())}
    train, held = (
        who.take(pa.array([index[i] for i in sorted(ids(p))], pa.int64())) for p in (split.train, split.selection)
    )
    assert not any(mask.any() for mask in leaks(train, held).values())


def test_the_share_held_out_takes_clusters_that_span_datasets(lake: Lake, recipe: MakeRecipe) -> None:
    Toy().publish(lake)
    Toy().publish(lake, "other")  # the same 96 pictures
    both = recipe(
        datasets=[{"name": "toy"}, {"name": "other"}], selection={"role": "train", "share": 0.3, "metrics": ["uar"]}
    )
    splits = split_all(both, lake)
    held, train = ([{i.split("/")[1] for i in ids(p)} for p in parts] for parts in _parts(splits))
    assert held[0] == held[1] != set()
    assert train[0] == train[1]
    assert not (held[0] | held[1]) & (train[0] | train[1])


def _parts(splits: list[Split]) -> tuple[list[Part], list[Part]]:
    return [s.selection for s in splits], [s.train for s in splits]


def test_roles_of_one_task_hide_the_labels_of_another(lake: Lake, recipe: MakeRecipe) -> None:
    Toy().publish(lake)
    table = lake.read("toy", "protocols/official", ["sample_id", "role"])
    per_task = pa.concat_tables(
        pa.table({**{n: table[n] for n in ("sample_id", "role")}, "task": pa.repeat(task, len(table))}).slice(first)
        for task, first in (("expression", 0), ("va", 32))
    ).sort_by("sample_id")
    with lake.publish("toy", command="test") as step:
        step.write("protocols", "tasks", per_task, LayerFacts(truth=["human"]), ["samples"])
    chosen = recipe(protocol__name="tasks", tasks={"expression": {}, "va": {}})
    train = prepare(chosen, lake).train
    assert train.targets.expression is not None
    assert train.targets.va is not None
    assert int(train.targets.expression.mask.sum()) == 64
    assert int(train.targets.va.mask.all(1).sum()) == 32


def test_nothing_left_to_train_on_is_said(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    toy.subject[:] = "one person"
    with pytest.raises(ProtocolError, match="no training sample is left"):
        split_all(recipe(), toy.publish(lake))


def test_an_empty_selection_names_the_way_out(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    toy.role[toy.role == "val"] = "ignore"
    with pytest.raises(RecipeError, match=r"share: 0\.1"):
        prepare(recipe(), toy.publish(lake))


def test_missing_layers_are_named_with_the_command_that_makes_them(toy: Lake, recipe: MakeRecipe) -> None:
    with pytest.raises(UnknownNameError, match="affect align toy --to fbn96"):
        prepare(recipe(alignment="fbn96"), toy)
    with pytest.raises(UnknownNameError, match="protocol of toy"):
        prepare(recipe(protocol__name="nope"), toy)
    with pytest.raises(UnknownNameError, match="affect ingest nope"):
        prepare(recipe(datasets=[{"name": "nope"}]), toy)


def test_a_stale_layer_is_refused(toy: Lake, recipe: MakeRecipe) -> None:
    samples = toy.read("toy", "samples")
    with toy.publish("toy", command="test") as step:
        step.write("samples", "", samples, LayerFacts(rule="read anew"))
    with pytest.raises(StaleLayerError, match="stale"):
        prepare(recipe(), toy)


def test_a_task_without_labels_is_refused(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    for axis in ("valence", "arousal"):
        toy.labels["human"][axis] = [None] * toy.count
    with pytest.raises(RecipeError, match="no training sample is labelled for va"):
        prepare(recipe(), toy.publish(lake))


def test_a_selection_metric_without_labels_is_refused(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    for axis in ("valence", "arousal"):
        toy.labels["human"][axis] = [v if r == "train" else None for v, r in zip(toy.code / 7, toy.role, strict=True)]
    toy.publish(lake)
    assert len(prepare(recipe(), lake).selection) == 16
    with pytest.raises(RecipeError, match=r"selection metric p_va[\s\S]*no selection sample"):
        prepare(recipe(selection__metrics=["uar", "p_va"]), lake)


def test_model_made_truth_is_refused_for_selection_too(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy(truth=["human", "teacher-r1"])
    with pytest.raises(ProtocolError, match="teacher-r1"):
        prepare(recipe(), toy.publish(lake))


def test_where_and_every_thin_training_only(toy: Lake, recipe: MakeRecipe) -> None:
    chosen = recipe(datasets=[{"name": "toy", "every": 2, "where": "expression <> 'neutral'"}])
    prepared, whole = prepare(chosen, toy), prepare(recipe(), toy)
    assert prepared.train.targets.expression is not None
    kept = (whole.train.targets.expression.code > 0).sum() if whole.train.targets.expression else 0
    assert len(prepared.train) == -(-int(kept) // 2)
    assert (prepared.train.targets.expression.code > 0).all()
    assert len(prepared.selection) == len(whole.selection)


def test_samples_without_a_crop_are_counted(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy().publish(lake)
    index = toy.read("toy", "crops/resize32")
    facts = LayerFacts(extra=toy.layer("toy", "crops/resize32").facts.extra)
    crops = toy.layer("toy", "crops/resize32").path.parent / "resize32.000.u8"
    shard = lake.work("toy", "cut") / "short.u8"
    shard.write_bytes(crops.read_bytes()[: 95 * 32 * 32])
    with toy.publish("toy", command="test") as step:
        step.write("crops", "resize32", index.slice(0, 95), facts, ["samples"])
        step.link("crops/resize32.000.u8", shard)
    prepared = prepare(recipe(protocol__report="val", selection={"role": "test", "metrics": ["uar"]}), toy)
    assert prepared.without_crop == 1
    assert any("1 samples have no crop" in line for line in prepared.lines())


def test_samples_without_any_label_do_not_train(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    for values in toy.labels["human"].values():
        values[10] = values[70] = values[71] = None
    prepared = prepare(recipe(), toy.publish(lake))
    assert (len(prepared.train), len(prepared.selection), prepared.unlabelled) == (63, 14, 3)
    assert "3 samples carry no label of these tasks" in prepared.lines()
