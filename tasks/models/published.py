"""Published weights: the models that everybody judges, kept with the package.

A folder holds one safetensors file for each model and a ``manifest.json``, which says what each model rests on, how
good it is and the SHA-256 of its file. A model is taken only for a task that rests on the very same: its parameters,
its recipe and version, its network and the data it learns from; the version of torch does not matter, for weights are
weights. The folder is this package's own, or that of the variable ``XRNNBENCH_PUBLISHED``.

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

VARIABLE: Final = "XRNNBENCH_PUBLISHED"
MANIFEST: Final = "manifest.json"
_WAY_OUT: Final = "reinstall xrnnbench, or say --retrain to train the models instead"

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Basis(_Frozen):
    """What weights rest on: fingerprints of each, so that what differs can be named.

    Attributes:
        parameters: those of the task that shape the model.
        recipe: how it is trained, and the versions of the task and of the code that trains.
        network: what is trained.
        data: what it learns from.
    """

    parameters: str
    recipe: str
    network: str
    data: str

    def differing(self, other: Basis) -> tuple[str, ...]:
        """In what the two differ."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) != getattr(other, name))


class Score(_Frozen):
    """How good a model is on what was held out; see :class:`xrnnbench.tasks.data.batch.Competence`."""

    measure: str
    score: float
    gate: float
    baseline: float


class Published(_Frozen):
    """One published model.

    Attributes:
        task: its name.
        seed: the model seed.
        file: within the folder.
        sha256: of the file.
        basis: what the weights rest on.
        weights: their fingerprint.
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
    peak_bytes: int
    versions: dict[str, str]

    def read(self) -> bytes:
        """The content of its file.

        Raises:
            DataError: the file is missing, or not the one that was published.
        """
        path = folder() / self.file
        try:
            data = path.read_bytes()
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
    """What is published.

    Attributes:
        origin: of the run that gave the models; see :func:`xrnnbench.harness.results.provenance.provenance`.
        models: one entry for each.
    """

    format: Literal[1] = 1
    origin: dict[str, Any] = {}
    models: tuple[Published, ...] = ()


def folder() -> Path:
    """Where published models are."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    return Path(str(resources.files(f"{__package__}.weights")))


def manifest() -> Manifest:
    """What the folder's manifest says; an empty one where nothing is published.

    Raises:
        DataError: it is damaged, or ``XRNNBENCH_PUBLISHED`` names a folder without one.
    """
    path = folder() / MANIFEST
    try:
        found = path.stat()
    except OSError as error:
        if os.environ.get(VARIABLE):
            raise DataError(
                f"There is no {MANIFEST} in {path.parent}, the folder that {VARIABLE} names: 'xrnnbench publish' "
                "writes one."
            ) from error
        return Manifest()
    return _read(path, (found.st_size, found.st_mtime_ns))


def listed(task: str, seed: int, parameters: str) -> Published | None:
    """The entry of a task with these parameters and a seed, whatever else it rests on; None if there is none.

    Args:
        task: its name.
        seed: the model seed.
        parameters: as in :class:`Basis`.

    Raises:
        DataError: as for :func:`manifest`.
    """
    asked = (task, seed, parameters)
    return next((each for each in manifest().models if (each.task, each.seed, each.basis.parameters) == asked), None)


def state() -> str:
    """Sha256 of the manifest; "" where nothing is published."""
    path = folder() / MANIFEST
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@lru_cache(maxsize=4)
def _read(path: Path, stamp: tuple[int, int]) -> Manifest:  # noqa: ARG001  # another stamp is another content
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"The list of published models, {path.name}, is damaged: {_WAY_OUT}.") from error
