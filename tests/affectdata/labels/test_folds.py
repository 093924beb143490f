"""A drawn protocol never has a subject, group or picture on both sides, and says what it set aside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from affectdata.labels import partition
from affectdata.labels.folds import Draw, make_folds
from affectdata.labels.partition import fold_numbers, held_out
from manifests.errors import ProtocolError
from manifests.lake import Lake, LayerFacts
from manifests.protocols import clusters, identity, leaks, roles

CLASSES = ["happiness", "sadness", "anger"]


def publish(
    lake: Lake, subjects: list[str | None], pictures: list[str | None] | None = None, base: list[str] | None = None
) -> None:
    count = len(subjects)
    ids = [f"d/{i:04d}" for i in range(count)]
    with lake.publish("d", command="x") as step:
        step.source(Path("/data"), "one")
        samples = {"sample_id": ids, "dataset": ["d"] * count, "subject_id": pa.array(subjects, pa.string())}
        step.write("samples", "", pa.table(samples), LayerFacts("one"))
        classes = [CLASSES[i % 3] for i in range(count)]
        step.write("labels", "human", pa.table({"sample_id": ids, "expression": classes}), parents=["samples"])
        if pictures is not None:
            faces = {"sample_id": ids, "status": ["found"] * count, "pixel_hash": pa.array(pictures, pa.string())}
            step.write("faces", "whole", pa.table(faces), parents=["samples"])
        if base is not None:
            official = {"sample_id": ids, "task": ["all"] * count, "role": base}
            step.write("protocols", "official", pa.table(official), LayerFacts(truth=["human"]), parents=["samples"])


def sides(lake: Lake, name: str, fold: int | None = None) -> tuple[pa.Table, pa.Table]:
    role = roles(lake, "d", name, fold=fold)["role"]
    people = identity(lake, "d")
    return people.filter(pa.compute.equal(role, "train")), people.filter(
        pa.compute.is_in(role, pa.array(["val", "test"]))
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghijkl"), st.one_of(st.none(), st.sampled_from(["p", "q", "r", "s"]))),
        min_size=12,
        max_size=60,
    ),
    st.integers(0, 5),
)
def test_no_pair_that_shares_a_subject_or_pixels_lies_on_both_sides(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str | None]], seed: int
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"), create=True)
    publish(lake, [subject for subject, _ in rows], [picture for _, picture in rows])
    assume(clusters(identity(lake, "d")).max() > 0)
    make_folds(lake, "d", "mine", Draw(by="subject", folds=2, seed=seed))
    for fold in (0, 1):
        train, scored = sides(lake, "mine", fold)
        assert train.num_rows + scored.num_rows == len(rows)
        assert not any(shared.any() for shared in leaks(train, scored).values())


def test_folds_are_a_partition_and_balanced_by_class(lake: Lake) -> None:
    publish(lake, [f"s{i // 3}" for i in range(90)])
    summary = make_folds(lake, "d", "five", Draw(by="subject", folds=5))
    assert sum(summary.counts.values()) == 90
    assert summary.clusters == 30
    classes = np.array(lake.read("d", "labels/human", ["expression"])["expression"].to_pylist())
    for fold in range(5):
        test = np.array(roles(lake, "d", "five", fold=fold)["role"].to_pylist()) == "test"
        assert test.sum() == 18
        assert {name: int((classes[test] == name).sum()) for name in CLASSES} == dict.fromkeys(CLASSES, 6)


def test_a_hold_out_has_about_the_share_asked_for(lake: Lake) -> None:
    publish(lake, [f"s{i}" for i in range(200)])
    summary = make_folds(lake, "d", "some", Draw(by="subject", holdout=0.15))
    assert summary.counts == {"test": 30, "train": 170}


def test_a_base_keeps_its_scored_samples_and_sets_training_copies_aside(lake: Lake) -> None:
    base = ["train"] * 40 + ["val"] * 10
    pictures: list[str | None] = [f"p{i}" for i in range(50)]
    pictures[3] = pictures[45]
    publish(lake, [None] * 50, pictures, base)
    draw = Draw(by="duplicates", holdout=0.1, base="official", scored_as="val")
    summary = make_folds(lake, "d", "select", draw)
    assert summary.ignored == 1
    role = roles(lake, "d", "select")["role"].to_pylist()
    assert role[40:] == ["test"] * 10
    assert role[3] == "ignore"
    assert role[:40].count("val") == summary.counts["val"] > 0
    assert "1 training samples share" in "\n".join(summary.lines())


def test_the_same_seed_draws_the_same_protocol_and_another_seed_another(lake: Lake) -> None:
    publish(lake, [f"s{i}" for i in range(60)])
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_folds(lake, "d", name, Draw(by="subject", holdout=0.2, seed=seed))
        drawn.append(roles(lake, "d", name)["role"].to_pylist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_unit_that_samples_lack_is_refused_with_what_is_known(lake: Lake) -> None:
    publish(lake, ["ann", None, "bob"])
    with pytest.raises(ProtocolError, match="1 of 3 samples have no subject"):
        make_folds(lake, "d", "x", Draw(by="subject", folds=2))


def test_duplicates_need_pictures_that_were_compared(lake: Lake) -> None:
    publish(lake, ["a", "b", "c"])
    with pytest.raises(ProtocolError, match="affect align d"):
        make_folds(lake, "d", "x", Draw(by="duplicates", folds=2))


def test_truth_must_be_named_where_there_are_two_human_labellings(lake: Lake) -> None:
    publish(lake, ["a", "b", "c", "d"])
    with lake.publish("d", command="x") as step:
        ids = lake.read("d", "samples", ["sample_id"])
        step.write(
            "labels", "human-second", ids.append_column("expression", pa.array(["fear"] * 4)), parents=["samples"]
        )
    with pytest.raises(ProtocolError, match="--truth"):
        make_folds(lake, "d", "x", Draw(by="subject", folds=2))
    make_folds(lake, "d", "x", Draw(by="subject", folds=2, truth=("human-second",)))
    assert lake.layer("d", "protocols/x").facts.truth == ["human-second"]


def test_the_datasets_own_protocol_is_never_drawn_over(lake: Lake) -> None:
    publish(lake, [f"s{i}" for i in range(20)], base=["train"] * 15 + ["test"] * 5)
    ids = lake.read("d", "samples", ["sample_id"])
    table = ids.append_column("task", pa.array(["all"] * 20)).append_column("role", pa.array(["train"] * 20))
    with lake.publish("d", command="x") as step:
        step.write("protocols", "official", table, LayerFacts(extra={"reader": "d"}), parents=["samples"])
    with pytest.raises(ProtocolError, match="official is a protocol of d itself"):
        make_folds(lake, "d", "official", Draw(by="subject", holdout=0.2))


def test_a_protocol_is_not_its_own_base_and_may_be_drawn_again(lake: Lake) -> None:
    publish(lake, [f"s{i}" for i in range(40)])
    make_folds(lake, "d", "mine", Draw(by="subject", holdout=0.2))
    with pytest.raises(ProtocolError, match="its own --base"):
        make_folds(lake, "d", "mine", Draw(by="subject", holdout=0.2, base="mine"))
    make_folds(lake, "d", "mine", Draw(by="subject", holdout=0.3))
    assert not lake.layer("d", "protocols/mine").stale


def with_paths(lake: Lake, seen: int, unreadable: int = 0) -> None:
    """Twenty samples with pictures, of which a faces layer has looked at the first `seen`."""
    ids = [f"d/{i:04d}" for i in range(20)]
    hashes = [None if i < unreadable else f"p{i}" for i in range(seen)]
    with lake.publish("d", command="x") as step:
        step.source(Path("/data"), "one")
        samples = {"sample_id": ids, "dataset": ["d"] * 20, "subject_id": [f"s{i}" for i in range(20)]}
        paths = [*(f"{i}.png" for i in range(19)), None]
        step.write("samples", "", pa.table(samples | {"path": paths}), LayerFacts("one"))
        step.write("labels", "human", pa.table({"sample_id": ids, "expression": ["fear"] * 20}), parents=["samples"])
        status = ["unreadable" if h is None else "found" for h in hashes]
        faces = {"sample_id": ids[:seen], "status": status, "pixel_hash": pa.array(hashes, pa.string())}
        step.write("faces", "whole", pa.table(faces), parents=["samples"])


def test_pixels_are_a_key_only_where_every_picture_was_looked_at(lake: Lake) -> None:
    with_paths(lake, seen=18)
    make_folds(lake, "d", "some", Draw(by="subject", folds=2))
    facts = lake.layer("d", "protocols/some").facts
    assert facts.keys == ["subject"]
    assert "1 pictures not compared" in facts.rule
    assert "faces/whole" not in facts.parents
    with pytest.raises(ProtocolError, match="affect align d"):
        make_folds(lake, "d", "x", Draw(by="duplicates", folds=2))


def test_a_protocol_that_keeps_pixels_apart_depends_on_the_faces_whatever_its_unit(lake: Lake) -> None:
    with_paths(lake, seen=19, unreadable=2)
    for by in ("subject", "duplicates"):
        make_folds(lake, "d", by, Draw(by=by, folds=2))
        facts = lake.layer("d", f"protocols/{by}").facts
        assert facts.keys == ["subject", "pixels"]
        assert "faces/whole" in facts.parents


@pytest.mark.parametrize("source", ["co-du2014", "teacher-run1"])
def test_labels_of_a_rule_or_a_network_are_no_truth_to_draw_for(lake: Lake, source: str) -> None:
    publish(lake, ["a", "b", "c", "d"])
    with lake.publish("d", command="x") as step:
        ids = lake.read("d", "samples", ["sample_id"])
        fear = ids.append_column("expression", pa.array(["fear"] * 4))
        step.write("labels", source, fear, parents=["samples"])
    with pytest.raises(ProtocolError, match=source):
        make_folds(lake, "d", "x", Draw(by="subject", folds=2, truth=(source,)))


def test_a_protocol_says_which_command_drew_it_and_the_share_it_got(lake: Lake) -> None:
    publish(lake, [f"s{i}" for i in range(5)])
    make_folds(lake, "d", "x", Draw(by="subject", holdout=0.1, seed=3, stratify=None, truth=("human",)))
    facts = lake.layer("d", "protocols/x").facts
    expected = "affect folds d --name x --by subject --holdout 0.1 --stratify none --truth human --seed 3"
    assert facts.command == expected
    assert "hold-out of 0.1 (0.2 drawn)" in facts.rule


@pytest.mark.parametrize("share", [0.98, 0.9, 1 / 3, 0.1, 0.02, 0.004, 0.002, 0.999])
def test_a_hold_out_of_many_clusters_has_the_share_asked_for(share: float) -> None:
    groups = np.arange(1000)
    held = held_out(groups, groups % 3, share, 0)
    assert abs(held.mean() - share) <= 0.003
    assert 0 < held.sum() < 1000


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=2, max_size=60),
    st.floats(0.001, 0.999),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_hold_out_is_whole_clusters_and_neither_side_is_empty(
    rows: list[tuple[int, int]], share: float, many: bool
) -> None:
    groups = np.unique([group for group, _ in rows], return_inverse=True)[1]
    classes = np.unique([name for _, name in rows], return_inverse=True)[1]
    assume(groups.max() > 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "LONG_SEARCH", 1 if many else 100_000)
        held = held_out(groups, classes, share, 0)
    assert 0 < held.sum() < len(held)
    assert not set(groups[held]) & set(groups[~held])


def test_very_many_clusters_are_cut_evenly_and_by_class() -> None:
    groups = np.arange(400_000) // 2  # whole clusters of two rows of the same class
    groups = np.concatenate([groups, np.arange(200_000, 250_000)])
    classes = groups % 10 // 9  # a tenth of the clusters are of a rarer class
    number = fold_numbers(groups, classes, 5, 1)
    assert all(len(set(part)) == 1 for part in number[:400_000].reshape(-1, 2)[:1000])
    counts = np.array([np.bincount(classes[number == fold], minlength=2) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= 4).all()
    assert (number != fold_numbers(groups, classes, 5, 2)).any()


def compounds(lake: Lake, pictures: list[str]) -> None:
    """Three classes of 40, 9 and 3, and ten samples without any."""
    count = len(pictures)
    classes = ["awed"] * 40 + ["hatred"] * 9 + ["appalled"] * 3 + [None] * 10
    ids = [f"d/{i:04d}" for i in range(count)]
    with lake.publish("d", command="x") as step:
        step.source(Path("/data"), "one")
        step.write("samples", "", pa.table({"sample_id": ids, "dataset": ["d"] * count}), LayerFacts("one"))
        labels = {"sample_id": ids, "compound": pa.array(classes, pa.string())}
        step.write("labels", "human", pa.table(labels), parents=["samples"])
        faces = {"sample_id": ids, "status": ["found"] * count, "pixel_hash": pictures}
        step.write("faces", "whole", pa.table(faces), parents=["samples"])


FEW = Draw(by="duplicates", splits=3, per_class=15, stratify="compound")


def test_random_splits_train_on_few_of_each_class_and_score_all_others(lake: Lake) -> None:
    compounds(lake, [f"p{i}" for i in range(62)])
    summary = make_folds(lake, "d", "few", FEW)
    labels = dict(
        zip(*(lake.read("d", "labels/human")[name].to_pylist() for name in ("sample_id", "compound")), strict=True)
    )
    drawn = []
    for fold in range(3):
        table = roles(lake, "d", "few", fold=fold)
        role = dict(zip(table["sample_id"].to_pylist(), table["role"].to_pylist(), strict=True))
        train = [labels[name] for name, one in role.items() if one == "train"]
        assert {name: train.count(name) for name in ("awed", "hatred", "appalled", None)} == {
            "awed": 15, "hatred": 4, "appalled": 1, None: 10,
        }  # fmt: skip
        assert sum(one == "test" for one in role.values()) == 25 + 5 + 2
        drawn.append(sorted(name for name, one in role.items() if one == "train"))
    assert drawn[0] != drawn[1]
    assert "split 0 test 32, split 0 train 20" in "\n".join(summary.lines())
    command = lake.layer("d", "protocols/few").facts.command
    assert "--splits 3 --per-class 15" in command
    assert make_folds(lake, "d", "few", FEW).counts == summary.counts


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 30), min_size=62, max_size=62), st.integers(0, 5))
def test_no_picture_lies_on_both_sides_of_a_random_split(
    tmp_path_factory: pytest.TempPathFactory, pictures: list[int], seed: int
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"), create=True)
    compounds(lake, [f"p{number}" for number in pictures])
    make_folds(lake, "d", "few", replace(FEW, seed=seed))
    for fold in range(3):
        train, scored = sides(lake, "few", fold)
        assert not any(mask.any() for mask in leaks(train, scored, ("pixels",)).values())


@pytest.mark.parametrize("wrong", [{"per_class": None}, {"base": "official"}, {"stratify": None}, {"holdout": 0.1}])
def test_random_splits_that_do_not_say_what_they_need_are_refused(lake: Lake, wrong: dict[str, object]) -> None:
    with pytest.raises(ProtocolError, match="--splits"):
        make_folds(lake, "d", "few", replace(FEW, **wrong))
