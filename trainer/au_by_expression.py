"""The mean AU probability per expression, as a run sees both: Fig. 2 of Pons & Masip 2018 (methods.md 1.6).

The pictures need no AU label: the paper asks a network what AUs it sees in SFEW, which has expressions alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.errors import RunError, UnknownNameError
from manifests.vocabulary import au_column
from trainer.run import Run

BY = ("predicted", "true")
"""Whose expression groups the pictures: the network's, as the paper has it, or the truth."""


@dataclass(frozen=True)
class AuByExpression:
    """E expressions by K AUs.

    Attributes:
        dataset: Whose pictures.
        classes, aus: Names of rows and columns.
        mean: float64 [E, K], mean probability of each AU; NaN where no picture has the expression.
        count: int64 [E], pictures of each expression. Few make an unstable row.
    """

    dataset: str
    classes: tuple[str, ...]
    aus: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Dataset, expression, number of pictures, and a mean per AU (None: there is none)."""
        for name, count, means in zip(self.classes, self.count.tolist(), self.mean.tolist(), strict=True):
            yield self.dataset, name, count, *(None if count == 0 else mean for mean in means)


def au_by_expression(
    table: pa.Table, classes: Sequence[str], aus: Sequence[int], *, by: str = "predicted", dataset: str = ""
) -> AuByExpression:
    """Group pictures by expression and average each AU's probability within the groups.

    Args:
        table: Predictions, as `trainer.predictions.to_table` has them; with `by` true, pictures of unknown expression
            are in no group.
        classes: The expressions.
        aus: AU numbers.
        by: One of `BY`.
        dataset: Whose pictures.

    Raises:
        UnknownNameError: `by` is none of them.
    """
    if by not in BY:
        raise UnknownNameError("expression to group by", by, BY)
    said = table["expression_predicted" if by == "predicted" else "expression"].combine_chunks()
    code = np.asarray(pc.fill_null(pc.index_in(said, value_set=pa.array(list(classes))), -1))
    columns = tuple(au_column(au) for au in aus)
    chances = np.stack([np.asarray(table[f"p_{name}"], np.float64) for name in columns], 1)
    groups = [chances[code == number] for number in range(len(classes))]
    mean = np.stack([group.mean(0) if len(group) else np.full(len(aus), np.nan) for group in groups])
    return AuByExpression(dataset, tuple(classes), columns, mean, np.array([len(group) for group in groups]))


def of_run(run: Run, *, role: str | None = None, by: str = "predicted") -> list[AuByExpression]:
    """The table of each dataset that `affect evaluate` has predicted for a role: nothing is predicted anew.

    Args:
        run: A run with expressions and AUs.
        role: The role that the run reports by default.
        by: One of `BY`.

    Raises:
        UnknownNameError: `by` is none of them.
        RunError: The run predicts no expressions or no AUs, or nothing was predicted for the role.
    """
    tasks, role = run.recipe.tasks, role or run.recipe.protocol.report
    if tasks.expression is None or tasks.au is None:
        raise RunError(
            f"AUs by expression of run {run.name}",
            found=f"predictions of {', '.join(tasks.names)}",
            expected="expression and au",
        )
    found = run.predicted(role)
    if not found:
        raise RunError(
            f"AUs by expression of run {run.name}",
            found=f"no predictions of role {role}",
            then=f"affect evaluate {run.path} --role {role}",
        )
    classes, aus = tasks.expression.classes, tasks.au.aus
    tables = [(name, run.predictions(name, role)) for name in found]
    return [au_by_expression(table, classes, aus, by=by, dataset=name) for name, table in tables]
