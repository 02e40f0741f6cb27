"""White-box LSTMs: networks with hand-set weights, whose computation is known exactly.

Each is a :class:`RecurrentNet` over one-hot letters: token 0 is padding and token 1 ``<unk>``, both embedded as 0;
letter v of the alphabet is token v + 2. The networks are those of Hao 2020, with two changes:

* ``<unk>`` leaves the state of every network unchanged, as if the sequence had one step less; so a letter replaced by
  it is absent. The published counters already have this property. The published automaton and stack clear their state
  at every step; here their gates stay closed for a zero input.
* The published linear layers of the counters give one class a constant score, which no input explains; here the scores
  of the two classes are opposite.

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
# Greatest hidden value of a cell that was written once: tanh(tanh(x)) for large x.
_FULL: Final = math.tanh(1.0)


@dataclass(frozen=True)
class Gate:
    """Weights of a gate, or of the candidate, of an LSTM with H units over V letters.

    Attributes:
        states: float[H, H], weights of the previous hidden state.
        letters: float[H, V], weights of the letter.
        bias: float[H].
    """

    states: Tensor
    letters: Tensor
    bias: Tensor

    @classmethod
    def constant(cls, units: int, letters: int, value: float) -> Gate:
        """A gate whose pre-activation is a constant value, whatever the state and the letter."""
        return cls(torch.zeros(units, units), torch.zeros(units, letters), torch.full((units,), value))


@dataclass(frozen=True)
class Cell:
    """Gates of an LSTM whose output gate is always open.

    Attributes:
        admit: the input gate.
        keep: the forget gate, which is open where the cell is kept.
        candidate: the values that are added to the cell where the input gate is open.
    """

    admit: Gate
    keep: Gate
    candidate: Gate


def build_network(cell: Cell, weights: Tensor, bias: Tensor, saturation: float) -> RecurrentNet:
    """Network with the given LSTM cell and linear layer, in evaluation mode.

    Args:
        cell: gates of H units over V letters.
        weights: float[K, H], of the linear layer on the last hidden state.
        bias: float[K], of the linear layer.
        saturation: m, the bias of the output gate.
    """
    units, letters = cell.admit.letters.shape
    gates = [cell.admit, cell.keep, cell.candidate, Gate.constant(units, letters, saturation)]
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, but not used
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


def hidden_after_one(increment: float) -> float:
    """Hidden value of a cell that has counted one letter: tanh(tanh u), for the increment u."""
    return math.tanh(math.tanh(increment))


def opposite_scores(units: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Weights float[2, H] and bias float[2] of two opposite scores: class 1 where the units sum above a threshold.

    Args:
        units: float[H], 1 for each unit that is summed, else 0.
        threshold: the sum at which both scores are 0; their difference is the sum less the threshold.
    """
    return torch.stack([-units, units]) / 2, torch.tensor([threshold, -threshold]) / 2


def counter(saturation: float, increment: float) -> RecurrentNet:
    """Counter network: whether there are more a than b.

    H = 1; the cell holds tanh(u) (number of a − number of b).

    Args:
        saturation: m, the pre-activation of an open gate.
        increment: u; each a adds tanh u to the cell, each b subtracts it.
    """
    stays = Gate.constant(1, 2, saturation)
    candidate = Gate(torch.zeros(1, 1), torch.tensor([[increment, -increment]]), torch.zeros(1))
    return build_network(
        Cell(admit=stays, keep=stays, candidate=candidate),
        *opposite_scores(torch.ones(1), hidden_after_one(increment) / 2),
        saturation,
    )


def pair_counter(alphabet: str, before: Mapping[str, str], saturation: float, increment: float) -> RecurrentNet:
    """Counter network for pairs of letters: whether one letter of a pair follows the other, at any distance.

    One unit counts each letter. A further unit for each letter that completes a pair counts it again, but only where a
    letter that begins the pair was counted before. H = V + number of letters that complete a pair.

    Args:
        alphabet: V letters.
        before: for each letter that completes a pair, the letters that begin one.
        saturation: m, the pre-activation of an open gate; −m that of a closed one.
        increment: u, the pre-activation that a letter adds to a cell. The hidden value after one letter must be above ½
            for the gates to react, u > atanh(atanh ½) ≈ .618.
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
    return build_network(
        Cell(admit, keep, candidate), *opposite_scores(completed, hidden_after_one(increment) / 2), saturation
    )


def automaton(
    states: int,
    alphabet: str,
    step: Callable[[int, str], int],
    accepted: Sequence[int],
    saturation: float,
    increment: float,
) -> RecurrentNet:
    """Network of a finite automaton: whether the automaton accepts the sequence.

    H = states × V; after the first letter exactly one unit is on, that of the current state and the last letter. A
    letter clears all cells and writes one: that of the letter and of the next state. The published network also clears
    its cells where there is no letter, and so forgets its state.

    Args:
        states: number of states; 0 is the initial one.
        alphabet: V letters.
        step: transition function, from a state and a letter to the next state.
        accepted: the states of class 1.
        saturation: m, the pre-activation of an open gate; −m that of a closed one.
        increment: u, the pre-activation that is written; u > atanh(atanh ½) as for :func:`pair_counter`.
    """
    letters = len(alphabet)
    units = states * letters
    # next states int64[S, V], and bool[S, H]: whether a unit's letter leads from each state to the unit's own state
    after = torch.tensor([[step(state, letter) for letter in alphabet] for state in range(states)])
    reached = (after[:, None, :] == torch.arange(states)[None, :, None]).flatten(1)
    wanted = torch.where(reached, saturation, -saturation)
    # all units are off before the first letter: the bias holds the weights of state 0, other states add the difference
    admit = Gate((wanted - wanted[0]).T.repeat_interleave(letters, 1), torch.zeros(units, letters), wanted[0].clone())
    keep = Gate(
        torch.zeros(units, units), torch.full((units, letters), -2 * saturation), torch.full((units,), saturation)
    )
    candidate = Gate(torch.zeros(units, units), increment * torch.eye(letters).repeat(states, 1), torch.zeros(units))
    read = torch.zeros(states, letters)
    read[list(accepted)] = 1.0
    return build_network(
        Cell(admit, keep, candidate), *opposite_scores(read.flatten(), hidden_after_one(increment) / 2), saturation
    )


def stack(depth: int, saturation: float) -> RecurrentNet:
    """Network of a stack with a register for its top: which of two kinds of brackets must be closed next.

    H = 2 depth + 2. The letters are the opening and the closing bracket of the first kind, then of the second. Units 0
    to n − 1 hold the brackets under the top, from the bottom up, 1 for the first kind and −1 for the second. Of units n
    to 2n − 1 one is on for each open bracket. Then come the register of the top, and a register that is positive
    where no bracket is open. An opening bracket pushes the register of the top and replaces it; a closing one, of
    either kind, pops; if no bracket is open it does nothing. Scores, in units of tanh 1: of nothing to close, the last
    register plus ½; of the first kind, the top; of the second kind, its opposite.

    Args:
        depth: n, the most brackets that may be open.
        saturation: m, the scale of the pre-activations that hold a gate open or closed.
    """
    m, units, letters = saturation, 2 * depth + 2, 4
    held, full, (top, nothing) = slice(depth), slice(depth, 2 * depth), (2 * depth, 2 * depth + 1)
    opening, closing = [0, 2], [1, 3]
    # float[n, H]: indicators of exactly 1, …, n open brackets, as functions of the hidden state
    open_now = torch.zeros(depth, units)
    open_now[:, full] = (torch.eye(depth) - torch.eye(depth).roll(1, 1).triu(1)) / _FULL

    admit = Gate.constant(units, letters, -m)
    admit.states[held] = 2 * m * open_now
    admit.letters[held, opening[0]] = admit.letters[held, opening[1]] = 2 * m
    admit.bias[held] = -3 * m
    admit.states[full][1:] = 2 * m * open_now[:-1]
    admit.states[depth, depth], admit.bias[depth] = -2 * m / _FULL, m  # the first bracket is written where none is open
    admit.letters[top:] = 2 * m

    keep = Gate.constant(units, letters, 3 * m)
    keep.states[held][:-1] = -2 * m * open_now[1:]
    keep.states[full] = -2 * m * open_now
    keep.letters[:top, closing[0]] = keep.letters[:top, closing[1]] = -2 * m
    keep.letters[top:], keep.bias[top:] = -2 * m, m

    candidate = Gate.constant(units, letters, 0.0)
    candidate.states[held, top] = m / _FULL
    candidate.letters[full, opening[0]] = candidate.letters[full, opening[1]] = m
    # the highest bracket of the stack outweighs all those below it, and a new one outweighs it
    candidate.states[top, held] = m / _FULL * 2.0 ** torch.arange(1, depth + 1)
    candidate.letters[top, opening] = m * 2.0 ** (depth + 1) * torch.tensor([1.0, -1.0])
    candidate.states[nothing, full], candidate.bias[nothing] = -2 * m / _FULL, 3 * m
    candidate.letters[nothing, opening] = -4 * m

    weights = torch.zeros(3, units)
    weights[0, nothing], weights[1, top], weights[2, top] = 1.0, 1.0, -1.0
    return build_network(Cell(admit, keep, candidate), weights, torch.tensor([_FULL / 2, 0.0, 0.0]), m)
