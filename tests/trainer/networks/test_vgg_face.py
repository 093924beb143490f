"""FaceBehaviorNet's trunk (methods.md 2.6 and 2.11.10): size, shared layers, and the folded mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from manifests.errors import RecipeError
from trainer.networks.backbone import Backbone, BackboneSpec, build_backbone
from trainer.networks.vgg_face import VggFace, VggFaceOptions, folded

MEAN = (129.1863, 104.7624, 93.5940)
SMALL = {"width": 4, "hidden": 8}


def built(side: int = 96, pretrained: bool | str = False, **options: object) -> Backbone:
    return build_backbone(BackboneSpec("vgg_face", pretrained, kwargs=options), (3, side, side))


def test_with_its_26_outputs_it_has_the_parameters_of_the_reference() -> None:
    with torch.device("meta"):
        trunk = VggFace((3, 96, 96), VggFaceOptions())
        heads = nn.Linear(trunk.num_features, 2 + 7 + 17)
    assert trunk.fc6.in_features == 4608
    assert sum(p.numel() for p in (*trunk.parameters(), *heads.parameters())) == 50_480_986


def test_its_blocks_end_in_3_x_3_and_two_dropped_out_layers() -> None:
    backbone = built(**SMALL)
    maps = backbone.network.get_submodule("features")(torch.randn(1, 3, 96, 96))
    assert maps.shape == (1, 32, 3, 3)
    assert backbone(torch.randn(2, 3, 96, 96)).shape == (2, 8)
    pictures = torch.randn(1, 3, 96, 96)
    assert not torch.equal(backbone(pictures), backbone(pictures))
    assert torch.equal(backbone.eval()(pictures), backbone(pictures))


def test_a_side_that_five_poolings_do_not_divide_is_refused() -> None:
    with pytest.raises(RecipeError, match="fbn96"):
        built(side=112)


def test_a_folded_mean_changes_nothing_inside_the_border() -> None:
    draw = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, padding=1).double()
    pixels = torch.randint(0, 256, (2, 3, 12, 12), generator=draw).double()
    theirs = conv(pixels - torch.tensor(MEAN, dtype=torch.float64)[:, None, None])
    assert conv.bias is not None
    weight, bias = folded(conv.weight, conv.bias, mean=MEAN)
    ours = functional.conv2d((pixels - 127.5) / 127.5, weight, bias, padding=1)
    torch.testing.assert_close(ours[:, :, 1:-1, 1:-1], theirs[:, :, 1:-1, 1:-1], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(ours[:, :, 0], theirs[:, :, 0]), "the padded border is the stated exception"


def test_weights_of_a_vgg16_fill_the_convolutions_and_nothing_else(tmp_path: Path) -> None:
    donor = built(**SMALL)
    state = {f"features.{n}": v for n, v in donor.network.get_submodule("features").state_dict().items()}
    save_file(state | {"classifier.0.weight": torch.zeros(8, 7 * 7 * 32)}, tmp_path / "vgg_face.safetensors")
    plain = built(pretrained=str(tmp_path / "vgg_face.safetensors"), **SMALL)
    mean = built(pretrained=str(tmp_path / "vgg_face.safetensors"), pixel_mean=list(MEAN), **SMALL)
    assert len(plain.report.loaded) == 26
    assert {name.split(".")[0] for name in plain.report.missing} == {"fc6", "fc7"}
    first = donor.get_parameter("network.features.0.weight")
    assert torch.equal(plain.get_parameter("network.features.0.weight"), first)
    torch.testing.assert_close(mean.get_parameter("network.features.0.weight"), 127.5 * first)
    later = "network.features.2.weight"
    assert torch.equal(mean.get_parameter(later), donor.get_parameter(later))
