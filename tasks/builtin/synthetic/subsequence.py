"""Subsequence detection, ab, bc, cd or dc, by white-box LSTMs: one that counts, and one that is an automaton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ....errors import ParameterError
from ....plugins import register
from ...models import white_box
from .rules import Pairs, Removals, classify
from .white_box import WhiteBoxTask

if TYPE_CHECKING:
    import numpy as np

    from ...data.batch import Truth
    from ...models.networks import RecurrentNet

_SHORTEST, _LONGEST = 6, 16
_CHANGES = 3
_PAIRS: Final = ("ab", "bc", "cd", "dc")
# The least hidden value that opens a gate.
_THRESHOLD: Final = 0.5


@register
@dataclass(frozen=True)
class Subsequence(WhiteBoxTask):
    """Subsequence detection, ab, bc, cd or dc at any distance, by an LSTM with 7 units that counts letters.

    Sequences have 6 to 16 letters a, b, c, d. Half of them are free of all four pairs: each letter is drawn from those
    that complete none. In the other half one to three letters of such a sequence are redrawn until there is a pair.
    Four units count the letters. Three more count each b after an a, c after a b or d, and d after a c, by gates that
    open once the letter before was seen, which takes u > atanh(atanh ½) ≈ .618. The score of "contains" is
    ½ [sum of the three units − ½ tanh(tanh u)], and the score of "free" is its negative. ``<unk>`` changes nothing.

    Only sequences that contain a pair are explained, because no letter causes the absence of pairs.

    Truth, about "contains" and certain, as the network is known. A sequence usually has several pairs, and each alone
    is sufficient, so every letter of any pair counts:

    * ``pair``: 1 for the letters of any pair (any smallest sufficient set), else 0;
    * ``shapley``: the exact Shapley values of the rule, 1 for a coalition with a pair and 0 for one without. Signed,
      though never negative, and above 0 for the same letters. They explain the decision: the score of this network
      also grows with the number of pairs; that of ``subsequence-automaton`` does not.

    Source: Hao 2020, arXiv:2010.08606, the counter network of the SP task; u = .7 and m = 50 as in the published code.
    The published sequences are uniform and long, and almost all their letters are in a pair; ours are generated so that
    some are not. The published readout gives one class a constant score and has its threshold at a tenth of ours.
    """

    name: ClassVar[str] = "subsequence"
    alphabet: ClassVar[str] = "abcd"
    classes: ClassVar[tuple[str, ...]] = ("free", "contains")
    explained_classes: ClassVar[frozenset[int]] = frozenset({1})

    increment: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not white_box.hidden_after_one(self.increment) > _THRESHOLD:
            raise ParameterError(
                f"{self.name}: increment={self.increment} does not fit (above atanh(atanh ½) ≈ .618, or no gate sees a "
                "letter that was counted once)."
            )

    @property
    def rule(self) -> Pairs:
        """See :attr:`WhiteBoxTask.rule`."""
        return Pairs(_PAIRS)

    def network(self) -> RecurrentNet:
        """See :func:`xrnnbench.tasks.models.white_box.pair_counter`."""
        before = {last: "".join(pair[0] for pair in _PAIRS if pair[1] == last) for last in "bcd"}
        return white_box.pair_counter(self.alphabet, before, self.saturation, self.increment)

    def write(self, rng: np.random.Generator) -> str:
        """See :meth:`WhiteBoxTask.write`."""
        free = self._free_sequence(rng)
        if rng.integers(2):
            return free
        while True:
            changed = [*free]
            for place in rng.choice(len(free), rng.integers(1, _CHANGES + 1), replace=False):
                changed[place] = self.alphabet[rng.integers(len(self.alphabet))]
            if classify(self.rule, "".join(changed)):
                return "".join(changed)

    def _free_sequence(self, rng: np.random.Generator) -> str:
        """A sequence without pairs; the letter a completes none, so there is always a letter to draw."""
        sequence, completing = "", self.rule.start
        for _ in range(rng.integers(_SHORTEST, _LONGEST + 1)):
            allowed = [letter for letter in self.alphabet if letter not in completing]
            sequence += allowed[rng.integers(len(allowed))]
            completing = self.rule.step(completing, sequence[-1]) or ""
        return sequence

    def truths(self, sequences: list[str]) -> dict[str, Truth]:
        """See :meth:`WhiteBoxTask.truths`."""
        output = "the class 'contains' against 'free'"
        pairs = [in_pairs(sequence) for sequence in sequences]
        values = [Removals(self.rule, text).shapley(lambda state: float(self.rule.answer(state))) for text in sequences]
        return {
            "pair": self.truth(pairs, semantics="planted", output=output),
            "shapley": self.truth(values, semantics="shapley", output=output, signed=True, toward=1),
        }


def in_pairs(sequence: str) -> list[float]:
    """Membership in pairs: 1 for each letter that forms a pair with one before or after it, else 0."""
    return [
        float(
            any(first + letter in _PAIRS for first in sequence[:place])
            or any(letter + second in _PAIRS for second in sequence[place + 1 :])
        )
        for place, letter in enumerate(sequence)
    ]


@register
@dataclass(frozen=True)
class SubsequenceAutomaton(Subsequence):
    """:class:`Subsequence` with an LSTM of 36 units that is a finite automaton, for the same rule and sequences.

    A state is the set of letters that would complete a pair; there are eight of them, and one more for "contains". The
    unit of the state and the last letter is on, all others are off. Every letter rewrites all cells, so all
    information passes through the gates. A gate has to respond to the value that one letter writes, which takes
    u > atanh(atanh ½) ≈ .618; near this bound the stored value fades from step to step. ``<unk>`` leaves the cells
    unchanged; the published network resets them there.

    Truth: as for ``subsequence``, and certain. The difference of the scores of "contains" and "free" has only two
    values, tanh(tanh u) apart, so the Shapley values of each score are ``shapley`` × ½ tanh(tanh u), up to rounding.

    Source: Hao 2020, arXiv:2010.08606, the FSA network of the SP task; u = 1 and m = 50 as in the published code.
    """

    name: ClassVar[str] = "subsequence-automaton"
    sequences_of: ClassVar[str] = "subsequence"

    increment: float = 1.0

    def network(self) -> RecurrentNet:
        """See :func:`xrnnbench.tasks.models.white_box.automaton`."""
        states = self._states()
        return white_box.automaton(
            len(states),
            self.alphabet,
            lambda state, letter: states.index(self.rule.step(states[state], letter)),
            [number for number, state in enumerate(states) if self.rule.answer(state)],
            self.saturation,
            self.increment,
        )

    def _states(self) -> list[str | None]:
        """All reachable states of the rule, the start state first."""
        states: list[str | None] = [self.rule.start]
        for state in states:  # the list grows during the loop
            successors = (self.rule.step(state, letter) for letter in self.alphabet)
            states += [successor for successor in dict.fromkeys(successors) if successor not in states]
        return states
