"""Cell process: the process in which models are made, explained and scored, one job at a time.

It is started by :mod:`.supervision` as ``python -m xrnnbench.harness.execution.workers.cell_process`` and talks by its
standard streams, which it moves out of the reach of plug-ins: what a plug-in prints goes where errors go. It ends when
its worker does.

Messages to it:
    ("setup", setup): load this :class:`.terms.Setup`, which comes before the first job.
    ("job", job, model id, places): do this job, but for the metrics at these places.
    ("model", model): a model that it has asked for.
Messages from it:
    ("doing", place): the call of a plug-in begins; the place of a metric, or 0.
    ("part", place, record): a metric has scored.
    ("model?",): it does not have the model of the job.
    ("done", result, model, doubtful): the job is done; the model is that of a model job. The process is to be
        replaced if it is doubtful whether it is as it was.
    ("unsendable", module, reason): the job cannot be loaded here; the module that is missing, or "".
    ("refused", sentence): it cannot compute what the run would.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import select
import signal
import sys
import threading
from typing import IO, Final

_DEATH_OF_PARENT: Final = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Do jobs until the worker closes the stream."""
    requests, replies = _own_streams()
    _end_with_worker(requests.fileno())
    faulthandler.enable(open(os.dup(2), "w"))  # noqa: SIM115, PTH123  # open as long as the process
    # what libraries print when they are imported is no message
    from .cell_server import CellServer  # noqa: PLC0415

    CellServer(requests, replies).serve()


def _own_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Streams to and from the worker, moved away from the standard streams and above the usual numbers."""
    ends = [_moved(descriptor) for descriptor in (0, 1)]
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # a device
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return os.fdopen(ends[0], "rb", buffering=0), os.fdopen(ends[1], "wb")


def _moved(descriptor: int) -> int:
    """A copy of a file descriptor with a high number; the original is free for something else."""
    try:
        import fcntl  # noqa: PLC0415  # not on every system
        import resource  # noqa: PLC0415  # as above
    except ImportError:  # Windows
        return os.dup(descriptor)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    high = 1000 if most == resource.RLIM_INFINITY else min(1000, most - 10)
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, high)


def _end_with_worker(requests: int) -> None:
    """End when the worker ends, even in the middle of a job that never returns.

    Args:
        requests: file descriptor that the worker writes to, and nobody else.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGKILL)
    # Ctrl-C in a terminal reaches all processes of the group; only the run itself answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(select, "poll"):
        threading.Thread(target=_watch, args=(requests,), daemon=True).start()


def _watch(requests: int) -> None:
    """End the process as soon as the other end of the stream is closed."""
    poll = select.poll()
    poll.register(requests, 0)  # hanging up is told in any case
    poll.poll()
    os._exit(1)


if __name__ == "__main__":
    main()
