"""Network weights: from a local folder if the user has one, else downloaded at a pinned revision and checked."""

from __future__ import annotations

import hashlib
import logging
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

FOLDER_VARIABLE = "AFFECT_WEIGHTS"
"""Environment variable that names a local folder of weights; a file there wins over the network."""


@dataclass(frozen=True, kw_only=True)
class Weights(ABC):
    """One file of weights, and the names it may have in a local folder.

    Attributes:
        file: Its name where it is published.
        sha256: Of that file.
        local: Further names looked for in the local folder.
    """

    file: str
    sha256: str
    local: tuple[str, ...] = ()

    @property
    @abstractmethod
    def page(self) -> str:
        """Where it is published."""

    @abstractmethod
    def _download(self) -> Path:
        """Path of the downloaded file; OSError where that fails."""

    def fetch(self) -> Path:
        """Path of the file on this machine.

        A file in the local folder is taken as it is, whatever its hash: what made a layer is recorded by
        `sha256_of` in the layer. A downloaded file must have the pinned hash.

        Raises:
            WeightsError: Neither there nor downloadable, or downloaded with another hash.
        """
        return self._in_folder() or self._downloaded()

    def _in_folder(self) -> Path | None:
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            return None
        found = [path for name in (*self.local, self.file) if (path := Path(folder) / name).is_file()]
        return found[0] if found else None

    def _downloaded(self) -> Path:
        names = " or ".join((*self.local, self.file))
        then = f"put {names} into a folder and set {FOLDER_VARIABLE}=THAT_FOLDER, or connect to the network"
        try:
            path = self._download()
        except OSError as error:
            raise WeightsError(
                f"weights {self.file} are not on this machine and cannot be downloaded",
                found=f"{type(error).__name__} from {self.page}{_folder_in_words()}",
                then=then,
            ) from error
        if (found := sha256_of(path)) != self.sha256:
            raise WeightsError(
                f"weights {path} are not the pinned ones", found=f"SHA-256 {found}", expected=self.sha256, then=then
            )
        return path


@dataclass(frozen=True, kw_only=True)
class HuggingFaceWeights(Weights):
    """Weights on Hugging Face: owner and name, and the full commit, so that the file can never change under us."""

    repository: str
    revision: str

    @property
    def page(self) -> str:
        """The repository's page."""
        return f"https://huggingface.co/{self.repository}"

    def _download(self) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        # Each retry would print a line of its own before our message.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        try:
            return Path(hf_hub_download(self.repository, self.file, revision=self.revision))
        except (LocalEntryNotFoundError, HfHubHTTPError) as error:
            raise OSError(f"{error}") from error


@dataclass(frozen=True, kw_only=True)
class TorchHubWeights(Weights):
    """Weights at a web address, kept where torch.hub keeps them, so that other users of the same file share it."""

    folder: str

    @property
    def page(self) -> str:
        """The address of the file."""
        return f"{self.folder}/{self.file}"

    def _download(self) -> Path:
        from torch import hub

        path = Path(hub.get_dir()) / "checkpoints" / self.file
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            hub.download_url_to_file(self.page, str(path), progress=False)
        return path


def _folder_in_words() -> str:
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return ""
    held = "holds none of these names" if Path(folder).is_dir() else "is no folder"
    return f"; {FOLDER_VARIABLE}={folder} {held}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file, on the CPU: safetensors, or a state dict that torch reads without running code.

    Raises:
        WeightsError: The file is damaged or holds something else than tensors.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every loader has errors of its own for a damaged file
        raise WeightsError(
            f"weights {path} cannot be loaded",
            found=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
            expected="a state dict of tensors",
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"weights {path} hold no state dict", found=type(state).__name__, expected="name -> tensor")
    return state
