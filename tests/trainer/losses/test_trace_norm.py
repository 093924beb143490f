"""Tensor trace norms and adversarial domain alignment: the worked numbers and degenerate readings of methods.md 3.7."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer.losses.trace_norm import (
    Norm,
    flattenings,
    nuclear_norm,
    share_index,
    stacked,
    tensor_trace_norm,
)

A, B = (1.0, 2.0, 2.0), (2.0, 1.0, 2.0)
ORACLE = torch.tensor([A, B], dtype=torch.float64)
DIRECTION = torch.tensor([[-0.1362, 0.8638, 0.4851], [0.8638, -0.1362, 0.4851]], dtype=torch.float64)


def gradient(matrix: Tensor) -> Tensor:
    leaf = matrix.clone().requires_grad_()
    nuclear_norm(leaf).backward()
    assert leaf.grad is not None
    return leaf.grad


def in_ascending_order(*shape: int) -> Tensor:
    return torch.arange(1, 1 + math.prod(shape), dtype=torch.float64).reshape(shape)


def terms(tensor: Tensor, norm: Norm) -> list[float]:
    return [nuclear_norm(matrix).item() for matrix in flattenings(tensor, norm)]


def test_the_norm_and_gradient_of_two_rows_by_closed_form_svd_and_central_differences() -> None:
    with_a_row_of_zeros = torch.cat([ORACLE, torch.zeros(1, 3, dtype=torch.float64)])  # three rows go through the SVD
    assert nuclear_norm(ORACLE).item() == pytest.approx(5.1231056, abs=1e-7)
    assert nuclear_norm(with_a_row_of_zeros).item() == pytest.approx(5.1231056, abs=1e-7)
    torch.testing.assert_close(gradient(ORACLE), DIRECTION, atol=5e-5, rtol=0)
    torch.testing.assert_close(gradient(with_a_row_of_zeros)[:2], DIRECTION, atol=5e-5, rtol=0)
    assert torch.autograd.gradcheck(nuclear_norm, ORACLE.clone().requires_grad_())


def test_orthogonal_rows_add_their_lengths_up() -> None:
    assert nuclear_norm(torch.tensor([[3.0, 0, 4, 0], [0, 5, 0, 12]])).item() == pytest.approx(18, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [2, 3])
def test_identical_rows_have_a_norm_at_its_minimum_and_a_finite_gradient(dtype: torch.dtype, rows: int) -> None:
    matrix = torch.tensor([A] * rows, dtype=dtype)
    assert nuclear_norm(matrix).item() == pytest.approx(math.sqrt(rows) * 3, abs=1e-6)
    assert gradient(matrix).isfinite().all()
    if rows == 2:
        torch.testing.assert_close(gradient(matrix), matrix / matrix.norm())


def test_a_layer_of_zeros_has_norm_zero_and_no_gradient() -> None:
    assert nuclear_norm(torch.zeros(2, 5)).item() == 0
    assert gradient(torch.zeros(2, 5)).abs().sum() == 0
    assert gradient(torch.zeros(3, 5)).abs().sum() == 0


def test_the_terms_of_a_tensor_of_1_to_16() -> None:
    tensor = in_ascending_order(2, 2, 2, 2)
    assert terms(tensor, "tucker") == pytest.approx([42.29994, 41.97394, 40.49691, 39.61466], abs=5e-6)
    assert terms(tensor, "tt") == pytest.approx([42.29994, 40.69398, 39.61466], abs=5e-6)
    assert terms(tensor, "laf") == pytest.approx([39.61466], abs=5e-6)
    assert tensor_trace_norm(tensor, "tt").item() == pytest.approx(122.60858, abs=2e-5)


def test_the_order_of_the_axes_matters_to_tt_and_not_to_laf_or_tucker() -> None:
    tensor = in_ascending_order(2, 3, 2, 2)
    swapped = tensor.transpose(0, 1)
    assert terms(tensor, "tt") == pytest.approx([76.77364, 72.57139, 71.17372], abs=5e-6)
    assert terms(swapped, "tt") == pytest.approx([76.52970, 72.57139, 71.17372], abs=5e-6)
    for norm in ("laf", "tucker"):
        torch.testing.assert_close(tensor_trace_norm(tensor, norm), tensor_trace_norm(swapped, norm))


def test_kernels_are_stacked_as_height_width_in_out_task() -> None:
    kernels = [torch.randn(5, 4, 3, 2), torch.randn(5, 4, 3, 2)]
    tensor = stacked(kernels)
    assert tensor.shape == (3, 2, 4, 5, 2)
    assert tensor[2, 1, 3, 4, 1] == kernels[1][4, 3, 2, 1]


def test_the_share_index_is_zero_for_parallel_and_one_for_orthogonal_kernels() -> None:
    def of(*rows: tuple[float, ...]) -> float:
        return share_index(torch.tensor(rows, dtype=torch.float64).T).item()

    assert of(A, A) == pytest.approx(0, abs=1e-9)
    assert of(A, (2.0, 4.0, 4.0)) == pytest.approx(0, abs=1e-9)
    assert of((3, 0, 4, 0), (0, 5, 0, 0)) == pytest.approx(1, abs=1e-9)
    assert of(A, B) == pytest.approx(0.50102, abs=5e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), st.integers(2, 6), st.integers(0, 1 << 16))
def test_the_norm_is_that_of_numpy_and_its_gradient_the_orthogonal_factor(rows: int, columns: int, seed: int) -> None:
    matrix = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns)))
    u, s, vh = np.linalg.svd(matrix.numpy(), full_matrices=False)
    assert nuclear_norm(matrix).item() == pytest.approx(s.sum(), rel=1e-9)
    torch.testing.assert_close(gradient(matrix), torch.from_numpy(u @ vh), atol=1e-6, rtol=1e-6)
