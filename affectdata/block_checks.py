"""What is asked of every sample before it is stored: a name, and media that lie under the root."""

from __future__ import annotations

from os.path import commonprefix

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectdata.datasets.listing import Listing
from affectdata.datasets.reading import Reject
from affectdata.datasets.text import REPLACED, as_mask

_UNSAFE = r"(^|/)\.\.(/|$)|^/|^[A-Za-z]:|\x00"

Mask = NDArray[np.bool_]


class BlockChecks:
    """Checks samples, a block at a time.

    Args:
        files: Files of the root, against which every path is checked.
        reject: Takes samples without a name, and those whose media are missing or lie outside the root.
    """

    def __init__(self, files: Listing, reject: Reject) -> None:
        self._files, self._reject = files, reject
        self._inside: tuple[str, pa.Array] | None = None

    def usable(self, rows: pa.Table) -> pa.Table:
        """The rows whose sample may be stored, with '/' between the parts of their paths."""
        ids = rows.column("sample_id")
        nameless = as_mask(pc.is_null(ids)) | as_mask(pc.equal(ids, "")) | as_mask(pc.match_substring(ids, REPLACED))
        keep = ~nameless
        refuse_rows(rows, nameless, "bad-name", self._reject)
        if "path" in rows.column_names:
            rows, checks = self._checked_paths(rows)
            for reason, mask in checks.items():
                refuse_rows(rows, mask & keep, reason, self._reject)
                keep &= ~mask
        return rows if keep.all() else rows.filter(pa.array(keep))

    def _checked_paths(self, rows: pa.Table) -> tuple[pa.Table, dict[str, Mask]]:
        """The rows with tidy paths, and which of them are wrong for which reason.

        A path that is listed as it stands is tidy and safe, which spares most of them the regular expressions.
        """
        paths = rows.column("path").combine_chunks()
        odd = ~self._listed(paths) & as_mask(pc.is_valid(paths))
        for part in ("\\", REPLACED):
            odd |= as_mask(pc.match_substring(paths, part))
        if not odd.any():
            return rows, {}
        tidy = _tidy(paths.filter(pa.array(odd)))
        rows = rows.set_column(
            rows.column_names.index("path"), "path", pc.replace_with_mask(paths, pa.array(odd), tidy)
        )
        video = as_mask(pc.is_valid(rows.column("frame"))) if "frame" in rows.column_names else np.zeros_like(odd)
        absent = _spread(~self._listed(tidy), odd)
        return rows, {
            "unsafe-path": _spread(as_mask(pc.match_substring_regex(tidy, _UNSAFE)), odd),
            "bad-name": _spread(as_mask(pc.match_substring(tidy, REPLACED)), odd),
            "missing-video": absent & video,
            "missing-image": absent & ~video,
        }

    def _listed(self, paths: pa.Array) -> Mask:
        """Which paths are files of the root; only those in the folder that all of them share are looked through."""
        ends = pc.min_max(paths).as_py()
        low, high = ends["min"], ends["max"]
        if low is None or low == high:
            return np.full(len(paths), low is not None and low in self._files)
        # Whatever lies between two paths in order begins as both of them do.
        folder = commonprefix([low, high]).rpartition("/")[0]  # noqa: RUF071 (cut at "/" afterwards; any text may come)
        if self._inside is None or self._inside[0] != folder:
            self._inside = folder, self._files.paths(folder)
        names = pc.utf8_slice_codeunits(paths, len(folder) + 1) if folder else paths
        return as_mask(pc.is_in(names, value_set=self._inside[1])) & as_mask(pc.is_valid(paths))


def refuse_rows(rows: pa.Table, mask: Mask, reason: str, reject: Reject) -> None:
    """Refuse samples by name, quoting their paths."""
    if mask.any():
        names = [name for name in ("sample_id", "path") if name in rows.column_names]
        wrong = rows.select(names).filter(pa.array(mask)).combine_chunks()
        where = pc.fill_null(wrong.column("sample_id"), "None")
        found = wrong.column("path") if "path" in names else pa.nulls(len(where), pa.string())
        reject.columns(where, pc.fill_null(found, ""), reason)


def _tidy(paths: pa.Array) -> pa.Array:
    """Paths with '/' between parts, as annotations of Windows users may not have them."""
    for pattern, with_ in ((r"\\", "/"), (r"/+(\./+)*", "/"), (r"^\./|/$", "")):
        paths = pc.replace_substring_regex(paths, pattern, with_)
    return paths


def _spread(values: Mask, where: Mask) -> Mask:
    """Values of some rows at their place among all."""
    full = np.zeros_like(where)
    full[where] = values
    return full
