"""The command line of affectdata: commands parse, delegate and print; nothing heavy is imported before one runs."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Entry point of `affect`."""
    try:
        from affectdata.installation import check_packages

        check_packages()
    except ImportError as error:
        sys.exit(f"affect: {error}")
    from cli.errors import run

    sys.exit(run(sys.argv[1:]))
