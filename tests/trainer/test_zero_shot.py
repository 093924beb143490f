"""Compound expressions are read off AUs, expressions and valence by the printed formula, class by class by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectdata.labels.relatedness import relatedness
from manifests.errors import PredictionsError, RecipeError, UnknownNameError
from manifests.vocabulary import AU_SPACES, COMPOUND_SPACES, EXPRESSION_SPACES
from trainer.predictions import Predictions
from trainer.tasks import AuTask, CompoundTask, ExpressionTask, Tasks, VaTask
from trainer.zero_shot import HAPPY, TERMS, ZeroShot

TASKS = Tasks(expression=ExpressionTask(), va=VaTask(), au=AuTask(set="fbn17"))
CHANCE = {
    "happiness": 0.1,
    "sadness": 0.05,
    "fear": 0.3,
    "anger": 0.05,
    "surprise": 0.4,
    "disgust": 0.05,
    "neutral": 0.05,
}
SHOWN = {1: 0.7, 2: 0.6, 5: 0.6, 25: 0.8, 26: 0.5}


def said(valence: float, au: dict[int, float] | None = None, chance: dict[str, float] | None = None) -> Predictions:
    """The picture of methods.md 2.5: p(AU) .2 where nothing else is said."""
    aus, chances = SHOWN if au is None else au, CHANCE if chance is None else chance
    return Predictions(
        expression=np.array([[chances.get(name, 0.0) for name in EXPRESSION_SPACES["expr7"]]], np.float32),
        va=np.array([[valence, 0.0]], np.float32),
        au=np.array([[aus.get(number, 0.2 if au is None else 0.0) for number in AU_SPACES["fbn17"]]], np.float32),
    )


def scores(rule: ZeroShot, predictions: Predictions, without: str = "") -> dict[str, float]:
    (row,) = rule.scores(TASKS, predictions, without).tolist()
    return dict(zip(rule.classes, row, strict=True))


WORKED = {
    "happily_surprised": 1.0667, "fearfully_surprised": 1.1750, "sadly_surprised": 0.95, "angrily_surprised": 0.8667,
    "disgustedly_surprised": 0.8125, "sadly_fearful": 0.7875, "fearfully_angry": 0.7167, "happily_disgusted": 0.45,
    "sadly_disgusted": 0.4375, "sadly_angry": 0.3, "angrily_disgusted": 0.3,
}  # fmt: skip
"""methods.md 2.10, valence -.3, binary lists over 17 AUs."""


def test_the_worked_example_is_reproduced_class_by_class() -> None:
    found = scores(ZeroShot("rafdb11", "binary"), said(-0.3))
    assert found == pytest.approx(WORKED, abs=1e-4)
    assert max(found, key=lambda name: found[name]) == "fearfully_surprised"


def test_a_positive_valence_lifts_the_two_happy_classes_by_one_and_none_by_a_half() -> None:
    rule = ZeroShot("rafdb11", "binary")
    positive, zero = scores(rule, said(0.3)), scores(rule, said(0.0))
    for name, value in WORKED.items():
        lift = 1.0 if name in HAPPY else 0.0
        assert positive[name] == pytest.approx(value + lift, abs=1e-4)
        assert zero[name] == pytest.approx(value + lift / 2, abs=1e-4)
    assert max(positive, key=lambda name: positive[name]) == "happily_surprised"


def test_one_picture_by_hand() -> None:
    """Happily surprised lists 1 2 5 12 25 26, of which 12 and 25 are there: 2/6; its expressions .6 + .3; valence 1."""
    picture = said(0.5, au={12: 1.0, 25: 1.0}, chance={"happiness": 0.6, "surprise": 0.3, "fear": 0.1})
    found = scores(ZeroShot("rafdb11", "binary"), picture)
    assert found["happily_surprised"] == pytest.approx(2 / 6 + 0.9 + 1)
    assert found["fearfully_surprised"] == pytest.approx(1 / 8 + 0.4)  # of 1 2 4 5 10 20 25 26; 11 has no head
    weighted = scores(ZeroShot("rafdb11", "weighted"), picture)
    assert weighted["happily_surprised"] == pytest.approx(2 / (4 + 0.64 + 0.67) + 0.9 + 1)


def test_each_term_can_be_left_out_and_the_three_add_up_to_the_score() -> None:
    rule = ZeroShot("rafdb11")
    whole = rule.scores(TASKS, said(0.3))
    parts = [rule.scores(TASKS, said(0.3), term) for term in TERMS]
    np.testing.assert_allclose(sum(whole - part for part in parts), whole)
    without = replace(said(0.3), va=None)
    np.testing.assert_allclose(rule.scores(TASKS, without), rule.scores(TASKS, said(0.3), "valence"))


def test_a_basic_class_counts_its_expression_twice_and_happiness_has_the_valence() -> None:
    """Otherwise p(e1) + p(e2) >= p(e1) lets every compound beat its own basic class."""
    rule = ZeroShot("emotionet16", "binary")
    found, without = scores(rule, said(0.3)), scores(rule, said(0.3), "AUs")
    assert without["fear"] == pytest.approx(0.6)
    assert without["happiness"] == pytest.approx(0.2 + 1)
    assert without["awed"] == pytest.approx(0.3 + 0.4)
    assert without["appalled"] == pytest.approx(0.05 + 0.05)
    assert found["fear"] > found["fearfully_angry"]


def test_lists_that_are_alike_are_told_apart_by_their_fractions() -> None:
    """Fear and awed list the same AUs: binary lists could never choose between them by AUs."""
    _, form = ZeroShot("emotionet16").prior(AU_SPACES["fbn17"])
    assert form == "weighted"
    assert ZeroShot("rafdb11").prior(AU_SPACES["fbn17"])[1] == "binary"
    binary, _ = ZeroShot("emotionet16", "binary").prior(AU_SPACES["fbn17"])
    fear, awed = (COMPOUND_SPACES["emotionet16"].index(name) for name in ("fear", "awed"))
    np.testing.assert_array_equal(binary[fear], binary[awed])


@given(st.lists(st.floats(0, 1), min_size=24, max_size=24), st.floats(-1, 1))
def test_no_picture_scores_beyond_what_the_terms_allow(values: list[float], valence: float) -> None:
    total = sum(values[:7]) or 1.0
    chance = {name: value / total for name, value in zip(EXPRESSION_SPACES["expr7"], values[:7], strict=True)}
    au = dict(zip(AU_SPACES["fbn17"], values[7:], strict=True))
    found = scores(ZeroShot("rafdb11"), said(valence, au, chance))
    assert all(-1e-6 <= value <= (3 if name in HAPPY else 2) + 1e-6 for name, value in found.items())


def test_what_cannot_be_read_off_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="compound classes"):
        ZeroShot("rafdb12")
    with pytest.raises(UnknownNameError, match="form of the AU lists"):
        ZeroShot.parsed("rafdb11:heavy")
    with pytest.raises(RecipeError, match="predicts them itself"):
        ZeroShot("rafdb11").tasks(TASKS.model_copy(update={"compound": CompoundTask()}))
    with pytest.raises(RecipeError, match="expected: expression and au"):
        ZeroShot("rafdb11").tasks(Tasks(va=VaTask()))
    with pytest.raises(PredictionsError, match="none of the AUs of happily_surprised"):
        ZeroShot("rafdb11").prior((14,))


def test_every_class_of_every_space_is_a_row_of_the_table() -> None:
    table = relatedness("du2014")
    for classes in COMPOUND_SPACES.values():
        assert all(table.row(name) for name in classes)
        assert len(set(classes)) == len(classes)
