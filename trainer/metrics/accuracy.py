"""Accuracy of a classification: overall, per class (recall), and as one-vs-rest decisions."""

from __future__ import annotations

import numpy as np

from trainer.metrics.classified import Classified, confusion
from trainer.metrics.result import MetricResult, flagged, mean_or_nan, ratio


def top1(rows: Classified) -> MetricResult:
    """Total accuracy, trace(M) / N."""
    matrix = confusion(rows).matrix
    return rows.result("top1", float(ratio(np.trace(matrix), matrix.sum())))


def uar(rows: Classified) -> MetricResult:
    """Unweighted average recall over the classes present in the truth (mean diagonal, balanced accuracy)."""
    table = confusion(rows)
    recall = table.recall
    value = mean_or_nan(recall[~np.isnan(recall)])
    return rows.result_per_class("uar", value, recall, flags=flagged(table.absent()))


def uar_zero(rows: Classified) -> MetricResult:
    """Unweighted average recall in which a class absent from the truth counts as 0."""
    table = confusion(rows)
    recall = np.nan_to_num(table.recall, nan=0.0)
    return rows.result_per_class("uar", float(recall.mean()), recall, variant="zero", flags=flagged(table.absent()))


def class_binary_acc(rows: Classified) -> MetricResult:
    """Mean over classes of (TP + TN) / N, one class against the rest (Pons & Masip 2018 eq. 3).

    Not a multi-class accuracy: with seven classes chance is above 0.75.
    """
    table = confusion(rows)
    wrong = table.truths + table.predictions - 2 * table.hits
    accuracy = 1 - ratio(wrong, table.matrix.sum())
    return rows.result_per_class("class_binary_acc", float(accuracy.mean()), accuracy)
