"""Start of a cell process: as a Python of its own, or as a copy of one that has loaded the libraries already.

A Python of its own takes seconds to load torch and all plug-ins. On Linux each worker of a local cluster has a server
process that has loaded them and runs nothing. Its cell processes are copies (forks) of that: after the first one they
are there at once, so that a process that was lost costs no time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Final, Protocol, cast

from . import cell_process

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

# Loaded by the server process before it is copied.
_SERVED: Final = f"{__package__}.libraries"


class StartedProcess(Protocol):
    """A cell process that was started.

    Attributes:
        requests: messages to it.
        replies: messages from it.
        printed: what it prints.
        pid: its number.
    """

    @property
    def requests(self) -> IO[bytes]: ...  # noqa: D102  # see the class

    @property
    def replies(self) -> IO[bytes]: ...  # noqa: D102  # see the class

    @property
    def printed(self) -> IO[bytes]: ...  # noqa: D102  # see the class

    @property
    def pid(self) -> int: ...  # noqa: D102  # see the class

    def status(self, timeout: float) -> int | None:
        """Exit status, negative for a signal, waited for; None if the process has not ended by then."""

    def kill(self) -> None:
        """Kill the process and all that it has started."""


def can_be_served() -> bool:
    """Whether processes can be copies of a server process on this system."""
    return sys.platform == "linux" and "forkserver" in multiprocessing.get_all_start_methods()


class OwnPython:
    """Cell process that is a Python of its own."""

    def __init__(self) -> None:
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "MPLBACKEND": "Agg"}
        # set by dask's nannies for their own sake; it makes small torch operations twice as slow
        if environment.get("MALLOC_TRIM_THRESHOLD_") == "65536":
            del environment["MALLOC_TRIM_THRESHOLD_"]
        self._popen = subprocess.Popen(  # noqa: S603  # this very Python
            [sys.executable, "-P", "-m", cell_process.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self.requests = cast("IO[bytes]", self._popen.stdin)
        self.replies = cast("IO[bytes]", self._popen.stdout)
        self.printed = cast("IO[bytes]", self._popen.stderr)
        self.pid = self._popen.pid

    def status(self, timeout: float) -> int | None:
        """See :class:`StartedProcess`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._popen.wait(timeout)
        return None

    def kill(self) -> None:
        """See :class:`StartedProcess`."""
        _kill_group(self.pid)
        self._popen.kill()
        self._popen.wait()


class Served:
    """Cell process that is a copy of the server process of this worker."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_SERVED])
        ends = [context.Pipe(duplex=False) for _ in range(3)]
        (their_requests, requests), (replies, their_replies), (printed, their_printed) = ends
        theirs = (their_requests, their_replies, their_printed)
        self._process: ForkServerProcess = context.Process(target=_serve, args=theirs, daemon=True)
        self._process.start()
        for end in theirs:
            end.close()
        self.requests = os.fdopen(_own(requests), "wb")
        self.replies = os.fdopen(_own(replies), "rb", buffering=0)
        self.printed = os.fdopen(_own(printed), "rb", buffering=0)
        self.pid = cast("int", self._process.pid)

    def status(self, timeout: float) -> int | None:
        """See :class:`StartedProcess`."""
        self._process.join(timeout)
        return self._process.exitcode

    def kill(self) -> None:
        """See :class:`StartedProcess`."""
        _kill_group(self.pid)
        self._process.kill()
        self._process.join()


def _own(connection: Connection) -> int:
    """File descriptor of a connection, which is closed."""
    with connection:
        return os.dup(connection.fileno())


def _serve(requests: Connection, replies: Connection, printed: Connection) -> None:
    """Be a cell process, in the copy."""
    os.setsid()
    for connection, descriptor in ((requests, 0), (replies, 1), (printed, 2)):
        os.dup2(connection.fileno(), descriptor)
        connection.close()
    sys.stdin, sys.stdout, sys.stderr = open(0, closefd=False), open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115  # as long as the process
    cell_process.main()


def _kill_group(leader: int) -> None:
    """Kill a process and all that it has started in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(leader, signal.SIGKILL)
