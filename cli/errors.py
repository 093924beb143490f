"""What a command line does when something goes wrong: one message for the user's errors, a traceback for ours."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from affectdata.installation import missing_library
from manifests.errors import AffectError

USER_ERROR = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


class AffectGroup(TyperGroup):
    """The `affect` group: turns errors that are the user's to mend into a message and an exit code."""

    # Typer brings its own copy of click, whose context class has no public name: hence Any.
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AffectError as error:
            raise _failed(str(error), error.exit_code) from None
        except KeyboardInterrupt as stop:
            message = str(stop) or "stopped; nothing is lost: run the same command to resume"
            raise _failed(message, INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output (`| head`) has gone: not an error, but nothing more may be written.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except ImportError as error:
            if message := missing_library(error):
                raise _failed(message, USER_ERROR) from None
            raise


def _failed(message: str, code: int) -> typer.Exit:
    sys.stdout.flush()
    print(f"affect: {message}", file=sys.stderr)
    return typer.Exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code.

    Args:
        arguments: What follows `affect`.
    """
    from cli.app import app

    try:
        app(list(arguments), prog_name="affect")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except Exception:
        traceback.print_exc()
        print(
            "affect: this is an error in affectdata, not in your data. Please report it to its maintainers with the\n"
            "lines above, the command, and what `affect --version` prints. Your lake is as it was before the command.",
            file=sys.stderr,
        )
        return 1
    return 0
