"""CMCNN and its baselines: parameter counts, worked numbers and degenerate readings of methods.md 4.11."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.networks.backbone import BackboneSpec
from trainer.networks.channel_co_attention import ChannelCoAttention, channel_weights
from trainer.networks.cmcnn import Cmcnn, CmcnnOptions, CoAttentionExchange
from trainer.networks.heads import au_head, expression_head, landmark_head
from trainer.networks.ps_mcnn import PsMcnn, input_widths
from trainer.networks.sharing import Parts
from trainer.networks.spatial_co_attention import SpatialCoAttention

CHANNELS = (64, 96, 128, 128, 256, 256)


def paper_parts(**kwargs: Any) -> Parts:
    """BaseDCNN at full size on the meta device: shapes and counts without the memory."""
    return Parts(BackboneSpec("basedcnn", in_chans=1, kwargs=kwargs), HEADS, (1, 100, 100))


HEADS = (expression_head("expr7"), landmark_head())


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def maps(seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 4, 5, generator=draw), torch.rand(2, 3, 4, 5, generator=draw)


@pytest.mark.parametrize(
    ("kwargs", "delta", "total", "channel", "depths"),
    [
        ({}, 0.2, 99_518_511, 3_407_232, [500, 125, 125, 28, 28, 28]),
        (
            {"hidden": {"expression": (2000, 128), "landmarks": (2048,)}},
            0.5,
            162_819_023,
            10_646_048,
            [1250, 312, 312, 72, 72, 72],
        ),
    ],
)
def test_the_parameters_are_as_many_as_the_paper_s_sizes_give(
    kwargs: dict[str, Any], delta: float, total: int, channel: int, depths: list[int]
) -> None:
    network = Cmcnn(paper_parts(**kwargs), CmcnnOptions(delta=delta))
    assert parameters(network) == total
    assert parameters(network.trunks["expression"]) == 1_201_440
    assert sum(parameters(exchange.channel) for exchange in network.exchanges) == channel
    assert [exchange.channel.depth for exchange in network.exchanges] == depths
    assert network.trunks["landmarks"].shapes[-1] == (256, 12, 12)


def test_channel_attention_sums_over_the_axis_that_was_not_normalised() -> None:
    of_expression, of_landmarks = channel_weights(torch.tensor([[[0.0, 1.0], [2.0, 0.0]]]))
    torch.testing.assert_close(of_expression, torch.tensor([[0.8503, 1.1497]]), atol=5e-5, rtol=0)
    torch.testing.assert_close(of_landmarks, torch.tensor([[1.1497, 0.8503]]), atol=5e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 1 << 16))
def test_channel_weights_sum_to_the_channels_and_are_not_all_ones(channels: int, seed: int) -> None:
    similarity = torch.randn(1, channels, channels, generator=torch.Generator().manual_seed(seed))
    for weights in channel_weights(similarity):
        assert weights.sum().item() == pytest.approx(channels, rel=1e-5)
        assert not torch.allclose(weights, torch.ones(1, channels), atol=1e-4)
    assert torch.allclose(similarity.softmax(1).sum(1), torch.ones(channels), atol=1e-5)  # the degenerate reading


def test_the_similarity_is_of_expression_channels_against_landmark_channels() -> None:
    attention = ChannelCoAttention(20, 0.5)
    expression, landmarks = maps()
    similarity = attention.similarity(expression, landmarks)
    changed = landmarks.clone()
    changed[:, 2] += 1
    moved = (attention.similarity(expression, changed) - similarity).abs().amax((0, 1))
    assert moved[2] > 0
    assert moved[:2].max() == 0


def test_one_map_of_places_weighs_both_branches() -> None:
    attention = SpatialCoAttention()
    expression, landmarks = maps()
    places = attention.eval().places(expression, landmarks)
    of_expression, of_landmarks = attention(expression, landmarks)
    assert places.shape == (2, 1, 4, 5)
    torch.testing.assert_close(of_expression / expression, places.expand_as(expression))
    torch.testing.assert_close(of_landmarks / landmarks, places.expand_as(landmarks))
    assert attention.attend[0].weight.shape == (1, 2, 7, 7)


class _AllOnes(nn.Module):
    """Attention that weighs everything by 1."""

    def forward(self, expression: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        return expression, landmarks


def exchange(channel: float, spatial: float) -> CoAttentionExchange:
    unit = CoAttentionExchange(20, CmcnnOptions(fixed=(channel, spatial)))
    unit.channel, unit.spatial = _AllOnes(), _AllOnes()  # type: ignore[assignment]  # stand-ins
    return unit


def test_the_channel_part_alone_swaps_the_branches_and_the_spatial_part_alone_keeps_them_apart() -> None:
    expression, landmarks = maps()
    swapped, kept = exchange(1, 0)(expression, landmarks), exchange(0, 1)(expression, landmarks)
    assert torch.equal(swapped[0], landmarks)
    assert torch.equal(swapped[1], expression)
    assert torch.equal(kept[0], expression)
    assert torch.equal(kept[1], landmarks)


def test_exchange_weights_start_at_a_half_are_free_and_can_be_held() -> None:
    small = {"channels": (2, 2, 2, 2, 2, 2), "hidden": {"expression": (4, 4), "landmarks": (4,)}}
    parts = Parts(BackboneSpec("basedcnn", in_chans=1, kwargs=small), HEADS, (1, 16, 16))
    free, held = Cmcnn(parts, CmcnnOptions()), Cmcnn(parts, CmcnnOptions(fixed=(0.2, 0.8)))
    assert free.exchange_weights() == {"a1": 0.5, "a2": 0.5, "b1": 0.5, "b2": 0.5}
    assert held.exchange_weights() == pytest.approx({"a1": 0.2, "a2": 0.8, "b1": 0.2, "b2": 0.8})
    assert all(unit.b1.requires_grad for unit in free.exchanges)
    assert not any(unit.b1.requires_grad for unit in held.exchanges)


def test_each_branch_hears_the_other() -> None:
    small = {"channels": (2, 2, 2, 2, 2, 2), "hidden": {"expression": (4, 4), "landmarks": (4,)}}
    parts = Parts(BackboneSpec("basedcnn", in_chans=1, kwargs=small), HEADS, (1, 16, 16))
    network = Cmcnn(parts, CmcnnOptions())
    network(torch.rand(4, 1, 16, 16))["expression"].square().sum().backward()
    of_landmarks = [p.grad for p in network.trunks["landmarks"].parameters()]
    assert all(grad is not None and bool(grad.abs().sum() > 0) for grad in of_landmarks[::4])


def test_cmcnn_refuses_other_tasks() -> None:
    parts = Parts(BackboneSpec("basedcnn", in_chans=1), (expression_head("expr7"), au_head("disfa8")), (1, 32, 32))
    with pytest.raises(RecipeError, match="expression and landmarks"):
        Cmcnn(parts, CmcnnOptions())


def test_the_blocks_of_ps_mcnn_read_what_their_neighbours_give() -> None:
    own, shared = input_widths(1, CHANNELS, 2)
    assert own == [1, 128, 192, 256, 256, 512]
    assert shared == [1, 128, 160, 192, 192, 320]


def test_ps_mcnn_joins_two_vectors_of_2000_for_each_task() -> None:
    with torch.device("meta"):
        network = PsMcnn(paper_parts(), None)  # type: ignore[arg-type]  # it takes no options
    assert network.heads["landmarks"].rest[-1].in_features == 4000
    assert network.heads["expression"].rest[0][0].in_features == 4000
    assert network.shared_first[1].weight.shape == (2000, 36_864)


def test_ps_mcnn_refuses_another_backbone() -> None:
    with pytest.raises(RecipeError, match="backbone basedcnn"):
        PsMcnn(Parts(BackboneSpec("test_resnet"), HEADS, (3, 32, 32)), None)  # type: ignore[arg-type]  # it takes no options
