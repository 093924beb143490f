"""On a Ray cluster the same chunks give the same bytes, even if a node dies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from affectdata.faces.align import AlignOptions, AlignProgress, align
from manifests.errors import AffectError
from manifests.lake import Lake
from tests.affectdata.faces.conftest import COUNT, publish_toy

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'affectdata[ray]'")

SMALL = AlignOptions(workers=1, chunk=4)
ON_RAY = replace(SMALL, engine="ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes on this machine, one core each."""
    from ray.cluster_utils import Cluster

    memory = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=memory)
    made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    try:
        yield made
    finally:
        made.shutdown()


def published(lake: Lake) -> dict[str, bytes]:
    folder = (lake.home / "toy").resolve()
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_node_that_dies_changes_no_byte(cluster: Any, toy: Lake, tmp_path: Path) -> None:
    nodes = list(cluster.worker_nodes)

    def kill(now: AlignProgress) -> None:
        if now.done > now.before and nodes:  # one chunk is finished, others are being made
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    options = replace(ON_RAY, address=cluster.address)
    assert align(toy, "toy", detector="dataset", options=options, progress=kill).samples == COUNT
    assert not nodes
    other = Lake(tmp_path / "other", create=True)
    publish_toy(other, tmp_path / "toy")
    align(other, "toy", detector="dataset", options=SMALL)
    assert published(toy) == published(other)


def test_no_cluster_is_one_message(toy: Lake) -> None:
    with pytest.raises(AffectError, match="no Ray cluster at"):
        align(toy, "toy", detector="dataset", options=replace(ON_RAY, address="127.0.0.1:1"))
