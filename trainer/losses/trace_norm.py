"""Tensor trace norms of stacked kernels (Hu et al. 2018, section 2.2; methods.md 3.1, 3.2).

The kernels that T networks have at one layer are stacked into a tensor [kh, kw, in, out, T]; a small trace norm of its
flattenings means that the networks share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.losses.coupling import Bench, Coupling, Step, Term
from trainer.networks.separate import Separate
from trainer.networks.sharing import TaskNetwork
from trainer.settings import Part

Norm = Literal["laf", "tucker", "tt"]

STRENGTH: Mapping[str, float] = {"laf": 1e-3, "tucker": 3.9e-5, "tt": 5.0e-5}
"""T3 [D]: gamma is not printed. 1e-3 is that of the demonstration of TNRDMTL [C]; the others give two ResNet-34 as timm
initialises them (normal, by fan-out) the same start value, 1.28."""

NEGLIGIBLE = 1e-7
"""T2 [D]: singular values below this share of the largest have no part in the gradient."""


class _NuclearNorm(torch.autograd.Function):
    """Sum of singular values, with the subgradient U V^T: a decomposition itself is not differentiated (T2 [D])."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        with torch.autocast(matrix.device.type, enabled=False):
            value, direction = _of_two_rows(matrix) if matrix.shape[0] == 2 else _of_any(matrix)
        ctx.save_for_backward(direction)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (direction,) = ctx.saved_tensors
        result: Tensor = gradients[0] * direction
        return result


def nuclear_norm(matrix: Tensor) -> Tensor:
    """||W||_*, the sum of the singular values of a matrix [m, n]; its gradient is U V^T from W = U S V^T."""
    norm: Tensor = _NuclearNorm.apply(matrix)
    return norm


def _of_any(matrix: Tensor) -> tuple[Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(matrix.float() if matrix.dtype == torch.bfloat16 else matrix, full_matrices=False)
    kept = (s > NEGLIGIBLE * s.max()).to(s.dtype)
    return s.sum().to(matrix.dtype), ((u * kept) @ vh).to(matrix.dtype)


def _of_two_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The closed form for T = 2, in float64 as it subtracts nearly equal squares: exact, and without an SVD.

    G = W W^T, s = sqrt(det G), t = sqrt(tr G + 2 s): ||W||_* = t and U V^T = t (G + s I)^-1 W.
    """
    wide = matrix.double()
    gram = wide @ wide.T
    s = torch.linalg.det(gram).clamp(min=0).sqrt()
    norm = (gram.trace() + 2 * s).sqrt()
    if not bool(s > NEGLIGIBLE * gram.trace()):  # rank 1: then U V^T = W / ||W||_F
        direction = wide / wide.norm().clamp(min=torch.finfo(torch.float64).tiny)
    else:
        direction = norm * torch.linalg.solve(gram + s * torch.eye(2, dtype=s.dtype, device=s.device), wide)
    return norm.to(matrix.dtype), direction.to(matrix.dtype)


def stacked(kernels: Sequence[Tensor]) -> Tensor:
    """Kernels [out, in, kh, kw] of T networks as one tensor [kh, kw, in, out, T] (T1 [D]: TT depends on the order)."""
    return torch.stack([kernel.permute(2, 3, 1, 0) for kernel in kernels], -1)


def flattenings(tensor: Tensor, norm: Norm) -> list[Tensor]:
    """The matrices whose nuclear norms make up a norm of a tensor [D_1, ..., D_N] (eqs. 1-3).

    laf: last axis against the rest; tucker: each axis i, first, against the rest in order; tt: [D_1 ... D_i,
    D_i+1 ... D_N] for i = 1 ... N - 1.
    """
    axes = range(tensor.ndim)
    if norm == "tt":
        return [tensor.reshape(math.prod(tensor.shape[: i + 1]), -1) for i in axes[:-1]]
    chosen = axes if norm == "tucker" else axes[-1:]
    return [tensor.movedim(i, 0).reshape(tensor.shape[i], -1) for i in chosen]


def tensor_trace_norm(tensor: Tensor, norm: Norm) -> Tensor:
    """Sum of the nuclear norms of the flattenings, all with weight 1."""
    return torch.stack([nuclear_norm(matrix) for matrix in flattenings(tensor, norm)]).sum()


def share_index(tensor: Tensor) -> Tensor:
    """(||W||_* / ||W||_F - 1) / (sqrt(min(T, D)) - 1) of the last-axis flattening, T > 1 (T6 [D]).

    0: the networks' kernels are parallel; 1: orthogonal and equally long. TNDR also falls when weights merely shrink,
    this does not.
    """
    (matrix,) = flattenings(tensor, "laf")
    ratio = nuclear_norm(matrix) / matrix.norm().clamp(min=torch.finfo(matrix.dtype).tiny)
    index: Tensor = (ratio - 1) / (math.sqrt(min(matrix.shape)) - 1)
    return index


class TraceNormOptions(Part):
    """Which norm, of which layers."""

    norm: Norm = "laf"
    """laf: last axis flattening; tucker, tt: the norms of those decompositions, which also share within a task."""
    gamma: float | None = Field(default=None, ge=0)
    """Weight of every flattening; null: 1e-3 for laf, 3.9e-5 for tucker, 5.0e-5 for tt (T3 [D])."""
    include_projections: bool = False
    """T4 [D]: the 1 x 1 projections of a ResNet's shortcuts too; the paper's 33 layers of ResNet-34 exclude them."""


class TraceNorm(Coupling):
    """gamma times the tensor trace norms of all convolutions, summed; only their kernels get a gradient.

    Notes: per layer `tndr_<nn>`, the norm over the norm that it started with (TNDR [P]: smaller is more sharing), and
    `share_<nn>`, see `share_index`; nn counts from 01 in the order of the network. Weight decay of the kernels would
    lower TNDR too: recipes train without (T6).

    Args:
        bench: Of a network of the scheme `separate` with two tasks or more.
        options: Which norm.

    Raises:
        RecipeError: Another scheme, or a single task.
    """

    name = "trace-norm"
    Options = TraceNormOptions
    start: Tensor

    def __init__(self, bench: Bench, options: TraceNormOptions) -> None:
        super().__init__(bench, options)
        network = _separate(bench.network)
        self.norm: Norm = options.norm
        self.gamma = STRENGTH[options.norm] if options.gamma is None else options.gamma
        self.layers = shareable(network, include_projections=options.include_projections)
        with torch.no_grad():
            start = torch.stack([tensor_trace_norm(tensor, self.norm) for tensor in self._stacks(network)])
        self.register_buffer("start", start)

    def forward(self, step: Step) -> Term:
        """The penalty of the network as it is; no batch enters."""
        stacks = self._stacks(step.network)
        norms = torch.stack([tensor_trace_norm(tensor, self.norm) for tensor in stacks])
        with torch.no_grad():
            tndr = norms / self.start
            shares = torch.stack([share_index(tensor) for tensor in stacks])
        notes = {f"tndr_{n:02}": value for n, value in enumerate(tndr, 1)}
        notes |= {f"share_{n:02}": value for n, value in enumerate(shares, 1)}
        return Term(self.gamma * norms.sum(), notes=notes)

    def _stacks(self, network: TaskNetwork) -> list[Tensor]:
        trunks = list(_separate(network).backbones.values())
        return [stacked([trunk.get_parameter(layer) for trunk in trunks]) for layer in self.layers]


def _separate(network: TaskNetwork) -> Separate:
    if not isinstance(network, Separate) or len(network.specs) < 2:
        raise RecipeError(
            "coupling trace-norm",
            found=f"scheme {network.name}, tasks {', '.join(s.task for s in network.specs)}",
            expected="one network per task: `sharing: {scheme: separate}`, and two tasks or more",
        )
    return network


def shareable(network: Separate, *, include_projections: bool = False) -> list[str]:
    """Kernels of the convolutions that every trunk has, as parameter names, in the order of the network.

    On ResNet-34 the 33 of the main path.
    """
    trunk = next(iter(network.backbones.values()))
    return [
        f"{name}.weight"
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Conv2d) and (include_projections or "downsample" not in name)
    ]
