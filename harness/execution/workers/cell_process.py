"""Cell process: the process in which models are made, explained and scored, one job at a time.

It is started by :mod:`.supervision` as ``python -m xrnnbench.harness.execution.workers.cell_process`` and talks by its
standard streams, which it moves out of the reach of plug-ins: what a plug-in prints goes where errors go. It ends when
its worker does.

Messages to it:
    ("setup", setup): load this :class:`.terms.Setup`.
    ("job", job, model id, places): do this job, but for the metrics at these places.
    ("model", model): a model that it has asked for.
Messages from it:
    ("doing", place): the call of a plug-in begins; the place of a metric, or 0.
    ("part", place, record): a metric has scored.
    ("model?",): it does not have the model of the job.
    ("done", result, model): the job is done; the model is that of a model job.
    ("unsendable", module, reason): the job cannot be loaded here; the module that is missing, or "".
    ("refused", sentence): it cannot compute what the run would.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import threading
from collections import OrderedDict
from typing import IO, TYPE_CHECKING, Any, Final, cast

from .frames import read_frame, write_frame

if TYPE_CHECKING:
    from ..build_model import Model
    from ..jobs import Job

# Models of so many bytes, pickled, are kept for the next jobs, and always the last one.
_KEPT_BYTES: Final = 256 << 20
_DEATH_OF_PARENT: Final = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Do jobs until the worker closes the stream."""
    requests, replies = _own_streams()
    _end_with_parent()
    faulthandler.enable(open(os.dup(2), "w"))  # noqa: SIM115, PTH123, PLW1514  # open as long as the process
    _CellProcess(requests, replies).serve()


class _CellProcess:
    """The state of a cell process: what it has loaded."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests, self._replies = requests, replies
        self._models: OrderedDict[str, tuple[int, Model]] = OrderedDict()

    def serve(self) -> None:
        """Answer messages until there are no more."""
        while (message := read_frame(self._requests)) is not None:
            if message[0] == "setup":
                self._set_up(message[1])
            else:
                self._job(*message[1:])

    def _say(self, *message: Any) -> None:  # noqa: ANN401  # messages are of many kinds
        write_frame(self._replies, message)

    def _set_up(self, setup: bytes) -> None:
        """Load the setup; a refusal is a sentence."""
        from ....errors import UsageError

        try:
            pickle.loads(setup).apply()  # noqa: S301  # sent by the run itself
        except UsageError as error:
            self._say("refused", str(error))

    def _job(self, data: bytes, model_id: str, places: frozenset[int]) -> None:
        """Do a job."""
        try:
            job, stored = pickle.loads(data)  # noqa: S301  # sent by the run itself
        except Exception as error:  # noqa: BLE001  # whatever loading the user's own code raises
            self._unsendable(error)
            return
        from ..jobs import ModelJob

        if isinstance(job, ModelJob):
            self._make_model(job, model_id)
            return
        model = self._model(model_id)
        if model is not None:
            self._explain_or_score(job, stored, model, places)

    def _unsendable(self, error: Exception) -> None:
        missing = error.name if isinstance(error, ModuleNotFoundError) else ""
        self._say("unsendable", missing or "", f"{type(error).__name__}: {error}"[:500])

    def _make_model(self, job: Any, model_id: str) -> None:  # noqa: ANN401  # a ModelJob
        """Make a model, and send it on for other workers."""
        import cloudpickle

        from ..build_model import failure_of, stops
        from ..jobs import facts_of, make_model, parts_of

        self._say("doing", 0)
        try:
            model = make_model(job)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # any error of a plug-in
            if stops(error):
                self._say("refused", str(error))
            else:
                self._say("done", pickle.dumps(failure_of(error)), None)
            return
        facts = pickle.dumps(facts_of(model))
        try:
            sent = cloudpickle.dumps(parts_of(model))
        except Exception as error:  # noqa: BLE001  # whatever pickling the user's own objects raises
            self._unsendable(error)
            return
        self._keep(model_id, len(sent), model)
        self._say("done", facts, sent)

    def _model(self, model_id: str) -> Model | None:
        """The model of a job, which the worker is asked for if it is not here; None if it cannot be loaded."""
        from ..jobs import model_of

        if model_id in self._models:
            self._models.move_to_end(model_id)
            return self._models[model_id][1]
        self._say("model?")
        message = read_frame(self._requests)
        if message is None:
            sys.exit(0)
        data = cast("bytes", message[1])
        try:
            model = model_of(pickle.loads(data))  # noqa: S301  # made by a cell process of this run
        except Exception as error:  # noqa: BLE001  # as above
            self._unsendable(error)
            return None
        self._keep(model_id, len(data), model)
        return model

    def _keep(self, model_id: str, size: int, model: Model) -> None:
        """Keep a model for the next jobs; the oldest ones make room."""
        self._models[model_id] = size, model
        while len(self._models) > 1 and sum(size for size, _ in self._models.values()) > _KEPT_BYTES:
            self._models.popitem(last=False)

    def _explain_or_score(self, job: Job, stored: Any, model: Model, places: frozenset[int]) -> None:  # noqa: ANN401  # a StoredEvidence
        """Explain or score a cell."""
        from ..jobs import ExplainJob, ScoreJob, explained, scored

        if isinstance(job, ExplainJob):
            self._say("doing", 0)
            self._say("done", pickle.dumps(explained(job, model)), None)
        elif isinstance(job, ScoreJob):
            begin = lambda place: self._say("doing", place)  # noqa: E731
            for place, record in scored(job, stored, model, without=places, begin=begin):
                self._say("part", place, pickle.dumps(record))
            self._say("done", b"", None)


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
        import fcntl
        import resource
    except ImportError:  # Windows
        return os.dup(descriptor)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    high = 1000 if most == resource.RLIM_INFINITY else min(1000, most - 10)
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, high)


def _end_with_parent() -> None:
    """End when the worker ends, even in the middle of a job that never returns."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGKILL)
    # Ctrl-C in a terminal reaches all processes of the group; only the run itself answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """End the process as soon as its parent is another one, for the systems that do not do so themselves."""
    wait = threading.Event()
    while os.getppid() == parent:
        wait.wait(1.0)
    os._exit(1)


if __name__ == "__main__":
    main()
