"""What is said of the order follows from the numbers alone, and says no more than they do."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics.result import Interval
from trainer.reproduction.order import Verdict, pairs

NAMES = ("a", "b", "c", "d")
SCORES = st.dictionaries(st.sampled_from(NAMES), st.integers(-50, 50).map(lambda n: n / 10))


def apart(ours: dict[str, float], width: float = 0.0):
    """Differences of given scores, with intervals of a given half width."""

    def difference(one: str, other: str) -> Interval | None:
        if one not in ours or other not in ours:
            return None
        value = ours[one] - ours[other]
        return Interval(value, value - width, value + width, 0.95, 100, 0, 10)

    return difference


@given(SCORES)
def test_ours_as_printed_are_in_the_printed_order(printed: dict[str, float]) -> None:
    for lower in (False, True):
        found = pairs(printed, apart(printed), lower_is_better=lower)
        assert len(found) == sum(printed[x] != printed[y] for x, y in combinations(printed, 2))
        assert all(pair.verdict is Verdict.HOLDS for pair in found)


@given(SCORES)
def test_ours_turned_round_are_reversed_in_every_pair(printed: dict[str, float]) -> None:
    turned = {name: -value for name, value in printed.items()}
    assert all(pair.verdict is Verdict.REVERSED for pair in pairs(printed, apart(turned)))


@given(SCORES, SCORES, st.booleans())
def test_a_pair_agrees_exactly_when_both_have_the_same_sign(
    printed: dict[str, float], ours: dict[str, float], lower: bool
) -> None:
    for pair in pairs(printed, apart(ours), lower_is_better=lower):
        assert (printed[pair.better] > printed[pair.worse]) != lower
        better = ours[pair.better] < ours[pair.worse] if lower else ours[pair.better] > ours[pair.worse]
        assert pair.verdict.agrees == better


@given(SCORES, SCORES)
def test_an_interval_that_holds_0_is_never_beyond_doubt(printed: dict[str, float], ours: dict[str, float]) -> None:
    wide = pairs(printed, apart(ours, width=1000))
    assert all(pair.verdict in (Verdict.LEANS, Verdict.LEANS_AWAY) for pair in wide)


@given(SCORES, st.sampled_from(NAMES))
def test_a_missing_method_takes_its_pairs_away_and_no_others(printed: dict[str, float], gone: str) -> None:
    rest = {name: value for name, value in printed.items() if name != gone}
    assert pairs(printed, apart(rest)) == pairs(rest, apart(printed))


def test_equal_printed_numbers_claim_no_order_and_equal_ours_do_not_confirm_one() -> None:
    assert pairs({"a": 1.0, "b": 1.0}, apart({"a": 0.0, "b": 5.0})) == []
    (pair,) = pairs({"a": 2.0, "b": 1.0}, apart({"a": 3.0, "b": 3.0}))
    assert pair.verdict is Verdict.LEANS_AWAY
