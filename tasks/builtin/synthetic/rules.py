"""Rules of the white-box tasks as deterministic automata, with exact Shapley values and smallest flips.

An automaton reads a sequence letter by letter and may have any number of states. A removed letter leaves the state
unchanged. Sums over all 2ⁿ subsets of n letters can therefore be computed state by state, in time that grows with n and
the number of states instead of 2ⁿ.
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
    """Interface of a rule: a deterministic automaton that classifies sequences of letters.

    Attributes:
        start: the state before the first letter.
    """

    @property
    def start(self) -> S:
        """The state before the first letter."""

    def step(self, state: S, letter: str) -> S:
        """The state after one more letter."""

    def answer(self, state: S) -> int:
        """The class of a sequence that ends in this state."""


@dataclass(frozen=True)
class More:
    """Majority rule: class 1 if one letter occurs more often than all others together; the state is its lead."""

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
    """Subsequence rule: class 1 if one of several pairs of letters occurs, in its order and at any distance.

    The state is the letters that would complete a pair, in the order of the alphabet, or None once one is complete.

    Attributes:
        pairs: the pairs, each a text of two letters.
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
    """Bracket rule: the class is 0 if no bracket is open, else the kind of the last open bracket, from 1.

    The state is the open brackets. A closing bracket closes the last open one, of any kind; where none is open it does
    nothing. On well-formed sequences this is the usual meaning of closing. It is also defined for other sequences,
    because removals of letters produce them.

    Attributes:
        kinds: the kinds of brackets, each a text of two, opening and closing.
    """

    kinds: tuple[str, ...]
    start: str = ""

    def step(self, state: str, letter: str) -> str:
        """See :meth:`Rule.step`."""
        return state + letter if any(kind[0] == letter for kind in self.kinds) else state[:-1]

    def answer(self, state: str) -> int:
        """See :meth:`Rule.answer`."""
        return 1 + [kind[0] for kind in self.kinds].index(state[-1]) if state else 0


def final_state(rule: Rule[S], letters: str) -> S:
    """The state of a rule after all letters."""
    state = rule.start
    for letter in letters:
        state = rule.step(state, letter)
    return state


def classify(rule: Rule[S], letters: str) -> int:
    """The class of a sequence by a rule."""
    return rule.answer(final_state(rule, letters))


@dataclass(frozen=True)
class Flip:
    """The smallest flip of a sequence: the fewest letters whose removal changes its class.

    Attributes:
        count: the number of letters; None if no removal changes the class.
        places: positions of all letters that belong to a smallest set; there may be many such sets.
    """

    count: int | None
    places: tuple[int, ...]


@dataclass(frozen=True)
class Removals(Generic[S]):
    """All removals of letters from a sequence, classified by a rule; a coalition is the letters that remain.

    Attributes:
        rule: the rule.
        letters: the complete sequence, of n letters.
    """

    rule: Rule[S]
    letters: str

    def best_flip(self) -> Flip:
        """The smallest flip, by dynamic programming over the reachable states.

        Source: after the chart of the ablation test of Hao 2020 (``optimal_ablation`` in its code), for any rule.
        """
        label = classify(self.rule, self.letters)
        before = self._fewest_removals()
        after = [dict.fromkeys(states, math.inf) for states in before]
        after[-1] = {state: math.inf if self.rule.answer(state) == label else 0.0 for state in before[-1]}
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
        """The Shapley value of each letter; the value of a coalition is the value of its final state.

        Args:
            value: the value of a state.

        Source: Shapley 1953; the sum over coalitions of each size is computed state by state.
        """
        count = len(self.letters)
        before, after = self._coalition_counts(), self._coalition_values(value)
        shapley_values = []
        for place, letter in enumerate(self.letters):
            gains = np.zeros(count)
            for state, counts in before[place].items():
                gain = after[place + 1][self.rule.step(state, letter)] - after[place + 1][state]
                gains += np.convolve(counts, gain)[:count]
            shapley_values.append(float(gains @ _weights(count)))
        return shapley_values

    def class_shares(self, label: int) -> list[float]:
        """The share of the coalitions of each size, 0 to n, whose class is ``label``."""
        totals = self._coalition_values(lambda state: float(self.rule.answer(state) == label))[0][self.rule.start]
        return [float(total) / math.comb(len(self.letters), size) for size, total in enumerate(totals)]

    def _fewest_removals(self) -> list[dict[S, float]]:
        """For each place, the states reachable before it, with the fewest removals that lead there."""
        costs_by_place: list[dict[S, float]] = [{self.rule.start: 0.0}]
        for letter in self.letters:
            costs: dict[S, float] = {}
            for state, cost in costs_by_place[-1].items():
                for reached, more in ((self.rule.step(state, letter), 0), (state, 1)):
                    costs[reached] = min(costs.get(reached, math.inf), cost + more)
            costs_by_place.append(costs)
        return costs_by_place

    def _coalition_counts(self) -> list[dict[S, Counts]]:
        """For each place and state, the number of coalitions of each size of the letters before it that end there."""
        counts_by_place: list[dict[S, Counts]] = [{self.rule.start: np.ones(1)}]
        for letter in self.letters:
            counts: dict[S, Counts] = {}
            for state, previous in counts_by_place[-1].items():
                for reached, shifted in self._without_and_with(state, letter, previous):
                    counts[reached] = counts.get(reached, 0.0) + shifted
            counts_by_place.append(counts)
        return counts_by_place

    def _coalition_values(self, value: Callable[[S], float]) -> list[dict[S, Counts]]:
        """For each place and state, the summed values of the coalitions of each size of the letters from there on."""
        reachable = self._fewest_removals()
        values: list[dict[S, Counts]] = [{state: np.array([value(state)]) for state in reachable[-1]}]
        for place, letter in reversed([*enumerate(self.letters)]):
            later = values[-1]
            values.append(
                {
                    state: np.append(later[state], 0.0) + np.append(0.0, later[self.rule.step(state, letter)])
                    for state in reachable[place]
                }
            )
        return values[::-1]

    def _without_and_with(self, state: S, letter: str, counts: Counts) -> Iterator[tuple[S, Counts]]:
        """The next states of coalitions without and with a letter, with their counts by size."""
        yield state, np.append(counts, 0.0)
        yield self.rule.step(state, letter), np.append(0.0, counts)


def _weights(count: int) -> Counts:
    """Shapley weights float64[n] of coalitions of s = 0, …, n − 1 other letters: s! (n − 1 − s)! / n!."""
    return np.array([1 / (count * math.comb(count - 1, size)) for size in range(count)])
