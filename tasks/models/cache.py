"""Cache of trained models on disk, keyed by everything that determines their weights.

There is one safetensors file for each model, in the folder ``XRNNBENCH_CACHE`` or else the user's cache folder. The
file holds the weights and, as metadata, the facts of their training, their fingerprint, and its own name, which has the
key. If a file cannot be read, if its weights do not match the fingerprint, or if it was made under another name, a
warning is logged and the model is trained again: the explanations of a wrong model would look like any others.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
from torch import Tensor

from ...atomic import write_atomically
from ...cache_folder import VARIABLE, folder
from ...errors import DataError
from ...fingerprints import tensors_fingerprint
from ..data.batch import Competence

if TYPE_CHECKING:
    from pathlib import Path

# the variable and the folder are re-exported: both belong to the cache
__all__ = ["VARIABLE", "CachedModel", "folder", "load", "model_path", "save"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedModel:
    """Weights of a trained model, with the facts of its training.

    Attributes:
        weights: the network's state dict.
        competence: its held-out score when it was trained.
        seconds: wall time of its training.
        peak_bytes: peak memory of its training, in bytes; None where it could not be measured (0 in files of earlier
            versions).
        versions: of the packages it was trained with.
    """

    weights: dict[str, Tensor]
    competence: Competence
    seconds: float
    peak_bytes: int | None
    versions: dict[str, str]


def model_path(task: str, seed: int, key: str) -> Path:
    """Path of a model's file; the key identifies the model, task and seed are there for human readers."""
    return folder() / "models" / f"{task}-seed{seed}-{key[:32]}.safetensors"


def keep_file(name: str, content: bytes) -> None:
    """Keep the file of a model that was trained elsewhere; one that is there already stays.

    Args:
        name: of the file, as :func:`model_path` gives it.
        content: of the file, as it was saved.

    Raises:
        DataError: the folder cannot be written.
    """
    path = folder() / "models" / name
    if not path.is_file():
        _write(path, content)


def load(path: Path) -> CachedModel | None:
    """Load a model from its file; None if there is no file, or if it is damaged (which is logged)."""
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads(file.metadata()["xrnnbench"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        if tensors_fingerprint(weights) != metadata.pop("fingerprint"):
            raise ValueError("the weights are not those that were saved")  # noqa: TRY301  # handled like any damage
        # files of earlier versions do not name themselves
        if (name := metadata.pop("file", path.name)) != path.name:
            raise ValueError(f"it is the model {name!r}, copied or renamed")  # noqa: TRY301  # as above
        return _cached_model(weights, metadata)
    except (
        safetensors.SafetensorError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        _log.warning("The cached model %s is damaged (%s); it is trained again.", path, error)
        return None


def save(path: Path, model: CachedModel) -> None:
    """Save a model to its file.

    Raises:
        DataError: the folder cannot be written.
    """
    metadata = {name: value for name, value in vars(model).items() if name != "weights"}
    fingerprint = tensors_fingerprint(model.weights)
    metadata |= {"competence": asdict(model.competence), "fingerprint": fingerprint, "file": path.name}
    _write(path, safetensors.torch.save(model.weights, {"xrnnbench": json.dumps(metadata)}))


def _write(path: Path, data: bytes) -> None:
    """Write a file of the cache.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        write_atomically(path, data)
    except OSError as error:
        raise DataError(
            f"The trained model cannot be kept in {path.parent} ({error.strerror}): set {VARIABLE} to a folder "
            "that can be written."
        ) from error


def _cached_model(weights: dict[str, Tensor], metadata: dict[str, Any]) -> CachedModel:
    return CachedModel(weights=weights, **metadata | {"competence": Competence(**metadata["competence"])})
