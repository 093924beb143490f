"""Jobs as tasks of a Ray cluster, a bounded number at a time; what a task leaves behind lies on a shared disk.

A task whose node dies is given to another one, so a job must be one that can be done again any number of times.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from manifests.errors import AffectError

Crew = TypeVar("Crew")
Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 4
"""Tasks handed to Ray per core of the cluster: enough that none waits, few enough that jobs are not all in memory."""

_PATIENCE = 10
"""Seconds to wait for the cluster to answer."""


@dataclass(frozen=True)
class Cluster:
    """Where jobs go, and what each of them takes.

    Attributes:
        command: The command that has jobs, for messages.
        address: Of the Ray cluster; None: as Ray finds one, else one on this machine.
        cpus: Cores per task; of the largest node, if that has fewer.
        gpus: GPUs per task.
    """

    command: str
    address: str | None
    cpus: int = 1
    gpus: int = 0

    def run(
        self,
        work: Callable[[Crew, Job], Result],
        crew: Crew,
        jobs: Iterable[Job],
        done: Callable[[Job, Result], None],
    ) -> None:
        """Do the jobs, in any order.

        Args:
            work: A function of a module, which every node has installed.
            crew: What all jobs share.
            jobs: Taken as tasks become free.
            done: Is told of each job that is done, here.

        Raises:
            AffectError: Ray is not installed, its cluster cannot be reached, has no GPU where one is asked for, or
                gave a job up; or what `work` raised of that kind.
        """
        ray = self._ray()
        started = not ray.is_initialized()
        try:
            if started:
                _knock(self.address)
                ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise AffectError(
                f"{self.command}: no Ray cluster at {self.address or 'this machine'}",
                found=str(error).splitlines()[0],
                then=f"ray start --head, then affect {self.command} ... --engine ray --address HOST:6379",
            ) from None
        try:
            self._run(ray, work, crew, jobs, done)
        finally:
            if started:
                ray.shutdown()

    def not_shared(self, folder: Path) -> AffectError:
        """The error of a task that has ended well and left nothing that can be seen from here."""
        return AffectError(
            f"{self.command}: what another node made is not in {folder}",
            expected="a lake on a file system that all nodes of the cluster share, under the same path",
        )

    def _ray(self) -> Any:
        try:
            import ray
        except ImportError:
            raise AffectError(f"{self.command}: --engine ray needs Ray", then="pip install 'affectdata[ray]'") from None
        return ray

    def _run(self, ray: Any, work: Any, crew: Any, jobs: Iterable[Any], done: Callable[[Any, Any], None]) -> None:
        if self.gpus > ray.cluster_resources().get("GPU", 0):
            raise AffectError(
                f"{self.command}: the Ray cluster has no GPU", expected=f"{self.gpus} per task", then="--device cpu"
            )
        nodes = [node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"]]
        cpus = min(self.cpus, int(max(nodes, default=1)))
        # retried without end: a job can be done again any number of times
        task = ray.remote(num_cpus=cpus, num_gpus=self.gpus, max_retries=-1)(work)
        most = max(2, int(_AHEAD * ray.cluster_resources().get("CPU", 1) // max(cpus, 1)))
        running: dict[Any, Any] = {}
        for job in jobs:
            if len(running) >= most:
                self._take(ray, running, done)
            running[task.remote(crew, job)] = job
        while running:
            self._take(ray, running, done)

    def _take(self, ray: Any, running: dict[Any, Any], done: Callable[[Any, Any], None]) -> None:
        """Wait for one task."""
        (ended,), _ = ray.wait(list(running), num_returns=1)
        job = running.pop(ended)
        try:
            result = ray.get(ended)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, AffectError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise AffectError(
                f"{self.command}: the Ray cluster gave a part of the work up",
                found=str(error).splitlines()[0],
                then="run the same command again: what is finished stays",
            ) from None
        done(job, result)


def _knock(address: str | None) -> None:
    """Fail at once where nobody listens; Ray would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "//" not in host:
        socket.create_connection((host, int(port)), _PATIENCE).close()
