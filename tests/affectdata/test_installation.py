"""A package of the same name, from a registry or from the current folder, is named and never run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from affectdata.installation import PACKAGES, PackageCollisionError, check_packages, missing_library

HOME = Path(__file__).resolve().parents[2]

TRAP = "raise SystemExit('the wrong file was run')\n"


def python(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def install(folder: Path, package: str, distribution: str) -> None:
    """A minimal installed distribution that holds one package."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(TRAP)
    info = folder / f"{distribution.replace('-', '_')}-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.0.1\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
    (info / "top_level.txt").write_text(f"{package}\n")


def test_this_checkout_is_whole() -> None:
    check_packages()


@pytest.mark.parametrize("package", ["manifests", "trainer"])
def test_a_distribution_that_shadows_ours_is_named_with_what_mends_it(package: str, tmp_path: Path) -> None:
    install(tmp_path, package, "other-trainer")
    script = "from cli import main; import sys; sys.argv = ['affect', '--help']; main()"
    done = python(tmp_path, f"import sys; sys.path[0] = {str(HOME)!r}; sys.path.insert(0, {str(tmp_path)!r})\n{script}")
    assert done.returncode == 1
    assert f"the package '{package}' is not the one of affectdata" in done.stderr
    assert "other-trainer" in done.stderr
    assert "uninstall --yes other-trainer" in done.stderr
    assert "wrong file" not in done.stderr
    assert "Traceback" not in done.stderr


def test_files_in_the_current_folder_are_named_not_run(tmp_path: Path) -> None:
    (tmp_path / "trainer.py").write_text(TRAP)
    script = "from cli import main; import sys; sys.argv = ['affect', '--help']; main()"
    done = python(tmp_path, f"import sys; sys.path.insert(1, {str(HOME)!r})\n{script}")
    assert done.returncode == 1
    assert str(tmp_path / "trainer.py") in done.stderr
    assert "rename it, or run from another folder" in done.stderr
    assert "wrong file" not in done.stderr


def test_the_console_script_ignores_files_in_the_current_folder(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / f"{package}.py").write_text(TRAP)
    script = Path(sys.executable).parent / "affect"
    done = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: affect" in done.stdout


def test_an_import_of_the_library_ignores_a_users_own_trainer(tmp_path: Path) -> None:
    (tmp_path / "trainer.py").write_text("mine = True\n")
    done = python(
        tmp_path, f"import sys; sys.path.insert(1, {str(HOME)!r}); from affectdata import Lake; import trainer"
    )
    assert done.returncode == 0, done.stderr


def test_a_package_that_was_overwritten_in_place_is_noticed(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('"""A room of affectdata."""\n')
    (tmp_path / "trainer" / "__init__.py").write_text("from somewhere import Trainer\n")
    script = (
        f"import sys; sys.path.insert(0, {str(HOME)!r})\n"
        "from affectdata.installation import check_packages, PackageCollisionError\n"
        "from pathlib import Path\n"
        f"sys.path[:] = [{str(tmp_path)!r}] + [p for p in sys.path if p != {str(HOME)!r}]\n"
        "for name in list(sys.modules):\n"
        "    if name.split('.')[0] in ('affectdata', 'manifests'): del sys.modules[name]\n"
        "try:\n"
        f"    check_packages(home=Path({str(tmp_path)!r}))\n"
        "except PackageCollisionError as error:\n"
        "    sys.exit(error.package)\n"
    )
    done = python(tmp_path, script)
    assert done.stderr.strip() == "trainer"


def test_a_package_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PackageCollisionError, match="no_such_room"):
        check_packages(["no_such_room"], tmp_path)


@pytest.mark.parametrize(
    "message",
    [
        "libGL.so.1: cannot open shared object file: No such file or directory",
        "libgthread-2.0.so.0: cannot open shared object file: No such file or directory",
        "libglib-2.0.so.0: cannot open shared object file: No such file or directory",
    ],
)
def test_a_missing_system_library_is_recognised(message: str) -> None:
    text = missing_library(ImportError(message))
    assert message.split(":")[0] in text
    assert "apt-get install" in text


def test_another_import_error_is_not_a_missing_system_library() -> None:
    assert missing_library(ImportError("No module named 'x'")) == ""
