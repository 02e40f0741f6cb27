# ruff: noqa: ANN401, FBT001, FBT002  # torch's signatures
"""Operations taken apart into those they are made of: attention, and sums and products done in one.

A method that follows a module operation by operation meets ``nn.MultiheadAttention`` as one operation. Called under the
method's own mode, the functions here do the same in projections, products and a softmax, for which it has rules.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.overrides import TorchFunctionMode

    from .operations import Operation

_PLAIN = "torch.nn.functional.scaled_dot_product_attention"
_HEADS = "torch.nn.functional.multi_head_attention_forward"


def added_product(
    mode: TorchFunctionMode, _: Operation, bias: Any, left: Any, right: Any, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """addmm and its kin: beta · bias + alpha · left @ right, under a mode that has rules for these."""
    with mode:
        found: Tensor = beta * bias + alpha * torch.matmul(left, right)
    return found


def added_elementwise_product(
    mode: TorchFunctionMode, _: Operation, bias: Any, left: Any, right: Any, *, value: float = 1
) -> Tensor:
    """addcmul: bias + value · left ∘ right."""
    with mode:
        found: Tensor = bias + value * torch.mul(left, right)
    return found


def interpolation(mode: TorchFunctionMode, _: Operation, start: Any, end: Any, weight: Any) -> Tensor:
    """lerp: start + weight · (end − start)."""
    with mode:
        found: Tensor = start + weight * (end - start)
    return found


def scaled_dot_product_attention(
    who: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **kwargs: Any,
) -> Tensor:
    """:func:`torch.nn.functional.scaled_dot_product_attention`, for the method of the given name.

    Raises:
        UnsupportedModelError: an option that is not taken apart here.
    """
    if is_causal or kwargs.get("enable_gqa"):
        raise UnsupportedModelError(f"{who} has no rule for {_PLAIN} with is_causal: give it a mask.")
    _refuse_dropout(who, _PLAIN, dropout_p)
    scale = kwargs.get("scale") or query.shape[-1] ** -0.5
    energy = _masked(query @ key.transpose(-2, -1) * scale, attn_mask, blocks=False)
    return F.softmax(energy, dim=-1) @ value


@dataclass(frozen=True)
class _Heads:
    """The weights of an attention of several heads: of query, key and value, and of what comes out."""

    count: int
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor | None, ...]
    out_weight: Tensor
    out_bias: Tensor | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> _Heads:
        """Those of a call, by the names of torch's arguments."""
        separate = tuple(given[name] for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"))
        weights = separate if given["use_separate_proj_weight"] else given["in_proj_weight"].chunk(3)
        biases = (None, None, None) if given["in_proj_bias"] is None else given["in_proj_bias"].chunk(3)
        return cls(given["num_heads"], weights, biases, given["out_proj_weight"], given["out_proj_bias"])

    def project(self, *inputs: Tensor) -> list[Tensor]:
        """Query, key and value float[N·heads, L or S, head] of float[L or S, N, E] each."""
        projected = [F.linear(*three) for three in zip(inputs, self.weights, self.biases, strict=True)]
        return [part.reshape(len(part), part.shape[1] * self.count, -1).transpose(0, 1) for part in projected]

    def merge(self, attended: Tensor) -> Tensor:
        """float[L, N, E] of what the heads attended to, float[N·heads, L, head]."""
        steps = attended.shape[1]
        joined = attended.transpose(0, 1).reshape(steps, len(attended) // self.count, -1)
        return F.linear(joined, self.out_weight, self.out_bias)


def multi_head_attention(who: str, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """:func:`torch.nn.functional.multi_head_attention_forward`, for the method of the given name.

    Returns:
        float[L, N, E] and, if weights are needed, float[N, L, S], or of each head float[N, heads, L, S]; without N if
        the query has none.

    Raises:
        UnsupportedModelError: bias_k, add_zero_attn, static_k or static_v is used, or dropout is on.
    """
    call = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs)
    call.apply_defaults()
    given = call.arguments
    used = [name for name in ("bias_k", "bias_v", "static_k", "static_v") if given[name] is not None]
    used += ["add_zero_attn"] * bool(given["add_zero_attn"])
    if used:
        raise UnsupportedModelError(
            f"{who} has no rule for {_HEADS} with {used[0]}: use integrated-gradients or occlusion."
        )
    _refuse_dropout(who, _HEADS, given["dropout_p"] if given["training"] else 0.0)
    heads = _Heads.of(given)
    inputs, padding = (given["query"], given["key"], given["value"]), given["key_padding_mask"]
    batched = given["query"].dim() == 3  # [L, N, E]
    if not batched:
        inputs = tuple(part.unsqueeze(1) for part in inputs)
        padding = None if padding is None else padding[None]
    found, attention = _attended(heads, inputs, given["attn_mask"], padding)
    found = found if batched else found.squeeze(1)
    if not given["need_weights"]:
        return found, None
    attention = attention.reshape(-1, heads.count, *attention.shape[1:])
    attention = attention.mean(1) if given["average_attn_weights"] else attention
    return found, attention if batched else attention.squeeze(0)


def _attended(
    heads: _Heads, inputs: tuple[Tensor, ...], mask: Tensor | None, padding: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What comes out, float[L, N, E], and the weights float[N·heads, L, S]."""
    query, key, value = heads.project(*inputs)
    energy = query * math.sqrt(1 / query.shape[-1]) @ key.transpose(1, 2)
    energy = _masked(energy, mask, blocks=True)
    if padding is not None:  # [N, S]
        energy = _masked(energy, padding.repeat_interleave(heads.count, 0)[:, None], blocks=True)
    weights = F.softmax(energy, dim=-1)
    return heads.merge(weights @ value), weights


def _masked(energy: Tensor, mask: Tensor | None, *, blocks: bool) -> Tensor:
    """Energies under a mask, which is added to them or, if it is boolean, says which to block (or to keep).

    What is blocked is set, not added: −∞ in a sum leaves no rule a share to compute.
    """
    if mask is None:
        return energy
    if mask.dtype == torch.bool:
        return energy.masked_fill(mask if blocks else ~mask, -math.inf)
    blocked = mask == -math.inf
    finite = mask.masked_fill(blocked, 0.0)
    energy = energy + finite if bool((finite != 0).any()) else energy
    return energy.masked_fill(blocked, -math.inf)


def _refuse_dropout(who: str, operation: str, share: float) -> None:
    if share > 0:
        raise UnsupportedModelError(f"{who} has no rule for {operation} with dropout, which is random: set it to 0.")
