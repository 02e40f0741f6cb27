"""Bracket: which bracket has to be closed next, by an LSTM that is a stack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ....plugins import register
from ...models import white_box
from .rules import Brackets, Removals, answered
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
    """Which closing bracket comes next, ``)``, ``]`` or none: an LSTM with 34 units that is a stack.

    Sequences of 5 to 16 brackets, beginnings of well-formed ones: at every step a bracket is opened, of either kind, or
    the last open one is closed, with equal chance; one is opened where none is open. The classes are the kind of the
    last open bracket, or that none is open. Units hold the open brackets and how many there are, and a register the
    last one; the stack is as deep as the longest sequence, so that it holds whatever is left of one when brackets are
    taken away. What is left need not be well-formed: a closing bracket then closes the last open one, of whichever
    kind, and does nothing where none is open. ``<unk>`` changes nothing.

    Explained are sequences in which one is open: that none is, no single bracket says.

    Truth, certain, as the network is known:

    * ``open``: 1 for the bracket that is open last and has to be closed next, else 0. It decides the answer: turned
      into one of the other kind it turns the answer, and no other bracket does;
    * ``shapley``: the exact Shapley values of the network's score of the explained class against ``<unk>``: tanh 1
      where a bracket of its kind is on top, −tanh 1 where one of the other kind is, 0 where none is. Signed, about the
      explained class. They give weight to every bracket, as each could be the one on top if others were gone, and to
      closing ones, which let the deciding one come to the top.

    Source: Hao 2020, arXiv:2010.08606, the PDA network of bracket prediction; m = 50 as in the published code. Ours are
    the lengths, the depth, the gates that keep the cells where the input is 0, which moves the published stack, and
    the constant by which "none" is also the answer before anything was opened.
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
        found, state = "", self.rule.start
        closing = {kind[0]: kind[1] for kind in _KINDS}
        for _ in range(rng.integers(_SHORTEST, _LONGEST + 1)):
            opens = not state or rng.integers(2)
            found += _KINDS[rng.integers(len(_KINDS))][0] if opens else closing[state[-1]]
            state = self.rule.step(state, found[-1])
        return found

    def truths(self, sequences: list[str]) -> dict[str, Truth]:
        """See :meth:`WhiteBoxTask.truths`."""
        output = "the kind of the bracket that has to be closed next"
        return {
            "open": self.truth([last_open(one) for one in sequences], semantics="planted", output=output),
            "shapley": self.truth(
                [self._shapley(one) for one in sequences], semantics="shapley", output=output, signed=True
            ),
        }

    def _shapley(self, sequence: str) -> list[float]:
        own = answered(self.rule, sequence)

        def score(state: str) -> float:
            answer = self.rule.answer(state)
            return math.tanh(1.0) * (0.0 if answer == 0 else 1.0 if answer == own else -1.0)

        return Removals(self.rule, sequence).shapley(score)


def last_open(sequence: str) -> list[float]:
    """1 for the bracket that is open last, else 0."""
    waiting: list[int] = []
    for place, letter in enumerate(sequence):
        if letter in {kind[0] for kind in _KINDS}:
            waiting.append(place)
        elif waiting:
            waiting.pop()
    return [float(bool(waiting) and place == waiting[-1]) for place in range(len(sequence))]
