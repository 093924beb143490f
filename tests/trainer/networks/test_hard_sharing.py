"""The promises of a multi-task network under masked labels (methods.md 0.3: U1, U2, U7, U8)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trainer.losses.masked import Labels
from trainer.losses.registry import build_loss
from trainer.networks.backbone import BackboneSpec
from trainer.networks.hard_sharing import HardSharing
from trainer.networks.heads import au_head, expression_head, landmark_head, va_head
from trainer.networks.sharing import Parts

LOSSES = {
    "expression": build_loss("ce"),
    "au": build_loss("bce", {"reduction": "rows"}),
    "va": build_loss("ccc"),
    "landmarks": build_loss("mse"),
}
FACES = 32


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def build() -> HardSharing:
    torch.manual_seed(0)
    spec = BackboneSpec("resnet10t", in_chans=1, stem="half", kwargs={"channels": [8, 16, 16, 32], "stem_width": 8})
    heads = (expression_head("expr7"), au_head("disfa8"), va_head(), landmark_head())
    return HardSharing(Parts(spec, heads, (1, 24, 24)))


def pictures() -> Tensor:
    return torch.randn(FACES, 1, 24, 24, generator=torch.Generator().manual_seed(1))


def labels() -> dict[str, Labels]:
    """Random labels in which every task leaves about a third of its cells unlabelled."""
    draw = torch.Generator().manual_seed(2)
    targets = {
        "expression": torch.randint(0, 7, (FACES,), generator=draw),
        "au": torch.randint(0, 2, (FACES, 8), generator=draw).float(),
        "va": torch.rand(FACES, 2, generator=draw) * 2 - 1,
        "landmarks": torch.rand(FACES, 136, generator=draw),
    }
    return {task: Labels(target, torch.rand(target.shape, generator=draw) < 0.7) for task, target in targets.items()}


def total_loss(network: HardSharing, known: dict[str, Labels]) -> Tensor:
    outputs = network(pictures())
    return torch.stack([LOSSES[task](outputs[task], known[task]) for task in LOSSES]).sum()


def gradients(known: dict[str, Labels]) -> dict[str, Tensor]:
    network = build()
    total_loss(network, known).backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("fill", [float("nan"), 1e9, -5.0])
def test_an_unlabelled_cell_of_any_task_changes_no_gradient_anywhere(fill: float) -> None:
    clean = labels()
    dirty = {
        task: replace(known, target=torch.where(known.mask, known.target.float(), fill))
        for task, known in clean.items()
    }
    before, after = gradients(clean), gradients(dirty)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("task", LOSSES)
def test_a_batch_without_labels_of_a_task_leaves_its_head_alone(task: str) -> None:
    known = labels()
    known[task] = replace(known[task], mask=torch.zeros_like(known[task].mask))
    grown = gradients(known)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in grown.values())
    for name, gradient in grown.items():
        if name.startswith("heads."):
            assert bool((gradient == 0).all()) == name.startswith(f"heads.{task}."), name


def test_it_learns_32_pictures_by_heart() -> None:
    network, known = build(), labels()
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
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


def test_two_runs_with_one_seed_give_the_same_losses() -> None:
    def five_losses() -> list[float]:
        network, known = build(), labels()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for _ in range(5):
            loss = total_loss(network, known)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses

    assert five_losses() == five_losses()


def test_heads_compute_in_float32_under_autocast() -> None:
    network = build()
    network.get_parameter("heads.landmarks.bias").data.fill_(100.25)
    network.get_parameter("heads.landmarks.weight").data.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(pictures())
    assert {outputs[task].dtype for task in LOSSES} == {torch.float32}
    assert (outputs["landmarks"] == 100.25).all()  # bfloat16 has no number between 100 and 100.5
