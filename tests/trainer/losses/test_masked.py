"""Promises that every loss keeps (methods.md 0.3: U1-U4), and the reductions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from manifests.errors import RecipeError, UnknownNameError
from trainer.losses.masked import Labels, MaskedLoss, Reduction, reduce
from trainer.losses.registry import build_loss, losses

ROWS, OUTPUTS = 12, 4
CASES = [
    (name, reduction)
    for name in losses()
    for reduction in (list(Reduction) if name != "ccc" else [None])
]  # fmt: skip


def _loss(name: str, reduction: Reduction | None) -> MaskedLoss:
    return build_loss(name, {"reduction": reduction} if reduction else {})


def _labels(name: str, seed: int = 0) -> Labels:
    draw = torch.Generator().manual_seed(seed)
    shape = (ROWS,) if name == "ce" else (ROWS, OUTPUTS)
    target = {
        "ce": torch.randint(0, OUTPUTS, shape, generator=draw),
        "bce": torch.randint(0, 2, shape, generator=draw).float(),
    }.get(name, torch.rand(shape, generator=draw) * 2 - 1)
    mask = torch.rand(shape, generator=draw) < 0.6
    return Labels(
        target=target,
        mask=mask,
        weight=torch.rand(shape, generator=draw) + 0.5,
        space=torch.randint(OUTPUTS - 1, OUTPUTS + 1, (ROWS,), generator=draw),
    )


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, OUTPUTS))


def _pictures() -> Tensor:
    return torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(1))


def _loss_and_gradients(loss: MaskedLoss, labels: Labels) -> list[Tensor]:
    network = _network()
    value = loss(network(_pictures()), labels)
    value.backward()
    return [value.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


def _flipped(target: Tensor) -> Tensor:
    return (target + 1) % OUTPUTS if not target.is_floating_point() else 1 - target


FILLS: dict[str, Callable[[Tensor], Tensor]] = {
    "NaN": lambda t: torch.full_like(t, torch.nan) if t.is_floating_point() else torch.full_like(t, -(2**63)),
    "1e9": lambda t: torch.full_like(t, 10**9),
    "flipped": _flipped,
}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("name", "reduction"), CASES)
def test_an_unlabelled_cell_changes_no_gradient(name: str, reduction: Reduction | None, fill: str) -> None:
    labels, loss = _labels(name), _loss(name, reduction)
    assert labels.weight is not None
    poisoned = replace(
        labels,
        target=torch.where(labels.mask, labels.target, FILLS[fill](labels.target)),
        weight=torch.where(labels.mask, labels.weight, FILLS[fill](labels.weight)),
    )
    for clean, dirty in zip(_loss_and_gradients(loss, labels), _loss_and_gradients(loss, poisoned), strict=True):
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("name", ["ce", "bce", "ccc"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), cell=st.integers(0, ROWS * OUTPUTS - 1), value=st.floats(width=32))
def test_any_unlabelled_cell_may_hold_anything(name: str, seed: int, cell: int, value: float) -> None:
    labels = _labels(name, seed)
    labels = replace(labels, target=labels.target.float())
    unlabelled = torch.nonzero(~labels.mask.flatten()).flatten()
    if len(unlabelled) == 0:
        return
    dirty = labels.target.clone()
    dirty.view(-1)[unlabelled[cell % len(unlabelled)]] = value
    loss = build_loss(name)
    clean = _loss_and_gradients(loss, labels)
    assert all(
        torch.equal(a, b) for a, b in zip(clean, _loss_and_gradients(loss, replace(labels, target=dirty)), strict=True)
    )


@pytest.mark.parametrize(("name", "reduction"), CASES)
def test_a_batch_without_labels_gives_an_exact_attached_zero(name: str, reduction: Reduction | None) -> None:
    labels = _labels(name)
    nothing = replace(labels, mask=torch.zeros_like(labels.mask), target=FILLS["NaN"](labels.target))
    value, *gradients = _loss_and_gradients(_loss(name, reduction), nothing)
    assert value.item() == 0
    assert len(gradients) == 4
    assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients)


@pytest.mark.parametrize(("name", "reduction"), CASES)
def test_the_order_of_rows_changes_no_loss(name: str, reduction: Reduction | None) -> None:
    labels, loss = _labels(name), _loss(name, reduction)
    output = _network()(_pictures())
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    assert labels.weight is not None
    assert labels.space is not None
    shuffled = Labels(labels.target[order], labels.mask[order], labels.weight[order], space=labels.space[order])
    torch.testing.assert_close(loss(output[order], shuffled), loss(output, labels), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("name", "reduction"), [case for case in CASES if case[0] != "ccc"])
def test_parts_of_a_batch_weighed_by_their_counts_have_its_loss_and_gradients(
    name: str, reduction: Reduction | None
) -> None:
    """As processes of a distributed run train: one holds most of the labels, one rows without any."""
    labels, loss = _labels(name), _loss(name, reduction)
    mask, space, weight = labels.mask.clone(), labels.space, labels.weight
    mask[8:] = False
    mask[:3] = True
    assert space is not None
    assert weight is not None
    space[9:11] = 0
    weight[3] = 0
    labels = replace(labels, mask=mask, space=space, weight=weight)
    network = _network()
    total = torch.zeros(())
    for part in (slice(0, 3), slice(3, 8), slice(8, 12)):
        held = Labels(labels.target[part], mask[part], weight[part], space=space[part])
        total = total + loss(network(_pictures()[part]), held) * loss.count(held) / loss.count(labels)
    total.backward()
    parts = [total.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]
    for whole, summed in zip(_loss_and_gradients(loss, labels), parts, strict=True):
        torch.testing.assert_close(summed, whole)


@pytest.mark.parametrize(("name", "reduction"), CASES)
def test_a_nan_in_an_unlabelled_cell_reaches_no_parameter(name: str, reduction: Reduction | None) -> None:
    labels = _labels(name)
    poisoned = replace(labels, target=torch.where(labels.mask, labels.target, FILLS["NaN"](labels.target)))
    network = _network()
    optimiser = torch.optim.Adam(network.parameters())
    _loss(name, reduction)(network(_pictures()), poisoned).backward()
    optimiser.step()
    assert all(torch.isfinite(p).all() for p in network.parameters())


@pytest.mark.parametrize(("name", "reduction"), CASES)
def test_a_half_precision_output_is_scored_in_float32(name: str, reduction: Reduction | None) -> None:
    output = _network()(_pictures()).bfloat16()
    value = _loss(name, reduction)(output, _labels(name))
    assert value.dtype == torch.float32
    assert torch.isfinite(value)


LOSS = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 128.0, 256.0]])
MASK = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])


def test_cells_counts_every_labelled_cell_the_same() -> None:
    assert reduce(LOSS, MASK).item() == pytest.approx(11 / 3)


def test_cells_does_not_move_when_an_unlabelled_output_is_added() -> None:
    wider = reduce(torch.nn.functional.pad(LOSS, (0, 5)), torch.nn.functional.pad(MASK, (0, 5)))
    assert torch.equal(wider, reduce(LOSS, MASK))


def test_rows_counts_every_labelled_image_the_same() -> None:
    assert reduce(LOSS, MASK, how=Reduction.ROWS).item() == pytest.approx((1.5 + 8) / 2)


def test_batch_total_shrinks_when_an_output_is_added() -> None:
    assert reduce(LOSS, MASK, how=Reduction.BATCH_TOTAL).item() == pytest.approx(11 / 9)
    wider = torch.nn.functional.pad(LOSS, (0, 3)), torch.nn.functional.pad(MASK, (0, 3))
    assert reduce(*wider, how=Reduction.BATCH_TOTAL).item() == pytest.approx(11 / 18)


def test_space_divides_by_the_label_space_of_the_rows_dataset() -> None:
    space = torch.tensor([3, 2, 0])  # the third row's dataset does not annotate the task at all
    assert reduce(LOSS, MASK, how=Reduction.SPACE, space=space).item() == pytest.approx((3 / 3 + 8 / 2) / 2)


def test_weighted_rows_is_a_weighted_mean_in_each_row_and_a_plain_one_over_them() -> None:
    weight = torch.tensor([[1.0, 0.5, 7.0], [0.25, 1.0, 1.0], [1.0, 1.0, 1.0]])
    value = reduce(LOSS, MASK, weight, how=Reduction.WEIGHTED_ROWS)
    assert value.item() == pytest.approx(((1 + 0.5 * 2) / 1.5 + 8) / 2)
    plain = reduce(LOSS, MASK, how=Reduction.WEIGHTED_ROWS)
    assert torch.equal(plain, reduce(LOSS, MASK, how=Reduction.ROWS))


def test_weighted_rows_leaves_out_a_row_whose_weights_are_all_zero() -> None:
    loss = LOSS.clone().requires_grad_()
    weight = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    value = reduce(loss, MASK, weight, how=Reduction.WEIGHTED_ROWS)
    value.backward()
    assert value.item() == 8
    assert loss.grad is not None
    assert torch.equal(loss.grad, torch.tensor([[0.0] * 3, [1.0, 0.0, 0.0], [0.0] * 3]))


@pytest.mark.parametrize("reduction", Reduction)
def test_weights_of_zero_give_an_exact_attached_zero(reduction: Reduction) -> None:
    loss = LOSS.clone().requires_grad_()
    value = reduce(loss, MASK, torch.zeros(3, 3), how=reduction, space=torch.tensor([3, 3, 3]))
    value.backward()
    assert value.item() == 0
    assert loss.grad is not None
    assert torch.equal(loss.grad, torch.zeros(3, 3))


def test_weights_multiply_the_loss_and_not_the_divisor() -> None:
    assert reduce(LOSS, MASK, torch.full((3, 3), 2.0)).item() == pytest.approx(22 / 3)


def test_space_without_label_spaces_is_refused() -> None:
    with pytest.raises(RecipeError, match="label space"):
        reduce(LOSS, MASK, how=Reduction.SPACE)


def test_a_misspelt_loss_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean bce"):
        build_loss("bec")


def test_a_misspelt_option_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean label_smoothing"):
        build_loss("ce", {"label_smothing": 0.1})


def test_a_misspelt_reduction_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean rows"):
        build_loss("bce", {"reduction": "row"})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ce", {"label_smoothing": 1.0}),
        ("ce", {"class_weight": "heavy"}),
        ("ccc", {"minimum": 1}),
        ("wing", {"width": 0}),
    ],
)
def test_an_option_out_of_range_is_refused(name: str, options: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=name):
        build_loss(name, options)
