"""Adversarial domain alignment, ADA (Hu et al. 2018, section 2.3; methods.md 3.3)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from manifests.errors import RecipeError
from trainer.losses.coupling import Bench, Coupling, Step, Term
from trainer.networks.gradient_reversal import reversal_ramp, reversed_gradient
from trainer.networks.sharing import TaskNetwork, features_of
from trainer.settings import Part


class DomainAlignmentOptions(Part):
    """The classifier of domains, and how it is fooled."""

    hidden: tuple[int, ...] = Field(default=(128, 64), min_length=1)
    """[P] Widths between the features and one output per domain; ReLU between, no dropout (T7 [D])."""
    method: Literal["reversal", "alternating"] = "reversal"
    """T7 [D]. reversal: the classifier learns while its gradient reaches the features with the sign turned and growing
    strength; alternating: one step for the classifier, one for the features with the negated loss."""


class DomainAlignment(Coupling):
    """Features of every task's network on its own rows, from which nobody shall tell the task (eq. 4).

        max over the networks, min over the classifier g:   CE(g(Z), domain),   Z = [f_1(X_1) ... f_T(X_T)]

    The domain of a row is the task whose network read it: each task has its own dataset. The mean is over the rows of
    all domains. Note `accuracy`: how often the classifier is right; 1 / T where it is fooled.

    Args:
        bench: Of a network that gives features, with two tasks or more.
        options: The classifier.

    Raises:
        RecipeError: A single task, or features of several lengths.

    With `alternating` the classifier has no gradient in every other step, which DDP does not take: one process.
    """

    name = "ada"
    Options = DomainAlignmentOptions
    fooling: Tensor

    def __init__(self, bench: Bench, options: DomainAlignmentOptions) -> None:
        super().__init__(bench, options)
        self.tasks = tuple(spec.task for spec in bench.network.specs)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((_width(bench.network), *options.hidden)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.classifier = nn.Sequential(*layers, nn.Linear(options.hidden[-1], len(self.tasks)))
        self.method = options.method
        self.register_buffer("fooling", torch.tensor(False))

    def forward(self, step: Step) -> Term:
        """Loss of the classifier; what reaches the features is the opposite."""
        parts = [features_of(step.outputs, task)[step.rows[task]].float() for task in self.tasks]
        features = torch.cat(parts)
        domain = torch.cat([torch.full((len(part),), n, device=part.device) for n, part in enumerate(parts)])
        count = torch.tensor(len(domain), device=domain.device)
        if not len(domain):
            return Term(self.classifier(features).sum(), count)
        logits, sign = self._logits(features, step.done)
        loss = sign * functional.cross_entropy(logits, domain)
        return Term(loss, count, {"accuracy": (logits.argmax(1) == domain).float().mean()})

    def _logits(self, features: Tensor, done: float) -> tuple[Tensor, float]:
        """Logits [n, T], and the sign of the loss."""
        if self.method == "reversal":
            return self.classifier(reversed_gradient(features, reversal_ramp(done))), 1.0
        fooling = bool(self.fooling)
        self.fooling = ~self.fooling
        if not fooling:
            return self.classifier(features.detach()), 1.0
        held = {name: parameter.detach() for name, parameter in self.classifier.named_parameters()}
        logits: Tensor = functional_call(self.classifier, held, (features,))
        return logits, -1.0


def _width(network: TaskNetwork) -> int:
    """Length of the features, the same for every task.

    Raises:
        RecipeError: The network gives none per task, or of several lengths, or has a single task.
    """
    widths: dict[str, int] = getattr(network, "features", {})
    if len(widths) < 2 or len(set(widths.values())) > 1:
        raise RecipeError(
            "coupling ada",
            found=f"scheme {network.name}, features {widths or 'none per task'}",
            expected="two tasks or more, whose networks give features of one length",
            then="sharing: {scheme: separate}, or hps with `layers` on a ResNet",
        )
    return next(iter(widths.values()))
