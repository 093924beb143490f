"""What is known of a dataset before its files are seen: the typed record that `affect info` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Labelling:
    """One source of labels: who could say what, and about what.

    Args:
        source: Name of the layer: `human`, `human-ferplus`, `derived-ferplus-majority` ...
        offered: Task -> classes that the annotators could choose. A class that was not offered is not a negative.
        unit: Task -> frame, clip or sequence.
        rule: How the labels came about, in words.
        au_cut: AU intensity from which on an AU counts as present, by the dataset's own literature.
        landmark_base: Base of the released coordinates and how sure we are, e.g. `1 (shifted to 0)`.
    """

    source: str
    offered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unit: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""
    au_cut: float | None = None
    landmark_base: str = ""


@dataclass(frozen=True)
class ProtocolCard:
    """A split that the dataset or its literature fixes.

    Args:
        name: Name of the layer, e.g. `official`.
        truth: Label sources that scoring may use, in order.
        keys: What is exclusive between train and scored roles: subject, sequence, group, pixels. Empty: nothing is
            promised, and `about` says so.
        about: Where it comes from.
        metrics: What its papers report beside the usual metrics of each task; `au_f1[disfa8]` names the AU set or
            class space to score over.
    """

    name: str
    truth: tuple[str, ...]
    keys: tuple[str, ...] = ()
    about: str = ""
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """Counts that the dataset's makers or a count on real files give; compared at ingest, never enforced.

    Args:
        split: Value of `samples.split`, or empty for all splits together.
        counts: Class -> number of samples; the key `""` counts all of them.
        source: Label source that the classes belong to, or `samples`.
        sure: Confidence tag of the dataset page: verified n, one source, counted, unverified ...
        variants: Distribution variants that the counts hold for; empty for all.
        column: Label column that holds the classes.
        also: Other totals that sound copies have.
    """

    split: str
    counts: Mapping[str, int]
    source: str = "samples"
    sure: str = "unverified"
    variants: tuple[str, ...] = ()
    column: str = "expression"
    also: tuple[int, ...] = ()

    def fits(self, name: str, count: int) -> bool:
        """Whether a count of a class, or with `""` of all of them, is the published one or as good."""
        return count == self.counts[name] or (not name and count in self.also)


@dataclass(frozen=True)
class ExpectedReject:
    """A reject reason that the real release is known to raise, up to a share of its items.

    Within `share` the rejects are reported but do not count for `--max-rejects`; beyond it all of them count.
    """

    reason: str
    share: float
    why: str


@dataclass(frozen=True)
class Option:
    """A choice that the user makes at ingest, as `--<name>`.

    Args:
        choices: Allowed values; empty when free.
        is_path: Names a file outside the dataset, whose content (not whose place) enters the fingerprint.
    """

    name: str
    about: str
    default: str = ""
    choices: tuple[str, ...] = ()
    is_path: bool = False


@dataclass(frozen=True)
class Card:
    """Identity, terms, layout, counts and known defects of one dataset.

    Args:
        looked_for: What `find` recognises, in words; printed when nothing of it is there.
        tree: The expected tree as text.
        subject_key: Where subject ids come from, or why there are none.
        group_key: Where group ids come from, or why there are none.
        sentinels: Where -> the value that means unknown there.
        overlaps: Other datasets that share people, films or pictures.
        unverified: Facts of the dataset page that nobody could confirm; checked at run time.
        revision: Raised whenever the reader reads the same files differently.
    """

    name: str
    title: str
    about: str
    tasks: tuple[str, ...]
    labellings: tuple[Labelling, ...]
    licence: str
    citation: str
    homepage: str
    access: tuple[str, ...]
    looked_for: tuple[str, ...]
    tree: str
    protocols: tuple[ProtocolCard, ...] = ()
    published: tuple[Published, ...] = ()
    subject_key: str = "none distributed"
    group_key: str = "none known"
    sentinels: Mapping[str, str] = field(default_factory=dict)
    expected_rejects: tuple[ExpectedReject, ...] = ()
    overlaps: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    unverified: tuple[str, ...] = ()
    revision: int = 1

    def labelling(self, source: str) -> Labelling:
        """The labelling of one source, to be refined by a reader with `dataclasses.replace`."""
        return next(labelling for labelling in self.labellings if labelling.source == source)
