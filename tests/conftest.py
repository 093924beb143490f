"""Fixtures shared by every floor's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from manifests.lake import Lake

# Tests run beside each other, one per core: threads of a small network would spin while they wait for each other, and
# made two seconds a minute. Set before anything imports torch, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long one example takes is the machine's business: a busy one would fail a rule that holds.
settings.register_profile("affectdata", deadline=None)
settings.load_profile("affectdata")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def _unsynced() -> Iterator[None]:
    """Nothing here has to outlive a power cut, and killed processes lose nothing by it: nobody waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real faces, labels and weights that lies beside the checkout; tests that need it skip without."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the real faces and labels of ../shared, which are private and not part of the project")
    return folder


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake in a folder of its own."""
    return Lake(tmp_path / "lake", create=True)
