"""The trace norm and adversarial domain alignment as couplings of real networks (methods.md 3.7)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from manifests.errors import RecipeError
from trainer.losses.coupling import Bench, Step
from trainer.losses.domain_alignment import DomainAlignment, DomainAlignmentOptions
from trainer.losses.masked import Labels
from trainer.losses.registry import build_loss
from trainer.losses.trace_norm import STRENGTH, TraceNorm, TraceNormOptions, shareable
from trainer.networks.backbone import BackboneSpec
from trainer.networks.gradient_reversal import reversal_ramp, reversed_gradient
from trainer.networks.hard_sharing import HardSharing
from trainer.networks.heads import HeadSpec, expression_head, landmark_head
from trainer.networks.separate import Separate
from trainer.networks.sharing import Parts, TaskNetwork, features_of

HEADS = (expression_head("expr7"), landmark_head())
NET = BackboneSpec("test_resnet", in_chans=1, stem="half")
LOSSES = {"expression": build_loss("ce"), "landmarks": build_loss("l1")}
EACH = 6
"""Rows of each task in a batch: the first are of the expressions, the others of the landmarks."""


def separate(*heads: HeadSpec) -> Separate:
    torch.manual_seed(0)
    return Separate(Parts(NET, heads or HEADS, (1, 16, 16)))


def labels(step: int = 0) -> dict[str, Labels]:
    draw = torch.Generator().manual_seed(step)
    first = torch.arange(2 * EACH) < EACH
    points = 16 * torch.rand(2 * EACH, 136, generator=draw)
    return {
        "expression": Labels(torch.randint(0, 7, (2 * EACH,), generator=draw), first),
        "landmarks": Labels(points, ~first[:, None].expand(-1, 136)),
    }


def pictures(step: int = 0) -> Tensor:
    return torch.randn(2 * EACH, 1, 16, 16, generator=torch.Generator().manual_seed(100 + step))


def step_of(network: TaskNetwork, done: float = 1.0) -> Step:
    known = labels()
    rows = {task: one.mask.reshape(2 * EACH, -1).any(1) for task, one in known.items()}
    return Step(network(pictures(), rows), known, rows, torch.zeros(2 * EACH, dtype=torch.int64), network, done)


def bench(network: TaskNetwork) -> Bench:
    return Bench(network, ("faces", "points"))


@pytest.mark.parametrize("norm", STRENGTH)
def test_only_the_convolutions_of_the_main_path_get_a_trace_norm_gradient(norm: str) -> None:
    network = separate()
    coupling = TraceNorm(bench(network), TraceNormOptions(norm=norm))  # type: ignore[arg-type]  # any name
    coupling(step_of(network)).loss.backward()
    grown = {name for name, p in network.named_parameters() if p.grad is not None and bool(p.grad.any())}
    convolutions = {
        f"backbones.{task}.{name}.weight"
        for task, trunk in network.backbones.items()
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Conv2d) and "downsample" not in name
    }
    assert grown == convolutions
    assert not list(coupling.parameters())


def test_resnet34_has_33_shareable_layers_and_3_projections() -> None:
    network = Separate(Parts(BackboneSpec("resnet34"), HEADS, (3, 96, 96)))
    assert sum(p.numel() for p in network.backbones["expression"].parameters()) == 21_284_672
    assert len(shareable(network)) == 33
    assert len(shareable(network, include_projections=True)) == 36
    assert shareable(network)[0] == "network.conv1.weight"


def test_sharing_is_reported_per_layer_and_starts_at_one() -> None:
    network = separate()
    coupling = TraceNorm(bench(network), TraceNormOptions())
    notes = coupling(step_of(network)).notes
    count = len(coupling.layers)
    assert [float(notes[f"tndr_{n:02}"]) for n in range(1, count + 1)] == pytest.approx([1.0] * count)
    assert all(
        0.9 < float(notes[f"share_{n:02}"]) <= 1.00001 for n in range(1, count + 1)
    )  # independent first weights (T5)
    twin = network.backbones["landmarks"]
    twin.load_state_dict(network.backbones["expression"].state_dict())
    after = coupling(step_of(network)).notes
    assert all(float(after[f"share_{n:02}"]) == pytest.approx(0, abs=1e-4) for n in range(1, count + 1))
    assert all(float(after[f"tndr_{n:02}"]) < 0.9 for n in range(1, count + 1))  # sqrt(2) w instead of about 2 w


def test_the_norm_at_the_start_is_in_the_resume_state() -> None:
    coupling = TraceNorm(bench(separate()), TraceNormOptions())
    assert "start" in coupling.state_dict()


def test_descending_on_the_norm_makes_networks_share() -> None:
    network = separate()
    coupling = TraceNorm(bench(network), TraceNormOptions(gamma=1.0))
    step = step_of(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.02)
    before = coupling(step).notes["share_02"]
    for _ in range(20):
        optimiser.zero_grad()
        coupling(replace(step, network=network)).loss.backward()
        optimiser.step()
    assert coupling(step).notes["share_02"] < before


def test_the_trace_norm_refuses_a_shared_network_and_a_single_task() -> None:
    hard = HardSharing(Parts(NET, HEADS, (1, 16, 16)))
    for network in (hard, separate(HEADS[0])):
        with pytest.raises(RecipeError, match="one network per task"):
            TraceNorm(bench(network), TraceNormOptions())


def train(network: Separate, tasks: tuple[str, ...], extra: TraceNorm | None = None) -> dict[str, Tensor]:
    """Three steps of SGD with momentum; a single task gets its own rows alone, as its own run would."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for number in range(3):
        known, images = labels(number), pictures(number)
        rows = {task: one.mask.reshape(len(images), -1).any(1) for task, one in known.items()}
        if len(tasks) == 1:
            mine = rows[tasks[0]]
            known = {tasks[0]: Labels(known[tasks[0]].target[mine], known[tasks[0]].mask[mine])}
            images, rows = images[mine], {tasks[0]: torch.ones(int(mine.sum()), dtype=torch.bool)}
        outputs = network(images, rows)
        losses = [LOSSES[task](outputs[task], known[task]) for task in tasks]
        if extra is not None:
            losses.append(extra(Step(outputs, known, rows, torch.zeros(len(images)), network, 0.5)).loss)
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def test_without_strength_two_networks_train_as_two_single_runs_bit_for_bit() -> None:
    network = separate()
    together = train(network, ("expression", "landmarks"), TraceNorm(bench(network), TraceNormOptions(gamma=0)))
    for head in HEADS:
        alone = train(separate(head), (head.task,))
        assert all(torch.equal(value, together[name]) for name, value in alone.items())


@pytest.mark.parametrize(("done", "factor"), [(0, 0), (0.1, 0.4621), (0.25, 0.8483), (0.5, 0.9866), (1, 0.9999)])
def test_the_reversal_grows_from_nothing(done: float, factor: float) -> None:
    assert reversal_ramp(done) == pytest.approx(factor, abs=5e-5)


def test_reversed_features_get_minus_lambda_times_the_plain_gradient_and_the_classifier_its_own() -> None:
    torch.manual_seed(0)
    classifier = nn.Linear(5, 2)
    truth = torch.tensor([0, 1, 1])

    def grown(factor: float | None) -> tuple[Tensor, Tensor]:
        features = torch.arange(15.0).reshape(3, 5).div(10).requires_grad_()
        classifier.zero_grad()
        seen = features if factor is None else reversed_gradient(features, factor)
        functional.cross_entropy(classifier(seen), truth).backward()
        assert features.grad is not None
        assert classifier.weight.grad is not None
        return features.grad, classifier.weight.grad.clone()

    plain, turned = grown(None), grown(0.3)
    torch.testing.assert_close(turned[0], -0.3 * plain[0])
    torch.testing.assert_close(turned[1], plain[1])


def test_the_classifier_is_512_128_64_domains() -> None:
    coupling = DomainAlignment(
        bench(Separate(Parts(BackboneSpec("resnet34"), HEADS, (3, 96, 96)))), DomainAlignmentOptions()
    )
    shapes = [tuple(module.weight.shape) for module in coupling.classifier if isinstance(module, nn.Linear)]
    assert shapes == [(128, 512), (64, 128), (2, 64)]


@pytest.mark.parametrize("done", [0.0, 0.5])
def test_each_domain_is_the_rows_of_a_task_as_its_own_network_sees_them(done: float) -> None:
    network = separate()
    coupling = DomainAlignment(bench(network), DomainAlignmentOptions())
    step = step_of(network, done)
    term = coupling(step)
    features = torch.cat([features_of(step.outputs, task)[step.rows[task]] for task in ("expression", "landmarks")])
    truth = torch.arange(2).repeat_interleave(EACH)
    torch.testing.assert_close(term.loss, functional.cross_entropy(coupling.classifier(features), truth))
    assert int(term.count) == 2 * EACH  # type: ignore[arg-type]  # has a count
    term.loss.backward()
    reached = [p.grad.abs().sum() for p in network.backbones.parameters() if p.grad is not None]
    assert (torch.stack(reached).sum() > 0) == (done > 0)


def test_alternating_trains_the_classifier_and_the_features_in_turn() -> None:
    network = separate()
    coupling = DomainAlignment(bench(network), DomainAlignmentOptions(method="alternating"))
    signs = []
    for _ in range(2):
        network.zero_grad()
        coupling.zero_grad()
        term = coupling(step_of(network))
        term.loss.backward()
        fed = any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
        taught = any(p.grad is not None and bool(p.grad.any()) for p in coupling.parameters())
        signs.append((fed, taught, float(term.loss.detach()) > 0))
    assert signs == [(False, True, True), (True, False, False)]


def test_alignment_refuses_a_single_task_and_a_network_without_features_per_task() -> None:
    for network in (HardSharing(Parts(NET, HEADS, (1, 16, 16))), separate(HEADS[0])):
        with pytest.raises(RecipeError, match="two tasks or more"):
            DomainAlignment(bench(network), DomainAlignmentOptions())


def test_a_batch_without_labels_gives_a_loss_of_zero_that_can_be_differentiated() -> None:
    network = separate()
    coupling = DomainAlignment(bench(network), DomainAlignmentOptions())
    step = step_of(network)
    none = {task: torch.zeros(2 * EACH, dtype=torch.bool) for task in step.rows}
    term = coupling(replace(step, rows=none))
    term.loss.backward()
    assert float(term.loss.detach()) == 0
