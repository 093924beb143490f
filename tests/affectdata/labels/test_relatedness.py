"""The Du et al. 2014 table: its counts, its own consistency, and the reference it was taken from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectdata.labels.relatedness import EmotionRow, relatedness
from manifests.errors import UnknownNameError
from manifests.vocabulary import AU_SPACES, COMPOUNDS

TABLE = relatedness("du2014")
COMPOUND_ROWS = [TABLE.rows[name] for name in TABLE.emotions("compound")]


def _listed_by_a_constituent(row: EmotionRow) -> frozenset[int]:
    return frozenset().union(*(TABLE.rows[name].aus for name in row.constituents))


def test_the_table_has_six_basic_and_fifteen_compound_rows() -> None:
    assert len(TABLE.emotions("basic")) == 6
    assert len(TABLE.emotions("compound")) == 15
    assert set(TABLE.rows) <= set(COMPOUNDS)


@pytest.mark.parametrize("row", COMPOUND_ROWS, ids=lambda row: row.emotion)
def test_every_prototypical_au_of_a_compound_occurs_in_a_constituent(row: EmotionRow) -> None:
    assert set(row.prototypical) <= _listed_by_a_constituent(row)


@pytest.mark.parametrize("row", COMPOUND_ROWS, ids=lambda row: row.emotion)
def test_an_au_is_starred_exactly_where_no_constituent_lists_it(row: EmotionRow) -> None:
    assert set(row.starred) == row.aus - _listed_by_a_constituent(row)


@pytest.mark.parametrize("row", TABLE.rows.values(), ids=lambda row: row.emotion)
def test_fractions_lie_between_a_fifth_and_seventy_percent_and_no_au_is_listed_twice(row: EmotionRow) -> None:
    assert all(0.20 <= fraction < 0.70 for fraction in row.observational.values())
    assert not set(row.prototypical) & set(row.observational)
    assert all(row.weight(au) == 1 for au in row.prototypical)


@pytest.mark.parametrize(
    ("space", "shares"),
    [
        # relatedness.md 2: happiness, sadness, fear, anger, surprise, disgust
        ("emotionet11", (1.00, 0.69, 1.00, 0.37, 1.00, 0.65)),
        ("disfa12", (1.00, 0.94, 1.00, 0.37, 1.00, 0.65)),
        ("disfa8", (1.00, 0.52, 0.71, 0.25, 0.86, 0.37)),
        ("bp4d12", (0.60, 0.94, 0.46, 1.00, 0.43, 0.72)),
        ("affwild2_12", (1.00, 0.77, 0.71, 0.87, 0.86, 0.44)),
        ("fbn17", (1.00, 0.94, 1.00, 1.00, 1.00, 1.00)),
    ],
)
def test_label_spaces_see_the_printed_share_of_each_basic_row(space: str, shares: tuple[float, ...]) -> None:
    for name, share in zip(("happiness", "sadness", "fear", "anger", "surprise", "disgust"), shares, strict=True):
        row = TABLE.rows[name]
        seen = sum(row.weight(au) for au in row.aus if au in AU_SPACES[space])
        assert seen / sum(row.weight(au) for au in row.aus) == pytest.approx(share, abs=0.0051)


def test_spellings_find_their_row_and_an_absent_row_names_the_known_ones() -> None:
    assert TABLE.row("Happy") is TABLE.rows["happiness"]
    with pytest.raises(UnknownNameError, match="happiness, sadness"):
        TABLE.row("neutral")
    with pytest.raises(UnknownNameError, match="du2014"):
        relatedness("du2015")


def test_every_number_equals_the_reference_copy(shared: Path) -> None:
    reference = json.loads((shared / "reference" / "relatedness.json").read_text())["tables"]["du2014"]["rows"]
    assert set(reference) == set(TABLE.rows)
    for name, expected in reference.items():
        row = TABLE.rows[name]
        assert list(row.prototypical) == expected["prototypical"]
        assert {str(au): fraction for au, fraction in row.observational.items()} == expected["observational"]
        assert list(row.starred) == expected["starred"]
        assert list(row.constituents) == expected.get("constituents", [])
