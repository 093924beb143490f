"""Whether this installation is whole: four packages side by side, and the system libraries that wheels need.

Our top-level packages have plain names, and distributions of the same names exist on package registries; one
installed later would overwrite or shadow ours without a word. Standard library only: this runs before anything
else is known to be ours.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import util
from pathlib import Path

DISTRIBUTION = "affectdata"
PACKAGES = ("manifests", "affectdata", "trainer", "cli")

APT_INSTALL = "apt-get install libgl1 libglib2.0-0"
"""What the opencv-python wheel needs and a bare Debian lacks; found with `ldd` on the wheel's cv2 module."""

_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file")


class PackageCollisionError(ImportError):
    """A top-level package that is not ours, with the distribution or file it comes from and what mends it."""

    def __init__(self, name: str, found: Path, home: Path, owners: Iterable[str]) -> None:
        self.package, self.found, self.owners = name, found, tuple(owners)
        if self.owners:
            where = f"{found} of the distribution {', '.join(self.owners)}"
            pip = f"{sys.executable} -m pip"
            mend = (
                f"{pip} uninstall --yes {' '.join(self.owners)}\n"
                f"            {pip} install --force-reinstall --no-deps {DISTRIBUTION}"
                "  (in a checkout: make clean install)"
            )
        else:
            where = str(found)
            mend = "rename it, or run from another folder"
        super().__init__(
            f"the package {name!r} is not the one of {DISTRIBUTION}\n"
            f"  found:    {where}\n"
            f"  expected: {home / name}\n"
            f"  next:     {mend}"
        )


def check_packages(names: Iterable[str] = PACKAGES, home: Path | None = None) -> None:
    """Make sure that each package is ours: in our folder, with our `__init__`. Imports none of them.

    Args:
        names: Top-level packages to look at.
        home: Folder that holds ours; by default the one that holds this file's package.

    Raises:
        PackageCollisionError: Another one would be imported, or has overwritten ours.
    """
    home = home or Path(__file__).resolve().parent.parent
    for name in names:
        found = _origin(name)
        ours = home / name / "__init__.py"
        if found is None:
            raise PackageCollisionError(name, Path("nothing of that name"), home, ())
        if found.resolve() != ours.resolve():
            raise PackageCollisionError(name, found, home, _owners(name, found))
        if DISTRIBUTION not in ours.read_text(encoding="utf-8")[:500]:
            raise PackageCollisionError(name, found, home, _owners(name, found))


def missing_library(error: ImportError) -> str:
    """What to install when an import failed for want of a system library; empty if that is not the reason."""
    found = _LIBRARY.search(str(error))
    if found is None:
        return ""
    return (
        f"the system library {found[1]} is missing\n"
        f"  expected: the libraries that opencv-python needs\n"
        f"  next:     {APT_INSTALL}"
    )


def check_installation() -> None:
    """Exit with a message unless the packages are ours and OpenCV loads: what `make install` asks at its end."""
    try:
        check_packages()
        import cv2  # noqa: F401  # only whether it loads
    except ImportError as error:
        sys.exit(f"affectdata: {missing_library(error) or error}")


def _origin(name: str) -> Path | None:
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded else util.find_spec(name)
    if spec is None:
        return None
    if spec.origin:
        return Path(spec.origin)
    return Path(next(iter(spec.submodule_search_locations or ()), name))


def _owners(name: str, found: Path) -> list[str]:
    """Distributions other than ours that hold the package, if it lies where distributions lie."""
    from importlib import metadata

    owners = metadata.packages_distributions().get(name, [])
    others = sorted({owner for owner in owners if owner.lower() != DISTRIBUTION})
    return [owner for owner in others if _holds(owner, found)]


def _holds(owner: str, found: Path) -> bool:
    from importlib import metadata

    files = metadata.distribution(owner).files or []
    return any(Path(str(file.locate())).resolve() == found.resolve() for file in files)
