"""Accuracy of action-unit decisions. Always read it beside `au_trivial_acc`: most AUs are mostly absent."""

from __future__ import annotations

import numpy as np

from trainer.metrics.au_f1 import au_f1
from trainer.metrics.detected import Detected
from trainer.metrics.result import MetricResult, mean_or_nan, ratio


def au_acc_cells(cells: Detected) -> MetricResult:
    """Correct valid cells / valid cells, pooled over rows and AUs (the TAcc of ABAW2)."""
    counts = cells.counts()
    value = float(ratio((counts.tp + counts.tn).sum(), counts.cells.sum()))
    return cells.result("au_acc_cells", value, counts.accuracy)


def au_acc_mean(cells: Detected) -> MetricResult:
    """Mean over the labelled AUs of (TP + TN) / n (Pons & Masip 2018; EmotioNet)."""
    accuracy = cells.counts().accuracy
    return cells.result("au_acc_mean", mean_or_nan(accuracy[~np.isnan(accuracy)]), accuracy)


def au_trivial_acc(cells: Detected) -> MetricResult:
    """Mean over the labelled AUs of the accuracy of predicting that no AU is ever present."""
    counts = cells.counts()
    absent = ratio(counts.fp + counts.tn, counts.cells)
    return cells.result("au_trivial_acc", mean_or_nan(absent[~np.isnan(absent)]), absent)


def emotionet_au(cells: Detected) -> MetricResult:
    """(mean F1 + mean accuracy) / 2, unknown cells left out.

    The EmotioNet challenge defines both means; the half sum agrees with the figures that Kollias et al. 2019 quote.
    """
    f1, accuracy = au_f1(cells), au_acc_mean(cells)
    per_au = (np.array(f1.per_label) + np.array(accuracy.per_label)) / 2
    return cells.result("emotionet_au", (f1.value + accuracy.value) / 2, per_au, flags=f1.flags)
