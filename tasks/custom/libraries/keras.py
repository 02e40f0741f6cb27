"""Models of Keras with arrays, as Keras itself takes them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import DataError
from ...data.batch import Names
from .library_data import LibraryData, Wanted


class KerasPredict:
    """A Keras model as a function of arrays, for backends other than torch; it has no gradients here.

    Args:
        model: the model.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401  # the library is no dependency
        self.model = model

    def __call__(self, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Outputs of the model for inputs [B, …]."""
        return np.asarray(self.model.predict(inputs, verbose=0))


def data_of(model: Any, dataset: Any, wanted: Wanted) -> LibraryData:  # noqa: ANN401  # the library is no dependency
    """A model of Keras with the arrays (x, y) that it was trained on, or x alone.

    On Keras' torch backend the model is a torch module, which all methods can explain. On others it is a function.

    Raises:
        DataError: the arrays do not fit.
    """
    x, y = dataset if isinstance(dataset, tuple | list) and len(dataset) == 2 else (dataset, None)
    if not hasattr(x, "__len__") or not hasattr(x, "shape"):
        raise DataError(
            f"The data set of a Keras model is a {type(dataset).__name__}: give its arrays (x, y), or x alone."
        )
    keras = importlib.import_module("keras")
    chosen, others = wanted.rows(len(x))
    inputs, rest = (np.asarray(x)[rows.numpy()] for rows in (chosen, others))
    module = model if keras.backend.backend() == "torch" and isinstance(model, nn.Module) else KerasPredict(model)
    targets = None if y is None else _targets(np.asarray(y)[chosen.numpy()])
    return LibraryData(
        module, inputs, rest if len(rest) else None, targets, Names(), None, steps=False, options=_outputs(model)
    )


def _outputs(model: Any) -> dict[str, str]:  # noqa: ANN401  # as above
    """The kind of the outputs, as the activation of the last layer says it; nothing where it does not."""
    last = model.layers[-1] if getattr(model, "layers", None) else None
    name = getattr(getattr(last, "activation", None), "__name__", "")
    if name == "softmax":
        return {"outputs": "probabilities"}
    return {"outputs": "binary-probability"} if name == "sigmoid" and getattr(last, "units", 0) == 1 else {}


def _targets(y: np.ndarray[Any, Any]) -> Tensor:
    """Correct outputs as classes int64[B], from such or from indicators [B, K] of classes; other values as they are."""
    indicators = y.ndim == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all())
    values = torch.from_numpy(np.array(y))
    return values.argmax(1) if indicators else values
