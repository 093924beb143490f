"""The same chunks on a Ray cluster: each chunk is a task, and its files are what the task leaves behind.

The lake must lie on a file system that all nodes see, and so must the dataset's media. A task whose node dies is
given to another one; a chunk that is finished needs no second one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from affectdata.faces.making import Crew, Job, Told, make
from affectdata.faces.work import Worker
from manifests.errors import AffectError

_AHEAD = 4
"""Tasks handed to Ray per core of the cluster: enough that none waits, few enough that jobs are not all in memory."""


_PATIENCE = 10
"""Seconds to wait for the cluster to answer."""


def make_on_ray(jobs: Iterator[Job], crew: Crew, told: Told) -> None:
    """Make chunks as tasks of a Ray cluster.

    Raises:
        AffectError: Ray is not installed, its cluster cannot be reached, or it gave a chunk up.
    """
    ray = _ray()
    started = not ray.is_initialized()
    try:
        if started:
            _knock(crew.options.address)
            ray.init(address=crew.options.address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise AffectError(
            f"align: no Ray cluster at {crew.options.address or 'this machine'}",
            found=str(error).splitlines()[0],
            then="ray start --head, then affect align ... --engine ray --address HOST:6379",
        ) from None
    try:
        _run(ray, jobs, crew, told)
    finally:
        if started:
            ray.shutdown()


def _knock(address: str | None) -> None:
    """Fail at once where nobody listens; Ray would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "//" not in host:
        socket.create_connection((host, int(port)), _PATIENCE).close()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise AffectError("align: --engine ray needs Ray", then="pip install 'affectdata[ray]'") from None
    return ray


def _run(ray: Any, jobs: Iterator[Job], crew: Crew, told: Told) -> None:
    gpus = 1 if crew.options.device.startswith("cuda") else 0
    # retried without end: a chunk can be made again any number of times
    task = ray.remote(num_cpus=crew.options.workers, num_gpus=gpus, max_retries=-1)(_made)
    most = max(2, int(_AHEAD * ray.cluster_resources().get("CPU", 1) // crew.options.workers))
    running: dict[Any, Job] = {}
    for job in jobs:
        if len(running) >= most:
            _take(ray, running, told)
        running[task.remote(crew, job)] = job
    while running:
        _take(ray, running, told)


def _take(ray: Any, running: dict[Any, Job], told: Told) -> None:
    """Wait for one task."""
    (done,), _ = ray.wait(list(running), num_returns=1)
    job = running.pop(done)
    try:
        samples, crops = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, AffectError):
            raise cause from None
        raise
    except ray.exceptions.RayError as error:
        raise AffectError(
            "align: the Ray cluster gave a chunk up",
            found=str(error).splitlines()[0],
            then="run the same command again: chunks that are finished stay",
        ) from None
    if not job.files.finished():
        raise AffectError(
            f"align: a chunk made on another node is not in {job.files.folder}",
            expected="a lake on a file system that all nodes of the cluster share, under the same path",
        )
    told(samples, crops)


def _made(crew: Crew, job: Job) -> tuple[int, int]:
    """Make one chunk, unless it is there: number of its samples and crops."""
    if not job.files.finished():
        make([job], _worker(crew), crew.options, lambda _samples, _crops: None)
    return job.files.samples, job.files.crops


@lru_cache(maxsize=1)
def _worker(crew: Crew) -> Worker:
    """The worker of this process: networks are loaded once."""
    return crew.worker()
