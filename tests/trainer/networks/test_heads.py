"""Heads and their composition with backbones and losses."""

from __future__ import annotations

import pytest
import torch

from manifests.errors import RecipeError, UnknownNameError
from trainer.losses.masked import MaskedLoss
from trainer.losses.registry import build_loss
from trainer.networks.backbone import BackboneSpec
from trainer.networks.composition import check_composition, check_trained
from trainer.networks.hard_sharing import HardSharing
from trainer.networks.heads import HeadSpec, au_head, au_intensity_head, expression_head, landmark_head, va_head
from trainer.networks.sharing import FEATURES, Parts

GREY = (1, 48, 48)


def parts(*heads: HeadSpec, name: str = "resnet10t", picture: tuple[int, int, int] = GREY) -> Parts:
    kwargs = {"channels": [4, 4, 8, 8]} if name == "resnet10t" else {}
    return Parts(BackboneSpec(name, in_chans=1, kwargs=kwargs), heads, picture)


def network(*heads: HeadSpec) -> HardSharing:
    return HardSharing(parts(*heads))


def check(losses: dict[str, MaskedLoss], parts: Parts) -> None:
    check_composition(HardSharing(parts), losses, parts)


def fitting(**options: dict[str, object]) -> dict[str, MaskedLoss]:
    names = {"expression": "ce", "au": "bce", "va": "ccc", "landmarks": "wing"}
    return {task: build_loss(name, options.get(task)) for task, name in names.items()}


ALL = (expression_head("expr8-contempt"), au_head("fbn17"), va_head(), landmark_head())


def test_every_task_has_its_outputs() -> None:
    outputs = network(*ALL)(torch.zeros(2, 1, 48, 48))
    widths = {name: output.shape for name, output in outputs.items() if name != FEATURES}
    assert widths == {"expression": (2, 8), "au": (2, 17), "va": (2, 2), "landmarks": (2, 136)}


def test_outputs_are_named_in_order() -> None:
    assert au_head((12, 4)).outputs == ("au12", "au04")
    assert au_intensity_head((12,)).outputs == ("au12_intensity",)
    assert landmark_head().outputs[:3] == ("x0", "y0", "x1")
    assert expression_head("expr7").outputs[0] == "neutral"


@pytest.mark.parametrize(
    ("make", "wrong"),
    [(expression_head, "expr9"), (au_head, "fbn71"), (lambda name: HeadSpec(name, ("a",)), "valence")],
    ids=["space", "au set", "task"],
)
def test_unknown_names_are_refused(make: object, wrong: str) -> None:
    assert callable(make)
    with pytest.raises(UnknownNameError, match=wrong):
        make(wrong)


def test_a_fitting_composition_passes_and_moves_no_statistic() -> None:
    built = network(*ALL)
    before = {name: value.clone() for name, value in built.state_dict().items()}
    check_composition(built, fitting(), parts(*ALL))
    assert built.training
    assert all(torch.equal(before[name], value) for name, value in built.state_dict().items())


def test_a_loss_for_another_kind_of_output_is_refused_with_those_that_fit() -> None:
    with pytest.raises(RecipeError, match="one for classes: ce"):
        check({"expression": build_loss("bce")}, parts(expression_head("expr7")))


def test_emotions_as_independent_cells_take_the_binary_loss() -> None:
    cells = HeadSpec("expression", ("neutral", "happiness"), kind="binary")
    check({"expression": build_loss("bce")}, parts(cells))


def test_a_loss_without_a_head_is_refused() -> None:
    with pytest.raises(RecipeError, match="one loss per head"):
        check(fitting(), parts(va_head()))


def test_a_task_that_nothing_trains_is_refused() -> None:
    with pytest.raises(RecipeError, match="nothing trains the task expression"):
        check_trained(network(*ALL), {"va": build_loss("ccc")}, [])


def test_class_weights_of_another_length_are_refused() -> None:
    losses = fitting(expression={"class_weight": [1.0] * 7})
    with pytest.raises(RecipeError, match="7 weights"):
        check(losses, parts(*ALL))
    with pytest.raises(RecipeError, match="12 weights"):
        check(fitting(au={"pos_weight": [1.0] * 12}), parts(*ALL))


def test_pictures_of_other_channels_are_refused() -> None:
    with pytest.raises(RecipeError, match="in_chans: 3"):
        check(fitting(), parts(*ALL, picture=(3, 48, 48)))


def test_pictures_too_small_for_the_backbone_are_refused() -> None:
    with pytest.raises(RecipeError, match="cannot take pictures of 48 x 48"):
        check(fitting(), parts(*ALL, name="test_vit3"))


def test_two_heads_for_one_task_are_refused() -> None:
    with pytest.raises(RecipeError, match="one head per task"):
        network(va_head(), va_head())
