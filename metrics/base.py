"""Base class of metrics, and the evidence they score.

Model runs and explanations that several metrics need are computed once and shared through the evidence.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from ..errors import ContractError
from ..methods.base import Attribution, Explainer
from ..plugins import Plugin
from ..tasks.engine.guarded_cache import GuardedCache
from ..tasks.engine.snapshot import Snapshot
from ..tasks.interventions.mask_training import unfit as retraining_unavailable
from ..tasks.subject import Cost, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

Family = Literal["faithfulness", "truth", "stability", "sanity", "complexity", "cost"]
Direction = Literal["higher", "lower", "neither"]
Statistic = Literal["mean", "median", "p95"]
ProbeT = TypeVar("ProbeT")


class Probes:
    """Cache of the model runs that do not depend on the method.

    Each is computed on first use and shared by every method of one subject.

    Args:
        subject: the model and its batch.
        beyond: a snapshot of the subject, which is guarded elsewhere; by default one is made.
    """

    def __init__(self, subject: Subject, beyond: Snapshot | None = None) -> None:
        self.subject = subject
        self.beyond = Snapshot({"the subject": subject}) if beyond is None else beyond
        self.cache: GuardedCache[Hashable] = GuardedCache(self.beyond)

    def get(self, key: Hashable, make: Callable[[Subject], ProbeT]) -> ProbeT:
        """Return the value cached under a key; on first use it is computed by ``make(subject)``."""
        return self.cache.get(key, lambda: make(self.subject))


@dataclass(frozen=True)
class Measurement:
    """Measured cost of explaining one batch.

    Attributes:
        cost: model passes that the method requested, and those that were executed.
        seconds: wall time of explaining the whole batch.
        peak_bytes: largest rise of the process's memory, in bytes above its start, while explaining; None where the
            platform does not report it.
    """

    cost: Cost
    seconds: float
    peak_bytes: int | None


@dataclass
class Evidence:
    """Everything that a metric may read of one cell: one method on one model.

    Attributes:
        subject: the model and its batch.
        attribution: the result of the method.
        explainer: the method; metrics run it again on neighbours or with other seeds.
        seed: the explainer seed that the attribution was computed with.
        measurement: the cost of the attribution.
        siblings: the same method's attributions of the same batch for the other model seeds, by seed, each with its
            targets int64[B].
        shared: cached model runs that do not depend on the method.
        planned: the requests of all metrics of this cell (:attr:`Metric.asks`). The first metric that needs a removal
            curve runs all planned curves of the same order together.
        cache: what metrics have computed of this cell, for the others too; see :meth:`get`.
    """

    subject: Subject
    attribution: Attribution
    explainer: Explainer
    seed: int
    measurement: Measurement
    shared: Probes
    siblings: Mapping[int, tuple[Attribution, Tensor]] = field(default_factory=dict)
    planned: frozenset[Hashable] = frozenset()
    cache: GuardedCache[Hashable] = field(default=None, repr=False)  # type: ignore[arg-type]  # made on creation

    def __post_init__(self) -> None:
        if self.cache is None:
            self.cache = GuardedCache(self.shared.beyond)

    def get(self, key: Hashable, make: Callable[[Evidence], ProbeT]) -> ProbeT:
        """Return a cached value of this cell, such as a deletion curve or explanations of neighbours.

        On first use it is computed by ``make(evidence)``.
        """
        return self.cache.get(key, lambda: make(self))


@dataclass(frozen=True)
class Metric(Plugin):
    """Base class of metrics. To write one, derive from this class and implement ``score``.

    Class attributes:
        family: the property of an attribution that is measured.
        direction: ``"higher"`` or ``"lower"`` is better; ``"neither"`` for values that are shown but not ranked.
        low, high: the range of the value.
        ideal: the value of a perfect explanation; NaN where no single value is ideal.
        unit: unit of the value; ``""`` for plain numbers, ``"s"``, ``"MiB"``, ``"sequences"``.
        reads: the part of the attribution values that decides the score: ``"order"``, ``"magnitude"``, ``"sign"``, or
            ``"nothing"``.
        needs_truth: applicable only where the true attribution is known.
        needs_siblings: reads the attributions of the other model seeds.
        needs_complete: applicable only to methods that claim completeness.
        needs_stochastic: applicable only to methods that use a seed.
        needs_interaction: distinguishes methods only where features interact; all methods score alike where their
            contributions simply add up.
        needs_retraining: applicable only where the task can train its model again.
        deterministic: False for times and memory, which differ from run to run.
        profiled: number of points of the curve that the value summarises, at equally spaced shares of the features
            removed, from none to all. The curve is stored for plotting; 0 for no curve.
        source: paper and equation.
    """

    kind: ClassVar[str] = "metric"
    family: ClassVar[Family]
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -float("inf")
    high: ClassVar[float] = float("inf")
    ideal: ClassVar[float] = float("nan")
    unit: ClassVar[str] = ""
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "order"
    needs_truth: ClassVar[bool] = False
    needs_siblings: ClassVar[bool] = False
    needs_complete: ClassVar[bool] = False
    needs_stochastic: ClassVar[bool] = False
    needs_interaction: ClassVar[bool] = False
    needs_retraining: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True
    profiled: ClassVar[int] = 0
    source: ClassVar[str] = ""

    def score(self, evidence: Evidence) -> Tensor:
        """Score of each sequence. This is the only function that a new metric must implement.

        Returns:
            float64[B]; NaN where the value is not defined. Such sequences are counted, and left out of means.
        """
        raise NotImplementedError

    def profile(self, evidence: Evidence) -> Tensor:
        """Curve that the value of each sequence summarises: float64[B, profiled].

        It is called after ``score``.
        """
        raise NotImplementedError

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """Reason why this metric does not apply to a method on a subject, in a few words; empty if it applies."""
        if self.needs_truth and subject.batch.truth is None:
            return "the truth is not known"
        if self.needs_complete and not explainer.complete:
            return "the method does not claim completeness"
        if self.needs_stochastic and not explainer.stochastic:
            return "the method has no seed"
        if self.needs_retraining:
            return retraining_unavailable(subject)
        return ""

    @property
    def statistic(self) -> Statistic:
        """Statistic of the values of all sequences that a board shows.

        By default the mean; override it where a few extreme values dominate a mean.
        """
        return "mean"

    @property
    def asks(self) -> tuple[Hashable, ...]:
        """Keys of the removal curves that this metric will request from the evidence it shares with other metrics.

        See :attr:`Evidence.planned`.
        """
        return ()

    @property
    def intervention(self) -> str:
        """Spec of the intervention that removes features; empty if the metric removes none."""
        return ""

    def asked(self, count: int) -> int:
        """Number of sequences, out of ``count``, that this metric scores.

        The others are NaN by design and are not counted as undefined.
        """
        return count

    def measure(self, evidence: Evidence) -> Tensor:
        """Score every sequence and check the contract.

        The attribution must be finite, and the values float64[B], not infinite, and in the metric's range.

        Returns:
            float64[B].

        Raises:
            ContractError: the attribution or a value breaks the contract.
        """
        if not torch.isfinite(evidence.attribution.values).all():
            raise ContractError(
                f"Metric {self.name!r} was given an attribution of {evidence.explainer.name!r} that is not finite: "
                "it does not score an attribution that contains NaN or an infinite value."
            )
        values = self.score(evidence)
        if not isinstance(values, torch.Tensor) or values.shape != (len(evidence.subject),):
            raise ContractError(f"Metric {self.name!r} did not return one value for each sequence.")
        values = values.double()
        outside = (values < self.low - 1e-6) | (values > self.high + 1e-6)
        if outside.any() or values.isinf().any():
            raise ContractError(
                f"Metric {self.name!r} gave {float(values[outside | values.isinf()][0])} to an attribution of "
                f"{evidence.explainer.name!r}, outside its range from {self.low} to {self.high}."
            )
        return values

    def sketch(self, evidence: Evidence) -> Tensor:
        """Compute the profile and check the contract.

        Returns:
            float64[B, profiled], finite.

        Raises:
            ContractError: the profile has another shape or is not finite.
        """
        values = self.profile(evidence).double()
        if values.shape != (len(evidence.subject), self.profiled) or not torch.isfinite(values).all():
            raise ContractError(
                f"Metric {self.name!r} did not return a finite curve of {self.profiled} points for each sequence."
            )
        return values
