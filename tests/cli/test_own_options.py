"""Options of one dataset reach its reader, and what is none is refused by name."""

from __future__ import annotations

import pytest

from cli.datasets import own_options
from manifests.errors import AffectError


def test_both_spellings_of_an_option_are_understood() -> None:
    assert own_options(["--images", "original", "--edition=abaw6"]) == {"images": "original", "edition": "abaw6"}


@pytest.mark.parametrize("arguments", [["stray"], ["--images"], ["--images", "original", "stray"], ["-x", "1"]])
def test_what_is_no_option_with_a_value_is_refused(arguments: list[str]) -> None:
    with pytest.raises(AffectError, match=r"argument '.+' of affect ingest"):
        own_options(arguments)
