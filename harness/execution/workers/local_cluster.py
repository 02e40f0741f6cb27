"""Local cluster: a dask scheduler and its workers on this machine, in a process of their own.

Started as ``python -m xrnnbench.harness.execution.workers.local_cluster``, which prints the scheduler's address and
ends when its standard input does, and so with the run that has started it. The scheduler thus never competes with the
run for one interpreter, and a script that runs a benchmark needs no ``if __name__ == "__main__"``, which processes
started from it would.

Whoever can connect to a scheduler or a worker of dask may have it run any code, and other users of a machine can reach
its loopback address. So all connections are by TLS, with certificates that are made for this cluster and that only its
processes and the run know.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from .process_start import can_be_served

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

MODULE: Final = __name__
LOOPBACK: Final = "127.0.0.1"
# What a client has to show and to know.
_OF_CLIENTS: Final = ("tls_ca_file", "tls_client_cert", "tls_client_key")


class LocalCluster:
    """A local cluster, which ends with this process; a context manager.

    Args:
        workers: number of worker processes.
        dashboard: address of the dashboard, such as ``":8787"``; empty for none.
    """

    def __init__(self, workers: int, dashboard: str = "") -> None:
        # a session of its own: Ctrl-C reaches the run only, which ends the cluster
        self._process = subprocess.Popen(  # noqa: S603  # this very Python
            [sys.executable, "-P", "-m", f"{__package__}.local_cluster", json.dumps([workers, dashboard])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"OMP_NUM_THREADS": "1", **os.environ, "MPLBACKEND": "Agg"},
            start_new_session=True,
        )
        self._access: tuple[str, dict[str, str]] | None = None

    @property
    def access(self) -> tuple[str, dict[str, str]]:
        """Address of the scheduler, waited for, and the certificates and the key that it asks for, as PEM texts.

        Raises:
            OSError: the cluster could not be started.
        """
        if self._access is None:
            assert self._process.stdout is not None  # noqa: S101  # it is a pipe
            said = self._process.stdout.readline().decode().strip()
            if not said.startswith("["):
                raise OSError(said or "the process that starts them has ended")
            address, certificates = json.loads(said)
            self._access = address, certificates
        return self._access

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the cluster and all its processes; nothing that they do is worth waiting for."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def _without_dashboard() -> type[Any]:
    """Class of the workers: dask's nannies, whose workers show no dashboard although their server has an address."""
    from distributed import Nanny  # noqa: PLC0415  # not for those who only start the process

    class Worker(Nanny):
        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # those of dask
            super().__init__(*args, **options | {"dashboard": False})

    return Worker


def main() -> None:
    """Run a cluster until the standard input ends; print how to reach it, or why it has not started."""
    own_output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(line: str) -> None:
        print(" ".join(line.split()), file=own_output, flush=True)

    # from now on, for a run may be killed while its workers are starting
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        workers, dashboard = json.loads(sys.argv[1])
        _run(workers, dashboard, say)
    except Exception as error:  # noqa: BLE001  # whatever dask finds
        say(f"{type(error).__name__}: {error}")
        # what has started ends with this process
        os._exit(1)


def _end_with_input() -> None:
    """End this process and all that it has started when the standard input ends."""
    sys.stdin.buffer.read()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _run(workers: int, dashboard: str, say: Callable[[str], None]) -> None:
    """Run a cluster for ever.

    Args:
        workers: number of workers.
        dashboard: address of the dashboard; empty for none.
        say: is told the address of the scheduler, and what a client needs.
    """
    import dask  # noqa: PLC0415  # not for those who only start the process
    from distributed import LocalCluster as Cluster  # noqa: PLC0415  # as above
    from distributed import Security  # noqa: PLC0415  # as above

    security = Security.temporary()

    # a worker that is killed from outside is no fault of its job, which is done by another one
    dask.config.set({"distributed.scheduler.allowed-failures": 100, "distributed.worker.daemon": False})
    # what dask sets for its own sake (MALLOC_TRIM_THRESHOLD_) makes small torch operations twice as slow
    dask.config.set({"distributed.nanny.pre-spawn-environ": {}})
    # what dask watches of itself, which nobody looks at, took 6 % of the time of a run on two cores
    dask.config.set(
        {
            "distributed.worker.profile.enabled": False,
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "10s",
        }
    )
    if can_be_served():
        # dask itself is loaded once, and not by each worker
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    with Cluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host=LOOPBACK,
        protocol="tls://",
        security=security,
        # without an address of its own, the server of status pages listens to every machine, dashboard or not
        dashboard_address=dashboard or f"{LOOPBACK}:0",
        worker_dashboard_address=f"{LOOPBACK}:0",
        scheduler_kwargs={"dashboard": bool(dashboard)},
        worker_class=_without_dashboard(),
        memory_limit=0,
        silence_logs=50,
        preload=[f"{__package__}.worker"],
    ) as cluster:
        certificates = {name: getattr(security, name) for name in _OF_CLIENTS}
        say(json.dumps([cluster.scheduler_address, certificates]))
        threading.Event().wait()


if __name__ == "__main__":
    main()
