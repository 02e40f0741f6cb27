"""A user's own model and data on the command line: a model in a Python file, and arrays in an ``.npz`` file."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from torch import nn

from ...bounded_files import user_path
from ...errors import DataError, UsageError
from ...outside_files import read_arrays
from ...plugins import Plugin, build, kebab, load_file, nearest
from ...spec_files import file_spec
from ...tasks.base import Task
from ...tasks.custom.arrays import tensor_from
from ...tasks.custom.from_csv import own_data_of
from ...tasks.custom.given import task_from_model
from ...tasks.custom.own_subject import DATA_ARGUMENTS
from ...tasks.data.batch import Names, Truth
from ...tasks.engine.adapters import PredictFunction
from ...tasks.engine.signature import entry_point

if TYPE_CHECKING:
    from ...tasks.custom.csv_task import CsvTask
    from .options import ModelOptions

# Names of arrays that hold names of other things, by the field of Names.
_NAMES: Final = {"feature_names": "features", "output_names": "outputs", "vocabulary": "vocabulary"}
_TABLES: Final = frozenset({"csv", "csv-forecast"})
_NO_ARRAYS: Final = frozenset({"context", "names", "granularity", "layer"})
ARRAYS: Final = (*(name for name in DATA_ARGUMENTS if name not in _NO_ARRAYS), *_NAMES)


def own_value(about: str) -> Any:  # noqa: ANN401  # whatever a user's file holds
    """Value that a user's file names: a task, or a model, or a list of models; None if the spec is that of a plug-in.

    The name may be that of a task made by :func:`xrnnbench.task_from_model`, of a module, of its class or a function
    without parameters, which make one of these, or of a function from arrays to scores.

    Raises:
        UsageError: the file has no such name.
    """
    spec = file_spec(about)
    if spec is None and Path(about).suffix == ".py":
        raise UsageError(f"{about} is a file: name the model or the task in it, as in {about}:NAME.")
    if spec is None and Path(about).is_file():
        raise UsageError(f"{about} is no Python file: load the model in one, and name it, as in nets.py:NAME.")
    if spec is None or spec.parameters:
        return None
    file = load_file(spec.path)
    value = getattr(file, spec.name, None)
    if value is None:
        raise UsageError(f"{spec.path} has no {spec.name!r}{nearest(spec.name, vars(file)) or '.'}")
    if isinstance(value, type) and issubclass(value, Plugin):
        return None
    return value() if _is_factory(value) else value


def own_models(about: str, value: Any) -> list[Any]:  # noqa: ANN401  # as above
    """Models of a user's file, several if its value is a list.

    Args:
        about: the spec, for messages.
        value: from :func:`own_value`.

    Raises:
        UsageError: the value is no model.
    """
    models = list(value) if isinstance(value, list | tuple | nn.ModuleList) else [value]
    for model in models:
        if isinstance(model, type) or not (isinstance(model, nn.Module) or callable(model)):
            kind = f"class {model.__name__}" if isinstance(model, type) else type(model).__name__
            raise UsageError(
                f"{about} is a {kind}: expected a torch.nn.Module, a function that returns one, a function from arrays "
                "to scores, a list of these, or a task."
            )
    if not models:
        raise UsageError(f"{about} is an empty list: give at least one model.")
    return models


def _is_factory(value: Any) -> bool:  # noqa: ANN401  # as above
    """Whether a value is the class of a module, or a function without parameters, which makes a model or a task."""
    if isinstance(value, type):
        return issubclass(value, nn.Module)
    return inspect.isfunction(value) and not inspect.signature(value).parameters


def own_arguments(about: str, model: Any, own: ModelOptions) -> dict[str, Any]:  # noqa: ANN401  # a user's own model
    """Arguments of a user's model, as :func:`xrnnbench.explain` takes them: those of its data, and the options.

    Args:
        about: the model, for messages.
        model: the model, whose parameters name its context.
        own: the options; ``data`` is the path of an ``.npz`` file, or the spec of a table, ``csv:path=…``.

    Raises:
        UsageError: no data are given, or an argument is given twice.
        DataError: the file is missing, or does not fit.
    """
    data, given = own.data, own.arguments
    if data is None:
        raise UsageError(
            f"{about} is a model: give it sequences with --data file.npz, or --data csv:path=file.csv,… for a table."
        )
    if data.partition(":")[0] in _TABLES and ":" in data:
        return own_data_of(cast("CsvTask", build("task", data))) | given
    if data.endswith((".csv", ".tsv", ".txt")):
        raise UsageError(
            f"{data} is a table: say what its columns are, as in --data csv:path={data},id=patient,time=hour,"
            "predict=outcome ('xrnnbench show csv' lists all roles)."
        )
    arrays = _arrays_of(user_path(data), about, model)
    for name in given:
        if name in arrays:
            raise UsageError(f"{name} is given by {data} and by --{name.replace('_', '-')}: leave one out.")
    return arrays | given


def _arrays_of(path: Path, about: str, model: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
    """Data arguments from an ``.npz`` file.

    Arrays are called by the names of the arguments; an array that is named as a parameter of the model is its context.

    Raises:
        DataError: the file is no ``.npz`` of plain arrays, or has no inputs, or an array of unknown name.
    """
    arrays = read_arrays(path)
    several = _taken_by_input(arrays, str(path))
    if several:
        return _with_others(several, _arrays_beside(arrays, path, about, model))
    if "inputs" not in arrays:
        raise DataError(
            f"{str(path)!r} has no array 'inputs': int[B, T] tokens or float[B, T, D] features"
            f"{nearest('inputs', arrays) or '.'}"
        )
    return _arrays_beside(arrays, path, about, model)


# Arguments that several inputs have by the names of inputs: arrays such as inputs.past and lengths.past.
_BY_INPUT: Final = ("inputs", "lengths", "reference", "background", "truth", "feature_names", "context")


def _taken_by_input(arrays: dict[str, np.ndarray[Any, Any]], path: str) -> dict[str, Any]:
    """Arguments by the names of several inputs, taken out of the arrays of a file; none if it has one input.

    Raises:
        DataError: the file has one input, or an argument of it, and several as well.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name in list(arrays):
        argument, dot, own = name.partition(".")
        if dot and argument in _BY_INPUT:
            value = arrays.pop(name)
            names = argument == "feature_names"
            groups.setdefault(argument, {})[own] = _names(name, value) if names else _tensor(argument, value)
    if "inputs" not in groups:
        if groups:
            raise DataError(f"{path!r} has an array {min(groups)!r} by input, and no 'inputs.…': name the inputs too.")
        return {}
    twice = next((name for name in groups if name in arrays and name != "lengths"), None)
    if twice is not None:
        raise DataError(f"{path!r} has an array {twice!r} and others '{twice}.…': give one or the others.")
    if "feature_names" in groups:
        features = {name: tuple(map(str, values)) for name, values in groups.pop("feature_names").items()}
        groups["names"] = Names(features=cast("Any", features))  # type: ignore[assignment]  # a mapping, of several inputs
    if "truth" in groups:
        signed = any(bool((values < 0).any()) for values in groups["truth"].values())
        truth = Truth(cast("Any", groups["truth"]), "planted", "the explained output", signed=signed)
        groups["truth"] = truth  # type: ignore[assignment]  # the argument itself
    return dict(groups)


def _with_others(several: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Arguments by input together with others; names of outputs and context may come from both."""
    together = others | several
    if "names" in several and "names" in others:
        together["names"] = dataclasses.replace(others["names"], features=several["names"].features)
    if "context" in several and "context" in others:
        together["context"] = others["context"] | several["context"]
    return together


def _arrays_beside(
    arrays: dict[str, np.ndarray[Any, Any]],
    path: Path,
    about: str,
    model: Any,  # noqa: ANN401  # as above
) -> dict[str, Any]:
    """Data arguments from the arrays of a file that are not by input."""
    module = model if isinstance(model, nn.Module) else PredictFunction(model, about)
    parameters = list(inspect.signature(entry_point(module)[0]).parameters)
    context = {}
    for name in [name for name in arrays if name not in ARRAYS]:
        if name not in parameters:
            known = dict.fromkeys([*ARRAYS, *parameters])
            raise DataError(
                f"{str(path)!r} has an array {name!r}{nearest(name, known) or '.'} The names are {', '.join(ARRAYS)}, "
                f"and for context those of the model's parameters ({', '.join(parameters)})."
            )
        context[name] = arrays.pop(name)
    names = {field: tuple(map(str, _names(name, arrays.pop(name)))) for name, field in _NAMES.items() if name in arrays}
    found = {name: _tensor(name, array) for name, array in arrays.items()}
    if "truth" in found:
        found["truth"] = Truth(
            found["truth"], "planted", "the explained output", signed=bool((found["truth"] < 0).any())
        )
    return (
        found
        | ({"names": Names(**names)} if names else {})
        | ({"context": {name: _tensor(name, array) for name, array in context.items()}} if context else {})
    )


def _names(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array that is a list of names, which may be numbers."""
    if array.ndim != 1 or array.dtype.kind not in "Uiufb":
        raise DataError(f"The array {name!r} is {array.dtype}{list(array.shape)}: expected a list of names, str[N].")
    return array


def _tensor(name: str, array: np.ndarray[Any, Any]) -> Any:  # noqa: ANN401  # a tensor, or names as they are
    """Array of numbers as a tensor, whole numbers as int64; names of sequences or outputs as a list."""
    if name == "ids" or (name in {"targets", "target"} and array.dtype.kind == "U" and array.ndim):
        return _names(name, array).tolist()
    if name == "target" and array.dtype.kind == "U":
        return str(array)
    if array.dtype.kind not in "biuf":
        raise DataError(f"The array {name!r} is of type {array.dtype}: expected numbers.")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"The array {name!r} holds {array.max()}, and whole numbers go up to {np.iinfo(np.int64).max}.")
    return tensor_from(array.astype(np.int64) if array.dtype.kind in "iu" else array, f"values of {name!r}")


def own_task(about: str, own: ModelOptions) -> Task | None:
    """Task of a user's file: one that it has made, or one of its model, called by the model's name.

    Returns:
        the task; None if the spec is that of a plug-in.

    Raises:
        UsageError: the model or its data do not fit, or options of a model are given for a task.
    """
    value = own_value(about)
    if value is None:
        return None
    if isinstance(value, Task):
        own.refuse_for_task(about)
        return value
    models = own_models(about, value)
    spec = file_spec(about)
    arguments = own_arguments(about, models[0], own)
    inputs = arguments.pop("inputs")
    model = models if len(models) > 1 else models[0]
    return task_from_model(model, inputs, name=kebab(spec.name if spec else about), **arguments)
