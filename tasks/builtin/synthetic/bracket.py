"""Bracket prediction: the next closing bracket, by a white-box LSTM that is a stack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ....plugins import register
from ...models import white_box
from .rules import Brackets, Removals, classify
from .white_box import WhiteBoxTask

if TYPE_CHECKING:
    import numpy as np

    from ...data.batch import Truth
    from ...models.networks import RecurrentNet

_SHORTEST, _LONGEST = 5, 16
_KINDS: Final = ("()", "[]")


@register
@dataclass(frozen=True)
class Bracket(WhiteBoxTask):
    """Bracket prediction, the next closing bracket ``)``, ``]`` or none, by an LSTM with 34 units that is a stack.

    Sequences are 5 to 16 brackets long and are prefixes of well-formed ones. At every step a bracket of either kind is
    opened, or the last open one is closed, with equal chance; where none is open, one is opened. The class is the kind
    of the last open bracket, or that none is open. Some units are the stack of open brackets, some hold its height, and
    a register holds the top. The stack is as deep as the longest sequence, so it also holds any remainder after
    removals. A remainder need not be well-formed: a closing bracket then closes the last open one, of either kind, and
    does nothing where none is open. ``<unk>`` changes nothing.

    Only sequences with an open bracket are explained, because no single bracket causes that none is open.

    Truth, certain, as the network is known:

    * ``open``: 1 for the last open bracket, which has to be closed next, else 0. It decides the class: replacing it by
      one of the other kind changes the class, and no other replacement does;
    * ``shapley``: the exact Shapley values of the network's score of the explained class against ``<unk>``: tanh 1
      where a bracket of its kind is on top, −tanh 1 where one of the other kind is, 0 where none is. Signed, about the
      explained class. Every bracket has a value, as each could be on top after removals of others, and so have closing
      brackets, which bring the deciding one to the top.

    Source: Hao 2020, arXiv:2010.08606, the PDA network of bracket prediction; m = 50 as in the published code. Our own
    are the lengths, the depth, the gates that keep the cells where the input is 0 (it moves the published stack), and
    the constant that makes "none" the class of an empty sequence as well.
    """

    name: ClassVar[str] = "bracket"
    alphabet: ClassVar[str] = "".join(_KINDS)
    classes: ClassVar[tuple[str, ...]] = ("none", *(kind[1] for kind in _KINDS))
    explained_classes: ClassVar[frozenset[int]] = frozenset({1, 2})

    @property
    def rule(self) -> Brackets:
        """See :attr:`WhiteBoxTask.rule`."""
        return Brackets(_KINDS)

    def network(self) -> RecurrentNet:
        """See :func:`xrnnbench.tasks.models.white_box.stack`."""
        return white_box.stack(_LONGEST, self.saturation)

    def write(self, rng: np.random.Generator) -> str:
        """See :meth:`WhiteBoxTask.write`."""
        sequence, state = "", self.rule.start
        closing = {kind[0]: kind[1] for kind in _KINDS}
        for _ in range(rng.integers(_SHORTEST, _LONGEST + 1)):
            opens = not state or rng.integers(2)
            sequence += _KINDS[rng.integers(len(_KINDS))][0] if opens else closing[state[-1]]
            state = self.rule.step(state, sequence[-1])
        return sequence

    def truths(self, sequences: list[str]) -> dict[str, Truth]:
        """See :meth:`WhiteBoxTask.truths`."""
        output = "the kind of the bracket that has to be closed next"
        return {
            "open": self.truth([last_open(sequence) for sequence in sequences], semantics="planted", output=output),
            "shapley": self.truth(
                [self._shapley(sequence) for sequence in sequences], semantics="shapley", output=output, signed=True
            ),
        }

    def _shapley(self, sequence: str) -> list[float]:
        """The Shapley value of each bracket for the score of the sequence's class."""
        target = classify(self.rule, sequence)

        def score(state: str) -> float:
            label = self.rule.answer(state)
            return math.tanh(1.0) * (0.0 if label == 0 else 1.0 if label == target else -1.0)

        return Removals(self.rule, sequence).shapley(score)


def last_open(sequence: str) -> list[float]:
    """Position of the last open bracket, one-hot: 1 for it, else 0; all 0 where none is open."""
    open_places: list[int] = []
    for place, letter in enumerate(sequence):
        if letter in {kind[0] for kind in _KINDS}:
            open_places.append(place)
        elif open_places:
            open_places.pop()
    return [float(bool(open_places) and place == open_places[-1]) for place in range(len(sequence))]
