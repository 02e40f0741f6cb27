"""Parallel runs: where the workers are, and what happens when they are lost."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from ....errors import UsageError
from .cluster_run import ClusterRun, SchedulerLostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from distributed import Client

    from ..progress import Reporter
    from ..steps.time_and_memory import Stopwatch
    from ..task_run import TaskRun
    from .cluster_run import Cost
    from .places import Scheduler, Workers
    from .terms import Terms

# A local cluster that was lost is started anew so many times.
_RESTARTS: Final = 3
# For reaching a scheduler.
_CONNECT_SECONDS: Final = 10


class _NotStartedError(SchedulerLostError):
    """The local cluster has not started, for the reason that is the cause of this."""


class Cluster:
    """A cluster that a run uses; a context manager, which ends a local one.

    A local cluster starts now, and is waited for when it is used.

    Args:
        workers: where it is.
        steps: number of jobs, so far as it is known; more workers are not started.
    """

    def __init__(self, workers: Workers, steps: int) -> None:
        self._workers = workers
        self._steps = steps
        self._local = workers.cluster(steps) if workers.local else None
        self._restarts = 0

    def __enter__(self) -> Self:
        """Reach the scheduler, if there is one already.

        Raises:
            UsageError: there is none at its address.
        """
        if self._local is None:
            with self._client():
                pass
        return self

    def __exit__(self, *_: object) -> None:
        if self._local is not None:
            self._local.close()

    def do(
        self, runs: Sequence[TaskRun], terms: Terms, cost: Cost, report: Reporter, watch: Stopwatch
    ) -> list[TaskRun]:
        """Do all jobs of some tasks on the cluster.

        Returns:
            tasks that cannot be sent to other processes, whose jobs are still to do.

        Raises:
            UsageError: the cluster cannot be used, or a task cannot make its model as it was asked for.
        """
        left = list(runs)
        aside: dict[TaskRun, str] = {}
        while left:
            try:
                with self._client() as client:
                    watch.workers = max(1, sum(client.nthreads().values()))
                    run = ClusterRun(client, terms, cost, report, watch)
                    try:
                        run.do(left)
                    finally:
                        aside |= run.set_aside
                break
            except SchedulerLostError as error:
                self._restart(error, report)
                left = [each for each in left if each not in aside and not each.done]
        for each, reason in aside.items():
            report.line(f"{each.info.spec} is computed in this process, since it cannot be sent to others ({reason}).")
        return list(aside)

    def _restart(self, error: SchedulerLostError, report: Reporter) -> None:
        """Start a local cluster anew.

        Raises:
            UsageError: the cluster is not one of ours, or was lost too often.
        """
        if isinstance(error, _NotStartedError) and self._restarts >= _RESTARTS:
            raise UsageError(_no_cluster("", error.__cause__ or error)) from error
        if self._local is None or self._restarts >= _RESTARTS:
            where = f"The scheduler {_address(self._workers.scheduler)}" if self._local is None else "The local cluster"
            raise UsageError(f"{where} is gone: what was finished is stored, and the same command resumes.") from error
        self._restarts += 1
        self._local.close()
        self._local = replace(self._workers, started=None).cluster(self._steps)
        report.line("The scheduler of the workers is gone; it is started again.")

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        """A client of the cluster.

        Raises:
            UsageError: there is no cluster at the address.
            SchedulerLostError: the local cluster has not started.
        """
        from distributed import Client  # noqa: PLC0415  # takes half a second, which a run in this process saves

        given = self._workers.scheduler
        if not isinstance(given, str):
            yield given
            return
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        try:
            address, certificates = (given, self._certificates) if self._local is None else self._local.access
            client = Client(address, set_as_default=False, security=_security(certificates), timeout=_CONNECT_SECONDS)
        except (OSError, ValueError, TypeError) as error:
            if self._local is not None:
                raise _NotStartedError from error
            raise UsageError(_no_cluster(given, error)) from error
        try:
            yield client
        finally:
            client.close(timeout=2)

    @property
    def _certificates(self) -> dict[str, str | None]:
        """Paths of the certificates and the key for a given scheduler; empty for dask's own configuration."""
        tls = self._workers.tls
        if not tls:
            return {}
        return {"tls_ca_file": tls.get("ca_file"), "tls_client_cert": tls.get("cert"), "tls_client_key": tls.get("key")}


def _security(certificates: Mapping[str, str | None]) -> Any:  # noqa: ANN401  # distributed has no types
    """Encryption of a connection; None for dask's own configuration.

    Args:
        certificates: paths or PEM texts by the names that dask gives them; empty if there are none.
    """
    from distributed import Security  # noqa: PLC0415  # takes half a second, which a run in this process saves

    return Security(**certificates, require_encryption=True) if certificates else None


def _address(scheduler: Scheduler) -> str:
    """Address of a scheduler."""
    return scheduler if isinstance(scheduler, str) else str(scheduler.scheduler_info().get("address", ""))


def _no_cluster(address: str, error: BaseException) -> str:
    """Message about a cluster that cannot be reached, or a local one that could not be started."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if not address:
        return f"The worker processes could not be started ({reason}): use --jobs 1."
    return f"There is no scheduler at {address} ({reason}): start one with 'dask scheduler', or use --jobs."
