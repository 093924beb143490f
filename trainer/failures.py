"""What can go wrong outside of a recipe while it trains, in words, with the command that goes on."""

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
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not (known or any(words in str(error).lower() for words in _NO_MEMORY)):
            raise
        batch = recipe.train.batch
        raise RunError(
            f"run {run_dir.name} needs more memory than there is",
            found=(str(error) or type(error).__name__).splitlines()[0][:200],
            expected=f"room for a step of {batch} pictures",
            then=f"{another(run_dir, f'train.batch={max(1, batch // 2)}')}, or train.precision=bf16-mixed instead; if "
            f"other programs held the memory, end them and {resume}",
        ) from None
