"""Soft co-annotation: what a picture's AUs say of its expression, as a distribution to learn.

Kollias, Sharmanska & Zafeiriou 2019, section 2.2; methods.md 2.4 (readings B10, B11). The distribution is that of
`affect co-annotate --mode soft`. It is made for every row with AUs and without an expression, and it is a constant.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from affectdata.labels.coannotation import SOFT_CLASSES, Cells, Rule, soft_emotions
from affectdata.labels.relatedness import relatedness
from manifests.errors import RecipeError
from manifests.vocabulary import AUS, au_column
from trainer.losses.coupling import Bench, Coupling, Step, Term
from trainer.losses.emotion_prior import expression_and_aus
from trainer.losses.masked import Labels
from trainer.settings import Part


class SoftOptions(Part):
    """What the recipe may say about the coupling soft_co_annotation."""

    table: str = "du2014"
    """Relatedness table: du2014, affwild2, or the path of a TOML file that `affect relate` wrote."""
    temperature: float = Field(default=1.0, gt=0)
    """Divides the scores; at 1, the paper's, the largest target that seven classes can have is 0.31."""
    neutral: Literal["rest", "none"] = "rest"
    """Score of neutral: rest, 1 - the largest AU; none: neutral is never a target."""


class SoftCoAnnotation(Coupling):
    """Cross-entropy of the expression head to what the AU labels say, over rows that have no expression.

    Notes `entropy`: mean entropy of the targets in nats; ln 7 = 1.946 is flat.
    """

    name = "soft_co_annotation"
    Options: ClassVar[type[Part]] = SoftOptions

    def __init__(self, bench: Bench, options: SoftOptions) -> None:
        super().__init__(bench, options)
        expression, au = expression_and_aus(bench, self.name)
        lacking = [name for name in SOFT_CLASSES if name not in expression.outputs]
        if lacking:
            raise RecipeError(
                f"coupling {self.name}", found=f"no class {', '.join(lacking)}", expected="expr7 or wider"
            )
        columns = [au_column(au) for au in AUS]
        self.columns = [columns.index(name) for name in au.outputs]
        self.classes = expression.outputs
        space = tuple(AUS[column] for column in self.columns)
        self.rule = Rule(relatedness(options.table), space, neutral=options.neutral, temperature=options.temperature)

    def forward(self, step: Step) -> Term:
        """The mean over the rows that get a distribution."""
        logits = step.outputs["expression"].float()
        target = self.targets(step.labels["au"]).to(logits.device)
        rows = (target.sum(dim=1) > 0) & ~step.rows["expression"]
        target = torch.where(rows[:, None], target, 0.0)
        count = rows.sum()
        loss = -(target * functional.log_softmax(logits, dim=1)).sum() / count.clamp(min=1)
        entropy = torch.special.entr(target).sum() / count.clamp(min=1)
        return Term(loss, count, {"entropy": entropy})

    def targets(self, aus: Labels) -> Tensor:
        """float32 [B, C]: a distribution over the expression head's classes; zeros where no AU of the head is known.

        Args:
            aus: Labels of the AU head, [B, K].
        """
        mask = aus.mask.cpu().numpy()
        present = np.where(mask, (aus.target >= 0.5).cpu().numpy(), -1)
        cells: Cells = np.full((len(mask), len(AUS)), -1, np.int8)
        cells[:, self.columns] = present
        spread = np.nan_to_num(soft_emotions(self.rule, cells)).astype(np.float32)
        wide = np.zeros((len(mask), len(self.classes)), np.float32)
        wide[:, [self.classes.index(name) for name in SOFT_CLASSES]] = spread
        return torch.from_numpy(wide)
