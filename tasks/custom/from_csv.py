"""Construction of a task from a user's CSV file, with or without the user's model."""

from __future__ import annotations

import dataclasses
import os
import typing
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import pydantic
import torch

from ...errors import DataError, ParameterError
from ...plugins import nearest
from ..data.batch import Names
from ..readers.categories import encoded
from ..readers.frames import HeldFrame
from ..readers.labelled import LabelledFile, padded
from ..readers.sequences import Sequences, TableFile
from ..trained import held_out
from .calling_options import Calling
from .csv_forecast import CsvForecast, SeriesFile
from .csv_task import CsvTask
from .given import GivenTask
from .own_subject import DATA_ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from ..base import Task

FileT = TypeVar("FileT", bound=TableFile)
_OWN_OPTIONS = ("name", "vocabulary", "instances")


def task_from_csv(
    path: str | os.PathLike[str] | pd.DataFrame,
    model: nn.Module | Callable[..., Any] | None = None,
    **options: Any,  # noqa: ANN401  # typed and checked below, by the class whose parameters they are
) -> Task:
    """Task of a CSV file or DataFrame, either with the user's model or with a network that is trained on the data.

    Args:
        path: path of the file; or a pandas DataFrame, which means what the same table means in a file, but for the
            types of its cells: numbers are exact, booleans are 0 and 1, dates are dates, None, NaN, NaT and NA are
            missing, and a categorical column declares its categories. It is copied, and nothing of it is written to
            disk. Messages number its rows from 0, by position.
        model: the user's model, as for :func:`task_from_model`; the held-out sequences of the file are explained, in
            the units of the file, its features in the order of ``task.names.features``. If None, a recurrent network is
            trained for each model seed.
        options: the roles of the columns and the format of the file, see
            :class:`xrnnbench.tasks.readers.labelled.LabelledFile`, or, for a single long series (``forecast=…``),
            :class:`xrnnbench.tasks.custom.csv_forecast.SeriesFile`. Without a model also the parameters of
            :class:`xrnnbench.tasks.custom.csv_task.CsvTask` or
            :class:`xrnnbench.tasks.custom.csv_forecast.CsvForecast`, and ``name``, any text by which results show the
            task. With a model also the parameters of
            :func:`task_from_model`, ``vocabulary``, the token of each word of its texts, and ``instances``, the largest
            number of explained sequences (64).

    Raises:
        ParameterError: an option does not exist or has the wrong type.
        DataError: the file does not fit the options; the message names the place and the way out.
    """
    options = {"path": _source(path)} | options
    series = "forecast" in options
    if model is None:
        named = {"label" if name == "name" else name: value for name, value in options.items()}
        return typing.cast("Task", _validated(CsvForecast if series else CsvTask, named))
    file: type[TableFile] = SeriesFile if series else LabelledFile
    fields = {field.name for field in dataclasses.fields(file)}
    passed = {"retraining", *DATA_ARGUMENTS, *(option.name for option in dataclasses.fields(Calling))}
    passed -= {"inputs", "lengths", "targets", "truth", "ids"}
    for name in options.keys() - fields - passed - set(_OWN_OPTIONS):
        if name in {field.name for field in dataclasses.fields(CsvForecast if series else CsvTask)}:
            raise ParameterError(f"{name}=… is for a network that is trained here, and a model is given: leave it out.")
        raise ParameterError(f"from_csv has no parameter {name!r}{nearest(name, fields | passed) or '.'}")
    source = _validated(file, {name: value for name, value in options.items() if name in fields})
    rest = {name: value for name, value in options.items() if name not in fields}
    arguments = _arguments(source, rest.pop("vocabulary", None), rest.pop("instances", 64))
    label = rest.pop("name", "my-model")
    return GivenTask.of(model, label=label, **arguments | rest)


def own_data_of(task: CsvTask | CsvForecast) -> dict[str, Any]:
    """Arguments about the data of a user's own model, from a file that a spec describes.

    Args:
        task: built from the spec, such as ``csv:path=patients.csv,id=patient,time=hour,predict=outcome``.

    Returns:
        inputs, lengths, targets, names, reference and what else the file tells, by name.

    Raises:
        ParameterError: the spec has a parameter of the network that would be trained without the user's model.
        DataError: the file does not fit the spec.
    """
    file = SeriesFile if isinstance(task, CsvForecast) else LabelledFile
    known = {field.name for field in dataclasses.fields(file)} | {"instances"}
    for field in dataclasses.fields(task):
        if field.init and field.name not in known and getattr(task, field.name) != field.default:
            raise ParameterError(
                f"{field.name}=… is for a network that is trained here, and a model is given: leave it out."
            )
    return _arguments(task, None, task.instances)


def _arguments(source: TableFile, vocabulary: Mapping[str, int] | None, instances: int) -> dict[str, Any]:
    """Arguments of :meth:`GivenTask.of` from the sequences of a file."""
    if isinstance(source, SeriesFile):
        return _windows(source, instances)
    return _labelled(typing.cast("LabelledFile", source), vocabulary, instances)


def _source(path: str | os.PathLike[str] | pd.DataFrame) -> str:
    """Path of a file as text, or a copy of a frame.

    Raises:
        DataError: it is neither path nor frame, or the frame has no rows or ambiguous names of columns.
    """
    if isinstance(path, pd.DataFrame):
        return HeldFrame.of(path)
    try:
        return os.fspath(path)
    except TypeError as error:
        kind = f"{type(path).__module__.partition('.')[0]} {type(path).__qualname__}"
        raise DataError(f"A task needs the path of a file or a pandas DataFrame, and got a {kind}.") from error


def _validated(cls: type[FileT], options: Mapping[str, Any]) -> FileT:
    """Build a file or a task from validated parameters; a string is accepted in place of a tuple of one string.

    Raises:
        ParameterError: a parameter does not exist or has the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name for field in dataclasses.fields(cls) if field.init}
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in fields:
            raise ParameterError(f"from_csv has no parameter {name!r}{nearest(name, fields) or '.'}")
        if isinstance(value, HeldFrame):  # pydantic would make a plain string of it
            values[name] = value
            continue
        try:
            values[name] = pydantic.TypeAdapter(hints[name]).validate_python(_items(name, value, hints[name]))
        except pydantic.ValidationError as error:
            reason = error.errors()[0]["msg"]
            said = "name" if name == "label" else name
            raise ParameterError(f"from_csv: {said}={value!r} does not fit ({reason}).") from error
    return cls(**values)


def _items(name: str, value: object, hint: object) -> object:
    """A parameter as its field has it: a tuple for a single string, and texts for a mapping of class weights."""
    if name == "class_weights" and isinstance(value, typing.Mapping):
        return tuple(f"{class_}:{weight!r}" for class_, weight in value.items())
    return (value,) if typing.get_origin(hint) is tuple and isinstance(value, str) else value


def _windows(source: SeriesFile, instances: int) -> dict[str, Any]:
    """Arguments of :meth:`GivenTask.of` from the held-out windows of a series, in the units of the file."""
    series = source.read()
    training, test = series.windows(series.values)
    explained = held_out(test, min(instances, len(test)), "from_csv")
    names = series.names()
    count = len(series.features)
    return {
        "inputs": explained.inputs,
        "lengths": explained.lengths,
        "targets": explained.targets,
        "reference": _mean(training.inputs[training.valid], count),
        "names": names,
        "background": training.select(slice(0, 100)),
    }


def _labelled(source: LabelledFile, vocabulary: Mapping[str, int] | None, instances: int) -> dict[str, Any]:
    """Arguments of :meth:`GivenTask.of` from labelled sequences, in the units of the file.

    If a column splits the file, only its test sequences are used, else all sequences.

    Raises:
        DataError: no sequence is a test sequence.
    """
    sequences = source.sequences()
    targets, outputs = source.targets_of(sequences)
    lengths = torch.tensor([len(sequence) for sequence in sequences.words or sequences.values])
    is_test = source.tested(sequences)
    rows = torch.arange(len(sequences)) if is_test is None else is_test.nonzero()[:, 0]
    if not len(rows):
        raise DataError(f"{sequences.table.file} holds no sequence of the part test: there is nothing to explain.")
    rows = rows[:instances]
    inputs, names, reference = _inputs(source, sequences, lengths, is_test, vocabulary)
    steps = int(lengths[rows].max())
    truths = {
        name: dataclasses.replace(truth, values=truth.values[rows][:, :steps])
        for name, truth in source.truths_of(sequences).items()
    }
    return {
        "inputs": inputs[rows][:, :steps],
        "lengths": lengths[rows],
        "targets": targets[rows],
        "ids": tuple(sequences.ids[row] for row in rows.tolist()) if sequences.ids else None,
        "truth": truths,
        "names": Names(features=names, outputs=outputs),
        **({} if reference is None else {"reference": reference}),
    }


def _inputs(
    source: LabelledFile,
    sequences: Sequences,
    lengths: Tensor,
    is_test: Tensor | None,
    vocabulary: Mapping[str, int] | None,
) -> tuple[Tensor, tuple[str, ...], Tensor | None]:
    """Tokens int64[B, T], or features float32[B, T, D] with their names and their mean as the reference.

    The levels of categories are those of the training part, if a column splits the file, else all.
    """
    if sequences.words:
        return _tokens(source, sequences, vocabulary), (), None
    training = None if is_test is None or is_test.all() else ~is_test
    found = encoded(sequences, training if training is not None else torch.ones(len(sequences), dtype=torch.bool))
    inputs, names = padded(found.values), found.names
    valid = torch.arange(inputs.shape[1]) < lengths[:, None]
    mean = inputs[valid].double().nanmean(0).nan_to_num().float()
    if source.missing != "mask":
        return inputs, names, mean
    inputs, names = found.marked(inputs, valid, mean)
    masks = inputs[valid][:, len(mean) :]
    # what is always measured cannot be absent: its mask stays 1, and is no part of an explanation
    return inputs, names, torch.cat([mean, masks.amin(0)])


def _tokens(source: LabelledFile, sequences: Sequences, vocabulary: Mapping[str, int] | None) -> Tensor:
    """Tokens int64[B, T] in the vocabulary of the user's model; unknown words become ``<unk>`` if it has this token.

    Raises:
        ParameterError: no vocabulary is given.
        DataError: a word is not in the vocabulary, which has no ``<unk>``.
    """
    if vocabulary is None:
        raise ParameterError(
            "A model of yours reads texts as tokens: say vocabulary={word: token, …}, with '<unk>' for all other words."
        )
    rows = []
    for place, words in enumerate(sequences.words):
        unknown = next((word for word in words if word not in vocabulary), None)
        if unknown is not None and "<unk>" not in vocabulary:
            raise sequences.table.refuse(
                int(sequences.rows[place]),
                source.text,
                f"holds the word {unknown!r}, and the vocabulary has no '<unk>'.",
            )
        rows.append(np.array([vocabulary.get(word, vocabulary.get("<unk>", 0)) for word in words], dtype=np.float64))
    return padded(rows).long()


def _mean(steps: Tensor, count: int) -> Tensor:
    """Mean of the first ``count`` features over all steps [N, D], float32[D]; 0 for the mask features."""
    mean = steps.double().mean(0)
    mean[count:] = 0
    return mean.float()
