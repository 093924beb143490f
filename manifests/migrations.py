"""What older lakes need to become lakes of this schema version; `affect upgrade` runs it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.layer import layer_key, read_layer, write_layer
from manifests.storage import storage_errors, sync


def rewrite_labels(lake: Path) -> None:
    """Version 1 to 2: every label layer gains the columns that it lacks (`auNN_prob`), all NULL.

    Each file is replaced in one rename, so an upgrade that is stopped can be run again. Fingerprints stay: what the
    layers say has not changed.

    Raises:
        LakeError: A file is not a layer of ours.
        StorageError: The disk is full or refuses.
    """
    for path in sorted((lake / ".generations").glob("*/[0-9]*/labels/*.parquet")):
        dataset = path.parts[-4]
        key = layer_key("labels", path.stem)
        facts = read_layer(dataset, key, path).facts
        fresh = path.with_name(path.name + ".new")
        with storage_errors(lake), pq.ParquetFile(path) as old:
            tables = (pa.Table.from_batches([batch]) for batch in old.iter_batches(1 << 16))
            write_layer(fresh, "labels", tables, facts, f"{dataset} {key}")
            sync(fresh)
            fresh.replace(path)
            sync(path.parent)  # the version is raised only once every rename is on the disk
