"""F1 of a classification; F1_c = 2 M_cc / (row_c + column_c)."""

from __future__ import annotations

import numpy as np

from trainer.metrics.classified import Classified, Confusion, confusion
from trainer.metrics.result import Bools, Floats, MetricResult, flagged, mean_or_nan, ratio


def _f1(table: Confusion) -> Floats:
    return ratio(2 * table.hits, table.truths + table.predictions, empty=0.0)


def _nowhere(table: Confusion) -> str:
    unseen = table.truths + table.predictions == 0
    names = [name for name, hit in zip(table.classes, unseen, strict=True) if hit]
    return f"counted as 0: {', '.join(names)}" if names else ""


def macro_f1(rows: Classified) -> MetricResult:
    """Mean F1 over all classes of the protocol; a class absent from truth and prediction counts as 0 (ABAW)."""
    table = confusion(rows)
    f1 = _f1(table)
    return rows.result_per_class("macro_f1", float(f1.mean()), f1, flags=flagged(table.absent(), _nowhere(table)))


def macro_f1_present(rows: Classified) -> MetricResult:
    """Mean F1 over the classes present in the truth."""
    table = confusion(rows)
    return _over(rows, table, table.truths > 0, "present")


def macro_f1_sklearn(rows: Classified) -> MetricResult:
    """Mean F1 over the classes that occur in truth or prediction (scikit-learn's default labels)."""
    table = confusion(rows)
    return _over(rows, table, table.truths + table.predictions > 0, "sklearn")


def _over(rows: Classified, table: Confusion, kept: Bools, variant: str) -> MetricResult:
    f1 = np.where(kept, _f1(table), np.nan)
    return rows.result_per_class("macro_f1", mean_or_nan(f1[kept]), f1, variant=variant, flags=flagged(table.absent()))


def f1_of_macro_pr(rows: Classified) -> MetricResult:
    """2 P R / (P + R) of macro precision and macro recall over all classes (Yu & Xu 2021 eq. 19).

    Not the macro F1. A class absent from the truth has recall 0, one never predicted has precision 0.
    """
    table = confusion(rows)
    every = np.ones(len(rows.classes), bool)
    return rows.result("f1_of_macro_pr", _harmonic(table, every), flags=flagged(table.absent()))


def f1_of_macro_pr_present(rows: Classified) -> MetricResult:
    """`f1_of_macro_pr` over the classes present in the truth."""
    table = confusion(rows)
    value = _harmonic(table, table.truths > 0)
    return rows.result("f1_of_macro_pr", value, variant="present", flags=flagged(table.absent()))


def _harmonic(table: Confusion, kept: Bools) -> float:
    precision = mean_or_nan(ratio(table.hits, table.predictions, empty=0.0)[kept])
    recall = mean_or_nan(ratio(table.hits, table.truths, empty=0.0)[kept])
    return float(ratio(np.asarray(2 * precision * recall), np.asarray(precision + recall), empty=0.0))
