"""Trained weights on disk, found again by everything they rest on.

One safetensors file for each model, in the folder ``XRNNBENCH_CACHE`` or else the user's cache folder. The file holds
the weights and, as metadata, what is known of their training and their own fingerprint. A file that cannot be read or
whose weights do not have that fingerprint is reported by a warning and trained again: the explanations of a wrong
model would look like any others.
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

# the variable and the folder are part of what a cache is, for those who look for it here
__all__ = ["VARIABLE", "Entry", "folder", "load", "place", "save"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A trained model as it is kept.

    Attributes:
        weights: the state of the network, by name.
        competence: its held-out score when it was trained.
        seconds: wall time of its training.
        peak_bytes: how much memory its training took, at most; 0 where the platform cannot tell.
        versions: of the packages it was trained with.
    """

    weights: dict[str, Tensor]
    competence: Competence
    seconds: float
    peak_bytes: int
    versions: dict[str, str]


def place(task: str, seed: int, key: str) -> Path:
    """The file of a model; the key decides, task and seed are there for whoever looks into the folder."""
    return folder() / "models" / f"{task}-seed{seed}-{key[:32]}.safetensors"


def load(path: Path) -> Entry | None:
    """The model in a file; None if there is none, or none that can be believed (which is logged)."""
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads(file.metadata()["xrnnbench"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        if tensors_fingerprint(weights) != metadata.pop("fingerprint"):
            raise ValueError("the weights are not those that were saved")  # noqa: TRY301  # handled like any damage
        return _entry(weights, metadata)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("The cached model %s is damaged (%s); it is trained again.", path, error)
        return None


def save(path: Path, entry: Entry) -> None:
    """Keep a model.

    Raises:
        DataError: the folder cannot be written.
    """
    metadata = {name: value for name, value in vars(entry).items() if name != "weights"}
    metadata |= {"competence": asdict(entry.competence), "fingerprint": tensors_fingerprint(entry.weights)}
    data = safetensors.torch.save(entry.weights, {"xrnnbench": json.dumps(metadata)})
    try:
        write_atomically(path, data)
    except OSError as error:
        raise DataError(
            f"The trained model cannot be kept in {path.parent} ({error.strerror}): set {VARIABLE} to a folder "
            "that can be written."
        ) from error


def _entry(weights: dict[str, Tensor], metadata: dict[str, Any]) -> Entry:
    return Entry(weights=weights, **metadata | {"competence": Competence(**metadata["competence"])})
