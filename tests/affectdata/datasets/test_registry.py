"""The folder is the registry, and every CARD says what a user needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import affectdata.datasets
from affectdata.datasets import card, reader, registry
from affectdata.datasets.reading import REASONS
from manifests.errors import UnknownNameError
from manifests.layer import SOURCE_NAME
from manifests.vocabulary import TASKS, UNITS, VOCABULARIES

FOLDER = Path(str(affectdata.datasets.__file__)).parent


def test_every_file_with_a_card_is_a_dataset() -> None:
    holding = {file.stem for file in FOLDER.glob("*.py") if "\nCARD = Card(" in file.read_text(encoding="utf-8")}
    assert {module.__name__.rpartition(".")[2] for module in registry().values()} == holding  # type: ignore[attr-defined]  # readers are modules
    assert {"fer2013", "rafdb", "table", "synthetic"} <= set(registry())


def test_an_unknown_dataset_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean rafdb"):
        reader("raf-db")


@pytest.mark.parametrize("name", sorted(registry()))
def test_a_card_is_complete_and_speaks_the_vocabulary(name: str) -> None:
    about = card(name)
    assert all((about.title, about.licence, about.citation, about.homepage, about.access, about.looked_for, about.tree))
    assert set(about.tasks) <= set(TASKS)
    for labelling in about.labellings:
        assert SOURCE_NAME.match(labelling.source)
        assert set(labelling.unit.values()) <= set(UNITS)
        for task, classes in labelling.offered.items():
            assert set(classes) <= set(VOCABULARIES[task].names)
    sources = {labelling.source for labelling in about.labellings}
    for protocol in about.protocols:
        assert set(protocol.truth) <= sources
    for published in about.published:
        assert published.source in {"samples", *sources}
    assert not [option.name for option in about.options if not re.fullmatch("[a-z][a-z0-9-]*", option.name)]
    assert {expected.reason for expected in about.expected_rejects} <= REASONS
