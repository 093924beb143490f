"""From a path on the command line to a recognised distribution, or to an error that says what lies there instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from affectdata.archives import READABLE
from affectdata.datasets import registry
from affectdata.datasets.card import Card
from affectdata.datasets.listing import Listing, list_files
from affectdata.datasets.reading import Distribution, Folder, Reader
from affectdata.memo import Memo
from manifests.errors import AffectError, DatasetError, UnknownNameError

_PACKED = frozenset((".gz", ".bz2", ".xz", ".zst", ".tgz", ".tbz", ".txz", ".rar", ".7z"))
"""Archives that cannot be read at random."""


def recognise(
    reader: Reader,
    root: Path,
    options: Mapping[str, str] | None = None,
    seen: Callable[[int], None] | None = None,
    memo: Memo | None = None,
) -> Distribution:
    """The distribution of a dataset that lies in a folder.

    Args:
        reader: The reader of the dataset that the user named.
        root: The folder that the user named, or a zip or tar archive; paths are then relative to its folder.
        options: The user's choices.
        seen: Called with the number of files listed so far.
        memo: What earlier ingests learned of the files.

    Raises:
        UnknownNameError: An option or a value of one that the CARD does not offer.
        DatasetError: Nothing there, a file, an empty folder, or another dataset.
    """
    card = reader.CARD
    chosen = _complete(card, options or {})
    files = _listed(card, root, seen)
    found = reader.find(Folder(_folder_of(root), files, chosen, memo or Memo()))
    if found is None:
        raise _not_recognised(reader, root, files)
    return replace(found, warnings=(*found.warnings, *files.warnings)) if files.warnings else found


def check_apart(root: Path, home: Path) -> None:
    """Refuse a lake inside the folder that is to be read: that folder is never written, and would change with the lake.

    Args:
        root: Folder or archive of the dataset.
        home: The lake that would be written, whether it is there yet or not.

    Raises:
        DatasetError: The lake lies, or would lie, in that folder.
    """
    if home.expanduser().resolve().is_relative_to(root.expanduser().resolve()):
        raise DatasetError(
            f"lake {home} would lie in the folder that is to be read",
            found=f"{root} holds it",
            expected="a lake beside the dataset: its folder is only ever read",
            then="name the dataset's own folder, or another --lake",
        )


def likely_datasets(root: Path, files: Listing, besides: str = "") -> list[str]:
    """Names of the datasets whose readers recognise this tree, or else of those that know it but want an option."""
    answers = {
        name: _answer(reader, Folder(_folder_of(root), files, _complete(reader.CARD, {})))
        for name, reader in registry().items()
        if name != besides
    }
    return [name for name, answer in answers.items() if answer == "yes"] or [
        name for name, answer in answers.items() if answer == "ask"
    ]


def _answer(reader: Reader, folder: Folder) -> Literal["yes", "no", "ask"]:
    """Whether a reader knows the tree. One that raises knows it too, unless it would ask about any tree at all."""
    try:
        return "no" if reader.find(folder) is None else "yes"
    except AffectError:
        if not len(folder.files):
            return "ask"
        return "no" if _answer(reader, replace(folder, files=Listing({"": {}}, []))) == "ask" else "ask"


def _complete(card: Card, options: Mapping[str, str]) -> dict[str, str]:
    known = {option.name: option for option in card.options}
    for name, value in options.items():
        if name not in known:
            raise UnknownNameError(f"option of {card.name}", name, known, f"affect info {card.name}")
        choices = known[name].choices
        if choices and value not in choices:
            raise UnknownNameError(f"value of --{name}", value, choices)
    return {name: options.get(name, option.default) for name, option in known.items()}


def _listed(card: Card, root: Path, seen: Callable[[int], None] | None) -> Listing:
    about = f"{card.name} at {root}"
    expected = f"a folder or archive with {' or '.join(card.looked_for)}"
    then = f"affect info {card.name} shows how to get the dataset and how its folder looks"
    if not root.exists():
        raise DatasetError(about, found="no such folder", expected=expected, then=then)
    if not root.is_dir() and root.suffix.lower() not in READABLE:
        what = "an archive: unpack it first" if root.suffix.lower() in _PACKED else "a file"
        raise DatasetError(about, found=what, expected=expected, then="name the folder that holds it")
    try:
        files = list_files(root, seen)
    except OSError as error:
        raise DatasetError(about, found=str(error), expected="a folder that may be read") from None
    if not len(files) and files.warnings:
        raise DatasetError(
            about, found="; ".join(files.warnings), expected=expected, then="unpack it, and name the folder"
        )
    if not len(files) and not files.unreadable_names:
        raise DatasetError(about, found="an empty folder", expected=expected, then=then)
    return files


def _folder_of(root: Path) -> Path:
    return root.absolute().parent if root.is_file() else root.absolute()


def _not_recognised(reader: Reader, root: Path, files: Listing) -> DatasetError:
    card = reader.CARD
    likely = likely_datasets(root, files, besides=card.name)
    guess = f"this looks like {' or '.join(likely)}: affect ingest {likely[0]} {root}" if likely else ""
    return DatasetError(
        f"{card.name} was not recognised at {root}",
        found="\n  ".join((files.sketch(), *files.warnings)),
        expected=" or ".join(card.looked_for) + "\n  " + card.tree.replace("\n", "\n  "),
        then=guess or f"affect info {card.name}; for a dataset of your own: affect ingest table PATH --map MAP.toml",
    )
