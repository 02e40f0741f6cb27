"""Counter: more a than b, by an LSTM that counts."""

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
    """Whether a sequence of a and b has more a than b: an LSTM with one unit, its weights set by hand.

    Sequences of 5 to 20 letters, each a or b with equal chance. The cell holds tanh(u) (n_a − n_b), and the score of
    "more a" is ½ [tanh(tanh(u) (n_a − n_b)) − ½ tanh(tanh u)], that of "not more" its opposite; the published network
    says "not more" by a constant, which nothing would explain. ``<unk>`` changes nothing. The gates are always open,
    but the further one letter leads, the flatter the score: what gradients see then is small, not wrong in sign.

    Truth, signed towards "more a" (``Truth.toward``); certain, as the network is known:

    * ``coefficient``: each a speaks for it by 1, each b against it by 1, wherever it stands: derivative × input of the
      rule n_a − n_b > 0;
    * ``shapley``: the exact Shapley values of the network's score of "more a" against ``<unk>``: equal for all a, and
      for all b.

    All letters are relevant; only the sign and, for Shapley values, the size tell them apart.

    Source: Hao 2020, arXiv:2010.08606, the counter network; u = ½ and m = 50 as in the published code. The lengths are
    ours, and a second unit that did nothing is left out.
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
        drawn = rng.integers(len(self.alphabet), size=rng.integers(_SHORTEST, _LONGEST + 1))
        return "".join(self.alphabet[letter] for letter in drawn)

    def score(self, lead: int) -> float:
        """What the network says of "more a" where a leads by so many."""
        return (math.tanh(math.tanh(self.increment) * lead) - white_box.once(self.increment) / 2) / 2

    def truths(self, sequences: list[str]) -> dict[str, Truth]:
        """See :meth:`WhiteBoxTask.truths`."""
        signs = [[1.0 if letter == "a" else -1.0 for letter in sequence] for sequence in sequences]
        shares = [Removals(self.rule, sequence).shapley(self.score) for sequence in sequences]
        return {
            "coefficient": self.truth(signs, semantics="coefficient", output=self._output, signed=True, toward=1),
            "shapley": self.truth(shares, semantics="shapley", output=self._output, signed=True, toward=1),
        }

    @property
    def _output(self) -> str:
        return "the class 'more a than b' against 'not more a than b'"
