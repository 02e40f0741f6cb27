"""Cells: the attribution of one model of one task by one method, with a record for every metric.

A cell is stored as two files. The JSON file holds the cell with its records. The array file holds the attribution and
one score for each sequence and metric. Times, memory and dates, which differ in every run, are stored separately in
``measured``. The rest, which :func:`reproducible` returns, is the same to the bit after any number of interruptions.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict

from ...fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from ...plugins import Plugin

Scores: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


class _Frozen(BaseModel):
    """Immutable model that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy as in pydantic, but without cached properties, which depend on the changed fields."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


class PluginInfo(_Frozen):
    """Description of a plug-in as it is stored in results: spec, identity and facts.

    Attributes:
        spec: its name and the parameters that differ from their defaults.
        identity: name, version and all parameters.
        facts: class facts of the plug-in: application of a task; group of a method, whether its result depends on a
            seed, whether it explains each sequence on its own; family of a metric and the finite ends of its range.
            Facts are not part of the identity, because another version of xrnnbench may state them differently.
    """

    spec: str
    identity: dict[str, Any]
    facts: dict[str, str] = {}

    def __reduce__(self) -> tuple[Callable[[str], PluginInfo], tuple[str]]:
        """Another process makes it once, however many values that are sent to it have it."""
        return shared_plugin, (self.text,)

    @property
    def text(self) -> str:
        """Its JSON in ASCII, also where pydantic's would lose something: an infinite parameter, half a surrogate."""
        return json.dumps(self.model_dump())

    @property
    def unreproducible(self) -> bool:
        """Whether the plug-in is a metric that reads times or memory."""
        return self.facts.get("deterministic") == "False"

    @cached_property
    def digest(self) -> str:
        """First 8 hex digits of the fingerprint of the identity."""
        return fingerprint(self.identity)[:8]

    @property
    def folder(self) -> str:
        """Name ``<name>-<digest>`` of a folder of cells."""
        return f"{self.identity['name']}-{self.digest}"


@cache
def shared_plugin(text: str) -> PluginInfo:
    """Description of a plug-in from its text, the same object for the same text."""
    return PluginInfo.model_validate(json.loads(text))


class Failure(_Frozen):
    """Error of a plug-in.

    Attributes:
        kind: name of the error's class.
        sentence: its message.
        traceback: its traceback.
    """

    kind: str
    sentence: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


class Competence(_Frozen):
    """Quality of the explained model; see :class:`xrnnbench.tasks.data.batch.Competence`."""

    measure: str
    score: float
    gate: float
    baseline: float

    @property
    def fit(self) -> bool:
        """Whether the model passes the gate."""
        return self.score >= self.gate


class Record(_Frozen):
    """Result of one metric on one cell: its status, and its mean score or the reason why there is none.

    Attributes:
        metric: the metric; ``facts`` has family, direction and unit.
        status: ``"scored"``, ``"not applicable"`` or ``"failed"``.
        reason: why the metric is not applicable.
        failure: why it failed.
        mean: mean score of the sequences for which the metric is defined; None if there are none.
        n, undefined: of the sequences the metric scores, the number for which it is defined, and for which it is not.
        row: index of the scores in the arrays.
        profile: number of rows after it with the curves that the scores summarise, one row for each point; mostly 0.
        scores: sha256 of these rows.
        siblings: fingerprint of the attributions of the other seeds, for a metric that reads them.
    """

    metric: PluginInfo
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

    @classmethod
    def of_valid(cls, fields: dict[str, Any]) -> Self:
        """Record of the values of all fields, which were validated before: a second time takes longer than all else."""
        record = cls.__new__(cls)
        object.__setattr__(record, "__dict__", fields)
        object.__setattr__(record, "__pydantic_fields_set__", set(fields))
        object.__setattr__(record, "__pydantic_extra__", None)
        object.__setattr__(record, "__pydantic_private__", None)
        return record


class Quality(_Frozen):
    """Quality of a user's own model on the explained sequences, whose correct outputs are known.

    Attributes:
        measure: ``"accuracy"``, or ``"R2"`` for values.
        score: the figure.
        sequences: the number of sequences.
    """

    measure: Literal["accuracy", "R2"]
    score: float | None
    sequences: int


class Fingerprints(_Frozen):
    """Sha256 of the model's weights, the explained data, the attribution, and the lengths; empty if not known."""

    model: str = ""
    data: str = ""
    attribution: str = ""
    lengths: str = ""


class Passes(_Frozen):
    """Number of passes through the model that the attribution took; see :class:`xrnnbench.tasks.subject.Cost`."""

    forward: int = 0
    backward: int = 0
    executed: int = 0


class Scoring(NamedTuple):
    """Cost of scoring a cell by one metric.

    Attributes:
        forward, backward, executed: passes through the model; see :class:`Passes`.
        seconds: wall time. What several metrics share counts for the first of them.
    """

    forward: int
    backward: int
    executed: int
    seconds: float


class Measured(_Frozen):
    """Measurements of a cell, which differ in every run.

    Attributes:
        date: when the attribution was computed.
        seconds: wall time of the attribution.
        peak_bytes: rise of the process's memory during the attribution; None if it could not be measured.
        device: name of the device the model ran on; empty if not known.
        records: records of the metrics that read times or memory.
        arrays: sha256 of the array file.
        origin: the code and the versions that computed the attribution.
        scoring: cost of each metric that ran, by its spec; empty in cells of earlier versions.
    """

    date: str
    seconds: float = 0.0
    peak_bytes: int | None = None
    device: str = ""
    records: tuple[Record, ...] = ()
    arrays: str = ""
    origin: str = ""
    scoring: dict[str, Scoring] = {}


class Cell(_Frozen):
    """Result of one method on one model of one task, with the records of all metrics.

    Attributes:
        status: ``"explained"``, ``"not applicable"`` or ``"failed"``.
        reason: why the method is not applicable.
        failure: why it failed.
        signed, complete: properties of the attribution.
        incomplete: number of sequences on which an attribution that claims completeness misses the difference of the
            scores by more than 1 %; see :attr:`xrnnbench.methods.base.Attribution.incomplete`. 0 for controls.
        caveats: sentences for readers of the board: promises that the model breaks (:mod:`xrnnbench.tasks.contract`),
            and warnings of the method.
        model_origin: origin of the model; see :mod:`xrnnbench.tasks.models.origins`. Empty if not known.
        quality: quality of the model on the explained sequences; None if the task measures its competence instead.
        ids: identifiers of the explained sequences, in their order; empty if they have none.
        format: of its file; those of format 2 have no seal.
    """

    format: Literal[2, 3] = 3
    task: PluginInfo
    method: PluginInfo
    model_seed: int
    explainer_seed: int
    status: Literal["explained", "not applicable", "failed"]
    reason: str = ""
    failure: Failure | None = None
    signed: bool = False
    complete: bool = False
    incomplete: int = 0
    caveats: tuple[str, ...] = ()
    competence: Competence | None = None
    model_origin: str = ""
    quality: Quality | None = None
    ids: tuple[str, ...] = ()
    fingerprints: Fingerprints = Fingerprints()
    passes: Passes = Passes()
    records: tuple[Record, ...] = ()
    measured: Measured

    @property
    def explained(self) -> bool:
        """Whether the cell has an attribution."""
        return self.status == "explained"

    @cached_property
    def fit(self) -> bool:
        """Whether the model passes its gate, or its quality was not measured."""
        return self.competence is None or self.competence.fit

    @property
    def all_records(self) -> tuple[Record, ...]:
        """All records, the reproducible ones first, then the measured ones."""
        return self.records + self.measured.records

    def record(self, metric: PluginInfo) -> Record | None:
        """Record of a metric, in this version and with these parameters; None if there is none."""
        named = self._by_spec.get(metric.spec)
        if named is not None and named.metric.identity == metric.identity:
            return named
        return next((record for record in self.all_records if record.metric.identity == metric.identity), None)

    @cached_property
    def _by_spec(self) -> dict[str, Record]:
        return {record.metric.spec: record for record in self.all_records}

    def failures(self, metrics: tuple[PluginInfo, ...]) -> list[Failure]:
        """Failure of the method, or else the failures of these metrics."""
        if self.failure is not None:
            return [self.failure]
        records = (self.record(metric) for metric in metrics)
        return [record.failure for record in records if record is not None and record.failure is not None]


@dataclass(frozen=True, eq=False)
class Key:
    """Place of a cell in the grid; two keys are equal if they have the same path."""

    task: PluginInfo
    method: PluginInfo
    model_seed: int
    explainer_seed: int

    @cached_property
    def path(self) -> str:
        """Path of the cell's files in the folder of the run, without the ending."""
        return f"cells/{self.task.folder}/{self.method.folder}/seed-{self.model_seed}-{self.explainer_seed}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __str__(self) -> str:
        return f"{self.method.spec} on {self.task.spec}, model seed {self.model_seed}, seed {self.explainer_seed}"


@dataclass(frozen=True)
class Axes:
    """Plug-ins of a grid as they are stored in results, in the order of the suite."""

    tasks: tuple[PluginInfo, ...]
    methods: tuple[PluginInfo, ...]
    metrics: tuple[PluginInfo, ...]


def plugin_info(plugin: Plugin) -> PluginInfo:
    """Description of a plug-in for results.

    Raises:
        TypeError: a parameter is of a type JSON does not have.
    """
    names = (
        "application", "group", "stochastic", "local",
        "family", "direction", "unit", "statistic", "deterministic", "intervention",
    )  # fmt: skip
    facts = {name: str(getattr(plugin, name)) for name in names if hasattr(plugin, name)}
    facts |= {"needs_siblings": "True"} if getattr(plugin, "needs_siblings", False) else {}
    # an infinite end of the range is no fact
    bounds = {name: float(getattr(plugin, name, math.inf)) for name in ("low", "high")}
    facts |= {name: str(value) for name, value in bounds.items() if plugin.kind == "metric" and math.isfinite(value)}
    identity = _plain(plugin.identity())
    return PluginInfo(spec=plugin.spec, identity=identity, facts=facts)


def scores_hash(scores: Scores) -> str:
    """Sha256 of one row of scores, or of several."""
    return hashlib.sha256(np.ascontiguousarray(scores, dtype=np.float64).tobytes()).hexdigest()


def reproducible(cell: Mapping[str, Any]) -> dict[str, Any]:
    """JSON of a cell without measurements and tracebacks, which is the same to the bit in two undisturbed runs."""
    return {key: _without_traceback(value) for key, value in cell.items() if key not in {"measured", "checksum"}}


def _without_traceback(value: object) -> object:
    """JSON value without the key ``traceback`` at any depth."""
    if isinstance(value, dict):
        return {key: _without_traceback(item) for key, item in value.items() if key != "traceback"}
    return [_without_traceback(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:  # noqa: ANN401  # any parameter
    """JSON value with lists for tuples, so that an identity read back from JSON equals the one that was written."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
