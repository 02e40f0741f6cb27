"""LSTMs whose weights are set by hand, so that why they answer as they do is known.

Each is a :class:`RecurrentNet` over one-hot letters: token 0 is padding and token 1 ``<unk>``, both embedded as 0;
letter v of the alphabet is token v + 2. After Hao 2020, whose networks these are but for two changes:

* ``<unk>`` leaves every network in the state it found it in, as if the sequence had a step less; so a letter that is
  replaced by it is absent. The published counters do so by themselves; the automaton and the stack had their state
  cleared at every step and are given gates that a zero input leaves shut.
* The published readers of the counters say one class by a constant, so that nothing explains it; here the scores of
  two classes are opposite.

Source: Y. Hao, Evaluating Attribution Methods using White-Box LSTMs, BlackboxNLP 2020, arXiv:2010.08606, and its code,
github.com/yidinghao/whitebox-lstm, ``models/whitebox``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from .networks import RecurrentNet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# The first tokens, which are no letters.
SPECIAL: Final = ("<pad>", "<unk>")
# What a cell that was written once at most holds to the outside: tanh of tanh of much.
_FULL: Final = math.tanh(1.0)


@dataclass(frozen=True)
class Gate:
    """What a gate, or the candidate, of an LSTM with H units over V letters is computed from.

    Attributes:
        states: float[H, H], what it makes of the hidden state before.
        letters: float[H, V], what it makes of the letter.
        bias: float[H].
    """

    states: Tensor
    letters: Tensor
    bias: Tensor

    @classmethod
    def constant(cls, units: int, letters: int, value: float) -> Gate:
        """One that asks nothing."""
        return cls(torch.zeros(units, units), torch.zeros(units, letters), torch.full((units,), value))


@dataclass(frozen=True)
class Cell:
    """The gates of an LSTM; its output gate is open throughout.

    Attributes:
        admit: the input gate.
        keep: the forget gate, which is open where the cell is kept.
        candidate: what is added to the cell where it is admitted.
    """

    admit: Gate
    keep: Gate
    candidate: Gate


def assembled(cell: Cell, weights: Tensor, bias: Tensor, saturation: float) -> RecurrentNet:
    """The network of a cell, in evaluation mode.

    Args:
        cell: of H units over V letters.
        weights: float[K, H], of the linear layer that reads the last hidden state.
        bias: float[K].
        saturation: m, the bias of the output gate.
    """
    units, letters = cell.admit.letters.shape
    gates = [cell.admit, cell.keep, cell.candidate, Gate.constant(units, letters, saturation)]
    with torch.random.fork_rng(devices=[]):  # the weights it is born with are drawn, and not used
        network = RecurrentNet(letters, units, len(bias), vocabulary_size=len(SPECIAL) + letters)
    network.load_state_dict(
        {
            "embedding.weight": torch.cat([torch.zeros(len(SPECIAL), letters), torch.eye(letters)]),
            "recurrent.weight_ih_l0": torch.cat([gate.letters for gate in gates]),
            "recurrent.weight_hh_l0": torch.cat([gate.states for gate in gates]),
            "recurrent.bias_ih_l0": torch.cat([gate.bias for gate in gates]),
            "recurrent.bias_hh_l0": torch.zeros(4 * units),
            "head.weight": weights,
            "head.bias": bias,
        }
    )
    return network.eval()


def once(increment: float) -> float:
    """What a hidden unit shows of a cell that counted one letter: tanh(tanh u)."""
    return math.tanh(math.tanh(increment))


def opposite(units: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Weights float[2, H] and bias float[2] of two opposite scores: class 1 where the units sum above a threshold.

    Args:
        units: float[H], 1 for each unit that is summed, else 0.
        threshold: the sum at which both scores are 0; their difference is the sum less the threshold.
    """
    return torch.stack([-units, units]) / 2, torch.tensor([threshold, -threshold]) / 2


def counter(saturation: float, increment: float) -> RecurrentNet:
    """Whether there are more a than b, H = 1: the cell holds tanh(u) (number of a − number of b).

    Args:
        saturation: m, what holds a gate open.
        increment: u; each a adds tanh u to the cell, each b takes it away.
    """
    stays = Gate.constant(1, 2, saturation)
    candidate = Gate(torch.zeros(1, 1), torch.tensor([[increment, -increment]]), torch.zeros(1))
    return assembled(
        Cell(admit=stays, keep=stays, candidate=candidate),
        *opposite(torch.ones(1), once(increment) / 2),
        saturation,
    )


def pair_counter(alphabet: str, before: Mapping[str, str], saturation: float, increment: float) -> RecurrentNet:
    """Whether a letter follows, at whatever distance, one of those it must not follow, H = V + number of such letters.

    One unit counts each letter; one more for each letter that completes a pair counts it again, but only where a
    letter that begins one was counted before.

    Args:
        alphabet: V letters.
        before: for each letter that completes a pair, the letters that begin one.
        saturation: m, what holds a gate open or shut.
        increment: u, what a letter adds to a cell, before tanh; what one letter makes of a unit must be above ½ for the
            gates to see it, u > atanh(atanh ½) ≈ .618.
    """
    letters, pairs = len(alphabet), len(before)
    units = letters + pairs
    candidate = Gate.constant(units, letters, 0.0)
    candidate.letters[:letters] = increment * torch.eye(letters)
    admit = Gate.constant(units, letters, saturation)
    for unit, (last, first) in enumerate(before.items(), start=letters):
        candidate.letters[unit, alphabet.index(last)] = increment
        admit.bias[unit] = -saturation
        admit.states[unit, [alphabet.index(letter) for letter in first]] = 2 * saturation
    keep = Gate.constant(units, letters, saturation)
    completed = (torch.arange(units) >= letters).float()
    return assembled(Cell(admit, keep, candidate), *opposite(completed, once(increment) / 2), saturation)


def automaton(
    states: int,
    alphabet: str,
    step: Callable[[int, str], int],
    accepted: Sequence[int],
    saturation: float,
    increment: float,
) -> RecurrentNet:
    """Whether a finite automaton accepts, H = states × V: one unit is on, which says the state and the last letter.

    A letter clears all cells and writes one: that of the letter and the state which the units that are on lead to. The
    published network had its cells cleared also where there is no letter, and forgot.

    Args:
        states: how many there are; 0 is the first.
        alphabet: V letters.
        step: from a state and a letter to the next state.
        accepted: the states of class 1.
        saturation: m, what holds a gate open or shut.
        increment: u, what is written, before tanh; u > atanh(atanh ½) as for :func:`pair_counter`.
    """
    letters = len(alphabet)
    units = states * letters
    # int64[states, V], and whether a unit is that of the state a letter leads to, seen from each state: bool[S, H]
    after = torch.tensor([[step(state, letter) for letter in alphabet] for state in range(states)])
    reached = (after[:, None, :] == torch.arange(states)[None, :, None]).flatten(1)
    wanted = torch.where(reached, saturation, -saturation)
    # all units are off before the first letter: the bias is that of state 0, and the other states correct it
    admit = Gate((wanted - wanted[0]).T.repeat_interleave(letters, 1), torch.zeros(units, letters), wanted[0].clone())
    keep = Gate(
        torch.zeros(units, units), torch.full((units, letters), -2 * saturation), torch.full((units,), saturation)
    )
    candidate = Gate(torch.zeros(units, units), increment * torch.eye(letters).repeat(states, 1), torch.zeros(units))
    read = torch.zeros(states, letters)
    read[list(accepted)] = 1.0
    return assembled(Cell(admit, keep, candidate), *opposite(read.flatten(), once(increment) / 2), saturation)


def stack(depth: int, saturation: float) -> RecurrentNet:
    """Which of two kinds of brackets must be closed next, H = 2 depth + 2: a stack with a register for its top.

    The letters are: opening and closing bracket of the first kind, then of the second. Units 0 to n − 1 hold the
    brackets under the top, from the bottom up, 1 for the first kind and −1 for the second; units n to 2n − 1 are full,
    one for each open bracket; then come the register of the top and one that is positive where nothing is open. An
    opening bracket pushes the register and takes its place; a closing one, of whichever kind, pops; where nothing is
    open it does nothing. Scores: of nothing to close, the last register plus ½; of the first kind, the top; of the
    second, its opposite; in units of tanh 1.

    Args:
        depth: n, how many brackets may be open.
        saturation: m, what holds a gate open or shut.
    """
    m, units, letters = saturation, 2 * depth + 2, 4
    held, full, (top, nothing) = slice(depth), slice(depth, 2 * depth), (2 * depth, 2 * depth + 1)
    opening, closing = [0, 2], [1, 3]
    # float[n, H]: of the hidden state, whether exactly 1, …, n brackets are open
    open_now = torch.zeros(depth, units)
    open_now[:, full] = (torch.eye(depth) - torch.eye(depth).roll(1, 1).triu(1)) / _FULL

    admit = Gate.constant(units, letters, -m)
    admit.states[held] = 2 * m * open_now
    admit.letters[held, opening[0]] = admit.letters[held, opening[1]] = 2 * m
    admit.bias[held] = -3 * m
    admit.states[full][1:] = 2 * m * open_now[:-1]
    admit.states[depth, depth], admit.bias[depth] = -2 * m / _FULL, m  # the first is admitted where none is open
    admit.letters[top:] = 2 * m

    keep = Gate.constant(units, letters, 3 * m)
    keep.states[held][:-1] = -2 * m * open_now[1:]
    keep.states[full] = -2 * m * open_now
    keep.letters[:top, closing[0]] = keep.letters[:top, closing[1]] = -2 * m
    keep.letters[top:], keep.bias[top:] = -2 * m, m

    candidate = Gate.constant(units, letters, 0.0)
    candidate.states[held, top] = m / _FULL
    candidate.letters[full, opening[0]] = candidate.letters[full, opening[1]] = m
    # the highest bracket that is held outweighs all those below it, and a new one outweighs it
    candidate.states[top, held] = m / _FULL * 2.0 ** torch.arange(1, depth + 1)
    candidate.letters[top, opening] = m * 2.0 ** (depth + 1) * torch.tensor([1.0, -1.0])
    candidate.states[nothing, full], candidate.bias[nothing] = -2 * m / _FULL, 3 * m
    candidate.letters[nothing, opening] = -4 * m

    weights = torch.zeros(3, units)
    weights[0, nothing], weights[1, top], weights[2, top] = 1.0, 1.0, -1.0
    return assembled(Cell(admit, keep, candidate), weights, torch.tensor([_FULL / 2, 0.0, 0.0]), m)
