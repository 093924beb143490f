"""The Examples block under each command's help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.markup import escape

Command = TypeVar("Command", bound=Callable[..., None])

_WIDTH = 70
"""Room for a line and its comment, so that with `$`, `#` and margins they fit in 80 columns."""


def examples(*pairs: tuple[str, str]) -> str:
    """Rich markup of command lines, each with what it does (or nothing).

    Comments stand to the right in one column as far as 76 columns allow, else above their line.
    """
    beside = _comment_column(pairs)
    text = ["[bold]Examples[/bold]"]
    for line, about in pairs:
        comment = f"[dim]# {escape(about)}[/dim]" if about else ""
        if comment and len(line) > beside:
            text += [comment, f"[dim]$[/dim] {escape(line)}"]
        else:
            text.append(f"[dim]$[/dim] {escape(line)}{' ' * (beside - len(line) + 2) + comment if comment else ''}")
    return "\n".join(text)


def _comment_column(pairs: Sequence[tuple[str, str]]) -> int:
    """Longest line that may have its comment beside it while all shorter ones have theirs in the same column."""
    commented = [(len(line), len(about)) for line, about in pairs if about]
    for width in sorted((length for length, _ in commented), reverse=True):
        if all(width + about <= _WIDTH for length, about in commented if length <= width):
            return width
    return 0


def with_examples(*pairs: tuple[str, str]) -> Callable[[Command], Command]:
    """Attach an Examples block to a command function."""

    def attach(command: Command) -> Command:
        command.__dict__["epilog"] = examples(*pairs)
        return command

    return attach
