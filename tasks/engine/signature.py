"""Calling convention of models: the arguments of ``forward``, the call itself, and checks of the returned scores.

The parameters of a model's ``forward`` decide whether it is given lengths, and under which names it gets its context.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ...errors import ContractError, DataError

if TYPE_CHECKING:
    from ..data.batch import Outputs

# Name of the context int64[B] that holds the index of the explained output step, for models of several output steps.
OUTPUT_STEP = "xrnnbench_output_step"
# Name of the context [B, T(, D)] that holds each sequence's padding, for models that are run at their given width.
PADDING = "xrnnbench_padding"
# Names of the context of a model of several inputs: the inputs as given [B, S, D], the cells that belong to each
# sequence bool[B, S, D], and the inputs with embeddings for categories; see xrnnbench.tasks.engine.several_inputs.
GIVEN_INPUTS = "xrnnbench_given_inputs"
PRESENT_CELLS = "xrnnbench_present_cells"
EMBEDDED_INPUTS = "xrnnbench_embedded_inputs"
# Name of the context [B, T(, D)] that holds the inputs of a model that is seen from one of its layers.
MODEL_INPUTS = "xrnnbench_model_inputs"
INTERNAL = frozenset({OUTPUT_STEP, PADDING, GIVEN_INPUTS, PRESENT_CELLS, EMBEDDED_INPUTS, MODEL_INPUTS})
# Modules of torch that pass the arguments of forward on to the module inside.
_PASSING_ON = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
# Words in the name of a parameter that takes another number than the lengths.
_NO_LENGTHS = frozenset({"max", "min", "total", "fixed", "target", "penalty", "norm", "scale", "weight"})
NO_CONTEXT: Mapping[str, Tensor] = {}
_SUM_TO_ONE = 1e-5


class Attentive(Protocol):
    """Protocol of models with attention weights, which attention methods explain."""

    def forward_with_attention(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Scores float[B, K] and attention weights float[B, T], 0 on padding.

        The scores are computed from the weights, in one autograd graph. A model of several output steps returns scores
        float[B, U, K] and weights float[B, U, T]. It may return as a third tensor the vectors that the weights average:
        float[B, T, H].
        """


class ImplicitlyAttentive(Protocol):
    """Protocol of models whose states are weighted sums over the steps, which methods of implicit attention explain.

    Attributes:
        implicitly_attentive: whether they are, in this very model.
    """

    implicitly_attentive: bool

    def implicit_attention(self, inputs: Tensor, lengths: Tensor, *, norms: bool) -> Tensor:
        """Weights float[B, T] of the steps in what the scores are computed from, 0 on padding.

        With ``norms``, the weight of a step is multiplied by the norm of the value that it weighs.
        """


class Wrapper(nn.Module):
    """Base class of modules that wrap a model, whose parameters decide how the wrapper is called.

    Its ``forward`` takes inputs, lengths and the context by name.
    """

    def entry_point(self) -> tuple[Callable[..., Any], str]:
        """The wrapped callable, and its name in error messages."""
        raise NotImplementedError

    @property
    def filled(self) -> frozenset[str]:
        """Names of the callable's parameters that the wrapper fills itself, and of the context it reads itself."""
        return frozenset()


class ModuleWrapper(Wrapper):
    """Wrapper of a module."""

    model: nn.Module

    def entry_point(self) -> tuple[Callable[..., Any], str]:
        """The entry point of the wrapped module."""
        return entry_point(self.model)

    @property
    def filled(self) -> frozenset[str]:
        """See :attr:`Wrapper.filled`."""
        return self.model.filled if isinstance(self.model, Wrapper) else frozenset()


@dataclass(frozen=True)
class Signature:
    """Parameter names of a model's ``forward``.

    Attributes:
        inputs: the parameter that takes the explained sequences.
        lengths: the parameter that takes their lengths; None if there is none.
        by_name: whether the lengths are not the second parameter, and are handed over by name.
    """

    inputs: str
    lengths: str | None
    by_name: bool = False


def entry_point(model: nn.Module) -> tuple[Callable[..., Any], str]:
    """The callable whose parameters decide how a model is called, and its name in error messages.

    It is the ``forward`` of the innermost module, or the plain function that a module wraps. torch's own wrappers
    (``DataParallel``, ``AveragedModel``, ``torch.compile``) pass their arguments on.
    """
    if isinstance(model, Wrapper):
        return model.entry_point()
    inner = getattr(model, "_orig_mod", model.module if isinstance(model, _PASSING_ON) else None)
    if isinstance(inner, nn.Module):
        return entry_point(inner)
    return model.forward, f"{type(model).__name__}.forward"


def signature(model: nn.Module, context: Mapping[str, Tensor] = NO_CONTEXT) -> Signature:
    """Names of the parameters that take inputs and lengths.

    Parameters named by the context take the context. The first other parameter takes the sequences, and the first one
    after it whose name is that of lengths takes these: ``lengths``, ``seq_len``, ``text_lengths``, ``len_x``.

    Raises:
        DataError: forward cannot be called with inputs, lengths and this context alone.
    """
    forward, label = entry_point(model)
    filled_by_wrapper = model.filled if isinstance(model, Wrapper) else frozenset()
    context = {name: value for name, value in context.items() if name not in INTERNAL | filled_by_wrapper}
    parameters = parameters_of(forward)
    free = [p for p in _free_parameters(parameters, context, label) if p.name not in filled_by_wrapper]
    positional = [p for p in free if p.kind is not p.KEYWORD_ONLY]
    if not positional and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise DataError(f"{label} has no parameter left to take the inputs: do not name it in the context.")
    first = next((p for p in positional if not _is_lengths(p)), positional[0] if positional else None)
    after = [p for p in free if p is not first and _is_lengths(p)]
    lengths = after[0].name if after else None
    in_place = [first, *after[:1]] == positional[:2]
    filled = {first.name if first is not None else "", lengths}
    required = [p for p in free if p.name not in filled and p.default is p.empty]
    if required:
        raise DataError(
            f"{label} needs {required[0].name!r} besides inputs and lengths: give it as context="
            f"{{{required[0].name!r}: …}}, or wrap the model in a module whose forward takes (inputs) or (inputs, "
            "lengths)."
        )
    return Signature("inputs" if first is None else first.name, lengths, by_name=lengths is not None and not in_place)


def required_parameters(model: nn.Module, context: Mapping[str, Tensor] = NO_CONTEXT) -> list[str]:
    """Names of the parameters without a default that neither the inputs nor the context fill, in order."""
    forward, label = entry_point(model)
    context = {name: value for name, value in context.items() if name not in INTERNAL}
    free = _free_parameters(parameters_of(forward), context, label)
    first = next((p for p in free if not _is_lengths(p)), None)
    return [p.name for p in free if p is not first and p.default is p.empty]


def parameters_of(forward: Callable[..., Any]) -> list[inspect.Parameter]:
    """Parameters of a callable; of one written in C, whose signature is unknown, a single positional one."""
    try:
        return list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        return [inspect.Parameter("inputs", inspect.Parameter.POSITIONAL_ONLY)]


def _free_parameters(
    parameters: list[inspect.Parameter], context: Mapping[str, Tensor], label: str
) -> list[inspect.Parameter]:
    """Parameters that the context does not fill, without ``*args`` and ``**kwargs``.

    Raises:
        DataError: the context names a parameter that does not exist.
    """
    named = [p for p in parameters if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
    unknown = [name for name in context if name not in {p.name for p in named}]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        one = f", or give all inputs as the one container that {named[0].name!r} takes" if len(named) == 1 else ""
        raise DataError(
            f"{label} has no parameter {unknown[0]!r} for the context of that name: it takes "
            f"{', '.join(p.name for p in named)}{one}."
        )
    return [p for p in named if p.name not in context]


def _is_lengths(parameter: inspect.Parameter) -> bool:
    """Whether a parameter takes the lengths of the sequences, by its name; none does whose default is a number."""
    words = parameter.name.lower().split("_")
    if isinstance(parameter.default, bool | int | float) or _NO_LENGTHS & set(words):
        return False
    return any(re.fullmatch(r"(?!max|min)[a-z]*len(s|gth|gths)?\d*", word) for word in words)


def is_lengths_name(name: str) -> bool:
    """Whether a name is that of lengths; see :func:`signature`."""
    return name.isidentifier() and _is_lengths(inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD))


def takes_lengths(model: nn.Module, context: Mapping[str, Tensor] = NO_CONTEXT) -> bool:
    """Whether ``forward`` has a parameter for lengths; see :func:`signature`."""
    return signature(model, context).lengths is not None


def call(model: nn.Module, inputs: Tensor, lengths: Tensor | None, context: Mapping[str, Tensor] = NO_CONTEXT) -> Any:  # noqa: ANN401  # whatever a user's model returns
    """Call a model with inputs, and with lengths and context as its signature demands."""
    names = signature(model, context)
    if isinstance(model, Wrapper) and (context or names.lengths is not None):
        return model(inputs, lengths, **context)
    if not context and not names.by_name:
        return model(inputs) if names.lengths is None else model(inputs, lengths)
    by_name = {} if names.lengths is None else {names.lengths: lengths}
    return model(**{names.inputs: inputs}, **by_name, **context)


def describe(output: object) -> str:
    """Type and shape of a model's output, for an error message: ``a tuple of (float32[5, 2], float32[5, 6])``."""
    if isinstance(output, Tensor):
        return f"{str(output.dtype).removeprefix('torch.')}{list(output.shape)}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of ({', '.join(describe(part) for part in output[:4])})"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} of {', '.join(map(repr, list(output)[:4]))}"
    return f"a {type(output).__name__}"


def check_output(output: object, rows: int, label: str) -> Tensor:
    """Check a model's output and return it as scores float[rows, K].

    Of one row the axis of rows may be squeezed away: float[] is one output, float[K] are K outputs.

    Raises:
        ContractError: the output is no floating-point tensor float[rows] or float[rows, K], or it is not finite.
    """
    if not isinstance(output, Tensor):
        raise ContractError(
            f"{label} returns {describe(output)}, not a tensor of scores: say which part holds them, such as "
            "part=0, or wrap it in a module whose forward returns the scores only."
        )
    if output.dim() == 3 and output.is_floating_point():
        raise ContractError(
            f"{label} returns {describe(output)}, scores of several output steps: say which one is explained, such as "
            "step=0."
        )
    if output.dim() == 0 and rows == 1:
        output = output.view(1, 1)
    elif output.dim() == 1:
        output = output[None] if rows == 1 and len(output) > 1 else output[:, None]
    if output.dim() != 2 or len(output) != rows or not output.is_floating_point():
        raise ContractError(
            f"{label} returns {output.dtype}{list(output.shape)} for {rows} sequences; expected scores "
            f"float[{rows}, K]."
        )
    if not output.shape[1]:
        raise ContractError(f"{label} returns no score for a sequence: expected float[{rows}, K].")
    if not torch.isfinite(output.detach()).all():
        raise ContractError(f"{label} returns scores that are not finite.")
    return output


def check_scores(outputs: Tensor, target: Tensor, outputs_are: Outputs, label: str) -> None:
    """Check that outputs float[B, K] are of the declared kind and include the targets int64[B].

    Raises:
        DataError: a target is no output, or the outputs are not of the kind ``outputs_are``; the message says what to
            change.
    """
    count = outputs.shape[1]
    wrong = target[(target < 0) | (target >= count)]
    if len(wrong):
        raise DataError(f"Target {int(wrong[0])} is not among the {count} outputs of {label} (0 to {count - 1}).")
    in_range = bool(((outputs >= 0) & (outputs <= 1)).all())
    probabilities = in_range and bool((outputs.sum(1) - 1).abs().max() < _SUM_TO_ONE)
    if outputs_are in {"logits", "probabilities"} and count == 1:
        raise DataError(
            f"{label} returns one score for each sequence: say outputs='binary-logit' if it is the logit of a "
            "classifier of two classes, 'binary-probability' if it is the probability of class 1 (a sigmoid), or "
            "'values' if it is a quantity."
        )
    if outputs_are == "logits" and probabilities:
        raise DataError(f"{label} returns probabilities, not logits: say outputs='probabilities'.")
    if outputs_are == "binary-probability" and not in_range:
        raise DataError(f"{label} returns a score outside [0, 1], which is no probability: say outputs='binary-logit'.")
    if outputs_are == "probabilities" and in_range and not probabilities:
        raise DataError(
            f"{label} returns {count} scores in [0, 1] that do not sum to 1: if each is the probability of a label of "
            "its own, say outputs='values' and give the label to explain as target."
        )
    if outputs_are == "probabilities" and not probabilities:
        raise DataError(
            f"{label} does not return probabilities, which lie in [0, 1] and sum to 1: say outputs='logits', "
            "or end the model with a softmax."
        )


def last_linear_input(model: nn.Module, run: Callable[[], object]) -> Tensor | None:
    """Input of the linear layer that is called last while a model runs; None if none is called.

    Args:
        model: the module whose linear layers are watched.
        run: runs the module once.
    """
    last: Tensor | None = None

    def keep(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        nonlocal last
        last = arguments[0].detach() if arguments else None

    handles = [module.register_forward_pre_hook(keep) for module in model.modules() if isinstance(module, nn.Linear)]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return last
