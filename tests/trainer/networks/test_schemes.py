"""What every sharing scheme of CMCNN and of the trace norm promises: methods.md 0.3, and who hears whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from manifests.errors import RecipeError
from trainer.losses.masked import Labels
from trainer.losses.registry import build_loss
from trainer.networks.backbone import BackboneSpec
from trainer.networks.cmcnn import Cmcnn, CmcnnOptions
from trainer.networks.cross_stitch import CrossStitch, CrossStitchOptions, CrossStitchUnit
from trainer.networks.heads import expression_head, landmark_head
from trainer.networks.hps import HardParameterSharing, HpsOptions, stages_of_layers
from trainer.networks.ps_mcnn import PsMcnn
from trainer.networks.separate import Separate
from trainer.networks.sharing import Parts, TaskNetwork, features_of
from trainer.networks.staged import StagedResNet
from trainer.settings import Part

FACES, SIDE = 32, 16
HEADS = (expression_head("expr7"), landmark_head())
DCNN = BackboneSpec(
    "basedcnn",
    in_chans=1,
    kwargs={"channels": (6, 6, 8, 8, 8, 8), "hidden": {"expression": (24, 16), "landmarks": (24,)}},
)
RESNET = BackboneSpec("test_resnet", in_chans=1, stem="half")

SCHEMES: dict[str, Callable[[], TaskNetwork]] = {
    "cmcnn": lambda: Cmcnn(parts(DCNN), CmcnnOptions()),
    "cmcnn-resnet": lambda: Cmcnn(parts(RESNET), CmcnnOptions(hidden=16)),
    "hps": lambda: HardParameterSharing(parts(DCNN), HpsOptions()),
    "hps-resnet": lambda: HardParameterSharing(parts(RESNET), HpsOptions(layers=2)),
    "cross-stitch": lambda: CrossStitch(parts(DCNN), CrossStitchOptions()),
    "cross-stitch-resnet": lambda: CrossStitch(parts(RESNET), CrossStitchOptions(stem=False, per_channel=True)),
    "ps-mcnn": lambda: PsMcnn(parts(DCNN), Part()),
}
LOSSES = {"expression": build_loss("ce"), "landmarks": build_loss("wing")}


def parts(backbone: BackboneSpec) -> Parts:
    return Parts(backbone, HEADS, (1, SIDE, SIDE))


def built(scheme: str) -> TaskNetwork:
    torch.manual_seed(0)
    return SCHEMES[scheme]()


def pictures() -> Tensor:
    return torch.randn(FACES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def labels() -> dict[str, Labels]:
    """Each task knows about half of the pictures, and of some landmarks."""
    draw = torch.Generator().manual_seed(2)
    known = torch.rand(FACES, generator=draw) < 0.6
    points = torch.rand(FACES, 136, generator=draw)
    return {
        "expression": Labels(torch.randint(0, 7, (FACES,), generator=draw), known),
        "landmarks": Labels(SIDE * points, (points < 0.7) & (torch.arange(FACES) % 3 > 0)[:, None]),
    }


def total_loss(network: TaskNetwork, known: dict[str, Labels], images: Tensor | None = None) -> Tensor:
    rows = {task: one.mask.reshape(FACES, -1).any(1) for task, one in known.items()}
    images = pictures() if images is None else images
    outputs = network(images, rows) if network.selective else network(images)
    return torch.stack([LOSSES[task](outputs[task], known[task]) for task in LOSSES]).sum()


def gradients(network: TaskNetwork, known: dict[str, Labels]) -> dict[str, Tensor]:
    total_loss(network, known).backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("fill", [float("nan"), 1e9, -5.0])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_unlabelled_cell_changes_no_gradient_anywhere(scheme: str, fill: float) -> None:
    clean = labels()
    dirty = {
        task: replace(known, target=torch.where(known.mask, known.target.float(), fill))
        for task, known in clean.items()
    }
    before, after = gradients(built(scheme), clean), gradients(built(scheme), dirty)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("task", LOSSES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_batch_without_labels_of_a_task_leaves_its_head_alone(scheme: str, task: str) -> None:
    known = labels()
    known[task] = replace(known[task], mask=torch.zeros_like(known[task].mask))
    network = built(scheme)
    grown = gradients(network, known)
    assert grown.keys() == {name for name, p in network.named_parameters() if p.requires_grad}
    assert all(bool(gradient.isfinite().all()) for gradient in grown.values())
    for name, gradient in grown.items():
        if name.startswith(f"heads.{task}.rest."):  # what lies before may be stitched to the other task
            assert not gradient.any(), name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_order_of_the_rows_changes_no_loss(scheme: str) -> None:
    network, known = built(scheme), labels()
    order = torch.randperm(FACES, generator=torch.Generator().manual_seed(3))
    moved = {task: Labels(one.target[order], one.mask[order]) for task, one in known.items()}
    first = total_loss(network, known).item()
    assert total_loss(network, moved, pictures()[order]).item() == pytest.approx(first, rel=5e-6)


@pytest.mark.parametrize("scheme", ["cmcnn", "hps", "cross-stitch", "ps-mcnn"])
def test_it_learns_32_faces_by_heart(scheme: str) -> None:
    network, known = built(scheme), labels()
    shift = 8 * torch.rand(FACES, 2, generator=torch.Generator().manual_seed(4))
    face = torch.rand(68, 2, generator=torch.Generator().manual_seed(5)) * SIDE / 2
    known["landmarks"] = replace(known["landmarks"], target=(face + shift[:, None]).flatten(1))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    first = current = total_loss(network, known).item()
    for _ in range(300):
        loss = total_loss(network, known)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        current = loss.item()
        if current < 0.1 * first:
            break
    assert current < 0.1 * first


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_runs_with_one_seed_give_the_same_losses(scheme: str) -> None:
    def five_losses() -> list[float]:
        network, known = built(scheme), labels()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        losses = []
        for _ in range(5):
            loss = total_loss(network, known)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses

    assert five_losses() == five_losses()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_points_come_in_pixels_and_features_per_task(scheme: str) -> None:
    network = built(scheme)
    network.last_layer("landmarks").weight.data.zero_()
    network.last_layer("landmarks").bias.data.copy_(torch.arange(136.0))
    outputs = network.eval()(pictures()[:2])
    assert torch.equal(outputs["landmarks"].reshape(2, 68, 2)[1, 5], torch.tensor([10.0, 11.0]))
    assert outputs["expression"].shape == (2, 7)
    assert all(features_of(outputs, task).shape[0] == 2 for task in LOSSES)


def test_what_each_task_has_of_its_own_sees_its_own_rows_alone() -> None:
    network = built("hps-resnet")
    rows = {"expression": torch.arange(FACES) < 10, "landmarks": torch.arange(FACES) >= 10}
    network.shared.eval()  # type: ignore[operator]  # Module's attributes
    before = network(pictures(), rows)
    changed = pictures()
    changed[:10] += 1
    after = network(changed, rows)
    assert torch.equal(before["landmarks"], after["landmarks"])
    assert not before["landmarks"][:10].any()
    assert not torch.equal(before["expression"], after["expression"])


@pytest.mark.parametrize(("layers", "shared"), [(0, 1), (6, 4), (14, 8), (26, 14), (32, 17)])
def test_hard_sharing_ends_with_the_layers_of_resnet34(layers: int, shared: int) -> None:
    thin = BackboneSpec("resnet34", kwargs={"channels": [2, 3, 4, 5], "stem_width": 2})
    trunk = StagedResNet(Parts(thin, HEADS, (3, 96, 96)).trunk("expression"), (3, 96, 96))
    assert stages_of_layers(trunk, layers) == shared
    assert [shape[1:] for shape in trunk.shapes] == [(24, 24)] * 4 + [(12, 12)] * 4 + [(6, 6)] * 6 + [(3, 3)] * 3
    channels = {6: (2, 3), 14: (3, 4), 26: (4, 5), 32: (5, 5)}
    if layers in channels:  # the last shared block and the one behind it have other widths, or it is the last
        assert (trunk.shapes[shared - 1][0], trunk.shapes[min(shared, 16)][0]) == channels[layers]


@pytest.mark.parametrize("layers", [5, 18])
def test_hard_sharing_refuses_to_part_inside_a_block_or_beyond_the_last(layers: int) -> None:
    with pytest.raises(RecipeError, match="even number up to"):
        HardParameterSharing(parts(RESNET), HpsOptions(layers=layers))


def test_a_backbone_that_is_no_resnet_cannot_be_cut() -> None:
    with pytest.raises(RecipeError, match="cannot be cut into stages"):
        CrossStitch(parts(BackboneSpec("test_vit", in_chans=1, kwargs={"img_size": SIDE})), CrossStitchOptions())


def test_stitches_start_at_nine_to_one_and_the_identity_keeps_tasks_apart() -> None:
    unit = CrossStitchUnit(2)
    torch.testing.assert_close(unit.share.squeeze(-1), torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    first, second = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    torch.testing.assert_close(unit([first, second])[1], torch.full((1, 3, 2, 2), 0.1))
    stitched = built("cross-stitch-resnet")
    for stitch in stitched.units:  # type: ignore[union-attr]  # Module's attributes
        stitch.share.data.copy_(torch.eye(2)[..., None].expand_as(stitch.share))
    alone = Separate(parts(RESNET)).eval()(pictures())
    together = stitched.eval()(pictures())
    assert all(torch.allclose(alone[task], together[task], atol=1e-6) for task in LOSSES)


def test_units_follow_every_block_and_the_first_fully_connected_layer() -> None:
    on_dcnn, on_resnet = built("cross-stitch"), built("cross-stitch-resnet")
    assert len(on_dcnn.units) == 6  # type: ignore[arg-type]  # Module's attributes
    assert on_dcnn.vector_unit is not None
    assert len(on_resnet.units) == 4  # type: ignore[arg-type]  # Module's attributes
    assert on_resnet.vector_unit is None
