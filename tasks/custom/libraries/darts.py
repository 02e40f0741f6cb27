"""Recurrent forecasters of darts with a training data set of darts, or with its series."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import DataError
from ...data.batch import Names
from .library_data import LibraryData, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

# Fields of the library's samples that its networks read.
_FIELDS: Final = (
    "past_target", "past_covariates", "historic_future_covariates", "future_covariates", "static_covariates",
)  # fmt: skip


class DartsModule(nn.Module):
    """A network of darts as a module of named inputs.

    Args:
        network: the library's Lightning module, which takes its ``PLModuleInput``.
        module_input: the class of that container.
    """

    def __init__(self, network: nn.Module, module_input: type) -> None:
        super().__init__()
        self.network = network
        self.module_input = module_input

    def forward(self, **inputs: Tensor) -> Tensor:
        """Forecasts float[B, T, K], the parameters of all components one after another."""
        output = self.network(self.module_input(**inputs))
        prediction = getattr(output, "prediction", output)
        return prediction.flatten(2)  # type: ignore[no-any-return]  # the library's own tensor


def data_of(model: Any, dataset: Any, wanted: Wanted) -> LibraryData:  # noqa: ANN401  # the library is no dependency
    """A fitted forecaster with windows of a data set.

    Args:
        model: a forecaster of darts that is a torch model.
        dataset: its ``TorchTrainingDataset``, or one series, or a mapping with ``series`` and the covariates that
            the model was fitted with (``past_covariates``, ``future_covariates``).
        wanted: which windows and which step of the forecast.

    Raises:
        DataError: the model is not fitted, or the data set is of another kind.
    """
    network = getattr(model, "model", None)
    if not isinstance(network, nn.Module):
        raise DataError(f"{type(model).__name__} has no network yet: fit it before it is explained.")
    network.eval()
    windows = dataset if hasattr(dataset, "__getitem__") and _is_dataset(dataset) else _windows(model, dataset)
    chosen, others = wanted.rows(len(windows))
    inputs, future = _stacked(windows, chosen)
    wanted.check_horizon(future.shape[1])
    background = _stacked(windows, others)[0] if len(others) else None
    components = future.shape[2]
    parameters = int(getattr(network, "nr_params", 1) or 1)
    targets = future[:, min(wanted.horizon, future.shape[1] - 1)].repeat_interleave(parameters, 1)
    container = importlib.import_module("darts.utils.data.torch_datasets.utils").PLModuleInput
    outputs = tuple(f"component {place}" for place in range(components)) if parameters == 1 and components > 1 else ()
    return LibraryData(DartsModule(network, container), inputs, background, targets, Names(outputs=outputs))


def _is_dataset(dataset: object) -> bool:
    """Whether this is one of the library's data sets of windows, and not a series or a mapping."""
    return type(dataset).__module__.startswith("darts.utils.data")


def _windows(model: Any, given: Any) -> Any:  # noqa: ANN401  # the library is no dependency
    """The library's data set of all windows of some series."""
    parts: Mapping[str, Any] = given if isinstance(given, dict) else {"series": given}
    unknown = set(parts) - {"series", "past_covariates", "future_covariates"}
    if unknown or "series" not in parts:
        raise DataError(
            "The data set of darts is a TorchTrainingDataset, a TimeSeries, or a mapping with 'series', "
            "'past_covariates' and 'future_covariates'."
        )
    data = importlib.import_module("darts.utils.data")
    return data.SequentialTorchTrainingDataset(
        input_chunk_length=model.input_chunk_length,
        output_chunk_length=model.output_chunk_length,
        use_static_covariates=bool(getattr(model, "uses_static_covariates", False)),
        **parts,
    )


def _stacked(windows: Any, rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:  # noqa: ANN401  # as above
    """Inputs [B, …] by name of some windows, and the true future float[B, T, C]."""
    samples = [windows[row] for row in rows.tolist()]
    if not samples or not dataclasses.is_dataclass(samples[0]):
        raise DataError(f"The samples of {type(windows).__name__} are not those of a TorchTrainingDataset of darts.")
    inputs = {
        name: torch.from_numpy(np.stack([getattr(sample, name) for sample in samples]))
        for name in _FIELDS
        if getattr(samples[0], name) is not None
    }
    return inputs, torch.from_numpy(np.stack([sample.future_target for sample in samples]))
