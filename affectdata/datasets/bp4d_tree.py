"""Which folders hold the AU files of BP4D or BP4D+, and which of the two it is (datasets pages bp4d, bp4dplus).

Both lay their files out alike and name people alike (F001 ...), but the people are others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from affectdata.datasets.disfa_codes import cut_header
from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Folder, Reject
from manifests.errors import DatasetError

LAST_SUBJECT = {"F": 23, "M": 18}
"""Of BP4D; BP4D+ goes on to F082 and M058."""

LAST_TASK = 8
"""Of BP4D; BP4D+ has ten."""

ONLY_BP4D_CODES = frozenset((2, 3, 4, 5))
"""Tasks whose AUs BP4D has and BP4D+ has not [verified 3]."""

WIDE = 50
"""Header cells from which on a file has a column for every number to 99, as BP4D's has and BP4D+'s has not."""

PLUS_CELLS = 35

_SEQUENCE = re.compile(r"(?i)^([FM]\d{3})_T(\d{1,2})(?!\d)")
_SUBJECT = re.compile(r"(?i)^([FM])(\d{3})(?:\.zip)?$")
_CODING = re.compile(r"(?i)(?:^|/)(?:AU_OCC|AUCoding|AU\d{1,2})$")
_NAMED_AU = re.compile(r"(?i)_AU0*(\d{1,2})(?!\d)")
_AU_FOLDER = re.compile(r"(?i)^AU(\d{1,2})$")
PLUS_FOLDERS = frozenset(("thermal", "physiology", "irfeatures"))
"""Folders that only BP4D+ has; nothing in them is a picture of the colour camera."""


Sequence = tuple[str, int]
"""Subject and number of the task: F001, 1."""


@dataclass(frozen=True)
class Tree:
    """Where the AU files lie.

    Args:
        occurrence: Folder of the occurrence files, one per sequence.
        intensity: AU -> folder of its intensity files.
    """

    occurrence: str
    intensity: dict[int, str]

    def annotations(self, files: Listing) -> tuple[str, ...]:
        """Every AU file."""
        folders = (self.occurrence, *self.intensity.values())
        return tuple(f"{folder}/{name}" for folder in folders for name in files.names(folder, "*.csv"))


def tree(folder: Folder) -> Tree | None:
    """Where the AU files lie, or None.

    Raises:
        DatasetError: In two places.
    """
    files = folder.files
    named = [path for path in files.tree() if _CODING.search(path)]
    coded = [path for path in named if any(map(_SEQUENCE.match, files.names(path, "*.csv")))]
    tops = [path for path in coded if path.rpartition("/")[2].lower() in ("au_occ", "aucoding")]
    if len(tops) > 1:
        raise DatasetError(
            f"AU occurrence files lie in several folders of {folder.root}",
            found=", ".join(tops),
            expected="one AUCoding/AU_OCC, or one AUCoding with the files directly in it",
            then="name the folder of one copy, or move the other away",
        )
    if not tops:
        return None
    intensity: dict[int, str] = {}
    for path in coded:
        match = _AU_FOLDER.match(path.rpartition("/")[2])
        if match and intensity.setdefault(int(match[1]), path) != path:
            raise DatasetError(
                f"intensity files of AU{match[1]} lie twice in {folder.root}",
                found=f"{intensity[int(match[1])]} and {path}",
                expected="one AU_INT",
                then="name the folder of one copy, or move the other away",
            )
    return Tree(tops[0], intensity)


def sequence_of(name: str, last_task: int) -> Sequence | None:
    """Subject and task that a file's name begins with, or None; the rest of the name is free."""
    match = _SEQUENCE.match(name)
    if match is None or not 1 <= int(match[2]) <= last_task:
        return None
    return match[1].upper(), int(match[2])


def sequence_files(
    folder: Folder, path: str, last_task: int, reject: Reject, au: int | None = None
) -> dict[Sequence, str]:
    """Sequence -> file of a folder; other names are refused as `bad-name`, a second file as `duplicate-key`.

    Args:
        au: What the folder holds; a file that names another AU is refused as `id-mismatch`.
    """
    found: dict[Sequence, str] = {}
    # The shortest name first: `F001_T1 (copy).csv` must not stand in for `F001_T1.csv`.
    for name in sorted(folder.files.names(path, "*.csv"), key=len):
        sequence, named = sequence_of(name, last_task), _NAMED_AU.search(name)
        if au is not None and named and int(named[1]) != au:
            reject(f"{path}/{name}", "id-mismatch", f"in the folder of AU{au:02d}")
        elif sequence is None:
            reject(f"{path}/{name}", "bad-name", f"expected a name like F001_T1, tasks to T{last_task}")
        elif sequence in found:
            reject(f"{path}/{name}", "duplicate-key", f"{found[sequence]} is read")
        else:
            found[sequence] = f"{path}/{name}"
    return found


def _named(folder: Folder, found: Tree) -> str:
    """`bp4d` or `bp4dplus` by people, tasks and folders that only one of them has, or nothing where there are none.

    Raises:
        DatasetError: The tree has signs of both.
    """
    sequences = {s for name in folder.files.names(found.occurrence, "*.csv") if (s := sequence_of(name, 99))}
    plus = _signs_of_plus(folder.files, sequences)
    plain = sorted(f"AUs of {subject}_T{task}" for subject, task in sequences if task in ONLY_BP4D_CODES)
    if plus and plain:
        raise DatasetError(
            f"BP4D and BP4D+ seem to lie in one folder: {folder.root}",
            found=f"{plus[0]} (BP4D+ only) and {plain[0]} (BP4D only)",
            expected="one of the two: they name different people alike",
            then="give each a folder of its own",
        )
    return "bp4dplus" if plus else "bp4d" if plain else ""


def _headed(folder: Folder, found: Tree) -> str:
    """The same by headers, a weaker sign: single files of BP4D have the short one too."""
    sequences = [name for name in folder.files.names(found.occurrence, "*.csv") if sequence_of(name, 99)]
    cells = {len(cut_header(folder.head(f"{found.occurrence}/{name}"))[0]) for name in sequences}
    if any(count >= WIDE for count in cells):
        return "bp4d"
    return "bp4dplus" if cells == {PLUS_CELLS} else ""


def is_chosen(folder: Folder, found: Tree, dataset: str) -> bool:
    """Whether the tree is of this dataset: by what only one of the two has, else by the user's word, else by headers.

    Raises:
        DatasetError: Nothing tells.
    """
    release = _named(folder, found) or folder.options["release"] or _headed(folder, found)
    if not release:
        raise DatasetError(
            f"nothing in {folder.root} tells BP4D from BP4D+ (ambiguous-variant)",
            found=f"AU files of people and tasks that both have, in {found.occurrence}",
            expected="tasks T2-T5 or 100 columns (BP4D); people beyond F023 or M018, Thermal/ or Physiology/ (BP4D+)",
            then=f"if you know that it is {dataset}: affect ingest {dataset} PATH --release {dataset}",
        )
    return release == dataset


def _signs_of_plus(files: Listing, sequences: set[Sequence]) -> list[str]:
    signs = [f"AUs of {subject}_T{task}" for subject, task in sequences if task > LAST_TASK]
    signs += [subject for subject, _ in sequences if _is_beyond(subject)]
    folders = files.tree()
    signs += [path for path in folders if path.rpartition("/")[2].lower() in PLUS_FOLDERS or _is_beyond(path)]
    signs += [name for path in folders for name in files.names(path, "*.zip") if _is_beyond(name)]
    return sorted(signs)


def _is_beyond(path: str) -> bool:
    match = _SUBJECT.match(path.rpartition("/")[2])
    return match is not None and int(match[2]) > LAST_SUBJECT[match[1].upper()]
