"""`affect co-annotate`: rule-derived labels of one dataset, as the layer `co-<table>` or `co-<table>-soft`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.labels.coannotation import (
    BASIC,
    SOFT_CLASSES,
    Cells,
    Floats,
    Rule,
    as_expression_probs,
    entropy,
    implied_emotions,
    listed_aus,
    soft_emotions,
)
from affectdata.labels.known import known_layers
from manifests.lake import Lake
from manifests.layer import LayerFacts
from manifests.query import DEFAULT_SOURCES, manifest_table
from manifests.vocabulary import AU_SPACES, AUS, COMPOUNDS, au_column

NOT_A_FACE = "not_a_face"
AU_NAMES = tuple(au_column(au) for au in AUS)

PIECE = 1 << 17
"""Rows whose weights, [rows, AUs] in float64, are held at once."""

Mode = Literal["hard", "soft"]
Target = Literal["weight", "fraction"]


@dataclass(frozen=True)
class Settings:
    """What `affect co-annotate` was asked for.

    Args:
        rule: Table, label space, jaw rule, temperature.
        mode: `hard`: expression to AUs and AUs to expression; `soft`: AUs to a distribution over expressions.
        target: How an observational AU is written: as a positive with its fraction as `weight`, as the paper does, or
            with its `fraction` as the probability to learn. A weighted positive still has its optimum at 1.
        sources: Label sources that count as known, first wins; only what they leave unknown is filled.
    """

    rule: Rule
    mode: Mode = "hard"
    target: Target = "weight"
    sources: tuple[str, ...] = DEFAULT_SOURCES

    @property
    def source(self) -> str:
        """Name of the layer."""
        return f"co-{self.rule.table.name}" + ("-soft" if self.mode == "soft" else "")

    def command(self, dataset: str) -> str:
        """The command line that makes the layer again."""
        rule = self.rule
        spaces = {aus: name for name, aus in AU_SPACES.items()}
        options = {
            "--mode": (self.mode, "hard"),
            "--target": (self.target, "weight"),
            "--jaw": (rule.jaw, "26"),
            "--require": (rule.require, "all"),
            "--neutral": (rule.neutral, "rest"),
            "--temperature": (f"{rule.temperature:g}", "1"),
            "--aus": (spaces.get(rule.space, ",".join(map(str, rule.space))), "fbn17"),
            "--sources": (",".join(self.sources), ",".join(DEFAULT_SOURCES)),
        }
        said = [f"{name} {value}" for name, (value, default) in options.items() if value != default]
        return " ".join(["affect co-annotate", dataset, "--table", rule.table.file or rule.table.name, *said])

    def facts(self) -> dict[str, str]:
        """What else decided the labels, for the layer's facts: a table by its content, not its name alone."""
        table = self.rule.table
        aus = ",".join(map(str, self.rule.space))
        return {"table": table.name, "table_source": table.source, "table_digest": table.digest, "aus": aus}

    def in_words(self) -> str:
        """The rule, for the layer's facts."""
        rule = self.rule
        jaw = "AU26 left unknown where AU27 is coded" if rule.jaw == "26" else "AU26 means 26 or 27"
        if self.mode == "soft":
            return f"{rule.table.name}: softmax of AU shares at temperature {rule.temperature:g}; {jaw}"
        return f"{rule.table.name}: listed AUs positive ({self.target}); emotion where {rule.require} AUs hold; {jaw}"


@dataclass(frozen=True)
class AuCount:
    """Cells of one AU: known and positive, before and after co-annotation."""

    known: int
    positive: int
    known_after: int
    positive_after: int


@dataclass(frozen=True)
class CoSummary:
    """What was derived for one dataset.

    Args:
        rows: Samples that gained a label.
        emotions: Emotion -> samples that gained it (hard), or whose largest soft target it is.
        aus: AU -> cells, for AUs that are known of any sample.
        entropy: Mean entropy of the soft targets in nats, of at most ln 7; None in hard mode.
        skipped: Samples that are not faces.
    """

    dataset: str
    source: str
    rows: int
    emotions: Mapping[str, int]
    aus: Mapping[int, AuCount] = field(default_factory=dict)
    entropy: float | None = None
    skipped: int = 0

    def lines(self) -> Iterator[str]:
        """One fact a line, for people."""
        yield f"{self.dataset}: labels/{self.source}, {self.rows:,} samples"
        each = ", ".join(f"{name} {count:,}" for name, count in self.emotions.items())
        kind = "expression from AUs" if self.entropy is None else "largest soft target"
        yield f"  {kind}: {each or 'none'}"
        if self.entropy is not None:
            yield f"  entropy of the soft targets {self.entropy:.3f} (flat: {np.log(len(SOFT_CLASSES)):.3f})"
        for au, n in self.aus.items():
            if n.known_after > n.known:
                yield (
                    f"  AU{au}: positive {_rate(n.positive, n.known)} of {n.known:,} known"
                    f" -> {_rate(n.positive_after, n.known_after)} of {n.known_after:,}"
                )
        if self.skipped:
            yield f"  {self.skipped:,} samples are not faces and are skipped"


def co_annotate(lake: Lake, dataset: str, settings: Settings) -> CoSummary:
    """Derive labels for one dataset and publish them; a layer of the same name is replaced.

    Raises:
        UnknownNameError: No such dataset.
        SourceOrderError: A source is unknown or ambiguous.
        StaleLayerError: A source is stale.
    """
    fingerprints = lake.fingerprints(dataset)
    known = known_layers(lake, dataset, settings.sources, settings.source)
    names = [layer.name for layer in known]
    wanted = ["sample_id", "face_status", "expression", "compound", *AU_NAMES]
    table = manifest_table(lake, [dataset], wanted, sources=names)
    face = np.asarray(pc.fill_null(pc.not_equal(table["face_status"], NOT_A_FACE), True))
    skipped = table.num_rows - int(face.sum())
    table = table.filter(pa.array(face))
    facts = LayerFacts(
        offered={"expression": list(SOFT_CLASSES if settings.mode == "soft" else BASIC)},
        unit={"expression": "frame", "au": "frame"},
        rule=settings.in_words(),
        command=settings.command(dataset),
        extra=settings.facts(),
    )
    parts: list[CoSummary] = []
    parents = ["samples", *(layer.key for layer in known)]
    with lake.publish(dataset, command=facts.command) as step:
        derived = _derived(settings, dataset, table, parts)
        step.write("labels", settings.source, derived, facts, {key: fingerprints[key] for key in parents})
    return replace(_joined(parts), skipped=skipped)


def _derived(settings: Settings, dataset: str, table: pa.Table, parts: list[CoSummary]) -> Iterator[pa.Table]:
    """The labels piece by piece, each with its summary put into `parts`: weights of all rows would fill the memory."""
    derive = _soft if settings.mode == "soft" else _hard
    for first in range(0, max(table.num_rows, 1), PIECE):
        piece = table.slice(first, PIECE).combine_chunks()
        cells = np.stack([np.asarray(pc.fill_null(piece[name], -1)) for name in AU_NAMES], axis=1).astype(np.int8)
        derived, summary = derive(settings, dataset, piece, cells)
        parts.append(summary)
        yield derived


def _joined(parts: Sequence[CoSummary]) -> CoSummary:
    """One summary of all pieces of a dataset."""
    rows = sum(part.rows for part in parts)
    emotions = Counter[str]()
    for part in parts:
        emotions.update(part.emotions)
    aus = sorted({au for part in parts for au in part.aus})
    total = sum(part.rows * part.entropy for part in parts if part.entropy is not None and part.rows)
    return replace(
        parts[0],
        rows=rows,
        emotions={name: emotions[name] for name in SOFT_CLASSES if emotions[name]},
        aus={au: _sum([part.aus[au] for part in parts if au in part.aus]) for au in aus},
        entropy=None if parts[0].entropy is None else total / rows if rows else float("nan"),
    )


def _sum(counts: Sequence[AuCount]) -> AuCount:
    return AuCount(*np.sum([astuple(one) for one in counts], axis=0).tolist())


def mix_warnings(summaries: Sequence[CoSummary]) -> list[str]:
    """AUs that co-annotation made positive and that no dataset of the mix labels absent: a trivial lesson."""
    gained, absent = set(), set()
    for summary in summaries:
        for au, n in summary.aus.items():
            if n.known_after > n.known:
                gained.add(au)
            if n.known > n.positive:
                absent.add(au)
    lonely = ", ".join(f"AU{au}" for au in sorted(gained - absent))
    if not lonely:
        return []
    return [f"{lonely}: only positives in these datasets; add a source of negatives before you train on them"]


def _hard(settings: Settings, dataset: str, table: pa.Table, cells: Cells) -> tuple[pa.Table, CoSummary]:
    """Positives for listed AUs, and emotions for complete lists; both from true labels only."""
    expression, compound = (table[name].combine_chunks() for name in ("expression", "compound"))
    # A compound expression says more than the basic one that may stand beside it.
    named = pc.coalesce(compound, expression)
    emotion = np.asarray(pc.fill_null(pc.index_in(named, value_set=pa.array(COMPOUNDS)), -1))
    weights = listed_aus(settings.rule, emotion, COMPOUNDS, cells)
    implied = implied_emotions(settings.rule, cells)
    # Whoever said "happily surprised" has not said "surprise".
    implied[np.asarray(pc.is_valid(named))] = -1
    columns: dict[str, pa.Array] = {"sample_id": table["sample_id"]}
    columns["expression"] = pa.array(np.array([*BASIC, None], object)[implied], pa.string())
    fraction = au_column(1, "prob" if settings.target == "fraction" else "weight").removeprefix("au01_")
    for au in AUS:
        weight = weights[:, au - 1]
        if weight.any():
            columns[au_column(au)] = pa.array(np.ones(len(weight), np.int8), mask=weight == 0)
            columns[au_column(au, fraction)] = pa.array(weight.astype(np.float32), mask=(weight == 0) | (weight == 1))
    says = (implied >= 0) | weights.any(1)
    counts = np.bincount(implied[implied >= 0], minlength=len(BASIC)).tolist()
    emotions = {name: count for name, count in zip(BASIC, counts, strict=True) if count}
    derived = pa.table(columns).filter(pa.array(says))
    return derived, CoSummary(dataset, settings.source, derived.num_rows, emotions, _au_counts(cells, weights))


def _soft(settings: Settings, dataset: str, table: pa.Table, cells: Cells) -> tuple[pa.Table, CoSummary]:
    """A distribution over expressions for every sample with AUs and without an expression."""
    probs = soft_emotions(settings.rule, cells)
    unnamed = np.asarray(pc.and_(pc.is_null(table["expression"]), pc.is_null(table["compound"])))
    says = np.isfinite(probs).all(1) & unnamed
    probs = probs[says]
    wide = as_expression_probs(probs).astype(np.float32)
    largest = probs.argmax(1)
    columns = {
        "sample_id": table["sample_id"].filter(pa.array(says)),
        "expression": pa.array(np.array(SOFT_CLASSES, object)[largest], pa.string()),
        "expression_probs": pa.FixedSizeListArray.from_arrays(pa.array(wide.ravel()), wide.shape[1]),
    }
    counts = np.bincount(largest, minlength=len(SOFT_CLASSES)).tolist()
    emotions = {name: count for name, count in zip(SOFT_CLASSES, counts, strict=True) if count}
    return pa.table(columns), CoSummary(dataset, settings.source, len(probs), emotions, entropy=entropy(probs))


def _au_counts(cells: Cells, weights: Floats) -> dict[int, AuCount]:
    def counted(mask: NDArray[np.bool_]) -> list[int]:
        return [int(count) for count in mask.sum(0)]

    known, positive, gained = counted(cells >= 0), counted(cells == 1), counted(weights > 0)
    return {
        au: AuCount(known[i], positive[i], known[i] + gained[i], positive[i] + gained[i])
        for i, au in enumerate(AUS)
        if known[i] or gained[i]
    }


def _rate(positive: int, known: int) -> str:
    return f"{positive / known:.1%}" if known else "-"
