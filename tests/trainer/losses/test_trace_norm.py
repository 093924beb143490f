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


def test_the_norm_and_gradient_of_two_rows_by_closed_form_eigenvalues_and_central_differences() -> None:
    with_a_row_of_zeros = torch.cat([ORACLE, torch.zeros(1, 3, dtype=torch.float64)])  # three rows: eigenvalues
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
        tensor = torch.tensor(rows, dtype=torch.float64).T
        return share_index(tensor, nuclear_norm(tensor)).item()

    assert of(A, A) == pytest.approx(0, abs=1e-9)
    assert of(A, (2.0, 4.0, 4.0)) == pytest.approx(0, abs=1e-9)
    assert of((3, 0, 4, 0), (0, 5, 0, 0)) == pytest.approx(1, abs=1e-9)
    assert of(A, B) == pytest.approx(0.50102, abs=5e-6)


def by_svd(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The norm and U V^T without the singular values that are none, in float64."""
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    return s.sum(), (u * (s > 1e-7 * s.max())) @ vh


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 3),
    st.integers(0, 1 << 16),
    st.sampled_from([(torch.float32, 1e-5), (torch.float64, 1e-8)]),
    st.sampled_from([2.0**-40, 1.0, 2.0**40]),
)
def test_the_norm_and_gradient_are_those_of_the_svd_at_any_rank(
    rows: int, columns: int, rank: int, seed: int, precision: tuple[torch.dtype, float], scale: float
) -> None:
    dtype, tolerance = precision
    random = np.random.default_rng(seed)
    whole = random.integers(-3, 4, (rows, rank)) @ random.integers(-3, 4, (rank, columns))  # exact: no rank by rounding
    matrix = torch.from_numpy(whole).to(dtype) * scale
    norm, direction = by_svd(matrix)
    assert nuclear_norm(matrix).item() == pytest.approx(norm.item(), rel=1e-6)
    torch.testing.assert_close(gradient(matrix).double(), direction, atol=tolerance, rtol=0)


@pytest.mark.parametrize("condition", [10, 90, 110, 1e4, 1e6])
def test_ill_conditioned_matrices_keep_their_gradient(condition: float) -> None:
    random = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 12, generator=random).double())[0] for n in (12, 80))
    matrix = ((left * torch.logspace(0, -math.log10(condition), 12)) @ right.T).float()
    norm, direction = by_svd(matrix)
    assert nuclear_norm(matrix).item() == pytest.approx(norm.item(), rel=1e-6)
    torch.testing.assert_close(gradient(matrix).double(), direction, atol=1e-4, rtol=0)
    torch.testing.assert_close(gradient(matrix.T).double(), direction.T, atol=1e-4, rtol=0)


def test_long_flattenings_keep_their_digits() -> None:
    matrix = torch.randn(3, 1 << 18, generator=torch.Generator().manual_seed(0))  # an SVD in float32 is off by 1e-5
    assert nuclear_norm(matrix).item() == pytest.approx(by_svd(matrix)[0].item(), rel=1e-6)


@pytest.mark.parametrize("rows", [2, 3])
def test_weights_that_are_not_finite_have_no_norm(rows: int) -> None:
    assert nuclear_norm(torch.full((rows, 4), torch.inf)).isnan()


@pytest.mark.parametrize("identical", [False, True])
@pytest.mark.parametrize("norm", ["laf", "tucker", "tt"])
def test_norms_of_kernels_as_they_lie_in_memory_are_those_of_the_printed_flattenings(
    norm: Norm, identical: bool
) -> None:
    random = torch.Generator().manual_seed(0)
    kernels = [torch.randn(4, 3, 2, 2, generator=random, dtype=torch.float64) for _ in range(3)]
    kernels = [(kernels[0] if identical else kernel).clone().requires_grad_() for kernel in kernels]
    tensor = torch.stack([kernel.permute(2, 3, 1, 0) for kernel in kernels], -1)
    printed: dict[str, list[Tensor]] = {
        "laf": [tensor.movedim(4, 0).reshape(3, -1)],
        "tucker": [tensor.movedim(i, 0).reshape(tensor.shape[i], -1) for i in range(5)],
        "tt": [tensor.reshape(math.prod(tensor.shape[:i]), -1) for i in range(1, 5)],
    }
    found = tensor_trace_norm(stacked(kernels), norm)
    expected = torch.stack(
        [(by_svd(matrix.detach())[1] * matrix).sum() for matrix in printed[norm]]
    ).sum()  # tr V U^T W
    assert found.item() == pytest.approx(expected.item(), rel=1e-7)
    for mine, theirs in zip(torch.autograd.grad(found, kernels), torch.autograd.grad(expected, kernels), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-7, rtol=0)
