"""A dataset's CARD as text: what it is, how to get it, what its folder looks like, what it was published with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affectdata.datasets.card import Card, Labelling, Published

WIDTH = 96


def card_lines(card: Card) -> Iterator[str]:
    """The card, section by section; empty sections are left out."""
    yield f"{card.name}: {card.title}"
    yield from _wrapped(card.about)
    for label, text in (
        ("tasks", ", ".join(card.tasks)),
        ("licence", card.licence),
        ("cite", card.citation),
        ("homepage", card.homepage),
        ("subjects", card.subject_key),
        ("groups", card.group_key),
    ):
        yield from _wrapped(text, f"  {label + ':':10}")
    yield from _section("How to get it", card.access)
    yield from _section("What is looked for", card.looked_for)
    yield "Expected tree"
    yield from (f"    {line}" for line in textwrap.dedent(card.tree).strip("\n").splitlines())
    yield from _section("Label sources", (_labelling(x) for x in card.labellings))
    yield from _section("Protocols", (f"{p.name}: truth {', '.join(p.truth)}. {p.about}" for p in card.protocols))
    yield from _section("Published counts", (_published(x) for x in card.published))
    yield from _section("Unknown is written as", (f"{where}: {value}" for where, value in card.sentinels.items()))
    rejects = (f"{x.reason} (up to {x.share:.2%}): {x.why}" for x in card.expected_rejects)
    yield from _section("Expected rejects", rejects)
    yield from _section("Shares people or pictures with", card.overlaps)
    options = (f"--{x.name}: {x.about}" + (f" [{' | '.join(x.choices)}]" if x.choices else "") for x in card.options)
    yield from _section("Options of affect ingest", options)
    yield from _section("Not confirmed by anybody", card.unverified)


def _section(title: str, items: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    first = True
    for item in items:
        if first:
            yield title
            first = False
        yield from _wrapped(item, "  - ")


def _wrapped(text: str, head: str = "") -> Iterator[str]:
    if text:
        yield from textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))


def _labelling(labelling: Labelling) -> str:
    offered = "; ".join(f"{task} offers {', '.join(classes)}" for task, classes in labelling.offered.items())
    return ". ".join(part.rstrip(".") for part in (f"{labelling.source}: {labelling.rule}", offered) if part)


def _published(published: Published) -> str:
    counts = ", ".join(f"{name or 'all'} {count:,}" for name, count in published.counts.items())
    return f"{published.source} {published.split or 'all splits'}: {counts} [{published.sure}]"
