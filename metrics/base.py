"""What a metric is: something that judges an attribution, from evidence gathered once and shared by all metrics."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from ..errors import ContractError
from ..methods.base import Attribution, Explainer
from ..plugins import Plugin
from ..tasks.interventions.mask_training import unfit as not_trained_again
from ..tasks.subject import Cost, Subject

if TYPE_CHECKING:
    from collections.abc import Callable


Family = Literal["faithfulness", "truth", "stability", "sanity", "complexity", "cost"]
Direction = Literal["higher", "lower", "neither"]
Statistic = Literal["mean", "median", "p95"]
ProbeT = TypeVar("ProbeT")


@dataclass
class Probes:
    """Model runs that do not depend on the method, made on first use and shared by every method of one subject."""

    subject: Subject
    _made: dict[Hashable, Any] = field(default_factory=dict)

    def get(self, key: Hashable, make: Callable[[Subject], ProbeT]) -> ProbeT:
        """The probe of this key; made by ``make(subject)`` if it has not been asked for before."""
        if key not in self._made:
            self._made[key] = make(self.subject)
        return self._made[key]  # type: ignore[no-any-return]  # the key fixes the type


@dataclass(frozen=True)
class Measurement:
    """What explaining cost.

    Attributes:
        cost: passes asked for and executed.
        seconds: wall time of explaining the whole batch.
        peak_bytes: how much the process's memory rose above its start while explaining, at most; None where the
            platform cannot tell.
    """

    cost: Cost
    seconds: float
    peak_bytes: int | None


@dataclass
class Evidence:
    """Everything a metric may look at for one cell: one method on one model.

    Attributes:
        subject: the model and its batch.
        attribution: what the method said.
        explainer: the method, to be asked again about neighbours or with other seeds.
        seed: the explainer seed of the attribution.
        measurement: what the attribution cost.
        siblings: the same method's attributions of the same batch on the other model seeds, by seed, each with its
            targets int64[B].
        shared: probes that do not depend on the method.
        planned: what the metrics of this cell ask (:attr:`Metric.asks`), so that the first to ask has everything of
            its kind run together.
    """

    subject: Subject
    attribution: Attribution
    explainer: Explainer
    seed: int
    measurement: Measurement
    shared: Probes
    siblings: Mapping[int, tuple[Attribution, Tensor]] = field(default_factory=dict)
    planned: frozenset[Hashable] = frozenset()
    _own: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def get(self, key: Hashable, make: Callable[[Evidence], ProbeT]) -> ProbeT:
        """A probe of this attribution (a deletion curve, explanations of neighbours), made on first use."""
        if key not in self._own:
            self._own[key] = make(self)
        return self._own[key]  # type: ignore[no-any-return]  # the key fixes the type


@dataclass(frozen=True)
class Metric(Plugin):
    """A metric. Write one by deriving from this class and giving it ``score``.

    Class attributes:
        family: what is judged.
        direction: ``"higher"`` or ``"lower"`` is better; ``"neither"`` for figures that only inform.
        low, high: the range of the value.
        ideal: the value of a perfect explanation; NaN where there is none.
        unit: ``""`` for plain numbers, ``"s"``, ``"MiB"``, ``"sequences"``.
        reads: whether the order, the size or the sign of values decides: ``"order"``, ``"magnitude"``, ``"sign"``.
        needs_truth: applicable only where the task knows the truth.
        needs_siblings: reads the attributions of the other model seeds.
        needs_complete: applicable only to methods that claim completeness.
        needs_stochastic: applicable only to methods with seeds.
        needs_interaction: tells methods apart only where features interact; blind to them where contributions add up.
        needs_retraining: applicable only where the task can train its model again.
        deterministic: False for times and memory, which no re-run reproduces.
        profiled: at how many shares of the features removed, equally spaced from none to all, the curve that the value
            sums up is kept beside it, to be drawn; 0 for no curve.
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
        """One value for each sequence: the one method to write.

        Returns:
            float64[B]; NaN where the value is not defined for a sequence: those are counted, never averaged.
        """
        raise NotImplementedError

    def profile(self, evidence: Evidence) -> Tensor:
        """The curve of each sequence that the value sums up: float64[B, profiled]; asked for after the score."""
        raise NotImplementedError

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """Why this metric says nothing about that method there, in a few words; empty if it does."""
        if self.needs_truth and subject.batch.truth is None:
            return "the truth is not known"
        if self.needs_complete and not explainer.complete:
            return "the method does not claim completeness"
        if self.needs_stochastic and not explainer.stochastic:
            return "the method has no seed"
        if self.needs_retraining:
            return not_trained_again(subject)
        return ""

    @property
    def statistic(self) -> Statistic:
        """What a board makes of the values of all sequences; another than the mean where a few values rule a mean."""
        return "mean"

    @property
    def asks(self) -> tuple[Hashable, ...]:
        """What it will ask of the probes it shares with other metrics of a cell, such as a curve; see ``planned``."""
        return ()

    @property
    def intervention(self) -> str:
        """Spec of the intervention by which features are removed; empty if none are."""
        return ""

    def asked(self, count: int) -> int:
        """Of how many of ``count`` sequences this metric is asked; the others' NaN does not count as undefined."""
        return count

    def measure(self, evidence: Evidence) -> Tensor:
        """Score under the contract: a finite attribution; float64[B], no infinite value, in the metric's range.

        Raises:
            ContractError: the attribution or the value breaks the contract.
        """
        if not torch.isfinite(evidence.attribution.values).all():
            raise ContractError(
                f"Metric {self.name!r} was given an attribution of {evidence.explainer.name!r} that is not finite: "
                "it scores none that holds a NaN or an infinite value."
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
        """The profile under the contract: float64[B, profiled], finite.

        Raises:
            ContractError: it is not.
        """
        values = self.profile(evidence).double()
        if values.shape != (len(evidence.subject), self.profiled) or not torch.isfinite(values).all():
            raise ContractError(f"Metric {self.name!r} did not return a finite curve of {self.profiled} points each.")
        return values
