"""What a name or code means is said once and cannot drift."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import vocabulary as voc
from manifests.errors import UnknownNameError


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Happy", "happiness"),
        ("Happiness", "happiness"),
        ("joy", "happiness"),
        ("Suprise", "surprise"),
        (" ANGRY ", "anger"),
        ("Fearful", "fear"),
        ("Sad", "sadness"),
        ("Contempt", "contempt"),
    ],
)
def test_every_spelling_of_a_dataset_reaches_one_name(spelling: str, name: str) -> None:
    assert voc.EXPRESSION.canonical(spelling) == name


def test_canonical_names_are_their_own_spelling() -> None:
    for vocabulary in voc.VOCABULARIES.values():
        assert [vocabulary.canonical(name) for name in vocabulary.names] == list(vocabulary.names)
        assert [vocabulary.code(name) for name in vocabulary.names] == list(range(len(vocabulary.names)))


def test_compound_names_are_read_with_blanks_and_hyphens() -> None:
    assert voc.COMPOUND.canonical("Happily Surprised") == "happily_surprised"
    assert voc.COMPOUND.canonical("angrily-disgusted") == "angrily_disgusted"


@pytest.mark.parametrize("name", ["calm", "smile"])
def test_a_class_of_its_own_or_an_act_is_no_spelling_of_an_expression(name: str) -> None:
    with pytest.raises(UnknownNameError):
        voc.EXPRESSION.canonical(name)


def test_an_unknown_name_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as error:
        voc.EXPRESSION.canonical("happynes")
    assert "happiness" in str(error.value)
    assert "neutral, happiness" in str(error.value)


@pytest.mark.parametrize("name", ["RAF-DB", "RafDB", "rafdb1"])
def test_the_nearest_name_is_found_whatever_its_case(name: str) -> None:
    assert "did you mean rafdb?" in str(UnknownNameError("dataset", name, ["affwild2", "rafdb"]))


@given(st.text(max_size=30))
def test_any_text_is_a_known_name_or_an_unknown_name_error(text: str) -> None:
    with contextlib.suppress(UnknownNameError):
        assert voc.EXPRESSION.canonical(text) in voc.EXPRESSIONS


@pytest.mark.parametrize(
    ("token", "number", "side"),
    [
        ("12", 12, "both"),
        ("AU12", 12, "both"),
        ("au04", 4, "both"),
        ("L12", 12, "left"),
        ("B22", 22, "bottom"),
        ("AD19", 19, "both"),
    ],
)
def test_au_tokens_give_number_and_side(token: str, number: int, side: str) -> None:
    assert voc.parse_au(token) == voc.CodedAU(number, side)


@pytest.mark.parametrize("token", ["", "0", "83", "AU", "Cheek Puffer", "12.5", "-4", "X12"])
def test_a_token_that_is_no_au_is_refused(token: str) -> None:
    with pytest.raises(UnknownNameError):
        voc.parse_au(token)


def test_directional_aus_swap_and_others_keep_their_number() -> None:
    assert all(voc.AU_MIRROR[voc.AU_MIRROR[au]] == au for au in voc.AUS)
    assert [voc.AU_MIRROR[au] for au in (51, 62, 12)] == [52, 61, 12]


def test_landmark_mirror_is_an_involution_that_fixes_the_midline() -> None:
    mirror = voc.LANDMARK_MIRROR
    assert sorted(mirror) == list(range(68))
    assert all(mirror[mirror[i]] == i for i in range(68))
    assert [i for i in range(68) if mirror[i] == i] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_landmark_parts_cover_the_68_points_once() -> None:
    assert sorted(i for part in voc.LANDMARK_PARTS.values() for i in part) == list(range(68))


def test_au_spaces_agree_with_the_reference_tables(shared: Path) -> None:
    spaces = json.loads((shared / "reference" / "relatedness.json").read_text())["au_label_spaces"]
    ours = {name: list(aus) for name, aus in voc.AU_SPACES.items()}
    eleven = ours.pop("fera2015_11")  # page bp4d.md: the twelve without AU 24
    assert ours == {n: s["aus"] for n, s in spaces.items()}
    assert eleven == [au for au in ours["bp4d12"] if au != 24]


def test_compounds_hold_every_category_of_the_emotionet_table(shared: Path) -> None:
    rows = json.loads((shared / "reference" / "relatedness.json").read_text())["tables"]["emotionet"]["rows"]
    assert len(rows) == 23
    assert set(voc.COMPOUNDS) == {"neutral", *rows}


def test_every_expression_space_is_a_part_of_the_canonical_order_and_those_without_neutral_stand_last() -> None:
    for classes in voc.EXPRESSION_SPACES.values():
        assert classes == tuple(name for name in voc.EXPRESSIONS if name in classes)
    with_neutral = ["neutral" in classes for classes in voc.EXPRESSION_SPACES.values()]
    assert with_neutral == sorted(with_neutral, reverse=True)


def test_the_space_of_ck_plus_has_contempt_and_no_neutral() -> None:
    assert set(voc.EXPRESSION_SPACES["expr7-contempt"]) == {*voc.EXPRESSION_SPACES["expr6"], "contempt"}
    assert "neutral" not in voc.EXPRESSION_SPACES["expr6"]
