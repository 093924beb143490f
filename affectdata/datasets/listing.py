"""The files under a dataset's root, listed once: every reader, check and fingerprint asks this list."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.archives import ROW
from affectdata.datasets.mounting import Mounts, mount
from manifests.errors import DatasetError

_NOTES = (".txt", ".md", ".rst", ".pdf", ".log", ".ini", ".db")
"""Ends of files that never hold pixels: a README, or what a file manager leaves behind, is no change of a dataset."""


class Listing:
    """Relative paths ('/' separated) of the files under a folder, with their sizes in bytes.

    Folders that are symbolic links are followed, but never back into a folder above them: labs spread a dataset over
    disks. Names that are not UTF-8 cannot be stored in a lake; they are kept apart, escaped, in `unreadable_names`.

    What zip and tar archives hold is listed as if it were unpacked; `stored` and `origin` say where it truly lies.

    Args:
        folders: Folder -> file name -> bytes.
        unreadable_names: Escaped paths.
        mounts: The archives among the folders.
    """

    def __init__(
        self, folders: dict[str, dict[str, int]], unreadable_names: list[str], mounts: Mounts | None = None
    ) -> None:
        self._folders = folders
        self._mounts = mounts or Mounts()
        self.unreadable_names = sorted((*unreadable_names, *self._mounts.unreadable_names))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Archives that are not read, or not whole."""
        return tuple(self._mounts.warnings)

    @property
    def refused(self) -> list[tuple[str, str, str]]:
        """Where, reject code and detail of archives and entries that cannot be used."""
        return self._mounts.refused

    @property
    def archives(self) -> tuple[tuple[str, str], ...]:
        """Path of each archive that is read, and the folder in which its entries are listed."""
        return tuple(self._mounts.archives)

    def origin(self, path: str) -> tuple[str, str] | None:
        """Archive and entry that a listed path stands for; None for a file of its own."""
        return self._mounts.origin(path)

    def stored(self, samples: pa.Table) -> pa.Table:
        """Samples as a lake stores them: archive in `path` and entry in `member` where the path is listed from one.

        A data row of a table inside an archive is `<entry>//<row>`.
        """
        if not self._mounts.archives or "path" not in samples.column_names:
            return samples
        paths = samples.column("path").combine_chunks().dictionary_encode()
        origins = [self.origin(path) for path in paths.dictionary.to_pylist()]
        if not any(origins):
            return samples
        files, entries = (
            pa.array([origin and origin[side] for origin in origins], pa.string()).take(paths.indices)
            for side in (0, 1)
        )
        there = "member" in samples.column_names
        rows = samples.column("member").combine_chunks() if there else pa.nulls(len(paths), pa.string())
        # NULL + text is NULL: an entry without a row stays as it is, and a row outside of archives too.
        members = pc.coalesce(pc.binary_join_element_wise(entries, rows, ROW), entries, rows)
        files = pc.coalesce(files, samples.column("path").combine_chunks())
        samples = samples.set_column(samples.column_names.index("path"), "path", files)
        if not there:
            return samples.append_column("member", members)
        return samples.set_column(samples.column_names.index("member"), "member", members)

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return name in self._folders.get(folder, ())

    def __len__(self) -> int:
        return sum(len(names) for names in self._folders.values())

    def __iter__(self) -> Iterator[str]:
        """All paths, sorted."""
        return iter(sorted(_joined(folder, name) for folder, names in self._folders.items() for name in names))

    def size(self, path: str) -> int:
        """Bytes of one file."""
        folder, _, name = path.rpartition("/")
        return self._folders[folder][name]

    def folders(self, pattern: str = "*", below: str = "") -> list[str]:
        """Folders whose path under `below` matches a pattern component by component, ignoring case, sorted.

        `folders("*")` are the folders at the top, `folders("*/EmoLabel")` those named EmoLabel one level deeper.
        """
        parts = tuple(part.lower() for part in PurePosixPath(pattern).parts)
        prefix = f"{below}/" if below else ""
        inside = ((folder, folder[len(prefix) :]) for folder in self._folders if folder.startswith(prefix))
        return sorted(folder for folder, rest in inside if rest and _matches(PurePosixPath(rest).parts, parts))

    def tree(self) -> list[str]:
        """Every folder, however deep, sorted; the root is the empty path."""
        return sorted(self._folders)

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        """File names directly in a folder that match a pattern, ignoring case, sorted."""
        if pattern == "*":
            return sorted(self._folders.get(folder, ()))
        wanted = pattern.lower()
        return sorted(name for name in self._folders.get(folder, ()) if fnmatchcase(name.lower(), wanted))

    def unsorted_names(self, folder: str) -> Iterator[str]:
        """File names directly in a folder, in no order: for a look that stops early."""
        return iter(self._folders.get(folder, ()))

    def find(self, pattern: str) -> list[str]:
        """Files whose path matches a pattern component by component, ignoring case, sorted."""
        head, _, tail = pattern.rpartition("/")
        folders = self.folders(head) if head else [""]
        return [_joined(folder, name) for folder in folders for name in self.names(folder, tail)]

    def under(self, folder: str) -> list[str]:
        """All files below a folder, however deep, sorted."""
        prefix = f"{folder}/" if folder else ""
        chosen = {f: n for f, n in self._folders.items() if f == folder or f.startswith(prefix)}
        return sorted(_joined(f, name) for f, names in chosen.items() for name in names)

    def paths(self, below: str = "") -> pa.Array:
        """The paths of all files below a folder, relative to it, as one Arrow array for a vectorised look-up."""
        prefix = f"{below}/" if below else ""
        inside = [(f[len(prefix) :], n) for f, n in self._folders.items() if f == below or f.startswith(prefix)]
        return pa.array([_joined(f, name) for f, names in inside for name in names], pa.string())

    def media(self) -> list[str]:
        """Whatever may hold pixels, folder by folder, sorted: every file but notes and hidden ones."""
        return [_joined(folder, name) for folder, sizes in self.media_sizes() for name in sizes]

    def media_sizes(self) -> Iterator[tuple[str, dict[str, int]]]:
        """The same as name -> bytes of each folder, both sorted."""
        for folder in sorted(self._folders):
            sizes = self._folders[folder]
            yield folder, {n: sizes[n] for n in sorted(sizes) if n[0] != "." and not n.lower().endswith(_NOTES)}

    def sketch(self, lines: int = 12) -> str:
        """The top of the tree as text, for an error message."""
        if not self._folders.get("") and len(self._folders) < 2:
            return "nothing: the folder is empty"
        entries = [f"{folder}/ ({len(names)} files)" for folder, names in sorted(self._folders.items()) if folder]
        entries = sorted(self._folders.get("", ()))[:lines] + entries
        more = [f"... and {len(entries) - lines} more"] if len(entries) > lines else []
        return ", ".join(entries[:lines] + more)


def list_files(root: Path, seen: Callable[[int], None] | None = None) -> Listing:
    """List a folder with one `os.scandir` per folder.

    Args:
        root: Folder to list, or one archive: then what it holds, as if it lay in the folder of the archive.
        seen: Called with the number of files found so far, for progress.

    Raises:
        OSError: The root cannot be read.
        DatasetError: Something below it cannot be read; what lies there would silently be left out.
    """
    if root.is_file():
        alone = {"": {root.name: root.stat().st_size}}
        return Listing(alone, [], mount(root.parent, alone))
    folders: dict[str, dict[str, int]] = {}
    unreadable: list[str] = []
    failed: list[str] = []
    todo: list[tuple[str, Path, frozenset[tuple[int, int]]]] = [("", root, frozenset())]
    count = 0
    while todo:
        relative, folder, above = todo.pop()
        try:
            status = folder.stat()
            here = (status.st_dev, status.st_ino)
            if here in above:
                continue
            names, inner = folders.setdefault(relative, {}), above | {here}
            for entry in os.scandir(folder):
                path = _joined(relative, entry.name)
                if not _is_utf8(entry.name):
                    unreadable.append(_escaped(path))
                    continue
                try:
                    if entry.is_dir():
                        todo.append((path, Path(entry.path), inner))
                    elif entry.is_file():
                        names[entry.name] = entry.stat().st_size
                except OSError as error:
                    failed.append(f"{path}: {error.strerror}")
        except OSError as error:
            if not relative:
                raise
            failed.append(f"{relative}: {error.strerror}")
            continue
        count += len(names)
        if seen:
            seen(count)
    if failed:
        raise _incomplete(root, sorted(failed))
    return Listing(folders, unreadable, mount(root, folders))


def _incomplete(root: Path, failed: list[str]) -> DatasetError:
    more = [f"... and {len(failed) - 5:,} more"] if len(failed) > 5 else []
    return DatasetError(
        f"parts of {root} cannot be read; nothing was changed",
        found="; ".join(failed[:5] + more),
        expected="folders that may be read whole: what lies in them would silently be missing",
        then="mend the permissions or the disk, or move what does not belong to the dataset elsewhere",
    )


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    same_depth = len(parts) == len(pattern)
    return same_depth and all(fnmatchcase(p.lower(), q) for p, q in zip(parts, pattern, strict=True))


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
