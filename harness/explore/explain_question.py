"""Explanation on the command line: of a task's model, or of a user's own module with data from a file."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING

import torch

from ...errors import AssumptionWarning, UsageError, XrnnbenchError
from ...plugins import Plugin, build
from ...tasks.contract import check_contract
from ...tasks.custom.own_subject import OwnSubject, divided, own_subject, own_target
from ...tasks.engine.threads import intra_op_threads, threads_for
from ...tasks.subject import Subject
from ..results.samples import name_of
from .explain import label_of
from .explain_subject import explain_subject
from .inspection import Inspection, inspection_of
from .options import ModelOptions
from .own_model import own_arguments, own_models, own_value
from .pictures import Picture, attribution_picture

if TYPE_CHECKING:
    from ...tasks.base import Task


@dataclasses.dataclass(frozen=True)
class ExplainRequest:
    """Request for one explanation: the model, the sequence, the output and the method.

    Attributes:
        about: spec of a task, or ``path/to/file.py:NAME`` of a model.
        method: spec of the method.
        instance: index of the sequence.
        seed: model seed of a task, and seed of the method.
        own: options of a user's own model; its target is that of a task too.
    """

    about: str
    method: str = "deeplift"
    instance: int = 0
    seed: int = 0
    own: ModelOptions = dataclasses.field(default_factory=ModelOptions)


def explain_sequence(request: ExplainRequest) -> Picture:
    """Explain a model and make the picture of one sequence.

    Raises:
        UsageError: a part of the request does not exist or does not fit.
        XrnnbenchError: the method cannot explain the model.
    """
    build("method", request.method)  # reports a wrong name before a model is trained
    try:
        subject = _subject(request)
        with intra_op_threads(threads_for(subject.model, torch.get_num_threads())):
            attribution = explain_subject(subject, request.method, request.seed)
    except XrnnbenchError:
        raise
    except Exception as error:
        raise UsageError(f"{request.about} failed with {type(error).__name__}: {error}") from error
    output = int(subject.target[request.instance])
    name = name_of(subject.names.outputs, output, "output ")
    score = float(subject.score[request.instance])
    title = f"{request.method} on {request.about}, sequence {request.instance}: {name} = {score:.4g}"
    return attribution_picture(subject, attribution, request.instance, title)


def _subject(request: ExplainRequest) -> Subject:
    """Subject of a request that has the sequence to explain."""
    made = _requested_subject(request)
    subject = made if isinstance(made, Subject) else made.subject
    if not 0 <= request.instance < len(subject):
        raise UsageError(f"There is no sequence {request.instance}: they go from 0 to {len(subject) - 1}.")
    return subject


def inspect_request(request: ExplainRequest) -> Inspection:
    """Inspection of the model of a request: a user's own module, or the model of a task.

    Raises:
        XrnnbenchError: the model cannot be run on the data.
    """
    try:
        made = _requested_subject(request, inspected=True)
        if isinstance(made, Subject):
            return inspection_of(made, check_contract(made))
        return inspection_of(made.subject, made.contract, made.notes)
    except XrnnbenchError:
        raise
    except Exception as error:
        raise UsageError(f"{request.about} failed with {type(error).__name__}: {error}") from error


def _requested_subject(request: ExplainRequest, *, inspected: bool = False) -> Subject | OwnSubject:
    """Subject of the task of a request, or of the user's own model.

    Args:
        request: the request.
        inspected: whether a broken promise of the model is shown, and not refused.
    """
    value = own_value(request.about)
    if value is None or isinstance(value, Plugin):
        return _task_subject(request, value)
    models = own_models(request.about, value)
    if request.seed and len(models) > 1 and request.seed >= len(models):
        raise UsageError(f"{request.about} has {len(models)} models, and no seed {request.seed}.")
    model = models[request.seed if len(models) > 1 else 0]
    arguments = own_arguments(request.about, model, request.own)
    data, calling = divided(arguments | ({"contract": "explain"} if inspected else {}))
    with warnings.catch_warnings():
        if inspected:
            warnings.simplefilter("ignore", AssumptionWarning)  # the notes say the same
        return own_subject(model, label=label_of(model), calling=calling, **data)


def _task_subject(request: ExplainRequest, made: Plugin | None) -> Subject:
    """Subject of a task with the target of the request.

    Args:
        request: the request.
        made: the task, if a file has made it; else it is built.
    """
    request.own.refuse_for_task(request.about, ("target",))
    task: Task = build("task", request.about if made is None else made)  # type: ignore[assignment]  # the kind fixes the type
    subject = task.subject(request.seed)
    target = request.own.arguments.get("target")
    if target is None:
        return subject
    chosen = own_target(target, subject.names, len(subject))
    return dataclasses.replace(subject, target=chosen).check()
