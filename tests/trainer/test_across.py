"""Folds and seeds are put together as the literature does: a mean of folds is not the score of their samples."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from trainer.across import across, several_to_json
from trainer.metrics.detected import detected
from trainer.metrics.registry import metric
from trainer.metrics.result import MetricResult
from trainer.scores import DatasetScores, Scores

# Example E of metrics.md: (TP, FP, FN) of one AU in three folds.
FOLDS = ((10, 5, 5), (1, 1, 8), (0, 0, 2))


def run(number: int, fold: int | None, counts: tuple[int, int, int]) -> Scores:
    tp, fp, fn = counts
    truth = np.array([1] * tp + [0] * fp + [1] * fn)[:, None]
    said = np.array([1.0] * (tp + fp) + [0.0] * fn)[:, None]
    cells = detected(truth, said, aus=[12])
    result = metric("au_f1").score(cells)
    scores = DatasetScores(
        "disfa", "3fold", "test", fold, ("human",), len(truth), 0, (result,), None, evidence={"au": cells}
    )
    return Scores(f"run-{number}", 0, (scores,))


def test_folds_give_their_mean_and_the_score_of_their_samples_together() -> None:
    (found,) = across([run(i, i, counts) for i, counts in enumerate(FOLDS)])
    (spread,) = found.spreads
    assert (found.folds, found.is_folded) == ((0, 1, 2), True)
    assert spread.mean == pytest.approx(0.2828, abs=5e-5)
    assert spread.pooled == pytest.approx(0.5116, abs=5e-5)
    assert spread.deviation == pytest.approx(np.std([2 / 3, 2 / 11, 0], ddof=1))
    assert next(found.lines()) == "disfa 3fold test: folds 0, 1, 2"


def test_seeds_of_one_fold_are_not_pooled() -> None:
    (found,) = across([run(i, 0, FOLDS[0]) for i in range(2)])
    assert not found.is_folded
    assert math.isnan(found.spreads[0].pooled)
    assert found.spreads[0].deviation == 0
    assert next(found.lines()) == "disfa 3fold test: 2 runs"


def test_a_metric_that_no_run_could_give_does_not_keep_the_others_from_being_pooled() -> None:
    """Protocols ask for more than one AU set; a head of the smaller one has no value over the larger."""
    runs = [run(i, i, counts) for i, counts in enumerate(FOLDS)]
    lacking = [MetricResult(name, math.nan, flags=("needs more",)) for name in ("au_f1[disfa12]", "abaw_au")]
    told = [replace(one, datasets=(replace(d, results=(*d.results, *lacking)),)) for one in runs for d in one.datasets]
    (found,) = across(told)
    assert {s.name: math.isnan(s.pooled) for s in found.spreads} == {
        "au_f1": False, "au_f1[disfa12]": True, "abaw_au": True
    }  # fmt: skip


def test_one_run_has_no_spread() -> None:
    assert across([run(0, 0, FOLDS[0])]) == []


def test_both_are_written_as_json() -> None:
    runs = [run(i, None, FOLDS[0]) for i in range(2)]
    tree = json.loads(several_to_json(runs, across(runs)))
    assert [one["run"] for one in tree["runs"]] == ["run-0", "run-1"]
    assert "evidence" not in tree["runs"][0]["datasets"][0]
    assert tree["across"][0]["spreads"][0]["pooled"] is None
