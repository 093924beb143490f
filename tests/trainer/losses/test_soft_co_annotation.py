"""Soft co-annotation (methods.md 2.4 and 2.11.5): the worked targets, which rows get one, and what moves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from manifests.errors import RecipeError
from manifests.vocabulary import AU_SPACES, EXPRESSIONS
from trainer.losses.masked import Labels
from trainer.losses.soft_co_annotation import SoftCoAnnotation, SoftOptions
from trainer.networks.heads import au_head, expression_head

from .benches import bench, step

AUS, CLASSES = AU_SPACES["fbn17"], EXPRESSIONS[:7]
PRINTED = ("happiness", "sadness", "fear", "anger", "surprise", "disgust", "neutral")
TABLE = {
    (12, 25): (0.2563, 0.1155, 0.1384, 0.1155, 0.1432, 0.1155, 0.1155),
    (6, 12, 25): (0.2906, 0.1281, 0.1281, 0.1069, 0.1325, 0.1069, 0.1069),
    (): (0.1147,) * 6 + (0.3118,),
}


def coupling(**options: object) -> SoftCoAnnotation:
    heads = (expression_head("expr7"), au_head("fbn17"))
    return SoftCoAnnotation(bench(*heads), SoftOptions.model_validate(options))


def aus(rows: Sequence[Sequence[int]], known: str = "emotionet11") -> Labels:
    """One row per list of active AUs; the AUs of the set are known, the others are not."""
    mask = torch.tensor([[au in AU_SPACES[known] for au in AUS]] * len(rows))
    present = torch.tensor([[float(au in active) for au in AUS] for active in rows])
    return Labels(torch.where(mask, present, torch.nan), mask)


def nobody(count: int) -> Labels:
    return Labels(torch.full((count,), -1), torch.zeros(count, dtype=torch.bool))


@pytest.mark.parametrize("active", TABLE)
def test_the_worked_targets(active: tuple[int, ...]) -> None:
    target = coupling().targets(aus([active]))[0]
    found = [target[CLASSES.index(name)].item() for name in PRINTED]
    assert found == pytest.approx(TABLE[active], abs=1e-4)


def test_a_row_with_an_expression_or_without_aus_gets_no_target() -> None:
    given = aus([(12, 25), (12, 25), ()])
    labels = Labels(given.target, given.mask & torch.tensor([[True], [True], [False]]))
    named = Labels(torch.tensor([3, -1, -1]), torch.tensor([True, False, False]))
    logits = torch.zeros(3, 7, requires_grad=True)
    term = coupling()(step({"expression": logits, "au": torch.zeros(3, 17)}, {"expression": named, "au": labels}))
    term.loss.backward()
    assert term.count == 1
    assert logits.grad is not None
    assert (logits.grad[0] == 0).all()
    assert (logits.grad[1] != 0).any()
    assert (logits.grad[2] == 0).all()
    assert term.loss.item() == pytest.approx(torch.log(torch.tensor(7.0)).item(), rel=1e-6)


def test_a_batch_without_targets_gives_an_exact_attached_zero() -> None:
    logits = torch.zeros(2, 7, requires_grad=True)
    nothing = Labels(torch.full((2, 17), torch.nan), torch.zeros(2, 17, dtype=torch.bool))
    term = coupling()(step({"expression": logits, "au": torch.zeros(2, 17)}, {"expression": nobody(2), "au": nothing}))
    term.loss.backward()
    assert term.loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_no_gradient_reaches_the_aus() -> None:
    au = torch.zeros(1, 17, requires_grad=True)
    expression = torch.zeros(1, 7, requires_grad=True)
    coupling()(
        step({"expression": expression, "au": au}, {"expression": nobody(1), "au": aus([(12,)])})
    ).loss.backward()
    assert au.grad is None


def test_the_paper_s_temperature_is_nearly_flat_and_a_lower_one_is_not() -> None:
    def entropy(temperature: float) -> float:
        outputs: dict[str, Tensor] = {"expression": torch.zeros(1, 7), "au": torch.zeros(1, 17)}
        return (
            coupling(temperature=temperature)(step(outputs, {"expression": nobody(1), "au": aus([(6, 12, 25)])}))
            .notes["entropy"]
            .item()
        )

    assert 1.85 < entropy(1.0) < 1.9459
    assert entropy(0.1) < 0.2
    assert coupling(neutral="none").targets(aus([()]))[0, 0] == 0


def test_what_an_unknown_au_holds_changes_nothing() -> None:
    given = aus([(12, 25)])
    flipped = Labels(torch.where(given.mask, given.target, 1.0), given.mask)
    assert torch.equal(coupling().targets(given), coupling().targets(flipped))


def test_independent_expressions_are_refused() -> None:
    from dataclasses import replace

    heads = (replace(expression_head("expr7"), kind="binary"), au_head("fbn17"))
    with pytest.raises(RecipeError, match="outputs: exclusive"):
        SoftCoAnnotation(bench(*heads), SoftOptions())
