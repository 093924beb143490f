"""Tensor trace norms of stacked kernels (Hu et al. 2018, section 2.2; methods.md 3.1, 3.2).

The kernels that T networks have at one layer are stacked into a tensor [kh, kw, in, out, T]; a small trace norm of its
flattenings means that the networks share.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
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


WELL_CONDITIONED = 100.0
"""Up to this ratio of the largest singular value to the smallest, the gradient is multiplied out in the matrix's own
precision, where an SVD in that precision is no closer to U V^T."""


class _NuclearNorm(torch.autograd.Function):
    """Sum of singular values, with the subgradient U V^T: a decomposition itself is not differentiated (T2 [D])."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        tall = matrix.shape[0] > matrix.shape[1]
        with torch.autocast(matrix.device.type, enabled=False):
            value, direction = _of_wide(matrix.T if tall else matrix)
        ctx.save_for_backward(direction.T if tall else direction)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (direction,) = ctx.saved_tensors
        result: Tensor = gradients[0] * direction
        return result


def nuclear_norm(matrix: Tensor) -> Tensor:
    """||W||_*, the sum of the singular values of a matrix [m, n]; its gradient is U V^T from W = U S V^T.

    Both come from the eigenvalues of the Gram matrix of the shorter side, not from an SVD. They are squares, so float64
    tells singular values down to 1e-8 of the largest: a missing one adds that much. NaN where the matrix is not finite.
    """
    norm: Tensor = _NuclearNorm.apply(matrix)
    return norm


def _of_wide(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """||W||_* and U V^T = (W W^T)^-1/2 W of a matrix [m, n], m <= n."""
    wide = matrix.double()
    gram = wide @ wide.T
    norm, root, condition = _of_two_rows(gram) if len(gram) == 2 else _of_rows(gram)
    if bool(condition < WELL_CONDITIONED):
        wide = matrix.float() if matrix.dtype == torch.bfloat16 else matrix
    return norm.to(matrix.dtype), (root.to(wide.dtype) @ wide).to(matrix.dtype)


def _of_rows(gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """tr G^1/2, G^-1/2 over what is not negligible, and the largest singular value over the least.

    Multiplied by W, what rounding left of a negligible direction vanishes: there W is as small.
    """
    if not bool(gram.isfinite().all()):  # eigh would raise
        unknown = torch.full_like(gram, torch.nan)
        return unknown[0, 0], unknown, unknown[0, 0]
    squares, vectors = torch.linalg.eigh(gram)
    s = squares.clamp(min=0).sqrt()
    inverse = torch.where(s > NEGLIGIBLE * s[-1], 1 / s, 0)
    return s.sum(), (vectors * inverse) @ vectors.T, s[-1] / s[0]


def _of_two_rows(gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same for T = 2: with s = sqrt(det G), t = sqrt(tr G + 2 s), tr G^1/2 = t and G^-1/2 = t (G + s I)^-1."""
    one = torch.eye(2, dtype=gram.dtype, device=gram.device)
    trace, s = gram.trace(), torch.linalg.det(gram).clamp(min=0).sqrt()
    norm = (trace + 2 * s).sqrt()
    if not bool(s > NEGLIGIBLE * trace):  # rank 1: then U V^T = W / ||W||_F
        return norm, one / norm.clamp(min=torch.finfo(gram.dtype).tiny), trace / s
    return norm, norm * torch.linalg.inv(gram + s * one), trace / s


def stacked(kernels: Sequence[Tensor]) -> Tensor:
    """Kernels [out, in, kh, kw] of T networks as one tensor [kh, kw, in, out, T] (T1 [D]: TT depends on the order)."""
    return torch.stack(list(kernels)).permute(3, 4, 2, 1, 0)


def flattenings(tensor: Tensor, norm: Norm) -> list[Tensor]:
    """The matrices whose nuclear norms make up a norm of a tensor [D_1, ..., D_N] (eqs. 1-3).

    laf: last axis against the rest; tucker: each axis i against the rest; tt: axes 1 ... i against axes i+1 ... N for
    i = 1 ... N - 1. The last axis against the rest, as [D_N, D_1 ... D_N-1], is the last of each.
    """
    last = tensor.ndim - 1
    if norm == "tt":
        return [*(_matrix(tensor, range(i)) for i in range(1, last)), _matrix(tensor, [last])]
    return [_matrix(tensor, [i]) for i in (range(last + 1) if norm == "tucker" else [last])]


def _matrix(tensor: Tensor, rows: Container[int]) -> Tensor:
    """Some axes against the rest, each side in the order in memory: no singular value depends on it, and less moves."""
    axes = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    down = [axis for axis in axes if axis in rows]
    height = math.prod(tensor.shape[axis] for axis in down)
    return tensor.permute(*down, *(axis for axis in axes if axis not in rows)).reshape(height, -1)


def flattening_norms(tensor: Tensor, norm: Norm) -> Tensor:
    """The nuclear norm of every flattening; the last is that of the last axis."""
    return torch.stack([nuclear_norm(matrix) for matrix in flattenings(tensor, norm)])


def tensor_trace_norm(tensor: Tensor, norm: Norm) -> Tensor:
    """Sum of the nuclear norms of the flattenings, all with weight 1."""
    return flattening_norms(tensor, norm).sum()


def share_index(tensor: Tensor, last: Tensor) -> Tensor:
    """(||W||_* / ||W||_F - 1) / (sqrt(min(T, D)) - 1) of the last-axis flattening, T > 1 (T6 [D]).

    0: the networks' kernels are parallel; 1: orthogonal and equally long. TNDR also falls when weights merely shrink,
    this does not.

    Args:
        tensor: [kh, kw, in, out, T].
        last: ||W||_*, the last of `flattening_norms`.
    """
    tasks = tensor.shape[-1]
    ratio = last / tensor.norm().clamp(min=torch.finfo(tensor.dtype).tiny)
    index: Tensor = (ratio - 1) / (math.sqrt(min(tasks, tensor.numel() // tasks)) - 1)
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
        terms = torch.stack([flattening_norms(tensor, self.norm) for tensor in stacks])
        norms = terms.sum(-1)
        with torch.no_grad():
            tndr = norms / self.start
            shares = torch.stack([share_index(*each) for each in zip(stacks, terms[:, -1], strict=True)])
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
