"""Token models seen from their embeddings, so that methods can take gradients with respect to real-valued inputs.

The embedding call that reads the tokens is found by watching the model run; its output is then replaced in each run.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ...errors import UnsupportedModelError
from .adapters import adapter_of
from .signature import PADDING, ModuleWrapper, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True)
class EmbeddingCall:
    """The call of an embedding layer in which a token model reads its tokens.

    Attributes:
        embedding: the layer.
        call: index of the call among the layer's calls in one run of the model, from 0; a layer may embed other things
            as well.
        time_first: whether the layer is given tokens [T, B]. It may be given them in another shape, in this order.
    """

    embedding: nn.Embedding
    call: int
    time_first: bool


def find_embedding_call(
    model: nn.Module,
    run: Callable[[Tensor], object],
    tokens: Tensor,
    label: str,
    presented: Callable[[Tensor], Tensor] = lambda tokens: tokens,
) -> EmbeddingCall:
    """The only call in which a token model embeds its tokens, found by watching the model run.

    Args:
        model: the module.
        run: runs the module on tokens of this shape.
        tokens: int64[B, T].
        label: the model's name in error messages.
        presented: the tokens of one call as the module is given them, batch-first, from those that ``run`` takes; an
            adapter may have added padding or copies of rows.

    Raises:
        UnsupportedModelError: there is no such call, or more than one.
    """
    calls = _embedding_calls(model, run, tokens, presented)
    if len(calls) > 1:  # other embedded values may equal the tokens by chance, but do not follow when the tokens change
        vocabulary = min(entry.embedding.num_embeddings for entry in calls)
        after_change = _embedding_calls(model, run, (tokens + 1) % vocabulary, presented)
        calls = [entry for entry in calls if entry in after_change]
    if len(calls) == 1:
        return calls[0]
    if not any(isinstance(module, nn.Embedding) for module in model.modules()):
        count = "has no nn.Embedding"
    else:
        count = f"embeds its tokens {len(calls)} times" if calls else "has an nn.Embedding that does not see its tokens"
    raise UnsupportedModelError(
        f"{label} {count}, and a gradient needs exactly one embedding of them: use a perturbation method such as "
        "occlusion."
    )


def _embedding_calls(
    model: nn.Module, run: Callable[[Tensor], object], tokens: Tensor, presented: Callable[[Tensor], Tensor]
) -> list[EmbeddingCall]:
    """All embedding calls in one run whose input holds the tokens int64[B, T] or their transpose, in this order."""
    shown = presented(tokens)
    layers = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    counts = dict.fromkeys(layers, 0)
    calls: list[EmbeddingCall] = []

    def watch(layer: nn.Module, arguments: tuple[Tensor, ...], _: object) -> None:
        embedding = cast("nn.Embedding", layer)
        read = arguments[0].cpu()
        layouts = [(False, shown), (True, shown.T)]
        # the same tokens in another shape, such as words by sentence
        layouts += [(False, shown.reshape(read.shape))] if read.numel() == shown.numel() else []
        for time_first, expected in layouts:
            if torch.equal(read, expected):
                calls.append(EmbeddingCall(embedding, counts[embedding], time_first))
                break
        counts[embedding] += 1

    handles = [layer.register_forward_hook(watch) for layer in layers]
    try:
        run(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return calls


class EmbeddedModel(ModuleWrapper):
    """A token model seen from its embeddings: it takes float[B, T, E] in place of tokens.

    The model itself runs unchanged on placeholder tokens, and the output of its embedding is replaced on the way. The
    placeholders are the padding index beyond a sequence's length and another token within it, so that masks which the
    model computes from its tokens come out right.

    Args:
        model: the token model.
        entry: the embedding call whose output is replaced.
    """

    def __init__(self, model: nn.Module, entry: EmbeddingCall) -> None:
        super().__init__()
        self.model = model
        self.entry = entry

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """The model's scores float[B, K] for embeddings float[B, T, E]."""
        tokens = self._placeholders(inputs, lengths)
        with self._replaced_output(inputs, lengths, context):
            return cast("Tensor", call(self.model, tokens, lengths, context))

    def forward_with_attention(self, inputs: Tensor, lengths: Tensor, **context: Tensor) -> tuple[Tensor, ...]:
        """Scores float[B, K] and attention weights float[B, T], if the model returns them."""
        with self._replaced_output(inputs, lengths, context):
            return cast("Any", self.model).forward_with_attention(  # type: ignore[no-any-return]  # the protocol Attentive
                self._placeholders(inputs, lengths), lengths, **context
            )

    def _placeholders(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        """Tokens int64[B, T]: the padding index beyond each length, another token within it."""
        embedding = self.entry.embedding
        padding = embedding.padding_idx or 0
        other = padding + 1 if padding + 1 < embedding.num_embeddings else padding - 1
        tokens = torch.full(inputs.shape[:2], other, dtype=torch.int64, device=inputs.device)
        if lengths is not None:
            tokens[torch.arange(inputs.shape[1], device=inputs.device) >= lengths[:, None]] = padding
        return tokens

    @contextmanager
    def _replaced_output(
        self, embedded: Tensor, lengths: Tensor | None, context: Mapping[str, Tensor]
    ) -> Iterator[None]:
        """Context in which the embedding call returns other embeddings float[B, T, E].

        An adapter may run the model in several parts, each of them with one such call.
        """
        calls, count = self._presented(embedded, lengths, context), 0
        of_part = 0

        def begin(*_: object) -> None:
            nonlocal count, of_part
            count, of_part = 0, of_part + 1

        def replace(_: nn.Module, arguments: tuple[Tensor, ...], __: object) -> Tensor | None:
            nonlocal count
            count += 1
            if count - 1 != self.entry.call:
                return None
            shown = calls[of_part - 1]
            shown = shown.transpose(0, 1) if self.entry.time_first else shown
            return shown.reshape(*arguments[0].shape, shown.shape[-1])

        handles = [
            innermost(self.model).register_forward_pre_hook(begin),
            self.entry.embedding.register_forward_hook(replace),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _presented(self, embedded: Tensor, lengths: Tensor | None, context: Mapping[str, Tensor]) -> list[Tensor]:
        """Embeddings float[R, W, E] of each call in which an adapter runs the model, batch-first."""
        adapter = adapter_of(self.model)
        if adapter is None:
            return [embedded]
        if PADDING in context:
            with torch.no_grad(), adapter.restored():
                context = {**context, PADDING: self.entry.embedding(context[PADDING])}
        return [part.inputs for part in adapter.arranged(embedded, lengths, context)[0]]


def innermost(model: nn.Module) -> nn.Module:
    """The module inside all adapters."""
    while isinstance(model, ModuleWrapper):
        model = model.model
    return model
