"""A user's model and arrays made into what a subject consists of: one way for every entry of the package.

Every function raises DataError with one sentence if a value does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence, pad_sequence

from ...errors import AssumptionWarning, DataError, warn
from ..contract import check_contract
from ..data.batch import Batch, Outputs, Truth
from ..data.input_layout import InputLayout
from ..engine.adapters import AdaptedModel, PredictFunction, adapter_of
from ..engine.agreement import allowed_differences
from ..engine.batching import few_sequences
from ..engine.isolation import undisturbed
from ..engine.kept_state import deep_copy
from ..engine.signature import PADDING, takes_lengths
from ..engine.structures import leaves
from .arrays import (
    background_from,
    context_from,
    inputs_from,
    lengths_from,
    model_from,
    only_embedding,
    reference_from,
    targets_from,
    tensor_from,
)
from .calling import Data, Fitted, UnrunnableError, fitted
from .hidden_state import is_state
from .left_padding import LeftPadded, ends_in_padding, looks_left_padded, padding_token
from .several import are_several, several_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from ..contract import Contract
    from ..subject import Subject
    from .calling_options import Calling

# Names of autograd's nodes that only move numbers, and of those of an affine layer.
_MOVING: Final = (
    "View", "UnsafeView", "Reshape", "ReshapeAlias", "AsStrided", "Squeeze", "Unsqueeze", "Select", "Slice", "Index",
    "IndexSelect", "Gather", "T", "Transpose", "Permute", "Expand", "Clone", "Alias", "ToCopy", "Unbind", "Split",
)  # fmt: skip
_AFFINE: Final = ("Addmm", "Mm", "Bmm", "Baddbmm", "Linear", "Mv", "Addmv")
_NODE: Final = re.compile(r"Backward\d*$")


@dataclass(frozen=True)
class Prepared:
    """A user's model and data, checked, in the form of a subject.

    Attributes:
        model: the module, in an adapter if it is called otherwise than as (inputs) or (inputs, lengths).
        batch: the sequences with their targets; zeros where no targets are given.
        reference: of the shape of the inputs.
        background: other sequences; None if none are given.
        outputs: kind of the outputs.
        notes: what was assumed or found about the model, a sentence each, without its subject.
        warned: those that the user is warned of.
        known: whether targets are given.
        scores: raw scores float[N, K] of a few sequences, of both classes of a binary classifier.
    """

    model: nn.Module
    batch: Batch
    reference: Tensor
    background: Batch | None
    outputs: Outputs
    notes: tuple[str, ...]
    warned: tuple[str, ...]
    known: bool
    scores: Tensor


def prepared(
    model: nn.Module | Callable[..., Any],
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None,
    targets: ArrayLike | Tensor | None,
    *,
    label: str,
    calling: Calling,
    **others: Any,  # noqa: ANN401  # the other arguments of _prepared, which types them
) -> Prepared:
    """Check a user's model and data and convert them; arguments as in :func:`xrnnbench.explain`.

    Inputs of a model that takes [T, B, …] are given so, or as [B, T, …]. Where neither lengths nor targets tell which,
    they are taken as [T, B, …] if the model runs on them so.

    Raises:
        DataError: the model or the data do not fit; the message names the problem and the way out.
    """
    names = others.pop("names", None)
    if are_several(inputs, model):
        ready = _prepared_several(model, inputs, lengths, targets, label=label, calling=calling, names=names, **others)
        return _warned(ready, label)
    ways = _orientations(inputs, lengths, targets, calling)
    given = *_padded(inputs, lengths), targets
    try:
        ready = _prepared(model, *given, label=label, calling=calling, turned=ways[0], **others)
    except UnrunnableError as refusal:
        if len(ways) == 1:
            raise
        try:
            ready = _prepared(model, *given, label=label, calling=calling, turned=ways[1], **others)
        except DataError:
            raise refusal from refusal.__cause__
        note = "does not run on the inputs as [T, B, …]: they are read as [B, T, …]; give lengths to say which they are"
        ready = replace(ready, notes=(note, *ready.notes), warned=(note, *ready.warned))
    return _warned(ready, label)


def _warned(ready: Prepared, label: str) -> Prepared:
    """What was prepared, after warnings of what was assumed."""
    for note in ready.warned:
        warn(f"{label} {note}.", AssumptionWarning)
    return ready


def _prepared(  # noqa: PLR0913  # what a user may bring
    model: nn.Module | Callable[..., Any],
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None,
    targets: ArrayLike | Tensor | None,
    *,
    label: str,
    calling: Calling,
    turned: bool,
    reference: ArrayLike | Tensor | None = None,
    background: Batch | ArrayLike | Tensor | None = None,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | ArrayLike | Tensor | None = None,
    truths: Mapping[str, Truth] | None = None,
) -> Prepared:
    """See :func:`prepared`; ``turned`` says whether the inputs are given as [T, B, …]."""
    module, half = in_single_precision(model_from(model, label), label)
    values = inputs_from(inputs, module)
    if turned:
        if values.dim() < 2:
            raise DataError(
                f"The inputs have shape {list(values.shape)}: expected [T, B] tokens or [T, B, D] features."
            )
        reference, background = _turned(reference, values), _turned_background(background, values)
        values = values.transpose(0, 1).contiguous()
    left = calling.padding_side == "left"
    seen = LeftPadded(values, lengths, padding_token(module)) if left else None
    sizes = lengths_from(lengths, values) if seen is None else seen.lengths
    unsaid = "" if left else looks_left_padded(values, sizes, padding_token(module), given=lengths is not None)
    if lengths is None and not left and not unsaid:
        unsaid = ends_in_padding(values, padding_token(module), module)
    layout = values
    values = _finite_padding(values if seen is None else seen.right(values), sizes, calling)
    Batch(values, sizes, torch.zeros(len(values)))  # refuses what does not fit before the model is run
    extra = context_from(context, step, len(values), module)
    time_first = frozenset(
        name for name, value in extra.items() if turned and not is_state(name) and _is_time_first(value, values)
    )
    extra |= {name: extra[name].transpose(0, 1).contiguous() for name in time_first}
    _check_context(extra, len(values))
    if seen is None:
        removed = reference_from(reference, values, module, sizes)
    else:
        removed = seen.right(reference_from(reference, layout, module))
        truths = {name: replace(truth, values=seen.right(truth.values)) for name, truth in (truths or {}).items()}
        extra |= {name: seen.right(extra[name]) for name in calling.along or () if name in extra}
        background = seen.background(background, module)
    if calling.keeps_width:
        valid = torch.arange(values.shape[1]) < sizes[:, None]
        removed = torch.where(valid if values.dim() == 2 else valid[..., None], removed, values)
        extra[PADDING] = _padding_of(values, sizes)
    others = background_from(background, values, module)
    _check_tokens(module, {"inputs": values, "reference": removed}, others, label)
    material = _Material(module, Data(values, sizes, removed, extra, time_first), others, truths or {}, (half, unsaid))
    return _completed(material, targets, calling, label)


def _prepared_several(  # noqa: PLR0913  # as below
    model: nn.Module | Callable[..., Any],
    inputs: Any,  # noqa: ANN401  # a user's own container
    lengths: Any,  # noqa: ANN401  # as above
    targets: ArrayLike | Tensor | None,
    *,
    label: str,
    calling: Calling,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | ArrayLike | Tensor | None = None,
    truths: Mapping[str, Truth] | None = None,
    **others: Any,  # noqa: ANN401  # reference, background and names of several_data, which checks them
) -> Prepared:
    """See :func:`prepared`; of several inputs."""
    for option, value in {"batch_first": True, "padding_side": "right", "padding": None, "along": None}.items():
        if getattr(calling, option) != value:
            raise DataError(
                f"{option}={getattr(calling, option)!r} is for one input, and there are several: leave it out."
            )
    module, half = in_single_precision(model_from(model, label), label)
    count = _rows_of(inputs)
    data = several_data(
        module, inputs, lengths, label=label, context=context_from(context, step, count, module), **others
    )
    _check_context(data.context, len(data.inputs))
    sizes = torch.full((len(data.inputs),), data.layout.steps)
    material = _Material(
        data.model,
        Data(data.inputs, sizes, data.reference, data.context),
        data.background,
        {name: replace(truth, values=data.layout.together(truth.values)) for name, truth in (truths or {}).items()},
        (half, ""),
        data.mask,
        data.layout,
        data.notes,
    )
    return _completed(material, targets, replace(calling, along=()), label)


def _rows_of(inputs: Any) -> int:  # noqa: ANN401  # a user's own container
    """Number of sequences of several inputs."""
    return next((len(value) for _, value in leaves(inputs) if getattr(value, "ndim", 0)), 0)


@dataclass(frozen=True, eq=False)
class _Material:
    """A user's model and data, converted, of which it is not yet known how the model is called.

    Attributes:
        module: the module.
        data: the sequences.
        background: see :class:`Prepared`.
        truths: readings of the truth by name.
        warnings: what was found before the first call and the user is warned of: about the precision and the padding.
        mask, layout: see :class:`xrnnbench.tasks.data.batch.Batch`.
        facts: further notes.
    """

    module: nn.Module
    data: Data
    background: Batch | None
    truths: Mapping[str, Truth]
    warnings: tuple[str, str]
    mask: Tensor | None = None
    layout: InputLayout | None = None
    facts: tuple[str, ...] = ()


def _completed(material: _Material, targets: ArrayLike | Tensor | None, calling: Calling, label: str) -> Prepared:
    """See :class:`Prepared`: finds how the model is called, and what its outputs are."""
    values, sizes, removed = material.data.inputs, material.data.lengths, material.data.reference
    half, unsaid = material.warnings
    way = fitted(material.module, material.data, calling, label)
    outputs, assumed = _kind_of_outputs(way, values, sizes, calling, targets)
    sure = targets is not None and calling.outputs is None
    one = way.outputs.shape[1] == 1
    adapted = _binary(way.model, outputs)
    start, whole = _started(way), _handed_whole(way, values, sizes)
    found = calling.padding is None and not calling.keeps_width
    read = _padding_read(adapted, way, values, sizes) if found else ""
    correct = torch.zeros(len(values), dtype=torch.int64) if targets is None else targets_from(targets, outputs)
    return Prepared(
        adapted,
        Batch(values, sizes, correct, material.truths, way.context, mask=material.mask, layout=material.layout),
        removed,
        material.background,
        outputs,
        notes=tuple(filter(None, (half, start, whole, assumed, read, unsaid, *material.facts))),
        warned=tuple(filter(None, (half, start, whole, "" if sure else assumed, read, unsaid))),
        known=targets is not None,
        scores=way.outputs.expand(-1, 2) if outputs.startswith("binary") and one else way.outputs,
    )


def contract_of(subject: Subject, calling: Calling) -> Contract:
    """The measured contract of a subject; warns of attention that does not sum to 1.

    Raises:
        DataError: a promise is broken, and the user did not say ``contract="explain"``.
    """
    contract = check_contract(subject, calling.contract_tolerance)
    if calling.contract == "refuse":
        contract.refuse_broken()
    for promise in contract.promises:
        if promise.name == "attention sums to 1" and promise.kept is False:
            warn(promise.sentence, AssumptionWarning)
    return contract


def in_single_precision(model: nn.Module, label: str) -> tuple[nn.Module, str]:
    """A copy in single precision of a model in half precision, and a note about it; any other model itself, and "".

    Raises:
        DataError: the model is in half precision and cannot be copied.
    """
    halves = {str(tensor.dtype) for tensor in model.parameters() if tensor.dtype in {torch.float16, torch.bfloat16}}
    if not halves:
        return model, ""
    try:
        single = deep_copy(model).float()
    except Exception as error:
        raise DataError(
            f"{label} is in half precision and cannot be copied ({type(error).__name__}: {error}): give it as "
            "model.float()."
        ) from error
    return single, f"is {halves.pop().removeprefix('torch.')}, and is explained by a copy in single precision"


def _padded(
    inputs: ArrayLike | Tensor, lengths: ArrayLike | Tensor | None
) -> tuple[ArrayLike | Tensor, ArrayLike | Tensor | None]:
    """Sequences of different lengths, in a list or packed, as one padded tensor with their lengths."""
    if isinstance(inputs, PackedSequence):
        padded, own = pad_packed_sequence(inputs, batch_first=True)
        return padded, own
    if isinstance(inputs, list | tuple) and lengths is None and inputs:
        try:
            rows = [tensor_from(row, "inputs") for row in inputs]
        except DataError:
            return inputs, lengths
        counts = [len(row) if row.dim() else 0 for row in rows]
        if len(set(counts)) > 1 and min(counts) > 0 and len({row.shape[1:] for row in rows}) == 1:
            return pad_sequence(rows, batch_first=True), torch.tensor(counts)
        if len({row.shape for row in rows}) > 1 and len(set(counts)) == 1:
            shapes = ", ".join(sorted({str(list(row.shape)) for row in rows}))
            raise DataError(f"The inputs are a list of arrays {shapes}: give a sequence [T] or [T, D] in each place.")
        if isinstance(inputs[0], Tensor):
            return torch.stack(rows) if len(set(counts)) == 1 else inputs, lengths
    return inputs, lengths


def _orientations(inputs: Any, lengths: Any, targets: Any, calling: Calling) -> tuple[bool, ...]:  # noqa: ANN401  # a user's own values
    """Whether inputs may be given as [T, B, …], the likelier answer first.

    Lengths and targets have an entry for each sequence, and so tell which axis is that of the sequences. A list has an
    item for each sequence.
    """
    if calling.batch_first or isinstance(inputs, PackedSequence | list | tuple):
        return (False,)
    shape = tuple(getattr(inputs, "shape", ()))
    counts = {len(value) for value in (lengths, targets) if value is not None and _sized(value)}
    if len(shape) < 2 or len(counts) != 1 or shape[0] == shape[1] or not counts & set(shape[:2]):
        return (True, False)
    return (counts == {shape[1]},)


def _sized(value: object) -> bool:
    return hasattr(value, "__len__") and (not isinstance(value, Tensor) or value.dim() > 0)


def _is_time_first(value: object, inputs: Tensor) -> bool:
    """Whether context of time-first inputs is given as [T′, B, …] too: its second axis is that of the sequences.

    Args:
        value: a tensor; a hidden state may be a tuple, which is never time-first.
        inputs: [B, T, …].
    """
    rows, steps = inputs.shape[:2]
    if not isinstance(value, Tensor) or value.dim() < 2 or value.shape[1] != rows:
        return False
    return len(value) == steps or len(value) != rows


def _turned(reference: Any, inputs: Tensor) -> Any:  # noqa: ANN401  # a user's own value
    """A reference with rows first, from one that broadcasts to time-first inputs [T, B, …]."""
    if reference is None:
        return None
    tensor = tensor_from(reference, "reference")
    if tensor.dim() == inputs.dim():
        fits = all(own in {1, size} for own, size in zip(tensor.shape, inputs.shape, strict=True))
        return tensor.transpose(0, 1) if fits else tensor  # one that does not fit may have rows first already
    return tensor[:, None] if inputs.dim() == 2 and tensor.dim() == 1 else tensor


def _turned_background(background: Any, inputs: Tensor) -> Any:  # noqa: ANN401  # as above
    """A background of as many steps as time-first inputs [T, B, …], rows first; a batch as it is."""
    if background is None or isinstance(background, Batch):
        return background
    tensor = tensor_from(background, "background")
    return (
        tensor.transpose(0, 1).contiguous() if tensor.dim() == inputs.dim() and len(tensor) == len(inputs) else tensor
    )


def _finite_padding(inputs: Tensor, lengths: Tensor, calling: Calling) -> Tensor:
    """Inputs with 0 in the place of NaN beyond each length, which nothing reads.

    Raises:
        DataError: the padding is kept, and holds a value that is not finite.
    """
    if not inputs.is_floating_point() or inputs.dim() != 3 or lengths.shape != inputs.shape[:1]:
        return inputs
    beyond = (torch.arange(inputs.shape[1]) >= lengths[:, None])[..., None] & ~torch.isfinite(inputs)
    if not beyond.any():
        return inputs
    if calling.keeps_width:
        raise DataError(
            f"{'padding_side=' if calling.padding is None else 'padding='}"
            f"{'left' if calling.padding is None else 'keep'!r} hands the padding to the model, and it holds a value "
            "that is not finite: fill it."
        )
    return inputs.masked_fill(beyond, 0.0)


def _padding_of(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Padding of each sequence in the shape of the inputs, and what stands for it where a variant is shorter.

    That is the sequence's own first padding step, or that of another sequence, or zeros if none is padded.
    """
    valid = torch.arange(inputs.shape[1]) < lengths[:, None]
    padded = lengths < inputs.shape[1]
    own = inputs[torch.arange(len(inputs)), lengths.clamp_max(inputs.shape[1] - 1)]
    other = own[padded][0] if padded.any() else torch.zeros_like(own[0])
    fill = torch.where(padded if own.dim() == 1 else padded[:, None], own, other)
    return torch.where(valid if inputs.dim() == 2 else valid[..., None], fill[:, None], inputs)


def _check_context(context: Mapping[str, Any], rows: int) -> None:
    """Refuse context without a row for each sequence; hidden states are checked where they are recognised."""
    for name, value in context.items():
        if isinstance(value, Tensor) and not is_state(name) and (value.dim() == 0 or len(value) != rows):
            raise DataError(
                f"The context {name!r} has shape {list(value.shape)} for {rows} sequences: give it one row for each; "
                "what is the same for all belongs to the model, for example by functools.partial."
            )


def _check_tokens(model: nn.Module, parts: dict[str, Tensor], background: Batch | None, label: str) -> None:
    """Refuse tokens beyond the embedding; checked only for a model with exactly one embedding."""
    embedding = only_embedding(model)
    if parts["inputs"].is_floating_point() or embedding is None:
        return
    for part, tokens in (parts | ({} if background is None else {"background": background.inputs})).items():
        wrong = (tokens < 0) | (tokens >= embedding.num_embeddings)
        if wrong.any():
            row = int(wrong.flatten(1).any(1).nonzero()[0])
            raise DataError(
                f"Sequence {row} of the {part} holds token {int(tokens[wrong][0])}, and the embedding of {label} has "
                f"tokens 0 to {embedding.num_embeddings - 1}: map unknown ones to one of these."
            )


def _kind_of_outputs(
    way: Fitted, inputs: Tensor, lengths: Tensor, calling: Calling, targets: ArrayLike | Tensor | None
) -> tuple[Outputs, str]:
    """Kind of the outputs, and what was assumed where the user says nothing."""
    if calling.outputs is not None:
        return calling.outputs, _doubtful(way, inputs, lengths, calling)
    correct = None if targets is None else tensor_from(targets, "targets")
    one = way.outputs.shape[1] == 1
    if one and correct is not None and _signs(correct):
        raise DataError(
            "The targets are −1 and 1, and the model has one output: give the classes 0 and 1, as by (targets + 1) / "
            "2, or say outputs='values' if they are quantities."
        )
    if one and (correct is None or _zeros_and_ones(correct)):
        within = bool(((way.outputs >= 0) & (way.outputs <= 1)).all())
        if within and not _ends_affine(way, inputs, lengths):
            return "binary-probability", (
                "returns one score, in [0, 1]: it is read as the probability of class 1 of two; say "
                "outputs='binary-logit' or outputs='values' if it is not"
            )
        return "binary-logit", (
            "returns one score: it is read as the logit of class 1 of two; say outputs='values' if it is a quantity"
        )
    if correct is not None and correct.is_floating_point():
        return "values", ""
    return "logits", ""


def _doubtful(way: Fitted, inputs: Tensor, lengths: Tensor, calling: Calling) -> str:
    """Note about a kind of outputs that the scores speak against; empty if they do not."""
    within = bool(((way.outputs >= 0) & (way.outputs <= 1)).all())
    if calling.outputs == "binary-logit" and within and not _ends_affine(way, inputs, lengths):
        return (
            "returns scores in [0, 1], as probabilities are: say outputs='binary-probability' if it ends in a sigmoid"
        )
    return ""


def _signs(targets: Tensor) -> bool:
    """Whether targets are all −1 or 1, with both."""
    return not targets.is_complex() and set(targets.unique().tolist()) == {-1, 1}


def _zeros_and_ones(targets: Tensor) -> bool:
    """Whether targets [B] or [B, 1] are all 0 or 1."""
    single = targets.dim() == 1 or (targets.dim() == 2 and targets.shape[1] == 1)
    return single and not targets.is_complex() and bool(((targets == 0) | (targets == 1)).all())


def _ends_affine(way: Fitted, inputs: Tensor, lengths: Tensor) -> bool:
    """Whether the model's last operation is an affine layer, whose outputs are no probabilities, wherever they lie."""
    if any(isinstance(module, PredictFunction) for module in way.model.modules()):
        return False
    model = way.model if isinstance(way.model, AdaptedModel) else AdaptedModel(way.model)
    row = lengths.argmax()[None]
    context = {name: value[row] for name, value in way.context.items()}
    try:
        with undisturbed(way.model), torch.enable_grad():
            scores = model(inputs[row].clone(), lengths[row].clone(), **context)
    except Exception:  # noqa: BLE001  # a model that runs without gradients only does not show its operations
        return False
    node = scores.grad_fn if isinstance(scores, Tensor) else None
    while node is not None:
        name = _NODE.sub("", node.name())
        if name in _AFFINE:
            return True
        if name not in _MOVING:
            return False
        node = node.next_functions[0][0] if node.next_functions else None
    return False


def _started(way: Fitted) -> str:
    """Note about a model that starts from a state which is not zero; empty if it does not."""
    adapter = adapter_of(way.model)
    if adapter is None or not adapter.started or not way.reads_state:
        return ""
    names = ", ".join(sorted(adapter.initial)[:3])
    return (
        f"keeps {names} from call to call, and is explained as it starts from their present values: reset them before"
    )


def _handed_whole(way: Fitted, inputs: Tensor, lengths: Tensor) -> str:
    """Note about context that has as many steps as padded inputs and is not cut with them; empty if none has."""
    if not way.whole or bool((lengths == inputs.shape[1]).all()):
        return ""
    names = ", ".join(way.whole)
    shown = f"({', '.join(map(repr, way.whole))},)"
    return (
        f"reads its context {names} beyond the length of a sequence, so it is handed over whole, as a second sequence "
        f"or static values are: say along={shown} if it runs along the steps, or along=() if it does not"
    )


def _binary(model: nn.Module, outputs: Outputs) -> nn.Module:
    """The model with the scores of both classes, where it has one output of two classes."""
    if outputs not in {"binary-logit", "binary-probability"}:
        return model
    adapter = model if isinstance(model, AdaptedModel) else AdaptedModel(model)
    return adapter.changed(binary=outputs.removeprefix("binary-"))


def _padding_read(model: nn.Module, way: Fitted, inputs: Tensor, lengths: Tensor) -> str:
    """Note about a model that takes no lengths and scores padded sequences otherwise; empty if it does not.

    Such a model is run up to each sequence's length, which is what the user asks for by giving lengths.
    """
    if bool((lengths == inputs.shape[1]).all()) or takes_lengths(model, way.context):
        return ""
    few = few_sequences(lengths)
    adapter = adapter_of(way.model) or AdaptedModel(way.model)
    context = {name: value[few] for name, value in way.context.items()}
    try:
        with undisturbed(way.model), torch.no_grad():
            padded = adapter(inputs[few].clone(), lengths[few].clone(), **context)
    except Exception:  # noqa: BLE001  # a model that takes no such width cannot read it
        return ""
    cut = way.outputs[: len(few)]
    if not isinstance(padded, Tensor) or padded.numel() != cut.numel():
        return ""
    gaps = (padded.reshape(cut.shape) - cut).abs()
    function = any(isinstance(module, PredictFunction) for module in way.model.modules())
    dtype = torch.float32 if function else way.outputs.dtype
    if bool((gaps <= allowed_differences(way.outputs, dtype)).all()):
        return ""
    worst = int(gaps.amax(1).argmax())
    return (
        f"takes no lengths, and scores sequence {int(few[worst])} otherwise with its padding (by "
        f"{float(gaps[worst].max()):.3g}): it is run up to each length; say padding='cut' if that is right, or "
        "padding='keep' to explain it at the given width with the given padding"
    )
