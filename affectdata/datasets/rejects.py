"""What a reader refuses: where, why, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from affectdata.datasets.card import ExpectedReject
from manifests.errors import UnknownNameError

REASONS = frozenset(
    (
        *("missing-image", "missing-video", "missing-frame", "missing-annotation", "rating-without-image"),
        *("undecodable-image", "image-too-large", "unsafe-file", "unsafe-path", "protected-file", "not-an-archive"),
        *("unknown-code", "out-of-range", "bad-number", "bad-field-count", "bad-pixel-count", "bad-landmarks"),
        *("bad-attributes", "bad-box", "bad-name", "id-mismatch", "length-mismatch", "duplicate-key"),
        *("conflicting-duplicate", "split-leak", "unknown-class-folder", "unknown-header", "unknown-split"),
        *("test-list", "wrong-dataset", "ambiguous-variant", "unsupported-variant", "no-code-table", "no-column-map"),
        *("code-order-mismatch", "not-a-face", "fer-plus-unknown"),
    )
)
"""Reject codes: why an item of the source, or one field of it, was refused."""

Said = tuple[list[list[str]], list[pa.Table]]
"""Rejects: where, reason and detail, one by one and as tables."""

_REJECTED = pa.schema([("where", pa.string()), ("reason", pa.string()), ("detail", pa.string())])


class Reject:
    """Collects what a reader refuses. Calling it never raises on the data's account.

    An item may be refused whole (the reader then leaves it out of its Block) or in one field (the reader then keeps
    the sample and leaves that field NULL).
    """

    def __init__(self) -> None:
        self._single: list[tuple[str, str, str]] = []
        self._tables: list[pa.Table] = []
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def __call__(self, where: str, reason: str, detail: str = "") -> None:
        """Refuse one item: the file and line, the reason code, and what was found."""
        self.many([where], reason, [detail])

    def many(self, where: Iterable[str], reason: str, detail: Iterable[object]) -> None:
        """Refuse several items for one reason."""
        before = len(self._single)
        self._single += [(clean(w), _known(reason), clean(str(d))[:500]) for w, d in zip(where, detail, strict=True)]
        self._counts[_known(reason)] += len(self._single) - before

    def columns(self, where: pa.Array | pa.ChunkedArray, detail: pa.Array | pa.ChunkedArray, reason: str) -> None:
        """Refuse as many items as the columns have rows, for one reason; without a Python object per row."""
        columns = {"where": where, "reason": pa.repeat(_known(reason), len(where)), "detail": detail}
        self._tables.append(pa.table(columns, schema=_REJECTED))
        self._counts[reason] += len(where)

    def drained(self) -> Said:
        """What was refused since the last call, to be told to another by `repeat`; the counts stay."""
        said = [list(row) for row in self._single], self._tables
        self._single, self._tables = [], []
        return said

    def repeat(self, single: Iterable[list[str]], tables: Iterable[pa.Table]) -> None:
        """Refuse what another refused."""
        for where, reason, detail in single:
            self._single.append((where, reason, detail))
            self._counts[_known(reason)] += 1
        for table in tables:
            self._tables.append(table)
            self._counts.update(table.column("reason").to_pylist())

    def counts(self) -> Counter[str]:
        """Number of rejects per reason."""
        return Counter({reason: count for reason, count in self._counts.items() if count})

    def table(self, expected: Iterable[ExpectedReject], items: int) -> pa.Table:
        """All rejects as a `rejects` layer, sorted.

        Args:
            expected: What the CARD foresees.
            items: Items of the source, of which the expected shares are taken.
        """
        foreseen = [e.reason for e in expected if self._counts[e.reason] <= e.share * items]
        columns = [[row[at] for row in self._single] for at in range(len(_REJECTED))]
        rows = pa.concat_tables([pa.table(columns, schema=_REJECTED), *self._tables])
        rows = rows.sort_by([(name, "ascending") for name in rows.column_names])
        is_foreseen = pc.is_in(rows.column("reason"), value_set=pa.array(foreseen, pa.string()))
        return rows.append_column("expected", is_foreseen)


def _known(reason: str) -> str:
    if reason not in REASONS:
        raise UnknownNameError("reject reason", reason, sorted(REASONS))
    return reason


def clean(text: str) -> str:
    """The text with whatever UTF-8 cannot hold written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()
