"""Pictures of a run: how it learned, and what it confuses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manifests.storage import storage_errors
from trainer.metrics.classified import Confusion
from trainer.metrics.registry import DEFAULTS
from trainer.scoring import lower_is_better

INK, FAINT = "#222222", "#c8ccd0"
COLOURS = ("#3366aa", "#c44e3a", "#4f9d69", "#8a63b5", "#c99a2e", "#4bb0c0", "#8b6f5c", "#d47fa6")
"""Told apart on screen, in print and by most colour-blind readers, in this order."""

LOSS = "training loss"


def draw_curves(path: Path, rows: Sequence[Mapping[str, float]], best_epoch: int) -> None:
    """Draw losses, selection metrics and learning rate over the epochs into a PNG; the kept epoch is marked.

    Args:
        path: Where to write.
        rows: One per epoch, as in metrics.csv.
        best_epoch: Epoch, from 0, whose weights were kept.
    """
    plt = _pyplot()
    names = list(rows[0]) if rows else []
    losses = [n for n in names if n.startswith("loss")]
    scored = [n for task in DEFAULTS for n in DEFAULTS[task] if n in names]
    primary = [n for task in DEFAULTS for n in DEFAULTS[task][:2] if n in scored and not lower_is_better(n)]
    errors = [n for n in scored if lower_is_better(n)]
    panels = [(LOSS, losses), ("selection: higher is better", primary)]
    panels += [("selection: lower is better", errors)] if errors else []
    width, height = 4.6 * len(panels), 3.6
    figure, axes = plt.subplots(1, len(panels), figsize=(width, height), squeeze=False)
    # Margins in inches: a layout that measures the text would draw everything twice.
    figure.subplots_adjust(0.6 / width, 0.5 / height, 1 - 0.15 / width, 1 - 0.35 / height, wspace=0.2)
    epochs = [row["epoch"] + 1 for row in rows]
    for axis, (title, shown) in zip(axes[0], panels, strict=True):
        for colour, name in zip(COLOURS, shown, strict=False):
            values = [row.get(name, math.nan) for row in rows]
            axis.plot(
                epochs, values, color=colour, lw=1.8, marker="o" if len(rows) < 15 else None, ms=3.5, label=_label(name)
            )
        if best_epoch >= 0:
            axis.axvline(best_epoch + 1, color=FAINT, lw=1.2, ls="--", zorder=0)
        if title == LOSS and all(row.get(name, 0) > 0 for row in rows for name in shown):
            axis.set_yscale("log")  # tasks differ by orders of magnitude
        axis.set_title(title, loc="left", fontsize=11, color=INK)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(axis="y", color="#ececec", lw=0.8)
        axis.spines[["top", "right"]].set_visible(False)
        if shown:
            axis.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    if best_epoch >= 0:
        axes[0][0].annotate(
            f"kept: epoch {best_epoch + 1}",
            (best_epoch + 1, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            rotation=90,
            fontsize=8,
            color="#666666",
        )
    _save(plt, figure, path)


def draw_confusion(path: Path, tables: Mapping[str, Confusion]) -> None:
    """Draw confusion matrices side by side into a PNG: rows are the truth, shaded by share of the row, with counts.

    Args:
        path: Where to write.
        tables: Title -> matrix.
    """
    plt = _pyplot()
    count = len(tables)
    classes = len(next(iter(tables.values())).classes)
    side = 1.9 + 0.56 * classes
    figure, axes = plt.subplots(1, count, figsize=(side * count + 0.6, side), layout="constrained", squeeze=False)
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        share = np.nan_to_num(table.normalised)
        image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row in range(classes):
            for column in range(classes):
                _cell(axis, row, column, int(table.matrix[row, column]), float(share[row, column]))
        names = [f"{name}\n{total:,}" for name, total in zip(table.classes, table.truths.tolist(), strict=True)]
        axis.set_xticks(range(classes), table.classes, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(classes), names)
        axis.set_xlabel("predicted")
        axis.set_ylabel("truth (samples)")
        axis.set_title(title, loc="left", fontsize=11, color=INK)
        axis.tick_params(length=0, labelsize=9)
        axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes[0][-1], fraction=0.046, pad=0.03, label="share of the row (recall on the diagonal)")
    _save(plt, figure, path)


def _label(name: str) -> str:
    return "weighted sum" if name == "loss" else name.removeprefix("loss_")


def _cell(axis: Any, row: int, column: int, count: int, share: float) -> None:
    if not count:
        return
    colour = "white" if share > 0.55 else INK
    weight = "bold" if row == column else "normal"
    axis.text(
        column, row - 0.1, f"{100 * share:.0f}%", ha="center", va="center", fontsize=9, color=colour, weight=weight
    )
    axis.text(column, row + 0.25, f"{count:,}", ha="center", va="center", fontsize=7, color=colour)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(plt: Any, figure: Any, path: Path) -> None:
    fresh = path.with_name(f".{path.name}")
    with storage_errors(path.parent):
        figure.savefig(fresh, dpi=150, format="png")
        fresh.replace(path)
    plt.close(figure)
