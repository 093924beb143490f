"""How hard text parsers are fuzzed: a few hundred inputs each in `make test`, ten thousand in `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FUZZ = settings(
    max_examples=int(os.environ.get("AFFECT_FUZZ", "150")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

any_bytes = st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode))


def mangled(fragment: bytes, tokens: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """A true file with pieces cut out, doubled, and replaced by tokens such as sentinels and line ends.

    Args:
        fragment: Lines as the dataset has them.
        tokens: What to strew in, beside what breaks any text format.
    """
    pieces = st.sampled_from(
        [*tokens, b"", b"\n", b"\r\n", b",", b" ", b"\t", b'"', b"-1", b"nan", b"1e999", b"\xff", b"\x00"]
    )
    edit = st.tuples(st.integers(0, len(fragment)), st.integers(0, 12), pieces)

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        data = fragment
        for at, length, piece in edits:
            data = data[:at] + piece + data[at + length :]
        return data

    return st.lists(edit, max_size=6).map(apply)
