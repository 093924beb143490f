"""A run's score on a role that has chosen nothing, against truth that people gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from manifests.errors import ProtocolError, RunError, UnknownNameError
from manifests.lake import Lake
from manifests.protocols import KEYS, leaks, truth_sources
from manifests.storage import storage_errors
from trainer.asked import check_asked
from trainer.augment import normalised, with_channels
from trainer.data import Samples, open_stores, scored_samples, used_layers
from trainer.failures import looking_failures
from trainer.figures import draw_confusion
from trainer.fine_tuning import STARTED
from trainer.fit import SCORE_BATCH, Machine
from trainer.loader import ScoreLoader
from trainer.metrics.uncertainty import RESAMPLES
from trainer.network import network_for
from trainer.predictions import Predictions, to_table
from trainer.recipe import Recipe
from trainer.reporting import Asked, asked_metrics, dataset_scores, videos_of
from trainer.run import SCORES, WEIGHTS, Run, write_text
from trainer.scores import WITHOUT_RELATED, DatasetScores, Scores
from trainer.scoring import score
from trainer.settings import DatasetChoice
from trainer.splits import SCORED, Mask, Part, identity_of, roles_of
from trainer.transductive import Taught, seen_by_teachers
from trainer.zero_shot import ZeroShot


def evaluate(
    run: Run,
    lake: Lake,
    *,
    protocol: str | None = None,
    fold: int | None = None,
    role: str | None = None,
    datasets: Sequence[str] | None = None,
    device: str = "auto",
    by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    resamples: int = RESAMPLES,
    compound: str = "",
    allow_changed: bool = False,
    allow_seen: bool = False,
) -> Scores:
    """Score a run once; writes predictions, `scores.json` and `confusion.png`, and logs that the role was opened.

    Args:
        run: A finished run.
        lake: The lake it was trained on.
        protocol: Protocol to score under; the run's own by default.
        fold: Fold of a folded protocol; the run's own by default where the protocol is the run's too.
        role: val or test; the role that the run's recipe reports by default.
        datasets: Which datasets; the recipe's by default, as far as they have samples with that role. `NAME:PROTOCOL`
            scores one by a protocol of its own.
        device: auto, cpu or cuda.
        by: Attributes (`trainer.subgroups.ATTRIBUTES`) whose subgroups are scored one by one too.
        metrics: Metrics beside the usual ones and those of the protocol, by name.
        resamples: Draws of people, videos or duplicate groups for the intervals; 0: no intervals.
        compound: Also score compound expressions that the run was never trained on, see
            `trainer.zero_shot.ZeroShot.parsed`; "": none.
        allow_changed: Score although samples, crops or truth have changed since training.
        allow_seen: Score although this run trained on, or chose its epoch by, some of the samples; the scores say so.

    Raises:
        ProtocolError: A sample to score has trained this run or chosen its epoch; the protocol accepts truth that a
            rule or a network made (`co-*`, `teacher-*`, `landmarks-*`); or nothing has that role.
        RunError: The lake has changed since the run was trained.
        UnknownNameError, MetricInputError: A metric that the run's tasks do not give.
        UnknownNameError, StaleLayerError: As for training.
    """
    names, recipe = _named(datasets, _asked(run, protocol, fold))
    zero_shot = ZeroShot.parsed(compound) if compound else None
    if zero_shot:
        recipe = recipe.model_copy(update={"tasks": zero_shot.tasks(recipe.tasks)})
    check_asked(recipe.tasks, metrics)
    role = role or recipe.protocol.report
    if role not in SCORED:
        raise UnknownNameError("role to score", role, SCORED)
    parts = {name: _part(recipe, lake, name, role) for name in names}
    if not allow_seen:
        _check_unseen(run, role, parts)
    accelerator = Machine(device=device).accelerator
    with looking_failures(run.name, SCORE_BATCH, accelerator):
        network = load_network(run).to(accelerator)
    scores, tables = [], {}
    for name in names:
        truth = truth_sources(lake, name, recipe.protocol_of(name))
        if not allow_changed:
            _check_unchanged(run, recipe, lake, name, truth)
        part = parts[name]
        who = name, recipe.protocol_of(name), recipe.fold_of(name), role
        asked = Asked(*who, tuple(truth), tuple(by), tuple(metrics), resamples)
        if not len(part) and datasets is None and len(names) > 1:
            continue  # of several datasets that trained together, those without this role are not scored
        samples, lost = scored_samples(
            recipe, lake, name, part, truth, (0, open_stores(lake, {name: recipe.alignment_of(name)}))
        )
        _check_some(recipe, name, role, samples)
        run.log_opening(dataset=name, protocol=asked.protocol, fold=asked.fold, role=role, samples=len(samples))
        with looking_failures(run.name, SCORE_BATCH, accelerator):
            predictions = predict(network, recipe, samples, accelerator)
        if zero_shot:
            predictions = zero_shot.applied(recipe.tasks, predictions)
        found = _scores(run, recipe, lake, asked, (samples, predictions, lost))
        scores.append(zero_shot.told(found, recipe.tasks, predictions, samples.targets) if zero_shot else found)
        table = to_table(samples.ids, recipe.tasks, predictions, samples.targets)
        tables[name] = zero_shot.named(table) if zero_shot else table
    if not scores:
        raise ProtocolError(f"no dataset of run {run.name} has samples with role {role}", then="--role val or test")
    result = Scores(run.name, run.facts.best_epoch, tuple(scores), _transductive(run, recipe, lake, role, list(tables)))
    _write(run, result, tables)
    return result


def load_network(run: Run) -> nn.Module:
    """The network of a run with its best weights, in evaluation mode.

    Raises:
        RunError: The weights are missing or of another network.
    """
    recipe = run.recipe.replace({"backbone.pretrained": False})
    network = network_for(recipe, (run.facts.crop[0], run.facts.crop[1]))
    try:
        network.load_state_dict(load_file(run.path / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise RunError(
            f"weights of run {run.path} do not load", found=str(error)[:200], expected=f"{WEIGHTS} as training wrote it"
        ) from None
    return network.eval()


@torch.inference_mode()
def predict(network: nn.Module, recipe: Recipe, samples: Samples, device: str = "cpu") -> Predictions:
    """Predictions of a network, without augmentation, in the order of `samples`."""
    parts = []
    for batch in ScoreLoader(samples, SCORE_BATCH, pin=device == "cuda"):
        pixels = batch.pixels.to(device, non_blocking=True)
        images = normalised(with_channels(pixels, recipe.backbone.in_chans), recipe.input)
        parts.append(Predictions.of(network(images)))
    return Predictions.joined(parts, np.arange(len(samples), dtype=np.int64))


def _asked(run: Run, protocol: str | None, fold: int | None) -> Recipe:
    """The run's recipe under the protocol and fold that were asked for."""
    recipe = run.recipe
    if protocol is None or protocol == recipe.protocol.name:
        changes = {} if fold is None else {"fold": fold}
        return recipe.model_copy(update={"protocol": recipe.protocol.model_copy(update=changes)})
    datasets = tuple(d.model_copy(update={"protocol": None}) for d in recipe.datasets)
    asked = recipe.protocol.model_copy(update={"name": protocol, "fold": fold})
    return recipe.model_copy(update={"protocol": asked, "datasets": datasets})


def _named(datasets: Sequence[str] | None, recipe: Recipe) -> tuple[list[str], Recipe]:
    """Datasets to score, and the recipe with the protocols that were named with them."""
    if not datasets:
        return [d.name for d in recipe.datasets], recipe
    choices = {d.name: d for d in recipe.datasets}
    names = []
    for text in datasets:
        name, colon, protocol = text.partition(":")
        if name in names or (colon and not protocol):
            found = "a second time" if name in names else "no protocol behind the colon"
            then = f"affect layers --dataset {name} names its protocols"
            expected = "every dataset once, as NAME or NAME:PROTOCOL"
            raise ProtocolError(f"dataset {text!r} to score", found=found, expected=expected, then=then)
        names.append(name)
        if colon:
            choices[name] = choices.get(name, DatasetChoice(name=name)).model_copy(update={"protocol": protocol})
    return names, recipe.model_copy(update={"datasets": tuple(choices.values())})


def _check_unseen(run: Run, role: str, parts: Mapping[str, Part]) -> None:
    """Refuse samples that the run itself has seen, whatever protocol and role they are asked for by."""
    seen = run.samples
    for dataset, part in parts.items():
        mine = seen.filter(pc.is_in(seen["sample_id"], value_set=part.ids))
        if not len(mine):
            continue
        did = Counter(mine["role"].to_pylist())
        found = f"of {len(part):,} samples, {did['train']:,} trained it and {did['selection']:,} chose its epoch"
        found += f", and {did[STARTED]:,} were seen by a run that it began from" if did[STARTED] else ""
        raise ProtocolError(
            f"role {role} of {dataset} cannot be reported for run {run.name}, which has seen its samples",
            found=found,
            expected=f"samples that the run has never seen, such as role {run.recipe.protocol.report} of its protocol",
            then="metrics.csv of the run holds what chose the epoch; --allow-seen scores all the same, and says so",
        )


def _transductive(run: Run, recipe: Recipe, lake: Lake, role: str, scored: Sequence[str]) -> tuple[str, ...]:
    """Why its scores are not those of unseen samples, here as under its own protocol: its teachers count as itself."""
    asked = recipe.model_copy(update={"protocol": recipe.protocol.model_copy(update={"report": role})})
    teachers = [Taught(**one) for one in run.facts.taught]
    return tuple(dict.fromkeys([*run.facts.transductive, *seen_by_teachers(teachers, asked, lake, scored)]))


def _check_unchanged(run: Run, recipe: Recipe, lake: Lake, dataset: str, truth: Sequence[str]) -> None:
    trained = run.facts.fingerprints.get(dataset)
    if trained is None:
        return  # another dataset than the run was trained on
    now = {layer.key: layer.facts.fingerprint for layer in used_layers(lake, dataset, recipe, truth)}
    watched = ["samples", f"crops/{recipe.alignment_of(dataset)}", f"protocols/{recipe.protocol_of(dataset)}"]
    watched += [key for key in now if key.startswith("labels/")]
    changed = [key for key in watched if key in trained and key in now and trained[key] != now[key]]
    if changed:
        raise RunError(
            f"{dataset} has changed since run {run.name} was trained",
            found=", ".join(changed),
            expected="the layers that the run's facts.json names",
            then="train again, or --allow-changed to score all the same",
        )


def _part(recipe: Recipe, lake: Lake, dataset: str, role: str) -> Part:
    found = roles_of(recipe, lake, dataset)
    return found.part(found.has(role), role)


def _check_some(recipe: Recipe, dataset: str, role: str, samples: Samples) -> None:
    if not len(samples):
        raise ProtocolError(
            f"protocol {recipe.protocol_of(dataset)} of {dataset} has no sample with role {role} and a crop",
            then=f"affect sql \"select role, count(*) from protocols where dataset = '{dataset}' group by all\"",
        )


def _scores(
    run: Run, recipe: Recipe, lake: Lake, asked: Asked, found: tuple[Samples, Predictions, int]
) -> DatasetScores:
    """The scores of a dataset, and those without what is related to what the run has seen."""
    samples, predictions, lost = found
    copies, seen = _related(run, recipe, lake, asked.dataset, samples.ids)
    itself = np.isin(samples.ids.astype(str), np.asarray(run.samples["sample_id"].to_pylist(), str))
    kept = ~(copies | seen)
    unrelated = predictions.at(kept), samples.targets.at(torch.from_numpy(kept))
    videos = videos_of(lake, asked.dataset, samples.ids[kept])
    clean = score(recipe.tasks, *unrelated, asked_metrics(lake, asked), videos=videos)
    detector = samples.stores[0].layer.facts.extra.get("detector", "")
    everything = samples.ids, predictions, samples.targets
    return replace(
        dataset_scores(lake, asked, recipe.tasks, everything, (lost, "crop"), detector),
        copies=int(copies.sum()),
        seen=int(seen.sum()),
        trained=int(itself.sum()),
        clean=tuple(replace(r, variant=f"{r.variant} {WITHOUT_RELATED}".strip()) for r in clean),
    )


def _related(run: Run, recipe: Recipe, lake: Lake, dataset: str, ids: npt.NDArray[np.object_]) -> tuple[Mask, Mask]:
    """Which scored samples have a copy in the protocol's training part, and which share a key with what the run saw."""
    found = roles_of(recipe, lake, dataset)
    at = pc.index_in(pa.array(ids.tolist(), pa.string()), value_set=found.identity["sample_id"].combine_chunks())
    scored = found.identity.take(at)
    copies = leaks(scored, found.at(found.has("train", "ignore") & ~found.has(*SCORED)), ("pixels",))["pixels"]
    known = identity_of(lake, run.samples)
    if known is None:
        return copies, np.zeros_like(copies)
    same = np.asarray(pc.is_in(scored["sample_id"], value_set=known["sample_id"].combine_chunks()).combine_chunks())
    return copies, np.logical_or.reduce([same, *leaks(scored, known, KEYS).values()])


def _write(run: Run, scores: Scores, tables: dict[str, pa.Table]) -> None:
    folder = run.path / "predictions"
    with storage_errors(run.path):
        folder.mkdir(exist_ok=True)
        for d in scores.datasets:
            pq.write_table(tables[d.dataset], folder / f"{d.dataset}-{d.role}.parquet")
    write_text(run.path / SCORES, scores.to_json())
    matrices = {
        f"{d.dataset} {d.role}: top1 {d.value('top1'):.3f}, uar {d.value('uar'):.3f}": d.confusion
        for d in scores.datasets
        if d.confusion is not None
    }
    if matrices:
        draw_confusion(run.path / "confusion.png", matrices)
