"""Supervision of a cell process: it gets one job at a time, and is killed with it if it takes too long or too much.

A process that ends by itself, or is ended by a signal, costs the job that it had. A job is tried again, in a new
process, at most twice, but not if it ran out of time. This module loads neither torch nor a plug-in.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psutil

from ....errors import CrashError
from ...results.cells import Failure
from ..guard.limits import UNLIMITED
from .frames import read_frame, write_frame
from .process_start import OwnPython

if TYPE_CHECKING:
    from collections.abc import Callable

    from ....errors import CellError
    from ..guard.limits import Limits
    from .process_start import StartedProcess
    from .terms import Terms

# Place of a process that ended before it had called a plug-in.
NOWHERE: Final = -1
# A job whose process ended is tried so many times in all.
TRIES: Final = 3
_INTERVAL: Final = 0.1
# Processes that the cell process has started are looked for so often: that takes longer than all else.
_CHILDREN_SECONDS: Final = 2.0
# A cell process ends a call that takes too long by itself, with its place in the plug-in; so much later it is killed.
_GRACE: Final = 5.0
# For starting the process and loading the job: no call of a plug-in yet, but no reason to wait for ever either.
_START_SECONDS: Final = 600.0
# A process that keeps more than this share of its limit after a job is replaced before the next.
_LEFT_OVER: Final = 0.5
_TAIL: Final = 20_000
# A process is killed by Linux when the thread that has started it ends, so all are started by one that does not.
_STARTER: Final = ThreadPoolExecutor(1, thread_name_prefix="xrnnbench-starter")


@dataclass
class Reply:
    """Reply to a job, of plain values, so that a worker needs nothing to pass it on.

    Attributes:
        kind: ``"done"``; ``"failed"`` if the process ended or was killed; ``"unsendable"`` if the job or its model
            cannot be loaded or sent; ``"refused"`` if the worker cannot compute what the run would.
        result: pickled result of a model or explain job.
        model: pickled model of a model job.
        parts: pickled records of a score job by the places of their metrics.
        failures: how the process ended, as JSON of a :class:`xrnnbench.harness.results.cells.Failure`, by the places
            of the metrics of a score job, or at 0; at :data:`NOWHERE` if no plug-in had been called yet.
        sentence: why the job cannot be loaded, or is refused.
        module: the module that is missing there, or "".
        seconds: wall time.
        tries: how many processes have tried.
    """

    kind: str = "done"
    result: bytes = b""
    model: bytes | None = None
    parts: dict[int, bytes] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    sentence: str = ""
    module: str = ""
    seconds: float = 0.0
    tries: int = 1


class _Ended(Exception):  # noqa: N818  # no error, but how a process ends
    """The process ended, or was killed, during a job.

    Attributes:
        failure: why.
        place: of the metric that was scoring, or 0.
        again: whether another try may help.
    """

    def __init__(self, failure: Failure, place: int, *, again: bool) -> None:
        super().__init__(failure.sentence)
        self.failure, self.place, self.again = failure, place, again


class Supervisor:
    """Gives jobs to a cell process, and replaces it when it ends.

    Attributes:
        terms: see :class:`.terms.Terms`; None if they are not known yet, as long as no job is done.
    """

    def __init__(self, terms: Terms | None = None, start: Callable[[], StartedProcess] = OwnPython) -> None:
        self.terms = terms
        self._start = start
        self._process: _Process | None = None

    def start(self) -> None:
        """Start the process ahead of its first job, so that it loads its libraries meanwhile.

        Raises:
            EOFError, OSError: it could not be started, for instance because its server has just been killed.
        """
        self._process = _STARTER.submit(_Process, self._start).result()

    def do(self, job: bytes, model_id: str, model: Callable[[], bytes], *, scores: bool = False) -> Reply:
        """Do a job.

        Args:
            job: the pickled job, with what is stored for it.
            model_id: names the model of the job.
            model: gives the pickled model.
            scores: whether it is a score job, of which each metric is tried on its own.
        """
        start = time.monotonic()
        reply, tried = Reply(tries=0), dict[int, int]()
        while True:
            reply.tries += 1
            try:
                self._ready().do(job, model_id, model, reply)
                break
            except _Ended as ended:
                self.close()
                tried[ended.place] = tried.get(ended.place, 0) + 1
                if ended.again and tried[ended.place] < TRIES:
                    continue
                reply.failures[ended.place] = _tried(ended.failure, tried[ended.place]).model_dump_json()
                if not scores or ended.place == NOWHERE:
                    reply.kind = "failed"
                    break
        reply.seconds = time.monotonic() - start
        if self._process is not None and (self._process.doubtful or self._process.swollen()):
            self.close()
        return reply

    def close(self) -> None:
        """End the cell process."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _ready(self) -> _Process:
        """The cell process with its terms, started if there is none.

        Raises:
            _Ended: it could not be started.
        """
        assert self.terms is not None  # noqa: S101  # a job comes with them
        if self._process is None:
            try:
                self.start()
            except (EOFError, OSError) as error:
                sentence = f"A process for it could not be started ({type(error).__name__}: {error})."
                raise _Ended(Failure(kind="CrashError", sentence=sentence), NOWHERE, again=True) from error
            assert self._process is not None  # noqa: S101  # as above
        if self._process.terms is not self.terms:
            self._process.set_up(self.terms)
        return self._process


class _Process:
    """A running cell process.

    Attributes:
        terms: those it was set up with; None until then.
        doubtful: whether a plug-in was interrupted in it, or has changed something.
    """

    def __init__(self, start: Callable[[], StartedProcess]) -> None:
        self.terms: Terms | None = None
        self.doubtful = False
        self._printed = bytearray()
        self._started = start()
        self._family: list[psutil.Process] = []
        self._counted = 0.0
        self._messages: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        for task in (self._receive, self._listen):
            threading.Thread(target=task, daemon=True).start()

    def set_up(self, terms: Terms) -> None:
        """Have the process load what it needs before its first job."""
        self.terms = terms
        self._send("setup", terms.setup)

    @property
    def _limits(self) -> Limits:
        return UNLIMITED if self.terms is None else self.terms.limits

    def do(self, job: bytes, model_id: str, model: Callable[[], bytes], reply: Reply) -> None:
        """Do a job; the reply is filled as its results come.

        Raises:
            _Ended: the process ended, or was killed.
        """
        place, deadline = NOWHERE, time.monotonic() + max(_START_SECONDS, self._limits.seconds or 0.0)
        self._send("job", job, model_id, frozenset((*reply.parts, *reply.failures)))
        while True:
            message = self._next(place, deadline)
            match message:
                case ("doing", place):
                    deadline = self._deadline()
                case ("part", scored, record):
                    reply.parts[scored] = record
                case ("model?",):
                    self._send("model", model())
                case ("done", result, made, doubtful):
                    reply.result, reply.model, self.doubtful = result, made, doubtful
                    return
                case ("unsendable", module, reason):
                    reply.kind, reply.module, reply.sentence = "unsendable", module, reason
                    return
                case ("refused", sentence):
                    reply.kind, reply.sentence = "refused", sentence
                    return
                case _:
                    raise AssertionError(f"no such message: {message[0]}")

    def swollen(self) -> bool:
        """Whether the process keeps so much memory that the next job would find too little."""
        limit = self._limits.memory_bytes
        return limit is not None and self._memory() > _LEFT_OVER * limit

    def kill(self) -> None:
        """Kill the process and all that it has started."""
        self._started.kill()
        with contextlib.suppress(OSError):
            self._started.requests.close()

    def _deadline(self) -> float:
        """When a call that begins now has to be done, on the monotonic clock."""
        seconds = self._limits.seconds
        return float("inf") if seconds is None else time.monotonic() + seconds + _GRACE

    def _next(self, place: int, deadline: float) -> tuple[Any, ...]:
        """The next message.

        Raises:
            _Ended: there will be none.
        """
        while True:
            try:
                message = self._messages.get(timeout=_INTERVAL)
            except queue.Empty:
                self._check(place, deadline)
                continue
            if message is None:
                raise _Ended(self._death(), place, again=True)
            return message

    def _check(self, place: int, deadline: float) -> None:
        """Compare time and memory with their limits.

        Raises:
            _Ended: one is passed.
        """
        if time.monotonic() > deadline:
            raise _Ended(self._failure(self._limits.time_error()), place, again=False)
        limit = self._limits.memory_bytes
        if limit is not None and (held := self._memory()) > limit:
            raise _Ended(self._failure(self._limits.memory_error(held)), place, again=True)

    def _failure(self, error: CellError) -> Failure:
        """Failure of a process that is killed."""
        return Failure(kind=type(error).__name__, sentence=str(error), traceback=self._said())

    def _memory(self) -> int:
        """Resident memory of the process and of those that it has started, in bytes."""
        total, now = 0, time.monotonic()
        with contextlib.suppress(psutil.Error):
            if now > self._counted + _CHILDREN_SECONDS:
                self._counted = now
                process = psutil.Process(self._started.pid)
                self._family = [process, *process.children(recursive=True)]
            for each in self._family:
                with contextlib.suppress(psutil.Error):
                    total += each.memory_info().rss
        return total

    def _death(self) -> Failure:
        """Failure of a process that has ended or closed its streams."""
        status = self._started.status(5.0)
        if status is None:
            sentence = "Its process closed the connection to its worker, and was killed."
        elif status < 0:
            sentence = f"Its process was killed by {_signal_name(-status)}."
        else:
            sentence = f"Its process ended by itself, with status {status}."
        return self._failure(CrashError(sentence))

    def _said(self) -> str:
        """The end of what the process has printed, such as its stack when it crashed."""
        return bytes(self._printed).decode("utf-8", "replace")

    def _send(self, *message: Any) -> None:  # noqa: ANN401  # messages are of many kinds
        """Send a message; a process that is gone is noticed when its answer is read."""
        with contextlib.suppress(OSError):
            write_frame(self._started.requests, message)

    def _listen(self) -> None:
        """Keep the end of what the process prints, in a thread of its own."""
        with contextlib.suppress(OSError, ValueError), self._started.printed as stream:
            while part := os.read(stream.fileno(), 1 << 16):
                self._printed += part
                del self._printed[:-_TAIL]

    def _receive(self) -> None:
        """Collect messages until the stream ends, in a thread of its own."""
        with contextlib.suppress(OSError, ValueError), self._started.replies as stream:
            while (message := read_frame(stream)) is not None:
                self._messages.put(message)
        self._messages.put(None)


def _tried(failure: Failure, times: int) -> Failure:
    """A failure with the number of tries."""
    if times == 1:
        return failure
    return failure.model_copy(update={"sentence": f"{failure.sentence} It was so in each of {times} tries."})


def _signal_name(number: int) -> str:
    """Name of a signal with its meaning, such as ``SIGSEGV (Segmentation fault)``."""
    try:
        return f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    except ValueError:
        return f"signal {number}"
