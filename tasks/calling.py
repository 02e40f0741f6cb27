"""How a module is called: with or without lengths, from tokens or from embeddings, and what it must give back."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from ..errors import ContractError, DataError, UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .data import Outputs

_SUM_TO_ONE = 1e-5


class Attentive(Protocol):
    """What a model offers to let attention methods explain it."""

    def forward_with_attention(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The scores float[B, K] and the weights float[B, T] they were computed from, in one graph; 0 on padding."""


def takes_lengths(model: nn.Module) -> bool:
    """Whether ``forward`` wants lengths as its second argument: it does if that argument's name contains ``len``.

    Raises:
        DataError: forward cannot be called with inputs, or inputs and lengths, alone.
    """
    if isinstance(model, EmbeddedModel):
        return takes_lengths(model.model)
    parameters = [
        parameter
        for parameter in inspect.signature(model.forward).parameters.values()
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    second = parameters[1] if len(parameters) > 1 else None
    lengths = second is not None and "len" in second.name.lower()
    needed = [parameter for parameter in parameters[2 if lengths else 1 :] if parameter.default is parameter.empty]
    if needed:
        raise DataError(
            f"{type(model).__name__}.forward needs {needed[0].name!r} besides inputs and lengths: wrap it in a module "
            "whose forward takes (inputs) or (inputs, lengths)."
        )
    return lengths


def check_output(output: object, rows: int, label: str) -> Tensor:
    """Scores float[rows, K] from what a model returned.

    Raises:
        ContractError: it is no floating-point tensor float[rows] or float[rows, K], or it is not finite.
    """
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        raise ContractError(
            f"{label} returns a {kind}, not a tensor of scores: wrap it in a module whose forward returns the scores "
            "only."
        )
    if output.dim() == 1:
        output = output[:, None]
    if output.dim() != 2 or len(output) != rows or not output.is_floating_point():
        raise ContractError(
            f"{label} returns {output.dtype}{list(output.shape)} for {rows} sequences; expected scores "
            f"float[{rows}, K]."
        )
    if not torch.isfinite(output.detach()).all():
        raise ContractError(f"{label} returns scores that are not finite.")
    return output


def check_scores(outputs: Tensor, target: Tensor, outputs_are: Outputs, label: str) -> None:
    """See that outputs float[B, K] are what they are said to be, and have the targets int64[B] among them.

    Raises:
        DataError: they are or have not; the sentence says what to change.
    """
    count = outputs.shape[1]
    wrong = target[(target < 0) | (target >= count)]
    if len(wrong):
        raise DataError(f"Target {int(wrong[0])} is not among the {count} outputs of {label} (0 to {count - 1}).")
    alike = bool(((outputs >= 0) & (outputs <= 1)).all()) and bool((outputs.sum(1) - 1).abs().max() < _SUM_TO_ONE)
    if outputs_are == "logits" and count > 1 and alike:
        raise DataError(f"{label} returns probabilities, not logits: say outputs='probabilities'.")
    if outputs_are == "logits" and count == 1:
        raise DataError(
            f"{label} returns one score for each sequence, and classes need one each: for a logit z return "
            "torch.cat([torch.zeros_like(z), z], 1), or say outputs='values' to explain the score itself."
        )
    if outputs_are == "probabilities" and not alike:
        raise DataError(
            f"{label} does not return probabilities, which lie in [0, 1] and sum to 1: say outputs='logits', "
            "or end the model with a softmax."
        )


def find_embedding(model: nn.Module, label: str) -> nn.Embedding:
    """The one embedding of a token model.

    Raises:
        UnsupportedModelError: there is none, or more than one.
    """
    found = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    if len(found) == 1:
        return found[0]
    count = "no nn.Embedding" if not found else f"{len(found)} nn.Embedding layers"
    raise UnsupportedModelError(
        f"{label} has {count}, and a gradient needs exactly one: use a perturbation method such as occlusion."
    )


class EmbeddedModel(nn.Module):
    """A token model seen from its embeddings: takes float[B, T, E] in the place of tokens.

    The model itself is run, unchanged, on stand-in tokens; its embedding's output is exchanged on the way. The
    stand-ins are the padding index beyond a sequence's length and another token within it, so that masks which the
    model makes from its tokens come out right.
    """

    def __init__(self, model: nn.Module, embedding: nn.Embedding) -> None:
        super().__init__()
        self.model = model
        self.embedding = embedding

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The model's scores float[B, K] for embeddings float[B, T, E]."""
        tokens = self._stand_ins(inputs, lengths)
        with self._exchanged(inputs):
            return cast("Tensor", self.model(tokens, lengths) if takes_lengths(self.model) else self.model(tokens))

    def forward_with_attention(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Scores float[B, K] and attention float[B, T], if the model shows them."""
        with self._exchanged(inputs):
            return cast("Any", self.model).forward_with_attention(self._stand_ins(inputs, lengths), lengths)  # type: ignore[no-any-return]  # the protocol Attentive

    def _stand_ins(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        padding = self.embedding.padding_idx or 0
        other = padding + 1 if padding + 1 < self.embedding.num_embeddings else padding - 1
        tokens = torch.full(inputs.shape[:2], other, dtype=torch.int64, device=inputs.device)
        if lengths is not None:
            tokens[torch.arange(inputs.shape[1], device=inputs.device) >= lengths[:, None]] = padding
        return tokens

    @contextmanager
    def _exchanged(self, embedded: Tensor) -> Iterator[None]:
        handle = self.embedding.register_forward_hook(lambda *_: embedded)
        try:
            yield
        finally:
            handle.remove()


class TargetScore(nn.Module):
    """The explained score of some sequences as a module: inputs in, one number for each row out.

    Rows may come k times over, as in tile(inputs, k): so methods that explain by many points of each sequence stack
    them.

    Args:
        model: the module.
        lengths, target: int64[B], of the B sequences whose rows will come.
        label: what to call the model in messages.
    """

    def __init__(self, model: nn.Module, lengths: Tensor, target: Tensor, label: str) -> None:
        super().__init__()
        self.model = model
        self.lengths = lengths
        self.target = target
        self.label = label

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw scores float[k·B] of inputs float[k·B, T, D]."""
        times = len(inputs) // len(self.lengths)
        lengths, target = self.lengths.repeat(times), self.target.repeat(times)
        output = self.model(inputs, lengths) if takes_lengths(self.model) else self.model(inputs)
        return check_output(output, len(inputs), self.label).gather(1, target[:, None]).squeeze(1)
