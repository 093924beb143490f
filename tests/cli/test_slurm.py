"""The job script of docs/slurm.md starts a run, queues itself again when the run was stopped, and then resumes it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from cli import training
from cli.errors import run
from manifests.errors import RunStoppedError

PAGE = (Path(__file__).parents[2] / "docs/slurm.md").read_text(encoding="utf-8")
SRUN = """#!/bin/bash
echo "srun $@" >> calls
mkdir -p runs/mine; touch runs/mine/facts.json
exit $(head -1 codes)
"""


def test_the_job_script_queues_a_stopped_run_again_and_resumes_it(tmp_path: Path) -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    (tmp_path / "job.sbatch").write_text(script)
    for name, text in (("srun", SRUN), ("scontrol", '#!/bin/bash\necho "scontrol $@" >> calls\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "AFFECT_LAKE": "lake"}
    for code in (75, 0):
        (tmp_path / "codes").write_text(f"{code}\n")
        done = subprocess.run(
            ["bash", "job.sbatch", "demo", "mine"],
            cwd=tmp_path,
            env={**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            check=False,
        )
        assert done.returncode == code
    machines = "--devices 4 --nodes 2"
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"srun affect --lake lake train demo --run mine {machines}",
        "scontrol requeue 7",
        f"srun affect --lake lake train runs/mine/recipe.yaml --run mine --resume {machines}",
    ]


def test_a_stopped_run_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise RunStoppedError("run mine was asked to stop", then="affect train ... --resume goes on there")

    monkeypatch.setattr(training, "_runs_folder", stopped)
    assert run(["runs"]) == 75
    assert "--resume goes on there" in capsys.readouterr().err
