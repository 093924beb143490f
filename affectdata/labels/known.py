"""Which label layers count as known when a derived layer is made."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from manifests.errors import StaleLayerError
from manifests.lake import Lake, Layer
from manifests.resolve import check_patterns, resolve


def known_layers(lake: Lake, dataset: str, patterns: Sequence[str], own: str) -> list[Layer]:
    """The label layers that the patterns name, first wins, without the layer `own` that is about to be replaced.

    A layer that took itself for known would find nothing left to say, and lose its labels when it is made again.

    Raises:
        UnknownNameError: No such dataset.
        SourceOrderError: A pattern is unknown or ambiguous.
        StaleLayerError: One of them is stale: what it knows would be taken for unknown.
    """
    named_layers(lake, dataset, patterns, own)
    sources = resolve(lake, patterns, datasets=[dataset]).datasets[0].sources
    return [source.layer for source in sources if source.name != own]


def named_layers(lake: Lake, dataset: str, patterns: Sequence[str], own: str = "") -> list[Layer]:
    """The label layers that the patterns name, where none has to win: two of one pattern may speak of the same cell.

    Raises:
        SourceOrderError: A pattern is unknown.
        StaleLayerError: One of them, other than `own`, is stale.
    """
    everywhere = {layer.name for name in lake.datasets() for layer in lake.layers(name) if layer.kind == "labels"}
    check_patterns(patterns, everywhere)
    labels = [layer for layer in lake.layers(dataset) if layer.kind == "labels"]
    named = [layer for layer in labels if any(fnmatchcase(layer.name, pattern) for pattern in patterns)]
    for layer in named:
        if layer.stale and layer.name != own:
            raise StaleLayerError(
                f"{layer.key} of {dataset} is stale",
                found=layer.stale,
                expected="fresh sources, or --sources without it",
                then=f"make it again ({layer.facts.command or 'affect layers shows how'})",
            )
    return named
