"""Write the parts of the documentation that the program knows itself.

docs/cli.md, the fields in docs/recipes.md, and the sizes of readers in docs/add-a-dataset.md.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 if they are not up to date
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from statistics import median_high
from types import ModuleType
from typing import TypeGuard, cast

import typer.main
from rich.text import Text

from affectdata.datasets import registry
from cli.app import app
from cli.training import recipe_fields
from trainer.recipe import Recipe

DOCS = Path(__file__).resolve().parent
MARK = "<!-- fields -->\n"
SIZES = ("<!-- sizes -->\n", "<!-- /sizes -->\n")


def command_line() -> Iterator[str]:
    """docs/cli.md: every command with its arguments, options and examples."""
    group = typer.main.get_group(app)
    yield "# The command line\n"
    yield "The same as `affect COMMAND --help`. Options in front of the command hold for all of them.\n"
    yield from _parameters(group)
    for name, command in group.commands.items():
        arguments = [_argument(p) for p in command.params if p.param_type_name == "argument"]
        yield f"## affect {' '.join([name, *arguments])}\n"
        yield " ".join((command.help or "").split()) + "\n"
        yield from _parameters(command)
        plain = Text.from_markup(command.epilog or "").plain.split("\n")[1:]
        yield "\n".join(f"    {line}" for line in plain) + "\n"


def _argument(parameter: typer.core.TyperArgument) -> str:
    text = f"{parameter.metavar or parameter.name.upper()}{'...' if parameter.nargs != 1 else ''}"
    return text if parameter.required else f"[{text}]"


def _parameters(command: typer.core.TyperCommand | typer.core.TyperGroup) -> Iterator[str]:
    rows = []
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        name = ", ".join(parameter.opts) if is_option else parameter.metavar or parameter.name.upper()
        if is_option and not parameter.is_flag:
            name += f" {parameter.metavar or _choices(parameter)}"
        rows.append(f"| `{name}` | {parameter.help}{_default(parameter)} |")
    yield "\n".join(["| | |", "|---|---|", *rows]) + "\n"


def _choices(parameter: typer.core.TyperOption) -> str:
    choices = parameter.type_descriptor.choices
    return (
        "/".join(str(choice.value) for choice in choices) if choices else parameter.type_descriptor.annotation.__name__
    )


def _default(parameter: typer.core.TyperOption) -> str:
    shown = getattr(parameter, "show_default", None)
    value = shown if isinstance(shown, str) else parameter.default
    empty = value is None or value is False or callable(value) or value in ("", ())
    return "" if empty else f" Default: {getattr(value, 'value', value)}."


def fields() -> str:
    """Every field of a recipe as a table."""
    rows = [f"| `{name}` | {default and f'`{default}`'} | {about} |" for name, default, about in recipe_fields(Recipe)]
    return "\n".join(["| field | default | meaning |", "|---|---|---|", *rows]) + "\n"


def code_lines(source: str) -> int:
    """Lines of a Python file that hold code: without blank ones, comments, docstrings and CARD."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for t in tokens if t.type not in silent for line in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or _is_card(node):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def _is_card(node: ast.AST) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["CARD"]


def reader_sizes() -> str:
    """The smallest and the median reader in lines of code, parsers in files of their own included."""
    sizes = {}
    for name, module in registry().items():
        file = Path(inspect.getfile(cast(ModuleType, module)))
        parts = [file, *file.parent.glob(f"{file.stem}_*.py")]
        sizes[name] = sum(code_lines(part.read_text(encoding="utf-8")) for part in parts)
    smallest = min(sizes, key=lambda name: sizes[name])
    least, median = sizes[smallest], median_high(sizes.values())
    return (
        f"Of the {len(sizes)} readers the smallest, {smallest}, has {least} lines of code, the median {median}:\n"
        "without docstrings, comments and CARD, with the parsers that have files of their own.\n"
    )


def pages() -> dict[Path, str]:
    """File -> what it should hold."""
    guide = DOCS / "add-a-dataset.md"
    before, _, rest = guide.read_text(encoding="utf-8").partition(SIZES[0])
    guided = before + SIZES[0] + reader_sizes() + SIZES[1] + rest.partition(SIZES[1])[2]
    recipes = DOCS / "recipes.md"
    written = recipes.read_text(encoding="utf-8").partition(MARK)[0]
    text = "\n".join(command_line())
    return {DOCS / "cli.md": re.sub(r"\n{3,}", "\n\n", text), recipes: written + MARK + fields(), guide: guided}


def main() -> None:
    """Write the pages, or compare them."""
    for path, text in pages().items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/{path.name} is not up to date: run `make docs`")


if __name__ == "__main__":
    main()
