"""What ``xrnnbench explain`` is asked about: a task's model, or a user's own module with data from a file."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ...errors import DataError, UsageError, XrnnbenchError
from ...plugins import Plugin, build, load_file, nearest
from ...tasks.data.batch import Outputs
from .explain import ask, subject_of
from .pictures import Picture, picture_of

if TYPE_CHECKING:
    from ...tasks.base import Task
    from ...tasks.subject import Subject

_FILE = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")
_ARRAYS = ("inputs", "lengths", "targets")


@dataclasses.dataclass(frozen=True)
class Question:
    """Which output of which sequence of which model.

    Attributes:
        about: a task's spec, or ``path/to/file.py:NAME`` of a module or a function that returns one.
        method: spec of the method.
        instance: which sequence.
        seed: model seed of a task, and seed of the method.
        target: which output; by default the predicted class, or output 0.
        data: a file of arrays inputs, optionally lengths and targets, for a user's own module.
        outputs: what a user's own module returns.
    """

    about: str
    method: str = "deeplift"
    instance: int = 0
    seed: int = 0
    target: int | None = None
    data: Path | None = None
    outputs: Outputs = "logits"


def answer(question: Question) -> Picture:
    """Explain, and make a picture of one sequence.

    Raises:
        UsageError: something that was asked for is not there or does not fit.
        XrnnbenchError: the method or the model cannot do it.
    """
    build("method", question.method)  # a wrong name is said before a model is trained
    try:
        subject, targets = _subject(question)
        attribution = ask(subject, question.method, question.seed, targets=targets)
    except XrnnbenchError:
        raise
    except Exception as error:
        raise UsageError(f"{question.about} failed with {type(error).__name__}: {error}") from error
    output = int(subject.target[question.instance])
    names = subject.names.outputs
    said = names[output] if output < len(names) else f"output {output}"
    score = float(subject.score[question.instance])
    title = f"{question.method} on {question.about}, sequence {question.instance}: {said} = {score:.4g}"
    return picture_of(subject, attribution, question.instance, title)


def _subject(question: Question) -> tuple[Subject, bool]:
    """What is asked about, and whether its targets are known."""
    subject, targets = _asked(question)
    if not 0 <= question.instance < len(subject):
        raise UsageError(f"There is no sequence {question.instance}: they go from 0 to {len(subject) - 1}.")
    return subject, targets


def _asked(question: Question) -> tuple[Subject, bool]:
    module = _module(question.about)
    if module is not None:
        if question.data is None:
            raise UsageError(f"{question.about} is a model: give it sequences with --data file.npz.")
        arrays = read_arrays(question.data)
        targets = arrays.get("targets")
        subject = subject_of(
            module,
            arrays["inputs"],
            arrays.get("lengths"),
            question.target,
            outputs=question.outputs,
            targets=targets,
        )
        return subject, targets is not None
    if question.data is not None:
        raise UsageError(f"{question.about} is a task, which brings its own data: leave out --data.")
    task: Task = build("task", question.about)  # type: ignore[assignment]  # the kind fixes the type
    subject = task.subject(question.seed)
    if question.target is None:
        return subject, True
    return dataclasses.replace(subject, target=torch.full_like(subject.target, question.target)).check(), True


def _module(about: str) -> nn.Module | None:
    """The user's own module, or None if it is a task that is asked about.

    Raises:
        UsageError: the file has nothing of that name, or it is neither.
    """
    match = _FILE.fullmatch(about)
    if match is None:
        return None
    file = load_file(match["path"])
    found = getattr(file, match["name"], None)
    if found is None:
        raise UsageError(f"{match['path']} has no {match['name']!r}{nearest(match['name'], vars(file))}.")
    if isinstance(found, type) and issubclass(found, Plugin):
        return None
    if callable(found) and not isinstance(found, nn.Module):
        found = found()
    if not isinstance(found, nn.Module):
        raise UsageError(
            f"{about} is a {type(found).__name__}: expected a torch.nn.Module or a function returning one."
        )
    return found


def read_arrays(path: Path) -> dict[str, torch.Tensor]:
    """The arrays of a user's file: whole numbers as int64, others as they are.

    Raises:
        DataError: the file is missing, is no ``.npz`` of plain arrays, or has no inputs.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in _ARRAYS if name in file}
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r}.") from error
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{str(path)!r} is not a .npz file of plain arrays: write it with numpy.savez.") from error
    if "inputs" not in found:
        raise DataError(f"{str(path)!r} has no array 'inputs': int[B, T] tokens or float[B, T, D] features.")
    return {name: _tensor(name, array) for name, array in found.items()}


def _tensor(name: str, array: np.ndarray) -> torch.Tensor:
    if array.dtype.kind not in "iuf":
        raise DataError(f"The array {name!r} is of type {array.dtype}: expected numbers.")
    return torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.int64))
