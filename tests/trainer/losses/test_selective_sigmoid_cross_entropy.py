"""SJMT's loss (methods.md 1.8): the worked numbers, who gets a gradient, and what an added output does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from manifests.errors import RecipeError
from trainer.losses.masked import Labels
from trainer.losses.selective_sigmoid_cross_entropy import (
    SelectiveOptions,
    SelectiveSigmoidCrossEntropy,
    selective_sigmoid_cross_entropy,
    union_of,
)
from trainer.networks.heads import HeadSpec, au_head, expression_head, va_head

from .benches import bench, step

Z = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
T = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
M = torch.tensor([[True, True, False], [False, False, True]])
VALUES = {"cells": 0.189039, "rows": 0.173511, "batch_total": 0.094520}


EMOTIONS = replace(expression_head("expr7"), kind="binary")
HEADS = (EMOTIONS, au_head("emotionet11"))


def loss_of(outputs: dict[str, Tensor], labels: dict[str, Labels], reduction: str = "cells") -> Tensor:
    return selective_sigmoid_cross_entropy(
        list(outputs.values()), union_of([labels[task] for task in outputs]), reduction=reduction
    )


def batch() -> tuple[dict[str, Tensor], dict[str, Labels]]:
    """Rows 0-3 carry an emotion, rows 4-7 AUs, row 8 nothing."""
    draw = torch.Generator().manual_seed(0)
    outputs = {"expression": torch.randn(9, 7, generator=draw), "au": torch.randn(9, 11, generator=draw)}
    rows = torch.arange(9)
    emotion = Labels(functional.one_hot(rows % 7, 7).float(), (rows < 4)[:, None].expand(-1, 7))
    cells = ((rows >= 4) & (rows < 8))[:, None].expand(-1, 11)
    present = torch.where(cells, torch.randint(0, 2, (9, 11), generator=draw).float(), torch.nan)
    return {task: logits.requires_grad_() for task, logits in outputs.items()}, {
        "expression": emotion,
        "au": Labels(present, cells),
    }


@pytest.mark.parametrize("reduction", VALUES)
def test_the_worked_values_of_each_reduction(reduction: str) -> None:
    assert loss_of({"au": Z}, {"au": Labels(T, M)}, reduction).item() == pytest.approx(VALUES[reduction], abs=1e-6)


def test_the_worked_gradient_of_cells() -> None:
    logits = Z.clone().requires_grad_()
    loss_of({"au": logits}, {"au": Labels(T, M)}).backward()
    expected = torch.tensor([[-0.039734, 0.089647, 0.0], [0.0, 0.0, 0.039734]])
    torch.testing.assert_close(logits.grad, expected, atol=1e-6, rtol=0)


def test_space_divides_by_what_the_rows_dataset_labels() -> None:
    options = SelectiveOptions.model_validate({"reduction": "space", "spaces": {"one": 3, "two": 2}})
    coupling = SelectiveSigmoidCrossEntropy(
        bench(HeadSpec("au", ("au01", "au02", "au04")), datasets=("one", "two")), options
    )
    term = coupling(step({"au": Z}, {"au": Labels(T, M)}, dataset=torch.tensor([0, 1])))
    expected = ((0.126928 + 0.313262) / 3 + 0.126928 / 2) / 2
    assert term.loss.item() == pytest.approx(expected, abs=1e-6)


def test_an_emotion_says_nothing_about_aus_and_the_reverse() -> None:
    outputs, labels = batch()
    loss_of(outputs, labels).backward()
    emotion, au = outputs["expression"].grad, outputs["au"].grad
    assert emotion is not None
    assert au is not None
    assert (au[:4] == 0).all()
    assert (emotion[4:] == 0).all()
    assert (emotion[:4] != 0).all(), "an emotion is a negative of every other emotion"
    assert (au[4:8] != 0).all()
    assert (emotion[8] == 0).all()


@pytest.mark.parametrize(("reduction", "change"), [("cells", 1.0), ("rows", 1.0), ("batch_total", 0.5)])
def test_three_unlabelled_outputs_change_only_batch_total(reduction: str, change: float) -> None:
    wider = torch.nn.functional.pad(Z, (0, 3))
    labels = Labels(torch.nn.functional.pad(T, (0, 3), value=torch.nan), torch.nn.functional.pad(M, (0, 3)))
    before = loss_of({"au": Z}, {"au": Labels(T, M)}, reduction)
    assert loss_of({"au": wider}, {"au": labels}, reduction).item() == pytest.approx(change * before.item(), rel=1e-6)


def test_emotions_need_not_sum_to_one_and_a_shift_of_all_keeps_the_prediction() -> None:
    outputs, _ = batch()
    emotion = outputs["expression"].detach()
    assert (torch.sigmoid(emotion).sum(1) - 1).abs().min() > 0.1
    assert torch.equal((emotion + 3).argmax(1), emotion.argmax(1))


@pytest.mark.parametrize("fill", [torch.nan, 1e9, 0.0, 1.0])
@pytest.mark.parametrize("reduction", VALUES)
def test_an_unlabelled_cell_changes_nothing(reduction: str, fill: float) -> None:
    values, gradients = [], []
    for poison in (False, True):
        outputs, labels = batch()
        au = labels["au"]
        if poison:
            labels["au"] = replace(au, target=torch.where(au.mask, au.target, fill))
        value = loss_of(outputs, labels, reduction)
        value.backward()
        values.append(value.detach())
        gradients.append(torch.cat([one.grad for one in outputs.values() if one.grad is not None], 1))
    assert torch.equal(*values)
    assert torch.equal(*gradients)


def test_the_order_of_rows_changes_no_loss() -> None:
    outputs, labels = batch()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    turned = {task: Labels(one.target[order], one.mask[order]) for task, one in labels.items()}
    before, after = loss_of(outputs, labels), loss_of({task: one[order] for task, one in outputs.items()}, turned)
    torch.testing.assert_close(before, after, rtol=1e-6, atol=0)


def test_a_batch_without_labels_gives_an_exact_attached_zero() -> None:
    outputs, labels = batch()
    nothing = {task: replace(one, mask=torch.zeros_like(one.mask)) for task, one in labels.items()}
    value = loss_of(outputs, nothing)
    value.backward()
    assert value.item() == 0
    assert all(one.grad is not None and (one.grad == 0).all() for one in outputs.values())


def test_weights_of_a_task_reach_its_cells_alone() -> None:
    _, labels = batch()
    weighted = replace(labels["expression"], weight=torch.full((9, 7), 2.0))
    union = union_of([weighted, labels["au"]])
    assert union.weight is not None
    assert union.weight[:, :7].unique().tolist() == [2.0]
    assert union.weight[:, 7:].unique().tolist() == [1.0]


@pytest.mark.parametrize(("reduction", "count"), [("cells", 4 * 7 + 4 * 11), ("batch_total", 9 * 18), ("rows", 8)])
def test_the_coupling_trains_every_task_and_counts_what_its_mean_runs_over(reduction: str, count: int) -> None:
    coupling = SelectiveSigmoidCrossEntropy(bench(*HEADS), SelectiveOptions.model_validate({"reduction": reduction}))
    outputs, labels = batch()
    term = coupling(step(outputs, labels))
    assert coupling.trains == {"expression", "au"}
    assert term.count == count
    torch.testing.assert_close(term.loss, loss_of(outputs, labels, reduction))


def test_outputs_that_are_no_sigmoids_are_refused() -> None:
    with pytest.raises(RecipeError, match="outputs: independent"):
        SelectiveSigmoidCrossEntropy(bench(expression_head("expr7"), au_head("emotionet11")), SelectiveOptions())
    with pytest.raises(RecipeError, match=r"va \(continuous\)"):
        SelectiveSigmoidCrossEntropy(bench(EMOTIONS, va_head()), SelectiveOptions())


def test_space_asks_for_the_label_space_of_every_dataset() -> None:
    options = SelectiveOptions.model_validate({"reduction": "space", "spaces": {"sfew": 7}})
    with pytest.raises(RecipeError, match="no label space of emotionet"):
        SelectiveSigmoidCrossEntropy(bench(*HEADS, datasets=("sfew", "emotionet")), options)
