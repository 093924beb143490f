"""The documentation says what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import typer.main

from affectdata.datasets.table_map import LabelColumns, SampleColumns, TableMap, parse_map
from cli.app import app
from manifests import schema

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_command_that_a_page_names_exists() -> None:
    commands = {*typer.main.get_group(app).commands, "COMMAND"}
    named = {
        match[1]
        for page in PAGES
        for match in re.finditer(r"(?:^|[`$ ])affect (?:--lake \S+ )*([A-Za-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {name for name in named if not name.startswith("-")} <= commands


def test_every_kind_of_layer_is_described() -> None:
    text = (REPOSITORY / "docs" / "lake.md").read_text()
    assert [kind for kind in schema.KINDS if kind not in text] == []


def toml_blocks(page: Path) -> list[str]:
    """Indented blocks of a page that are TOML."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page.read_text(), re.MULTILINE)
    return [dedent(block) for block in blocks if re.search(r"^\s*(file|column|v) = ", block, re.MULTILINE)]


def test_the_maps_of_the_table_page_are_maps() -> None:
    whole, *parts = toml_blocks(REPOSITORY / "docs" / "table.md")
    assert parse_map(whole).labels["human"].expression == "emotion"
    assert len(parts) == 2
    for part in parts:
        parse_map(whole + part)


def test_the_table_page_names_every_key() -> None:
    text = (REPOSITORY / "docs" / "table.md").read_text()
    keys = {*TableMap.model_fields, *SampleColumns.model_fields, *LabelColumns.model_fields}
    assert sorted(key for key in keys if not re.search(rf"\b{key}\b", text)) == []


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_opens_with_the_two_commands() -> None:
    lines = [line.strip() for line in (REPOSITORY / "README.md").read_text().splitlines() if line.strip()]
    assert lines[0].startswith("# affectdata")
    assert [line.split("#")[0].strip() for line in lines[1:3]] == ["make demo", "make test"]
