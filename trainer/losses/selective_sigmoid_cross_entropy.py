"""The loss of SJMT: one sigmoid cross-entropy over the union of all label sets, blind to what a dataset leaves out.

Pons & Masip 2018, eq. 1 and 2; methods.md 1.1. Emotions are independent outputs beside the AUs (reading S3): an image
with an emotion is a positive of it and a negative of the other emotions that its annotators could choose. Its AUs are
unknown, never negative (S5), and the reverse.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from manifests.errors import RecipeError
from trainer.losses.binary_cross_entropy import BinaryCrossEntropy
from trainer.losses.coupling import Bench, Coupling, Step, Term
from trainer.losses.masked import Labels, Reduction, counted, known
from trainer.settings import Part


class SelectiveOptions(Part):
    """What the recipe may say about the coupling selective_sigmoid_cross_entropy."""

    reduction: Reduction = Reduction.CELLS
    """What the paper's N is: cells, the labelled cells of the batch; batch_total, all outputs; space, the outputs that
    the row's dataset labels; rows and weighted_rows, row by row."""
    spaces: dict[str, int] = Field(default_factory=dict)
    """With reduction space: dataset -> number of these outputs that it labels."""


class SelectiveSigmoidCrossEntropy(Coupling):
    """Trains every task whose outputs are sigmoids with one loss instead of one each.

    Raises:
        RecipeError: A task with other outputs than sigmoids, or `space` without the label space of each dataset.
    """

    name = "selective_sigmoid_cross_entropy"
    Options: ClassVar[type[Part]] = SelectiveOptions

    def __init__(self, bench: Bench, options: SelectiveOptions) -> None:
        super().__init__(bench, options)
        specs = {spec.task: spec.kind for spec in bench.network.specs}
        other = [f"{task} ({kind})" for task, kind in specs.items() if kind != "binary"]
        if other:
            raise RecipeError(
                f"coupling {self.name}",
                found=f"outputs of {', '.join(other)}",
                expected="sigmoid outputs of every task",
                then="set tasks.expression.outputs: independent, and leave other tasks out",
            )
        self.tasks = tuple(specs)
        self.trains = frozenset(specs)
        self.reduction = options.reduction
        self.register_buffer("spaces", _spaces(self.name, bench.datasets, options))

    def forward(self, step: Step) -> Term:
        """The loss over all outputs of the batch."""
        union = union_of([step.labels[task] for task in self.tasks])
        if isinstance(self.spaces, Tensor):
            union = Labels(union.target, union.mask, union.weight, space=self.spaces[step.dataset])
        logits = [step.outputs[task] for task in self.tasks]
        loss = selective_sigmoid_cross_entropy(logits, union, reduction=self.reduction)
        return Term(loss, counted(union.mask, union.weight, how=self.reduction, space=union.space))


def selective_sigmoid_cross_entropy(
    outputs: list[Tensor], union: Labels, *, reduction: str = Reduction.CELLS
) -> Tensor:
    """Scalar loss in float32; an exact attached 0 where nothing is labelled.

    Args:
        outputs: Logits [B, J_t] of each task. No non-linearity stands before the sigmoid (reading S2).
        union: See `union_of`.
        reduction: What the paper's N is (reading S1). `cells` divides by the labelled cells of the batch, so that
            an output that nobody labels changes nothing; `batch_total` by all outputs, `space` by those that the
            row's dataset labels, `rows` row by row.
    """
    loss: Tensor = BinaryCrossEntropy(reduction=reduction)(torch.cat([one.float() for one in outputs], dim=1), union)
    return loss


def union_of(labels: list[Labels]) -> Labels:
    """The cells of several tasks side by side: [B, J], J the sum of their outputs."""
    some = any(one.weight is not None for one in labels)
    weights = [torch.ones_like(one.mask, dtype=torch.float32) if one.weight is None else one.weight for one in labels]
    return Labels(
        target=torch.cat([known(one.target, one.mask) for one in labels], dim=1),
        mask=torch.cat([one.mask for one in labels], dim=1),
        weight=torch.cat(weights, dim=1) if some else None,
    )


def _spaces(name: str, datasets: tuple[str, ...], options: SelectiveOptions) -> Tensor | None:
    """Size of each dataset's label space, int64, or None where the reduction does not ask for it."""
    if options.reduction is not Reduction.SPACE:
        return None
    missing = [dataset for dataset in datasets if dataset not in options.spaces]
    if missing:
        raise RecipeError(
            f"reduction space of the coupling {name}",
            found=f"no label space of {', '.join(missing)}",
            expected="for every dataset, how many of the outputs it labels",
            then=f"options: {{reduction: space, spaces: {{{missing[0]}: 7}}}}",
        )
    return torch.tensor([options.spaces[dataset] for dataset in datasets])
