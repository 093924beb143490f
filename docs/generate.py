"""Write the parts of the documentation that the program knows itself: docs/cli.md, and the fields in docs/recipes.md.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 if they are not up to date
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.main
from rich.text import Text

from cli.app import app
from cli.training import recipe_fields
from trainer.recipe import Recipe

DOCS = Path(__file__).resolve().parent
MARK = "<!-- fields -->\n"


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
    empty = value is None or value is False or callable(value) or value == ()
    return "" if empty else f" Default: {getattr(value, 'value', value)}."


def fields() -> str:
    """Every field of a recipe as a table."""
    rows = [f"| `{name}` | {default and f'`{default}`'} | {about} |" for name, default, about in recipe_fields(Recipe)]
    return "\n".join(["| field | default | meaning |", "|---|---|---|", *rows]) + "\n"


def pages() -> dict[Path, str]:
    """File -> what it should hold."""
    recipes = DOCS / "recipes.md"
    written = recipes.read_text(encoding="utf-8").partition(MARK)[0]
    text = "\n".join(command_line())
    return {DOCS / "cli.md": re.sub(r"\n{3,}", "\n\n", text), recipes: written + MARK + fields()}


def main() -> None:
    """Write the pages, or compare them."""
    for path, text in pages().items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/{path.name} is not up to date: run `make docs`")


if __name__ == "__main__":
    main()
