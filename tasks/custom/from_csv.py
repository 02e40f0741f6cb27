"""Tasks from a CSV file of the user, with or without a model of the user."""

from __future__ import annotations

import dataclasses
import inspect
import os
import typing
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pydantic
import torch

from ...errors import DataError, ParameterError
from ...plugins import nearest
from ..data.batch import Names
from ..readers.labelled import LabelledFile, padded
from ..readers.missing import marked, marked_names
from ..readers.sequences import Sequences, TableFile
from ..trained import held_out
from .csv_forecast import CsvForecast, SeriesFile
from .csv_task import CsvTask
from .given import GivenTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from ..base import Task

FileT = TypeVar("FileT", bound=TableFile)
_OWN = ("name", "vocabulary", "instances")


def task_from_csv(
    path: str | os.PathLike[str],
    model: nn.Module | Callable[..., Any] | None = None,
    **options: Any,  # noqa: ANN401  # typed and checked below, by what they belong to
) -> Task:
    """A task of a CSV file: with a user's own model, or with one that is trained on it.

    Args:
        path: of the file.
        model: explained with what is held out of the file, in its own units, as :func:`task_from_model` does; if None,
            a network of the family is trained for each model seed.
        options: which columns hold what and how the file is written, see
            :class:`xrnnbench.tasks.readers.labelled.LabelledFile`, or, for a single long series (``forecast=…``),
            :class:`xrnnbench.tasks.custom.csv_forecast.SeriesFile`. Without a model also the parameters of
            :class:`xrnnbench.tasks.custom.csv_task.CsvTask` or
            :class:`xrnnbench.tasks.custom.csv_forecast.CsvForecast`; with one also those of :func:`task_from_model`,
            ``vocabulary``, the token of each word of its texts, and ``instances``, how many sequences are explained at
            most (64).

    Raises:
        ParameterError: no such option, or one of another type.
        DataError: something in the file does not fit; the sentence says where, and what to do.
    """
    options = {"path": os.fspath(path)} | options
    series = "forecast" in options
    if model is None:
        return typing.cast("Task", _made(CsvForecast if series else CsvTask, options))
    file: type[TableFile] = SeriesFile if series else LabelledFile
    fields = {field.name for field in dataclasses.fields(file)}
    passed = {*inspect.signature(GivenTask.of).parameters} - {"model", "inputs", "lengths", "targets", "label", "truth"}
    for name in options.keys() - fields - passed - set(_OWN):
        if name in {field.name for field in dataclasses.fields(CsvForecast if series else CsvTask)}:
            raise ParameterError(f"{name}=… is for a network that is trained here, and a model is given: leave it out.")
        raise ParameterError(f"from_csv has no parameter {name!r}{nearest(name, fields | passed) or '.'}")
    reading = _made(file, {name: value for name, value in options.items() if name in fields})
    rest = {name: value for name, value in options.items() if name not in fields}
    instances = rest.pop("instances", 64)
    if isinstance(reading, SeriesFile):
        found = _windows(reading, instances)
    else:
        found = _labelled(typing.cast("LabelledFile", reading), rest.pop("vocabulary", None), instances)
    label = rest.pop("name", "my-model")
    return GivenTask.of(model, label=label, **found | rest)


def _made(cls: type[FileT], options: Mapping[str, Any]) -> FileT:
    """A file or a task with these parameters; a single name stands for a tuple of one.

    Raises:
        ParameterError: no such parameter, or a value of another type.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name for field in dataclasses.fields(cls) if field.init}
    values = {}
    for name, value in options.items():
        if name not in fields:
            raise ParameterError(f"from_csv has no parameter {name!r}{nearest(name, fields) or '.'}")
        whole = (value,) if typing.get_origin(hints[name]) is tuple and isinstance(value, str) else value
        try:
            values[name] = pydantic.TypeAdapter(hints[name]).validate_python(whole)
        except pydantic.ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ParameterError(f"from_csv: {name}={value!r} does not fit ({reason}).") from error
    return cls(**values)


def _windows(reading: SeriesFile, instances: int) -> dict[str, Any]:
    """What is held out of the series, in its own units, for a model that was trained elsewhere."""
    series = reading.read()
    learnt, tested = series.windows(series.values)
    explained = held_out(tested, min(instances, len(tested)), "from_csv")
    names = series.names()
    count = len(series.features)
    return {
        "inputs": explained.inputs,
        "lengths": explained.lengths,
        "targets": explained.targets,
        "reference": _mean(learnt.inputs[learnt.valid], count),
        "names": names,
        "background": learnt.select(slice(0, 100)),
    }


def _labelled(reading: LabelledFile, vocabulary: Mapping[str, int] | None, instances: int) -> dict[str, Any]:
    """What is held out if a column splits the file, or the whole file, in its own units."""
    found = reading.sequences()
    targets, outputs = reading.targets_of(found)
    lengths = torch.tensor([len(sequence) for sequence in found.words or found.values])
    tested = reading.tested(found)
    rows = torch.arange(len(found)) if tested is None else tested.nonzero()[:, 0]
    if not len(rows):
        raise DataError(f"{found.table.file} holds no sequence of the part test: there is nothing to explain.")
    rows = rows[:instances]
    inputs, names, reference = _inputs(reading, found, lengths, vocabulary)
    steps = int(lengths[rows].max())
    truths = {
        name: dataclasses.replace(truth, values=truth.values[rows][:, :steps])
        for name, truth in reading.truths_of(found).items()
    }
    return {
        "inputs": inputs[rows][:, :steps],
        "lengths": lengths[rows],
        "targets": targets[rows],
        "truth": truths,
        "names": Names(features=names, outputs=outputs),
        **({} if reference is None else {"reference": reference}),
    }


def _inputs(
    reading: LabelledFile, found: Sequences, lengths: Tensor, vocabulary: Mapping[str, int] | None
) -> tuple[Tensor, tuple[str, ...], Tensor | None]:
    """Tokens, or features with their names and their mean."""
    if found.words:
        return _tokens(reading, found, vocabulary), (), None
    inputs = padded(found.values)
    valid = torch.arange(inputs.shape[1]) < lengths[:, None]
    names = found.features
    if reading.missing == "mask":
        inputs, names = marked(inputs, valid), marked_names(names)
    return inputs, names, _mean(inputs[valid], len(found.features))


def _tokens(reading: LabelledFile, found: Sequences, vocabulary: Mapping[str, int] | None) -> Tensor:
    """int64[B, T]: the tokens of the user's model; unknown words are ``<unk>``, if it has that."""
    if vocabulary is None:
        raise ParameterError(
            "A model of yours reads texts as tokens: say vocabulary={word: token, …}; '<unk>' stands for other words."
        )
    rows = []
    for place, words in enumerate(found.words):
        unknown = next((word for word in words if word not in vocabulary), None)
        if unknown is not None and "<unk>" not in vocabulary:
            raise found.table.refuse(
                int(found.rows[place]), reading.text, f"holds the word {unknown!r}, and the vocabulary has no '<unk>'."
            )
        rows.append(np.array([vocabulary.get(word, vocabulary.get("<unk>", 0)) for word in words], dtype=np.float64))
    return padded(rows).long()


def _mean(steps: Tensor, count: int) -> Tensor:
    """float[D]: the mean of the first ``count`` features over all steps [N, D], and 0 for the marks behind them."""
    mean = steps.double().mean(0)
    mean[count:] = 0
    return mean.float()
