"""Weights by name on the hub are downloaded once, by commit, and recorded so that they can be found again."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from manifests.errors import WeightsError
from trainer.networks.backbone import BackboneSpec, build_backbone
from trainer.networks.hub import hub_weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Answers for one repository, lab/faces, as the hub does."""

    files: ClassVar[dict[str, bytes]]
    asked: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        *_, revision, file = self.path.split("/")
        known = self.path.startswith("/lab/faces/resolve/") and revision in ("main", COMMIT)
        content = self.files.get(file, b"") if known else b""
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        if content:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        else:
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    torch.manual_seed(3)
    save_file(build_backbone(BackboneSpec("test_resnet")).network.state_dict(), tmp_path / "made.safetensors")
    return (tmp_path / "made.safetensors").read_bytes()


@pytest.fixture
def hub(tmp_path: Path, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    class Here(Hub):
        files: ClassVar = {"model.safetensors": weights, "README.md": b"x"}
        asked: ClassVar = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Here)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("AFFECT_WEIGHTS", raising=False)
    here = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", here)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", here + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield Here
    server.shutdown()
    server.server_close()


def test_weights_are_downloaded_once_and_recorded_by_commit_and_hash(hub: type[Hub], weights: bytes) -> None:
    backbone = build_backbone(BackboneSpec("test_resnet", f"hf:lab/faces@{COMMIT}"))
    assert backbone.report.facts == {
        "source": f"hf:lab/faces@{COMMIT}:model.safetensors",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    assert not backbone.report.missing
    times = len(hub.asked)
    again = build_backbone(BackboneSpec("test_resnet", f"hf:lab/faces@{COMMIT}:model.safetensors"))
    assert again.report == backbone.report
    assert len(hub.asked) == times  # a commit that is here needs no network
    assert build_backbone(BackboneSpec("test_resnet", "hf:lab/faces")).report == backbone.report  # what main is today


def test_a_file_of_the_weights_folder_stands_for_the_hub(
    hub: type[Hub], weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "lab").mkdir(parents=True)
    (tmp_path / "mine" / "lab" / "faces.safetensors").write_bytes(weights)
    monkeypatch.setenv("AFFECT_WEIGHTS", str(tmp_path / "mine"))
    assert hub_weights("hf:lab/faces").source == "hf:lab/faces from AFFECT_WEIGHTS"
    assert not hub.asked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:lab", "OWNER/NAME"),
        ("hf:lab/faces:README.md", "a file ending in .safetensors"),
        ("hf:lab/faces:other.safetensors", "no other.safetensors in the repository"),
        ("hf:lab/nobody", "set AFFECT_WEIGHTS to it"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_the_hub_has_not_is_one_refusal_with_a_way_out(name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        build_backbone(BackboneSpec("test_resnet", name))
