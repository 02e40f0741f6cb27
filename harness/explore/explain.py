"""Explanation of a user's own module by one call, without a task, a suite or a folder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ...errors import DataError, UsageError
from ...plugins import Plugin, build
from ...tasks.custom.calling_options import Calling, calling_of
from ...tasks.custom.preparing import contract_of, prepared
from ...tasks.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from ...methods.base import Attribution, Explainer
    from ...tasks.contract import Contract
    from ...tasks.data.batch import Batch, Outputs


_DEFAULTS = Calling()
# Arguments of an explanation beside the options of its model.
ARGUMENTS = ("lengths", "method", "target", "reference", "seed", "background", "targets", "context", "step")


def explain(  # noqa: PLR0913, PLR0917  # one argument for each plain thing a user may have
    model: nn.Module | Callable[..., Any],
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None = None,
    method: str | Explainer = "deeplift",
    target: int | ArrayLike | Tensor | None = None,
    reference: ArrayLike | Tensor | None = None,
    seed: int = 0,
    background: Batch | ArrayLike | Tensor | None = None,
    outputs: Outputs | None = None,
    targets: ArrayLike | Tensor | None = None,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | ArrayLike | Tensor | None = None,
    part: int | str | None = None,
    **calling: Any,  # noqa: ANN401  # the options of Calling, which checks them
) -> Attribution:
    """Attribution of a model's outputs to the steps or features of sequences.

    All arguments are copied and never changed. Before anything is explained, at most eight of the sequences are run in
    several ways to see whether the model keeps the promises that every method relies on; see
    :func:`xrnnbench.inspect`.

    Args:
        model: any module that takes (inputs) or (inputs, lengths) and returns scores float[B, K] or float[B]; or such a
            function of arrays, which only methods without gradients can explain. A hidden state that it takes as an
            argument starts at zeros.
        inputs: int64[B, T] tokens or float[B, T, D] features; features are brought to the type of the model's weights.
            Numbers beyond the lengths are not looked at. A list of sequences of different lengths, or a packed
            sequence, brings its own lengths.
        lengths: int64[B]; by default all sequences have T steps.
        method: a method or its spec, such as ``"integrated-gradients:steps=64"``.
        target: index of the explained output, one for all or int64[B]; by default the predicted class, or output 0.
        reference: values of removed features, of any shape that broadcasts to that of the inputs; by default zeros, or
            for tokens the padding token.
        seed: seed of methods that draw random numbers.
        background: other sequences like the inputs, for methods that draw replacements from them.
        outputs: whether the model returns ``"logits"``, ``"probabilities"`` or ``"values"`` (regression), or has one
            output for two classes, ``"binary-logit"`` or ``"binary-probability"``. By default classes; a single output
            is that of a binary classifier unless the targets are other numbers than 0 and 1.
        targets: correct outputs, classes int64[B] or values float[B, K], for methods that measure the quality of the
            model.
        context: further inputs of the model, arrays [B, …] by the name of forward's parameter, which are not perturbed.
            A second sequence, such as the output of a decoder so far, is context. What runs along the steps, [B, T, …],
            is cut with them. A hidden state may be a tuple of tensors.
        step: index of the explained output step, one for all or int64[B], for a model that returns scores
            float[B, U, K].
        part: index or key of the scores in the outputs of a model that returns a tuple or a mapping.
        calling: further options of :class:`xrnnbench.tasks.custom.calling_options.Calling`: ``attention`` (index or key
            of the attention weights in what the model returns), ``batch_first`` (False if the model takes, and is
            given, [T, B, …]), ``time_first_scores``, ``padding`` (``"keep"`` to run all at the given width with the
            given padding, ``"cut"`` to run sequences of one length at a time), ``along`` (names of the context that
            runs along the steps), ``batch_size`` (the only one that the model takes), ``contract`` (``"explain"`` to
            explain a model that breaks a promise all the same) and ``contract_tolerance``.

    Returns:
        values float[B, T] or float[B, T, D], 0 beyond each sequence's length.

    Raises:
        DataError: the inputs, the target or the model's outputs do not fit each other, or the model breaks a promise.
        UsageError: there is no such method, or it cannot explain this model.
        UnsupportedModelError: the method has no exact answer for this model.
        ContractError: the method or the model broke its contract.
    """
    options = calling_of({"outputs": outputs, "part": part} | calling, ARGUMENTS)
    with torch.inference_mode(mode=False):
        subject, _, _ = checked_subject(
            model,
            inputs,
            lengths,
            target,
            reference=reference,
            background=background,
            targets=targets,
            context=context,
            step=step,
            calling=options,
        )
        return explain_subject(subject, method, seed, targets=targets is not None)


def explain_subject(subject: Subject, method: str | Explainer, seed: int, *, targets: bool = True) -> Attribution:
    """Attribution of a subject by one method.

    Args:
        subject: the subject to explain.
        method: a method or its spec.
        seed: seed of methods that draw random numbers.
        targets: whether the targets of the batch are known, and not only placeholders.

    Raises:
        UsageError: there is no such method, or it cannot explain this subject.
    """
    if not isinstance(method, (str, Plugin)):
        raise UsageError(
            f"The method is a {type(method).__name__}: give its name, such as 'occlusion', or an instance."
        )
    explainer = cast("Explainer", build("method", method))
    if "targets" in explainer.needs and not targets:
        raise UsageError(
            f"{explainer.name!r} measures the quality of the model, which needs the correct outputs: give targets."
        )
    if reason := explainer.applicable(subject):
        raise UsageError(f"{explainer.name!r} cannot explain {subject.label}: {reason}.")
    return explainer.explain(subject, seed)


def checked_subject(  # noqa: PLR0913  # as above
    model: nn.Module | Callable[..., Any],
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None = None,
    target: int | ArrayLike | Tensor | None = None,
    *,
    reference: ArrayLike | Tensor | None = None,
    background: Batch | ArrayLike | Tensor | None = None,
    targets: ArrayLike | Tensor | None = None,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | ArrayLike | Tensor | None = None,
    calling: Calling = _DEFAULTS,
) -> tuple[Subject, Contract, tuple[str, ...]]:
    """Subject of a user's model and data, its measured contract, and what was assumed; arguments as in :func:`explain`.

    Raises:
        DataError: the model and the data do not fit each other, or the model breaks a promise.
    """
    label = _name(model)
    # the targets of the batch are placeholders where none are given; `explain_subject` refuses methods that read them
    ready = prepared(
        model,
        inputs,
        lengths,
        targets,
        label=label,
        calling=calling,
        reference=reference,
        background=background,
        context=context,
        step=step,
    )
    subject = Subject(
        ready.model,
        ready.batch,
        ready.reference,
        target=_target(target, len(ready.batch)),  # type: ignore[arg-type]  # None asks for the prediction
        background=_copied(ready.background),
        outputs_are=ready.outputs,
        label=label,
    ).check()
    _check_targets(subject, known=ready.known)
    contract = contract_of(subject, calling)
    return dataclasses.replace(subject, caveats=contract.caveats), contract, ready.notes


def _name(model: object) -> str:
    """Name of a model in messages: that of its class, or of its function."""
    return str(getattr(model, "__name__", type(model).__name__))


def _target(target: int | ArrayLike | Tensor | None, count: int) -> Tensor | None:
    """Target as int64[B]; None for the prediction."""
    if target is None:
        return None
    expected = "give the number of an output, from 0, or one for each sequence, int64[B]"
    try:
        indices = torch.as_tensor(target)
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


def _check_targets(subject: Subject, *, known: bool) -> None:
    """Check that targets, if they are known, are indices of the outputs float[B, K] or have their shape."""
    outputs, targets, label = subject.batch_outputs, subject.batch.targets, subject.label
    if not known:
        return
    if not subject.classification and targets.shape != outputs.shape:
        raise DataError(
            f"The targets are values {list(targets.shape)}, and {label} returns {list(outputs.shape)}: give a target "
            "for each output."
        )
    wrong = (targets < 0) | (targets >= outputs.shape[1])
    if subject.classification and wrong.any():
        raise DataError(
            f"Sequence {int(wrong.nonzero()[0])} has target {int(targets[wrong][0])}, and {label} has "
            f"{outputs.shape[1]} outputs: classes go from 0 to {outputs.shape[1] - 1}."
        )
