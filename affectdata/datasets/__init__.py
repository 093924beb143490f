"""The registry of dataset readers: the folder itself. A file here that holds a CARD is a dataset.

A reader is one file with, in this order: docstring, `CARD`, `find`, `read`, private parsers; see `reading.py`
for the contract. A reader is imported when it is asked for.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from affectdata.datasets.card import Card
from affectdata.datasets.reading import Reader
from manifests.errors import UnknownNameError


@cache
def registry() -> dict[str, Reader]:
    """Every reader by the name of its dataset, sorted."""
    files = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    modules = {name: import_module(f"{__name__}.{name}") for name in files}
    return {module.CARD.name: module for module in modules.values() if hasattr(module, "CARD")}


def reader(name: str) -> Reader:
    """The reader of one dataset.

    Raises:
        UnknownNameError: No file of this folder reads it.
    """
    found = registry().get(name)
    if found is None:
        raise UnknownNameError(
            "dataset", name, registry(), "affect datasets; for a dataset of your own: affect ingest table PATH"
        )
    return found


def card(name: str) -> Card:
    """What is known of one dataset before its files are seen.

    Raises:
        UnknownNameError: No such dataset.
    """
    return reader(name).CARD
