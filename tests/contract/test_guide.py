"""The dataset that docs/add-a-dataset.md adds keeps the contract: its two files are put into the package and tested."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "add-a-dataset.md"

RUN = """
import sys
import affectdata.datasets, affectdata.synthetic, pytest
affectdata.datasets.__path__.append(sys.argv[1] + "/affectdata/datasets")
affectdata.synthetic.__path__.append(sys.argv[1] + "/affectdata/synthetic")
sys.exit(pytest.main(["-n0", "-rp", "-p", "no:cacheprovider", "tests/contract/test_contract.py",
                      "tests/affectdata/synthetic/test_twins.py", "-k", "smiles"]))
"""


def code_blocks(page: str) -> dict[str, str]:
    """File that a block names -> its code."""
    return dict(re.findall(r"<!-- (\S+\.py) -->\n```python\n(.*?)```\n", page, re.DOTALL))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    blocks = code_blocks(PAGE.read_text(encoding="utf-8"))
    assert sorted(blocks) == ["affectdata/datasets/smiles.py", "affectdata/synthetic/smiles.py"]
    for name, code in blocks.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(code, encoding="utf-8")
    return folder


def test_the_dataset_of_the_guide_keeps_the_contract(files: Path) -> None:
    command = [sys.executable, "-c", RUN, str(files)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert done.stdout.count("PASSED") >= 15


def test_the_code_of_the_guide_is_as_clean_as_the_rest(files: Path) -> None:
    for tool in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *tool, "--config", str(REPOSITORY / "pyproject.toml"), str(files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
