"""Weights by their name on the Hugging Face hub: `hf:OWNER/NAME[@REVISION][:FILE]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

from manifests.errors import WeightsError
from trainer.networks.weights import WEIGHT_SUFFIXES, WEIGHTS_VARIABLE, local_weights

HUB = "hf:"
"""What a name on the hub begins with."""

_NAME = re.compile(r"(?P<repository>[^@:/\s]+/[^@:/\s]+)(?:@(?P<revision>[^@:\s]+))?(?::(?P<file>[^@:\s]+))?")
_FILES = ("model.safetensors", "pytorch_model.bin")
"""Files that are asked for, in order, where none is named."""


@dataclass(frozen=True)
class HubWeights:
    """A weights file of the hub on this machine, and the name under which it is recorded."""

    file: Path
    source: str
    """`hf:OWNER/NAME@COMMIT:FILE`: names the same bytes tomorrow; or the local file that stood for it."""


def hub_weights(name: str) -> HubWeights:
    """The weights of a name on the hub, downloaded once; `<OWNER>/<NAME>.*` in the folder of weights wins over it.

    A revision that is a commit asks the network for nothing once the file is here.

    Args:
        name: `hf:OWNER/NAME`, with `@REVISION` (a commit pins it) and `:FILE` where they matter.

    Raises:
        WeightsError: No such name, no connection, or no weights file in the repository.
    """
    match = _NAME.fullmatch(name.removeprefix(HUB))
    if match is None:
        raise WeightsError(f"weights {name}", expected=f"{HUB}OWNER/NAME, {HUB}OWNER/NAME@REVISION or ...:FILE")
    repository, asked = match["repository"], match["file"]
    local = local_weights(repository)
    if local is not None:
        return HubWeights(local, f"{HUB}{repository} from {WEIGHTS_VARIABLE}")
    if asked and Path(asked).suffix not in WEIGHT_SUFFIXES:
        raise WeightsError(f"weights {name}", found=asked, expected=f"a file ending in {', '.join(WEIGHT_SUFFIXES)}")
    for file in (asked,) if asked else _FILES:
        try:
            path = Path(hf_hub_download(repository, file, revision=match["revision"]))
        except LocalEntryNotFoundError as error:
            raise _unreachable(name, repository, error) from None
        except EntryNotFoundError:
            continue
        except (OSError, HFValidationError) as error:  # no connection, no such repository or revision, or no access
            raise _unreachable(name, repository, error) from None
        commit = path.parts[path.parts.index("snapshots") + 1]
        return HubWeights(path, f"{HUB}{repository}@{commit}:{file}")
    raise WeightsError(
        f"weights {name}",
        found=f"no {asked or ' and no '.join(_FILES)} in the repository",
        expected="a weights file",
        then=f"name it: {HUB}{repository}:FILE",
    )


def _unreachable(name: str, repository: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"weights {name}",
        found=f"they cannot be downloaded: {(str(error) or type(error).__name__).splitlines()[0]}",
        expected="a connection, and a repository that one may read",
        then=f"save them as {repository}.safetensors in a folder and set {WEIGHTS_VARIABLE} to it",
    )
