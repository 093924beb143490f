"""Network weights: from a local folder if the user has one, else downloaded at a pinned revision and checked."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from manifests.errors import WeightsError

FOLDER_VARIABLE = "AFFECT_WEIGHTS"
"""Environment variable that names a local folder of weights; a file there wins over the network."""


@dataclass(frozen=True)
class Weights:
    """One file of weights on Hugging Face, and the names it may have in a local folder.

    Attributes:
        repository: Owner and name on Hugging Face.
        revision: Full commit, so that the file can never change under us.
        file: Name of the file there.
        sha256: Of that file.
        local: Further names looked for in the local folder.
    """

    repository: str
    revision: str
    file: str
    sha256: str
    local: tuple[str, ...] = ()

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
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        # Each retry would print a line of its own before our message.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

        names = " or ".join((*self.local, self.file))
        then = f"put {names} into a folder and set {FOLDER_VARIABLE}=THAT_FOLDER, or connect to the network"
        try:
            path = Path(hf_hub_download(self.repository, self.file, revision=self.revision))
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            raise WeightsError(
                f"weights {self.file} are not on this machine and cannot be downloaded",
                found=f"{type(error).__name__} from https://huggingface.co/{self.repository}",
                then=then,
            ) from error
        if (found := sha256_of(path)) != self.sha256:
            raise WeightsError(
                f"weights {path} are not the pinned ones", found=f"SHA-256 {found}", expected=self.sha256, then=then
            )
        return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
