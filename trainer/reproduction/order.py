"""Whether methods come out in the printed order. Arithmetic alone: no lake, no run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from trainer.metrics.result import Interval


class Verdict(StrEnum):
    """What our numbers say of two methods of which one is printed as better."""

    HOLDS = "holds"
    """Ours are in the printed order, and the interval of the difference excludes 0."""
    LEANS = "leans"
    """In the printed order, but the interval holds 0: these runs cannot tell the two apart."""
    LEANS_AWAY = "leans away"
    """Not in the printed order (equal or reversed), but the interval holds 0."""
    REVERSED = "reversed"
    """In the other order, and the interval excludes 0."""

    @property
    def agrees(self) -> bool:
        """Whether the order is the printed one."""
        return self in (Verdict.HOLDS, Verdict.LEANS)


@dataclass(frozen=True)
class Pair:
    """Two methods that are printed with different numbers.

    Attributes:
        better: The one that is printed as better.
        printed: Both printed numbers, that of `better` first.
        gain: How much better `better` is in ours, positive where the order holds, with its interval.
    """

    better: str
    worse: str
    printed: tuple[float, float]
    gain: Interval

    @property
    def verdict(self) -> Verdict:
        """What ours say."""
        sure = self.gain.low > 0 or self.gain.high < 0
        if self.gain.value > 0:
            return Verdict.HOLDS if sure else Verdict.LEANS
        return Verdict.REVERSED if sure else Verdict.LEANS_AWAY


def pairs(
    printed: Mapping[str, float], difference: Callable[[str, str], Interval | None], *, lower_is_better: bool = False
) -> list[Pair]:
    """Every two methods whose printed numbers differ and of which we have numbers too.

    Args:
        printed: Method -> printed number; a method that is not there has none, and no order is claimed for it.
        difference: Ours: score of the first minus that of the second with its interval; None where one is missing or
            undefined.
        lower_is_better: The numbers are errors.
    """
    found = []
    for one, other in combinations(printed, 2):
        if printed[one] == printed[other]:
            continue
        first = (printed[one] > printed[other]) != lower_is_better
        better, worse = (one, other) if first else (other, one)
        ours = difference(worse, better) if lower_is_better else difference(better, worse)
        if ours is not None:
            found.append(Pair(better, worse, (printed[better], printed[worse]), ours))
    return found
