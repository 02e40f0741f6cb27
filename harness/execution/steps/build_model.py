"""Building the model of one seed of a task, with the fingerprints that its cells store."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import torch

from ....errors import ContractError, DataError, ParameterError
from ....fingerprints import seed_from, tensors_fingerprint
from ....metrics.base import Probes
from ....tasks.contract import Handling, check_contract
from ....tasks.custom.given import GivenTask
from ....tasks.engine.batching import device_of
from ....tasks.engine.isolation import same_randomness, seed_generators
from ....tasks.engine.threads import default_threads
from ....tasks.models.evaluation import accuracy, r_squared
from ....tasks.subject import Subject
from ...results.cells import Competence, Fingerprints, Quality
from ..guard.failures import failure_of
from ..guard.limits import UNLIMITED
from ..guard.model_state import ModelState
from ..guard.plugin_call import PluginCall

if TYPE_CHECKING:
    from torch import Tensor

    from ....tasks.base import Task
    from ....tasks.data.batch import Batch
    from ..guard.limits import Limits

__all__ = ["Model", "build_model", "data_fingerprint", "failure_of", "stops"]


@dataclass(frozen=True)
class Model:
    """Model of a cell: a subject that was run once, with the facts that cells store.

    Attributes:
        subject: see :class:`xrnnbench.tasks.subject.Subject`.
        state: the model as it was made, which every plug-in must leave.
        shared: probes that are shared by the evidence of all methods.
        fingerprints: fingerprints of the model and of the data.
        competence: held-out quality of the model; None if the task does not measure it.
        quality: quality on the explained sequences; None if the task measures its competence, or targets are not known.
        threads: intra-op threads the model runs on.
        device: name of the device of its parameters.
    """

    subject: Subject
    state: ModelState
    shared: Probes
    fingerprints: Fingerprints
    competence: Competence | None
    quality: Quality | None
    threads: int
    device: str


def build_model(task: Task, seed: int, device: str = "", limits: Limits = UNLIMITED) -> Model:
    """Load the published or cached model of a seed, or train it, and run it once.

    Args:
        task: the task.
        seed: model seed.
        device: device that the model is moved to when it is made; empty leaves it where the task puts it.
        limits: limits of time and memory.

    Raises:
        ContractError: the task does not return a subject, or breaks another promise.
        XrnnbenchError: any error of this kind that the task raises.
        PluginFailure: the task raises anything else.
    """
    with PluginCall(f"Task {task.name!r}", limits), same_randomness():
        seed_generators(seed_from("model", task.name, seed))
        return _built(task, seed, device)


def _built(task: Task, seed: int, device: str) -> Model:
    """Model of a seed of a task; see :func:`build_model`."""
    subject = task.subject(seed)
    if not isinstance(subject, Subject):
        raise ContractError(f"Task {task.name!r} gave a {type(subject).__name__}, not a Subject.")
    subject.check()
    if not (
        is_built_in(task) or isinstance(task, GivenTask)
    ):  # the first keep it in the tests, the others were checked
        if task.contract not in get_args(Handling):
            raise ContractError(
                f"Task {task.name!r} has contract = {task.contract!r}: set it to 'refuse', or to 'explain' for models "
                "that break a promise."
            )
        subject = with_contract(subject, refuse=task.contract == "refuse")
    if device:
        subject.model.to(device)
    return model_ready(
        subject, _fingerprints(subject), _competence(subject), _quality(subject) if subject.competence is None else None
    )


def model_ready(
    subject: Subject, fingerprints: Fingerprints, competence: Competence | None, quality: Quality | None
) -> Model:
    """Model of a subject that was run once; see :class:`Model` for the arguments."""
    # Outputs that every method and metric needs are computed here, so that they are no cost of the first method.
    subject.reference_outputs  # noqa: B018  # a cached property
    # A model that cannot be run from its embeddings is no failure yet: the methods that need this get the error again.
    with contextlib.suppress(Exception):
        subject.continuous()
    state = ModelState(subject)
    return Model(
        subject,
        state,
        Probes(subject, state.snapshot),
        fingerprints,
        competence,
        quality,
        default_threads(),
        device_name(device_of(subject.model)),
    )


def is_built_in(task: Task) -> bool:
    """Whether a task comes with xrnnbench; a user's own class derived from one of these does not."""
    return type(task).__module__.startswith("xrnnbench.")


def with_contract(subject: Subject, *, refuse: bool) -> Subject:
    """The subject of a user's own task, with the promises that its model breaks as caveats.

    Args:
        subject: the subject.
        refuse: whether a broken promise is an error.

    Raises:
        DataError: a promise is broken.
    """
    contract = check_contract(subject)
    if refuse:
        contract.refuse_broken(task=True)
    return replace(subject, caveats=contract.caveats, cost=subject.cost)


def device_name(device: torch.device) -> str:
    """Name of a device: its type, such as ``"cpu"``, or the product name of a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def stops(error: BaseException) -> bool:
    """Whether an error of a task is a usage error, which ends the run with its message.

    Usage errors are a parameter that does not fit, and a missing package, file or folder. A model that did not learn,
    or returns wrong outputs, is a failure of its own cells.
    """
    missing = isinstance(error, DataError) and isinstance(error.__cause__, (ImportError, OSError))
    return missing or isinstance(error, ParameterError)


def _competence(subject: Subject) -> Competence | None:
    """Competence of a subject's model with plain numbers."""
    competence = subject.competence
    if competence is None:
        return None
    return Competence(
        measure=competence.measure,
        score=float(competence.score),
        gate=float(competence.gate),
        baseline=float(competence.baseline),
    )


def _quality(subject: Subject) -> Quality | None:
    """Quality of a subject's model on its own sequences; None if their correct outputs are not known."""
    outputs, targets = subject.batch_outputs, subject.batch.targets
    if not subject.targets_known:
        return None
    if subject.classification:
        if targets.dim() != 1:
            return None
        return Quality(measure="accuracy", score=accuracy(outputs, targets), sequences=len(subject))
    if targets.shape != outputs.shape or len(subject) < 2:
        return None
    score = r_squared(outputs, targets)
    return Quality(measure="R2", score=score if math.isfinite(score) else None, sequences=len(subject))


def data_fingerprint(batch: Batch, reference: Tensor, background: Batch | None) -> str:
    """Sha256 (64 hex digits) of the explained sequences, their truths, the reference and the background."""
    data = {"inputs": batch.inputs, "lengths": batch.lengths, "targets": batch.targets, "reference": reference}
    data |= {f"truth {name}": truth.values for name, truth in batch.truths.items()}
    if background is not None:
        data["background"] = background.inputs
    return tensors_fingerprint(data)


def _fingerprints(subject: Subject) -> Fingerprints:
    """Fingerprints of a subject's model and data."""
    state = {name: value for name, value in subject.model.state_dict().items() if isinstance(value, torch.Tensor)}
    data = data_fingerprint(subject.batch, subject.reference, subject.background)
    return Fingerprints(model=tensors_fingerprint(state), data=data)
