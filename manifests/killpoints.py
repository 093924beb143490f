"""Named moments at which a process may die. Tests set AFFECT_KILL_AT to one of them and look at what is left.

A step that writes calls `reach(name)` between its writes, fsyncs and renames; in ordinary use that is one
dictionary look-up.
"""

from __future__ import annotations

import os
import signal

POINTS = {
    "publish-begun": "lock taken, nothing written",
    "layer-written": "one layer written to the staging folder, not synced",
    "layers-linked": "untouched layers of the old generation linked, nothing synced",
    "generation-synced": "staging folder synced, not renamed",
    "generation-renamed": "new generation complete, the dataset still points to the old one",
    "dataset-swapped": "the dataset points to the new generation, old ones not pruned",
    "generations-pruned": "old generations removed, scratch not removed",
    "manifest-written": "a resolved manifest written beside its place in the cache, not renamed",
    "chunks-taken": "align: chunks of the published layers taken over, no other begun",
    "chunk-pixels-written": "align: crops of one chunk written and synced, not renamed",
    "chunk-renamed": "align: one chunk finished, the next not begun",
    "predictions-written": "pseudo-label: predictions of one part written and synced, not renamed",
    "predictions-renamed": "pseudo-label: one part finished, the next not begun",
    "chunks-done": "align: every chunk finished, nothing published",
}
"""Name -> what has happened at that moment."""


def reach(name: str) -> None:
    """Die here, as by `kill -9`, if AFFECT_KILL_AT names this point."""
    if name not in POINTS:
        raise KeyError(f"kill point {name!r} is not listed in killpoints.POINTS")
    if os.environ.get("AFFECT_KILL_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
