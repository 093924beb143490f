"""Writing that survives: what a disk refuses becomes one clear error, what is published is synced first."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manifests.errors import StorageError

_REFUSALS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "disk quota exceeded",
    errno.EFBIG: "file size limit exceeded",
    errno.EROFS: "read-only file system",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
}


@contextmanager
def storage_errors(
    where: Path, then: str = "free space or choose another lake with --lake, then run the same command again"
) -> Iterator[None]:
    """Turn what a full, read-only or forbidden disk raises into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise StorageError(
            f"cannot write to {where}",
            found=_REFUSALS[error.errno],
            expected="room and permission to write; what was published before is untouched",
            then=then,
        ) from error


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no hard links or is another one."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        shutil.copyfile(source, target)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
