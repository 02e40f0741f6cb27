# ruff: noqa: ANN401, FBT001, FBT002  # torch's signatures
"""Composite torch operations in elementary ones: attention, and fused sums and products.

A method that runs a module operation by operation sees ``nn.MultiheadAttention`` as one operation. The functions here
compute the same result with projections, products and a softmax. Called under the method's own mode, they need only the
rules that the method has for these.
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

_SCALED_DOT = "torch.nn.functional.scaled_dot_product_attention"
_MULTI_HEAD = "torch.nn.functional.multi_head_attention_forward"


def added_product(
    mode: TorchFunctionMode, _: Operation, bias: Any, left: Any, right: Any, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Rule for addmm, baddbmm and addmv: beta · bias + alpha · left @ right, computed under the mode."""
    with mode:
        total: Tensor = beta * bias + alpha * torch.matmul(left, right)
    return total


def added_elementwise_product(
    mode: TorchFunctionMode, _: Operation, bias: Any, left: Any, right: Any, *, value: float = 1
) -> Tensor:
    """Rule for addcmul: bias + value · left ∘ right, computed under the mode."""
    with mode:
        total: Tensor = bias + value * torch.mul(left, right)
    return total


def interpolation(mode: TorchFunctionMode, _: Operation, start: Any, end: Any, weight: Any) -> Tensor:
    """Rule for lerp: start + weight · (end − start), computed under the mode."""
    with mode:
        interpolated: Tensor = start + weight * (end - start)
    return interpolated


def scaled_dot_product_attention(
    method: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **kwargs: Any,
) -> Tensor:
    """:func:`torch.nn.functional.scaled_dot_product_attention` in products and a softmax.

    The arguments and the result are torch's; the method's name is for error messages. Causal attention is computed by
    its mask, and grouped heads by repeated keys and values.

    Raises:
        UnsupportedModelError: dropout is on.
    """
    _refuse_dropout(method, _SCALED_DOT, dropout_p)
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if kwargs.get("enable_gqa"):
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value))
    scale = kwargs.get("scale") or query.shape[-1] ** -0.5
    energy = _masked(query @ key.transpose(-2, -1) * scale, attn_mask, blocks=False)
    return F.softmax(energy, dim=-1) @ value


@dataclass(frozen=True)
class _HeadWeights:
    """Weights of multi-head attention: the projections of query, key and value, and the output projection."""

    count: int
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor | None, ...]
    out_weight: Tensor
    out_bias: Tensor | None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> _HeadWeights:
        """Weights of one call, from its arguments by torch's names."""
        separate = tuple(arguments[name] for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"))
        weights = separate if arguments["use_separate_proj_weight"] else arguments["in_proj_weight"].chunk(3)
        biases = (None, None, None) if arguments["in_proj_bias"] is None else arguments["in_proj_bias"].chunk(3)
        return cls(arguments["num_heads"], weights, biases, arguments["out_proj_weight"], arguments["out_proj_bias"])

    def project(self, *inputs: Tensor) -> list[Tensor]:
        """Projected query, key and value, float[N·heads, L or S, head] each, of inputs float[L or S, N, E]."""
        projected = [F.linear(*three) for three in zip(inputs, self.weights, self.biases, strict=True)]
        return [part.reshape(len(part), part.shape[1] * self.count, -1).transpose(0, 1) for part in projected]

    def further(self, arguments: Mapping[str, Any], key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values float[N·heads, S + ·, head], given instead of projected ones or added to them, if any are."""
        for name, part in (("static_k", key), ("static_v", value)):
            if arguments[name] is not None:
                key, value = (arguments[name], value) if part is key else (key, arguments[name])
        if arguments["bias_k"] is not None:
            copies = len(key) // self.count
            key, value = (
                torch.cat([part, arguments[name].view(self.count, 1, -1).repeat(copies, 1, 1)], 1)
                for name, part in (("bias_k", key), ("bias_v", value))
            )
        if arguments["add_zero_attn"]:
            key, value = (F.pad(part, (0, 0, 0, 1)) for part in (key, value))
        return key, value

    def merge(self, attended: Tensor) -> Tensor:
        """Output projection of the heads' results: float[L, N, E] of float[N·heads, L, head]."""
        steps = attended.shape[1]
        joined = attended.transpose(0, 1).reshape(steps, len(attended) // self.count, -1)
        return F.linear(joined, self.out_weight, self.out_bias)


def multi_head_attention(method: str, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """:func:`torch.nn.functional.multi_head_attention_forward` in projections, products and a softmax.

    The arguments are torch's; the method's name is for error messages.

    Returns:
        outputs float[L, N, E] and, if ``need_weights``, the attention weights: float[N, L, S], or float[N, heads, L, S]
        if they are not averaged over the heads. All are without N if the query is.

    Raises:
        UnsupportedModelError: dropout is on.
    """
    call = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs)
    call.apply_defaults()
    arguments = call.arguments
    _refuse_dropout(method, _MULTI_HEAD, arguments["dropout_p"] if arguments["training"] else 0.0)
    heads = _HeadWeights.of(arguments)
    inputs, padding = (arguments["query"], arguments["key"], arguments["value"]), arguments["key_padding_mask"]
    batched = arguments["query"].dim() == 3  # [L, N, E]
    if not batched:
        inputs = tuple(part.unsqueeze(1) for part in inputs)
        padding = None if padding is None else padding[None]
    outputs, attention = _attend(heads, inputs, arguments, padding)
    outputs = outputs if batched else outputs.squeeze(1)
    if not arguments["need_weights"]:
        return outputs, None
    attention = attention.reshape(-1, heads.count, *attention.shape[1:])
    attention = attention.mean(1) if arguments["average_attn_weights"] else attention
    return outputs, attention if batched else attention.squeeze(0)


def _attend(
    heads: _HeadWeights, inputs: tuple[Tensor, ...], arguments: Mapping[str, Any], padding: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Attention outputs float[L, N, E] and weights float[N·heads, L, S]."""
    query, key, value = heads.project(*inputs)
    steps = key.shape[1]
    key, value = heads.further(arguments, key, value)
    mask, padding = (
        None if part is None else F.pad(part, (0, key.shape[1] - steps)) for part in (arguments["attn_mask"], padding)
    )  # what was added is not masked
    energy = query * math.sqrt(1 / query.shape[-1]) @ key.transpose(1, 2)
    energy = _masked(energy, mask, blocks=True)
    if padding is not None:  # [N, S]
        energy = _masked(energy, padding.repeat_interleave(heads.count, 0)[:, None], blocks=True)
    weights = F.softmax(energy, dim=-1)
    return heads.merge(weights @ value), weights


def _masked(energy: Tensor, mask: Tensor | None, *, blocks: bool) -> Tensor:
    """Attention energies under a mask: a float mask is added, a boolean one selects energies to block or to keep.

    Blocked energies are set to −∞, not added to it: no rule can distribute a sum that is infinite.

    Args:
        energy: float[..., L, S].
        mask: float or bool, of a shape that broadcasts to the energies; None for no mask.
        blocks: whether True in a boolean mask blocks an energy, as in multi-head attention, or keeps it.
    """
    if mask is None:
        return energy
    if mask.dtype == torch.bool:
        return energy.masked_fill(mask if blocks else ~mask, -math.inf)
    blocked = mask == -math.inf
    finite = mask.masked_fill(blocked, 0.0)
    energy = energy + finite if bool((finite != 0).any()) else energy
    return energy.masked_fill(blocked, -math.inf)


def _refuse_dropout(method: str, operation: str, share: float) -> None:
    """Raise UnsupportedModelError if an operation drops a share of its weights at random."""
    if share > 0:
        raise UnsupportedModelError(f"{method} has no rule for {operation} with dropout, which is random: set it to 0.")
