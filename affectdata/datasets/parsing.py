"""Annotation files, parsed once: what a parser made of a content is kept for the ingests after it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from affectdata.datasets.rejects import Reject, Said
from affectdata.memo import code, identity, key_of
from affectdata.packed import UnpackableError, packed, unpacked
from manifests.errors import DatasetError

if TYPE_CHECKING:
    from affectdata.datasets.reading import Folder

T = TypeVar("T")

_CHUNK = 1 << 22
_END = -1


def hashed(folder: Folder, path: str) -> bytes:
    """Hash of the bytes of a file.

    Raises:
        DatasetError: It cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with folder.open(path) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DatasetError(f"{path} of {folder.root} cannot be read", found=str(error)) from None
    return digest.digest()


def content(folder: Folder, path: str) -> bytes:
    """The same, without opening a file that the file system says is the one that was hashed before."""
    place = _Place(folder, path)
    if (known := place.recalled("content")) is not None:
        return known
    return place.kept("content", hashed(folder, path))


def head(folder: Folder, path: str, size: int) -> bytes:
    """The first bytes of a file; nothing if it cannot be read."""
    place = _Place(folder, path)
    if (known := place.recalled(f"head {size}")) is not None:
        return known
    try:
        with folder.open(path) as file:
            return place.kept(f"head {size}", file.read(size))
    except OSError:
        return b""


def parsed(folder: Folder, path: str, parser: Callable[..., T], given: tuple[Any, ...], named: Mapping[str, Any]) -> T:
    """See `Folder.parsed`."""
    call = _Call(folder, parser, given, named)
    if not call.about:
        return parser(folder.read_bytes(path), *given, **named)
    known, data = _Place(folder, path).recalled("content"), None
    if known is None:
        data = folder.read_bytes(path)
        known = _hash(data)
    if (found := call.recalled(known)) is not None:
        call.tell(found)
        return cast(T, iter(found.value) if found.is_iterator else found.value)
    data = folder.read_bytes(path) if data is None else data
    own = Reject()
    value = call.run(data, own)
    is_iterator = isinstance(value, Iterator)
    # Under what was read now, whatever was hashed before.
    made = call.kept(_hash(data), list(value) if is_iterator else value, own.drained(), is_iterator=is_iterator)
    call.tell(made)
    return cast(T, iter(made.value) if is_iterator else made.value)


def parsed_pieces(
    folder: Folder, path: str, parser: Callable[..., Iterator[T]], given: tuple[Any, ...], named: Mapping[str, Any]
) -> Iterator[T]:
    """See `Folder.parsed_pieces`. A piece is kept under its number, their count last of all."""
    call, place = _Call(folder, parser, given, named), _Place(folder, path)
    known = place.recalled("content") if call.about else None
    done = 0
    if known is not None and (end := call.recalled(known, _END)) is not None:
        while done < end.value and (piece := call.recalled(known, done)) is not None:
            call.tell(piece)
            yield cast(T, piece.value)
            done += 1
        if done == end.value:
            call.tell(end)
            return
    own, number = Reject(), 0
    try:
        with folder.open(path) as file:
            for value in call.run(file, own):
                made = call.kept(known, value, own.drained(), number)
                # Pieces before a damaged one have been handed out already.
                if number >= done:
                    call.tell(made)
                    yield value
                number += 1
    except OSError as error:
        raise DatasetError(f"{path} of {folder.root} cannot be read", found=str(error)) from None
    is_same = place.key("content") == _Place(folder, path).key("content")
    call.tell(call.kept(known if is_same else None, number, own.drained(), _END))


@dataclass(frozen=True)
class _Made:
    """What a parser returned, and what it refused."""

    value: Any
    said: Said
    is_iterator: bool = False


class _Place:
    """A file as the file system knows it, and what is kept under that."""

    def __init__(self, folder: Folder, path: str) -> None:
        self._memo = folder.memo
        if self._memo.on:
            origin = folder.files.origin(path)
            # An archive that grew is another file, and so are all of its entries.
            self._about, self._lasts = identity(folder.root / (origin[0] if origin else path))
            self._path = f"{folder.root / path}"

    def recalled(self, kind: str) -> bytes | None:
        """What is kept of the file."""
        return self._memo.get(self.key(kind)) if self._memo.on and self._memo.trusts_times else None

    def kept(self, kind: str, value: bytes) -> bytes:
        """The value, kept if a later file could be told from this one."""
        if self._memo.on and self._lasts:
            self._memo.put(self.key(kind), value)
        return value

    def key(self, kind: str) -> bytes:
        """Changes with the file."""
        return key_of(kind, self._path, *self._about) if self._memo.on else b""


class _Call:
    """A parser and its arguments; without what it is about where that cannot be told from another call.

    Attributes:
        about: Parser and arguments as bytes.
    """

    def __init__(
        self, folder: Folder, parser: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]
    ) -> None:
        self._memo, self._parser, self._given, self._named = folder.memo, parser, given, named
        self._reject = next((value for value in (*given, *named.values()) if isinstance(value, Reject)), None)
        self.about = b""
        # A function within another depends on what lies around it.
        name = f"{parser.__module__} {getattr(parser, '__qualname__', '<')}"
        if folder.memo.on and "<" not in name:
            with suppress(UnpackableError):
                self.about = key_of(name, code(), packed([*self._with(None)]))

    def run(self, source: bytes | BinaryIO, own: Reject) -> Any:
        """What the parser returns, which refuses to a list of its own."""
        given, named = self._with(own)
        return self._parser(source, *given, **named)

    def recalled(self, content: bytes, piece: int = 0) -> _Made | None:
        """What is kept of such a call for a content."""
        data = self._memo.get(key_of("parsed", self.about, content, piece))
        if data is None:
            return None
        try:
            value, single, tables, is_iterator = cast(tuple[Any, ...], unpacked(data))
        except ValueError:
            return None
        return _Made(value, (single, tables), is_iterator)

    def kept(
        self, content: bytes | None, value: Any, said: Said, piece: int = 0, *, is_iterator: bool = False
    ) -> _Made:
        """The same as one, kept for this content, if it is known and the value can be packed."""
        if content is not None:
            with suppress(UnpackableError):
                data = packed((value, *said, is_iterator))
                self._memo.put(key_of("parsed", self.about, content, piece), data)
        return _Made(value, said, is_iterator)

    def tell(self, made: _Made) -> None:
        """Refuse, to whom the caller said, what was refused."""
        if self._reject is not None:
            self._reject.repeat(*made.said)

    def _with(self, own: Reject | None) -> tuple[list[Any], dict[str, Any]]:
        given = [own if isinstance(value, Reject) else value for value in self._given]
        return given, {name: own if isinstance(value, Reject) else value for name, value in self._named.items()}


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
