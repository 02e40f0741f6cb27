"""Explanation on the command line: of a task's model, or of a user's own module with data from a file."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ...errors import DataError, UsageError, XrnnbenchError
from ...plugins import Plugin, build, load_file, nearest
from ...spec_files import file_spec
from ...tasks.contract import check_contract
from ...tasks.custom.calling_options import Calling
from ...tasks.engine.threads import intra_op_threads, threads_for
from ..results.samples import name_of
from .explain import checked_subject, explain_subject
from .inspection import Inspection, inspect, inspection_of
from .pictures import Picture, attribution_picture

if TYPE_CHECKING:
    from ...tasks.base import Task
    from ...tasks.subject import Subject

_ARRAYS = ("inputs", "lengths", "targets")


@dataclasses.dataclass(frozen=True)
class ExplainRequest:
    """Request for one explanation: the model, the sequence, the output and the method.

    Attributes:
        about: spec of a task, or ``path/to/file.py:NAME`` of a module or a function that returns one.
        method: spec of the method.
        instance: index of the sequence.
        seed: model seed of a task, and seed of the method.
        target: index of the output; by default the predicted class, or output 0.
        data: for a user's own module, an ``.npz`` file with the array inputs and optionally lengths and targets.
        calling: how a user's own module is called and read.
        step: index of the explained output step of a user's own module.
    """

    about: str
    method: str = "deeplift"
    instance: int = 0
    seed: int = 0
    target: int | None = None
    data: Path | None = None
    calling: Calling = dataclasses.field(default_factory=Calling)
    step: int | None = None


def explain_sequence(request: ExplainRequest) -> Picture:
    """Explain a model and make the picture of one sequence.

    Raises:
        UsageError: a part of the request does not exist or does not fit.
        XrnnbenchError: the method cannot explain the model.
    """
    build("method", request.method)  # reports a wrong name before a model is trained
    try:
        subject, targets = _subject(request)
        with intra_op_threads(threads_for(subject.model, torch.get_num_threads())):
            attribution = explain_subject(subject, request.method, request.seed, targets=targets)
    except XrnnbenchError:
        raise
    except Exception as error:
        raise UsageError(f"{request.about} failed with {type(error).__name__}: {error}") from error
    output = int(subject.target[request.instance])
    name = name_of(subject.names.outputs, output, "output ")
    score = float(subject.score[request.instance])
    title = f"{request.method} on {request.about}, sequence {request.instance}: {name} = {score:.4g}"
    return attribution_picture(subject, attribution, request.instance, title)


def inspect_request(request: ExplainRequest) -> Inspection:
    """Inspection of the model of a request: a user's own module, or the model of a task.

    Raises:
        XrnnbenchError: the model cannot be run on the data.
    """
    try:
        module = _module(request.about)
        if module is None:
            subject, targets = _requested_subject(request)
            return inspection_of(subject, check_contract(subject), targets=targets)
        arrays = _arrays(request)
        return inspect(
            module,
            arrays["inputs"],
            arrays.get("lengths"),
            target=request.target,
            targets=arrays.get("targets"),
            step=request.step,
            **{field.name: getattr(request.calling, field.name) for field in dataclasses.fields(Calling)},
        )
    except XrnnbenchError:
        raise
    except Exception as error:
        raise UsageError(f"{request.about} failed with {type(error).__name__}: {error}") from error


def _arrays(request: ExplainRequest) -> dict[str, torch.Tensor]:
    """Arrays of the data of a request about a user's own module."""
    if request.data is None:
        raise UsageError(f"{request.about} is a model: give it sequences with --data file.npz.")
    return read_arrays(request.data)


def _subject(request: ExplainRequest) -> tuple[Subject, bool]:
    """Subject of a request, and whether its targets are known."""
    subject, targets = _requested_subject(request)
    if not 0 <= request.instance < len(subject):
        raise UsageError(f"There is no sequence {request.instance}: they go from 0 to {len(subject) - 1}.")
    return subject, targets


def _requested_subject(request: ExplainRequest) -> tuple[Subject, bool]:
    """Subject of the module or the task of a request, and whether its targets are known."""
    module = _module(request.about)
    if module is not None:
        arrays = _arrays(request)
        targets = arrays.get("targets")
        subject, _, _ = checked_subject(
            module,
            arrays["inputs"],
            arrays.get("lengths"),
            request.target,
            targets=targets,
            step=request.step,
            calling=request.calling,
        )
        return subject, targets is not None
    if request.data is not None:
        raise UsageError(f"{request.about} is a task, which brings its own data: leave out --data.")
    task: Task = build("task", request.about)  # type: ignore[assignment]  # the kind fixes the type
    subject = task.subject(request.seed)
    if request.target is None:
        return subject, True
    return dataclasses.replace(subject, target=torch.full_like(subject.target, request.target)).check(), True


def _module(about: str) -> nn.Module | None:
    """Module of a user's file; None if the spec is that of a task.

    Raises:
        UsageError: the file has no such name, or the name is neither a task nor a module nor a function of one.
    """
    spec = file_spec(about)
    if spec is None or spec.parameters:
        return None
    file = load_file(spec.path)
    model = getattr(file, spec.name, None)
    if model is None:
        raise UsageError(f"{spec.path} has no {spec.name!r}{nearest(spec.name, vars(file)) or '.'}")
    if isinstance(model, type) and issubclass(model, Plugin):
        return None
    if callable(model) and not isinstance(model, nn.Module):
        model = model()
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"{about} is a {type(model).__name__}: expected a torch.nn.Module or a function returning one."
        )
    return model


def read_arrays(path: Path) -> dict[str, torch.Tensor]:
    """Read the arrays of a user's file: whole numbers as int64, others in their own type.

    Raises:
        DataError: the file is missing, is no ``.npz`` of plain arrays, or has no inputs.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS if name in file}
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r}.") from error
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{str(path)!r} is not a .npz file of plain arrays: write it with numpy.savez.") from error
    if "inputs" not in arrays:
        raise DataError(f"{str(path)!r} has no array 'inputs': int[B, T] tokens or float[B, T, D] features.")
    return {name: _tensor(name, array) for name, array in arrays.items()}


def _tensor(name: str, array: np.ndarray) -> torch.Tensor:
    """Array of numbers as a tensor."""
    if array.dtype.kind not in "iuf":
        raise DataError(f"The array {name!r} is of type {array.dtype}: expected numbers.")
    return torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.int64))
