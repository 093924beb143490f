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
    assert known.task in reader(dataset).CARD.tasks
