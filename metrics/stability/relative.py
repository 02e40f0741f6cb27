"""Relative stability: change of the explanation relative to that of the input, the outputs or the representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ...errors import ParameterError
from ...plugins import register
from ..base import Direction
from .neighbours import NeighbourMetric, Neighbours, masked_max

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.subject import Subject


@dataclass(frozen=True)
class _RelativeStability(NeighbourMetric):
    """Base class of the relative stabilities, which differ in the change that the explanation's is divided by."""

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon <= 0:
            raise ParameterError(f"{self.name}: epsilon={self.epsilon} does not fit; it must be positive.")

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:
        """See the class."""
        ratio = self._relative(maps) / self._change(near).clamp_min(self.epsilon)
        # clamp keeps NaN, which marks sequences without a kept neighbour
        return masked_max(ratio, near.kept).clamp_min(self.epsilon).log10()

    def _change(self, near: Neighbours) -> Tensor:
        """Change between each neighbour and its sequence, float64[S, C]."""
        raise NotImplementedError

    def _relative(self, values: Tensor) -> Tensor:
        """L2 norm of the relative changes of values [S + 1, C, …] to those of the first copy, float64[S, C]."""
        values = values.double().flatten(2)
        norms: Tensor = ((values[1:] - values[:1]) / (values[:1].abs() + self.epsilon)).norm(dim=2)
        return norms


@register
@dataclass(frozen=True)
class RelativeInputStability(_RelativeStability):
    """Logarithm of the largest ratio of the relative change of the explanation to that of the input.

        log₁₀ max over x′ of  ‖(Φ(x′) − Φ(x)) / Φ(x)‖ / max(‖(x′ − x) / x‖, ε),   x′ uniform within radius of x (L∞)

    Divisions are elementwise, with the denominators |Φ(x)| + ε and |x| + ε, which are positive whatever the sign of the
    value; L2 norms over the valid features. Only neighbours for which the model predicts the same class count; for
    regression all do. The explained output stays that of x.

    * NaN where no neighbour keeps the class, and where the sequence is not scored.
    * A largest ratio below ε counts as ε: an explanation that never changes scores log₁₀ ε.
    * Relative to a value near 0 a small change is large, so a map that is nearly 0 in places looks less stable than it
      is. This is why the logarithm is reported.
    * Tokens are perturbed in embedding space. The neighbours and their explanations are those of ``max-sensitivity``.

    Args:
        radius: largest change of a value, in the unit of the model's inputs or embeddings.
        samples: number of neighbours of each sequence.
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.
        epsilon: ε, in the unit of the value that it is added to.

    Source: Agarwal et al. 2022, eq. 2 (RIS, p = 2), over samples of a box.
    """

    name: ClassVar[str] = "relative-input-stability"
    source: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877, eq. 2"

    def _change(self, near: Neighbours) -> Tensor:
        return self._relative(near.inputs)


@register
@dataclass(frozen=True)
class RelativeOutputStability(_RelativeStability):
    """Logarithm of the largest ratio of the relative change of the explanation to the change of the model's outputs.

        log₁₀ max over x′ of  ‖(Φ(x′) − Φ(x)) / Φ(x)‖ / max(‖f(x′) − f(x)‖, ε),   x′ uniform within radius of x (L∞)

    f are all raw outputs (logits, where the model returns logits); their change is not relative. Everything else is as
    in ``relative-input-stability``: the denominator |Φ(x)| + ε, only neighbours of the same predicted class, log₁₀ ε
    for an explanation that never changes, NaN where no neighbour keeps the class and where the sequence is not scored.

    Args:
        radius: largest change of a value, in the unit of the model's inputs or embeddings.
        samples: number of neighbours of each sequence.
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.
        epsilon: ε, in the unit of the value that it is added to.

    Source: Agarwal et al. 2022, eq. 5 (ROS, p = 2), over samples of a box.
    """

    name: ClassVar[str] = "relative-output-stability"
    source: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877, eq. 5"

    def _change(self, near: Neighbours) -> Tensor:
        outputs = near.outputs.double()
        norms: Tensor = (outputs[1:] - outputs[:1]).norm(dim=2)
        return norms


@register
@dataclass(frozen=True)
class RelativeRepresentationStability(_RelativeStability):
    """Logarithm of the largest ratio of the relative change of the explanation to that of the representation.

        log₁₀ max over x′ of  ‖(Φ(x′) − Φ(x)) / Φ(x)‖ / max(‖(L(x′) − L(x)) / L(x)‖, ε),   x′ within radius of x (L∞)

    L is the representation that the model computes its scores from, the input of the linear layer that is called last;
    in a recurrent network it is the pooled hidden state. Everything else is as in ``relative-input-stability``: the
    denominators |Φ(x)| + ε and |L(x)| + ε, only neighbours of the same predicted class, log₁₀ ε for an explanation that
    never changes, NaN where no neighbour keeps the class and where the sequence is not scored. Not applicable to models
    without such a layer.

    Args:
        radius: largest change of a value, in the unit of the model's inputs or embeddings.
        samples: number of neighbours of each sequence.
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.
        epsilon: ε, in the unit of the value that it is added to.

    Source: Agarwal et al. 2022, eq. 3 (RRS, p = 2), over samples of a box.
    """

    name: ClassVar[str] = "relative-representation-stability"
    source: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877, eq. 3"

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        if reason := super().applicable(explainer, subject):
            return reason
        return "" if subject.continuous().represents else "the model has no linear layer that reads one state"

    def _change(self, near: Neighbours) -> Tensor:
        return self._relative(near.representations)


@register
@dataclass(frozen=True)
class NeighboursKept(NeighbourMetric):
    """Share of the neighbours for which the model predicts the same class as for the sequence.

    The relative stabilities are maxima over these neighbours only, so a small share means maxima over few. The value is
    the same for all methods and does not rank them. 1 for regression. NaN where the sequence is not scored. The
    neighbours are those of ``max-sensitivity``.

    Args:
        radius: largest change of a value, in the unit of the model's inputs or embeddings.
        samples: number of neighbours of each sequence.
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.

    Source: the condition ŷ(x′) = ŷ(x) of Agarwal et al. 2022, eqs. 2, 3 and 5.
    """

    name: ClassVar[str] = "neighbours-kept"
    direction: ClassVar[Direction] = "neither"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "nothing"
    source: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877, eqs. 2, 3 and 5"

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:  # noqa: ARG002  # does not depend on the explanations
        """See the class."""
        return near.kept.double().mean(0)
