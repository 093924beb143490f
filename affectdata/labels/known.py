"""Which label layers count as known when a derived layer is made."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from manifests.errors import StaleLayerError
from manifests.lake import Lake, Layer
from manifests.resolve import resolve


def known_layers(lake: Lake, dataset: str, patterns: Sequence[str], own: str) -> list[Layer]:
    """The label layers that the patterns name, first wins, without the layer `own` that is about to be replaced.

    A layer that took itself for known would find nothing left to say, and lose its labels when it is made again.

    Raises:
        UnknownNameError: No such dataset.
        SourceOrderError: A pattern is unknown or ambiguous.
        StaleLayerError: One of them is stale: what it knows would be taken for unknown.
    """
    for layer in lake.layers(dataset):
        named = layer.kind == "labels" and any(fnmatchcase(layer.name, pattern) for pattern in patterns)
        if named and layer.stale and layer.name != own:
            raise StaleLayerError(
                f"{layer.key} of {dataset} is stale",
                found=layer.stale,
                expected="fresh sources, or --sources without it",
                then=f"make it again ({layer.facts.command or 'affect layers shows how'})",
            )
    sources = resolve(lake, patterns, datasets=[dataset]).datasets[0].sources
    return [source.layer for source in sources if source.name != own]
