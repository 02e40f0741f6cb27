"""Published models: trained weights that ship with the package, so that all users evaluate the same models.

A folder holds one safetensors file for each model and a ``manifest.json``, which lists for each model its basis (what
determines its weights), its held-out score and the SHA-256 of its file. A model is used only for a task with the same
basis: the same parameters, recipe, version, network and training data. The version of torch does not matter, because
weights do not depend on it once they are trained. The folder is this package's own, or that of the environment variable
``XRNNBENCH_PUBLISHED``.

Reading the manifest needs no torch.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import DataError
from ...outside_files import read_bytes

VARIABLE: Final = "XRNNBENCH_PUBLISHED"
MANIFEST: Final = "manifest.json"
_WAY_OUT: Final = "reinstall xrnnbench, or say --retrain to train the models instead"

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Basis(_Frozen):
    """Basis of a model: fingerprints of everything that determines its weights, so that differences can be named.

    Attributes:
        parameters: of the task parameters that shape the model.
        recipe: of the hyperparameters, and the versions of the task and of the training code.
        network: of the untrained network.
        data: of the training data.
    """

    parameters: str
    recipe: str
    network: str
    data: str

    def differing(self, other: Basis) -> tuple[str, ...]:
        """Names of the fields in which two bases differ."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) != getattr(other, name))


class Score(_Frozen):
    """Held-out score of a model; see :class:`xrnnbench.tasks.data.batch.Competence`."""

    measure: str
    score: float
    gate: float
    baseline: float


class Published(_Frozen):
    """Entry of the manifest: one published model.

    Attributes:
        task: name of its task.
        seed: the model seed.
        file: name of its file within the folder.
        sha256: of the file.
        basis: fingerprints of what determines the weights.
        weights: fingerprint of the weights.
        competence: its held-out score, with gate and baseline, when it was published.
        seconds, peak_bytes, versions: of its training; see :class:`xrnnbench.tasks.trained.Training`.
    """

    task: str
    seed: Annotated[int, Field(ge=0)]
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+\.safetensors$")]
    sha256: _Sha256
    basis: Basis
    weights: _Sha256
    competence: Score
    seconds: float
    peak_bytes: int | None
    versions: dict[str, str]

    def read(self) -> bytes:
        """Read the model's file.

        Raises:
            DataError: the file is missing, or its SHA-256 is not that of the manifest.
        """
        path = folder() / self.file
        try:
            data = read_bytes(path)
        except OSError as error:
            raise DataError(
                f"The published model {self.file} cannot be read ({error.strerror or 'no reason given'}): {_WAY_OUT}."
            ) from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DataError(
                f"The published model {self.file} is damaged (its SHA-256 is not that of {MANIFEST}): {_WAY_OUT}."
            )
        return data


class Manifest(_Frozen):
    """Manifest of the published models.

    Attributes:
        format: version of the file format.
        origin: provenance of the run that trained the models; see
            :func:`xrnnbench.harness.results.provenance.provenance`.
        models: one entry for each model.
    """

    format: Literal[1] = 1
    origin: dict[str, Any] = {}
    models: tuple[Published, ...] = ()


def folder() -> Path:
    """Folder of the published models."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    return Path(str(resources.files(f"{__package__}.weights")))


def manifest() -> Manifest:
    """Read the folder's manifest; an empty one if nothing is published.

    Raises:
        DataError: it is damaged, or ``XRNNBENCH_PUBLISHED`` names a folder without one.
    """
    path = folder() / MANIFEST
    try:
        status = path.stat()
    except OSError as error:
        if os.environ.get(VARIABLE):
            raise DataError(
                f"There is no {MANIFEST} in {path.parent}, the folder that {VARIABLE} names: 'xrnnbench publish' "
                "writes one."
            ) from error
        return Manifest()
    return _read(path, (status.st_size, status.st_mtime_ns))


def find_entry(task: str, seed: int, parameters: str) -> Published | None:
    """The manifest's entry for a task, its parameters and a seed; None if there is none.

    The rest of its basis may differ from that of the task.

    Args:
        task: name of the task.
        seed: the model seed.
        parameters: fingerprint, as in :class:`Basis`.

    Raises:
        DataError: as for :func:`manifest`.
    """
    key = (task, seed, parameters)
    entries = manifest().models
    return next((entry for entry in entries if (entry.task, entry.seed, entry.basis.parameters) == key), None)


def manifest_hash() -> str:
    """SHA-256 of the manifest, in hexadecimal; ``""`` if nothing is published."""
    path = folder() / MANIFEST
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@lru_cache(maxsize=4)
def _read(path: Path, stamp: tuple[int, int]) -> Manifest:  # noqa: ARG001  # another stamp is another content
    try:
        return Manifest.model_validate_json(read_bytes(path))
    except (OSError, ValidationError) as error:
        raise DataError(f"The list of published models, {path.name}, is damaged: {_WAY_OUT}.") from error
