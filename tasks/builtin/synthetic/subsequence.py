"""Subsequence: does the sequence contain ab, bc, cd or dc, by an LSTM that counts, or by one that is an automaton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ....errors import ParameterError
from ....plugins import register
from ...models import white_box
from .rules import Pairs, Removals, answered
from .white_box import WhiteBoxTask

if TYPE_CHECKING:
    import numpy as np

    from ...data.batch import Truth
    from ...models.networks import RecurrentNet

_SHORTEST, _LONGEST = 6, 16
_CHANGES = 3
_PAIRS: Final = ("ab", "bc", "cd", "dc")
# What one letter must make of a hidden unit for a gate to see it.
_HALF: Final = 0.5


@register
@dataclass(frozen=True)
class Subsequence(WhiteBoxTask):
    """Whether a sequence contains ab, bc, cd or dc, at whatever distance: an LSTM with 7 units that counts.

    Sequences of 6 to 16 letters a, b, c, d. Half of them are free of all four pairs, each letter drawn from those that
    complete none; in the other half one to three letters of such a sequence are drawn anew until there is a pair. Four
    units count the letters; three more count each b after an a, c after a b or d, and d after a c, by gates that open
    once the letter before was seen, which takes u > atanh(atanh ½) ≈ .618. The score of "contains" is
    ½ [sum of the three units − ½ tanh(tanh u)], that of "free" its opposite. ``<unk>`` changes nothing.

    Explained are sequences that contain a pair: why one is free, no letter of it says.

    Truth, about "contains" and certain, as the network is known. Several pairs are usually there, each alone
    reason enough, so every letter that is in one counts:

    * ``pair``: 1 for the letters that are in any pair (any smallest set that suffices), else 0;
    * ``shapley``: the exact Shapley values of the rule, 1 for a coalition with a pair and 0 for one without. Signed,
      though never negative, and above 0 for the same letters. They are those of the decision: the score of this
      network also grows with the number of pairs; that of ``subsequence-automaton`` does not.

    Source: Hao 2020, arXiv:2010.08606, the counter network of the SP task; u = .7 and m = 50 as in the published code.
    The published sequences are uniform and long, and almost all their letters are in a pair; ours are written so that
    some are not. The published reader says one class by a constant and has its threshold at a tenth of ours.
    """

    name: ClassVar[str] = "subsequence"
    alphabet: ClassVar[str] = "abcd"
    classes: ClassVar[tuple[str, ...]] = ("free", "contains")
    explained_classes: ClassVar[frozenset[int]] = frozenset({1})

    increment: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not white_box.once(self.increment) > _HALF:
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
        free = self._free(rng)
        if rng.integers(2):
            return free
        while True:
            changed = [*free]
            for place in rng.choice(len(free), rng.integers(1, _CHANGES + 1), replace=False):
                changed[place] = self.alphabet[rng.integers(len(self.alphabet))]
            if answered(self.rule, "".join(changed)):
                return "".join(changed)

    def _free(self, rng: np.random.Generator) -> str:
        """A sequence without pairs; a completes none, so that there is always a letter to draw."""
        found, completing = "", self.rule.start
        for _ in range(rng.integers(_SHORTEST, _LONGEST + 1)):
            allowed = [letter for letter in self.alphabet if letter not in completing]
            found += allowed[rng.integers(len(allowed))]
            completing = self.rule.step(completing, found[-1]) or ""
        return found

    def truths(self, sequences: list[str]) -> dict[str, Truth]:
        """See :meth:`WhiteBoxTask.truths`."""
        output = "the class 'contains' against 'free'"
        pairs = [in_pairs(sequence) for sequence in sequences]
        shares = [Removals(self.rule, one).shapley(lambda state: float(self.rule.answer(state))) for one in sequences]
        return {
            "pair": self.truth(pairs, semantics="planted", output=output),
            "shapley": self.truth(shares, semantics="shapley", output=output, signed=True, toward=1),
        }


def in_pairs(sequence: str) -> list[float]:
    """1 for each letter that is in a pair with one before or after it, else 0."""
    return [
        float(
            any(one + letter in _PAIRS for one in sequence[:place])
            or any(letter + one in _PAIRS for one in sequence[place + 1 :])
        )
        for place, letter in enumerate(sequence)
    ]


@register
@dataclass(frozen=True)
class SubsequenceAutomaton(Subsequence):
    """:class:`Subsequence` by an LSTM that is a finite automaton: the same rule, the same sequences, 36 units.

    A state is the set of letters that would complete a pair, eight of them, and one more for "contains"; a unit is on
    for the state and the last letter, all others are off. Every letter rewrites all cells, so that all the network
    knows goes through the gates. They have to see what one letter writes: u > atanh(atanh ½) ≈ .618, and near that
    what is handed on fades from step to step. Where ``<unk>`` stands the cells are left as they are; the published
    network forgets everything there.

    Truth: as for ``subsequence``, and certain. Its score has two values only, tanh(tanh u) apart for "contains" less
    "free", so the Shapley values of each score are ``shapley`` × ½ tanh(tanh u), up to rounding.

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
        """All states of the rule, the first one first."""
        found: list[str | None] = [self.rule.start]
        for state in found:  # grows on the way
            after = (self.rule.step(state, letter) for letter in self.alphabet)
            found += [one for one in dict.fromkeys(after) if one not in found]
        return found
