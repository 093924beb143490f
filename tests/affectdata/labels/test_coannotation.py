"""Co-annotation follows its paper's numbers, and never says more than the table does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectdata.labels.coannotation import (
    BASIC,
    Rule,
    as_expression_probs,
    entropy,
    implied_emotions,
    listed_aus,
    soft_emotions,
)
from affectdata.labels.relatedness import TABLES, read_table, relatedness
from manifests.errors import LabelRuleError, UnknownNameError
from manifests.vocabulary import AU_SPACES, AUS, EXPRESSIONS

cells = arrays(np.int8, st.tuples(st.integers(1, 6), st.just(len(AUS))), elements=st.sampled_from([-1, 0, 1]))


def row(space: str, *active: int) -> np.ndarray:
    """One face on which a dataset with this label space codes these AUs."""
    known = np.full((1, len(AUS)), -1, np.int8)
    known[0, [au - 1 for au in AU_SPACES[space]]] = 0
    known[0, [au - 1 for au in active]] = 1
    return known


def rule(table: str = "du2014", space: str = "emotionet11", **options: object) -> Rule:
    return Rule(relatedness(table), AU_SPACES[space], **options)  # type: ignore[arg-type]  # tests name fields


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ((12, 25), (0.2563, 0.1155, 0.1384, 0.1155, 0.1432, 0.1155, 0.1155)),
        ((6, 12, 25), (0.2906, 0.1281, 0.1281, 0.1069, 0.1325, 0.1069, 0.1069)),
        ((), (0.1147, 0.1147, 0.1147, 0.1147, 0.1147, 0.1147, 0.3118)),
    ],
)
def test_soft_targets_are_those_of_the_worked_example(active: tuple[int, ...], expected: tuple[float, ...]) -> None:
    assert soft_emotions(rule(), row("emotionet11", *active))[0] == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("space", "assignable"),
    [
        ("emotionet11", {"happiness", "fear", "surprise"}),
        ("emotionet12", {"happiness", "fear", "surprise"}),
        ("disfa12", {"happiness", "sadness", "fear", "surprise"}),
        ("disfa8", {"happiness"}),
        ("bp4d12", {"sadness", "anger"}),
        ("affwild2_12", {"happiness"}),
    ],
)
def test_only_emotions_whose_aus_a_dataset_codes_can_be_assigned(space: str, assignable: set[str]) -> None:
    ours = rule(space="fbn17")
    found = set()
    for emotion in BASIC:
        codes = implied_emotions(ours, row(space, *(ours.table.row(emotion).aus & set(AU_SPACES[space]))))
        found |= {BASIC[code] for code in codes if code >= 0}
    assert found == assignable


def test_fear_wins_over_surprise_whose_aus_it_contains() -> None:
    everything = relatedness("du2014").row("fear").aus | relatedness("du2014").row("surprise").aus
    assert BASIC[implied_emotions(rule(space="fbn17"), row("disfa12", *everything))[0]] == "fear"


@pytest.mark.parametrize("table", TABLES)
@given(known=cells)
def test_known_cells_and_unlisted_aus_are_never_touched(table: str, known: np.ndarray) -> None:
    ours = rule(table, "fbn17")
    emotions = np.arange(len(known)) % (len(BASIC) + 1) - 1
    weights = listed_aus(ours, emotions, BASIC, known)
    assert not weights[known >= 0].any()
    assert not weights[emotions < 0].any()
    for name, said in zip(emotions, weights, strict=True):
        if name >= 0:
            listed = ours.table.rows[BASIC[name]].aus if BASIC[name] in ours.table.rows else frozenset()
            assert {AUS[i] for i in np.flatnonzero(said)} <= listed


def test_an_observational_au_carries_its_fraction() -> None:
    unknown = np.full((1, len(AUS)), -1, np.int8)
    weights = listed_aus(rule(), np.array([0]), BASIC, unknown)[0]
    assert {AUS[i]: weights[i] for i in np.flatnonzero(weights)} == {12: 1.0, 25: 1.0, 6: 0.51}


def test_the_jaw_drops_where_the_mouth_is_not_stretched() -> None:
    stretched = np.full((2, len(AUS)), -1, np.int8)
    stretched[1, 26] = 1
    surprise = np.array([BASIC.index("surprise")] * 2)
    assert listed_aus(rule(), surprise, BASIC, stretched)[:, 25].tolist() == [1, 0]
    assert listed_aus(rule(jaw="26or27"), surprise, BASIC, stretched)[:, 25].tolist() == [1, 1]
    seen = row("fbn17", 1, 2, 5, 25, 27)
    assert implied_emotions(rule(space="fbn17"), seen)[0] == -1
    assert BASIC[implied_emotions(rule(space="fbn17", jaw="26or27"), seen)[0]] == "surprise"


@given(known=cells, temperature=st.floats(0.05, 5))
def test_soft_targets_are_distributions_and_a_face_without_aus_has_none(known: np.ndarray, temperature: float) -> None:
    found = soft_emotions(rule(space="fbn17", temperature=temperature), known)
    told = (known[:, [au - 1 for au in AU_SPACES["fbn17"]]] >= 0).any(1)
    assert np.isnan(found[~told]).all()
    assert found[told].sum(1) == pytest.approx(1)
    assert as_expression_probs(found[told])[:, EXPRESSIONS.index("contempt")] == pytest.approx(0)


def test_a_flat_distribution_has_the_largest_entropy() -> None:
    assert entropy(np.full((3, 7), 1 / 7)) == pytest.approx(np.log(7))
    assert entropy(np.eye(7)) == 0
    assert np.isnan(entropy(np.empty((0, 7))))


def test_shipped_tables_have_the_rows_that_their_sources_print() -> None:
    assert {name: len(relatedness(name).rows) for name in TABLES} == {
        "du2014": 21,
        "affwild2": 6,
        "emotionet": 23,
        "emfacs": 6,
    }
    assert relatedness("affwild2").row("anger").observational == {4: 0.65, 7: 0.45, 25: 0.40, 10: 0.33, 9: 0.15}
    assert relatedness("emotionet").row("hatred").prototypical == (4, 7, 10)


@pytest.mark.parametrize(
    "text",
    ["", "name = 3", "x", 'name = "a b"\n[rows]', 'name = "a"\n[rows.joy]\nobservational = { 12 = 1.5 }'],
)
def test_a_file_that_is_no_table_is_refused_with_its_form(tmp_path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(LabelRuleError, match=r"\[rows.<emotion>\]"):
        read_table(file)
    with pytest.raises(LabelRuleError, match="cannot be read"):
        relatedness(str(tmp_path / "none.toml"))


def test_an_unknown_table_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="du2014, affwild2"):
        relatedness("ekman")
