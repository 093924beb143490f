"""`affect relate`: which AUs go with which emotion in data that codes both, beside a published table.

A[e, i] = share of the samples labelled e, and coded for AU i, on which AU i is present. The interval is a bootstrap
over subjects (over samples where no subject is known): faces of one person are not independent.
Source: Kollias et al. 2019, section on Table 3, with the readings of `min_fraction` and `min_count` as options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.labels.coannotate import NOT_A_FACE
from affectdata.labels.coannotation import BASIC
from affectdata.labels.relatedness import RelatednessTable, check_own_name
from manifests.errors import LabelRuleError
from manifests.lake import Lake
from manifests.protocols import roles
from manifests.query import DEFAULT_SOURCES, manifest_table
from manifests.storage import storage_errors
from manifests.vocabulary import AUS, au_column

RESAMPLES = 1000


@dataclass(frozen=True)
class Relation:
    """How often one AU goes with one emotion.

    Args:
        emotion: Canonical name.
        au: AU number.
        present: Samples of the emotion that show it.
        coded: Samples of the emotion that are coded for it.
        low: 2.5th percentile of the bootstrap over subjects; NaN with one subject only.
        high: 97.5th.
        published: Weight in the table it is compared with; 0 where that does not list it.
    """

    emotion: str
    au: int
    present: int
    coded: int
    low: float
    high: float
    published: float

    @property
    def fraction(self) -> float:
        """P(AU | emotion)."""
        return self.present / self.coded


@dataclass(frozen=True)
class Relations:
    """All relations of some datasets, by emotion and AU."""

    datasets: tuple[str, ...]
    rows: tuple[Relation, ...]
    subjects: int
    samples: Mapping[str, int]
    made: str = ""
    """The command that counts the same."""
    reported: int = 0
    """Samples among them that a protocol reports: what is made with the table carries their labels into training."""
    left_out: tuple[str, ...] = ()
    """Datasets that were asked for and have no sample with both."""

    def check_counts(self, min_count: int) -> None:
        """Whether any emotion has enough samples for a row.

        Raises:
            LabelRuleError: None has; names the largest counts.
        """
        most = {name: max((row.coded for row in self.rows if row.emotion == name), default=0) for name in self.samples}
        if max(most.values()) < min_count:
            largest = sorted(most.items(), key=lambda item: -item[1])[:3]
            raise LabelRuleError(
                f"relate: no emotion of {', '.join(self.datasets)} has enough samples that are coded for an AU",
                found=f"at most {', '.join(f'{name} {count:,}' for name, count in largest)}",
                expected=f"{min_count:,} samples of an emotion (--min-count)",
                then=f"--min-count {largest[0][1]} or less, or more datasets in --from",
            )

    def toml(self, name: str, *, min_fraction: float, min_count: int) -> str:
        """A table that `affect co-annotate --table FILE.toml` takes: AUs with at least this share and count.

        An AU that every sample of an emotion shows is prototypical; all others are observational.

        Raises:
            LabelRuleError: No emotion has such an AU: a table without rows is none.
        """
        text = [
            f'name = "{name}"',
            f'title = "AU frequencies per emotion in {", ".join(self.datasets)}"',
            f'source = "{self.made}"',
            f'semantics = "share of samples with that emotion that show the AU; kept from {min_fraction:g} and '
            f'{min_count} samples on; {self.reported} of {sum(self.samples.values())} samples have reported roles"',
        ]
        for emotion in self.samples:
            kept = [
                row
                for row in self.rows
                if row.emotion == emotion and row.present and row.coded >= min_count and row.fraction >= min_fraction
            ]
            always = ", ".join(str(row.au) for row in kept if row.present == row.coded)
            often = ", ".join(f"{row.au} = {_inside(row.fraction):.4f}" for row in kept if row.present < row.coded)
            if kept:
                inside = f"{{ {often} }}" if often else "{}"
                text += ["", f"[rows.{emotion}]", f"prototypical = [{always}]", f"observational = {inside}"]
        if not any(line.startswith("[rows.") for line in text):
            raise LabelRuleError(
                f"relate: no AU for a table of {', '.join(self.datasets)}",
                found=f"no AU on a share of {min_fraction:g} of {min_count:,} samples of an emotion",
                expected="at least one",
                then="choose less with --min-fraction or --min-count",
            )
        return "\n".join(text) + "\n"


def _inside(fraction: float) -> float:
    """A share that rounds to 0 or 1 would say never or always, which a table tells otherwise."""
    return min(max(fraction, 0.0001), 0.9999)


def relate(
    lake: Lake,
    datasets: tuple[str, ...],
    table: RelatednessTable,
    *,
    sources: tuple[str, ...] = DEFAULT_SOURCES,
    protocol: str = "",
    fold: int | None = None,
    seed: int = 0,
) -> Relations:
    """P(AU | basic expression) in datasets that code both.

    Args:
        table: What to compare with.
        sources: Label sources, first wins.
        protocol: Count only samples that train in this protocol; by default all, and how many are reported is told.
        fold: Fold of a folded protocol.
        seed: Of the bootstrap.

    Raises:
        UnknownNameError: No such dataset or protocol.
        ProtocolError: The protocol has folds and none was named, or the other way round.
        LabelRuleError: No sample of any of them has both an expression and an AU.
    """
    columns = ["sample_id", "dataset", "subject_id", "face_status", "expression", *(au_column(au) for au in AUS)]
    found = manifest_table(lake, list(datasets), columns, sources=sources, where="mask_expression and mask_au")
    found = found.filter(pc.fill_null(pc.not_equal(found["face_status"], NOT_A_FACE), True))
    if protocol:
        found = found.filter(pc.is_in(found["sample_id"], value_set=_trained(lake, datasets, protocol, fold)))
    found = found.filter(pc.is_in(found["expression"], value_set=pa.array(BASIC)))
    emotion = np.asarray(pc.fill_null(pc.index_in(found["expression"], value_set=pa.array(BASIC)), -1))
    if not (emotion >= 0).any():
        raise LabelRuleError(
            f"relate: no sample of {', '.join(datasets)} has both a basic expression and an AU",
            found=f"sources {', '.join(sources)}" + (f", training samples of {protocol}" if protocol else ""),
            then="affect coverage --together shows what is known together",
        )
    cells = np.stack([np.asarray(pc.fill_null(found[au_column(au)], -1)) for au in AUS], axis=1)
    people = _people(found)
    rows = [
        _relation(table, name, au, cells[emotion == code, au - 1], people[emotion == code], seed)
        for code, name in enumerate(BASIC)
        for au in AUS
        if (cells[emotion == code, au - 1] >= 0).any()
    ]
    counts = {name: int((emotion == code).sum()) for code, name in enumerate(BASIC) if (emotion == code).any()}
    there = set(pc.unique(found["dataset"]).to_pylist())
    left_out = tuple(name for name in datasets if name not in there)
    datasets = tuple(name for name in datasets if name in there)
    made = f"affect relate --from {','.join(datasets)}"
    made += f" --sources {','.join(sources)}" if sources != DEFAULT_SOURCES else ""
    made += f" --protocol {protocol}" if protocol else ""
    made += f" --fold {fold}" if fold is not None else ""
    reported = 0 if protocol else _reported(lake, datasets, found["sample_id"])
    return Relations(datasets, tuple(rows), len(np.unique(people)), counts, made, reported, left_out)


def _trained(lake: Lake, datasets: tuple[str, ...], protocol: str, fold: int | None) -> pa.Array:
    """Samples that train for both tasks: what is scored for either must not tell how they go together."""
    kept = [pa.array([], pa.string())]
    for dataset in datasets:
        ids = None
        for task in ("expression", "au"):
            named = roles(lake, dataset, protocol, task=task, fold=fold)
            mine = named.filter(pc.equal(named["role"], "train"))["sample_id"].combine_chunks()
            ids = mine if ids is None else ids.filter(pc.is_in(ids, value_set=mine))
        kept.append(ids)
    return pa.concat_arrays(kept)


def _reported(lake: Lake, datasets: tuple[str, ...], ids: pa.ChunkedArray) -> int:
    """How many of the samples have a scored role in any protocol and fold of theirs."""
    scored = [pa.array([], pa.string())]
    for dataset in datasets:
        for layer in lake.layers(dataset):
            if layer.kind == "protocols":
                table = lake.read(dataset, layer.key, ["sample_id", "role"])
                held = pc.is_in(table["role"], value_set=pa.array(["val", "test"]))
                scored.append(table.filter(held)["sample_id"].combine_chunks())
    return int(pc.sum(pc.is_in(ids, value_set=pa.concat_arrays(scored))).as_py() or 0)


def name_of(path: Path) -> str:
    """The name of the table that a file will hold: the file's.

    Raises:
        LabelRuleError: `affect co-annotate` would not take it.
    """
    name = path.stem.lower().replace("_", "-")
    try:
        check_own_name(name)
    except ValueError as error:
        raise LabelRuleError(f"table file {path}", found=str(error), then="choose another --out") from None
    return name


def write_table(path: Path, text: str) -> None:
    """Write a table file; one that is there already is kept.

    Raises:
        LabelRuleError: The file exists.
        StorageError: It cannot be written.
    """
    with storage_errors(path):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise LabelRuleError(f"file {path} exists", then="choose another --out, or remove it") from None


def _people(found: pa.Table) -> NDArray[np.int64]:
    """A number for each subject; a sample without a subject is its own."""
    named = pc.binary_join_element_wise(found["dataset"], found["subject_id"], "/")
    return np.asarray(pc.coalesce(named, found["sample_id"]).combine_chunks().dictionary_encode().indices).astype(int)


def _relation(
    table: RelatednessTable, emotion: str, au: int, cells: NDArray[np.int8], people: NDArray[np.int64], seed: int
) -> Relation:
    coded = cells >= 0
    _, person = np.unique(people[coded], return_inverse=True)
    present = np.bincount(person, cells[coded] == 1).astype(np.int64)
    count = np.bincount(person)
    low = high = float("nan")
    if len(count) > 1:
        # Seeded by what is measured, so that no interval depends on which others were asked for.
        rng = np.random.default_rng([seed, au, BASIC.index(emotion)])
        # Subjects with the same counts are alike, so how often each kind is drawn is multinomial: a draw per subject
        # would take gigabytes where every one of a million samples is its own.
        kinds, times = np.unique(np.column_stack([present, count]), axis=0, return_counts=True)
        shown, seen = (rng.multinomial(len(count), times / len(count), RESAMPLES) @ kinds).T
        low, high = np.quantile(shown / seen, [0.025, 0.975]).tolist()
    published = table.rows[emotion].weight(au) if emotion in table.rows else 0.0
    return Relation(emotion, au, int(present.sum()), int(count.sum()), low, high, published)


def _worth_showing(relations: Relations, min_count: int, min_fraction: float) -> Iterator[Relation]:
    """Relations from that count and share on; what the published table lists is shown at any share."""
    for row in relations.rows:
        if row.coded >= min_count and (row.fraction >= min_fraction or row.published):
            yield row


def comparison(relations: Relations, *, min_count: int, min_fraction: float) -> Iterator[tuple[object, ...]]:
    """Rows for people: emotion, AU, share, interval, count, published weight, difference."""
    for row in _worth_showing(relations, min_count, min_fraction):
        interval = "" if np.isnan(row.low) else f"{row.low:.2f}-{row.high:.2f}"
        yield (
            *(row.emotion, f"AU{row.au}", f"{row.fraction:.2f}", interval, f"{row.present:,}/{row.coded:,}"),
            *((f"{row.published:.2f}", f"{row.fraction - row.published:+.2f}") if row.published else (None, None)),
        )


def numbers(relations: Relations, *, min_count: int, min_fraction: float) -> Iterator[tuple[object, ...]]:
    """The same for programs: emotion, AU, share, low, high, present, coded, published weight, difference."""
    for row in _worth_showing(relations, min_count, min_fraction):
        low, high = (None, None) if np.isnan(row.low) else (row.low, row.high)
        yield (
            *(row.emotion, f"AU{row.au}", row.fraction, low, high, row.present, row.coded),
            *((row.published, row.fraction - row.published) if row.published else (None, None)),
        )
