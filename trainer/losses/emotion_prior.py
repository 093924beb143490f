"""A relatedness table as the matrix p(AU | expression) over the outputs of two heads (methods.md 2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from affectdata.labels.coannotation import weights_of
from affectdata.labels.relatedness import RelatednessTable
from manifests.errors import RecipeError
from manifests.vocabulary import AUS, au_column
from trainer.losses.coupling import Bench
from trainer.networks.heads import HeadSpec


def prior_of(table: RelatednessTable, classes: Sequence[str], aus: Sequence[str], *, weighted: bool = False) -> Tensor:
    """float32 [C, K]: 1 where the table lists the AU for the class (or its fraction), else 0.

    A class without a row (neutral, contempt, other) is a row of zeros; an AU that no class lists a column of zeros.

    Args:
        table: The table.
        classes: Canonical names of expressions or compounds.
        aus: Names of AU columns, `au01`, ...
        weighted: The fraction of an observational AU instead of 1.
    """
    columns = [au_column(au) for au in AUS]
    matrix = torch.from_numpy(weights_of(table, tuple(classes))).float()[:, [columns.index(au) for au in aus]]
    return matrix if weighted else (matrix > 0).float()


def expression_and_aus(bench: Bench, coupling: str) -> tuple[HeadSpec, HeadSpec]:
    """The heads that a coupling of emotions and AUs joins: one softmax over expressions, one sigmoid per AU.

    Raises:
        RecipeError: One of them is missing, or expressions are independent outputs.
    """
    expression, au = bench.heads(coupling, "expression", "au")
    if expression.kind != "classes":
        raise RecipeError(
            f"coupling {coupling}",
            found="expressions as independent outputs",
            expected="one softmax over the expressions",
            then="set tasks.expression.outputs: exclusive",
        )
    return expression, au
