"""Rules of the white-box tasks, read letter by letter, and what can be computed of any such rule exactly.

A rule is a deterministic automaton, with as many states as it likes. A letter that is taken away leaves the state as
it was, so that what a rule says of all the 2ⁿ sequences that are left when letters are taken from one of n can be
summed up state by state, in time that grows with n and the number of states in place of 2ⁿ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

    Counts = NDArray[np.float64]

S = TypeVar("S", bound="Hashable")


class Rule(Protocol[S]):
    """How a sequence of letters is answered.

    Attributes:
        start: the state before the first letter.
    """

    @property
    def start(self) -> S:
        """See the class."""

    def step(self, state: S, letter: str) -> S:
        """The state after one more letter."""

    def answer(self, state: S) -> int:
        """The class of a sequence that ends in this state."""


@dataclass(frozen=True)
class More:
    """Whether there are more of one letter (class 1) than of all others; the state is by how many."""

    letter: str = "a"
    start: int = 0

    def step(self, state: int, letter: str) -> int:
        """See :meth:`Rule.step`."""
        return state + (1 if letter == self.letter else -1)

    def answer(self, state: int) -> int:
        """See :meth:`Rule.answer`."""
        return int(state > 0)


@dataclass(frozen=True)
class Pairs:
    """Whether one of some pairs of letters occurs (class 1), in its order and at whatever distance.

    The state is the letters that would complete a pair, in the order of the alphabet, or None once one is complete.

    Attributes:
        pairs: of letters, each a text of two.
    """

    pairs: tuple[str, ...]
    start: str = ""

    def step(self, state: str | None, letter: str) -> str | None:
        """See :meth:`Rule.step`."""
        if state is None or letter in state:
            return None
        return "".join(sorted({*state, *(pair[1] for pair in self.pairs if pair[0] == letter)}))

    def answer(self, state: str | None) -> int:
        """See :meth:`Rule.answer`."""
        return int(state is None)


@dataclass(frozen=True)
class Brackets:
    """Which kind of bracket must be closed next: 0 if none is open, else the number of the kind, from 1.

    The state is the open brackets. A closing bracket closes the last open one, of whichever kind; where none is open it
    does nothing. In well-formed sequences this is what closing means; it is also said of those that are none, as
    taking letters away makes such.

    Attributes:
        kinds: of brackets, each a text of two.
    """

    kinds: tuple[str, ...]
    start: str = ""

    def step(self, state: str, letter: str) -> str:
        """See :meth:`Rule.step`."""
        return state + letter if any(kind[0] == letter for kind in self.kinds) else state[:-1]

    def answer(self, state: str) -> int:
        """See :meth:`Rule.answer`."""
        return 1 + [kind[0] for kind in self.kinds].index(state[-1]) if state else 0


def final(rule: Rule[S], letters: str) -> S:
    """The state after all letters."""
    state = rule.start
    for letter in letters:
        state = rule.step(state, letter)
    return state


def answered(rule: Rule[S], letters: str) -> int:
    """The class of a sequence."""
    return rule.answer(final(rule, letters))


@dataclass(frozen=True)
class Flip:
    """The fewest letters whose removal makes a rule answer otherwise.

    Attributes:
        count: how many; None if it never does, whatever is removed.
        places: of all letters that are in some such set; there may be many sets.
    """

    count: int | None
    places: tuple[int, ...]


@dataclass(frozen=True)
class Removals(Generic[S]):
    """What a rule says of a sequence from which letters are taken away.

    Attributes:
        rule: the rule.
        letters: the whole sequence, of n letters.
    """

    rule: Rule[S]
    letters: str

    def best_flip(self) -> Flip:
        """The smallest flip, by dynamic programming over the states that can be reached.

        Source: after the chart of the ablation test of Hao 2020 (``optimal_ablation`` in its code), for any rule.
        """
        own = answered(self.rule, self.letters)
        before = self._least_before()
        after = [dict.fromkeys(states, math.inf) for states in before]
        after[-1] = {state: math.inf if self.rule.answer(state) == own else 0.0 for state in before[-1]}
        for place, letter in reversed([*enumerate(self.letters)]):
            for state in after[place]:
                kept, removed = after[place + 1][self.rule.step(state, letter)], after[place + 1][state] + 1
                after[place][state] = min(kept, removed)
        least = after[0][self.rule.start]
        if math.isinf(least):
            return Flip(None, ())
        used = (
            place
            for place in range(len(self.letters))
            if any(cost + 1 + after[place + 1][state] == least for state, cost in before[place].items())
        )
        return Flip(int(least), tuple(used))

    def shapley(self, value: Callable[[S], float]) -> list[float]:
        """The Shapley value of each letter, where a coalition is worth the value of the state its letters end in.

        Source: Shapley 1953; the sum over coalitions of each size is done state by state.
        """
        count = len(self.letters)
        before, after = self._coalitions_before(), self._values_after(value)
        found = []
        for place, letter in enumerate(self.letters):
            gains = np.zeros(count)
            for state, many in before[place].items():
                gain = after[place + 1][self.rule.step(state, letter)] - after[place + 1][state]
                gains += np.convolve(many, gain)[:count]
            found.append(float(gains @ _weights(count)))
        return found

    def share_of_answers(self, own: int) -> list[float]:
        """Of the coalitions of each size, 0 to n, the share that is answered with ``own``."""
        totals = self._values_after(lambda state: float(self.rule.answer(state) == own))[0][self.rule.start]
        return [float(total) / math.comb(len(self.letters), size) for size, total in enumerate(totals)]

    def _least_before(self) -> list[dict[S, float]]:
        """For each place, the states it can be reached in and the fewest removals that do."""
        found: list[dict[S, float]] = [{self.rule.start: 0.0}]
        for letter in self.letters:
            costs: dict[S, float] = {}
            for state, cost in found[-1].items():
                for reached, more in ((self.rule.step(state, letter), 0), (state, 1)):
                    costs[reached] = min(costs.get(reached, math.inf), cost + more)
            found.append(costs)
        return found

    def _coalitions_before(self) -> list[dict[S, Counts]]:
        """For each place and state, how many coalitions of each size of the letters before it end in that state."""
        found: list[dict[S, Counts]] = [{self.rule.start: np.ones(1)}]
        for letter in self.letters:
            counts: dict[S, Counts] = {}
            for state, many in found[-1].items():
                for reached, shifted in self._both(state, letter, many):
                    counts[reached] = counts.get(reached, 0.0) + shifted
            found.append(counts)
        return found

    def _values_after(self, value: Callable[[S], float]) -> list[dict[S, Counts]]:
        """For each place and state, the summed values of the coalitions of each size of the letters from there on."""
        reachable = self._least_before()
        found: list[dict[S, Counts]] = [{state: np.array([value(state)]) for state in reachable[-1]}]
        for place, letter in reversed([*enumerate(self.letters)]):
            later = found[-1]
            found.append(
                {
                    state: np.append(later[state], 0.0) + np.append(0.0, later[self.rule.step(state, letter)])
                    for state in reachable[place]
                }
            )
        return found[::-1]

    def _both(self, state: S, letter: str, many: Counts) -> Iterator[tuple[S, Counts]]:
        """Where coalitions are without the letter, and with it."""
        yield state, np.append(many, 0.0)
        yield self.rule.step(state, letter), np.append(0.0, many)


def _weights(count: int) -> Counts:
    """float64[n]: what a coalition of 0, …, n − 1 others counts in the Shapley value, s! (n − 1 − s)! / n!."""
    return np.array([1 / (count * math.comb(count - 1, size)) for size in range(count)])
