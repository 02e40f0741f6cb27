"""Task of a model and a data set of another library, each in that library's own form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from ....errors import DataError
from ..given import GivenTask, task_from_model
from . import darts, keras, pytorch_forecasting
from .library_data import LibraryData, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

# How the model and the data set of each library are read, by the name of its package.
_LIBRARIES: dict[str, Callable[[Any, Any, Wanted], LibraryData]] = {
    "pytorch_forecasting": pytorch_forecasting.data_of,
    "darts": darts.data_of,
    "keras": keras.data_of,
}


def task_from(  # one argument for each plain thing a user may want
    model: object,
    dataset: object,
    *,
    name: str = "my-model",
    horizon: int = 0,
    sequences: int = 32,
    background: int = 64,
    **options: Any,  # noqa: ANN401  # passed on to task_from_model, which checks them
) -> GivenTask:
    """Task of a trained model of another library, with sequences of that library's own data set.

    The inputs of a forecaster are what the library's data set gives: the past, what is known of the future, and static
    values, each with the names of its variables. All are explained together. What the model reads besides, such as
    lengths and the scale of the target, is held fixed.

    Args:
        model: of pytorch-forecasting a network with covariates (``TemporalFusionTransformer``, ``DeepAR`` and others);
            of darts a fitted recurrent forecaster (``BlockRNNModel``, ``RNNModel``); a model of Keras, which all
            methods explain on its torch backend, and those without gradients on others.
        dataset: of pytorch-forecasting a ``TimeSeriesDataSet``; of darts a ``TorchTrainingDataset``, a series, or a
            mapping with ``series`` and the covariates that the model was fitted with; of Keras the arrays (x, y).
        name: name of the task in results.
        horizon: the explained step of a forecast, from 0.
        sequences: number of sequences to explain, evenly spaced in the data set.
        background: number of other sequences at most, from which methods draw replacements.
        options: of :func:`xrnnbench.task_from_model`, such as ``target`` (the number or the name of the output; by
            default the median, or the mean of the distribution) and ``reference``.

    Raises:
        DataError: the library is not known, or its model and data set do not fit.
    """
    wanted = Wanted(horizon, sequences, background)
    package = type(model).__module__.partition(".")[0]
    if package not in _LIBRARIES:
        raise DataError(
            f"The model is a {type(model).__name__} of {package!r}, and task_from reads those of "
            f"{', '.join(_LIBRARIES)}: give the module and its arrays to task_from_model."
        )
    if isinstance(model, nn.Module):
        model.eval()
    data = _LIBRARIES[package](model, dataset, wanted)
    arguments = {
        "targets": data.targets,
        "background": data.background,
        "names": data.names,
        "target": data.target,
        **({"outputs": "values", "step": horizon} if data.steps else {}),
        **data.options,
    }
    if horizon and not data.steps:
        raise DataError(f"horizon={horizon} is for a forecast of several steps, and this model has none: leave it out.")
    return task_from_model(data.model, data.inputs, name=name, **(arguments | options))
