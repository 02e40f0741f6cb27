"""Several inputs of a user's model: dictionaries, tuples and dataclasses made into one batch and one module.

Arrays of floats and of ids are explained. Lengths, masks and whatever is given as context are held fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ...errors import DataError
from ...plugins import nearest
from ..data.batch import Batch
from ..data.input_layout import InputLayout, part_of
from ..engine.several_inputs import SeveralInputs, held_name, parameter_names
from ..engine.signature import GIVEN_INPUTS, PRESENT_CELLS, entry_point, is_lengths_name, parameters_of
from ..engine.structures import first_difference, is_container, is_record, leaves, places, rebuilt
from .arrays import converted, dtype_of, tensor_from
from .hidden_state import is_state

if TYPE_CHECKING:
    from collections.abc import Sequence

# Largest whole number that a float of 32 bits holds exactly, with all below it.
_MOST_IDS: Final = 1 << 24
# Beginnings of names of lengths that belong to no input in particular.
_OF_ALL: Final = ("seq_", "sequence_")


@dataclass(frozen=True, eq=False)
class SeveralData:
    """Several inputs in the form of a batch.

    Attributes:
        model: the module, which takes them as one tensor.
        layout: the layout of the inputs.
        inputs: float[B, S, D].
        reference: float[B, S, D].
        mask: bool[B, S, D], the cells that belong to the sequences.
        context: what is held fixed, by name.
        background: other sequences; None if none are given.
        notes: what was assumed, a sentence each, without its subject.
    """

    model: SeveralInputs
    layout: InputLayout
    inputs: Tensor
    reference: Tensor
    mask: Tensor
    context: dict[str, Any]
    background: Batch | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Arrays of a container by what they are: explained numbers and ids, and what is held fixed."""

    explained: dict[str, Tensor] = field(default_factory=dict)
    held: dict[str, Tensor] = field(default_factory=dict)


def are_several(inputs: object, model: object) -> bool:
    """Whether a user's inputs are several ones, each with a row for every sequence.

    A list or tuple of arrays is several inputs if they have equally many rows and could be no sequences [T] or [T, D],
    or if the model's forward needs as many arguments.
    """
    if isinstance(inputs, PackedSequence):  # one input, though it is a named tuple
        return False
    if is_record(inputs) or isinstance(inputs, Mapping):
        return True
    if not isinstance(inputs, tuple | list) or len(inputs) < 2:
        return False
    values = [value for _, value in leaves(inputs)]
    arrays = [value for value in values if isinstance(value, Tensor | np.ndarray)]
    if len(arrays) < len(values) or len({len(value) if value.ndim else 0 for value in arrays}) > 1:
        return False
    nested = len(values) > len(inputs)
    return nested or any(value.ndim > 2 for value in arrays) or _needed(model) == len(inputs)


def _needed(model: object) -> int:
    """Number of arguments without a default that a model takes, lengths and states left out."""
    if isinstance(model, type) or not callable(model):
        return 0
    forward = entry_point(model)[0] if isinstance(model, nn.Module) else model
    needed = [p for p in parameters_of(forward) if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return sum(not is_lengths_name(p.name) and not is_state(p.name) for p in needed)


def several_data(
    model: nn.Module,
    inputs: Any,  # noqa: ANN401  # a user's own container
    lengths: Any,  # noqa: ANN401  # as above
    *,
    label: str,
    reference: Any = None,  # noqa: ANN401  # as above
    background: Any = None,  # noqa: ANN401  # as above
    context: Mapping[str, Any],
    names: Mapping[str, Sequence[str]] | None = None,
) -> SeveralData:
    """Several inputs of a model, checked, as one tensor.

    Args:
        model: the module, or a wrapped function.
        inputs: a mapping, named tuple, dataclass, tuple or list of arrays [B, …], nested as the model takes it.
        lengths: [B], of the inputs of as many steps as the first one; or by the names of inputs.
        label: the model's name in error messages.
        reference: values of removed features by the names of inputs, a container like the inputs, or one number.
        background: a container like the inputs, of other sequences.
        context: what is held fixed, tensors by name.
        names: names of columns by the names of inputs.

    Raises:
        DataError: a value does not fit; the message names it and the way out.
    """
    container, argument = _handed(model, inputs, label)
    _check_container(container)
    arrays = _sorted(container, label)
    if not arrays.explained:
        raise DataError("None of the inputs is an array of numbers or ids [B, …]: give at least one that is explained.")
    count = len(next(iter(arrays.explained.values())))
    dtype = dtype_of(model) or _widest(arrays.explained)
    layout = _layout(arrays.explained, names or {})
    together = _packed(layout, arrays.explained, dtype, "input")
    _check_context_names(context, container)
    held = arrays.held | dict(context)
    mask = _mask(layout, lengths, held, count)
    together = _finite(layout, together, mask)
    removed = torch.where(mask, _reference(layout, reference, together, container), together)
    held |= _own_lengths(model, lengths, container, held)
    _check_held(model, held, container, argument, label)
    held = {held_name(name): value for name, value in held.items()}
    if layout.categories or not bool(mask[:, layout.filled].all()):
        held |= {GIVEN_INPUTS: together.clone(), PRESENT_CELLS: mask}
    notes = [f"is given {', '.join(arrays.held)} as they are: they are not explained"] if arrays.held else []
    return SeveralData(
        SeveralInputs(model, layout, container, argument),
        layout,
        together,
        removed,
        mask,
        held,
        _background(layout, background, dtype, model),
        tuple(notes),
    )


def _handed(model: nn.Module, inputs: Any, label: str) -> tuple[Any, str | None]:  # noqa: ANN401  # a user's own container
    """The container as the model takes it, and the parameter that takes it; None if each value has its own.

    Values in a plain tuple or list, and those of a mapping whose names are parameters, are arguments of their own.
    """
    parameters = [p for p in parameters_of(entry_point(model)[0]) if p.kind is not p.VAR_POSITIONAL]
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    own = {p.name for p in named}
    if type(inputs) in {tuple, list} and len([p for p in named if p.kind is not p.KEYWORD_ONLY]) >= len(inputs) > 1:
        return dict(zip([p.name for p in named], inputs, strict=False)), None
    if isinstance(inputs, Mapping):
        keys = [str(key) for key in inputs]
        any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if set(keys) <= own or (any_name and not [p for p in named if p.default is p.empty and p.name not in keys]):
            return dict(inputs.items()), None
    first = next((p.name for p in named if not is_lengths_name(p.name)), None)
    if first is None:
        raise DataError(f"{label} has no parameter that takes the inputs: let its forward take them.")
    return inputs, first


def _check_container(container: Any) -> None:  # noqa: ANN401  # a user's own container
    """Refuse a container of which no variant can be made: names that are not distinct, or a value that gets lost."""
    names = Counter(name for name, _ in leaves(container))
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise DataError(f"There are {names[twice]} inputs of the name {twice!r}: give each a name of its own.")
    try:
        lost = first_difference(container, rebuilt(container, {}))
    except Exception as error:
        raise DataError(
            f"The {type(container).__name__} of the inputs cannot be made anew from its own values "
            f"({type(error).__name__}: {error}): give a dictionary, or let its fields be the arguments that make it."
        ) from error
    if lost is not None:
        raise DataError(
            f"The {type(container).__name__} of the inputs has another {lost!r} when it is made anew from its fields: "
            "let it be a field that is an argument too."
        )


def _check_context_names(context: Mapping[str, Any], container: Any) -> None:  # noqa: ANN401  # as above
    """Refuse context that has the name of an input, or of what holds inputs: one of both would be lost."""
    taken = {*places(container), *(name for name, _ in leaves(container))}
    twice = next((name for name in context if name in taken or name.partition(".")[0] in taken), None)
    if twice is not None:
        raise DataError(f"The context {twice!r} has the name of an input: leave out one of them, or rename it.")


def _sorted(container: Any, label: str) -> _Sorted:  # noqa: ANN401  # a user's own container
    """The arrays of a container; anything else is the same for all sequences, and stays where it is."""
    tensors = {
        name: tensor_from(value, f"input {name!r}")
        for name, value in leaves(container)
        if isinstance(value, Tensor | np.ndarray) or hasattr(value, "__array__")
    }
    tensors = {name: value for name, value in tensors.items() if value.dim()}
    counts = Counter(len(value) for value in tensors.values())
    count = counts.most_common(1)[0][0] if counts else 0
    found = _Sorted()
    for name, value in tensors.items():
        if len(value) != count:
            raise DataError(
                f"The input {name!r} has shape {list(value.shape)} for {count} sequences: give it one row for each; "
                "what is the same for all belongs to the model, for example by functools.partial."
            )
        if value.is_complex():
            raise DataError(f"The input {name!r} is complex: give its real and imaginary parts.")
        last = name.rpartition(".")[2]
        fixed = value.dtype == torch.bool or (value.dim() == 1 and is_lengths_name(last) and not _floats(value))
        (found.held if fixed else found.explained)[name] = value
    if not count and tensors:
        raise DataError(f"There are no sequences for {label}: its inputs have no rows.")
    return found


def _floats(value: Tensor) -> bool:
    return value.is_floating_point()


def _widest(values: Mapping[str, Tensor]) -> torch.dtype:
    """The floating dtype of values for a model that has no weights."""
    double = any(value.dtype == torch.float64 for value in values.values())
    return torch.float64 if double else torch.float32


def _layout(explained: Mapping[str, Tensor], names: Mapping[str, Sequence[str]]) -> InputLayout:
    """The layout of the explained arrays.

    Raises:
        DataError: there are names for no input, or not for each of its columns.
    """
    for name in names:
        if name not in explained:
            raise DataError(
                f"There are names of features for {name!r}, and no such input{nearest(name, explained) or '.'}"
            )
    longest = max((value.shape[1] for value in explained.values() if value.dim() > 2), default=0)
    parts = []
    for name, value in explained.items():
        shape = tuple(value.shape[1:])
        steps = shape[0] if len(shape) == 1 and shape[0] == longest > 1 else 0
        # [B, T] beside inputs of T steps are steps of one number
        part = part_of(
            name, (steps, 1) if steps else shape, categories=not _floats(value), names=tuple(names.get(name, ()))
        )
        parts.append(replace(part, shape=shape))
    return InputLayout(tuple(parts))


def _packed(layout: InputLayout, values: Mapping[str, Tensor], dtype: torch.dtype, kind: str) -> Tensor:
    """Arrays of all inputs in one tensor float[B, S, D].

    Raises:
        DataError: a number, or an id, cannot be kept exactly.
    """
    own = {}
    for part in layout:
        value = values[part.name]
        if (
            part.categories
            and value.numel()
            and int(value.double().abs().max()) >= _MOST_IDS
            and dtype != torch.float64
        ):
            raise DataError(f"The {kind} {part.name!r} holds ids from {_MOST_IDS} on, which {dtype} cannot hold.")
        own[part.name] = converted(value, dtype, f"{kind} {part.name!r}")
    return layout.packed(own, dtype)


def _mask(layout: InputLayout, lengths: Any, held: Mapping[str, Any], count: int) -> Tensor:  # noqa: ANN401  # a user's own value
    """Mask bool[B, S, D] of the cells that belong to the sequences.

    Raises:
        DataError: lengths do not fit the inputs that they belong to.
    """
    mask = layout.filled.expand(count, -1, -1).clone()
    for part in layout:
        own = _lengths_of(part.name, layout, lengths, held)
        if own is None or part.static:
            continue
        sizes = tensor_from(own, f"lengths of {part.name!r}")
        if sizes.is_floating_point() or sizes.dtype == torch.bool or sizes.shape != (count,):
            raise DataError(f"The lengths of {part.name!r} are {sizes.dtype}{list(sizes.shape)}: give int64[{count}].")
        if int(sizes.min()) < 0 or int(sizes.max()) > part.steps:
            raise DataError(
                f"The lengths of {part.name!r} go from {int(sizes.min())} to {int(sizes.max())}, and it has "
                f"{part.steps} steps."
            )
        mask[:, part.span] &= (torch.arange(part.steps) < sizes[:, None])[..., None]
    if not bool(mask.flatten(1).any(1).all()):
        row = int((~mask.flatten(1).any(1)).nonzero()[0])
        raise DataError(f"Sequence {row} has no step in any of its inputs: drop it.")
    return mask


def _lengths_of(name: str, layout: InputLayout, lengths: Any, held: Mapping[str, Any]) -> Any:  # noqa: ANN401  # as above
    """Lengths of an input: those given by its name, else those held under its prefix, else those of all sequences.

    ``encoder_lengths`` belong to ``encoder_cont`` and ``encoder_cat``; plain lengths and ``seq_lengths`` to all inputs
    of as many steps as the first one of several steps.
    """
    by_name = lengths if isinstance(lengths, Mapping) else {}
    if by_name:
        unknown = next((key for key in by_name if key not in layout.names), None)
        if unknown is not None:
            raise DataError(
                f"There are lengths of {unknown!r}, and no such input{nearest(unknown, layout.names) or '.'}"
            )
        return by_name.get(name)
    own = {key: value for key, value in held.items() if is_lengths_name(key.rpartition(".")[2])}
    for key, value in own.items():
        prefix = key.rpartition("_")[0] or key.rpartition(".")[0]
        if prefix and (name == prefix or name.startswith((f"{prefix}_", f"{prefix}."))):
            return value
    if lengths is None:
        plain = [key for key in own if ("_" not in key and "." not in key) or key.startswith(_OF_ALL)]
        lengths = own[plain[0]] if plain else None
    first = next((part.steps for part in layout if not part.static), 0)
    return lengths if next(part.steps for part in layout if part.name == name) == first else None


def _own_lengths(model: nn.Module, lengths: Any, container: Any, held: Mapping[str, Any]) -> dict[str, Tensor]:  # noqa: ANN401  # as above
    """The lengths for the model's own parameter of lengths, where it has one that nothing else fills."""
    if lengths is None or isinstance(lengths, Mapping):
        return {}
    filled = {*held, *(name for name, _ in leaves(container))}
    parameter = next((name for name in parameter_names(model) if is_lengths_name(name) and name not in filled), None)
    return {} if parameter is None else {parameter: tensor_from(lengths, "lengths").long()}


def _finite(layout: InputLayout, together: Tensor, mask: Tensor) -> Tensor:
    """Inputs with 0 in the place of values beyond the lengths that are not finite.

    Raises:
        DataError: a sequence holds a value that is not finite.
    """
    wrong = ~torch.isfinite(together)
    own = wrong & mask
    if own.any():
        row, step, _ = own.nonzero()[0].tolist()
        raise DataError(
            f"Sequence {row} holds a value of {layout.part_of_step(step).name!r} that is not finite: impute or drop it."
        )
    return together.masked_fill(wrong, 0.0)


def _reference(layout: InputLayout, reference: Any, together: Tensor, container: Any) -> Tensor:  # noqa: ANN401  # a user's own values
    """Reference float[B, S, D]: what is given by the names of inputs, one number for all that are no ids, else 0.

    Raises:
        DataError: it names no input, does not broadcast, or is no number.
    """
    values = {
        part.name: together.new_zeros(len(together), *part.shape) for part in layout
    }  # of ids, too: 0 is padding, or unknown
    if reference is None:
        return layout.packed(values, together.dtype)
    if is_container(reference):
        given = _by_name(layout, reference, container, "reference")
    else:
        one = tensor_from(reference, "reference")
        if one.dim():
            raise DataError("The reference of several inputs is given by their names, or is one number for all.")
        given = {part.name: one for part in layout if not part.categories}
    for name, value in given.items():
        tensor = tensor_from(value, f"reference of {name!r}")
        part = next(part for part in layout if part.name == name)
        if part.categories and tensor.is_floating_point():
            raise DataError(f"The reference of {name!r} is {tensor.dtype}, and its values are ids: give whole numbers.")
        tensor = converted(tensor, together.dtype, f"reference of {name!r}")
        try:
            values[name] = tensor.broadcast_to(values[name].shape)
        except RuntimeError as error:
            raise DataError(
                f"The reference of {name!r} has shape {list(tensor.shape)} and the input {list(values[name].shape)}: "
                "give one of that shape or one that broadcasts to it."
            ) from error
        if not torch.isfinite(values[name]).all():
            raise DataError(f"The reference of {name!r} holds a value that is not finite: impute it.")
    return layout.packed(values, together.dtype)


def _by_name(layout: InputLayout, values: Any, container: Any, what: str) -> dict[str, Any]:  # noqa: ANN401  # as above
    """Values by the names of inputs, from a container like the inputs.

    Raises:
        DataError: a name is that of no input.
    """
    if type(values) in {tuple, list}:
        names = [name for name, _ in leaves(container)]
        given = dict(zip(names, values, strict=False)) if len(names) == len(values) else {}
        if not given:
            raise DataError(f"The {what} holds {len(values)} arrays for {len(names)} inputs: give one for each.")
    else:
        given = dict(leaves(values))
    unknown = next((name for name in given if name not in {each for each, _ in leaves(container)}), None)
    if unknown is not None:
        raise DataError(f"The {what} names {unknown!r}, and no such input{nearest(unknown, layout.names) or '.'}")
    return {name: value for name, value in given.items() if name in layout.names and value is not None}


def _background(layout: InputLayout, background: Any, dtype: torch.dtype, model: nn.Module) -> Batch | None:  # noqa: ANN401  # as above
    """Other sequences as a batch in the layout.

    Raises:
        DataError: an input is missing, or of another shape.
    """
    if background is None:
        return None
    if isinstance(background, Batch):
        if background.inputs.shape[1:] != (layout.steps, layout.columns):
            raise DataError("The background is a batch of another layout: give a container like the inputs.")
        return background
    if not is_container(background):
        raise DataError("The background of several inputs is a container like them: give all by name.")
    container = _handed(model, background, "the model")[0]
    arrays = _sorted(container, "the background")
    values = arrays.explained
    for part in layout:
        if part.name not in values:
            raise DataError(f"The background has no input {part.name!r}: give all inputs.")
        if tuple(values[part.name].shape[1:]) != part.shape:
            raise DataError(
                f"The background of {part.name!r} has shape {list(values[part.name].shape)} and the input "
                f"{['B', *part.shape]}: they must be of one kind."
            )
        if part.categories and _floats(values[part.name]):
            raise DataError(f"The background of {part.name!r} holds floats, and the input ids: give whole numbers.")
    count = len(values[layout.parts[0].name])
    together = _packed(layout, values, dtype, "background of")
    mask = _mask(layout, None, arrays.held, count)
    together = _finite(layout, together, mask)
    return Batch(
        together,
        torch.full((count,), layout.steps),
        torch.zeros(count, dtype=torch.int64),
        mask=mask,
        layout=layout,
    )


def _check_held(model: nn.Module, held: Mapping[str, Any], container: Any, argument: str | None, label: str) -> None:  # noqa: ANN401  # as above
    """Refuse what is held fixed and has no place in the call of the model."""
    if argument is not None and isinstance(container, Mapping):
        return  # further keys of the mapping
    places = {name for name, _ in leaves(container)} | set(parameter_names(model))
    any_name = argument is None and any(p.kind is p.VAR_KEYWORD for p in parameters_of(entry_point(model)[0]))
    for name in held:
        if name not in places and not any_name and not name.startswith("xrnnbench_"):
            raise DataError(
                f"{label} has no parameter {name!r} for the context of that name{nearest(name, sorted(places)) or '.'}"
            )
