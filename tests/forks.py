"""Processes that a test may kill: forks of one that has imported everything, so that each costs only its work.

What happens in them is what a command of a user does; a kill falls on the work and not on imports.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import affectdata.datasets

READERS = [module.name for module in pkgutil.iter_modules(affectdata.datasets.__path__, "affectdata.datasets.")]
DATA = ("pandas", "pytest", "affectdata.faces.align", "affectdata.ingest", "cli.app", "typer._adapters", *READERS)
"""What ingest and align import sooner or later."""

_CONTEXT = multiprocessing.get_context("forkserver")
_PATIENCE_S = 120
_imported: tuple[str, ...] = ()


def fork_from(*modules: str) -> None:
    """From now on `started` forks a process that has imported these modules."""
    global _imported
    if modules != _imported:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # a running one has imported others
        _CONTEXT.set_forkserver_preload([__name__, *modules])
        _imported = modules


def started(
    work: Callable[..., object], *arguments: object, output: Path | None = None, **environment: str
) -> BaseProcess:
    """A process that does `work(*arguments)`.

    Args:
        work: A function at the top of a module.
        output: File that receives what it prints.
        environment: Variables, such as AFFECT_KILL_AT; an empty one names no kill point.
    """
    process = _CONTEXT.Process(target=_work, args=(work, arguments, output, environment))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Exit code of a process, waited for; that of a killed one is the negative number of the signal."""
    process.join(_PATIENCE_S)
    return process.exitcode


def _work(
    work: Callable[..., object], arguments: Sequence[object], output: Path | None, environment: dict[str, str]
) -> None:
    os.environ |= environment
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if output is not None:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
    work(*arguments)
