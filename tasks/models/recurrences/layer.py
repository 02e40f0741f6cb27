"""Base class of recurrent layers written from their equations: one step, and the same computed for all steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function_unary

if TYPE_CHECKING:
    from collections.abc import Iterator

State = tuple[Tensor, ...]


class Mixing(NamedTuple):
    """Mixing of the earlier steps of one sequence into each step, in a layer that is linear in its state.

    Step t mixes Σ_s weights[t, s, c] · values[s, c] in each channel c; the layer's output is computed from it.

    Attributes:
        weights: [n, n, C] of n steps, 0 where s > t: signed, and complex where the layer's states are.
        values: [n, C, d], of the dtype of the weights.
    """

    weights: Tensor
    values: Tensor


class RecurrentLayer(nn.Module):
    """One recurrent layer in one direction, defined by its equations for one step.

    A subclass defines :meth:`begin`, :meth:`features` and :meth:`advance`. Where the equations allow it, it also
    computes all steps at once (:meth:`at_once`), with equal results up to rounding.

    Args:
        input_size: D, features of a step.
        hidden_size: H, units of an output.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    def extra_repr(self) -> str:
        """The sizes, as in ``MinGru(4, 32)``."""
        return f"{self.input_size}, {self.hidden_size}"

    @property
    def values_per_step(self) -> int:
        """Numbers that a step of one sequence takes while it is computed, which decide how many fit into the cache."""
        return sum(part.numel() for part in self.begin())

    def begin(self) -> State:
        """Initial state of one sequence: tensors [1, …]."""
        raise NotImplementedError

    def features(self, inputs: Tensor) -> Tensor:
        """Features float[…, F] of inputs float[…, D]: the part of a step that does not depend on the state."""
        raise NotImplementedError

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs float[N, H] and the states after one step, from features float[N, F] and the states before it."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw new parameters, in place."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs float[B, T, H] of inputs float[B, T, D].

        Whoever follows the operations of a model, as DeepLIFT does, sees the definition, step by step: what a product
        contributes depends on how it is computed, and this must not.
        """
        features = self.features(inputs)
        if has_torch_function_unary(features):
            return self.by_step(features)
        return self.at_once(features)

    def by_step(self, features: Tensor) -> Tensor:
        """Outputs float[B, T, H] of features float[B, T, F] by the definition, one step after the other."""
        return torch.stack(list(self._outputs(features)), 1)

    def at_once(self, features: Tensor) -> Tensor:
        """Outputs float[B, T, H] of features float[B, T, F], all steps at once where the equations allow it."""
        return self.by_step(features)

    def _outputs(self, features: Tensor) -> Iterator[Tensor]:
        state = self.begin()
        for step in features.unbind(1):
            outputs, state = self.advance(step, state)
            yield outputs


class LinearRecurrentLayer(RecurrentLayer):
    """A layer that is linear in its state, given the inputs: each step is a weighted sum of the steps before it."""

    def mixing(self, inputs: Tensor) -> Mixing:
        """Weights with which each step of one sequence, float[n, D], enters each later one, and what they weigh."""
        raise NotImplementedError


def linear_scan(decay: Tensor, update: Tensor) -> Tensor:
    """States h_t = decay_t · h_{t−1} + update_t of every step, with h_0 = 0.

    A step is one operation on all rows, and nothing but the states is kept for the gradients. No logarithm and no
    quotient is taken, so decays of any sign and size, also complex ones, are exact to rounding.

    Args:
        decay: [B, T, …], real or complex.
        update: in the shape and dtype of decay.

    Returns:
        the states, in the same shape and dtype.
    """
    return cast("Tensor", _LinearScan.apply(decay, update))  # type: ignore[no-untyped-call]  # torch's is untyped


class _LinearScan(torch.autograd.Function):
    """The scan, with its derivative: the same scan, run backwards over the derivatives."""

    @staticmethod
    def forward(decay: Tensor, update: Tensor) -> Tensor:
        """See :func:`linear_scan`."""
        states = update.clone()
        for before, factor, now in zip(states.unbind(1)[:-1], decay.unbind(1)[1:], states.unbind(1)[1:], strict=True):
            now.addcmul_(factor, before)
        return states

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep the decays and the states; apart from forward, so that torch.func can differentiate this too."""
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives with respect to decay and update."""
        decay, states = ctx.saved_tensors  # type: ignore[attr-defined]  # torch's stub lacks it
        # with create_graph=True this is differentiated once more, which the loop that writes in place is not
        run = _scan_differentiably if torch.is_grad_enabled() else _scan_backwards
        updates = run(decay.conj(), gradients[0])
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)
        return updates * before.conj(), updates


def _scan_backwards(decay: Tensor, gradients: Tensor) -> Tensor:
    """Derivatives g_t = gradients_t + decay_{t+1} · g_{t+1} of every step."""
    found = gradients.clone()
    steps, factors = found.unbind(1), decay.unbind(1)
    for step in range(len(steps) - 2, -1, -1):
        steps[step].addcmul_(factors[step + 1], steps[step + 1])
    return found


def _scan_differentiably(decay: Tensor, gradients: Tensor) -> Tensor:
    """The same as :func:`_scan_backwards`, as a scan over the steps in reverse order."""
    return linear_scan(torch.cat([decay[:, :1], decay[:, 1:].flip(1)], 1), gradients.flip(1)).flip(1)


def decays_between(logarithms: Tensor) -> Tensor:
    """Products of the decays after step s up to step t: [n, n, …], 0 where s > t.

    Args:
        logarithms: [n, …], the logarithm of each step's decay.
    """
    total = logarithms.cumsum(0)
    differences = total[:, None] - total[None]
    later = torch.ones(len(total), len(total), dtype=torch.bool, device=total.device).tril()
    mask = later.view(*later.shape, *[1] * (total.dim() - 1))
    # what is masked is a growth, which may be infinite, and 0 · ∞ is NaN
    return differences.masked_fill(~mask, 0).exp() * mask
