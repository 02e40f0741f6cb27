"""Where the jobs of a run are done: in its own process, in others of this machine, or on a cluster.

Loads neither torch nor dask, so that a run with nothing to do ends at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from ....errors import UsageError
from .local_cluster import LocalCluster

# Address of a dask scheduler, or a client of distributed, which is not imported here.
Scheduler: TypeAlias = Any


@dataclass(frozen=True)
class Workers:
    """Where the jobs of a run are done.

    Attributes:
        jobs: number of worker processes on this machine; 1 does all jobs in the process of the run.
        scheduler: address of the scheduler of a cluster that is there already, or a client of it; empty for none.
        tls: files for an encrypted connection, by the names of dask's options: ``ca_file``, ``cert``, ``key``.
        dashboard: address of the dashboard of the local cluster; empty for none.
        started: the local cluster, if it was started already; see :meth:`starting`.
    """

    jobs: int = 1
    scheduler: Scheduler = ""
    tls: Mapping[str, str] = field(default_factory=dict)
    dashboard: str = ""
    started: LocalCluster | None = None

    @classmethod
    def chosen(cls, jobs: int | None, scheduler: Scheduler = "", dashboard: str = "", **tls: str) -> Workers:
        """Workers as they are asked for.

        Args:
            jobs: number of worker processes; None for all cores.
            scheduler: see the attributes.
            dashboard: see the attributes.
            **tls: see the attributes; what is empty is left out.

        Raises:
            UsageError: the number is none, or two things are asked for that exclude each other.
        """
        tls = {name: file for name, file in tls.items() if file}
        if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
            raise UsageError(f"--jobs {jobs} is no number of processes: give 1 or more, or leave it out for all cores.")
        if isinstance(scheduler, str) and scheduler and not scheduler.startswith(("tcp://", "tls://")):
            raise UsageError(f"--scheduler {scheduler} is no address such as tcp://127.0.0.1:8786 or tls://….")
        if tls and not (isinstance(scheduler, str) and scheduler.startswith("tls://")):
            raise UsageError("--tls-ca-file, --tls-cert and --tls-key are for --scheduler tls://…: leave them out.")
        for name, file in tls.items():
            if not Path(file).is_file():
                raise UsageError(f"--tls-{name.replace('_', '-')} {file}: there is no such file.")
        return cls(all_cores() if jobs is None else jobs, scheduler, tls, dashboard)

    def starting(self) -> Workers:
        """The same workers, of which those of this machine are started now, while the run loads its libraries."""
        return self if self.in_process or not self.local else replace(self, started=self.cluster(self.jobs))

    def cluster(self, most: int) -> LocalCluster:
        """The local cluster, started now if it was not yet.

        Args:
            most: number of workers that have something to do.
        """
        return self.started or LocalCluster(max(1, min(self.jobs, most)), self.dashboard)

    @property
    def in_process(self) -> bool:
        """Whether all jobs are done in the process of the run."""
        return self.jobs == 1 and self.local

    @property
    def local(self) -> bool:
        """Whether all jobs are done on this machine."""
        return isinstance(self.scheduler, str) and not self.scheduler


def all_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
