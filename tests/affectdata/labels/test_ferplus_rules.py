"""The FER+ rules: vectorised ones equal the reference code, vote by vote, and give the published counts."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from affectdata.labels import ferplus
from manifests.vocabulary import EXPRESSIONS, VOTES

votes_rows = st.lists(st.lists(st.integers(0, 10), min_size=10, max_size=10), min_size=1, max_size=20)


def reference_probability(votes: list[int]) -> list[float]:
    """The rule as datasets/fer2013.md section 3 words it, one picture at a time."""
    left = [0.0 if count <= 1 else float(count) for count in votes]
    total, moved, count, go_on = sum(left), 0.0, 0, True
    result = [0.0] * 10
    while moved < 0.75 * total and count < 3 and go_on:
        highest = max(left)
        for column in range(10):
            if left[column] == highest:
                result[column], left[column] = highest, 0.0
                moved, count = moved + highest, count + 1
                if column >= 8:
                    go_on = False
                    if sum(result) > highest:
                        result[column] = 0.0
                        count -= 1
                    break
    return [0.0] * 8 + [1.0, 0.0] if sum(result) <= 0.5 * total or count > 3 else result


@given(votes_rows)
@settings(deadline=None)
def test_probability_equals_the_reference_code_for_any_votes(rows: list[list[int]]) -> None:
    derived = ferplus.probability(np.array(rows))
    for place, votes in enumerate(rows):
        wanted = np.array(reference_probability(votes))
        assert derived.kept[place] == (wanted.argmax() < 8)
        if derived.kept[place]:
            np.testing.assert_allclose(derived.probs[place], wanted[:8] / wanted[:8].sum())


@given(votes_rows)
@settings(deadline=None)
def test_every_rule_gives_a_distribution_where_it_keeps_and_nothing_elsewhere(rows: list[list[int]]) -> None:
    for rule in (ferplus.majority, ferplus.probability):
        derived = rule(np.array(rows))
        np.testing.assert_allclose(derived.probs.sum(axis=1), derived.kept.astype(float))
        assert ((derived.classes >= 0) == derived.kept).all()


@pytest.mark.parametrize(
    ("votes", "kept", "best"),
    [
        ([5, 0, 0, 3, 1, 0, 0, 0, 1, 0], True, "neutral"),  # fer0000041: 5 of the 8 votes that are left
        ([4, 0, 0, 4, 1, 1, 0, 0, 0, 0], False, ""),  # exactly half is no majority
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 10], False, ""),  # not a face
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], False, ""),  # single votes are nobody's
        ([0, 0, 0, 0, 0, 0, 0, 0, 6, 4], False, ""),  # unknown wins
    ],
)
def test_majority_needs_more_than_half_of_what_is_left(votes: list[int], kept: bool, best: str) -> None:
    derived = ferplus.majority(np.array([votes]))
    assert derived.kept[0] == kept
    assert not kept or ferplus.FERPLUS_CLASSES[derived.classes[0]] == best


def test_columns_land_under_their_canonical_names() -> None:
    votes = np.arange(10)[None]
    assert dict(zip(VOTES, ferplus.expression_votes(votes)[0].tolist(), strict=True))["surprise"] == 2
    assert np.isnan(ferplus.expression_votes(votes)[0][VOTES.index("other")])
    probs = ferplus.expression_probs(ferplus.majority(np.array([[0, 0, 0, 0, 9, 0, 0, 0, 0, 0]])))
    assert probs[0][EXPRESSIONS.index("anger")] == 1
    assert probs.sum() == 1


@pytest.fixture(scope="session")
def real_votes(shared: Path) -> dict[str, NDArray[np.int64]]:
    """Votes of the real tables by table and split; the main table's with named rows only."""
    tables = {}
    with zipfile.ZipFile(shared / "data/fer2013plus.zip") as archive:

        def rows(member: str) -> list[list[str]]:
            return list(csv.reader(io.TextIOWrapper(archive.open(member))))

        for part in ("Train", "Valid"):
            listed = rows(f"fer2013plus/data/FER2013{part}/label.csv")
            tables[f"label.csv {part}"] = np.array([row[2:] for row in listed], dtype=np.int64)
        main = rows("fer2013plus/fer2013new.csv")[1:]
    for usage in ("Training", "PublicTest", "PrivateTest"):
        named = [row[2:] for row in main if row[0] == usage and row[1]]
        tables[f"fer2013new.csv {usage}"] = np.array(named, dtype=np.int64)
    return tables


@pytest.mark.parametrize(
    ("table", "by_majority", "by_probability"),
    [
        ("label.csv Train", 25_045, 27_947),
        ("label.csv Valid", 3_191, 3_508),
        ("fer2013new.csv Training", 25_060, 27_956),
        ("fer2013new.csv PublicTest", 3_199, 3_505),
        ("fer2013new.csv PrivateTest", 3_153, 3_505),
    ],
)
def test_the_real_tables_give_the_published_counts(
    real_votes: dict[str, NDArray[np.int64]], table: str, by_majority: int, by_probability: int
) -> None:
    votes = real_votes[table]
    assert ferplus.majority(votes).kept.sum() == by_majority
    assert ferplus.probability(votes).kept.sum() == by_probability


def test_the_real_majority_classes_have_the_published_counts(real_votes: dict[str, NDArray[np.int64]]) -> None:
    wanted = {
        "label.csv Train": [8733, 7284, 3136, 3022, 2098, 116, 536, 120],
        "label.csv Valid": [1180, 862, 411, 348, 289, 25, 60, 16],
    }
    for table, counts in wanted.items():
        derived = ferplus.majority(real_votes[table])
        assert np.bincount(derived.classes[derived.kept], minlength=8).tolist() == counts
