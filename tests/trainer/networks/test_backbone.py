"""Backbones by timm name: what they refuse, how their stems are opened, where their weights come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from manifests.errors import RecipeError, UnknownNameError, WeightsError
from trainer.networks.backbone import BackboneSpec, build_backbone

NARROW = {"channels": [8, 8, 16, 16]}
TAG = timm.models.get_pretrained_cfg("resnet18").tag


def narrow(**more: object) -> BackboneSpec:
    return BackboneSpec("resnet18", in_chans=1, kwargs=NARROW, **more)  # type: ignore[arg-type]  # keywords of the dataclass


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "test_convnext", "test_vit"])
def test_the_features_have_the_announced_length(name: str) -> None:
    backbone = build_backbone(BackboneSpec(name, in_chans=1)).eval()
    size = 160 if name == "test_vit" else 64
    assert backbone(torch.zeros(1, 1, size, size)).shape == (1, backbone.features)


def test_an_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean resnet18"):
        build_backbone(BackboneSpec("resnet-18"))


def test_an_unknown_stem_names_the_known() -> None:
    with pytest.raises(UnknownNameError, match="did you mean small"):
        build_backbone(BackboneSpec("resnet10t", stem="smal"))


def test_an_option_that_the_network_does_not_take_is_named() -> None:
    with pytest.raises(RecipeError, match="widht"):
        build_backbone(BackboneSpec("resnet10t", kwargs={"widht": 3}))


@pytest.mark.parametrize(
    ("name", "kwargs", "imagenet", "half", "small"),
    [
        ("resnet18", NARROW, 2, 3, 6),
        ("resnet10t", {"channels": [8, 8, 16, 16]}, 2, 3, 6),
        ("mobilenetv3_small_050", {}, 2, 3, 3),
        ("regnetx_002", {}, 2, 3, 3),
    ],
)
def test_a_stem_keeps_the_last_map_from_vanishing(
    name: str, kwargs: dict[str, object], imagenet: int, half: int, small: int
) -> None:
    for stem, side in (("imagenet", imagenet), ("half", half), ("small", small)):
        backbone = build_backbone(BackboneSpec(name, in_chans=1, stem=stem, kwargs=kwargs)).eval()
        features = backbone.network.forward_features(torch.zeros(1, 1, 48, 48))  # type: ignore[operator]  # timm ships no types
        assert features.shape[-2:] == (side, side), stem


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_a_patch_stem_is_refused_with_the_option_that_works(name: str) -> None:
    with pytest.raises(RecipeError, match="patch_size"):
        build_backbone(BackboneSpec(name, stem="small"))


def test_a_stem_that_does_not_shrink_is_refused() -> None:
    with pytest.raises(RecipeError, match="does not shrink"):
        build_backbone(BackboneSpec("vgg11", stem="small"))


def test_weights_from_a_local_file_are_loaded_and_reported(tmp_path: Path) -> None:
    donor = build_backbone(narrow())
    state = dict(donor.network.state_dict())
    left_out = state.pop("layer4.1.bn2.bias")
    save_file(
        {**state, "fc.weight": torch.zeros(7, 16), "layer1.0.bn1.bias": torch.zeros(3)}, tmp_path / "w.safetensors"
    )
    built = build_backbone(narrow(pretrained=str(tmp_path / "w.safetensors")))
    assert left_out is not None
    assert built.report.missing == ("layer4.1.bn2.bias",)
    assert built.report.unexpected == ("fc.weight",)
    assert built.report.mismatched == ("layer1.0.bn1.bias: (3,), (8,)",)
    assert set(built.report.loaded) == state.keys() - {"layer1.0.bn1.bias"}
    assert torch.equal(built.network.state_dict()["layer3.0.conv1.weight"], state["layer3.0.conv1.weight"])
    assert built.report.lines()[0] == f"weights: {len(built.report.loaded)} tensors from w.safetensors"


@pytest.mark.parametrize("prefix", ["module.", "backbone.network.", "model."])
@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_checkpoints_of_other_trainers_are_understood(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    state = {prefix + key: value for key, value in build_backbone(narrow()).network.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "w.pth")
    report = build_backbone(narrow(pretrained=str(tmp_path / "w.pth"))).report
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())


def test_colour_weights_serve_grey_pictures(tmp_path: Path) -> None:
    colour = build_backbone(BackboneSpec("resnet18", in_chans=3, kwargs=NARROW)).eval()
    save_file(dict(colour.network.state_dict()), tmp_path / "w.safetensors")
    grey = build_backbone(narrow(pretrained=str(tmp_path / "w.safetensors"))).eval()
    picture = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grey(picture), colour(picture.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


class Mischief:
    """What a malicious checkpoint would hold."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


def test_a_checkpoint_that_needs_unpickling_is_refused_unexecuted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": Mischief()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot be read safely"):
        build_backbone(narrow(pretrained=str(tmp_path / "w.pth")))
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_damaged_absent_and_foreign_weights_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with pytest.raises(WeightsError, match="no such file"):
        build_backbone(narrow(pretrained=str(file)))
    file.write_bytes(b"\x08\x00\x00\x00")
    with pytest.raises(WeightsError, match="cannot be read safely"):
        build_backbone(narrow(pretrained=str(file)))
    state = {"encoder.block.weight": torch.zeros(2)}
    save_file(state, file) if name == "w.safetensors" else torch.save(state, file)
    with pytest.raises(WeightsError, match="keys like"):
        build_backbone(narrow(pretrained=str(file)))


def test_an_unknown_weights_tag_lists_those_of_the_network() -> None:
    with pytest.raises(UnknownNameError, match=f"resnet18.{TAG}"):
        build_backbone(BackboneSpec("resnet18", pretrained="resnet18.imagenet"))
    with pytest.raises(UnknownNameError, match=f"resnet18.{TAG}"):
        build_backbone(BackboneSpec("resnet18.imagenet", pretrained=True))


def test_without_a_connection_the_message_says_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Connection refused")

    monkeypatch.delenv("AFFECT_WEIGHTS", raising=False)
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(WeightsError, match=rf"resnet18.{TAG}.safetensors in a folder and set AFFECT_WEIGHTS"):
        build_backbone(BackboneSpec("resnet18", pretrained=True))


def test_the_weights_folder_wins_over_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = dict(build_backbone(narrow()).network.state_dict())
    save_file(state, tmp_path / f"resnet18.{TAG}.safetensors")
    monkeypatch.setenv("AFFECT_WEIGHTS", str(tmp_path))
    built = build_backbone(narrow(pretrained=True))
    assert built.report.source == f"resnet18.{TAG}.safetensors"
    assert torch.equal(built.network.state_dict()["conv1.weight"], state["conv1.weight"])
