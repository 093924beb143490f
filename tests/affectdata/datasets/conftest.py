"""A reader run on files that a test writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from affectdata.ingest import ingest
from affectdata.ingest_summary import IngestSummary
from manifests.lake import Lake

Tree = Mapping[str, str | bytes]


def write_tree(root: Path, tree: Tree) -> Path:
    """Write files; empty content for pictures will do, because ingest does not decode."""
    for path, content in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.fixture
def ingested(lake: Lake, tmp_path: Path) -> Callable[..., IngestSummary]:
    """Write a tree and ingest it; every reject is allowed."""

    def run(dataset: str, tree: Tree, **options: str) -> IngestSummary:
        root = write_tree(tmp_path / "root", tree)
        return ingest(lake, dataset, root, max_rejects=1, options=options)

    return run


def rejects(summary: IngestSummary) -> dict[str, int]:
    """Reason -> number."""
    return {reason: reject.count for reason, reject in summary.rejects.items()}
