"""What can go wrong outside of a recipe while it trains or looks, in words, with the command that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from manifests.errors import RunError
from manifests.storage import storage_errors
from trainer.recipe import Recipe
from trainer.run import RECIPE, another

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""How PyTorch words it where it raises a plain RuntimeError."""


@contextmanager
def failures(run_dir: Path, recipe: Recipe) -> Iterator[None]:
    """Turn a full disk and the end of memory into errors that say what to do; the run stays unfinished.

    Raises:
        StorageError: The disk refuses; `--resume` goes on from the last state that was written whole.
        RunError: Out of memory.
    """
    resume = f"affect train {run_dir / RECIPE} --run {run_dir.name} --resume"
    try:
        with storage_errors(run_dir, then=f"free space, then {resume}"):
            yield
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
        batch = recipe.train.batch
        raise RunError(
            f"run {run_dir.name} needs more memory than there is",
            found=_said(error),
            expected=f"room for a step of {batch} pictures",
            then=f"{another(run_dir, f'train.batch={max(1, batch // 2)}')}, or train.precision=bf16-mixed instead; if "
            f"other programs held the memory, end them and {resume}",
        ) from None


@contextmanager
def looking_failures(run: str, pictures: int, device: str) -> Iterator[None]:
    """Turn the end of memory into an error that says what to do, where a finished run looks at pictures.

    Args:
        run: Name of the run.
        pictures: How many it looks at together.
        device: cpu or cuda.

    Raises:
        RunError: Out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
        free = "end other programs that hold memory, then the same command"
        raise RunError(
            f"run {run} needs more memory than there is to look at pictures",
            found=_said(error),
            expected=f"room for {pictures} pictures together on {device}",
            then=free if device == "cpu" else f"the same command with --device cpu; or {free}",
        ) from None


def _no_memory(error: Exception) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(error).lower() for words in _NO_MEMORY)


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
