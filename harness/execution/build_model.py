"""The model of one seed of a task, ready to be explained and judged, with the fingerprints its cells carry."""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...errors import ContractError, DataError, ParameterError
from ...fingerprints import tensors_fingerprint
from ...metrics.base import Probes
from ...tasks.subject import Subject
from ..results.cells import Competence, Failure, Fingerprints

if TYPE_CHECKING:
    from torch import Tensor

    from ...tasks.base import Task
    from ...tasks.data.batch import Batch

# What a plug-in may throw without stopping the grid: anything but the user's own Ctrl-C.
PLUGIN_ERRORS = (Exception, SystemExit)
_LONGEST_SENTENCE = 500


@dataclass(frozen=True)
class Model:
    """A subject that was asked once and answered.

    Attributes:
        subject: see :class:`xrnnbench.tasks.subject.Subject`.
        shared: probes that serve every method.
        fingerprints: of the model and of the data.
        competence: how good the model is; None where the task does not say.
    """

    subject: Subject
    shared: Probes
    fingerprints: Fingerprints
    competence: Competence | None


def build_model(task: Task, seed: int) -> Model:
    """Take the model of a seed that is published or in the cache, or train it, and see that it can be asked.

    Raises:
        ContractError: the task does not give a subject.
        Exception: whatever the task raises.
    """
    subject = task.subject(seed)
    if not isinstance(subject, Subject):
        raise ContractError(f"Task {task.name!r} gave a {type(subject).__name__}, not a Subject.")
    subject.check()
    # What every method and metric asks for first is computed here, so that the first method does not pay for all.
    subject.reference_outputs  # noqa: B018
    # A model that cannot be seen from its embeddings is no failure yet: the methods that need it meet the error again.
    with contextlib.suppress(Exception):
        subject.continuous()
    return Model(subject, Probes(subject), _fingerprints(subject), _competence(subject))


def stops(error: BaseException) -> bool:
    """Whether an error of a task is its user's to mend, so that the run ends with its sentence.

    It is if a parameter does not fit, or a package, file or folder is missing. A model that did not learn, or gives
    what it should not, is a failure of its own cells.
    """
    missing = isinstance(error, DataError) and isinstance(error.__cause__, (ImportError, OSError))
    return missing or isinstance(error, ParameterError)


def failure_of(error: BaseException) -> Failure:
    """An error as it is kept: its class, its message as one line, and where it came from."""
    sentence = " ".join(str(error).split())
    if len(sentence) > _LONGEST_SENTENCE:
        sentence = f"{sentence[:_LONGEST_SENTENCE]} …"
    trace = "".join(traceback.format_exception(error))
    return Failure(kind=type(error).__name__, sentence=sentence or "no message", traceback=trace)


def _competence(subject: Subject) -> Competence | None:
    found = subject.competence
    if found is None:
        return None
    return Competence(
        measure=found.measure, score=float(found.score), gate=float(found.gate), baseline=float(found.baseline)
    )


def data_fingerprint(batch: Batch, reference: Tensor, background: Batch | None) -> str:
    """Sha256 (64 hex digits) of the sequences that are explained, and of what stands for absence in them."""
    data = {"inputs": batch.inputs, "lengths": batch.lengths, "targets": batch.targets, "reference": reference}
    data |= {f"truth {name}": truth.values for name, truth in batch.truths.items()}
    if background is not None:
        data["background"] = background.inputs
    return tensors_fingerprint(data)


def _fingerprints(subject: Subject) -> Fingerprints:
    state = {name: value for name, value in subject.model.state_dict().items() if isinstance(value, torch.Tensor)}
    data = data_fingerprint(subject.batch, subject.reference, subject.background)
    return Fingerprints(model=tensors_fingerprint(state), data=data)
