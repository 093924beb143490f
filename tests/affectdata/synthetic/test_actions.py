"""What a synthetic face does follows the published table; what it feels like follows from what it does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectdata.labels.relatedness import relatedness
from affectdata.synthetic.actions import (
    BASIC,
    COMPOUND_CATEGORIES,
    DRAWN_AUS,
    UNOWNED_AUS,
    acting,
    draw_acting,
    valence_arousal,
)
from manifests.errors import UnknownNameError
from manifests.vocabulary import EXPRESSION_SPACES

TABLE = relatedness("du2014")
SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(SEEDS, st.sampled_from((*TABLE.rows,)))
def test_a_face_shows_all_prototypical_aus_and_none_that_its_row_does_not_list(seed: int, category: str) -> None:
    acted = draw_acting(np.random.default_rng(seed), category)
    row = TABLE.rows[category]
    assert {au for au in row.prototypical if au in DRAWN_AUS} <= acted.present
    assert acted.present <= row.aus | set(UNOWNED_AUS)
    assert all(2 <= acted.intensity(au) <= 5 for au in acted.present)


@settings(deadline=None)
@given(SEEDS)
def test_a_neutral_face_shows_no_au_of_the_table(seed: int) -> None:
    assert not draw_acting(np.random.default_rng(seed), "neutral").present & TABLE.owned_aus


@pytest.mark.parametrize("category", TABLE.emotions("basic"))
def test_observational_aus_appear_with_their_printed_fraction(category: str) -> None:
    rng = np.random.default_rng(7)
    draws = [draw_acting(rng, category).present for _ in range(1500)]
    for au, fraction in TABLE.rows[category].observational.items():
        if au in DRAWN_AUS:
            assert np.mean([au in present for present in draws]) == pytest.approx(fraction, abs=0.06)


def test_without_a_category_the_seven_basic_expressions_come_evenly() -> None:
    rng = np.random.default_rng(3)
    drawn = [draw_acting(rng).category for _ in range(2100)]
    assert set(drawn) == set(BASIC) == set(EXPRESSION_SPACES["expr7"])
    assert min(drawn.count(name) for name in BASIC) > 200


@settings(deadline=None)
@given(SEEDS, st.sampled_from((*BASIC, *COMPOUND_CATEGORIES)))
def test_affect_stays_in_range_and_depends_on_the_acting_alone(seed: int, category: str) -> None:
    acted = draw_acting(np.random.default_rng(seed), category)
    valence, arousal = valence_arousal(acted)
    assert -1 <= valence <= 1
    assert -1 <= arousal <= 1
    again = acting(acted.category, dict(zip(DRAWN_AUS, acted.intensities, strict=True)))
    assert valence_arousal(again) == (valence, arousal)


def test_a_stronger_smile_feels_better_and_a_neutral_face_feels_nothing() -> None:
    weak, strong = (valence_arousal(acting("happiness", {12: level, 25: level})) for level in (2, 5))
    assert strong[0] > weak[0] > 0
    assert strong[1] > weak[1] > 0
    assert valence_arousal(acting("neutral", {})) == (0, 0)


def test_a_compound_face_has_no_basic_expression() -> None:
    acted = draw_acting(np.random.default_rng(0), "happily_surprised")
    assert (acted.category, acted.expression) == ("happily_surprised", None)


def test_an_unknown_category_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="happiness"):
        draw_acting(np.random.default_rng(0), "bliss")
