"""Compound expressions of a network that was never trained on them, from its AUs, expressions and valence.

Kollias, Sharmanska & Zafeiriou 2019; methods.md 2.10. For a class c with the constituents e1 and e2

    C(c) = sum_k A[c, k] p(AU_k) / sum_k A[c, k]  +  p(e1) + p(e2)  +  0.5 (v / |v| + 1)

where A holds the AUs that a relatedness table lists for c, and the last term is there for `HAPPY` classes alone. The
class with the highest score is predicted. A basic class is its own two constituents: 2 p(e) (reading B24).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from affectdata.labels.coannotation import weights_of
from affectdata.labels.relatedness import RelatednessTable, relatedness
from manifests.errors import PredictionsError, RecipeError, UnknownNameError
from manifests.vocabulary import AUS, COMPOUND_SPACES, au_column
from trainer.metrics.result import MetricResult
from trainer.predictions import Predictions
from trainer.scores import DatasetScores
from trainer.scoring import score
from trainer.targets import Targets
from trainer.tasks import CompoundTask, Tasks

Floats = npt.NDArray[np.float64]

TERMS = ("AUs", "expressions", "valence")
"""The three terms of the score; results are also given without each of them (reading B23)."""

HAPPY = ("happiness", "happily_surprised", "happily_disgusted")
"""Classes with the valence term: the two compounds [P], and happiness (reading B24)."""

FORMS = ("binary", "weighted")
"""What A holds for an AU that some people show: 1, or the fraction of them."""


@dataclass(frozen=True)
class ZeroShot:
    """How compound expressions are read off a network.

    Args:
        space: One of `manifests.vocabulary.COMPOUND_SPACES`.
        form: One of `FORMS`; "": binary (reading B22), or weighted where two classes would list the same AUs.
        table: The relatedness table.
    """

    space: str
    form: str = ""
    table: RelatednessTable = field(default_factory=partial(relatedness, "du2014"))

    def __post_init__(self) -> None:
        if self.space not in COMPOUND_SPACES:
            raise UnknownNameError("compound classes", self.space, COMPOUND_SPACES)
        if self.form and self.form not in FORMS:
            raise UnknownNameError("form of the AU lists", self.form, FORMS)

    @classmethod
    def parsed(cls, text: str) -> ZeroShot:
        """From `rafdb11`, or `rafdb11:weighted`.

        Raises:
            UnknownNameError: No such classes, or no such form.
        """
        space, _, form = text.partition(":")
        return cls(space, form)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are told apart."""
        return COMPOUND_SPACES[self.space]

    def tasks(self, tasks: Tasks) -> Tasks:
        """The tasks of a run with compound expressions beside them.

        Raises:
            RecipeError: The run predicts them itself, or lacks what they are read off.
        """
        if tasks.compound is not None:
            raise RecipeError(
                "compound expressions by rule", found="a run that predicts them itself", then="leave --compound out"
            )
        if tasks.expression is None or tasks.au is None:
            raise RecipeError(
                "compound expressions by rule",
                found=f"predictions of {', '.join(tasks.names)}",
                expected="expression and au; with va for the happy classes",
            )
        return tasks.model_copy(update={"compound": CompoundTask(classes=self.classes)})

    def prior(self, aus: Sequence[int]) -> tuple[Floats, str]:
        """A, [C, K], over some AUs, and which of `FORMS` it is.

        Raises:
            PredictionsError: A class of which the table lists none of these AUs.
        """
        weights = weights_of(self.table, self.classes)[:, [AUS.index(au) for au in aus]]
        listed = (weights > 0).astype(np.float64)
        bare = [name for name, row in zip(self.classes, listed, strict=True) if not row.any()]
        if bare:
            raise PredictionsError(
                f"compound expressions of {self.space} by {self.table.name}",
                found=f"none of the AUs of {', '.join(bare)} among {', '.join(map(au_column, aus))}",
                expected="at least one AU of every class",
            )
        twins = len(np.unique(listed, axis=0)) < len(listed)
        form = self.form or ("weighted" if twins else "binary")
        return (weights if form == "weighted" else listed), form

    def scores(self, tasks: Tasks, predictions: Predictions, without: str = "") -> Floats:
        """C(c) of each sample and class, [N, C].

        Args:
            tasks: What is predicted; expression and AUs at least.
            predictions: Of N samples. Without valence, or where it is 0, the happy classes have none of its term, or
                half.
            without: A term to leave out, of `TERMS`.
        """
        if tasks.expression is None or tasks.au is None or predictions.expression is None or predictions.au is None:
            raise RecipeError("compound expressions by rule", expected="predictions of expression and au")
        total = np.zeros((len(predictions.expression), len(self.classes)))
        if without != "AUs":
            prior, _ = self.prior(tasks.au.aus)
            total += predictions.au.astype(np.float64) @ (prior / prior.sum(1, keepdims=True)).T
        if without != "expressions":
            total += predictions.expression.astype(np.float64) @ self._constituents(tasks.expression.classes).T
        if without != "valence" and predictions.va is not None:
            term = 0.5 * (np.sign(predictions.va[:, 0].astype(np.float64)) + 1)
            total += term[:, None] * np.isin(self.classes, HAPPY)
        return total

    def _constituents(self, classes: Sequence[str]) -> Floats:
        """[C, E]: how often an expression is a constituent of a class: once each, or twice where it is the class."""
        matrix = np.zeros((len(self.classes), len(classes)))
        for row, name in enumerate(self.classes):
            for part in self.table.row(name).constituents or (name, name):
                if part not in classes:
                    raise RecipeError(f"compound expression {name}", found=f"no expression {part} among {classes}")
                matrix[row, classes.index(part)] += 1
        return matrix

    def applied(self, tasks: Tasks, predictions: Predictions, without: str = "") -> Predictions:
        """The predictions with compound scores beside them."""
        return replace(predictions, compound=self.scores(tasks, predictions, without).astype(np.float32))

    def note(self, tasks: Tasks) -> str:
        """What was done, in words."""
        aus = tasks.au.aus if tasks.au else ()
        _, form = self.prior(aus)
        terms = TERMS if tasks.va else TERMS[:2]
        return (
            f"compound by rule, zero-shot: {self.space}, {form} AU lists of {self.table.name} over {len(aus)} AUs, "
            f"{' + '.join(terms)}"
        )

    def ablated(self, tasks: Tasks, predictions: Predictions, truth: Targets) -> list[MetricResult]:
        """The metrics of compound expressions without each of the three terms, as `compound_uar[no valence]`."""
        alone = Tasks(compound=CompoundTask(classes=self.classes))
        found = []
        for term in TERMS if tasks.va else TERMS[:2]:
            said = Predictions(compound=self.applied(tasks, predictions, term).compound)
            results = score(alone, said, Targets(compound=truth.compound))
            found += [replace(result, name=f"{result.name}[no {term}]") for result in results]
        return found

    @staticmethod
    def named(table: pa.Table) -> pa.Table:
        """A table of predictions whose compound columns say that they hold scores: no probabilities."""
        return table.rename_columns([name.replace("p_compound_", "score_compound_") for name in table.column_names])

    def told(self, scores: DatasetScores, tasks: Tasks, predictions: Predictions, truth: Targets) -> DatasetScores:
        """The scores of a dataset with what was done, and the metrics without each term."""
        results = (*scores.results, *self.ablated(tasks, predictions, truth))
        return replace(scores, results=results, notes=(*scores.notes, self.note(tasks)))
