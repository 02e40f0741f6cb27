"""How a model is called, from tokens or from embeddings, with lengths and context, and what it must give back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ContractError, DataError, UnsupportedModelError
from .batching import device_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..data.batch import Outputs

_SUM_TO_ONE = 1e-5
_NOTHING: Mapping[str, Tensor] = {}


class Attentive(Protocol):
    """What a model offers to let attention methods explain it."""

    def forward_with_attention(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """The scores float[B, K] and the weights float[B, T] they were computed from, in one graph; 0 on padding.

        A model of several output steps gives scores float[B, U, K] and weights float[B, U, T]. A third thing, if there
        is one, is what the weights average: float[B, T, H].
        """


@dataclass(frozen=True)
class Signature:
    """What a model's forward calls its arguments.

    Attributes:
        inputs: the parameter that takes the explained sequences.
        lengths: the one that takes their lengths; None if there is none.
    """

    inputs: str
    lengths: str | None


def signature(model: nn.Module, context: Mapping[str, Tensor] = _NOTHING) -> Signature:
    """Which of forward's parameters is which.

    The parameters that the context names are the context's; the first of the others takes the sequences, and the second
    takes lengths if its name contains ``len``.

    Raises:
        DataError: forward cannot be called with inputs, lengths and this context alone.
    """
    while isinstance(model, (EmbeddedModel, AdaptedModel)):
        model = model.model
    context = {name: value for name, value in context.items() if name != OUTPUT_STEP}
    forward = model.function if isinstance(model, PredictFunction) else model.forward
    label = model.label if isinstance(model, PredictFunction) else f"{type(model).__name__}.forward"
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):  # written in C: nothing is known of it, so it is given the inputs alone
        parameters = [inspect.Parameter("inputs", inspect.Parameter.POSITIONAL_ONLY)]
    catch_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    usable = [p for p in parameters if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
    unknown = [name for name in context if name not in {p.name for p in usable}]
    if unknown and not catch_all:
        raise DataError(
            f"{label} has no parameter {unknown[0]!r} for the context of that name: it takes "
            f"{', '.join(p.name for p in usable)}."
        )
    free = [p for p in usable if p.name not in context]
    places = [p for p in free if p.kind is not p.KEYWORD_ONLY]
    if not places and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise DataError(f"{label} has no parameter left to take the inputs: do not name it in the context.")
    second = places[1] if len(places) > 1 else None
    lengths = second.name if second is not None and "len" in second.name.lower() else None
    taken = {*(p.name for p in places[:1]), lengths}
    needed = [p for p in free if p.name not in taken and p.default is p.empty]
    if needed:
        raise DataError(
            f"{label} needs {needed[0].name!r} besides inputs and lengths: give it as context="
            f"{{{needed[0].name!r}: …}}, or wrap the model in a module whose forward takes (inputs) or (inputs, "
            "lengths)."
        )
    return Signature(places[0].name if places else "inputs", lengths)


def takes_lengths(model: nn.Module, context: Mapping[str, Tensor] = _NOTHING) -> bool:
    """Whether forward wants lengths; see :func:`signature`."""
    return signature(model, context).lengths is not None


def call(model: nn.Module, inputs: Tensor, lengths: Tensor | None, context: Mapping[str, Tensor] = _NOTHING) -> Any:  # noqa: ANN401  # whatever a user's model returns
    """What a model returns for some sequences, given lengths and context as its signature wants them."""
    names = signature(model, context)
    if not context:
        return model(inputs) if names.lengths is None else model(inputs, lengths)
    if isinstance(model, (EmbeddedModel, AdaptedModel)):
        return model(inputs, lengths, **context)
    told = {} if names.lengths is None else {names.lengths: lengths}
    return model(**{names.inputs: inputs}, **told, **context)


class PredictFunction(nn.Module):
    """A plain function from arrays to scores, as a module: no gradients, no inside.

    Args:
        function: takes an array [B, T(, D)], and lengths [B] if its second parameter is named so, and context by name;
            returns scores [B, K] or [B].
        label: what to call it in messages.
    """

    def __init__(self, function: Callable[..., Any], label: str) -> None:
        super().__init__()
        self.function = function
        self.label = label

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """The function's scores as a tensor; features keep their type, whole numbers become float32."""
        arrays = {name: value.detach().numpy() for name, value in context.items()}
        told = [] if lengths is None else [lengths.numpy()]
        if arrays:
            names = signature(self, context)
            extra = {} if names.lengths is None else {names.lengths: told[0]}
            found = self.function(**{names.inputs: inputs.detach().numpy()}, **extra, **arrays)
        else:
            found = self.function(inputs.detach().numpy(), *told)
        try:
            scores = torch.as_tensor(np.asarray(found))
        except (TypeError, ValueError) as error:
            raise ContractError(
                f"{self.label} returns a {type(found).__name__}, which is no array of scores ({error}): let it return "
                "numbers [B, K]."
            ) from error
        return scores if scores.is_floating_point() else scores.float()

    def extra_repr(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)


class AdaptedModel(nn.Module):
    """A user's module, given what it wants and asked for one thing of what it returns.

    Args:
        model: the module.
        part: which part of what it returns holds the scores: a position in a tuple, a key of a mapping or the name of
            an attribute; None if it returns the scores alone.
        batch_first: whether sequences are [B, T, …] to the module; if not, inputs, and scores of several steps, are
            [T, B, …].
        steps: whether the scores are float[B, U, K], and which of the U output steps is explained comes as context
            :data:`OUTPUT_STEP`.
    """

    def __init__(
        self, model: nn.Module, *, part: int | str | None = None, batch_first: bool = True, steps: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.part = part
        self.batch_first = batch_first
        self.steps = steps
        if hasattr(model, "forward_with_attention"):
            self.forward_with_attention = self._forward_with_attention

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """Scores float[B, K] of inputs [B, T, …]."""
        step = context.pop(OUTPUT_STEP, None)
        found = call(self.model, self._laid(inputs), lengths, context)
        if self.part is not None:
            found = self._chosen(found)
        found = self._at(found, step, inputs)
        return cast("Tensor", found)

    def _forward_with_attention(
        self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor
    ) -> tuple[Tensor, ...]:
        step = context.pop(OUTPUT_STEP, None)
        scores, weights, *values = cast("Any", self.model).forward_with_attention(
            self._laid(inputs), lengths, **context
        )
        # the weights as they are in the graph: whoever wants their derivatives picks the output step afterwards
        return self._at(scores, step, inputs), weights, *values

    def extra_repr(self) -> str:
        """What is adapted."""
        return f"part={self.part!r}, batch_first={self.batch_first}, steps={self.steps}"

    def _laid(self, inputs: Tensor) -> Tensor:
        return inputs if self.batch_first else inputs.transpose(0, 1)

    def _chosen(self, found: Any) -> Any:  # noqa: ANN401  # whatever a user's model returns
        name = type(self.model).__name__
        try:
            if isinstance(self.part, str) and not isinstance(found, Mapping):
                return getattr(found, self.part)
            return found[self.part]
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise ContractError(
                f"{name} returns {described(found)}, which has no part {self.part!r}: say which part holds the scores."
            ) from error

    def _at(self, found: Any, step: Tensor | None, inputs: Tensor) -> Any:  # noqa: ANN401  # as above
        if step is None or not isinstance(found, Tensor):
            return found
        if found.dim() < 3:
            raise ContractError(
                f"{type(self.model).__name__} returns {described(found)}, and an output step was asked for: leave step "
                "out, or return float[B, U, K], a score for each output step."
            )
        found = found if self.batch_first else found.transpose(0, 1)
        if len(found) != len(inputs) or int(step.max()) >= found.shape[1]:
            raise ContractError(
                f"{type(self.model).__name__} returns {described(found)} for {len(inputs)} sequences, which has no "
                f"output step {int(step.max())}: steps count from 0."
            )
        return found[torch.arange(len(found)), step]


# The context by which a model of several output steps is told which of them is explained: int64[B].
OUTPUT_STEP = "xrnnbench_output_step"


def described(found: object) -> str:
    """A returned thing in words, as an error needs it."""
    if isinstance(found, Tensor):
        return f"{str(found.dtype).removeprefix('torch.')}{list(found.shape)}"
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of ({', '.join(described(part) for part in found[:4])})"
    if isinstance(found, Mapping):
        return f"a {type(found).__name__} of {', '.join(map(repr, list(found)[:4]))}"
    return f"a {type(found).__name__}"


def check_output(output: object, rows: int, label: str) -> Tensor:
    """Scores float[rows, K] from what a model returned.

    Raises:
        ContractError: it is no floating-point tensor float[rows] or float[rows, K], or it is not finite.
    """
    if not isinstance(output, Tensor):
        raise ContractError(
            f"{label} returns {described(output)}, not a tensor of scores: say which part holds them, such as "
            "part=0, or wrap it in a module whose forward returns the scores only."
        )
    if output.dim() == 3 and output.is_floating_point():
        raise ContractError(
            f"{label} returns {described(output)}, scores of several output steps: say which one is explained, such as "
            "step=0."
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


def last_read(model: nn.Module, run: Callable[[], object]) -> Tensor | None:
    """What the linear layer that is called last is given while a model is run; None if none is called."""
    found: Tensor | None = None

    def keep(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        nonlocal found
        found = arguments[0].detach() if arguments else None

    handles = [module.register_forward_pre_hook(keep) for module in model.modules() if isinstance(module, nn.Linear)]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found


@dataclass(frozen=True)
class Entry:
    """Where a token model reads its tokens.

    Attributes:
        embedding: the layer.
        call: which of its calls in one run of the model, from 0; a layer may embed something else besides.
        time_first: whether it is given tokens [T, B].
    """

    embedding: nn.Embedding
    call: int
    time_first: bool


def find_entry(model: nn.Module, run: Callable[[Tensor], object], tokens: Tensor, label: str) -> Entry:
    """The one place where a token model embeds its tokens, found by watching it run.

    Args:
        model: the module.
        run: runs it on tokens of this shape.
        tokens: int64[B, T].
        label: what to call the model in messages.

    Raises:
        UnsupportedModelError: there is none, or more than one.
    """
    found = _entries(model, run, tokens)
    if len(found) > 1:  # another thing it embeds may be equal by chance, and does not follow a change
        vocabulary = min(entry.embedding.num_embeddings for entry in found)
        others = _entries(model, run, (tokens + 1) % vocabulary)
        found = [entry for entry in found if entry in others]
    if len(found) == 1:
        return found[0]
    if not any(isinstance(module, nn.Embedding) for module in model.modules()):
        count = "has no nn.Embedding"
    else:
        count = f"embeds its tokens {len(found)} times" if found else "has an nn.Embedding that does not see its tokens"
    raise UnsupportedModelError(
        f"{label} {count}, and a gradient needs exactly one embedding of them: use a perturbation method such as "
        "occlusion."
    )


def _entries(model: nn.Module, run: Callable[[Tensor], object], tokens: Tensor) -> list[Entry]:
    layers = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    calls = dict.fromkeys(layers, 0)
    found: list[Entry] = []

    def watch(layer: nn.Module, given: tuple[Tensor, ...], _: object) -> None:
        embedding = cast("nn.Embedding", layer)
        read = given[0].cpu()
        for time_first, seen in ((False, tokens), (True, tokens.T)):
            if torch.equal(read, seen):
                found.append(Entry(embedding, calls[embedding], time_first))
                break
        calls[embedding] += 1

    handles = [layer.register_forward_hook(watch) for layer in layers]
    try:
        run(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return found


class EmbeddedModel(nn.Module):
    """A token model seen from its embeddings: takes float[B, T, E] in the place of tokens.

    The model itself is run, unchanged, on stand-in tokens; its embedding's output is exchanged on the way. The
    stand-ins are the padding index beyond a sequence's length and another token within it, so that masks which the
    model makes from its tokens come out right.
    """

    def __init__(self, model: nn.Module, entry: Entry) -> None:
        super().__init__()
        self.model = model
        self.entry = entry

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """The model's scores float[B, K] for embeddings float[B, T, E]."""
        tokens = self._stand_ins(inputs, lengths)
        with self._exchanged(inputs):
            return cast("Tensor", call(self.model, tokens, lengths, context))

    def forward_with_attention(self, inputs: Tensor, lengths: Tensor, **context: Tensor) -> tuple[Tensor, ...]:
        """Scores float[B, K] and attention float[B, T], if the model shows them."""
        with self._exchanged(inputs):
            return cast("Any", self.model).forward_with_attention(  # type: ignore[no-any-return]  # the protocol Attentive
                self._stand_ins(inputs, lengths), lengths, **context
            )

    def _stand_ins(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        embedding = self.entry.embedding
        padding = embedding.padding_idx or 0
        other = padding + 1 if padding + 1 < embedding.num_embeddings else padding - 1
        tokens = torch.full(inputs.shape[:2], other, dtype=torch.int64, device=inputs.device)
        if lengths is not None:
            tokens[torch.arange(inputs.shape[1], device=inputs.device) >= lengths[:, None]] = padding
        return tokens

    @contextmanager
    def _exchanged(self, embedded: Tensor) -> Iterator[None]:
        calls = 0

        def exchange(*_: object) -> Tensor | None:
            nonlocal calls
            calls += 1
            if calls - 1 != self.entry.call:
                return None
            return embedded.transpose(0, 1) if self.entry.time_first else embedded

        handle = self.entry.embedding.register_forward_hook(exchange)
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
        context: of these sequences.
    """

    def __init__(
        self, model: nn.Module, lengths: Tensor, target: Tensor, label: str, context: Mapping[str, Tensor] = _NOTHING
    ) -> None:
        super().__init__()
        self.model = model
        self.lengths = lengths
        self.target = target
        self.label = label
        self.context = dict(context)

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw scores float[k·B] of inputs float[k·B, T, D]."""
        times, device = len(inputs) // len(self.lengths), device_of(self.model)
        lengths, target = self.lengths.repeat(times), self.target.repeat(times)
        context = {
            name: value.repeat(times, *[1] * (value.dim() - 1)).to(device) for name, value in self.context.items()
        }
        output = call(self.model, _moved(inputs, device), lengths.to(device), context)
        found = check_output(output, len(inputs), self.label)
        return _moved(found, inputs.device).gather(1, target[:, None]).squeeze(1)


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device, itself if it is there: what follows operations need not see one."""
    return tensor if tensor.device == device else tensor.to(device)
