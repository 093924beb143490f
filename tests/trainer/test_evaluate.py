"""A score comes from truth that people gave, on a role that chose nothing, and says what it is worth."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from manifests.errors import ProtocolError, RunError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.vocabulary import AU_SPACES, COMPOUND_SPACES, au_column
from trainer import evaluate as evaluation
from trainer.across import across
from trainer.fit import Machine, train
from trainer.metrics.ccc import concordance
from trainer.metrics.result import MetricInputError
from trainer.recipe import parse
from trainer.run import Run, runs
from trainer.score_file import score_file
from trainer.scores import Scores

from .conftest import MakeRecipe, Toy

evaluate = partial(evaluation.evaluate, resamples=0)
"""Without intervals, which take most of the time; one test asks for them."""


def quiet(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A lake and a run on it that learned its classes; copied for each test."""
    folder = tmp_path_factory.mktemp("trained")
    toy = Toy(count=120)
    toy.picture[5], toy.code[5] = 110, toy.code[110]
    toy.picture[6], toy.code[6] = 110, toy.code[110]
    lake = toy.publish(Lake(folder / "lake", create=True))
    tree = {
        "name": "toy",
        "datasets": [{"name": "toy"}],
        "alignment": "resize32",
        "selection": {"metrics": ["uar"]},
        "tasks": {"expression": {}, "va": {}, "au": {}, "landmarks": {"weight": 0.1}},
        "backbone": {"name": "test_resnet", "in_chans": 1},
        "train": {"epochs": 10, "batch": 16, "lr": 0.003},
    }
    train(parse(tree, "toy"), lake, folder / "run", machine=Machine("cpu"), say=quiet)
    return folder / "lake", folder / "run"


@pytest.fixture
def lake(trained: tuple[Path, Path], tmp_path: Path) -> Lake:
    shutil.copytree(trained[0], tmp_path / "lake", symlinks=True)
    return Lake(tmp_path / "lake")


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path) -> Run:
    shutil.copytree(trained[1], tmp_path / "runs" / "toy")
    return Run(tmp_path / "runs" / "toy")


def protocol(lake: Lake, name: str, truth: list[str], scored: str = "test") -> None:
    """A protocol like `official`, with other truth or with every role but train called `scored`."""
    table = lake.read("toy", "protocols/official")
    with lake.publish("toy", command="test") as step:
        step.write("protocols", name, table, LayerFacts(truth=truth), ["samples"])
    assert scored in table["role"].to_pylist()


@pytest.mark.usefixtures("drawn")
def test_scores_predictions_and_figures_are_written(lake: Lake, run: Run) -> None:
    scores = evaluate(run, lake)
    (found,) = scores.datasets
    assert (found.dataset, found.role, found.samples, found.truth) == ("toy", "test", 20, ("human",))
    assert found.value("top1") > 0.5
    assert found.value("p_va") > 0.3
    assert {r.name for r in found.results} >= {"top1", "uar", "macro_f1", "p_va", "au_f1", "au_trivial_acc", "nme_io"}
    assert [name for name, _, _ in found.recalls()] == list(found.confusion.classes if found.confusion else ())
    table = run.predictions("toy", "test")
    assert table.num_rows == 20
    right = [
        t == p for t, p in zip(*(table[c].to_pylist() for c in ("expression", "expression_predicted")), strict=True)
    ]
    assert sum(right) / 20 == pytest.approx(found.value("top1"))
    assert table.column("landmarks_predicted").type.list_size == 136
    assert sum(table[f"p_{name}"][0].as_py() for name in found.confusion.classes if found.confusion) == pytest.approx(1)
    tree = json.loads((run.path / "scores.json").read_text())
    assert tree["datasets"][0]["samples"] == 20
    assert (run.path / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    assert runs(run.path.parent)[0].opened
    assert any("recall neutral" in line for line in scores.lines())


def test_the_score_is_given_with_and_without_copies_of_training_pictures(lake: Lake, run: Run) -> None:
    assert run.facts.dropped["toy"]["dropped"] == 2
    (found,) = evaluate(run, lake).datasets
    assert (found.copies, found.seen) == (1, 0)
    used = {r.name: r.rows_used for r in found.results}
    clean = {r.name: r.rows_used for r in found.clean}
    assert used["top1"] - clean["top1"] == 1
    assert found.clean[0].variant == "without related"
    assert any("1 are pixel-identical to a training picture" in line for line in evaluate(run, lake).lines())


def test_every_metric_has_an_interval_over_people_and_none_is_drawn_where_nobody_asks(lake: Lake, run: Run) -> None:
    (found,) = evaluate(run, lake, resamples=50).datasets
    assert found.unit == "subjects"
    for result in found.results:
        assert result.interval is not None
        assert (result.interval.resamples, result.interval.clusters) == (50, 20)
        assert result.interval.value == pytest.approx(result.value, nan_ok=True)
    text = "\n".join(evaluate(run, lake, resamples=50).lines())
    assert "intervals of 95%: 50 draws of 20 subjects" in text
    assert all(r.interval is None for r in evaluate(run, lake, resamples=0).datasets[0].results)


def test_what_the_papers_of_a_protocol_report_is_scored_too_and_what_cannot_be_says_why(lake: Lake, run: Run) -> None:
    table = lake.read("toy", "protocols/official")
    asked = ["au_f1[bp4d12]", "au_f1[emotionet12]", "top1[expr7]", "macro_f1[expr8-other]", "abaw_mtl", "nme_ip"]
    with lake.publish("toy", command="test") as step:
        step.write("protocols", "paper", table, LayerFacts(truth=["human"], metrics=asked), ["samples"])
    scores = evaluate(run, lake, protocol="paper", allow_changed=True, resamples=0)
    (found,) = scores.datasets
    named = {r.name: r for r in found.results}
    assert named["top1[expr7]"].value == named["top1"].value
    assert named["au_f1[bp4d12]"].labels == tuple(au_column(au) for au in AU_SPACES["bp4d12"])
    kept = [v for v, au in zip(named["au_f1"].per_label, named["au_f1"].labels, strict=True)
            if au in named["au_f1[bp4d12]"].labels]  # fmt: skip
    assert named["au_f1[bp4d12]"].value == pytest.approx(sum(kept) / 12)
    assert named["au_f1[emotionet12]"].flags == ("needs au43 too",)
    assert named["macro_f1[expr8-other]"].flags == ("needs the class other too",)
    assert named["abaw_mtl"].flags[0].startswith("needs ")
    assert named["nme_ip"].value > named["nme_io"].value
    assert "au_f1[emotionet12] -  [needs au43 too]" in "\n".join(scores.lines())


def test_a_metric_that_somebody_asks_for_stands_beside_the_usual_ones_under_its_own_name(lake: Lake, run: Run) -> None:
    asked = ["f1_of_macro_pr", "uar_zero", "ccc_valence_mixed", "au_f1_one", "au_f1_logit_cut_0.5", "abaw2_expr",
             "fr_io@0.05", "au_f1[bp4d12]"]  # fmt: skip
    usual = evaluate(run, lake).datasets[0].results
    (found,) = evaluate(run, lake, metrics=asked, resamples=20).datasets
    named = {r.name: r for r in found.results}
    assert set(named) == {r.name for r in usual} | set(asked)
    assert {name: r.value for name, r in named.items() if name not in asked} == {r.name: r.value for r in usual}
    assert {r.name for r in found.clean} == set(named)
    count = named["ccc_valence"].rows_used
    assert named["ccc_valence_mixed"].value == pytest.approx(named["ccc_valence"].value * count / (count - 1))
    assert named["abaw2_expr"].value == pytest.approx(0.67 * named["macro_f1"].value + 0.33 * named["top1"].value)
    assert all(named[name].interval is not None for name in asked)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("f1_of_macro", UnknownNameError, r"did you mean f1_of_macro_pr[\s\S]*uar_zero"),
        ("compound_uar", UnknownNameError, "unknown metric 'compound_uar'"),
        ("top1[expr9]", UnknownNameError, "expr8-other"),
        ("p_va[expr7]", UnknownNameError, "macro_f1"),
        ("abaw_expr", MetricInputError, "other"),
        ("abaw_mtl", MetricInputError, "abaw_expr"),
        ("macro_f1[expr8-other]", MetricInputError, "needs the class other too"),
        ("emotionet_au[emotionet12]", MetricInputError, "needs au43 too"),
    ],
)
def test_a_metric_that_the_tasks_of_a_run_do_not_give_is_refused_before_it_predicts(
    lake: Lake, run: Run, name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        evaluate(run, lake, metrics=[name])
    assert "compound_macro_f1" not in str(raised.value)
    assert not run.openings


def test_the_mean_over_videos_is_of_the_videos_that_the_samples_are_frames_of(lake: Lake, run: Run) -> None:
    name = "ccc_valence_video_mean"
    (alone,) = evaluate(run, lake, metrics=[name]).datasets
    assert next(r.flags for r in alone.results if r.name == name) == ("needs the video of every row",)
    samples = lake.read("toy", "samples")
    column = samples.column_names.index("sequence_id")
    videos = pa.array([f"v{i % 3}" for i in range(len(samples))])
    kept = [("labels", "human"), ("protocols", "official")]
    layers = [(*key, lake.read("toy", "/".join(key)), LayerFacts(truth=["human"])) for key in kept]
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", samples.set_column(column, "sequence_id", videos))
        for kind, layer, rows, facts in layers:
            step.write(kind, layer, rows, facts, ["samples"])
    path = run.path / "theirs.csv"
    table = run.predictions("toy", "test")
    ids = table["sample_id"].to_pylist()
    said = pa.table({"sample_id": ids} | {a: table[f"{a}_predicted"] for a in ("valence", "arousal")})
    said.to_pandas().to_csv(path, index=False)
    (scores,) = score_file(path, lake, "toy", "official", metrics=[name], resamples=20).datasets
    result = next(r for r in scores.results if r.name == name)
    truth, guess = (np.array(table[c].to_pylist(), float) for c in ("valence", "valence_predicted"))
    video = np.array([int(i.split("/")[1]) % 3 for i in ids])
    each = [concordance(truth[video == v], guess[video == v]) for v in range(3)]
    assert result.value == pytest.approx(np.mean(each), abs=1e-6)
    assert result.aggregation == "video_mean"
    assert result.interval is None  # a draw would count a video that is drawn twice once
    both = [Scores(str(fold), 0, (replace(scores, fold=fold),)) for fold in (0, 1)]
    (together,) = across(both)
    assert math.isnan(next(s.pooled for s in together.spreads if s.name == name))


def test_subgroups_are_scored_one_by_one_and_together_are_everybody(lake: Lake, run: Run) -> None:
    scores = evaluate(run, lake, by=["gender", "face_size"], resamples=0)
    (found,) = scores.datasets
    genders = [group for group in found.groups if group.attribute == "gender"]
    assert [group.value for group in genders] == ["unknown"]  # the toy releases none
    assert genders[0].results == found.results
    shown = list(scores.lines())
    heading = shown.index("  by gender")
    assert shown[heading + 1].split() == ["unknown"]
    assert shown[heading + 2].split() == ["samples", str(found.samples)]
    assert max(map(len, shown[heading:])) < 80
    with pytest.raises(UnknownNameError, match="hair"):
        evaluate(run, lake, by=["hair"])


def test_a_run_that_kept_the_copies_says_so(lake: Lake, run: Run, tmp_path: Path) -> None:
    chosen = run.recipe.replace({"keep_copies": True, "train.epochs": 1})
    lines: list[str] = []
    kept = train(chosen, lake, tmp_path / "kept", machine=Machine("cpu"), say=lines.append)
    assert "toy: 2 identical copies of scored pictures KEPT in training" in lines
    (found,) = evaluate(kept, lake).datasets
    assert (found.copies, found.seen) == (1, 1)
    assert any("THIS RUN, or one it began from, has seen" in line for line in evaluate(kept, lake).lines())


@pytest.mark.parametrize("source", ["co-du2014", "teacher-r1", "landmarks-pfld", "co-du2014-soft"])
def test_truth_made_by_rules_or_networks_is_refused(lake: Lake, run: Run, source: str) -> None:
    labels = lake.read("toy", "labels/human")
    with lake.publish("toy", command="test") as step:
        step.write("labels", source, labels, parents=["samples"])
    protocol(lake, "bad", ["human", source])
    with pytest.raises(ProtocolError, match=source):
        evaluate(run, lake, protocol="bad")
    assert not run.openings
    assert not (run.path / "scores.json").exists()


def test_other_sources_never_reach_the_truth(lake: Lake, run: Run) -> None:
    """A teacher's labels fill every gap of training; the score does not change by them."""
    before = evaluate(run, lake).datasets[0]
    labels = lake.read("toy", "labels/human")
    with lake.publish("toy", command="test") as step:
        step.write("labels", "teacher-r1", labels, parents=["samples"])
        step.write("labels", "auto", labels, parents=["samples"])
    assert evaluate(run, lake).datasets[0].results == before.results


def test_the_role_that_chose_the_epoch_is_not_reported(lake: Lake, run: Run) -> None:
    with pytest.raises(ProtocolError, match="20 chose its epoch"):
        evaluate(run, lake, role="val")
    with pytest.raises(UnknownNameError, match="train"):
        evaluate(run, lake, role="train")


def test_what_the_run_has_seen_is_not_reported_under_another_name(lake: Lake, run: Run) -> None:
    protocol(lake, "other", ["human"], "val")
    with pytest.raises(ProtocolError, match="20 chose its epoch"):
        evaluate(run, lake, protocol="other", role="val")
    table = lake.read("toy", "protocols/official")
    swapped = table.set_column(
        table.column_names.index("role"),
        "role",
        pa.array(["test" if r == "train" else "train" for r in table["role"].to_pylist()]),
    )
    with lake.publish("toy", command="test") as step:
        step.write("protocols", "swapped", swapped, LayerFacts(truth=["human"]), ["samples"])
    with pytest.raises(ProtocolError, match="78 trained it"):
        evaluate(run, lake, protocol="swapped")
    assert not run.openings


def test_samples_that_the_run_has_seen_are_scored_on_demand_and_marked(lake: Lake, run: Run) -> None:
    scores = evaluate(run, lake, role="val", allow_seen=True)
    (found,) = scores.datasets
    assert found.trained == found.seen == found.samples == 20
    assert any("NOT A RESULT" in line for line in scores.lines())
    assert found.clean[0].rows_used == 0
    assert found.clean[0].flags == ("empty",)
    assert evaluate(run, lake).datasets[0].trained == 0


def test_another_dataset_is_scored_by_any_role_of_the_same_protocol(lake: Lake, run: Run) -> None:
    Toy(seed=7).publish(lake, "other")
    (found,) = evaluate(run, lake, datasets=["other"], role="val").datasets
    assert (found.dataset, found.samples, found.trained) == ("other", 16, 0)


def test_datasets_are_scored_together_each_by_the_protocol_named_with_it(lake: Lake, run: Run) -> None:
    Toy(seed=7).publish(lake, "other")
    with lake.publish("other", command="test") as step:
        few = lake.read("other", "protocols/official").filter(pc.field("role") == "test").slice(0, 5)
        step.write("protocols", "own", few, LayerFacts(truth=["human"]), ["samples"])
    both = evaluate(run, lake, datasets=["toy", "other:own"]).datasets
    assert [(d.dataset, d.protocol, d.samples, d.trained) for d in both] == [
        ("toy", "official", 20, 0),
        ("other", "own", 5, 0),
    ]
    with pytest.raises(UnknownNameError, match="own"):
        evaluate(run, lake, datasets=["toy", "other:owm"])
    for wrong in (["other:"], ["other", "other:own"]):
        with pytest.raises(ProtocolError, match="NAME:PROTOCOL"):
            evaluate(run, lake, datasets=wrong)


def test_a_dataset_trains_and_is_scored_on_crops_of_its_own(lake: Lake, tmp_path: Path, recipe: MakeRecipe) -> None:
    Toy(seed=2, alignment="box32").publish(lake, "boxes")
    datasets = [{"name": "toy"}, {"name": "boxes", "alignment": "box32"}]
    trained = train(
        recipe(datasets=datasets, train={"epochs": 1}),
        lake,
        tmp_path / "boxed",
        machine=Machine("cpu"),
        say=lambda _: None,
    )
    assert "crops/box32" in trained.facts.fingerprints["boxes"]
    assert "crops/resize32" in trained.facts.fingerprints["toy"]
    assert [one.dataset for one in evaluate(trained, lake, device="cpu", resamples=0).datasets] == ["toy", "boxes"]
    plain = recipe(datasets=[{"name": "toy"}, {"name": "boxes"}], train={"epochs": 1})
    with pytest.raises(UnknownNameError, match="affect align boxes --to resize32"):
        train(plain, lake, tmp_path / "plain", machine=Machine("cpu"), say=lambda _: None)


def test_a_fold_of_a_protocol_is_scored(lake: Lake, run: Run) -> None:
    table = lake.read("toy", "protocols/official").filter(pc.field("role") == "test")
    folds = table.set_column(table.column_names.index("fold"), "fold", pa.array([0, 1] * 10, table["fold"].type))
    with lake.publish("toy", command="test") as step:
        step.write("protocols", "two", folds, LayerFacts(truth=["human"]), ["samples"])
    (found,) = evaluate(run, lake, protocol="two", fold=1).datasets
    assert (found.fold, found.samples) == (1, 10)
    with pytest.raises(ProtocolError, match=r"no fold was named\s+expected: one of its folds: 0, 1"):
        evaluate(run, lake, protocol="two")


def test_each_opening_of_a_role_is_logged(lake: Lake, run: Run) -> None:
    evaluate(run, lake)
    evaluate(run, lake)
    assert [o["role"] for o in run.openings] == ["test", "test"]
    assert run.openings[0]["samples"] == 20


def test_a_changed_lake_is_refused_unless_asked(lake: Lake, run: Run) -> None:
    labels = lake.read("toy", "labels/human")
    facts = LayerFacts(rule="corrected", offered=lake.layer("toy", "labels/human").facts.offered)
    with lake.publish("toy", command="test") as step:
        step.write("labels", "human", labels, facts, parents=["samples"])
    with pytest.raises(RunError, match="labels/human"):
        evaluate(run, lake)
    assert evaluate(run, lake, allow_changed=True).datasets[0].samples == 20


def test_scores_do_not_depend_on_the_recipes_training_sources(lake: Lake, run: Run, recipe: MakeRecipe) -> None:
    assert recipe().sources == run.recipe.sources
    text = (run.path / "recipe.yaml").read_text().replace("- human-*", "- human-none*")
    (run.path / "recipe.yaml").write_text(text)
    assert evaluate(Run(run.path), lake).datasets[0].samples == 20


def test_unfinished_missing_and_damaged_runs_are_refused(lake: Lake, run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run at"):
        Run(tmp_path / "nothing")
    with pytest.raises(UnknownNameError, match="affect evaluate"):
        run.predictions("toy", "test")
    (run.path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(RunError, match="weights of run"):
        evaluate(run, lake)
    (run.path / "facts.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        Run(run.path)


def test_an_unknown_dataset_or_protocol_is_named(lake: Lake, run: Run) -> None:
    with pytest.raises(UnknownNameError, match="protocol of toy"):
        evaluate(run, lake, protocol="nope")
    with pytest.raises(UnknownNameError, match="nope"):
        evaluate(run, lake, datasets=["nope"])


def test_compound_expressions_are_scored_by_rule_with_each_term_left_out_and_alike_from_a_file(
    lake: Lake, run: Run
) -> None:
    compounds = Toy(seed=7)
    classes = COMPOUND_SPACES["rafdb11"]
    compounds.labels["human"]["compound"] = [classes[i % 11] if i % 5 else None for i in range(compounds.count)]
    compounds.publish(lake, "compounds")
    scores = evaluate(run, lake, datasets=["compounds"], compound="rafdb11")
    (found,) = scores.datasets
    named = {result.name: result for result in found.results}
    assert named["compound_uar"].rows_used < found.samples == 16
    assert named["compound_uar"].labels == classes
    left_out = [f"compound_uar[no {term}]" for term in ("AUs", "expressions", "valence")]
    assert set(left_out) <= set(named)
    text = "\n".join(scores.lines())
    assert "compound by rule, zero-shot: rafdb11, binary AU lists of du2014 over 17 AUs" in text
    table = run.predictions("compounds", "test")
    chances = np.stack([table[f"score_compound_{name}"] for name in classes], 1)
    assert [classes[code] for code in chances.argmax(1)] == table["compound_predicted"].to_pylist()
    assert "p_compound_happily_surprised" not in table.column_names
    file = lake.home / "said.parquet"
    kept = [name for name in table.column_names if name.startswith("p_") or name.endswith("_predicted")]
    others = [name for name in kept if "compound" not in name and not name.startswith("landmarks")]
    pq.write_table(table.select(["sample_id", *others]), file)
    (theirs,) = score_file(file, lake, "compounds", "official", resamples=0, compound="rafdb11").datasets
    for name in ("compound_top1", *left_out):
        assert theirs.value(name) == pytest.approx(found.value(name), nan_ok=True)
    with pytest.raises(UnknownNameError, match="compound classes"):
        evaluate(run, lake, datasets=["compounds"], compound="rafdb7")
