"""Whether the parts of a recipe fit each other, asked before the first batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from manifests.errors import RecipeError
from trainer.losses.coupling import Coupling
from trainer.losses.masked import MaskedLoss
from trainer.losses.registry import losses as known_losses
from trainer.networks.heads import HeadSpec
from trainer.networks.sharing import Parts, TaskNetwork


def check_composition(network: TaskNetwork, losses: Mapping[str, MaskedLoss], parts: Parts) -> None:
    """Refuse a network and losses that do not fit each other or the pictures.

    Args:
        network: Moved nowhere, trained by nothing: its buffers stay as they are.
        losses: By task; a task that a coupling trains has none.
        parts: What the network was built of.

    Raises:
        RecipeError: A loss without a head, a loss of another kind of output, weights of another length than the
            head, or pictures that the backbone cannot take. The message says what fits.
    """
    specs = {spec.task: spec for spec in network.specs}
    if not losses.keys() <= specs.keys():
        raise RecipeError(
            "losses without a head",
            found=f"heads {', '.join(specs)}; losses {', '.join(losses)}",
            expected="one loss per head",
        )
    for task, loss in losses.items():
        _check_loss(specs[task], loss)
    _check_picture(network, parts)


def check_trained(network: TaskNetwork, losses: Mapping[str, MaskedLoss], couplings: Iterable[Coupling]) -> None:
    """Refuse a task that neither its own loss nor a coupling trains.

    Raises:
        RecipeError: Names the task.
    """
    trained = frozenset(losses).union(*(coupling.trains for coupling in couplings))
    for spec in network.specs:
        if spec.task not in trained:
            raise RecipeError(
                f"nothing trains the task {spec.task}",
                found="loss: none, and no coupling that trains it",
                expected="a loss, or such a coupling",
                then=f"set tasks.{spec.task}.loss",
            )


def _check_loss(spec: HeadSpec, loss: MaskedLoss) -> None:
    if spec.kind not in loss.fits:
        fitting = [name for name, kind in known_losses().items() if spec.kind in kind.fits]
        raise RecipeError(
            f"loss {loss.name} of the task {spec.task}",
            found=f"a loss for {', '.join(sorted(loss.fits))}",
            expected=f"one for {spec.kind}: {', '.join(fitting)}",
        )
    for option, weight in loss.named_buffers():
        if weight.numel() != len(spec.outputs):
            raise RecipeError(
                f"{option} of the loss {loss.name} of the task {spec.task}",
                found=f"{weight.numel()} weights",
                expected=f"{len(spec.outputs)}, one for each of {', '.join(spec.outputs[:9])}",
            )


def _check_picture(network: TaskNetwork, parts: Parts) -> None:
    spec = parts.backbone
    channels, height, width = parts.picture
    if channels != spec.in_chans:
        raise RecipeError(
            f"backbone {spec.name} takes {spec.in_chans} channels",
            found=f"pictures of {channels}",
            then=f"in_chans: {channels}, or another alignment",
        )
    try:
        outputs = _tried(network, (1, channels, height, width))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise RecipeError(
            f"backbone {spec.name} cannot take pictures of {height} x {width}",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            then="stem: small, kwargs that suit the size (img_size, patch_size), or a larger alignment",
        ) from None
    for head in network.specs:
        expected = (1, len(head.outputs))
        if head.task not in outputs or outputs[head.task].shape != expected:
            raise RecipeError(
                f"head of {head.task} on backbone {spec.name}",
                found=", ".join(f"{name} of shape {tuple(out.shape)}" for name, out in outputs.items()),
                expected=f"{expected}: a backbone that pools its features to one vector",
            )


@torch.no_grad()
def _tried(network: nn.Module, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Outputs for one blank picture, in evaluation mode so that no running statistic moves."""
    training = network.training
    device = next(network.parameters()).device
    try:
        outputs: dict[str, Tensor] = network.eval()(torch.zeros(shape, device=device))
    finally:
        network.train(training)
    return outputs
