"""The same chunks on a Ray cluster: each chunk is a task, and its files are what the task leaves behind.

The lake must lie on a file system that all nodes see, and so must the dataset's media.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from affectdata.cluster import Cluster
from affectdata.faces.making import Crew, Job, Told, make
from affectdata.faces.work import Worker


def make_on_ray(jobs: Iterator[Job], crew: Crew, told: Told) -> None:
    """Make chunks as tasks of a Ray cluster.

    Raises:
        AffectError: See `Cluster.run`; or a chunk is not on a disk that this machine shares.
    """
    options = crew.options
    cluster = Cluster("align", options.address, options.workers, int(options.device.startswith("cuda")))

    def done(job: Job, made: tuple[int, int]) -> None:
        if not job.files.finished():
            raise cluster.not_shared(job.files.folder)
        told(*made)

    cluster.run(_made, crew, jobs, done)


def _made(crew: Crew, job: Job) -> tuple[int, int]:
    """Make one chunk, unless it is there: number of its samples and crops."""
    if not job.files.finished():
        make([job], _worker(crew), crew.options, lambda _samples, _crops: None)
    return job.files.samples, job.files.crops


@lru_cache(maxsize=1)
def _worker(crew: Crew) -> Worker:
    """The worker of this process: networks are loaded once."""
    return crew.worker()
