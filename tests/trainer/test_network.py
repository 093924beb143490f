"""The network of a recipe has one head per task and runs in the layout that is fast and safe for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.network import heads_for, network_for, start_at_mean_face
from trainer.networks.sharing import FEATURES
from trainer.tasks import Tasks

from .conftest import MakeRecipe


def test_there_is_one_head_per_task_of_its_width(recipe: MakeRecipe) -> None:
    chosen = recipe()
    network = network_for(chosen, (32, 32))
    outputs = network(torch.zeros(2, 1, 32, 32))
    assert {task: tuple(out.shape) for task, out in outputs.items() if task != FEATURES} == {
        "expression": (2, 7), "va": (2, 2), "au": (2, 17), "landmarks": (2, 136),
    }  # fmt: skip
    assert [head.task for head in heads_for(chosen.tasks)] == list(chosen.tasks.names)
    assert [head.task for head in heads_for(Tasks.model_validate({"au": {"set": "disfa8"}}))] == ["au"]


@pytest.mark.parametrize(
    ("backbone", "layout"), [("test_resnet", torch.channels_last), ("repvgg_a0", torch.contiguous_format)]
)
def test_a_strided_point_convolution_on_the_picture_stays_out_of_channels_last(
    recipe: MakeRecipe, backbone: str, layout: torch.memory_format
) -> None:
    network = network_for(recipe(backbone={"name": backbone, "in_chans": 3}), (96, 96))
    seen: list[torch.Tensor] = []
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
    first.register_forward_hook(lambda _, pictures, __: seen.append(pictures[0]))
    for given in (torch.contiguous_format, torch.channels_last):
        network(torch.zeros(2, 3, 96, 96).contiguous(memory_format=given))
        assert seen[-1].is_contiguous(memory_format=layout)
        assert not seen[-1].is_contiguous(
            memory_format=torch.channels_last if layout is torch.contiguous_format else torch.contiguous_format
        )


def test_landmarks_start_at_the_mean_face_of_what_is_known(recipe: MakeRecipe) -> None:
    network = network_for(recipe(), (32, 32))
    points = torch.full((3, 68, 2), torch.nan)
    points[0, :60], points[1, :60] = 4.0, 8.0
    before = network.get_parameter("heads.landmarks.bias")[-1].item()
    start_at_mean_face(network, points)
    bias = network.get_parameter("heads.landmarks.bias")
    assert bias[:120].tolist() == [6.0] * 120
    assert bias[-1].item() == before
