"""Subject of a user's own model and data: one meaning of every argument, for every entry of the package."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import DataError
from ...plugins import nearest
from ..contract import Contract
from ..data.batch import Batch, Granularity, Names
from ..data.padding_side import padded_left
from ..subject import Subject
from .arrays import truths_from
from .calling_options import Calling, calling_of
from .preparing import Prepared, contract_of, prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from ..data.batch import Truth

# Arguments about a model's data, which every entry takes beside the options of calling.
DATA_ARGUMENTS: Final = (
    "inputs", "lengths", "targets", "target", "reference", "background", "context", "step", "truth", "granularity",
    "names", "ids", "layer",
)  # fmt: skip


def divided(options: Mapping[str, Any], others: Sequence[str] = ()) -> tuple[dict[str, Any], Calling]:
    """A user's options: the arguments about the data by name, and how the model is called.

    Args:
        options: of both kinds.
        others: names of further arguments that the user may have meant.

    Raises:
        DataError: there is no such option, or its value does not fit.
    """
    data = {name: value for name, value in options.items() if name in DATA_ARGUMENTS}
    calling = {name: value for name, value in options.items() if name not in DATA_ARGUMENTS}
    return data, calling_of(calling, (*DATA_ARGUMENTS, *others))


@dataclass(frozen=True, eq=False)
class OwnSubject:
    """Subject of a user's own model, with what was found about it.

    Attributes:
        subject: the model and its data.
        contract: the promises, as measured.
        notes: what was assumed or found, a sentence each.
        target: int64[B], the explained outputs that the user named; None for the predicted ones.
        left: whether the user's arrays are left-padded.
    """

    subject: Subject
    contract: Contract
    notes: tuple[str, ...]
    target: Tensor | None
    left: bool = False

    def aligned(self, values: Tensor) -> Tensor:
        """Values [B, T, …] of the subject in the layout of the user's arrays."""
        return padded_left(values, self.subject.batch.lengths) if self.left else values


def own_subject(  # noqa: PLR0913  # one argument for each plain thing a user may have
    model: nn.Module | Callable[..., Any],
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None = None,
    *,
    label: str,
    calling: Calling,
    targets: ArrayLike | Tensor | None = None,
    target: int | str | ArrayLike | Tensor | None = None,
    reference: ArrayLike | Tensor | None = None,
    background: Batch | ArrayLike | Tensor | None = None,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | ArrayLike | Tensor | None = None,
    truth: Truth | Mapping[str, Truth] | None = None,
    granularity: Granularity | None = None,
    names: Names | None = None,
    ids: Sequence[object] | None = None,
    layer: str | None = None,
) -> OwnSubject:
    """Subject of a user's model and data, checked, with its measured contract.

    Args:
        model: a module on the CPU taking (inputs) or (inputs, lengths), returning scores float[B, K] or float[B]; or a
            plain function of arrays that does, which only methods without gradients explain.
        inputs: tokens [B, T] (whole numbers) or features [B, T, D], right-padded unless ``padding_side`` says
            otherwise; tensors or arrays. Features are converted to the dtype of the model. Numbers beyond the lengths
            are not looked at. A list of sequences of different lengths, or a packed sequence, brings its own lengths.
        lengths: [B]; by default all sequences have T steps.
        label: the model's name in error messages.
        calling: how the model is called and read.
        targets: correct outputs, classes [B] (numbers, or the names of outputs) or values [B] or [B, K]; None if they
            are not known.
        target: explained output, its number or name, one for all or [B]; by default the predicted class, or output 0.
        reference: values of removed features, broadcast to the inputs; by default zeros, or the padding token.
        background: other sequences like the inputs.
        context: further inputs of the model by the name of forward's parameter, which are not perturbed.
        step: explained output step, one for all or [B], for a model that returns scores [B, U, K].
        truth: true relevance of the inputs to the outputs; several readings by name.
        granularity: ``"step"`` or ``"cell"``; by default cells of features, and steps of tokens.
        names: names of features, outputs and tokens.
        ids: identifiers of the B sequences, all different.
        layer: dotted name of a layer whose output sequence is explained in the place of the inputs.

    Raises:
        DataError: the model and the data do not fit each other, or the model breaks a promise.
    """
    if granularity not in {None, *get_args(Granularity)}:
        listed = ", ".join(map(repr, get_args(Granularity)))
        raise DataError(f"granularity={granularity!r} is not one of {listed}: say one of these, or leave it out.")
    names = _names(names)
    ready = prepared(
        model,
        inputs,
        lengths,
        None if targets is None else _numbered(targets, names.outputs, "targets"),
        label=label,
        calling=calling,
        reference=reference,
        background=background,
        context=context,
        step=step,
        truths=truths_from(truth),
        names=names.features if hasattr(names.features, "keys") else None,
    )
    names = _fitting_names(names, ready, label)
    count = len(ready.batch)
    chosen = None if target is None else own_target(target, names, count)
    subject = Subject(
        ready.model,
        dataclasses.replace(ready.batch, ids=_ids(ids, count)),
        ready.reference,
        target=chosen,  # type: ignore[arg-type]  # None asks for the prediction
        background=_copied(ready.background),
        outputs_are=ready.outputs,
        granularity=granularity,
        names=names,
        label=label,
        targets_known=ready.known,
    ).check()
    _check_targets(subject)
    contract = contract_of(subject, calling)
    subject = dataclasses.replace(subject, caveats=contract.caveats)
    if layer is not None:
        subject = dataclasses.replace(subject.at_layer(layer), granularity=granularity)
    return OwnSubject(subject, contract, ready.notes, chosen, calling.padding_side == "left")


def _names(names: object) -> Names:
    """Names of a user."""
    if names is not None and not isinstance(names, Names):
        raise DataError(
            f"The names are a {type(names).__name__}: give xrnnbench.Names(features=…, outputs=…, vocabulary=…)."
        )
    return names or Names()


def _fitting_names(names: Names, ready: Prepared, label: str) -> Names:
    """Names of all features and outputs; the only name of a binary classifier is that of class 1.

    Raises:
        DataError: there are more or fewer.
    """
    inputs, layout = ready.batch.inputs, ready.batch.layout
    if layout is not None:
        if names.features and not hasattr(names.features, "keys"):
            raise DataError("There are several inputs: give the names of their features by input, {name: (…,)}.")
        return dataclasses.replace(_fitting_outputs(names, ready, label), features=())
    if names.features and inputs.is_floating_point() and len(names.features) != inputs.shape[2]:
        raise DataError(
            f"There are {len(names.features)} names of features, and the inputs have {inputs.shape[2]}: name each."
        )
    return _fitting_outputs(names, ready, label)


def _fitting_outputs(names: Names, ready: Prepared, label: str) -> Names:
    """Names of all outputs; see :func:`_fitting_names`."""
    count = ready.scores.shape[1]
    if ready.outputs.startswith("binary") and len(names.outputs) == 1:
        return dataclasses.replace(names, outputs=(f"not {names.outputs[0]}", names.outputs[0]))
    if names.outputs and len(names.outputs) != count:
        raise DataError(
            f"There are {len(names.outputs)} names of outputs, and {label} has {count}: name each (of a table, "
            "classes=… names and orders them)."
        )
    return names


def _ids(ids: Sequence[object] | None, count: int) -> tuple[str, ...]:
    """Identifiers of the sequences as text."""
    if ids is None:
        return ()
    if isinstance(ids, str) or not hasattr(ids, "__len__"):
        raise DataError(f"ids={ids!r} are no identifiers: give one for each sequence, such as the numbers of patients.")
    listed = ids.tolist() if isinstance(ids, np.ndarray | Tensor) else list(ids)
    if len(listed) != count:
        raise DataError(f"There are {count} sequences and {len(listed)} ids: give one for each.")
    return tuple(map(str, listed))


def _numbered(values: Any, outputs: tuple[str, ...], argument: str) -> Any:  # noqa: ANN401  # whatever a user gives
    """Outputs by number, from such by number or name; anything but names is returned as it is.

    Raises:
        DataError: there is no output of that name.
    """
    if isinstance(values, Tensor) or (not isinstance(values, str) and not hasattr(values, "__len__")):
        return values
    try:
        words = np.asarray(values)
    except ValueError:  # the tensors are made later, with a sentence of their own
        return values
    if words.dtype.kind not in "UO" or not all(isinstance(word, str) for word in words.flat):
        return values
    for word in map(str, words.flat):
        if word not in outputs:
            known = nearest(word, outputs) or (f"; there are {', '.join(outputs)}." if outputs else "")
            way = known or ": give the numbers of the outputs, or their names by names=Names(outputs=(…))."
            raise DataError(f"The {argument} {word!r} is the name of no output{way}")
    return np.vectorize(outputs.index, otypes=[np.int64])(words) if words.ndim else outputs.index(str(words))


def own_target(target: int | str | ArrayLike | Tensor, names: Names, count: int) -> Tensor:
    """Explained outputs as int64[B], from one for all or [B], each a number or a name.

    Raises:
        DataError: there is no output of that name, or it is no number of an output.
    """
    expected = "give the number of an output, from 0, or one for each sequence, int64[B]"
    try:
        indices = torch.as_tensor(_numbered(target, names.outputs, "target"))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"The target is a {type(target).__name__}: {expected}.") from error
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise DataError(f"The target is {indices.dtype}, not a whole number: {expected}.")
    indices = indices.detach().to("cpu", torch.int64, copy=True)
    return indices.expand(count).clone() if indices.dim() == 0 else indices


def _copied(background: Batch | None) -> Batch | None:
    """A background of copied tensors."""
    if background is None:
        return None
    tensors = {name: getattr(background, name).detach().clone() for name in ("inputs", "lengths", "targets")}
    return dataclasses.replace(background, **tensors)


def _check_targets(subject: Subject) -> None:
    """Refuse classes beyond the outputs float[B, K], or target values of another shape, where targets are known."""
    outputs, targets, label = subject.batch_outputs, subject.batch.targets, subject.label
    if not subject.targets_known:
        return
    if not subject.classification:
        if targets.shape != outputs.shape:
            raise DataError(
                f"The targets are values {list(targets.shape)}, and {label} returns {list(outputs.shape)}: give a "
                "target for each output."
            )
        return
    wrong = (targets < 0) | (targets >= outputs.shape[1])
    if wrong.any():
        raise DataError(
            f"Sequence {int(wrong.nonzero()[0])} has target {int(targets[wrong][0])}, and {label} has "
            f"{outputs.shape[1]} outputs: classes go from 0 to {outputs.shape[1] - 1}."
        )
