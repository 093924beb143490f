"""What all commands of one command line share: the lakes it names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from manifests.lake import Lake


EMPTY_LAKE = "the lake holds no dataset yet: affect ingest DATASET PATH"


@dataclass(frozen=True)
class Session:
    """Lake folders from bottom to top; the last one takes all writes."""

    lakes: tuple[Path, ...]

    def lake(self, *, create: bool = False) -> Lake:
        """The stack of lakes, opened; with `create`, the writable one is made if it is not there."""
        from manifests.lake import Lake

        return Lake(list(self.lakes), create=create)


def session(context: typer.Context) -> Session:
    """The session that the `affect` callback put into the context."""
    found: Session = context.find_object(Session) or Session((Path("lake"),))
    return found


def some_datasets(lake: Lake) -> list[str]:
    """All datasets of the lake, for a command that nobody told which.

    Raises:
        LakeError: It holds none.
    """
    from manifests.errors import LakeError

    if not (names := lake.datasets()):
        raise LakeError(f"lake {lake.home} holds no dataset yet", then="affect ingest DATASET PATH")
    return names


def known_dataset(lake: Lake, name: str) -> str:
    """The name, if the lake holds a dataset of that name.

    Raises:
        UnknownNameError: It does not.
    """
    from manifests.errors import UnknownNameError

    if name not in (names := lake.datasets()):
        raise UnknownNameError("dataset in the lake", name, names, f"affect ingest {name} PATH")
    return name
