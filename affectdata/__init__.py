"""affectdata: facial-affect datasets, as distributed, in one lake of Parquet manifests.

The documented Python API; every name is imported when it is first used, so that `import affectdata` costs nothing.

    from affectdata import Lake
    Lake("lake").query("select dataset, count(*) from manifest where mask_va group by all").df()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from affectdata.installation import check_packages

if TYPE_CHECKING:
    from manifests.crops import CropStore as CropStore
    from manifests.errors import AffectError as AffectError
    from manifests.lake import Lake as Lake
    from manifests.query import connect as connect
    from manifests.query import manifest_table as manifest_table

_HOMES = {
    "AffectError": "manifests.errors",
    "CropStore": "manifests.crops",
    "Lake": "manifests.lake",
    "connect": "manifests.query",
    "manifest_table": "manifests.query",
}
"""Public name -> the module that defines it."""

__all__ = ["AffectError", "CropStore", "Lake", "connect", "manifest_table"]

check_packages(["manifests"])


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("affectdata")
    if name not in _HOMES:
        raise AttributeError(f"module 'affectdata' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])
