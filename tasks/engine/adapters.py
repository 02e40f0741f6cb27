"""Adapters: plain functions, and modules with another calling convention, wrapped as modules.

Each takes sequences [B, T, …] and returns scores.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ContractError, UnsupportedModelError
from ..data.padding_side import padded_left
from .batching import device_of
from .kept_state import initial_state, state_restored
from .signature import (
    NO_CONTEXT,
    OUTPUT_STEP,
    PADDING,
    ModuleWrapper,
    Wrapper,
    call,
    check_output,
    describe,
    signature,
)

Binary = Literal["logit", "probability"]


class PredictFunction(Wrapper):
    """A plain function from arrays to scores, wrapped as a module; it has no gradients and no layers.

    Args:
        function: takes an array [B, T(, D)]; lengths [B] if a parameter is named after them; and the context by name.
            Returns scores [B, K] or [B], or a tuple or mapping that holds them.
        label: the function's name in error messages.
    """

    def __init__(self, function: Callable[..., Any], label: str) -> None:
        super().__init__()
        self.function = function
        self.label = label

    def entry_point(self) -> tuple[Callable[..., Any], str]:
        """The function and its label."""
        return self.function, self.label

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """The function's scores as a tensor; floats keep their type, integers become float32.

        Raises:
            ContractError: the function does not return an array of numbers.
        """
        arrays = {name: value.detach().numpy() for name, value in context.items()}
        names = signature(self, context)
        own = {} if names.lengths is None or lengths is None else {names.lengths: lengths.numpy()}
        if arrays or names.by_name:
            output = self.function(**{names.inputs: inputs.detach().numpy()}, **own, **arrays)
        else:
            output = self.function(inputs.detach().numpy(), *own.values())
        return cast("Tensor", self.tensors(output))

    def tensors(self, output: object) -> Tensor | dict[str, Tensor] | tuple[Tensor, ...]:
        """Tensors from the arrays that the function returns, alone, in a tuple or in a mapping.

        Raises:
            ContractError: the function does not return an array of numbers.
        """
        if isinstance(output, Mapping):  # the user says which part holds the scores
            return {name: self._tensor(value) for name, value in output.items()}
        if isinstance(output, tuple) and all(np.ndim(value) for value in output):
            return tuple(self._tensor(value) for value in output)
        return self._tensor(output)

    def _tensor(self, output: object) -> Tensor:
        """Scores as a tensor; floats keep their type, integers become float32."""
        try:
            scores = torch.as_tensor(np.asarray(output))
        except (TypeError, ValueError) as error:
            raise ContractError(
                f"{self.label} returns a {type(output).__name__}, which is no array of scores ({error}): let it return "
                "numbers [B, K]."
            ) from error
        return scores if scores.is_floating_point() else scores.float()

    def extra_repr(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)


class OutputStepsFirstError(ContractError):
    """A model returns its scores with the output steps as the first axis, and nothing says so."""


class NoOutputStepError(ContractError):
    """A model returns no scores for the explained output step."""


@dataclass(frozen=True)
class StateArgument:
    """A hidden state that a user's ``forward`` takes as an argument: zeros, or rows of the context.

    Attributes:
        name: the parameter.
        sizes: sizes of each tensor without its rows: (layers, units), or (units,) for a cell.
        several: whether the argument is a tuple of tensors, as an LSTM's (h, c) is.
        given: whether the context holds the state, row-first; its names are those of :attr:`keys`.
    """

    name: str
    sizes: tuple[tuple[int, ...], ...]
    several: bool = False
    given: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the context that hold the tensors of a given state."""
        if not self.given:
            return ()
        return tuple(f"{self.name}[{place}]" for place in range(len(self.sizes))) if self.several else (self.name,)

    def value(self, context: Mapping[str, Tensor], like: Tensor, rows: int) -> Tensor | tuple[Tensor, ...]:
        """The argument for some rows, in the layout of torch: [layers, rows, units], or [rows, units] of a cell.

        Args:
            context: holds a given state of these rows, row-first.
            like: a tensor of the state's dtype and device.
            rows: number of rows.
        """
        if self.given:
            tensors = tuple(context[key] for key in self.keys)
            tensors = tuple(tensor.transpose(0, 1).contiguous() if tensor.dim() == 3 else tensor for tensor in tensors)
        else:
            tensors = tuple(like.new_zeros((*size[:-1], rows, size[-1])) for size in self.sizes)
        return tensors if self.several else tensors[0]


@dataclass(frozen=True)
class Part:
    """One call of an adapted model: the inputs that it is given, and the rows they belong to.

    Attributes:
        inputs: [R, T, …], batch-first.
        lengths: int64[R], or None.
        context: of these rows.
        rows: number of rows that were asked for; others are copies that fill a batch of fixed size.
    """

    inputs: Tensor
    lengths: Tensor | None
    context: dict[str, Tensor]
    rows: int


class AdaptedModel(ModuleWrapper):
    """Adapter of a user's module with another calling convention.

    It presents the inputs as the module takes them, and picks the scores from what the module returns. Every option is
    exact: the scores of a row are those which the module gives for this row.

    Args:
        model: the module.
        part: the part of the module's output that holds the scores: a position in a tuple, a key of a mapping or the
            name of an attribute; None if the module returns the scores alone.
        attention: the part that holds the attention weights; None if there are none.
        time_first_attention: whether these weights are [T, B].
        attended: of several inputs, the first step of the layout that attention covers, and the number of its steps.
        batch_first: whether the module takes sequences [B, T, …]; if not, inputs, and scores of several steps, are
            [T, B, …].
        time_first_scores: whether a module that takes [B, T, …] returns scores of several steps as [U, B, K].
        steps: whether the scores are float[B, U, K]; the context :data:`xrnnbench.tasks.engine.signature.OUTPUT_STEP`
            then holds the index of the explained output step.
        binary: what the module's only output is, ``"logit"`` z or ``"probability"`` p of class 1; the scores are then
            (−z, z) or (1 − p, p). None for other outputs.
        batch_size: the only number of rows that the module takes; parts of a batch are filled with copies of their
            last row. None if it takes any.
        falling: whether the module takes sequences in the order of falling length only.
        unpadded: whether the module is given sequences of one length at a time, so that it never sees padding.
        along: names of the context that run along the steps: they are cut with the inputs, and moved where steps are
            deleted.
        undecided: names of the context of which it is not known whether they run along the steps.
        time_first_context: names of those which the module takes as [T, B, …].
        state: hidden states that the module takes as arguments.
        left: whether the module is given sequences padded on the left, each at the end of the given width.
        kept: dotted names of the attributes, buffers and parameters that the module overwrites in each call. Each call
            starts from those that the module has when the adapter is made, and they are restored afterwards.
    """

    def __init__(  # noqa: PLR0913  # one argument for each convention
        self,
        model: nn.Module,
        *,
        part: int | str | None = None,
        attention: int | str | None = None,
        time_first_attention: bool = False,
        attended: tuple[int, int] | None = None,
        batch_first: bool = True,
        time_first_scores: bool = False,
        steps: bool = False,
        binary: Binary | None = None,
        batch_size: int | None = None,
        falling: bool = False,
        unpadded: bool = False,
        along: frozenset[str] = frozenset(),
        undecided: frozenset[str] = frozenset(),
        time_first_context: frozenset[str] = frozenset(),
        state: tuple[StateArgument, ...] = (),
        left: bool = False,
        kept: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.model = model
        self.part = part
        self.attention = attention
        self.time_first_attention = time_first_attention
        self.attended = attended
        self.batch_first = batch_first
        self.time_first_scores = time_first_scores
        self.steps = steps
        self.binary = binary
        self.batch_size = batch_size
        self.falling = falling
        self.unpadded = unpadded
        self.along = along
        self.undecided = undecided
        self.time_first_context = time_first_context
        self.state = state
        self.left = left
        self.kept = kept
        self.initial = initial_state(model, kept)
        if attention is not None or hasattr(model, "forward_with_attention"):
            self.forward_with_attention = self._forward_with_attention

    @property
    def filled(self) -> frozenset[str]:
        """See :attr:`Wrapper.filled`: the hidden states."""
        own = {name for argument in self.state for name in (argument.name, *argument.keys)}
        return super().filled | own

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor) -> Tensor:
        """Scores float[B, K] of inputs [B, T, …].

        Raises:
            ContractError: the module's output has no such part or output step.
        """
        parts, order = self.arranged(inputs, lengths, context)
        scores = [self._scores(part) for part in parts]
        if len(scores) == 1 and order is None:
            return cast("Tensor", scores[0])
        for each in scores:
            if not isinstance(each, Tensor):
                return cast("Tensor", each)  # the caller says what is wrong with it
        together = torch.cat([_with_rows(each, part.rows) for each, part in zip(scores, parts, strict=True)])
        return together if order is None else together[order.argsort()]

    def changed(self, **options: Any) -> AdaptedModel:  # noqa: ANN401  # the options of the class
        """An adapter of the same module with some options changed."""
        return AdaptedModel(self.model, **{**{name: getattr(self, name) for name in _OPTIONS}, **options})

    def around(self, model: nn.Module) -> AdaptedModel:
        """An adapter of another module with the same options."""
        return AdaptedModel(model, **{name: getattr(self, name) for name in _OPTIONS})

    @property
    def adapts(self) -> bool:
        """Whether an option is on, so that the module alone would be called or read otherwise."""
        return any(getattr(self, name) != default for name, default in _OPTIONS.items())

    def _scores(self, part: Part) -> Any:  # noqa: ANN401  # whatever a user's model returns
        """Scores of one call."""
        output = self.output(part)
        return self._picked(output if self.part is None else part_of(output, self.part, self._name), part)

    def arranged(
        self, inputs: Tensor, lengths: Tensor | None, context: Mapping[str, Tensor]
    ) -> tuple[list[Part], Tensor | None]:
        """The calls that a batch takes.

        Returns:
            the inputs of each call, in order; and the order int64[B] of the rows in them, or None for the given one.
        """
        own = dict(context)
        padding = own.pop(PADDING, None)
        if padding is not None and lengths is not None:
            inputs = with_padding(inputs, lengths, padding)
        own = {name: value[:, : inputs.shape[1]] if name in self.along else value for name, value in own.items()}
        if self.left and lengths is not None:
            inputs = padded_left(inputs, lengths)
            own |= {name: padded_left(own[name], lengths) for name in self.along}
        order = None
        if self.falling and lengths is not None and bool((lengths.diff() > 0).any()):
            order = lengths.argsort(descending=True, stable=True)
            inputs, lengths = inputs[order], lengths[order]
            own = {name: value[order] for name, value in own.items()}
        whole = Part(inputs, lengths, own, len(inputs))
        return ([whole] if self.batch_size is None else list(self._filled_parts(whole, self.batch_size))), order

    def _filled_parts(self, whole: Part, size: int) -> Iterator[Part]:
        """Parts of a batch that have exactly so many rows each, filled with copies of their last row."""
        for first in range(0, whole.rows, size):
            rows = torch.arange(first, min(first + size, whole.rows))
            index = torch.cat([rows, rows[-1:].expand(size - len(rows))])
            yield Part(
                whole.inputs[index],
                None if whole.lengths is None else whole.lengths[index],
                {name: value[index] for name, value in whole.context.items()},
                len(rows),
            )

    def output(self, part: Part) -> Any:  # noqa: ANN401  # whatever a user's model returns
        """Output of the module for one call."""
        with self.restored():
            return call(self.model, self._transposed(part.inputs), part.lengths, self._arguments(part))

    def restored(self) -> AbstractContextManager[None]:
        """Context after which the state that the module keeps is as before."""
        return state_restored(self.model, self.kept, self.initial) if self.kept else nullcontext()

    def _arguments(self, part: Part) -> dict[str, Any]:
        """The arguments of the module besides inputs and lengths, by name: its context and its hidden states."""
        read_here = {OUTPUT_STEP, *(key for argument in self.state for key in argument.keys)}
        context = {
            name: value.transpose(0, 1).contiguous() if name in self.time_first_context else value
            for name, value in part.context.items()
            if name not in read_here
        }
        weights = (weight for weight in self.model.parameters() if weight.is_floating_point())
        like = part.inputs if part.inputs.is_floating_point() else next(weights, torch.empty(0))
        return context | {
            argument.name: argument.value(part.context, like.detach(), len(part.inputs)) for argument in self.state
        }

    def _picked(self, scores: Any, part: Part) -> Any:  # noqa: ANN401  # as above
        """Scores of the rows of a call at their output step, those of both classes where the module has one output."""
        scores = self._at_step(scores, part)
        if not isinstance(scores, Tensor):
            return scores
        if self.batch_size is not None and scores.dim() and len(scores) == self.batch_size:
            scores = scores[: part.rows]
        return scores if self.binary is None else self._two_classes(scores, part.rows)

    def _two_classes(self, scores: Tensor, rows: int) -> Tensor:
        """Scores float[R, 2] of two classes from the only output float[R] or float[R, 1]."""
        if scores.numel() != rows:
            raise ContractError(
                f"{self._name} returns {describe(scores)} for {rows} sequences, and outputs='binary-{self.binary}' is "
                "for one output: say outputs='logits' or 'probabilities'."
            )
        one = scores.reshape(rows, 1)
        return torch.cat([-one, one] if self.binary == "logit" else [1 - one, one], 1)

    def _forward_with_attention(
        self, inputs: Tensor, lengths: Tensor | None = None, **context: Tensor
    ) -> tuple[Tensor, ...]:
        """Scores float[B, K] with the attention; see :class:`xrnnbench.tasks.engine.signature.Attentive`.

        The weights are those of the graph, as the module returns them: derivatives with respect to them need the whole
        tensor. :meth:`weights_of` reads them.
        """
        parts, order = self.arranged(inputs, lengths, context)
        if len(parts) > 1 or order is not None:
            raise ContractError(f"{self._name} is asked for the attention of more rows than it takes at once.")
        (part,) = parts
        if self.attention is not None:
            output = self.output(part)
            scores = self._picked(output if self.part is None else part_of(output, self.part, self._name), part)
            return scores, cast("Tensor", part_of(output, self.attention, self._name))
        with self.restored():
            scores, weights, *values = cast("Any", self.model).forward_with_attention(
                self._transposed(part.inputs), part.lengths, **self._arguments(part)
            )
        return self._picked(scores, part), weights, *values

    def weights_of(self, weights: Tensor, rows: int, steps: int) -> Tensor:
        """Attention weights float[R, T], or float[R, U, T] of several output steps, as a module returned them.

        Args:
            weights: [R, T], with axes of one where torch's layers leave them, time-first if the module is.
            rows: R, the first rows that are asked for.
            steps: T.

        Raises:
            UnsupportedModelError: the weights are of another shape.
        """
        weights = weights.transpose(0, 1) if self.time_first_attention else weights
        count = rows if self.batch_size is None else self.batch_size
        first, own = (0, steps) if self.attended is None else self.attended
        read = attention_weights(weights, count, own, several=self.steps)
        if read is not None and self.attended is not None:
            read = torch.nn.functional.pad(read, (first, steps - first - own))
        if read is None:
            raise UnsupportedModelError(
                f"{self._name} shows attention of shape {list(weights.shape)} for {rows} sequences of {steps} steps: "
                "expected one weight for each step."
            )
        return read[:rows]

    @property
    def _name(self) -> str:
        model = self.model
        while isinstance(model, ModuleWrapper):
            model = model.model
        return type(model).__name__ if not isinstance(model, PredictFunction) else model.label

    @property
    def started(self) -> bool:
        """Whether a call starts from a state that is not zero, such as one left by an earlier call of the user."""
        return any(_holds_numbers(value) for value in self.initial.values())

    def described(self) -> Iterator[str]:
        """Sentences about the conventions that the adapter serves."""
        starts = "given" if all(argument.given for argument in self.state) else "zeros"
        options = {
            "takes [T, B, …]": not self.batch_first,
            f"the hidden state {', '.join(state.name for state in self.state)} starts as {starts}": self.state,
            f"overwrites {', '.join(sorted(self.kept)[:3])} in each call, which is restored afterwards": self.kept,
            f"takes batches of {self.batch_size} sequences only, which are filled with copies": self.batch_size,
            "given sequences of one length at a time, so that it never sees padding": self.unpadded,
            "takes sequences in the order of falling length": self.falling,
            "takes sequences padded on the left, at the given width": self.left,
            f"the context {', '.join(sorted(self.along))} runs along the steps and is cut with them": self.along,
            f"the part {self.attention!r} of what it returns holds its attention weights": self.attention is not None,
        }
        return (sentence for sentence, on in options.items() if on)

    def extra_repr(self) -> str:
        """The options of the adapter; those that are off are left out, but for the three oldest."""
        options = {
            "attention": self.attention,
            "time_first_attention": self.time_first_attention,
            "attended": self.attended,
            "time_first_scores": self.time_first_scores,
            "binary": self.binary,
            "batch_size": self.batch_size,
            "falling": self.falling,
            "unpadded": self.unpadded,
            "along": sorted(self.along),
            "undecided": sorted(self.undecided),
            "time_first_context": sorted(self.time_first_context),
            "state": [argument.name for argument in self.state],
            "left": self.left,
            "kept": sorted(self.kept),
        }
        said = [f"{name}={value!r}" for name, value in options.items() if value not in (None, False, [])]
        return ", ".join([f"part={self.part!r}", f"batch_first={self.batch_first}", f"steps={self.steps}", *said])

    def _transposed(self, inputs: Tensor) -> Tensor:
        return inputs if self.batch_first else inputs.transpose(0, 1).contiguous()

    def _at_step(self, scores: Any, part: Part) -> Any:  # noqa: ANN401  # as above
        """Scores float[R, K] of the explained output step."""
        step = part.context.get(OUTPUT_STEP)
        if step is None or not isinstance(scores, Tensor):
            return scores
        rows = len(part.inputs)
        if scores.dim() < 3:
            raise ContractError(
                f"{self._name} returns {describe(scores)}, and an output step was asked for: leave step "
                "out, or return float[B, U, K], a score for each output step."
            )
        whole = scores
        if self.time_first_scores or not self.batch_first:
            scores = scores.transpose(0, 1)
        if len(scores) != rows and scores.shape[1] == rows and self.batch_first and not self.time_first_scores:
            raise OutputStepsFirstError(
                f"{self._name} returns {describe(whole)} for {rows} sequences, the output steps first: say "
                "time_first_scores=True."
            )
        if len(scores) != rows or int(step.max()) >= scores.shape[1]:
            steps = part.inputs.shape[1]
            raise NoOutputStepError(
                f"{self._name} returns {describe(whole)} for {rows} sequences of {steps} steps, and so it "
                f"has no output step {int(step.max())}: steps count from 0, and a shorter sequence may have fewer; "
                "with padding='keep' all sequences have the given width."
            )
        return scores[torch.arange(len(scores)), step]


# The options of an adapter, with their defaults.
_OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(AdaptedModel.__init__).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}


def _holds_numbers(value: object) -> bool:
    """Whether a value is, or holds, a floating-point tensor that is not all zeros."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and bool((value != 0).any())
    if isinstance(value, dict):
        return any(map(_holds_numbers, value.values()))
    return isinstance(value, tuple | list) and any(map(_holds_numbers, value))


def adapter_of(model: nn.Module) -> AdaptedModel | None:
    """The outermost adapter of a model; None if there is none."""
    while isinstance(model, ModuleWrapper):
        if isinstance(model, AdaptedModel):
            return model
        model = model.model
    return None


def _with_rows(scores: Tensor, rows: int) -> Tensor:
    """Scores [R, …] of R rows, of one of which the axis of rows may be squeezed away."""
    if scores.dim() == 0:
        return scores.view(1, 1)
    if scores.dim() == 1:
        return scores[None] if rows == 1 and len(scores) > 1 else scores[:, None]
    return scores


def part_of(output: Any, part: int | str, name: str) -> Any:  # noqa: ANN401  # whatever a user's model returns
    """Part of a model's output: an item of a tuple or a mapping, or an attribute.

    Raises:
        ContractError: there is no such part.
    """
    try:
        if isinstance(part, str) and not isinstance(output, Mapping):
            return getattr(output, part)
        return output[part]
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ContractError(
            f"{name} returns {describe(output)}, which has no part {part!r}: say which part holds the scores."
        ) from error


def attention_weights(weights: object, rows: int, steps: int, *, several: bool) -> Tensor | None:
    """Attention weights float[R, T], or float[R, U, T] of several output steps; None if the shape is another.

    Args:
        weights: what a model returned.
        rows: R.
        steps: T.
        several: whether the model has several output steps.
    """
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        return None
    if several and weights.dim() == 3 and weights.shape[::2] == (rows, steps):
        return weights
    flat = weights.squeeze(-1) if weights.dim() == 3 and weights.shape[-1] == 1 else weights
    flat = flat.squeeze(1) if flat.dim() == 3 and flat.shape[1] == 1 else flat
    return flat if flat.shape == (rows, steps) else None


def with_padding(inputs: Tensor, lengths: Tensor, padding: Tensor) -> Tensor:
    """Inputs [R, W, …] at their given width: their own values up to each length, the padding [R, W, …] beyond it.

    Args:
        inputs: [R, T, …] with T at most W.
        lengths: int64[R].
        padding: of these rows, in the dtype of the inputs.
    """
    width = padding.shape[1]
    if inputs.shape[1] < width:
        inputs = torch.cat([inputs, padding[:, inputs.shape[1] :]], 1)
    own = torch.arange(width, device=inputs.device) < lengths[:, None]
    return torch.where(own if inputs.dim() == 2 else own[..., None], inputs, padding)


class TargetScore(nn.Module):
    """The explained score of some sequences as a module: it takes inputs and returns one number for each row.

    Rows may be repeated k times, as in ``tile(inputs, k)``: methods that evaluate many points of each sequence stack
    them so.

    Args:
        model: the module.
        lengths, target: int64[B], of the B sequences.
        label: the model's name in error messages.
        context: of these sequences.
    """

    def __init__(
        self, model: nn.Module, lengths: Tensor, target: Tensor, label: str, context: Mapping[str, Tensor] = NO_CONTEXT
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
        output = call(self.model, _on_device(inputs, device), lengths.to(device), context)
        scores = check_output(output, len(inputs), self.label)
        return _on_device(scores, inputs.device).gather(1, target[:, None]).squeeze(1)


def _on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; the same tensor if it is there already.

    Without a call of ``to``, a method that follows a model's operations has no such operation to follow.
    """
    return tensor if tensor.device == device else tensor.to(device)
