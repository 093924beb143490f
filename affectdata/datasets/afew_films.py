"""What AFEW and SFEW share: the seven class folders, and films as the key that no split should cut through."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from affectdata.datasets.reading import Reject
from affectdata.datasets.text import decoded

CLASSES = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}
"""Class folder, lower case -> class [verified 7]; there is no native integer code, so folders map by name only."""

CLIP_ID = re.compile(r"(?a:\d{9})")
"""A clip is named by its time in the film; that is unique within a split only (counted)."""

_CLIP = re.compile(r"(?i)<clip\b")
_DECLARATION = re.compile(r"(?i)<!\s*(doctype|entity)")
_WANTED = "MovieTitle|NameOfActor|Location|ClipName"
_FACT = re.compile(rf"(?i)\b({_WANTED})\s*=\s*\"([^\"<]*)\"|\b({_WANTED})\s*=\s*'([^'<]*)'|<({_WANTED})\s*>([^<]*)</")


@dataclass(frozen=True)
class Film:
    """Where one clip comes from; None where the file does not say, or says several."""

    group: str | None
    actor: str | None


def film_group(title: str) -> str | None:
    """`film:` and the title in lower case; blanks and `_`, which SFEW writes for them, count as one `_`."""
    name = re.sub(r"[\s_]+", "_", title.strip().lower()).strip("_")
    return f"film:{name}" if name else None


def names_clips(head: bytes) -> bool:
    """Whether the start of an XML file says which clip an entry is about."""
    return any(fact[0] in ("location", "clipname") for fact in _facts(decoded(head)))


def read_films(data: bytes, about: str, reject: Reject) -> dict[str, Film]:
    """Clip id -> film and actor, of the entries of `Train_6.xml` that name their clip; see afew.md 2.

    Nothing is parsed as XML: whether the files are well-formed is unknown, and no entity is ever expanded. A file
    that declares some is refused. An entry without a clip name cannot be joined and says nothing.
    """
    # <Clip>
    #   <StartTime>00:06:33:000</StartTime>
    #   <Length>2</Length>
    #   <Person MovieTitle="Some Film" NameOfActor="Some Name" ... />
    # </Clip>
    text = decoded(data)
    if _DECLARATION.search(text):
        reject(about, "unsafe-file", "declares a document type or entities")
        return {}
    found: dict[str, Film] = {}
    for number, entry in enumerate(_CLIP.split(text)[1:], start=1):
        named = _clip_of(entry)
        if named is None:
            continue
        where, film = f"{about} clip {number}", _film(entry)
        if not CLIP_ID.fullmatch(named):
            reject(where, "bad-attributes", f"clip {named!r:.80}, nine digits expected")
        elif named not in found:
            found[named] = film
        elif found[named] == film:
            reject(where, "duplicate-key", named)
        else:
            reject(where, "conflicting-duplicate", f"{named}: {film.group} after {found[named].group}")
            found[named] = Film(None, None)
    return found


def _facts(text: str) -> Iterator[tuple[str, str]]:
    for match in _FACT.finditer(text):
        name, value = (part for part in match.groups() if part is not None)
        # No title is longer; what is longer is a broken file.
        yield name.lower(), html.unescape(value).strip()[:200]


def _clip_of(entry: str) -> str | None:
    """The clip that an entry names, without folders and suffix; None where it names none."""
    for name, value in _facts(entry):
        if name in ("location", "clipname"):
            return value.replace("\\", "/").rpartition("/")[2].partition(".")[0]
    return None


def _film(entry: str) -> Film:
    """Film and actor, where all persons of the entry agree: which of several shows the expression is not said."""
    facts = list(_facts(entry))
    groups = {film_group(value) for name, value in facts if name == "movietitle"} - {None}
    actors = {value for name, value in facts if name == "nameofactor"} - {""}
    return Film(groups.pop() if len(groups) == 1 else None, actors.pop() if len(actors) == 1 else None)
