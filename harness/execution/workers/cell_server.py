"""Answers of a cell process to the messages of its worker; see :mod:`.cell_process` for both."""

from __future__ import annotations

import os
import pickle
import sys
from collections import OrderedDict
from typing import IO, TYPE_CHECKING, Any, Final, cast

import cloudpickle

from ....errors import ContractError, MemoryLimitError, TimeLimitError, UsageError
from ..guard.limits import UNLIMITED
from ..jobs import ExplainJob, ModelJob, ScoreJob, explained, facts_of, make_model, model_of, parts_of, scored
from ..steps.build_model import failure_of, stops
from .frames import read_frame, write_frame

if TYPE_CHECKING:
    from ...results.cells import Failure
    from ..jobs import Job, StoredEvidence
    from ..steps.build_model import Model

# Models of so many bytes, pickled, are kept for the next jobs, and always the last one.
_KEPT_BYTES: Final = 256 << 20
_DOUBTFUL: Final = frozenset(error.__name__ for error in (ContractError, MemoryLimitError, TimeLimitError))


class CellServer:
    """Server of one cell process: its loaded models, and its answers to messages; see :mod:`.cell_process`."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests, self._replies = requests, replies
        self._limits = UNLIMITED
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
        terms = pickle.loads(setup)  # noqa: S301  # sent by the run itself
        self._limits = terms.limits
        try:
            terms.apply()
        except UsageError as error:
            self._say("refused", str(error))

    def _job(self, data: bytes, model_id: str, places: frozenset[int]) -> None:
        """Do a job."""
        try:
            job, stored = pickle.loads(data)  # noqa: S301  # sent by the run itself
        except Exception as error:  # noqa: BLE001  # as above
            self._unsendable(error)
            return
        if isinstance(job, ModelJob):
            self._make_model(job, model_id)
            return
        model = self._model(model_id)
        if model is not None:
            self._explain_or_score(job, stored, model, places)

    def _unsendable(self, error: Exception) -> None:
        missing = error.name if isinstance(error, ModuleNotFoundError) else ""
        self._say("unsendable", missing or "", f"{type(error).__name__}: {error}"[:500])

    def _make_model(self, job: ModelJob, model_id: str) -> None:
        """Make a model, and send it on for other workers."""
        self._say("doing", 0)
        try:
            model = make_model(job, self._limits, [model for _, model in self._models.values()])
        except Exception as error:  # noqa: BLE001  # any error of a plug-in
            if stops(error):
                self._say("refused", str(error))
            else:
                failure = failure_of(error)
                self._say("done", pickle.dumps(failure), None, _doubtful(failure))
            return
        facts = pickle.dumps(facts_of(model, job))
        try:
            sent = cloudpickle.dumps(parts_of(model))
        except Exception as error:  # noqa: BLE001  # as above
            self._unsendable(error)
            return
        self._keep(model_id, len(sent), model)
        self._say("done", facts, sent, _doubtful(None))

    def _model(self, model_id: str) -> Model | None:
        """The model of a job, which the worker is asked for if it is not here; None if it cannot be loaded."""
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

    def _explain_or_score(self, job: Job, stored: StoredEvidence, model: Model, places: frozenset[int]) -> None:
        """Explain or score a cell."""
        if isinstance(job, ExplainJob):
            self._say("doing", 0)
            result = explained(job, model, self._limits)
            self._say("done", pickle.dumps(result), None, _doubtful(result.cell.failure))
        elif isinstance(job, ScoreJob):
            doubtful = False
            begin = lambda place: self._say("doing", place)  # noqa: E731
            for place, scores in scored(job, stored, model, self._limits, without=places, begin=begin):
                self._say("part", place, pickle.dumps(scores))
                doubtful |= _doubtful(scores[0].failure)
            if model.state.lost:
                # the worker has the records so far, and gives the rest of the job to the next process
                os._exit(1)
            self._say("done", b"", None, doubtful)


def _doubtful(failure: Failure | None) -> bool:
    """Whether a process may no longer be what it was, after a plug-in was interrupted or has changed something."""
    return failure is not None and failure.kind in _DOUBTFUL
