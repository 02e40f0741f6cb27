"""Cells: what one method said about one model of one task, and how every metric judged it.

A cell is kept as two files. The JSON holds everything that can be read at a glance; the arrays beside it hold the
attribution and one score for each sequence and metric. Times, memory and dates, which no re-run reproduces, stand
apart in ``measured``: what :func:`reproducible` leaves is the same to the bit after any number of interruptions.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict

from ...fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from ...plugins import Plugin

Scores: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As in pydantic, without what was worked out from the fields before they were changed."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


class Source(_Frozen):
    """The plug-in something came from.

    Attributes:
        spec: its name and the parameters that differ from their defaults.
        identity: name, version and all parameters.
        facts: what is said about it: application of a task; group of a method, whether another seed gives another
            result, whether each sequence is explained on its own; family of a metric and the finite ends of its range.
            No part of the identity: they may be told differently by another version.
    """

    spec: str
    identity: dict[str, Any]
    facts: dict[str, str] = {}

    @property
    def unreproducible(self) -> bool:
        """Whether it is a metric that reads times or memory."""
        return self.facts.get("deterministic") == "False"

    @cached_property
    def digest(self) -> str:
        """The first 8 hex digits of the identity's fingerprint."""
        return fingerprint(self.identity)[:8]

    @property
    def folder(self) -> str:
        """``name-digest``, as folders of cells are called."""
        return f"{self.identity['name']}-{self.digest}"


class Failure(_Frozen):
    """What went wrong.

    Attributes:
        kind: the class of the error.
        sentence: its message.
        traceback: where it came from.
    """

    kind: str
    sentence: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


class Competence(_Frozen):
    """How good the explained model is; see :class:`xrnnbench.tasks.data.batch.Competence`."""

    measure: str
    score: float
    gate: float
    baseline: float

    @property
    def fit(self) -> bool:
        """Whether the model passes the gate."""
        return self.score >= self.gate


class Record(_Frozen):
    """How one metric judged one cell.

    Attributes:
        metric: the metric; ``facts`` has family, direction and unit.
        status: ``"scored"``, ``"not applicable"`` or ``"failed"``.
        reason: why it is not applicable.
        failure: why it failed.
        mean: over the sequences for which the metric is defined; None if there are none.
        n, undefined: for how many of the sequences it is asked of it is defined, and for how many not.
        row: the row of the scores in the arrays.
        profile: how many rows after it are the curves that the scores sum up, one row for each point; mostly 0.
        scores: sha256 of those rows.
        siblings: fingerprint of the other seeds' attributions, for a metric that reads them.
    """

    metric: Source
    status: Literal["scored", "not applicable", "failed"]
    reason: str = ""
    failure: Failure | None = None
    mean: float | None = None
    n: int = 0
    undefined: int = 0
    row: int | None = None
    profile: int = 0
    scores: str = ""
    siblings: str = ""


class Fingerprints(_Frozen):
    """Sha256 of the model's weights, the data it explains, what was said about them, and the sequences' lengths.

    Empty if not known.
    """

    model: str = ""
    data: str = ""
    attribution: str = ""
    lengths: str = ""


class Passes(_Frozen):
    """Passes through the model while explaining; see :class:`xrnnbench.tasks.subject.Cost`."""

    forward: int = 0
    backward: int = 0
    executed: int = 0


class Measured(_Frozen):
    """What no re-run reproduces.

    Attributes:
        date: when the explanation was made.
        seconds: wall time of explaining.
        peak_bytes: rise of the process's memory while explaining.
        records: of the metrics that read times or memory.
        arrays: sha256 of the file with the arrays.
        origin: the code and the versions that made the explanation.
    """

    date: str
    seconds: float = 0.0
    peak_bytes: int = 0
    records: tuple[Record, ...] = ()
    arrays: str = ""
    origin: str = ""


class Cell(_Frozen):
    """One method on one model of one task.

    Attributes:
        status: ``"explained"``, ``"not applicable"`` or ``"failed"``.
        reason: why the method is not applicable.
        failure: why it failed.
        signed, complete: of the attribution.
        model_origin: where the model is from; see :mod:`xrnnbench.tasks.models.origins`. Empty if not known.
    """

    format: Literal[2] = 2
    task: Source
    method: Source
    model_seed: int
    explainer_seed: int
    status: Literal["explained", "not applicable", "failed"]
    reason: str = ""
    failure: Failure | None = None
    signed: bool = False
    complete: bool = False
    competence: Competence | None = None
    model_origin: str = ""
    fingerprints: Fingerprints = Fingerprints()
    passes: Passes = Passes()
    records: tuple[Record, ...] = ()
    measured: Measured

    @property
    def explained(self) -> bool:
        """Whether there is an explanation."""
        return self.status == "explained"

    @cached_property
    def fit(self) -> bool:
        """Whether the model passes its gate, or nobody measured it."""
        return self.competence is None or self.competence.fit

    @property
    def all_records(self) -> tuple[Record, ...]:
        """The reproducible records and the measured ones."""
        return self.records + self.measured.records

    def record(self, metric: Source) -> Record | None:
        """How this very metric, of this version, judged the cell; None if it has not."""
        named = self._by_spec.get(metric.spec)
        if named is not None and named.metric.identity == metric.identity:
            return named
        return next((found for found in self.all_records if found.metric.identity == metric.identity), None)

    @cached_property
    def _by_spec(self) -> dict[str, Record]:
        return {found.metric.spec: found for found in self.all_records}

    def failures(self, metrics: tuple[Source, ...]) -> list[Failure]:
        """Everything that went wrong, as far as these metrics are concerned."""
        if self.failure is not None:
            return [self.failure]
        records = (self.record(metric) for metric in metrics)
        return [found.failure for found in records if found is not None and found.failure is not None]


@dataclass(frozen=True, eq=False)
class Key:
    """The place of a cell in the grid; equal if it is the same place on disk."""

    task: Source
    method: Source
    model_seed: int
    explainer_seed: int

    @cached_property
    def path(self) -> str:
        """The cell's place within the run's folder, without the ending."""
        return f"cells/{self.task.folder}/{self.method.folder}/seed-{self.model_seed}-{self.explainer_seed}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __str__(self) -> str:
        return f"{self.method.spec} on {self.task.spec}, model seed {self.model_seed}, seed {self.explainer_seed}"


@dataclass(frozen=True)
class Axes:
    """The plug-ins of a grid as they are named in cells, in the order of the suite."""

    tasks: tuple[Source, ...]
    methods: tuple[Source, ...]
    metrics: tuple[Source, ...]


def source_of(plugin: Plugin) -> Source:
    """How a plug-in is named in cells.

    Raises:
        TypeError: a parameter is of a type JSON does not have.
    """
    wanted = (
        "application", "group", "stochastic", "local",
        "family", "direction", "unit", "statistic", "deterministic", "intervention",
    )  # fmt: skip
    facts = {name: str(getattr(plugin, name)) for name in wanted if hasattr(plugin, name)}
    # a range that is open says nothing
    bounds = {name: float(getattr(plugin, name, math.inf)) for name in ("low", "high")}
    facts |= {name: str(value) for name, value in bounds.items() if plugin.kind == "metric" and math.isfinite(value)}
    identity = _plain(plugin.identity())
    return Source(spec=plugin.spec, identity=identity, facts=facts)


def scores_hash(scores: Scores) -> str:
    """Sha256 of one row of scores, or of several."""
    return hashlib.sha256(np.ascontiguousarray(scores, dtype=np.float64).tobytes()).hexdigest()


def reproducible(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's JSON without what no re-run gives again: two undisturbed runs agree on the rest to the bit."""
    return {key: _without_traceback(value) for key, value in cell.items() if key != "measured"}


def _without_traceback(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_traceback(item) for key, item in value.items() if key != "traceback"}
    return [_without_traceback(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:  # noqa: ANN401  # any parameter
    """Tuples as lists, so that an identity read back from JSON equals the one that was written."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
