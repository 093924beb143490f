"""What older lakes need to become lakes of this schema version; `affect upgrade` runs it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.layer import layer_key, read_layer, write_layer
from manifests.storage import storage_errors, sync


def gain_columns(lake: Path, *, kinds: tuple[str, ...]) -> None:
    """Every layer of these kinds gains the columns that it lacks, all NULL.

    Version 1 to 2: labels (`auNN_prob`). Version 2 to 3: faces (measures) and crops (places of JPEGs).

    Each file is replaced in one rename, so an upgrade that is stopped can be run again. Fingerprints stay: what the
    layers say has not changed.

    Raises:
        LakeError: A file is not a layer of ours.
        StorageError: The disk is full or refuses.
    """
    for kind in kinds:
        for path in sorted((lake / ".generations").glob(f"*/[0-9]*/{kind}/*.parquet")):
            dataset = path.parts[-4]
            key = layer_key(kind, path.stem)
            facts = read_layer(dataset, key, path).facts
            fresh = path.with_name(path.name + ".new")
            with storage_errors(lake), pq.ParquetFile(path) as old:
                tables = (pa.Table.from_batches([batch]) for batch in old.iter_batches(1 << 16))
                write_layer(fresh, kind, tables, facts, f"{dataset} {key}")
                sync(fresh)
                fresh.replace(path)
                sync(path.parent)  # the version is raised only once every rename is on the disk
