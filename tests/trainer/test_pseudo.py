"""A teacher speaks only where nobody has, never about reported samples, and the same however often it is stopped."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from safetensors.torch import load_file, save_file

from affectdata.labels.coannotate import Settings, co_annotate
from affectdata.labels.coannotation import Rule
from affectdata.labels.known import known_layers
from affectdata.labels.relatedness import relatedness
from affectdata.labels.teacher import TeacherRule
from cli.errors import run as command
from manifests.errors import AffectError, LakeError, ProtocolError, RunError, StaleLayerError, UnknownNameError
from manifests.killpoints import POINTS
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.query import manifest_table
from manifests.vocabulary import AU_SPACES
from tests.forks import ended, started
from trainer import evaluate as evaluation
from trainer import teacher as teaching
from trainer.calibrate import CALIBRATION
from trainer.fit import Machine, train
from trainer.pseudo import pseudo_label
from trainer.recipe import parse
from trainer.run import WEIGHTS, Run
from trainer.teacher import Teacher
from trainer.teaching import Request
from trainer.transductive import why_transductive

from .conftest import Toy

GAPS = {"expression": 3, "valence": 4, "arousal": 4, "au12": 5, "landmarks": 6}
"""Every n-th sample lacks this label."""

evaluate = partial(evaluation.evaluate, resamples=0)
"""Without intervals, which take most of the time; one test asks for them."""


def gappy(count: int = 120) -> Toy:
    toy = Toy(count=count)
    human = toy.labels["human"]
    for name, every in GAPS.items():
        human[name] = [None if i % every == 0 else value for i, value in enumerate(human[name])]
    return toy


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A lake with gaps and a run on it; copied for each test."""
    folder = tmp_path_factory.mktemp("teacher")
    lake = gappy().publish(Lake(folder / "lake", create=True))
    tree = {
        "name": "toy",
        "datasets": [{"name": "toy"}],
        "alignment": "resize32",
        "selection": {"metrics": ["uar"]},
        "tasks": {"expression": {}, "va": {}, "au": {}, "landmarks": {"weight": 0.1}},
        "backbone": {"name": "test_resnet", "in_chans": 1},
        "train": {"epochs": 8, "batch": 16, "lr": 0.003},
    }
    train(parse(tree, "toy"), lake, folder / "toy", machine=Machine("cpu"), say=lambda _: None)
    return folder / "lake", folder / "toy"


@pytest.fixture
def lake(trained: tuple[Path, Path], tmp_path: Path) -> Lake:
    shutil.copytree(trained[0], tmp_path / "lake", symlinks=True)
    return Lake(tmp_path / "lake")


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path) -> Run:
    shutil.copytree(trained[1], tmp_path / "runs" / "toy")
    return Run(tmp_path / "runs" / "toy")


def label(run: Run, lake: Lake, **asked: object):  # a PseudoSummary
    return pseudo_label([Teacher(run, lake, "cpu")], "toy", Request(**asked))  # type: ignore[arg-type]  # tests name fields


def digest(lake: Lake, source: str = "teacher-toy") -> str:
    return hashlib.sha256(lake.layer("toy", f"labels/{source}").path.read_bytes()).hexdigest()


def test_only_unlabelled_cells_of_training_samples_are_filled(lake: Lake, run: Run) -> None:
    summary = label(run, lake)
    names = ["sample_id", "expression", "valence", "au12", "au01", "landmarks"]
    human = manifest_table(lake, ["toy"], names, sources=["human"]).to_pylist()
    both = manifest_table(lake, ["toy"], names, sources=["human", "teacher-toy"]).to_pylist()
    role = dict(
        zip(*(lake.read("toy", "protocols/official")[c].to_pylist() for c in ("sample_id", "role")), strict=True)
    )
    for before, after in zip(human, both, strict=True):
        for name in names[1:]:
            if before[name] is not None or role[before["sample_id"]] != "train":
                assert before[name] == after[name]
            else:
                assert after[name] is not None
    assert summary.candidates == 80
    assert summary.reported == 40
    assert summary.labelled["expression"] == len([i for i in range(80) if i % 3 == 0])


def test_what_is_right_can_be_learned_from_it(lake: Lake, run: Run) -> None:
    label(run, lake)
    rows = lake.read("toy", "labels/teacher-toy", ["sample_id", "expression", "expression_probs", "au12", "au12_prob"])
    toy = gappy()
    wanted = dict(zip(toy.ids, [int(c) for c in toy.code], strict=True))
    said = rows.filter(pc.is_valid(rows["expression"])).to_pylist()
    from manifests.vocabulary import EXPRESSIONS

    right = [EXPRESSIONS.index(row["expression"]) == wanted[row["sample_id"]] for row in said]
    assert np.mean(right) > 0.6
    assert all(row["au12"] == (row["au12_prob"] > 0.5) for row in rows.to_pylist() if row["au12"] is not None)


def test_hard_labels_have_no_distribution_and_unsure_ones_stay_unknown(lake: Lake, run: Run) -> None:
    label(run, lake, rule=TeacherRule("hard", 1.0), name="sure")
    rows = lake.read("toy", "labels/teacher-sure")
    assert rows["expression_probs"].null_count == rows.num_rows
    assert rows["expression"].null_count == rows.num_rows
    assert rows["valence"].null_count < rows.num_rows


def test_the_layer_names_its_teacher_and_goes_stale_with_the_labels_it_filled_around(lake: Lake, run: Run) -> None:
    label(run, lake)
    layer = lake.layer("toy", "labels/teacher-toy")
    teacher = json.loads(layer.facts.extra["teachers"])[0]
    assert teacher["run"] == "toy"
    assert teacher["weights"] == hashlib.sha256((run.path / WEIGHTS).read_bytes()).hexdigest()
    assert teacher["validation"]["uar"] > 0
    assert "transductive" not in layer.facts.extra
    assert set(layer.facts.parents) == {"samples", "crops/resize32", "labels/human", "protocols/official"}
    with lake.publish("toy", command="test") as step:
        human = lake.read("toy", "labels/human")
        step.write("labels", "human", human, LayerFacts(fingerprint="other"), ["samples"])
    assert lake.layer("toy", "labels/teacher-toy").stale


def test_the_layer_goes_stale_with_the_protocol_that_held_samples_back(lake: Lake, run: Run) -> None:
    label(run, lake)
    label(run, lake, transductive=True, name="all")
    with lake.publish("toy", command="test") as step:
        roles = lake.read("toy", "protocols/official")
        facts = LayerFacts(fingerprint="redrawn", truth=["human"])
        step.write("protocols", "official", roles.slice(1), facts, ["samples"])
    assert lake.layer("toy", "labels/teacher-toy").stale
    assert not lake.layer("toy", "labels/teacher-all").stale


def test_reported_samples_are_labelled_only_when_asked_and_the_layer_says_so(lake: Lake, run: Run) -> None:
    summary = label(run, lake, transductive=True)
    assert (summary.candidates, summary.reported) == (120, 40)
    assert "TRANSDUCTIVE: 40 of them have reported roles" in "\n".join(summary.lines())
    assert lake.layer("toy", "labels/teacher-toy").facts.extra["transductive"] == "true"


def student_of(run: Run, lake: Lake, folder: Path, *sources: str, **changes: object) -> Run:
    recipe = run.recipe.replace({"sources": ["human", *sources], "train.epochs": 1, **changes})
    return train(recipe, lake, folder, machine=Machine("cpu"), say=lambda _: None)


def test_every_score_of_a_run_on_transductive_labels_says_so_and_so_do_its_own_pupils(
    lake: Lake, run: Run, tmp_path: Path
) -> None:
    label(run, lake, transductive=True)
    student = student_of(run, lake, tmp_path / "student", "teacher-toy")
    assert "labels/teacher-toy" in json.loads((student.path / "facts.json").read_text())["transductive"][0]
    scores = evaluate(student, lake, device="cpu")
    assert next(scores.lines()).startswith("TRANSDUCTIVE: toy labels/teacher-toy")
    assert student.scores is not None
    assert student.scores["transductive"] == list(scores.transductive) == student.facts.transductive
    label(student, lake)
    assert "transductive" in lake.layer("toy", "labels/teacher-student").facts.extra


def test_a_rule_over_transductive_labels_is_no_cleaner(lake: Lake, run: Run) -> None:
    label(run, lake, transductive=True)
    rule = Rule(relatedness("du2014"), AU_SPACES["fbn17"])
    co_annotate(lake, "toy", Settings(rule, sources=("human", "teacher-toy")))
    recipe = run.recipe.replace({"sources": ["human", "co-du2014"]})
    assert "labels/teacher-toy" in why_transductive(recipe, lake)[0]


def test_scores_of_a_run_on_labels_of_training_samples_say_nothing(lake: Lake, run: Run, tmp_path: Path) -> None:
    label(run, lake)
    student = student_of(run, lake, tmp_path / "student", "teacher-toy")
    assert student.facts.transductive == []
    assert not any("TRANSDUCTIVE" in line for line in evaluate(student, lake, device="cpu").lines())


def other_protocol(lake: Lake) -> None:
    """Another protocol, which reports what the official one trains on."""
    table = lake.read("toy", "protocols/official")
    roles = pa.array(["test" if i < 20 else "val" if i < 40 else "train" for i in range(table.num_rows)])
    table = table.set_column(table.column_names.index("role"), "role", roles)
    with lake.publish("toy", command="test") as step:
        step.write("protocols", "other", table, LayerFacts(truth=["human"]), ["samples"])


def test_a_teacher_that_another_protocol_trained_may_have_seen_what_is_scored_and_scores_say_so(
    lake: Lake, run: Run
) -> None:
    other_protocol(lake)
    label(run, lake)
    same = run.recipe.replace({"sources": ["human", "teacher-toy"]})
    assert why_transductive(same, lake) == []
    (reason,) = why_transductive(same.replace({"protocol.name": "other"}), lake)
    assert "teacher toy was trained under protocol official of toy" in reason
    (reason,) = why_transductive(same.replace({"protocol.report": "val", "selection.role": "test"}), lake)
    assert "may have seen" in reason


def test_scores_under_another_protocol_ask_what_the_teachers_have_seen_and_their_teachers(
    lake: Lake, run: Run, tmp_path: Path
) -> None:
    """The student itself has seen none of what the other protocol scores; its teacher was trained on it."""
    label(run, lake)
    thinned = {"datasets": [{"name": "toy", "where": "sample_id >= 'toy/00040'"}]}
    student = student_of(run, lake, tmp_path / "student", "teacher-toy", **thinned)
    label(student, lake, sources=("human",))
    pupil = student_of(run, lake, tmp_path / "pupil", "teacher-student", **thinned)
    table = lake.read("toy", "protocols/official")
    roles = pa.array(["test" if i < 40 else "ignore" for i in range(table.num_rows)])
    with lake.publish("toy", command="test") as step:
        other = table.set_column(table.column_names.index("role"), "role", roles)
        step.write("protocols", "other", other, LayerFacts(truth=["human"]), ["samples"])
    for taught, through in ((student, "teacher-toy"), (pupil, "teacher-student")):
        scores = evaluate(taught, lake, protocol="other", device="cpu")
        assert any(f"labels/{through}: teacher" in line for line in scores.transductive)
        assert any("teacher toy was trained under protocol official" in line for line in scores.transductive)
        assert evaluate(taught, lake, device="cpu").transductive == ()


def test_a_dataset_without_a_protocol_is_labelled_whole_if_that_is_asked_for(lake: Lake, run: Run) -> None:
    with lake.publish("toy", command="test") as step:
        step.drop("protocols/official")
    assert label(run, lake, transductive=True, calibrated=False).candidates == 120


def test_what_any_of_several_teachers_reports_is_left_alone(lake: Lake, run: Run, tmp_path: Path) -> None:
    other_protocol(lake)
    twin = shutil.copytree(run.path, tmp_path / "twin")
    (twin / "recipe.yaml").write_text(run.recipe.replace({"protocol.name": "other"}).to_yaml())
    pair = [Teacher(run, lake, "cpu"), Teacher(Run(twin), lake, "cpu")]
    assert pseudo_label(pair, "toy", Request(calibrated=False)).candidates == 40


def test_a_layer_does_not_take_its_own_labels_for_known(lake: Lake, run: Run) -> None:
    label(run, lake, sources=("human",))
    rows = lake.layer("toy", "labels/teacher-toy").rows
    for _ in range(2):
        label(run, lake, sources=("human", "teacher-toy"))
        layer = lake.layer("toy", "labels/teacher-toy")
        assert (layer.rows, layer.stale) == (rows, "")


def test_stale_labels_are_not_taken_for_unknown(lake: Lake) -> None:
    samples = lake.read("toy", "samples")
    with lake.publish("toy", command="test") as step:
        step.write("samples", "", samples, LayerFacts(fingerprint="other"))
    with pytest.raises(StaleLayerError):
        known_layers(lake, "toy", ["human"], "teacher-toy")


def test_every_option_that_changes_a_label_is_in_the_command_and_in_the_fingerprint(lake: Lake, run: Run) -> None:
    options: list[dict[str, object]] = [
        {},
        {"rule": TeacherRule(weight=0.5)},
        {"rule": TeacherRule("hard", 0.25)},
        {"tasks": ("va", "au")},
        {"rule": TeacherRule("release_exact"), "calibrated": False},
        {"tuned_cuts": True},
        {"protocols": ("official",)},
    ]
    seen = {}
    for asked in options:
        label(run, lake, **asked)
        facts = lake.layer("toy", "labels/teacher-toy").facts
        seen[facts.fingerprint] = facts.command
    assert list(seen.values()) == [
        "affect pseudo-label toy --teacher toy",
        "affect pseudo-label toy --teacher toy --weight 0.5",
        "affect pseudo-label toy --teacher toy --mode hard --min-confidence 0.25",
        "affect pseudo-label toy --teacher toy --tasks va,au",
        "affect pseudo-label toy --teacher toy --mode release_exact --no-calibration",
        "affect pseudo-label toy --teacher toy --tuned-cuts",
        "affect pseudo-label toy --teacher toy --protocol official",
    ]


def test_release_exact_cuts_what_the_network_said_and_not_what_calibration_made_of_it(lake: Lake, run: Run) -> None:
    words = ["--lake", str(lake.home), "pseudo-label", "toy", "--teacher", str(run.path), "--device", "cpu"]
    assert command([*words, "--mode", "release_exact"]) == 0
    facts = lake.layer("toy", "labels/teacher-toy").facts
    assert facts.command.endswith("--mode release_exact --no-calibration")
    assert not (run.path / CALIBRATION).exists()


def test_a_name_that_no_layer_can_have_is_refused_before_anything_is_predicted(lake: Lake, run: Run) -> None:
    with pytest.raises(LakeError, match="label source"):
        label(run, lake, name="Mine")
    assert not (lake.cache / "predictions").exists()


def test_cuts_of_one_teacher_do_not_cut_the_mean_of_two(lake: Lake, run: Run, tmp_path: Path) -> None:
    twin = Run(shutil.copytree(run.path, tmp_path / "twin"))
    with pytest.raises(RunError, match="mean of several"):
        pseudo_label([Teacher(run, lake, "cpu"), Teacher(twin, lake, "cpu")], "toy", Request(tuned_cuts=True))
    with pytest.raises(RunError, match="calibrated"):
        label(run, lake, tuned_cuts=True, calibrated=False)


def test_a_teacher_is_calibrated_only_on_samples_that_still_choose_its_epoch(lake: Lake, run: Run) -> None:
    assert Teacher(run, lake, "cpu").calibration.tasks["expression"].cells > 0
    table = lake.read("toy", "protocols/official")
    turned = pc.if_else(pc.equal(table["role"], "val"), "test", table["role"])
    with lake.publish("toy", command="test") as step:
        turned_table = table.set_column(table.column_names.index("role"), "role", turned)
        step.write("protocols", "official", turned_table, LayerFacts(truth=["human"]), ["samples"])
    with pytest.raises(RunError, match="cannot be calibrated"):
        _ = Teacher(run, lake, "cpu").calibration


def test_a_dataset_without_a_protocol_is_refused(lake: Lake, run: Run) -> None:
    with lake.publish("toy", command="test") as step:
        step.drop("protocols/official")
    with pytest.raises(ProtocolError, match="no protocol"):
        label(run, lake)


def test_predictions_are_made_once(lake: Lake, run: Run) -> None:
    assert label(run, lake).predicted == 80
    first = digest(lake)
    assert label(run, lake).predicted == 0
    assert digest(lake) == first


def test_a_teacher_that_needs_more_memory_than_there_is_says_so(
    lake: Lake, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starving(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("trainer.teacher.predict", starving)
    with pytest.raises(RunError, match="room for 256 pictures together on cpu"):
        label(run, lake)
    assert not lake.has("toy", "labels/teacher-toy")


def test_new_samples_cost_only_themselves_and_the_others_keep_their_labels(lake: Lake, run: Run) -> None:
    label(run, lake, calibrated=False)
    before = lake.read("toy", "labels/teacher-toy").to_pylist()
    larger = gappy(126)
    larger.role = np.concatenate([gappy().role, np.repeat("train", 6)])
    larger.publish(lake)
    summary = label(run, lake, calibrated=False)
    # No faces layer hashes these pixels across the two: the toy hashes each picture by itself.
    assert summary.predicted == 6
    after = {row["sample_id"]: row for row in lake.read("toy", "labels/teacher-toy").to_pylist()}
    assert all(after[row["sample_id"]] == row for row in before)


def test_shards_together_give_the_bytes_of_one_run(lake: Lake, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.teacher.CHUNK", 16)
    whole = lake.cache / "predictions"
    label(run, lake)
    wanted = digest(lake)
    shutil.rmtree(whole)
    for i in (1, 2, 3):
        summary = label(run, lake, shard=(i, 3))
        assert not summary.published
    assert label(run, lake).predicted == 0
    assert digest(lake) == wanted


def test_labels_do_not_depend_on_how_many_are_held_at_once(
    lake: Lake, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.teacher.CHUNK", 16)
    found = []
    for piece in (1 << 15, 80, 7, 1):
        monkeypatch.setattr("trainer.pseudo.PIECE", piece)
        summary = label(run, lake)
        found.append((digest(lake), summary.labelled))
    assert found[1:] == found[:1] * 3


def test_a_ray_cluster_gives_the_same_bytes_and_predicts_only_what_is_missing(
    lake: Lake, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'affectdata[ray]'")
    monkeypatch.setattr("trainer.teacher.CHUNK", 32)
    other = Lake(shutil.copytree(lake.home, tmp_path / "other", symlinks=True))
    label(run, other)
    local = {"address": "local", "num_cpus": 1}  # and not a cluster that runs on this machine already
    ray.init(**local, object_store_memory=80 * 2**20, include_dashboard=False, log_to_driver=False)
    try:
        assert label(run, lake, engine="ray").predicted == 80
        assert label(run, lake, engine="ray").predicted == 0
        assert digest(lake) == digest(other)
        # A refusal of a task is the same refusal here.
        twin = shutil.copytree(run.path, tmp_path / "twin")
        with_half_its_weights(twin)
        with pytest.raises(RunError, match="do not load"):
            label(Run(twin), lake, engine="ray")
    finally:
        ray.shutdown()


def test_an_engine_that_is_none_and_a_shard_of_what_ray_splits_are_refused(lake: Lake, run: Run) -> None:
    with pytest.raises(UnknownNameError, match="engine"):
        label(run, lake, engine="rays")
    with pytest.raises(AffectError, match="--shard splits by hand"):
        label(run, lake, engine="ray", shard=(1, 2))


REACHED = [name for name in POINTS if not name.startswith(("chunk", "manifest"))]
"""The named points that pseudo-labelling passes: all but those of align and of the manifest's cache."""


def label_in_small_parts(lake: Path, run: Path) -> None:
    """What a killed process does."""
    teaching.CHUNK = 16
    label(Run(run), Lake(lake), calibrated=False)


def label_begun(lake: Lake, run: Run, point: str = "") -> BaseProcess:
    return started(label_in_small_parts, lake.home, run.path, AFFECT_KILL_AT=point)


def published(lake: Lake) -> dict[str, bytes]:
    """Bytes of everything that a reader of the lake can see."""
    folder = (lake.home / "toy").resolve()
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@dataclass(frozen=True)
class Uninterrupted:
    """What is there before and after a run that nobody kills, and how long it takes."""

    before: dict[str, bytes]
    after: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def uninterrupted(
    trained: tuple[Path, Path],
    forks: None,  # noqa: ARG001 - starts processes
    tmp_path_factory: pytest.TempPathFactory,
) -> Uninterrupted:
    tmp_path = tmp_path_factory.mktemp("uninterrupted")
    other = Lake(shutil.copytree(trained[0], tmp_path / "uninterrupted", symlinks=True))
    before, run = published(other), Run(trained[1])
    assert ended(label_begun(Lake(shutil.copytree(trained[0], tmp_path / "warm", symlinks=True)), run)) == 0
    begun = time.monotonic()
    assert ended(label_begun(other, run)) == 0
    return Uninterrupted(before, published(other), time.monotonic() - begun)


def check_after_kill(lake: Lake, run: Run, uninterrupted: Uninterrupted) -> None:
    """It opens, holds the old generation or the new one, and the same command again ends as if nothing had been."""
    opened = Lake(lake.home)
    assert opened.datasets() == ["toy"]
    assert not any(layer.stale for layer in opened.layers())
    assert published(opened) in (uninterrupted.before, uninterrupted.after)
    label(run, opened, calibrated=False)
    assert published(Lake(lake.home)) == uninterrupted.after


def test_a_run_killed_at_any_named_point_goes_on_and_ends_with_the_same_bytes(
    trained: tuple[Path, Path], uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    run, dead = Run(trained[1]), []
    for point in POINTS:
        lake = Lake(shutil.copytree(trained[0], tmp_path / point, symlinks=True))
        code = ended(label_begun(lake, run, point))
        assert code in (0, -signal.SIGKILL), point
        if code:
            dead.append(point)
            check_after_kill(lake, run, uninterrupted)
        else:
            assert published(lake) == uninterrupted.after
    assert dead == REACHED


def test_a_run_killed_at_a_random_moment_goes_on_and_ends_with_the_same_bytes(
    trained: tuple[Path, Path], uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    """Twenty are in benchmarks/kills_of_teachers.py."""
    run, draw = Run(trained[1]), random.Random(0)
    for moment in range(4):
        lake = Lake(shutil.copytree(trained[0], tmp_path / f"{moment}", symlinks=True))
        process = label_begun(lake, run)
        process.join(draw.uniform(0, uninterrupted.seconds))
        process.kill()
        assert ended(process) in (0, -signal.SIGKILL)
        check_after_kill(lake, run, uninterrupted)


class Bomb:
    """Runs code where somebody unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def without_weights(run: Path) -> None:
    (run / WEIGHTS).unlink()


def with_half_its_weights(run: Path) -> None:
    whole = (run / WEIGHTS).read_bytes()
    (run / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def with_a_pickle(run: Path) -> None:
    (run / WEIGHTS).write_bytes(pickle.dumps(Bomb(run / "exploded")))


def with_a_torch_checkpoint(run: Path) -> None:
    torch.save({"state_dict": Bomb(run / "exploded")}, run / WEIGHTS)


def with_weights_of_other_tasks(run: Path) -> None:
    weights = load_file(run / WEIGHTS)
    save_file({name: value for name, value in weights.items() if "landmarks" not in name}, run / WEIGHTS)


def with_weights_that_are_no_numbers(run: Path) -> None:
    weights = load_file(run / WEIGHTS)
    save_file({n: v * float("nan") if v.is_floating_point() else v for n, v in weights.items()}, run / WEIGHTS)


def with_other_input(run: Path) -> None:
    facts = json.loads((run / "facts.json").read_text()) | {"crop": [48, 48, 1]}
    (run / "facts.json").write_text(json.dumps(facts))


def with_nothing_to_teach(run: Path) -> None:
    tasks = {"tasks": {"compound": {}}}
    (run / "recipe.yaml").write_text(Run(run).recipe.replace(tasks).to_yaml())


def still_training(run: Path) -> None:
    facts = json.loads((run / "facts.json").read_text()) | {"state": "training"}
    (run / "facts.json").write_text(json.dumps(facts))


BAD_TEACHERS = {
    without_weights: "has no weights",
    with_half_its_weights: "do not load",
    with_a_pickle: "do not load",
    with_a_torch_checkpoint: "do not load",
    with_weights_of_other_tasks: "do not load",
    with_weights_that_are_no_numbers: "no numbers",
    with_other_input: "takes other crops",
    with_nothing_to_teach: "nothing to teach",
    still_training: "is not finished",
}


@pytest.mark.parametrize("bad", BAD_TEACHERS, ids=lambda bad: bad.__name__)
def test_a_bad_teacher_is_one_refusal_and_no_label(
    lake: Lake, run: Run, bad: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    bad(run.path)
    words = ["--lake", str(lake.home), "pseudo-label", "toy", "--teacher", str(run.path), "--device", "cpu"]
    assert command([*words, "--no-calibration"]) == RunError.exit_code
    said = capfd.readouterr()
    assert BAD_TEACHERS[bad] in said.err
    assert "found:" in said.err
    assert "Traceback" not in said.err
    assert not lake.has("toy", "labels/teacher-toy")
    assert not list((lake.cache / "predictions").rglob("*.parquet"))
    assert not (run.path / "exploded").exists()


def test_a_task_that_the_teacher_lacks_is_refused_with_those_it_has(lake: Lake, run: Run) -> None:
    with pytest.raises(UnknownNameError, match="compound") as error:
        label(run, lake, tasks=("compound",))
    assert "expression, va, au, landmarks" in error.value.expected


def test_two_teachers_are_averaged_and_must_fit(lake: Lake, run: Run, tmp_path: Path) -> None:
    twin = Run(shutil.copytree(run.path, tmp_path / "twin"))
    pair = [Teacher(run, lake, "cpu"), Teacher(twin, lake, "cpu")]
    summary = pseudo_label(pair, "toy", Request(calibrated=False))
    assert summary.source == "teacher-toy-twin"
    label(run, lake, calibrated=False)
    columns = [c for c in lake.read("toy", "labels/teacher-toy").column_names if not c.startswith("landmarks")]
    one, two = (lake.read("toy", f"labels/{source}", columns) for source in ("teacher-toy", summary.source))
    assert one.equals(two)
    (twin.path / "recipe.yaml").write_text(twin.recipe.replace({"tasks.expression.space": "expr8-other"}).to_yaml())
    with pytest.raises(RunError, match="expression space"):
        pseudo_label([pair[0], Teacher(Run(twin.path), lake, "cpu")], "toy", Request())


def test_a_face_that_is_none_gets_no_label(lake: Lake, run: Run) -> None:
    samples = lake.read("toy", "samples")
    status = pa.array(["not_a_face" if i < 10 else None for i in range(samples.num_rows)], pa.string())
    at = samples.column_names.index("face_status")
    with lake.publish("toy", command="test") as step:
        facts = LayerFacts(fingerprint=lake.layer("toy", "samples").facts.fingerprint)
        step.write("samples", "", samples.set_column(at, "face_status", status), facts)
    summary = label(run, lake)
    assert summary.candidates == 70


@pytest.mark.parametrize(("changes", "found"), [({}, "calibrated probabilities"), ({"tuned_cuts": True}, "tuned cuts")])
def test_labels_as_released_are_refused_of_anything_but_the_run_s_own_probabilities(
    lake: Lake, run: Run, changes: dict[str, object], found: str
) -> None:
    with pytest.raises(RunError, match=f"found: +{found}"):
        label(run, lake, rule=TeacherRule("release_exact"), **changes)
