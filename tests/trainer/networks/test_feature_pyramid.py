"""F3R's trunk (methods.md 5.1, 5.7 and 5.8.1-2): maps, frozen parts, and what each level contributes."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from manifests.errors import RecipeError
from trainer.networks.backbone import Backbone, BackboneSpec, build_backbone
from trainer.networks.feature_pyramid import FeaturePyramid, level_contribution

FRESH = {"pretrained": False, "train_norms": True}


def built(side: int = 64, **options: object) -> Backbone:
    return build_backbone(BackboneSpec("feature_pyramid", kwargs=options), (3, side, side))


def pyramid(backbone: Backbone) -> FeaturePyramid:
    assert isinstance(backbone.network, FeaturePyramid)
    return backbone.network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pretrained weights of a small ResNet, in a file."""
    file: Path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", zero_init_last=False).state_dict(), file)
    return str(file)


@pytest.mark.parametrize(("side", "sides"), [(128, (32, 16, 8, 4, 2)), (112, (28, 14, 7, 4, 2))])
def test_the_five_maps_and_1280_features(side: int, sides: tuple[int, ...]) -> None:
    backbone = built(trunk="test_resnet", **FRESH, frozen=[])
    maps = pyramid(backbone).maps(torch.randn(1, 3, side, side))
    assert {name: tuple(level.shape) for name, level in maps.items()} == {
        name: (1, 256, n, n) for name, n in zip(("P2", "P3", "P4", "P5", "pool"), sides, strict=True)
    }
    assert backbone(torch.randn(1, 3, side, side)).shape == (1, 1280)
    assert built(trunk="test_resnet", **FRESH, frozen=[], levels=4).features == 1024


def test_resnet50_has_the_parameters_of_the_release() -> None:
    backbone = built(trunk="resnet50", **FRESH)
    norms = [p for m in backbone.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
    count = sum(p.numel() for p in backbone.parameters()) - sum(p.numel() for p in norms)
    fixed = sum(p.numel() for p in backbone.parameters() if not p.requires_grad and all(p is not n for n in norms))
    assert count == 26_799_296
    assert count - fixed == 26_576_896
    assert sum(p.numel() for outputs in (2, 7, 12) for p in nn.Linear(1280, outputs).parameters()) == 26_901


def test_frozen_parts_and_norms_stay_as_they_are(weights: str) -> None:
    backbone = built(trunk="test_resnet", pretrained=weights).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    backbone(torch.randn(4, 3, 64, 64)).square().mean().backward()
    optimiser.step()
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    fixed = ("conv1", "bn1", "layer1")
    norms = [name for name, module in backbone.named_modules() if "FrozenBatchNorm" in type(module).__name__]
    assert norms
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    assert not [name for name in moved if any(name.startswith(f"{norm}.") for norm in norms)]
    assert not [name for name in moved if name.split("network.trunk.network.")[-1].split(".")[0] in fixed]
    assert any(".layer2." in name for name in moved)
    assert any(".pyramid." in name for name in moved)
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def test_the_report_on_the_trunk_s_weights_is_found(weights: str) -> None:
    backbone = built(trunk="test_resnet", pretrained=weights)
    reports = [m.report for m in backbone.modules() if isinstance(m, Backbone)]
    assert [report.source for report in reports] == ["", "test_resnet.safetensors"]


def test_norms_fixed_at_random_weights_are_refused() -> None:
    with pytest.raises(RecipeError, match="train_norms: true"):
        built(trunk="test_resnet", pretrained=False)


@pytest.mark.parametrize(
    ("options", "message"), [({"trunk": "test_vit"}, "four sizes"), ({"frozen": ["layer9"]}, "layer9")]
)
def test_a_trunk_without_maps_or_parts_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        built(**({"trunk": "test_resnet"} | FRESH | options))


def test_any_convolutional_trunk_carries_a_pyramid() -> None:
    backbone = built(trunk="mobilenetv2_100", **FRESH, frozen=["conv_stem", "bn1"], channels=16)
    backbone(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in backbone.parameters()), "nothing is left unused"


def test_the_contribution_of_each_level_by_hand() -> None:
    weight = torch.tensor([[1.0, -1.0, 0.0, 2.0], [0.0, 1.0, 0.0, 0.0]])  # 2 outputs, 2 levels of 2 features
    features = torch.tensor([[1.0, 2.0, 9.0, -1.0], [-3.0, 0.0, 9.0, 1.0]])
    # |W| summed: 1 2 0 2; mean |f|: 2 1 9 1; product: 2 2 0 2
    torch.testing.assert_close(level_contribution(weight, features, 2), torch.tensor([2 / 3, 1 / 3]))
    torch.testing.assert_close(level_contribution(weight, torch.ones(1, 4), 2), torch.tensor([0.6, 0.4]))
    assert level_contribution(torch.zeros(1, 4), features, 2).isnan().all()
