"""The built wheel, installed into an environment of its own, is whole and runs from anywhere. Needs no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from affectdata.installation import PACKAGES

REPOSITORY = Path(__file__).resolve().parent.parent

TRAP = "raise SystemExit('a file of the current folder was run')\n"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The finished process of a command that must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=REPOSITORY)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it. Its dependencies are those of this one, behind the wheel on the path.

    A `.pth` line adds the folder of the dependencies but not the `.pth` files inside it, so that the editable
    install of the checkout stays out.
    """
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    pip = [sys.executable, "-m", "pip", "--python", home / "bin" / "python", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=home)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder whose files bear the names of our packages and must not be imported."""
    for package in PACKAGES:
        (tmp_path / f"{package}.py").write_text(TRAP)
    return tmp_path


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(REPOSITORY).as_posix()
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - held == set()
    assert {name.split("/")[0] for name in held if "dist-info" not in name} == set(PACKAGES)
    assert any(name.startswith("trainer/recipes/") and name.endswith(".yaml") for name in held)
    assert any(name.startswith("affectdata/labels/tables/") for name in held)


def test_the_wheel_names_its_command_and_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "affect = cli:main" in archive.read(entry).decode()
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_affect_runs_from_a_folder_that_holds_trainer_py_and_cli_py(environment: Path, trapped: Path) -> None:
    assert "Usage: affect" in run(environment / "bin" / "affect", "--help", cwd=trapped).stdout
    listed = run(environment / "bin" / "affect", "datasets", "--csv", cwd=trapped).stdout
    assert "fer2013" in listed
    recipes = run(environment / "bin" / "affect", "train", "--list", cwd=trapped).stdout
    assert "demo" in recipes


def test_what_runs_is_the_wheel_and_not_the_checkout(environment: Path, trapped: Path) -> None:
    names = ", ".join(PACKAGES)
    python = [environment / "bin" / "python", "-P"]
    script = f"import {names}\nprint(*({', '.join(f'{p}.__file__' for p in PACKAGES)},), sep='\\n')"
    for file in run(*python, "-c", script, cwd=trapped).stdout.split():
        assert Path(file).is_relative_to(environment)


def test_the_lock_pins_every_requirement_and_names_no_index() -> None:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or line.startswith("-")]
    pinned = {line.split("==")[0].split("[")[0].lower() for line in lines if "==" in line}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    names = {re.split(r"[\[<>=~! ;]", requirement)[0].lower() for requirement in wanted}
    assert names - pinned == {"affectdata"}  # the dev extra asks for another extra of ours
