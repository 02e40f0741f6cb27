"""Forecasters of pytorch-forecasting, such as TemporalFusionTransformer and DeepAR, with a TimeSeriesDataSet.

The library's networks take one dictionary, in whose tensors the variables are columns: static ones are repeated along
all steps, and those that are not known in advance have columns in the future too. :class:`PastFutureStatic` builds this
dictionary from the past, the known future and the static values, each of which is one input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....errors import DataError
from ...data.batch import Names
from .library_data import LibraryData, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBERS: Final = ("past", "future", "static")
_IDS: Final = ("past_categories", "future_categories", "static_categories")
# Tensors of the library's dictionary that hold variables, by the names of our inputs for their columns.
_TENSORS: Final = {
    "encoder_cont": ("past", "static"),
    "decoder_cont": ("future", "static"),
    "encoder_cat": ("past_categories", "static_categories"),
    "decoder_cat": ("future_categories", "static_categories"),
}


@dataclass(frozen=True)
class Columns:
    """Names of the variables.

    Attributes:
        tensors: names of the columns of the library's tensors, by tensor.
        inputs: names of the variables of each of our inputs, in order.
    """

    tensors: Mapping[str, tuple[str, ...]]
    inputs: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, network: Any) -> Columns:  # noqa: ANN401  # the library is no dependency
        """The variables of a network.

        Raises:
            DataError: the network has no covariates, or embeds several categories together.
        """
        hyper = getattr(network, "hparams", {})
        if "x_reals" not in hyper:
            raise DataError(
                f"{type(network).__name__} is no model with covariates of pytorch-forecasting: give its module and "
                "arrays to task_from_model."
            )
        if hyper.get("categorical_groups"):
            raise DataError(
                f"{type(network).__name__} embeds groups of categories together, which cannot be explained one by one."
            )
        targets = set(network.target_names)
        reals, categories = tuple(hyper["x_reals"]), tuple(hyper["x_categoricals"])
        return cls(
            {"encoder_cont": reals, "decoder_cont": reals, "encoder_cat": categories, "decoder_cat": categories},
            {
                "past": _in_order(reals, hyper["time_varying_reals_encoder"]),
                "future": _in_order(reals, set(hyper["time_varying_reals_decoder"]) - targets),
                "static": _in_order(reals, hyper["static_reals"]),
                "past_categories": _in_order(categories, hyper["time_varying_categoricals_encoder"]),
                "future_categories": _in_order(categories, set(hyper["time_varying_categoricals_decoder"]) - targets),
                "static_categories": _in_order(categories, hyper["static_categoricals"]),
            },
        )

    def taken_apart(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our inputs, by name, from the library's dictionary; those without variables are left out."""
        inputs = {}
        for tensor, (moving, static) in _TENSORS.items():
            inputs[moving] = x[tensor][..., self._places(tensor, moving)]
            inputs[static] = x[tensor][:, 0, self._places(tensor, static)]
        return {name: inputs[name] for name in (*_NUMBERS, *_IDS) if self.inputs[name]}

    def put_together(self, tensor: str, inputs: Mapping[str, Tensor], given: Tensor) -> Tensor:
        """One of the library's tensors [B, T, V] from our inputs; variables that are none of them stay as given."""
        moving, static = _TENSORS[tensor]
        columns = []
        for place, name in enumerate(self.tensors[tensor]):
            if name in self.inputs[moving]:
                number = self.inputs[moving].index(name)
                columns.append(inputs[moving][..., number : number + 1])
            elif name in self.inputs[static]:
                number = self.inputs[static].index(name)
                columns.append(inputs[static][:, None, number : number + 1].expand(-1, given.shape[1], -1))
            else:
                columns.append(given[..., place : place + 1])
        return torch.cat(columns, 2) if columns else given

    def _places(self, tensor: str, name: str) -> list[int]:
        return [self.tensors[tensor].index(variable) for variable in self.inputs[name]]


class PastFutureStatic(nn.Module):
    """A network of pytorch-forecasting as a module of the past, the known future and static values.

    Args:
        network: the library's network, which takes its dictionary ``x``.
        columns: the variables.
    """

    def __init__(self, network: nn.Module, columns: Columns) -> None:
        super().__init__()
        self.network = network
        self.columns = columns

    def forward(self, **inputs: Tensor) -> Tensor:
        """Forecasts float[B, T, K] of inputs by name, with the rest of the library's dictionary."""
        return self.forecasts(self.output(inputs))

    def output(self, inputs: Mapping[str, Tensor]) -> Any:  # noqa: ANN401  # the library's named tuple
        """Output of the network."""
        # the library cuts its batches to the longest past, and relies on it
        longest = int(inputs["encoder_lengths"].max())
        cut = {
            name: value[:, :longest] if name.startswith(("past", "encoder_c", "encoder_t")) else value
            for name, value in inputs.items()
        }
        x = {name: value for name, value in cut.items() if name not in self.columns.inputs}
        x |= {tensor: self.columns.put_together(tensor, cut, cut[tensor]) for tensor in _TENSORS}
        return self.network(x)

    @staticmethod
    def forecasts(output: Any) -> Tensor:  # noqa: ANN401  # the library's named tuple
        """Forecasts float[B, T, K] of an output.

        Raises:
            DataError: the network forecasts several targets.
        """
        if not isinstance(output.prediction, Tensor):
            raise DataError("The network forecasts several targets: one at a time can be explained.")
        return output.prediction


class FusionTransformer(PastFutureStatic):
    """A TemporalFusionTransformer, which shows its attention and its selection of variables."""

    def forward_with_attention(self, **inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Forecasts and the attention of each step of the forecast, mean over the heads: float[B, U, T] by input."""
        output = self.output(inputs)
        weights = {}
        for name, own in {"past": output.encoder_attention, "future": output.decoder_attention}.items():
            first = next(each for each in (name, f"{name}_categories") if each in inputs)
            # the library cuts its batches to the longest past
            weights[first] = F.pad(own.mean(2), (0, inputs[first].shape[1] - own.shape[-1]))
        return self.forecasts(output), weights

    def forward_with_selection(self, **inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Forecasts and the weights of variable selection, by input in its shape."""
        output = self.output(inputs)
        known = {
            "past": (output.encoder_variables[:, :, 0], self.selected("encoder_variables")),
            "future": (output.decoder_variables[:, :, 0], self.selected("decoder_variables")),
            "static": (output.static_variables[:, 0], self.selected("static_variables")),
        }
        weights = {}
        for name, (values, variables) in known.items():
            for own in (name, f"{name}_categories"):
                if own in inputs:
                    chosen = values[..., [variables.index(variable) for variable in self.columns.inputs[own]]]
                    missing = 0 if chosen.dim() == 2 else inputs[own].shape[1] - chosen.shape[1]  # as above
                    weights[own] = F.pad(chosen, (0, 0, 0, missing)) if missing else chosen
        return self.forecasts(output), weights

    def selected(self, kind: str) -> list[str]:
        """Variables of one of the network's variable selections, in the order of its weights."""
        return list(getattr(self.network, kind))


def data_of(network: Any, dataset: Any, wanted: Wanted) -> LibraryData:  # noqa: ANN401  # the library is no dependency
    """A network with sequences of a TimeSeriesDataSet.

    Raises:
        DataError: the network or the data set are of another kind.
    """
    columns = Columns.of(network)
    chosen, others = wanted.rows(len(dataset))
    x = _collated(dataset, chosen)
    wanted.check_horizon(x["decoder_target"].shape[1] if isinstance(x["decoder_target"], Tensor) else 0)
    inputs = columns.taken_apart(x)
    held = {name: value for name, value in x.items() if isinstance(value, Tensor)}
    outputs, target = _outputs(network)
    shows = all(hasattr(network, f"{name}_variable_selection") for name in ("encoder", "decoder", "static"))
    model = (FusionTransformer if shows else PastFutureStatic)(network, columns)
    background = columns.taken_apart(_collated(dataset, others)) if len(others) else None
    correct = x["decoder_target"][:, wanted.horizon, None].expand(-1, max(len(outputs), 1))
    lengths = {name: x["encoder_lengths"] for name in ("past", "past_categories") if name in inputs}
    return LibraryData(
        model,
        inputs,
        _of_one_length(background, inputs),
        correct.float(),
        Names(features=cast("Any", {name: columns.inputs[name] for name in inputs}), outputs=outputs),
        target,
        options={"context": held, "lengths": lengths, "ids": _ids(dataset, x)},
    )


def _in_order(variables: Sequence[str], chosen: Any) -> tuple[str, ...]:  # noqa: ANN401  # a list or a set
    return tuple(variable for variable in variables if variable in set(chosen))


def _collated(dataset: Any, rows: Tensor) -> dict[str, Any]:  # noqa: ANN401  # the library is no dependency
    """The library's dictionary of some sequences."""
    x, _ = dataset._collate_fn([dataset[row] for row in rows.tolist()])  # noqa: SLF001  # what its own loader calls
    return dict(x)


def _of_one_length(background: dict[str, Tensor] | None, inputs: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """A background with as many steps as the inputs: cut, or with the last step repeated."""
    if background is None:
        return None
    fitted = {}
    for name, value in background.items():
        steps = inputs[name].shape[1]
        missing = steps - value.shape[1]
        if inputs[name].dim() < 3 or not missing:
            fitted[name] = value
        else:
            fitted[name] = torch.cat([value, value[:, -1:].expand(-1, max(missing, 0), -1)], 1)[:, :steps]
    return fitted


def _outputs(network: Any) -> tuple[tuple[str, ...], int]:  # noqa: ANN401  # as above
    """Names of the outputs, and the number of that which is explained by default: the median, or the mean."""
    loss = network.loss
    if arguments := getattr(loss, "distribution_arguments", None):
        # the library puts the scale of the target before the parameters of the distribution
        return ("target centre", "target scale", *map(str, arguments)), 2
    names = tuple(f"quantile {quantile:g}" for quantile in getattr(loss, "quantiles", None) or ())
    return (names, len(names) // 2) if len(names) > 1 else ((), 0)


def _ids(dataset: Any, x: Mapping[str, Tensor]) -> list[str] | None:  # noqa: ANN401  # as above
    """Identifiers of sequences: their group and the time of their first forecast; None if these are not unique."""
    index = dataset.x_to_index(x)
    ids = [" ".join(map(str, row)) for row in index[[*dataset.group_ids, dataset.time_idx]].to_numpy().tolist()]
    return ids if len(set(ids)) == len(ids) else None
