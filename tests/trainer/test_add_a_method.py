"""The page on adding a method is true: its parts train by its recipe, and mistakes are refused before a batch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import trainer.networks
from manifests.errors import AffectError, RecipeError, UnknownNameError
from manifests.lake import Lake
from trainer.evaluate import evaluate
from trainer.fit import Machine, train
from trainer.network import network_for
from trainer.networks.backbone import BackboneSpec, build_backbone
from trainer.networks.trunk import Trunk
from trainer.recipe import Recipe, parse
from trainer.registry import registered

CPU = Machine("cpu")
PAGE = (Path(__file__).parents[2] / "docs/add-a-method.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def method() -> Recipe:
    """The page's recipe; its parts exist from now on."""
    space: dict[str, Any] = {"__name__": "docs_add_a_method"}
    exec("\n".join(blocks("python")), space)
    test_the_page_keeps.parts = space  # type: ignore[attr-defined]  # classes live as long as somebody holds them
    return parse(yaml.safe_load(blocks("yaml")[0]), "docs/add-a-method.md")


def test_the_page_keeps(method: Recipe, toy: Lake, tmp_path: Path) -> None:
    run = train(method, toy, tmp_path / "run", machine=CPU, say=lambda _: None)
    assert run.metrics["loss_smile"].iloc[0] == 0  # it acts from the second epoch on
    assert 0 < run.metrics["loss_smile"].iloc[1] <= run.metrics["smile_largest"].iloc[1] <= 1
    assert evaluate(run, toy, device="cpu").datasets[0].samples == 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sharing.scheme": "privat-layer"}, "did you mean private-layer"),
        ({"sharing.options": {"widht": 3}}, "width"),
        ({"backbone.kwargs": {"width": "broad"}}, "integer"),
        ({"backbone.stem": "half"}, "stem"),
        ({"backbone.pretrained": True}, "AFFECT_WEIGHTS"),
        ({"couplings": [{"name": "smil"}]}, "did you mean smile"),
        ({"couplings": [{"name": "smile"}, {"name": "smile"}]}, "every coupling once"),
        ({"tasks": {"expression": {}}, "selection.metrics": ["uar"]}, "add au under tasks"),
        ({"tasks.au.loss": "none"}, "nothing trains the task au"),
        ({"tasks.expression.outputs": "independent"}, "one for binary: bce"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_batch(
    method: Recipe, toy: Lake, tmp_path: Path, changes: Mapping[str, object], message: str
) -> None:
    with pytest.raises(AffectError, match=message):
        train(method.replace(changes), toy, tmp_path / "run", machine=CPU, say=lambda _: None)
    assert not (tmp_path / "run").exists()


def test_separate_networks_of_uncoupled_tasks_equal_single_runs(method: Recipe, toy: Lake, tmp_path: Path) -> None:
    both = method.replace({"sharing": {"scheme": "separate"}, "couplings": [], "train.weight_decay": 0})
    alone = both.replace({"tasks": {"au": {"set": "disfa12"}}, "selection.metrics": ["au_f1"]})
    rows = [
        train(r, toy, tmp_path / name, machine=CPU, say=lambda _: None).metrics
        for name, r in (("both", both), ("alone", alone))
    ]
    assert rows[0]["loss_au"].tolist() == rows[1]["loss_au"].tolist()
    assert rows[0]["au_f1"].tolist() == rows[1]["au_f1"].tolist()


def test_a_task_is_computed_on_its_own_rows_and_without_any_gets_a_zero_gradient(method: Recipe) -> None:
    network = network_for(method.replace({"sharing": {"scheme": "separate"}, "couplings": []}), (32, 32))
    pictures = torch.rand(4, 1, 32, 32)
    rows = {"expression": torch.tensor([True, False, False, True]), "au": torch.zeros(4, dtype=torch.bool)}
    outputs = network(pictures, rows)
    assert torch.equal(outputs["expression"].abs().sum(1) > 0, rows["expression"])
    torch.testing.assert_close(outputs["expression"][rows["expression"]], network(pictures)["expression"][[0, 3]])
    (outputs["expression"].sum() + outputs["au"].sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert name.split(".")[1] == "expression" or not parameter.grad.any()


def test_two_parts_of_one_name_are_refused() -> None:
    mine, other = (type(name, (Trunk,), {"name": "cloned"}) for name in ("Mine", "Other"))
    with pytest.raises(RecipeError, match="two parts are called 'cloned'"):
        registered(trainer.networks, Trunk)
    for kind in (mine, other):  # so that no other test meets them
        del kind.name
    with pytest.raises(UnknownNameError):
        build_backbone(BackboneSpec("cloned"))
