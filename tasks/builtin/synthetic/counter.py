"""Letter counting: the majority of two letters, by a white-box LSTM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ....errors import ParameterError
from ....plugins import register
from ...models import white_box
from .rules import More, Removals
from .white_box import WhiteBoxTask

if TYPE_CHECKING:
    import numpy as np

    from ...data.batch import Truth
    from ...models.networks import RecurrentNet

_SHORTEST, _LONGEST = 5, 20


@register
@dataclass(frozen=True)
class Counter(WhiteBoxTask):
    """Majority of two letters, more a than b or not, by an LSTM with one unit whose weights are set by hand.

    Sequences have 5 to 20 letters, each a or b with equal chance. The cell holds tanh(u) (n_a − n_b). The score of
    "more a" is ½ [tanh(tanh(u) (n_a − n_b)) − ½ tanh(tanh u)], and the score of "not more" is its negative; in the
    published network the score of "not more" is a constant, which no letter could explain. ``<unk>`` changes nothing.
    The gates are always open, but the score saturates as one letter leads: gradients are then small, with the right
    sign.

    Truth, signed towards "more a" (``Truth.toward``); certain, as the network is known:

    * ``coefficient``: 1 for each a and −1 for each b, at any position: derivative × input of the rule n_a − n_b > 0;
    * ``shapley``: the exact Shapley values of the network's score of "more a" against ``<unk>``: equal for all a, and
      for all b.

    All letters are relevant; they differ only in sign and, for Shapley values, in size.

    Source: Hao 2020, arXiv:2010.08606, the counter network; u = ½ and m = 50 as in the published code. The lengths are
    ours, and a second unit without effect is left out.
    """

    name: ClassVar[str] = "counter"
    alphabet: ClassVar[str] = "ab"
    classes: ClassVar[tuple[str, ...]] = ("not more a than b", "more a than b")

    increment: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.increment > 0:
            raise ParameterError(f"{self.name}: increment={self.increment} does not fit (it must be above 0).")

    @property
    def rule(self) -> More:
        """See :attr:`WhiteBoxTask.rule`."""
        return More("a")

    def network(self) -> RecurrentNet:
        """See :func:`xrnnbench.tasks.models.white_box.counter`."""
        return white_box.counter(self.saturation, self.increment)

    def write(self, rng: np.random.Generator) -> str:
        """See :meth:`WhiteBoxTask.write`."""
        numbers = rng.integers(len(self.alphabet), size=rng.integers(_SHORTEST, _LONGEST + 1))
        return "".join(self.alphabet[number] for number in numbers)

    def score(self, lead: int) -> float:
        """The network's score of "more a" for a lead of a over b."""
        return (math.tanh(math.tanh(self.increment) * lead) - white_box.hidden_after_one(self.increment) / 2) / 2

    def truths(self, sequences: list[str]) -> dict[str, Truth]:
        """See :meth:`WhiteBoxTask.truths`."""
        signs = [[1.0 if letter == "a" else -1.0 for letter in sequence] for sequence in sequences]
        values = [Removals(self.rule, sequence).shapley(self.score) for sequence in sequences]
        return {
            "coefficient": self.truth(signs, semantics="coefficient", output=self._output, signed=True, toward=1),
            "shapley": self.truth(values, semantics="shapley", output=self._output, signed=True, toward=1),
        }

    @property
    def _output(self) -> str:
        return "the class 'more a than b' against 'not more a than b'"
