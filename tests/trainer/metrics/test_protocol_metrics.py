"""What a dataset's protocols ask to be scored exists."""

from __future__ import annotations

import re

import pytest

from affectdata.datasets import reader, registry
from manifests.vocabulary import AU_SPACES, EXPRESSION_SPACES
from trainer.metrics.registry import metric

ASKED = dict.fromkeys(
    (dataset, name)
    for dataset in registry()
    for protocol in reader(dataset).CARD.protocols
    for name in protocol.metrics
    if name != "abaw_mtl"
)


@pytest.mark.parametrize(("dataset", "name"), ASKED)
def test_every_metric_of_a_protocol_is_known_and_so_is_what_it_runs_over(dataset: str, name: str) -> None:
    stem, _, over = name.partition("[")
    known = metric(stem)
    spaces = AU_SPACES if known.task == "au" else EXPRESSION_SPACES
    assert not over or re.fullmatch(r"(.+)\]", over)[1] in spaces  # type: ignore[index]  # None fails
    # C-EXPR-DB, of abaw_ce, has no reader: whoever has its labels scores them by the same protocol.
    assert known.task in reader(dataset).CARD.tasks or (dataset, name) == ("affwild2", "abaw_ce")


def test_the_development_set_of_fera_2015_is_scored_over_its_eleven_aus() -> None:
    """Page bp4d.md: the twelve of the literature without 24."""
    (asked,) = (protocol.metrics for protocol in reader("bp4d").CARD.protocols if protocol.name == "fera2015")
    assert asked == ("au_f1[fera2015_11]",)
    assert AU_SPACES["fera2015_11"] == tuple(au for au in AU_SPACES["bp4d12"] if au != 24)
