"""Relative stability: how much the explanation changes, beside how much the input, the output or the state changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ...errors import ParameterError
from ...plugins import register
from ..base import Direction
from .neighbours import NeighbourMetric, Neighbours, largest

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.subject import Subject


@dataclass(frozen=True)
class _RelativeStability(NeighbourMetric):
    """What the relative stabilities share; they differ in what the change of the explanation is held against."""

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon <= 0:
            raise ParameterError(f"{self.name}: epsilon={self.epsilon} does not fit; it must be positive.")

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:
        """See the class."""
        ratio = self._relative(maps) / self._moved(near).clamp_min(self.epsilon)
        # clamp lets NaN pass: nothing was kept
        return largest(ratio, near.kept).clamp_min(self.epsilon).log10()

    def _moved(self, near: Neighbours) -> Tensor:
        """float64[S, C]: how far each neighbour has gone from its sequence."""
        raise NotImplementedError

    def _relative(self, values: Tensor) -> Tensor:
        """float64[S, C] of [S + 1, C, …]: L2 norm of each value's change over its size at first."""
        values = values.double().flatten(2)
        found: Tensor = ((values[1:] - values[:1]) / (values[:1].abs() + self.epsilon)).norm(dim=2)
        return found


@register
@dataclass(frozen=True)
class RelativeInputStability(_RelativeStability):
    """The relative change of the explanation over the relative change of the input, at most; its logarithm.

        log₁₀ max over x′ of  ‖(Φ(x′) − Φ(x)) / Φ(x)‖ / max(‖(x′ − x) / x‖, ε),   x′ uniform within radius of x (L∞)

    Quotients are taken value by value with |Φ(x)| + ε and |x| + ε below, so that no sign and no zero upsets them; L2
    norms over the valid features. Only neighbours of which the model predicts the same class count, all of a
    regression's. The explained output stays that of x.

    * NaN where no neighbour keeps the class, and where the sequence is not asked of.
    * A largest quotient below ε counts as ε: an explanation that never changes scores log₁₀ ε.
    * A value near 0 makes a small change a large one: a map that is nearly 0 in places looks less stable than it is,
      which is why the logarithm is shown.
    * Tokens move in embedding space. Neighbours, and the explanations of them, are those of ``max-sensitivity``.

    Args:
        radius: the largest change of a value, in the unit of the model's inputs or embeddings.
        samples: neighbours of each sequence.
        instances: sequences judged, evenly spaced in the batch; 0 for all.
        epsilon: ε, in the unit of whatever it is added to.

    Source: Agarwal et al. 2022, eq. 2 (RIS, p = 2), over samples of a box.
    """

    name: ClassVar[str] = "relative-input-stability"
    source: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877, eq. 2"

    def _moved(self, near: Neighbours) -> Tensor:
        return self._relative(near.inputs)


@register
@dataclass(frozen=True)
class RelativeOutputStability(_RelativeStability):
    """The relative change of the explanation over the change of the model's outputs, at most; its logarithm.

        log₁₀ max over x′ of  ‖(Φ(x′) − Φ(x)) / Φ(x)‖ / max(‖f(x′) − f(x)‖, ε),   x′ uniform within radius of x (L∞)

    f: all raw outputs (logits, where the model gives logits); its change is not relative. All else is as in
    ``relative-input-stability``: |Φ(x)| + ε below, only neighbours of the same predicted class, log₁₀ ε for an
    explanation that never changes, NaN where no neighbour keeps the class and where the sequence is not asked of.

    Args:
        radius: the largest change of a value, in the unit of the model's inputs or embeddings.
        samples: neighbours of each sequence.
        instances: sequences judged, evenly spaced in the batch; 0 for all.
        epsilon: ε, in the unit of whatever it is added to.

    Source: Agarwal et al. 2022, eq. 5 (ROS, p = 2), over samples of a box.
    """

    name: ClassVar[str] = "relative-output-stability"
    source: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877, eq. 5"

    def _moved(self, near: Neighbours) -> Tensor:
        outputs = near.outputs.double()
        found: Tensor = (outputs[1:] - outputs[:1]).norm(dim=2)
        return found


@register
@dataclass(frozen=True)
class RelativeRepresentationStability(_RelativeStability):
    """The relative change of the explanation over that of what the model reads its scores from; its logarithm.

        log₁₀ max over x′ of  ‖(Φ(x′) − Φ(x)) / Φ(x)‖ / max(‖(L(x′) − L(x)) / L(x)‖, ε),   x′ within radius of x (L∞)

    L: the input of the linear layer that is called last: the pooled state of a recurrent network. All else is as in
    ``relative-input-stability``: |Φ(x)| + ε and |L(x)| + ε below, only neighbours of the same predicted class, log₁₀ ε
    for an explanation that never changes, NaN where no neighbour keeps the class and where the sequence is not asked
    of. Not applicable to models without such a layer.

    Args:
        radius: the largest change of a value, in the unit of the model's inputs or embeddings.
        samples: neighbours of each sequence.
        instances: sequences judged, evenly spaced in the batch; 0 for all.
        epsilon: ε, in the unit of whatever it is added to.

    Source: Agarwal et al. 2022, eq. 3 (RRS, p = 2), over samples of a box.
    """

    name: ClassVar[str] = "relative-representation-stability"
    source: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877, eq. 3"

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        if reason := super().applicable(explainer, subject):
            return reason
        return "" if subject.continuous().represents else "the model has no linear layer that reads one state"

    def _moved(self, near: Neighbours) -> Tensor:
        return self._relative(near.representations)


@register
@dataclass(frozen=True)
class NeighboursKept(NeighbourMetric):
    """The share of a sequence's neighbours that keep the predicted class: what relative stability rests on.

    The relative stabilities leave the other neighbours out; where few are kept their maxima are of few. It is the same
    for all methods and ranks none. 1 for regression. NaN where the sequence is not asked of. Neighbours are those of
    ``max-sensitivity``.

    Args:
        radius: the largest change of a value, in the unit of the model's inputs or embeddings.
        samples: neighbours of each sequence.
        instances: sequences judged, evenly spaced in the batch; 0 for all.

    Source: the condition ŷ(x′) = ŷ(x) of Agarwal et al. 2022, eqs. 2, 3 and 5.
    """

    name: ClassVar[str] = "neighbours-kept"
    direction: ClassVar[Direction] = "neither"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "nothing"
    source: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877, eqs. 2, 3 and 5"

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:  # noqa: ARG002  # what is said of them does not matter
        """See the class."""
        return near.kept.double().mean(0)
