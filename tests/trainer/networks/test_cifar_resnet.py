"""SJMT's networks (methods.md 1.2): size, shortcuts, and VGG-16 from timm."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from manifests.errors import RecipeError
from trainer.networks.backbone import Backbone, BackboneSpec, build_backbone
from trainer.networks.cifar_resnet import ZeroPad


def built(**options: object) -> Backbone:
    return build_backbone(BackboneSpec("cifar_resnet", kwargs=options), (3, 32, 32))


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("depth", "count"), [(32, 464_674), (110, 1_728_482)])
def test_with_18_outputs_it_has_the_parameters_of_the_reference(depth: int, count: int) -> None:
    backbone = built(depth=depth)
    assert parameters(backbone) + parameters(nn.Linear(backbone.features, 18)) == count


def test_its_stages_halve_the_picture_and_end_in_64_features() -> None:
    backbone = built(depth=8).eval()
    sides: list[tuple[int, ...]] = []
    for name in ("layer1", "layer2", "layer3"):
        stage = backbone.network.get_submodule(name)
        stage.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:])))
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, 64)
    assert sides == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_larger_crops_are_averaged_to_the_size_of_the_paper() -> None:
    backbone = build_backbone(BackboneSpec("cifar_resnet", kwargs={"depth": 8}), (3, 96, 96)).eval()
    small = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(backbone(small.repeat_interleave(3, 2).repeat_interleave(3, 3)), backbone(small))


def test_a_padded_shortcut_keeps_every_second_pixel_between_zeros() -> None:
    maps = torch.arange(32.0).reshape(1, 2, 4, 4)
    out = ZeroPad(2)(maps)
    assert out.shape == (1, 4, 2, 2)
    assert (out[:, [0, 3]] == 0).all()
    assert torch.equal(out[:, 1:3], maps[:, :, ::2, ::2])


@pytest.mark.parametrize("options", [{"shortcut": "projection"}, {"pre_activation": True}])
def test_the_options_of_the_paper_s_family_train(options: dict[str, object]) -> None:
    backbone = built(depth=8, width=4, **options)
    backbone(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert backbone.features == 16
    assert all(p.grad is not None for p in backbone.parameters())


def test_a_depth_that_is_no_such_network_is_refused() -> None:
    with pytest.raises(RecipeError, match="6 n"):
        built(depth=34)


def test_timm_s_vgg16_is_configuration_d_with_the_dropout_of_the_paper() -> None:
    with torch.device("meta"):
        network = timm.create_model("vgg16", num_classes=1000, drop_rate=0.5)
    assert parameters(network) == 138_357_544
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
