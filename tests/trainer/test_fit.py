"""Training is deterministic, resumes as if never interrupted, and leaves a whole run or none."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from manifests.errors import RecipeError, RunError, UnknownNameError
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.vocabulary import MENTAL_STATES
from trainer import callbacks, fit
from trainer.data import prepare
from trainer.evaluate import evaluate
from trainer.fit import Machine, train
from trainer.learner import Learner
from trainer.loader import hold_in_memory
from trainer.losses import distribution_matching
from trainer.metrics.result import MetricInputError
from trainer.network import network_for
from trainer.networks.backbone import BackboneSpec, build_backbone
from trainer.optimizer import optimizer_for
from trainer.recipe import Recipe
from trainer.run import FACTS, WEIGHTS, Run, runs
from trainer.sampler import order_for
from trainer.sampling import Share
from trainer.schedule import Length, lr_factor, plateaus, without_better
from trainer.settings import Train

from .conftest import MakeRecipe, Toy

CPU = Machine("cpu")
RICH = {"flip": True, "shift": 0.1, "rotate": 10, "brightness": 0.2, "contrast": 0.2, "erase": 0.3}


class Interrupted(Exception):
    """What a test raises in the middle of training."""


def interrupt_in(monkeypatch: pytest.MonkeyPatch, epoch: int, step: int) -> Callable[[], None]:
    """Make training die in a step of an epoch; the returned function ends that."""
    real = Learner.training_step

    def dying(self: Learner, batch: object, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == epoch and batch_idx == step:
            raise Interrupted
        return real(self, batch, batch_idx)  # type: ignore[arg-type]  # a Batch

    monkeypatch.setattr(Learner, "training_step", dying)
    return lambda: monkeypatch.setattr(Learner, "training_step", real)


def comparable(path: Path) -> pd.DataFrame:
    return pd.read_csv(path / "metrics.csv")


def quiet(_: str) -> None:
    return None


@pytest.mark.usefixtures("drawn")
def test_a_run_learns_and_its_folder_is_whole(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    lines: list[str] = []
    chosen = recipe(train__epochs=10)
    run = train(chosen, toy, run_dir, machine=CPU, say=lines.append)
    assert run.facts.state == "finished"
    assert run.facts.epochs == 10
    assert run.facts.samples == {"train": 64, "selection": 16, "without_crop": 0, "unlabelled": 0}
    assert run.facts.fingerprints["toy"].keys() == {
        "samples", "labels/human", "faces/whole", "protocols/official", "crops/resize32",
    }  # fmt: skip
    assert torch.__version__.startswith(run.facts.versions["torch"])
    assert str(run_dir) not in (run_dir / FACTS).read_text()
    assert run.metrics["score"].max() > 0.6
    assert run.metrics["loss"].iloc[-1] < 0.6 * run.metrics["loss"].iloc[0]
    assert run.facts.best_score == pytest.approx(run.metrics["score"].max())
    assert run.metrics["score"].idxmax() == run.facts.best_epoch
    assert run.recipe == chosen
    names = {p.name for p in run_dir.iterdir()}
    assert {"recipe.yaml", "facts.json", "metrics.csv", "model.safetensors", "last.ckpt", "curves.png"} <= names
    assert (run_dir / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert any((run_dir / "tensorboard").iterdir())
    assert lines[0] == "toy: 0 of 64 training samples dropped: they share something with a scored sample (none)"
    assert sum(line.startswith("epoch ") for line in lines) == 10
    assert [line.state for line in runs(run_dir.parent)] == ["finished"]


def test_two_runs_of_one_seed_are_one(toy: Lake, recipe: MakeRecipe, tmp_path: Path) -> None:
    chosen = recipe(train__augment=RICH)
    for name in ("a", "b"):
        train(chosen, toy, tmp_path / name, machine=CPU, say=quiet)
    train(recipe(train__augment=RICH, train__seed=2), toy, tmp_path / "c", machine=CPU, say=quiet)
    assert comparable(tmp_path / "a").equals(comparable(tmp_path / "b"))
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert not comparable(tmp_path / "a").equals(comparable(tmp_path / "c"))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_resumed_run_equals_an_unbroken_one(
    toy: Lake, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema: float
) -> None:
    dropout = {"name": "test_resnet", "in_chans": 1, "kwargs": {"drop_rate": 0.3}}
    chosen = recipe(train__epochs=4, train__augment=RICH, train__ema=ema, backbone=dropout)
    train(chosen, toy, tmp_path / "whole", machine=CPU, say=quiet)
    revive = interrupt_in(monkeypatch, epoch=2, step=1)
    with pytest.raises(Interrupted):
        train(chosen, toy, tmp_path / "broken", machine=CPU, say=quiet)
    revive()
    assert Run(tmp_path / "broken", finished=False).facts.state == "training"
    with pytest.raises(RunError, match="not finished"):
        Run(tmp_path / "broken")
    assert [line.state for line in runs(tmp_path)] == ["training", "finished"]
    train(chosen, toy, tmp_path / "broken", resume=True, machine=CPU, say=quiet)
    assert comparable(tmp_path / "whole").equals(comparable(tmp_path / "broken"))
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (tmp_path / "broken/model.safetensors").read_bytes()
    one, other = (Run(tmp_path / name).facts for name in ("whole", "broken"))
    assert (one.best_epoch, one.best_score, one.epochs) == (other.best_epoch, other.best_score, other.epochs)


def test_a_kill_before_the_first_epoch_resumes_from_the_start(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revive = interrupt_in(monkeypatch, epoch=0, step=2)
    with pytest.raises(Interrupted):
        train(recipe(), toy, run_dir, machine=CPU, say=quiet)
    revive()
    assert train(recipe(), toy, run_dir, resume=True, machine=CPU, say=quiet).facts.epochs == 2


def test_the_resume_state_loads_without_unpickling_objects(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    train(recipe(), toy, run_dir, machine=CPU, say=quiet)
    state = torch.load(run_dir / "last.ckpt", weights_only=True)
    assert state["global_step"] == 8


def test_a_folder_is_never_trained_over(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    with pytest.raises(RunError, match="no run to resume"):
        train(recipe(), toy, run_dir, resume=True, machine=CPU, say=quiet)
    run_dir.mkdir(parents=True)
    (run_dir / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="other files"):
        train(recipe(), toy, run_dir, machine=CPU, say=quiet)
    (run_dir / "thesis.tex").unlink()
    train(recipe(), toy, run_dir, machine=CPU, say=quiet)
    with pytest.raises(RunError, match="there already"):
        train(recipe(), toy, run_dir, machine=CPU, say=quiet)
    facts = json.loads((run_dir / FACTS).read_text())
    (run_dir / FACTS).write_text(json.dumps(facts | {"state": "training"}))
    with pytest.raises(RunError, match=r"another recipe\n.*found: +train.lr 0.003 -> 0.1"):
        train(recipe(train__lr=0.1), toy, run_dir, resume=True, machine=CPU, say=quiet)
    labels = toy.read("toy", "labels/human")
    with toy.publish("toy", command="test") as step:
        step.write("labels", "human", labels, LayerFacts(rule="corrected"), parents=["samples"])
    with pytest.raises(RunError, match="labels/human"):
        train(recipe(), toy, run_dir, resume=True, machine=CPU, say=quiet)


def test_a_finished_run_is_not_resumed(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    train(recipe(train__epochs=1), toy, run_dir, machine=CPU, say=quiet)
    before = {p.name: p.read_bytes() for p in run_dir.iterdir() if p.is_file()}
    with pytest.raises(RunError, match="nothing to resume"):
        train(recipe(train__epochs=1), toy, run_dir, resume=True, machine=CPU, say=quiet)
    assert {p.name: p.read_bytes() for p in run_dir.iterdir() if p.is_file()} == before


def test_a_run_that_its_time_ended_is_finished_and_says_what_would_train_longer(
    toy: Lake, recipe: MakeRecipe, run_dir: Path
) -> None:
    train(recipe(train__max_minutes=1e-6), toy, run_dir, machine=CPU, say=quiet)
    with pytest.raises(RunError, match=r"within max_minutes 1e-06\n.*another --run .* longer --max-minutes if"):
        train(recipe(), toy, run_dir, resume=True, machine=CPU, say=quiet)


def test_a_stopped_run_says_how_far_it_came_and_how_to_go_on(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Learner.training_step

    def stopped(self: Learner, batch: object, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return real(self, batch, batch_idx)  # type: ignore[arg-type]  # a Batch

    monkeypatch.setattr(Learner, "training_step", stopped)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), toy, run_dir, machine=CPU, say=quiet)
    assert signal.getsignal(signal.SIGINT) is before
    assert Run(run_dir, finished=False).facts.epochs == 1
    with pytest.raises(RunError, match="--run toy --resume"):
        Run(run_dir)


def test_a_damaged_run_does_not_hide_the_others(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    train(recipe(train__epochs=1), toy, run_dir, machine=CPU, say=quiet)
    broken = run_dir.with_name("broken")
    broken.mkdir()
    (broken / FACTS).write_text("{")
    assert [(line.name, line.state) for line in runs(run_dir.parent)] == [("broken", "unreadable"), ("toy", "finished")]


def test_pretrained_weights_are_recorded_and_held_to(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "start.safetensors"
    spec = BackboneSpec("test_resnet", in_chans=1)
    save_file(build_backbone(spec).network.state_dict(), file)
    chosen = recipe(backbone__pretrained=str(file))
    revive = interrupt_in(monkeypatch, epoch=1, step=0)
    with pytest.raises(Interrupted):
        train(chosen, toy, run_dir, machine=CPU, say=quiet)
    revive()
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert Run(run_dir, finished=False).facts.weights == {"source": file.name, "sha256": sha256}
    save_file(build_backbone(spec).network.state_dict(), file)
    with pytest.raises(RunError, match="other pretrained weights"):
        train(chosen, toy, run_dir, resume=True, machine=CPU, say=quiet)


def test_time_ends_a_run_cleanly(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    run = train(recipe(train__epochs=10_000, train__max_minutes=0.03), toy, run_dir, machine=CPU, say=quiet)
    assert run.facts.state == "finished"
    assert 1 <= run.facts.epochs < 1000
    assert run.facts.minutes < 0.2
    assert run.metrics["lr"].iloc[-1] < 0.1 * run.metrics["lr"].max()  # the schedule followed the clock to its end


@pytest.mark.parametrize(("batch", "found"), [(16, "losses: "), (64, "predictions that are no numbers: ")])
def test_losses_or_predictions_that_are_no_numbers_end_the_run_before_anything_is_kept(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, monkeypatch: pytest.MonkeyPatch, batch: int, found: str
) -> None:
    monkeypatch.setattr(callbacks, "_CHECK_EVERY", 1)
    wild = recipe(train={"lr": 1e38, "optimizer": "sgd", "warmup": 0, "epochs": 1, "batch": batch})
    with pytest.raises(RunError, match=rf"diverged in epoch 1, [\s\S]*{found}[\s\S]*next:     affect train .* --set"):
        train(wild, toy, run_dir, machine=CPU, say=quiet)
    assert json.loads((run_dir / FACTS).read_text())["state"] == "training"
    assert not (run_dir / WEIGHTS).exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"train__optimizer": "sgd"},
        {"train__optimizer": "adam"},
        {"train__precision": "bf16-mixed"},
        {"train__clip": 1.0},
        {"train__ema": 0.5},
    ],
)
def test_every_way_to_optimise_works(toy: Lake, recipe: MakeRecipe, run_dir: Path, changes: dict[str, object]) -> None:
    run = train(recipe(train__epochs=1, **changes), toy, run_dir, machine=CPU, say=quiet)
    assert torch.isfinite(torch.tensor(run.metrics["loss"].iloc[0]))


def test_batches_too_small_for_a_loss_are_counted(lake: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    half = Toy()
    for axis in ("valence", "arousal"):
        half.labels["human"][axis][::2] = [None] * (half.count // 2)
    said: list[str] = []
    va = {"loss": "ccc", "options": {"minimum": 8}}
    small = recipe(tasks__va=va, train__batch=16, train__epochs=1)
    train(small, half.publish(lake), run_dir, machine=CPU, say=said.append)
    counted = [re.match(r"va: (\d) of 4 batches have the 8 labelled rows", line) for line in said]
    assert [int(found[1]) for found in counted if found] in ([1], [2], [3]), said


def test_any_metric_that_the_tasks_give_chooses_the_epoch(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    tasks = {"expression": {}, "va": {}, "au": {}, "landmarks": {}}
    names = ["abaw2_va", "abaw2_expr", "abaw2_au[affwild2_12]", "au_f1[disfa8]", "nme_ip"]
    run = train(recipe(tasks=tasks, selection__metrics=names), toy, run_dir, machine=CPU, say=quiet)
    rows = run.metrics
    assert rows["score"].to_numpy() == pytest.approx((rows[names[:4]].sum(axis=1) - rows["nme_ip"]).to_numpy())
    assert rows["abaw2_expr"].to_numpy() == pytest.approx((0.67 * rows["macro_f1"] + 0.33 * rows["top1"]).to_numpy())


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("compound_uar", UnknownNameError, "unknown selection metric"),
        ("abaw_expr", MetricInputError, "other"),
        ("au_f1[emotionet12]", MetricInputError, "needs au43 too"),
        ("au_trivial_acc", RecipeError, "depends on the prediction"),
        ("au_trivial_acc[disfa8]", RecipeError, "depends on the prediction"),
        ("ccc_valence_video_mean", RecipeError, "together"),
    ],
)
def test_a_metric_that_cannot_choose_an_epoch_is_refused_before_the_first_batch(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, name: str, error: type[Exception], said: str
) -> None:
    chosen = recipe(tasks={"expression": {}, "va": {}, "au": {}}, selection__metrics=["uar", name])
    with pytest.raises(error, match=said):
        train(chosen, toy, run_dir, machine=CPU, say=quiet)
    assert not run_dir.exists()


def test_the_line_of_an_epoch_leaves_out_what_the_selection_samples_have_no_truth_for(
    lake: Lake, recipe: MakeRecipe, run_dir: Path
) -> None:
    unseen = Toy()
    points = unseen.labels["human"]["landmarks"]
    unseen.labels["human"]["landmarks"] = [
        p if r == "train" else None for p, r in zip(points, unseen.role, strict=True)
    ]
    said: list[str] = []
    train(recipe(train__epochs=1), unseen.publish(lake), run_dir, machine=CPU, say=said.append)
    [line] = [line for line in said if line.startswith("epoch")]
    assert "p_va" in line
    assert "nme" not in line


def test_a_coupling_computes_in_float32_where_the_network_does_not(
    toy: Lake, recipe: MakeRecipe, run_dir: Path
) -> None:
    coupling = {"name": "distribution_matching", "options": {"gradient": "symmetric"}}
    sure = recipe(train={"epochs": 1, "precision": "bf16-mixed", "lr": 0.001, "batch": 16}, couplings=[coupling])
    inside: list[torch.dtype] = []
    implied = distribution_matching.implied_aus

    def looked_at(*given: Any, **options: Any) -> torch.Tensor:
        inside.append((q := implied(*given, **options)).dtype)
        return q

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution_matching, "implied_aus", looked_at)
        train(sure, toy, run_dir, machine=CPU, say=quiet)
    assert set(inside) == {torch.float32}


def test_balanced_classes_need_classes(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    train(recipe(train__epochs=1, train__sampler="class_balanced"), toy, run_dir, machine=CPU, say=quiet)
    chosen = recipe(tasks={"va": {}}, selection={"metrics": ["p_va"]}, train__sampler="class_balanced")
    with pytest.raises(RecipeError, match="class_balanced"):
        train(chosen, toy, run_dir / "b", machine=CPU, say=quiet)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selection__metrics": ["uarr"]}, "did you mean uar"),
        ({"selection__metrics": ["au_trivial_acc"]}, "depends on the prediction"),
        ({"tasks__va__loss": "bce"}, "one for continuous"),
        ({"tasks__va__loss": "cccc"}, "did you mean ccc"),
        ({"backbone__name": "resnet1000"}, "unknown backbone"),
        ({"train__precision": "16-mixed"}, "CPU"),
        ({"tasks__va__options": {"minimum": 17}, "train__batch": 16}, "va needs 17 labelled rows in a batch"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_the_first_batch(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises((RecipeError, UnknownNameError), match=message):
        train(recipe(**changes), toy, run_dir, machine=CPU, say=quiet)
    assert not run_dir.exists()


@pytest.mark.parametrize("name", ["gpu", "tpu"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="auto, cpu or cuda"):
        _ = Machine(name).accelerator


@pytest.mark.parametrize(("schedule", "end"), [("cosine", 0.0), ("onecycle", 0.0), ("constant", 1.0)])
def test_the_learning_rate_rises_then_follows_its_schedule(schedule: str, end: float) -> None:
    settings = Train(schedule=schedule, warmup=0.2)  # type: ignore[arg-type]  # a parametrised literal
    factors = [lr_factor(settings, step / 100, Length(100, 10)) for step in range(101)]
    assert factors[0] < 0.01
    assert factors[20] == pytest.approx(1)
    assert factors[-1] == pytest.approx(end, abs=1e-6)
    assert factors[:21] == sorted(factors[:21])
    assert factors[20:] == sorted(factors[20:], reverse=True)


@pytest.mark.parametrize(
    ("schedule", "decay", "expected"),
    [
        ("step", {"factor": 0.5, "every_steps": 30}, [1, 1, 0.5, 0.25, 0.125]),
        ("step", {"factor": 0.5, "every_epochs": 3}, [1, 1, 0.5, 0.25, 0.125]),
        ("step", {"factor": 0.1, "at": [0.3, 0.6]}, [1, 1, 0.1, 0.01, 0.01]),
        ("exponential", {"factor": 0.5, "every_steps": 30}, [1, 0.5 ** (29 / 30), 0.5, 0.25, 0.125]),
        ("plateau", {"factor": 0.5, "patience": 3}, [1, 1, 1, 1, 1]),
    ],
)
def test_decays_fall_on_their_steps(schedule: str, decay: dict[str, object], expected: list[float]) -> None:
    settings = Train.model_validate({"schedule": schedule, "decay": decay, "warmup": 0})
    found = [lr_factor(settings, step / 100, Length(100, 10)) for step in (0, 29, 30, 60, 90)]
    assert found == pytest.approx(expected)


def test_a_plateau_is_counted_from_the_last_better_epoch() -> None:
    assert [plateaus(scores, 2) for scores in ([], [1], [1, 1, 1], [1, 1, 2, 2, 2], [1] * 6)] == [0, 0, 1, 1, 2]
    assert [without_better(scores) for scores in ([], [1], [2, 1, 2], [1, 2])] == [0, 0, 2, 0]


def test_steps_patience_and_plateaus_end_and_slow_a_run_and_survive_a_kill(
    toy: Lake, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(recipe(train__steps=6), toy, tmp_path / "steps", machine=CPU, say=quiet).metrics.shape[0] == 2
    state = torch.load(tmp_path / "steps/last.ckpt", weights_only=True)
    assert state["global_step"] == 6  # of 4 in an epoch
    stuck = {"lr": 1e-12, "warmup": 0, "schedule": "plateau", "decay": {"factor": 0.5, "patience": 1}, "batch": 16}
    chosen = recipe(train=stuck | {"epochs": 9, "patience": 2})
    run = train(chosen, toy, tmp_path / "stuck", machine=CPU, say=quiet)
    assert run.metrics["lr"].tolist() == [1e-12, 1e-12, 5e-13]
    assert (run.facts.state, run.facts.best_epoch) == ("finished", 0)
    with monkeypatch.context() as patch:  # killed after the last epoch, before the end was written
        patch.setattr(fit, "_finish", lambda *_: (_ for _ in ()).throw(Interrupted))
        with pytest.raises(Interrupted):
            train(chosen, toy, tmp_path / "killed", machine=CPU, say=quiet)
    train(chosen, toy, tmp_path / "killed", resume=True, machine=CPU, say=quiet)
    assert comparable(tmp_path / "killed").equals(comparable(tmp_path / "stuck"))


def test_groups_of_parameters_are_trained_apart(toy: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    named = dict(network_for(recipe(), (32, 32)).named_parameters())
    groups = [{"match": "heads.*", "lr_scale": 10}, {"match": "*.conv1.*", "weight_decay": 0}]
    settings = recipe(train__groups=groups).train
    made = {
        (g["lr_scale"], g["weight_decay"]): g["params"] for g in optimizer_for(settings, named.items()).param_groups
    }
    assert made.keys() == {(10, 0.01), (10, 0), (1, 0.01), (1, 0)}
    assert any(p is named["heads.au.weight"] for p in made[10, 0.01])
    with pytest.raises(RecipeError, match=r"no parameter of its own for 'head\.\*'"):
        train(recipe(train__groups=[{"match": "head.*"}]), toy, run_dir, machine=CPU, say=quiet)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "quota", "quota": {"expression": 8, "au": 4}},
        {"sampler": "aligned", "sets": ["va", "toy"]},
        {"sampler": "alternating"},
        {"sampler": "dataset_balanced", "epoch_share": 0.5},
    ],
)
def test_every_sampler_trains(toy: Lake, recipe: MakeRecipe, run_dir: Path, changes: dict[str, object]) -> None:
    settings = {"epochs": 1, "batch": 16, **changes}
    assert train(recipe(train=settings), toy, run_dir, machine=CPU, say=quiet).facts.state == "finished"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "quota"}, "go together"),
        ({"sets": ["au"]}, "aligned or alternating"),
        ({"sampler": "aligned", "sets": ["aus"]}, "did you mean au"),
        ({"schedule": "step"}, "takes every_steps"),
        ({"schedule": "cosine", "decay": {"every_steps": 3}}, "no period"),
    ],
)
def test_samplers_and_schedules_that_do_not_fit_are_refused(
    toy: Lake, recipe: MakeRecipe, run_dir: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises((RecipeError, UnknownNameError), match=message):
        train(recipe(train=changes), toy, run_dir, machine=CPU, say=quiet)
    assert not run_dir.exists()


def test_compounds_and_mental_states_train_beside_expressions_and_are_scored(
    lake: Lake, recipe: MakeRecipe, run_dir: Path
) -> None:
    toy, classes = Toy(), ("happily_surprised", "sadly_angry", "awed")
    human = toy.labels["human"]
    human["compound"] = [classes[c % 3] if c else None for c in toy.code.tolist()]
    human["mental_state"] = [MENTAL_STATES[c] for c in toy.code.tolist()]
    toy.publish(lake)
    tasks = {
        "expression": {"outputs": "independent", "loss": "bce", "options": {"reduction": "space"}},
        "compound": {"classes": list(classes), "options": {"class_weight": "balanced", "logit_adjustment": 1.0}},
        "mental_state": {},
    }
    metrics = ["uar", "compound_uar", "mental_state_macro_f1"]
    run = train(recipe(tasks=tasks, selection={"metrics": metrics}), lake, run_dir, machine=CPU, say=quiet)
    assert {"loss_compound", "loss_mental_state", *metrics} <= set(run.metrics.columns)
    scores = evaluate(run, lake, device="cpu").datasets[0]
    assert 0 <= scores.value("compound_top1") <= 1
    table = run.predictions("toy", "test").to_pandas()
    assert set(table["compound_predicted"]) <= set(classes)
    assert table["compound"].isna().tolist() == (table["expression"] == "neutral").tolist()
    assert "p_mental_state_thinking" in table


def test_each_dataset_has_its_own_sources_and_selections(lake: Lake, recipe: MakeRecipe) -> None:
    toy = Toy()
    toy.labels["auto"] = toy.labels.pop("human")
    toy.labels["human"] = {"valence": [0.5] * toy.count}
    toy.publish(lake)
    Toy(seed=5).publish(lake, "other")
    for dataset, name, rows in (("toy", "first", slice(0, 30)), ("other", "bad", slice(0, 10))):
        ids = [i.replace("toy", dataset, 1) for i in toy.ids[rows]]
        with lake.publish(dataset, command="test") as step:
            table = pa.table({"sample_id": ids, "reason": ["test"] * len(ids)})
            step.write("selections", name, table, parents=["samples"])
    datasets = [{"name": "toy", "sources": ["human", "auto"], "only": "first"}, {"name": "other", "exclude": "bad"}]
    chosen = recipe(datasets=datasets, sources=["human"], train__epochs=1)
    prepared = prepare(chosen, lake)
    assert prepared.train.dataset.tolist() == [0] * 30 + [1] * 54
    expression = prepared.train.targets.expression
    assert expression is not None
    assert bool((expression.code >= 0).all())  # of the first dataset from auto
    assert {"labels/auto", "selections/first"} <= prepared.fingerprints["toy"].keys()
    assert "labels/auto" not in prepared.fingerprints["other"]
    with pytest.raises(UnknownNameError, match=r"(?s)did you mean bad.*affect select other --name bed"):
        prepare(recipe(datasets=[datasets[0], {"name": "other", "only": "bed"}]), lake)


def test_colour_and_gray_crops_train_together(lake: Lake, recipe: MakeRecipe, run_dir: Path) -> None:
    Toy().publish(lake)
    Toy(seed=5, channels=3).publish(lake, "colour")
    chosen: Recipe = recipe(datasets=[{"name": "toy"}, {"name": "colour"}], train__epochs=1)
    for channels in (1, 3):
        run = train(
            chosen.replace({"backbone.in_chans": channels}), lake, run_dir / str(channels), machine=CPU, say=quiet
        )
        assert run.facts.crop == [32, 32, 3]
        assert run.facts.samples["train"] == 128


def test_stores_are_held_in_memory_where_all_processes_fit_and_else_shuffled_by_blocks(
    lake: Lake, recipe: MakeRecipe
) -> None:
    Toy().publish(lake)
    samples = prepare(recipe(), lake).train
    assert hold_in_memory(samples.stores)
    assert not hold_in_memory(samples.stores, processes=1 << 40)
    assert order_for(recipe(), samples, Share(blocks=True)).share.blocks
