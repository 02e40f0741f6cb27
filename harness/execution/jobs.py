"""Jobs of a run: to make a model, to explain a cell, to score a cell.

A job has all that it needs besides its model, so that it can be done in any process: in that of the run
(:mod:`.task_run` hands jobs out, and takes their results), or in a process of its own (:mod:`.workers`). The result is
the same to the bit wherever a job is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch

from ...errors import ContractError
from ...methods.base import Attribution, Explainer
from ...metrics.base import Evidence, Measurement, Metric
from ...plugins import is_foreign
from ...tasks.base import Task
from ...tasks.engine.threads import default_threads, intra_op_threads
from ...tasks.models.origins import PUBLISHED, trained_anew
from ...tasks.subject import Subject
from ...tasks.trained import Belongings, TrainedTask
from ..results.cells import Cell, Fingerprints, Key, PluginInfo
from ..results.samples import Samples
from .guard.plugin_call import PluginCall
from .steps.build_model import Model, build_model, model_ready
from .steps.explain_cell import explain_cell, explainer_seed
from .steps.score_cell import planned_probes, score_metric
from .steps.take_samples import samples_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from .guard.limits import Limits
    from .steps.score_cell import ScoredMetric

    Arrays = Mapping[str, np.ndarray[Any, Any]]

# The folder of a task and the seed of its model.
ModelId: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class ModelJob:
    """Job to make the model of a seed of a task.

    Attributes:
        info: the task as it is stored in results.
        task: the task.
        seed: model seed.
        retrain: whether the model is trained even if it is published or in the cache.
        device: device that the model is moved to, such as ``"cuda"``; empty leaves it where the task puts it.
        belongings: what another process needs to make the model, see :func:`with_belongings`; None in this one.
    """

    phase: ClassVar[str] = "training"

    info: PluginInfo
    task: Task
    seed: int
    retrain: bool = False
    device: str = ""
    belongings: Belongings | None = None

    @property
    def model(self) -> ModelId:
        """The model that is made."""
        return self.info.folder, self.seed

    @property
    def place(self) -> str:
        """Names the job among all of a run."""
        return f"model {self.info.folder} {self.seed}"

    def __str__(self) -> str:
        return f"{self.info.spec}: model of seed {self.seed}"


@dataclass(frozen=True)
class ExplainJob:
    """Job to explain a cell."""

    phase: ClassVar[str] = "explaining"

    key: Key
    method: Explainer

    @property
    def model(self) -> ModelId:
        """The model that is explained."""
        return self.key.task.folder, self.key.model_seed

    @property
    def place(self) -> str:
        """Names the job among all of a run."""
        return f"explain {self.key.path}"

    def __str__(self) -> str:
        return f"{self.key.task.spec}: {self.key.method.spec}, model seed {self.key.model_seed}"


@dataclass(frozen=True)
class StoredAttribution:
    """Attribution as arrays, with what a cell says of it.

    Attributes:
        arrays: ``attribution`` float[B, T(, D)], ``target`` int64[B] and ``lengths`` int64[B].
        signed, complete: see :class:`xrnnbench.methods.base.Attribution`.
    """

    arrays: Arrays
    signed: bool
    complete: bool

    def load(self) -> tuple[Attribution, torch.Tensor]:
        """The attribution, exact to the bit, and its targets int64[B]."""
        values, target, lengths = (torch.tensor(self.arrays[name]) for name in ("attribution", "target", "lengths"))
        values = values.nan_to_num(nan=0.0)  # where several inputs leave the layout empty
        return Attribution(values, self.signed, self.complete, target=target, lengths=lengths), target


@dataclass(frozen=True)
class ScoreJob:
    """Job to score a cell by some metrics."""

    phase: ClassVar[str] = "scoring"

    key: Key
    method: Explainer
    metrics: tuple[tuple[PluginInfo, Metric], ...]

    @property
    def model(self) -> ModelId:
        """The model that was explained."""
        return self.key.task.folder, self.key.model_seed

    @property
    def place(self) -> str:
        """Names the job among all of a run."""
        return f"score {self.key.path}"

    def __str__(self) -> str:
        return f"{self.key.task.spec}: scores of {self.key.method.spec}, model seed {self.key.model_seed}"


@dataclass(frozen=True)
class StoredEvidence:
    """Stored evidence for the scoring of a cell.

    Attributes:
        attribution: the attribution of the cell.
        measurement: what it cost.
        siblings: the method's attributions of the other models by seed, as far as a metric needs them.
        siblings_hash: fingerprint of all siblings.
    """

    attribution: StoredAttribution
    measurement: Measurement
    siblings: Mapping[int, StoredAttribution]
    siblings_hash: str


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a model that the run itself keeps.

    Attributes:
        fingerprints: of the model and of the data.
        origin: see :mod:`xrnnbench.tasks.models.origins`.
        device: name of its device.
        samples: sequences for the page; None if they could not be taken.
        weights: name and content of the model's file in the cache, if another process has trained it.
    """

    fingerprints: Fingerprints
    origin: str
    device: str
    samples: Samples | None
    weights: tuple[str, bytes] | None = None


@dataclass(frozen=True)
class Explained:
    """Result of explaining a cell: the cell, and its arrays if it has an attribution."""

    cell: Cell
    arrays: Arrays | None


Job: TypeAlias = ModelJob | ExplainJob | ScoreJob


def make_model(job: ModelJob, limits: Limits, others: Iterable[Model] = ()) -> Model:
    """Make the model of a job.

    Args:
        job: the job.
        limits: limits of time and memory.
        others: models that were made in this process before, and must not change by it.

    Raises:
        ContractError: the task has changed one of the others, which is put back, as it does if it gives the same module
            for two seeds.
        XrnnbenchError: any error of this kind that the task raises.
        PluginFailure: the task raises anything else.
    """
    if job.belongings is not None and isinstance(job.task, TrainedTask):
        job.task.take(job.belongings)
    with (
        intra_op_threads(default_threads()),
        trained_anew() if job.retrain else contextlib.nullcontext(),
    ):
        model = build_model(job.task, job.seed, job.device, limits)
    who = f"Task {job.task.name!r}"
    changed = [did for other in others if (did := other.state.put_back(who, outputs=False))]
    if changed:
        raise ContractError(f"{who} gave a model and changed one that it gave before ({changed[0]}): make each anew.")
    return model


def with_belongings(job: ModelJob) -> ModelJob:
    """A job for another process, which then needs no data set and no cache of its own.

    Where they cannot be got, it is left as it is, and the error occurs where the model is made.
    """
    if not isinstance(job.task, TrainedTask):
        return job
    guard = PluginCall(f"Task {job.task.name!r}")
    with contextlib.suppress(Exception), guard, trained_anew() if job.retrain else contextlib.nullcontext():
        return dataclasses.replace(job, belongings=job.task.belongings(job.seed))
    return job


def facts_of(model: Model, job: ModelJob | None = None) -> ModelFacts:
    """Facts of a model; with its weights if it was trained for the job of another process."""
    subject, samples, weights = model.subject, None, None
    with contextlib.suppress(Exception):  # without samples the page shows less, but no number changes
        samples = samples_of(subject.batch, subject.names, model.fingerprints.data)
    trained = job is not None and job.belongings is not None and job.belongings.weights is None
    if job is not None and trained and isinstance(job.task, TrainedTask) and subject.model_origin != PUBLISHED:
        weights = job.task.weights_file(job.seed)
    return ModelFacts(model.fingerprints, subject.model_origin, model.device, samples, weights)


def explained(job: ExplainJob, model: Model, limits: Limits) -> Explained:
    """Explain a cell."""
    with intra_op_threads(model.threads):
        return Explained(*explain_cell(job.key, job.method, model, limits))


def scored(
    job: ScoreJob,
    stored: StoredEvidence,
    model: Model,
    limits: Limits,
    *,
    without: frozenset[int] = frozenset(),
    begin: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, ScoredMetric]]:
    """Score a cell, metric by metric.

    Args:
        job: what is scored.
        stored: the attribution, and what it is compared with.
        model: its model.
        limits: of each call of a plug-in.
        without: places of metrics that are left out.
        begin: called with the place of a metric before it scores.

    Yields:
        the place of a metric among those of the job, with its record and rows. After a metric that has changed this
        process for good, no other one is scored.
    """
    with intra_op_threads(model.threads):
        evidence = _evidence(job, stored, model, limits)
        for place, (info, metric) in enumerate(job.metrics):
            if place in without:
                continue
            if model.state.lost:
                return
            if begin is not None:
                begin(place)
            yield place, score_metric(info, metric, evidence, stored.siblings_hash, limits, state=model.state)


def _evidence(job: ScoreJob, stored: StoredEvidence, model: Model, limits: Limits) -> Evidence:
    """Evidence of a cell for the metrics that score it."""
    evidence = Evidence(
        subject=model.subject,
        attribution=stored.attribution.load()[0],
        explainer=job.method,
        seed=explainer_seed(job.key),
        measurement=stored.measurement,
        shared=model.shared,
        siblings={seed: sibling.load() for seed, sibling in stored.siblings.items()},
    )
    evidence.planned = planned_probes(job.metrics, evidence, limits)
    # a metric that changes the model when it is asked does it again when it scores, and is then named
    model.state.put_back("a metric", outputs=any(is_foreign(metric) for _, metric in job.metrics))
    return evidence


def parts_of(model: Model) -> dict[str, Any]:
    """Parts of a model, to be sent to another process, which makes it again by :func:`model_of`."""
    subject = model.subject
    # counts and what is computed on demand start anew
    fields = {each.name: getattr(subject, each.name) for each in dataclasses.fields(subject) if each.init}
    kept = {name: value for name, value in fields.items() if name not in {"cost", "_isolation"}}
    return {
        "subject": kept,
        "fingerprints": model.fingerprints,
        "competence": model.competence,
        "quality": model.quality,
    }


def model_of(parts: Mapping[str, Any]) -> Model:
    """The model that :func:`parts_of` has taken apart."""
    subject = Subject(**parts["subject"])
    return model_ready(subject, parts["fingerprints"], parts["competence"], parts["quality"])
