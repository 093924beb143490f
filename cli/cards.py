"""A dataset's CARD as text: what it is, how to get it, what its folder looks like, what it was published with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affectdata.datasets.card import Card, Labelling, Option, ProtocolCard, Published

WIDTH = 79
_HANG = 14


def card_lines(card: Card) -> Iterator[str]:
    """The card, section by section; empty sections are left out."""
    yield f"{card.name}: {card.title}"
    yield from wrapped(card.about)
    for label, text in (
        ("tasks", ", ".join(card.tasks)),
        ("licence", card.licence),
        ("cite", card.citation),
        ("homepage", card.homepage),
        ("subjects", card.subject_key),
        ("groups", card.group_key),
    ):
        yield from wrapped(text, f"  {label + ':':10}")
    yield from _section("How to get it", card.access)
    yield from _section("What is looked for", card.looked_for)
    yield "Expected tree"
    # Never folded: a map or a path that is copied from here must be whole.
    yield from textwrap.indent(textwrap.dedent(card.tree).strip("\n"), " " * 4).splitlines()
    yield from _section("Label sources", (_labelling(x) for x in card.labellings))
    yield from _section("Protocols", (_protocol(x) for x in card.protocols))
    yield from _section("Published counts", (_published(x) for x in card.published))
    yield from _section("Unknown is written as", (f"{where}: {value}" for where, value in card.sentinels.items()))
    rejects = (f"{x.reason} (up to {x.share:.2%}): {x.why}" for x in card.expected_rejects)
    yield from _section("Expected rejects", rejects)
    yield from _section("Shares people or pictures with", card.overlaps)
    yield from _section("Options of affect ingest", (_option(x) for x in card.options))
    yield from _section("Not confirmed by anybody", card.unverified)


def _section(title: str, items: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    first = True
    for item in items:
        if first:
            yield title
            first = False
        yield from wrapped(item, "  - ")


def wrapped(text: str, head: str = "") -> Iterator[str]:
    """Lines of a text within the width; the later ones hang below the first, unless its head is long."""
    if text:
        hang = " " * (len(head) if len(head) <= _HANG else 4)
        # A path or an address stays whole, so that it can be copied.
        yield from textwrap.wrap(
            text, WIDTH, initial_indent=head, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
        )


def _labelling(labelling: Labelling) -> str:
    offered = "; ".join(f"{task} offers {', '.join(classes)}" for task, classes in labelling.offered.items())
    units = ", ".join(f"{task} per {unit}" for task, unit in labelling.unit.items())
    cut = f"an AU counts as present from intensity {labelling.au_cut:g}" if labelling.au_cut is not None else ""
    base = f"base of the landmarks: {labelling.landmark_base}" if labelling.landmark_base else ""
    parts = (f"{labelling.source}: {labelling.rule}", units, offered, cut, base)
    return ". ".join(part.rstrip(".") for part in parts if part)


def _protocol(protocol: ProtocolCard) -> str:
    apart = f"keeps {', '.join(protocol.keys)} apart" if protocol.keys else "keeps no people or sequences apart"
    also = f". Also scored: {', '.join(protocol.metrics)}" if protocol.metrics else ""
    return f"{protocol.name}: {apart}; truth: {', '.join(protocol.truth)}. {protocol.about}".rstrip(". ") + also


def _option(option: Option) -> str:
    choices = f" [{' | '.join(filter(None, option.choices))}]" if option.choices else ""
    default = f"; by default {option.default}" if option.default else ""
    return f"--{option.name}{choices}: {option.about}{default}"


def _published(published: Published) -> str:
    counts = ", ".join(f"{name or 'all'} {count:,}" for name, count in published.counts.items())
    what = published.source if published.column == "expression" else f"{published.source} {published.column}"
    of = f" of {'; '.join(published.variants)}" if published.variants else ""
    return f"{what}, {published.split or 'all splits'}{of}: {counts} [{published.sure}]"


def folded(columns: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    """A table whose cells are folded to the widths of their columns, so that no line is wider than a terminal."""
    for row in (columns, *rows):
        cells = [textwrap.wrap(text, width) or [""] for text, width in zip(row, widths, strict=True)]
        for line in range(max(map(len, cells))):
            parts = [c[line] if line < len(c) else "" for c in cells]
            yield "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
