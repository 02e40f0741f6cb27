"""Functions that the workers of a cluster run: they pass jobs on to cell processes. They load no torch, no plug-in."""

from __future__ import annotations

import atexit
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from .process_start import OwnPython, Served, can_be_served
from .supervision import Reply, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .process_start import StartedProcess
    from .terms import Terms

_lock = threading.Lock()
# Supervisors without a job; a worker with several threads has as many.
_idle: list[Supervisor] = []
_start: Callable[[], StartedProcess] = OwnPython


def terms_here(terms: Terms) -> Terms:
    """The terms of a run, as something that each worker gets once."""
    return terms


def make_model(terms: Terms, job: bytes, model_id: str) -> Reply:
    """Make a model; the reply has it, and is what the other jobs of the model take."""
    with _supervisor(terms) as supervisor:
        return supervisor.do(job, model_id, bytes)


def facts(made: Reply) -> Reply:
    """The reply to a model job without the model itself, for the run."""
    return Reply(made.kind, made.result, None, {}, made.failures, made.sentence, made.module, made.seconds, made.tries)


def explain(terms: Terms, job: bytes, model_id: str, made: Reply) -> Reply:
    """Explain a cell."""
    with _supervisor(terms) as supervisor:
        return supervisor.do(job, model_id, lambda: made.model or b"")


def score(terms: Terms, job: bytes, model_id: str, made: Reply) -> Reply:
    """Score a cell."""
    with _supervisor(terms) as supervisor:
        return supervisor.do(job, model_id, lambda: made.model or b"", scores=True)


def dask_setup(_: object) -> None:
    """Start a cell process before there is a job; dask calls this when a worker of a local cluster starts."""
    global _start  # noqa: PLW0603  # a worker is a process
    if can_be_served():
        _start = Served
    supervisor = Supervisor(start=_start)
    # what fails now is tried again for the first job
    with suppress(EOFError, OSError):
        supervisor.start()
    _idle.append(supervisor)


@contextmanager
def _supervisor(terms: Terms) -> Iterator[Supervisor]:
    """A supervisor for one job; its cell process is that of the same run, or a new one."""
    if terms.worker_memory:
        terms = replace(terms, limits=replace(terms.limits, memory_bytes=_memory_of_worker()), worker_memory=False)
    with _lock:
        supervisor = _idle.pop() if _idle else Supervisor(start=_start)
    if supervisor.terms is None:
        supervisor.terms = terms
    elif supervisor.terms != terms:
        supervisor.close()
        supervisor = Supervisor(terms, _start)
    try:
        yield supervisor
    finally:
        with _lock:
            _idle.append(supervisor)


def _memory_of_worker() -> int | None:
    """Memory that a job may take: that of this worker of dask over its threads; None if it has no limit."""
    from distributed import get_worker  # noqa: PLC0415  # the run itself reads this module, and may need no dask

    worker = get_worker()
    limit = worker.memory_manager.memory_limit
    return int(limit / worker.state.nthreads) if limit else None


@atexit.register
def _close() -> None:
    for supervisor in _idle:
        supervisor.close()
