"""Which source wins, per task and per AU.

Sources are named by patterns, first wins: `("human", "human-*", "auto")`. A stale layer never takes part. The
result of `resolve` is, per dataset, an ordered list of label layers; `manifests.manifest` turns it into SQL.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from manifests import schema
from manifests.errors import SourceOrderError, UnknownNameError
from manifests.footers import known_counts, tally_of
from manifests.lake import Lake, Layer
from manifests.vocabulary import AUS, au_column

DEFAULT_SOURCES = ("human", "human-*", "auto")
"""What training sees unless told otherwise: people first, then what the dataset's authors let a machine label."""

_PATTERN = re.compile(r"^[a-z0-9*][a-z0-9*._-]*$")
_TASK_COLUMNS = frozenset(column for columns in schema.TASK_COLUMNS.values() for column in columns)


@dataclass(frozen=True)
class LabelSource:
    """One label layer as the manifest sees it.

    `known` maps a column to its number of labelled rows; columns without any are absent. `au_cut` is the FACS
    intensity (0-5) from which on an AU counts as present where the layer does not say so itself; None: no rule.
    `complete`: it has a row for every sample, so that where it knows a column in every row, nobody below is asked.
    """

    layer: Layer
    known: Mapping[str, int]
    au_cut: float | None = None
    complete: bool = False

    @property
    def name(self) -> str:
        """Name of the source, such as `human` or `teacher-run7`."""
        return self.layer.name

    def knows_all(self, column: str) -> bool:
        """Whether it gives this column for every sample of the dataset."""
        return self.complete and self.known.get(column) == self.layer.rows

    def speaks_of_au(self, au: int) -> bool:
        """Whether a value of this AU, absent or present, may come from here."""
        return au_column(au) in self.known or (self.au_cut is not None and au_column(au, "intensity") in self.known)

    def task_columns(self) -> set[str]:
        """The task columns that it labels, AUs that it labels through a cut included."""
        return {c for c in self.known if c in _TASK_COLUMNS} | {au_column(a) for a in AUS if self.speaks_of_au(a)}


@dataclass(frozen=True)
class Resolution:
    """The manifest of one dataset, decided: its samples and its label sources, the first that knows wins."""

    dataset: str
    samples: Layer
    sources: tuple[LabelSource, ...]

    @property
    def fingerprint(self) -> str:
        """Changes with the order of sources, the AU cuts, and the content of every layer that takes part."""
        parts = [_state(self.samples)]
        parts += [[source.au_cut, source.layer.facts.offered, *_state(source.layer)] for source in self.sources]
        text = json.dumps([schema.SCHEMA_VERSION, self.dataset, parts], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _state(layer: Layer) -> list[object]:
    # A fingerprint says what a layer was made from. Size and time of the file catch one that was made again, by
    # other code, from the same; published files never change, and hard links keep both.
    state = layer.path.stat()
    return [layer.key, layer.facts.fingerprint, layer.rows, state.st_size, state.st_mtime_ns]


@dataclass(frozen=True)
class Resolved:
    """The manifest of a lake, decided. `warnings` say, in words, what was left out and why."""

    datasets: tuple[Resolution, ...]
    warnings: tuple[str, ...]


def resolve(
    lake: Lake,
    sources: Sequence[str] = DEFAULT_SOURCES,
    *,
    au_cut: Mapping[str, float] | None = None,
    datasets: Iterable[str] | None = None,
) -> Resolved:
    """Decide, per dataset, which label layers make the manifest, and in which order.

    Args:
        sources: Names or patterns with `*`, the first wins.
        au_cut: Dataset -> intensity (0-5) from which on an AU counts as present; wins over the layers' own cut.
        datasets: Only these.

    Raises:
        UnknownNameError: No such dataset.
        SourceOrderError: See `source_order` and `check_patterns`.
    """
    cuts = dict(au_cut or {})
    names = lake.datasets()
    for name in [*(datasets or ()), *cuts]:
        if name not in names:
            raise UnknownNameError("dataset in the lake", name, names, f"affect ingest {name} PATH")
    by_dataset = {name: lake.layers(name) for name in names}
    check_patterns(sources, {x.name for layers in by_dataset.values() for x in layers if x.kind == "labels"})
    resolutions, warnings = [], []
    for name in names if datasets is None else sorted(set(datasets)):
        layers = {layer.key: layer for layer in by_dataset[name]}
        labels = [layer for layer in layers.values() if layer.kind == "labels"]
        taken = [layer for layer in labels if any(fnmatchcase(layer.name, p) for p in sources)]
        warnings += [stale_warning(layer) for layer in taken if layer.stale]
        if "samples" not in layers:
            warnings.append(f"{name} is left out: it has labels but no samples (affect ingest {name} PATH)")
            continue
        samples = layers["samples"]
        fresh = [_label_source(layer, samples, cuts.get(name)) for layer in taken if not layer.stale]
        resolutions.append(Resolution(name, samples, tuple(source_order(sources, fresh))))
    return Resolved(tuple(resolutions), tuple(warnings))


def stale_warning(layer: Layer) -> str:
    """Why a stale layer takes no part, in words."""
    return f"{layer.dataset} {layer.key} is left out: it is stale, {layer.stale}"


def _label_source(layer: Layer, samples: Layer, cut: float | None) -> LabelSource:
    complete = layer.rows == samples.rows and tally_of(layer.path).ids == tally_of(samples.path).ids
    return LabelSource(
        layer, known_counts(layer.path), layer.facts.au_cut if cut is None else float(cut), complete=complete
    )


def check_patterns(patterns: Sequence[str], known: Iterable[str]) -> None:
    """Refuse a pattern that matches no source of the whole lake, the default ones excepted.

    Raises:
        SourceOrderError: It also lists the known names, the nearest first.
    """
    names = sorted(known)
    for pattern in patterns:
        if not _PATTERN.match(pattern):
            raise SourceOrderError(
                f"label source {pattern!r}",
                expected="a name or a pattern with '*', such as human, human-* or co-du2014",
            )
        if pattern in DEFAULT_SOURCES or any(fnmatchcase(name, pattern) for name in names):
            continue
        near = get_close_matches(pattern, names, n=2)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise SourceOrderError(
            f"no dataset of the lake has a label source {pattern!r}{hint}",
            expected=", ".join(names) or "nothing: there is none yet",
            then="affect layers",
        )


def source_order(patterns: Sequence[str], sources: Sequence[LabelSource]) -> list[LabelSource]:
    """The sources of one dataset that the patterns name, in the order of the patterns.

    Sources under one pattern are ordered by name, which decides nothing: they may not speak of the same column.

    Raises:
        SourceOrderError: A pattern matches two sources that label the same task column; the message gives the
            `--sources` to type.
    """
    ordered: list[LabelSource] = []
    for pattern in patterns:
        taken = {source.name for source in ordered}
        matched = sorted(
            (s for s in sources if s.name not in taken and fnmatchcase(s.name, pattern)), key=lambda source: source.name
        )
        _check_disjoint(pattern, patterns, matched)
        ordered += matched
    return ordered


def _check_disjoint(pattern: str, patterns: Sequence[str], matched: Sequence[LabelSource]) -> None:
    speaker: dict[str, LabelSource] = {}
    for source in matched:
        shared = sorted(column for column in source.task_columns() if column in speaker)
        if shared:
            rival = speaker[shared[0]]
            at = patterns.index(pattern)
            order = ",".join([*patterns[:at], rival.name, source.name, *patterns[at:]])
            raise SourceOrderError(
                f"sources {rival.name} and {source.name} of {source.layer.dataset} both match {pattern!r}, "
                "so it is not said which one wins",
                found=f"both label {', '.join(shared[:4])}{' ...' if len(shared) > 4 else ''}",
                expected="the one that wins named before the other",
                then=f"--sources {order}",
            )
        speaker |= dict.fromkeys(source.task_columns(), source)
