"""Distribution matching (methods.md 2.5 and 2.11.6-7): the worked numbers, and which readings collapse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affectdata.labels.relatedness import relatedness
from manifests.errors import RecipeError
from manifests.vocabulary import AU_SPACES, EXPRESSIONS, au_column
from trainer.losses.distribution_matching import (
    DistributionMatching,
    Gradient,
    MatchingOptions,
    distribution_matching,
    implied_aus,
)
from trainer.losses.emotion_prior import prior_of
from trainer.losses.masked import Labels
from trainer.networks.heads import au_head, expression_head, va_head

from .benches import bench, step

AUS, CLASSES = AU_SPACES["fbn17"], EXPRESSIONS[:7]
COLUMNS = [au_column(au) for au in AUS]
PRIOR = prior_of(relatedness("du2014"), CLASSES, COLUMNS)
AU14 = AUS.index(14)
P_E = dict(zip(CLASSES, (0.05, 0.10, 0.05, 0.40, 0.30, 0.05, 0.05), strict=True))
Q = {1: .75, 2: .70, 4: .45, 5: .70, 6: .15, 7: .05, 9: .05, 10: .10, 12: .10, 14: 0, 15: .05, 17: .15, 20: .30,
     23: .05, 24: .10, 25: .80, 26: .70}  # fmt: skip
P_AU = torch.tensor([[{1: 0.7, 2: 0.6, 5: 0.6, 25: 0.8, 26: 0.5}.get(au, 0.2) for au in AUS]])


def expression(probabilities: dict[str, float]) -> Tensor:
    return torch.tensor([[probabilities.get(name, 0.0) for name in CLASSES]])


def logits() -> tuple[Tensor, Tensor]:
    return expression(P_E).log(), torch.logit(P_AU)


def test_the_implied_aus_of_the_worked_example() -> None:
    q = implied_aus(expression(P_E), PRIOR)[0]
    assert dict(zip(AUS, q.tolist(), strict=True)) == pytest.approx(Q, abs=1e-6)


def test_pure_happiness_implies_its_own_aus_and_nothing_else() -> None:
    q = implied_aus(expression({"happiness": 1.0}), PRIOR)[0]
    assert {au for au, value in zip(AUS, q.tolist(), strict=True) if value == 1} == {6, 12, 25}
    assert q.sum() == 3
    # The paper's own example contradicts a division by the owners: that would give 1/2 for AU6 and 1/3 for AU25.
    halved = implied_aus(expression({"happiness": 1.0}), PRIOR, owner_mean=True)[0]
    assert halved[AUS.index(6)] == 0.5
    assert halved[AUS.index(25)].item() == pytest.approx(1 / 3)


@pytest.mark.parametrize(("gradient", "value"), [("target_p", 9.667305), ("joint", 1.012441), ("printed", 5.923721)])
def test_the_worked_values(gradient: str, value: float) -> None:
    assert distribution_matching(*logits(), PRIOR, gradient=gradient).item() == pytest.approx(value, abs=1e-4)


def test_au14_without_an_owner_would_be_the_largest_term() -> None:
    owned = PRIOR.clone()
    owned[0, AU14] = 1e-9  # counted, and still q = 0
    printed = distribution_matching(*logits(), owned, gradient="printed")
    assert printed.item() == pytest.approx(8.686823, abs=1e-4)


@pytest.mark.parametrize("gradient", Gradient)
def test_an_au_without_an_owner_gets_no_gradient(gradient: str) -> None:
    e, au = (one.requires_grad_() for one in logits())
    distribution_matching(e, au, PRIOR, gradient=gradient).backward()
    assert au.grad is None or au.grad[0, AU14] == 0


def test_the_numbers_of_one_au() -> None:
    p, q = 0.7, 0.4
    e, prior = torch.tensor([[q, 1 - q]]).log(), torch.tensor([[1.0], [0.0]])
    au = torch.logit(torch.tensor([[p]]))
    found = {g: distribution_matching(e, au, prior, gradient=g).item() for g in ("target_p", "joint", "printed")}
    assert found == pytest.approx({"target_p": 0.794651, "joint": 0.183787, "printed": 0.641404}, abs=1e-6)
    # dCE/dq = -1.25, seen through q = softmax(e)_0: dq/de_0 = q (1 - q).
    e = e.requires_grad_()
    distribution_matching(e, au, prior).backward()
    assert e.grad is not None
    assert e.grad[0, 0].item() == pytest.approx(-1.25 * q * (1 - q), abs=1e-6)


@pytest.mark.parametrize(
    ("gradient", "learns"),
    [("target_p", (True, False)), ("target_q", (False, True)), ("symmetric", (True, True)), ("joint", (True, True))],
)
def test_each_direction_teaches_the_head_that_it_says(gradient: str, learns: tuple[bool, bool]) -> None:
    heads = [one.requires_grad_() for one in logits()]
    distribution_matching(*heads, PRIOR, gradient=gradient).backward()
    assert tuple(head.grad is not None and bool((head.grad != 0).any()) for head in heads) == learns


def collapse(loss: str) -> tuple[float, float]:
    """Mean p over owned AUs and p(neutral) after 50 steps of SGD from logits 0."""
    e, au = torch.zeros(1, len(CLASSES), requires_grad=True), torch.zeros(1, len(AUS), requires_grad=True)
    optimiser = torch.optim.SGD([e, au], lr=1.0)
    owned = (PRIOR > 0).any(0)
    for _ in range(50):
        optimiser.zero_grad()
        if loss == "full, no detach":
            p, q = torch.sigmoid(au), implied_aus(functional.softmax(e, 1), PRIOR).clamp(1e-6, 1 - 1e-6)
            value = functional.binary_cross_entropy(q, p, reduction="none")[:, owned].sum()
        else:
            value = distribution_matching(e, au, PRIOR, gradient=loss)
        value.backward()
        optimiser.step()
    return torch.sigmoid(au)[:, owned].mean().item(), functional.softmax(e, 1)[0, 0].item()


def test_the_printed_loss_and_the_undetached_one_collapse_and_ours_does_not() -> None:
    assert collapse("printed")[0] == pytest.approx(0.038, abs=0.002)
    aus, neutral = collapse("full, no detach")
    assert aus == pytest.approx(0.010, abs=0.002)
    assert neutral == pytest.approx(0.962, abs=0.005)
    assert collapse("target_p")[0] == 0.5


def test_rows_without_any_label_are_matched_too() -> None:
    e, au = (one.repeat(3, 1) for one in logits())
    e[1], au[1] = 0.0, 0.0
    alone = [distribution_matching(e[i : i + 1], au[i : i + 1], PRIOR).item() for i in range(3)]
    assert distribution_matching(e, au, PRIOR).item() == pytest.approx(sum(alone) / 3, rel=1e-6)


def test_the_order_of_rows_changes_no_loss() -> None:
    draw = torch.Generator().manual_seed(0)
    e, au = torch.randn(9, 7, generator=draw), torch.randn(9, 17, generator=draw)
    order = torch.randperm(9, generator=draw)
    before, after = (distribution_matching(a, b, PRIOR) for a, b in ((e, au), (e[order], au[order])))
    torch.testing.assert_close(before, after, rtol=1e-6, atol=0)


def test_unlisted_aus_can_be_left_out() -> None:
    happy = torch.tensor([[0.0, 5.0, 0, 0, 0, 0, 0]], requires_grad=True)
    au = torch.zeros(1, 17, requires_grad=True)
    distribution_matching(happy, au, PRIOR, gradient="target_q", mask_unlisted=True).backward()
    assert au.grad is not None
    assert {a for a, g in zip(AUS, au.grad[0].tolist(), strict=True) if g != 0} == {6, 12, 25}


def test_a_floor_bounds_the_price_of_an_au_that_the_table_does_not_expect() -> None:
    e, au = torch.tensor([[0.0, 50.0, 0, 0, 0, 0, 0]]), torch.full((1, 17), 5.0)
    free, bounded = (distribution_matching(e, au, PRIOR, floor=floor).item() for floor in (0.0, 0.1))
    assert bounded < 0.25 * free
    assert distribution_matching(e, au, PRIOR, mean_over_aus=True).item() == pytest.approx(free / 16, rel=1e-6)


@pytest.mark.parametrize(("table", "lonely"), [("du2014", {14}), ("affwild2", {14, 20, 23, 24})])
def test_aus_without_an_owner_are_those_that_the_paper_leaves_out(table: str, lonely: set[int]) -> None:
    prior = prior_of(relatedness(table), CLASSES, COLUMNS, weighted=True)
    assert {au for au, owned in zip(AUS, (prior > 0).any(0).tolist(), strict=True) if not owned} == lonely
    assert (prior[0] == 0).all(), "neutral has no row"


def test_the_coupling_uses_every_row_and_no_label() -> None:
    coupling = DistributionMatching(bench(expression_head("expr7"), au_head("fbn17")), MatchingOptions())
    e, au = (one.repeat(3, 1) for one in logits())
    nothing = torch.zeros(3, 17, dtype=torch.bool)
    labels = {
        "expression": Labels(torch.full((3,), -1), nothing[:, 0]),
        "au": Labels(torch.full((3, 17), torch.nan), nothing),
    }
    term = coupling(step({"expression": e, "au": au}, labels))
    assert term.loss.item() == pytest.approx(9.667305, abs=1e-4)
    assert term.count == 3
    assert not coupling.trains, "matching alone trains no task"


def test_the_coupling_refuses_a_recipe_without_aus() -> None:
    with pytest.raises(RecipeError, match="add au under tasks"):
        DistributionMatching(bench(expression_head("expr7"), va_head()), MatchingOptions())
