"""Softmax cross-entropy over the classes that a row's annotators could choose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from manifests.errors import RecipeError
from trainer.losses.masked import Labels, MaskedLoss, Reduction, known, reduce


class CrossEntropy(MaskedLoss):
    """Masked cross-entropy from logits [B, C]; targets are class indices [B] or distributions [B, C].

    The softmax runs over the offered classes only: RAF-DB's raters had no contempt, so an image of theirs is no
    evidence against it, and the logit of a class that was not offered gets no gradient from that row.

    Args:
        label_smoothing: Share in [0, 1) of the target spread evenly over the offered classes.
        class_weight: C weights >= 0, one per class term of the cross-entropy. They do not enter the divisor. In a
            recipe also `balanced`: from the training labels.
        logit_adjustment: tau >= 0; tau log prior is added to the logits in training (Menon et al. 2021, eq. 10), so
            that the plain logits answer as if classes were alike frequent.
        prior: C shares of the classes in training, which `logit_adjustment` needs; a recipe leaves them out.
        reduction: See `Reduction`; a row counts as one cell.

    A labelled class that the row's `offered` excludes gives an infinite loss rather than a wrong one:
    `check_offered` finds such rows before training.
    """

    name = "ce"
    fits = frozenset({"classes"})
    class_weight: Tensor | None
    shift: Tensor | None

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        class_weight: Sequence[float] | None = None,
        logit_adjustment: float = 0.0,
        prior: Sequence[float] | None = None,
        reduction: str = Reduction.CELLS,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise RecipeError("label_smoothing of the loss ce", found=f"{label_smoothing}", expected="0 <= it < 1")
        if logit_adjustment < 0 or (logit_adjustment > 0 and prior is None):
            raise RecipeError("logit_adjustment of the loss ce", found=f"{logit_adjustment}", expected="0 or more")
        self.label_smoothing = label_smoothing
        self.reduction = Reduction(reduction)
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer("class_weight", weight)
        shift = None if prior is None else logit_adjustment * torch.tensor(prior, dtype=torch.float32).log()
        self.register_buffer("shift", shift)

    def forward(self, output: Tensor, labels: Labels) -> Tensor:
        """Scalar loss; `labels.mask` is [B]."""
        logits, mask = output.float() if self.shift is None else output.float() + self.shift, labels.mask
        offered = torch.ones_like(logits, dtype=torch.bool)
        if labels.offered is not None:
            offered = labels.offered | ~mask[:, None]  # an unlabelled row may offer nothing: that is no 0/0
        target = self._distribution(labels.target, mask, offered)
        log_p = functional.log_softmax(logits.masked_fill(~offered, float("-inf")), dim=1)
        terms = -torch.where(target > 0, target * log_p, 0.0)
        if self.class_weight is not None:
            terms = terms * self.class_weight
        return reduce(terms.sum(dim=1), mask, labels.weight, how=self.reduction, space=labels.space)

    def _distribution(self, target: Tensor, mask: Tensor, offered: Tensor) -> Tensor:
        """Target distribution [B, C] in float32, smoothed over the offered classes."""
        if target.ndim == 1:
            hard = functional.one_hot(known(target, mask).long(), offered.shape[1]).float()
        else:
            hard = known(target, mask[:, None])
        if self.label_smoothing == 0:
            return hard
        even = offered.float() / offered.sum(dim=1, keepdim=True).clamp(min=1)
        return (1 - self.label_smoothing) * hard + self.label_smoothing * even * hard.sum(dim=1, keepdim=True)


def check_offered(target: Tensor, mask: Tensor, offered: Tensor, classes: Sequence[str]) -> None:
    """Refuse labels that contradict the classes their source says it offered.

    Args:
        target: Class indices [N] or distributions [N, C].
        mask: Bool [N].
        offered: Bool [N, C].
        classes: Names of the C classes, for the message.

    Raises:
        RecipeError: Some labelled row has a class that its annotators could not choose.
    """
    if target.ndim == 1:
        given = functional.one_hot(known(target, mask).long(), len(classes)).bool()
    else:
        given = known(target, mask[:, None]) > 0
    wrong = given & ~offered & mask[:, None]
    if bool(wrong.any()):
        names = [name for name, hit in zip(classes, wrong.any(dim=0).tolist(), strict=True) if hit]
        raise RecipeError(
            "expression labels that their own source says could not be chosen",
            found=f"{int(wrong.any(dim=1).sum())} rows with {', '.join(names)}",
            expected="every labelled class among the offered classes of its label layer",
            then="correct `offered` of the label layer, or ingest the dataset again",
        )
