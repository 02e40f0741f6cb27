"""Temporal saliency rescaling: relevance of steps, then of their features, from another method's attributions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import ParameterError
from ...plugins import build, register
from ...tasks.engine.cost import Cost
from ..base import Explainer

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Limit of the changed sequences held at once, in numbers: 64 MiB of float32.
_VALUES_AT_ONCE = 1 << 24


@register
@dataclass(frozen=True)
class TemporalSaliencyRescaling(Explainer):
    """Relevance of a step × relevance of its feature, each measured by the change of another method's attribution.

        Δ_t = Σ |R(x) − R(x with step t absent)|
        Δ_td = Σ |R(x) − R(x with feature d of step t absent)|, if Δ_t is among the largest, else 0
        value of (t, d) = Δ_t · Δ_td

    where R is the attribution of the other method, and the sums run over all its values. An absent step or feature
    takes the value of the reference. Where a step is one feature, there is no second stage, and the value is Δ_t. A
    stochastic method explains every changed sequence with the random draws of the original one, so that only the
    effect of the change is compared.

    Parameters:
        of: spec of the method that is rescaled, with its parameters separated by semicolons
            (``of=lime:samples=200;width=10``). It can be neither this method itself nor a global one.
        quantile: share of a sequence's steps whose features are not computed (α; 0.55 in the published program): those
            whose Δ_t is below this quantile of the sequence's values.

    Cost: 1 + T + D · (steps above the quantile) explanations by the other method for a sequence of T steps.
    Fails where: the other method does, and where its attributions hardly depend on the input (attention).
    Source: Ismail et al. 2020, arXiv:2010.13924, algorithm 1. Their program, unlike their paper, also scales Δ_t over
        the steps, and Δ_td over the features of each step, to the range from 0 to 1, and gives 0.1 to the features
        below α.
    """

    name: ClassVar[str] = "temporal-saliency-rescaling"
    group: ClassVar[str] = "temporal"
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Ismail et al. 2020"

    of: str = "gradient-x-input"
    quantile: float = 0.55

    def __post_init__(self) -> None:
        if not 0 <= self.quantile < 1:
            raise ParameterError(f"{self.name}: quantile={self.quantile} does not fit (0 or more, below 1).")
        if "," in self.of:
            raise ParameterError(f"{self.name}: of={self.of} does not fit (separate its parameters by semicolons).")
        if isinstance(self.inner, TemporalSaliencyRescaling):
            raise ParameterError(f"{self.name}: of={self.of} does not fit (it cannot rescale itself).")
        if not self.inner.local:
            raise ParameterError(f"{self.name}: of={self.of} does not fit (a global method).")
        # needs and randomness are those of the rescaled method
        object.__setattr__(self, "needs", self.inner.needs)
        object.__setattr__(self, "stochastic", self.inner.stochastic)

    @cached_property
    def inner(self) -> Explainer:
        """Method that is rescaled."""
        return cast("Explainer", build("method", self.of.replace(";", ",")))

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`; includes the identity of the inner method, whose version changes the results."""
        return super().identity() | {"of": self.inner.identity()}

    def prepare(self) -> None:
        """See :meth:`Explainer.prepare`."""
        self.inner.prepare()

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        return self.inner.applicable(subject)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        seed = int(torch.randint(2**31, (1,), generator=rng))
        instance, step = subject.batch.valid.nonzero(as_tuple=True)
        actual = self._explained(subject, torch.arange(len(subject)), subject.batch.inputs, seed)
        change = self._changes(subject, actual, seed, instance, step, None)
        if subject.granularity == "step":
            return torch.zeros(subject.shape, dtype=change.dtype).index_put((instance, step), change)
        chosen = self._relevant(change, instance)
        columns = subject.shape[2]
        of, at = (index[chosen].repeat_interleave(columns) for index in (instance, step))
        column = torch.arange(columns).repeat(int(chosen.sum()))
        values = torch.zeros(subject.shape, dtype=change.dtype)
        features = self._changes(subject, actual, seed, of, at, column)
        values[of, at, column] = features * change[chosen].repeat_interleave(columns)
        return values

    def _relevant(self, change: Tensor, instance: Tensor) -> Tensor:
        """Whether the change float[V] of each step reaches the quantile of the changes of its sequence, bool[V]."""
        relevant = torch.zeros(len(change), dtype=torch.bool)
        for row in instance.unique():
            mates = instance == row
            relevant[mates] = change[mates] >= torch.quantile(change[mates], self.quantile, interpolation="higher")
        return relevant

    def _changes(
        self, subject: Subject, actual: Tensor, seed: int, instance: Tensor, step: Tensor, column: Tensor | None
    ) -> Tensor:
        """Change of the attribution when a step, or one column of it, is absent, float[V].

        Args:
            subject: model and batch.
            actual: float[B, T(, D)], values for the sequences themselves.
            seed: explainer seed of the inner method.
            instance: int64[V], sequence of each step.
            step: int64[V], the steps.
            column: int64[V], the absent columns; None for whole steps.
        """
        changes = [actual.new_zeros(0)]
        for part in torch.arange(len(instance)).split(max(1, _VALUES_AT_ONCE // subject.batch.inputs[0].numel())):
            of, at, place = instance[part], step[part], torch.arange(len(part))
            inputs = subject.batch.inputs[of]
            if column is None:
                inputs[place, at] = subject.reference[of, at]
            else:
                inputs[place, at, column[part]] = subject.reference[of, at, column[part]]
            changes.append((actual[of] - self._explained(subject, of, inputs, seed)).abs().flatten(1).sum(1))
        return torch.cat(changes)

    def _explained(self, subject: Subject, of: Tensor, inputs: Tensor, seed: int) -> Tensor:
        """Attribution of the inner method, float[V, T(, D)].

        Args:
            subject: model and batch.
            of: int64[V], sequences of the batch.
            inputs: [V, T(, D)], inputs that replace those of the sequences.
            seed: explainer seed of the inner method.
        """
        before, spent, values = subject.cost.copy(), Cost(), []
        # draws depend on the place in a batch, so a stochastic method gets each sequence in a batch of its own
        for part in torch.arange(len(of)).split(1 if self.inner.stochastic else len(of)):
            other = subject.select(of[part])
            other = other.replaced(inputs[part, : other.batch.inputs.shape[1]])
            attribution = self.inner.explain(other, seed).values
            missing = subject.batch.inputs.shape[1] - attribution.shape[1]
            values.append(functional.pad(attribution, (0, 0) * (attribution.dim() - 2) + (0, missing)))
            for name, value in vars(other.cost).items():
                setattr(spent, name, getattr(spent, name) + value)
        # the subject counted executed rows only (identical rows are run once); the others counted the requested ones
        subject.cost.restore(Cost(**{name: value + getattr(before, name) for name, value in vars(spent).items()}))
        return torch.cat(values)
