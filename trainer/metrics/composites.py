"""Composite scores of the challenges; each refuses a class or AU list that is not its protocol's."""

from __future__ import annotations

from dataclasses import replace

from manifests.vocabulary import AU_SPACES, COMPOUND_SPACES, EXPRESSION_SPACES
from trainer.metrics.accuracy import top1, uar
from trainer.metrics.au_accuracy import au_acc_cells
from trainer.metrics.au_f1 import au_f1
from trainer.metrics.ccc import p_va
from trainer.metrics.classified import Classified
from trainer.metrics.detected import Detected
from trainer.metrics.f1 import macro_f1
from trainer.metrics.rated import VALENCE_AROUSAL, Rated
from trainer.metrics.result import MetricInputError, MetricResult


def _require(name: str, found: tuple[object, ...], expected: tuple[object, ...]) -> None:
    if set(found) != set(expected) or len(found) != len(expected):
        raise MetricInputError(
            f"{name} is defined over its protocol's list only",
            found=f"{len(found)}: {', '.join(map(str, found))}",
            expected=f"{len(expected)}: {', '.join(map(str, expected))}",
        )


def _sum(name: str, *terms: tuple[float, MetricResult]) -> MetricResult:
    value = sum(weight * part.value for weight, part in terms)
    flags = tuple(dict.fromkeys(flag for _, part in terms for flag in part.flags))
    return replace(terms[0][1], name=name, value=value, flags=flags)


def abaw2_va(rows: Rated) -> MetricResult:
    """.5 ccc_valence + .5 ccc_arousal."""
    _require("abaw2_va", rows.axes, VALENCE_AROUSAL)
    return replace(p_va(rows), name="abaw2_va")


def abaw_va(rows: Rated) -> MetricResult:
    """(ccc_valence + ccc_arousal) / 2, from the third challenge on."""
    _require("abaw_va", rows.axes, VALENCE_AROUSAL)
    return replace(p_va(rows), name="abaw_va")


def abaw2_expr(rows: Classified) -> MetricResult:
    """.67 macro F1 + .33 accuracy over the seven classes of `expr7`."""
    _require("abaw2_expr", rows.classes, EXPRESSION_SPACES["expr7"])
    return _sum("abaw2_expr", (0.67, macro_f1(rows)), (0.33, top1(rows)))


def abaw_expr(rows: Classified) -> MetricResult:
    """Macro F1 over the eight classes of `expr8-other`."""
    _require("abaw_expr", rows.classes, EXPRESSION_SPACES["expr8-other"])
    return replace(macro_f1(rows), name="abaw_expr")


def abaw_ce(rows: Classified) -> MetricResult:
    """Macro F1 over the seven compound classes of C-EXPR-DB."""
    _require("abaw_ce", rows.classes, COMPOUND_SPACES["cexpr7"])
    return replace(macro_f1(rows), name="abaw_ce")


def emotionet_expr(rows: Classified) -> MetricResult:
    """(macro F1 + average recall) / 2 over the 16 basic and compound classes."""
    _require("emotionet_expr", rows.classes, COMPOUND_SPACES["emotionet16"])
    return _sum("emotionet_expr", (0.5, macro_f1(rows)), (0.5, uar(rows)))


def abaw2_au(cells: Detected) -> MetricResult:
    """.5 mean F1 + .5 accuracy over cells, over the twelve AUs of Aff-Wild2."""
    _require("abaw2_au", cells.aus, AU_SPACES["affwild2_12"])
    return _sum("abaw2_au", (0.5, au_f1(cells)), (0.5, au_acc_cells(cells)))


def abaw_au(cells: Detected) -> MetricResult:
    """Mean F1 over the twelve AUs of Aff-Wild2."""
    _require("abaw_au", cells.aus, AU_SPACES["affwild2_12"])
    return replace(au_f1(cells), name="abaw_au")


def abaw_mtl(ratings: Rated, rows: Classified, cells: Detected) -> MetricResult:
    """abaw_va + abaw_expr + abaw_au, range about -1 to 3; each task by its own mask."""
    parts = (abaw_va(ratings), abaw_expr(rows), abaw_au(cells))
    return replace(
        _sum("abaw_mtl", *((1.0, part) for part in parts)),
        labels=tuple(part.name for part in parts),
        per_label=tuple(part.value for part in parts),
    )
