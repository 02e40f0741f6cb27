"""Explanation of a user's own module by one call, without a task, a suite or a folder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...methods.joint_attribution import JointAttribution
from ...tasks.custom.own_subject import divided, own_subject
from .every_step import StepAttributions, explain_every_step
from .explain_subject import explain_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from ...methods.base import Attribution, Explainer
    from ...tasks.data.batch import Outputs

# Arguments of an explanation beside those about the data and the options of its model.
OTHERS = ("method", "seed")


def explain(  # noqa: PLR0913, PLR0917  # one argument for each plain thing a user may have
    model: nn.Module | Callable[..., Any],
    inputs: Any,  # noqa: ANN401  # an array, or a container of arrays
    lengths: Any = None,  # noqa: ANN401  # an array, or arrays by the names of inputs
    method: str | Explainer = "deeplift",
    target: int | str | ArrayLike | Tensor | None = None,
    reference: Any = None,  # noqa: ANN401  # as the inputs, or one number
    seed: int = 0,
    background: Any = None,  # noqa: ANN401  # as the inputs, or a batch
    outputs: Outputs | None = None,
    targets: ArrayLike | Tensor | None = None,
    context: Mapping[str, ArrayLike | Tensor] | None = None,
    step: int | Literal["all"] | ArrayLike | Tensor | None = None,
    part: int | str | None = None,
    **calling: Any,  # noqa: ANN401  # the options of Calling, which checks them
) -> Attribution | JointAttribution | StepAttributions:
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
            sequence, brings its own lengths. Several inputs are explained together: a mapping, a tuple, a named tuple
            or a dataclass of arrays [B, …], nested as the model takes it. Floats are features; whole numbers are ids of
            categories, which are explained through their embeddings; lengths and masks are handed over as they are.
        lengths: int64[B]; by default all sequences have T steps. Of several inputs, those of all that have as many
            steps as the first one, or by the names of inputs.
        method: a method or its spec, such as ``"integrated-gradients:steps=64"``.
        target: the explained output, its number or its name in ``names``, one for all or [B]; by default the predicted
            class, or output 0.
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
            float[B, U, K]; ``"all"`` for all of them at once: methods that only run the model pay for one.
        part: index or key of the scores in the outputs of a model that returns a tuple or a mapping.
        calling: further options of :class:`xrnnbench.tasks.custom.calling_options.Calling`: ``attention`` (index or key
            of the attention weights in what the model returns), ``batch_first`` (False if the model takes, and is
            given, [T, B, …]), ``time_first_scores``, ``padding`` (``"keep"`` to run all at the given width with the
            given padding, ``"cut"`` to run sequences of one length at a time), ``along`` (names of the context that
            runs along the steps), ``padding_side`` (``"left"`` for left-padded inputs), ``batch_size`` (the only one
            that the model takes), ``contract`` (``"explain"`` to explain a model that breaks a promise all the same)
            and ``contract_tolerance``; ``layer`` (dotted name of a layer, such as ``"encoder"``, whose output sequence
            is explained in the place of the inputs: values float[B, T, H]); and ``truth``, ``granularity``, ``names``
            and ``ids``, as for :func:`xrnnbench.task_from_model`.

    Returns:
        values float[B, T] or float[B, T, D], 0 beyond each sequence's length; of several inputs, a
        :class:`JointAttribution` with values by the name of the input, in its shape; of all output steps,
        :class:`StepAttributions` with values float[B, U, T(, D)].

    Raises:
        DataError: the inputs, the target or the model's outputs do not fit each other, or the model breaks a promise.
        UsageError: there is no such method, or it cannot explain this model.
        UnsupportedModelError: the method has no exact answer for this model.
        ContractError: the method or the model broke its contract.
    """
    given = {
        "target": target,
        "reference": reference,
        "background": background,
        "outputs": outputs,
        "targets": targets,
        "context": context,
        "step": step,
        "part": part,
    }
    every = isinstance(step, str)
    if every and step != "all":
        raise UsageError(f"step={step!r} is no output step: give a number, or 'all'.")
    data, options = divided(given | calling | ({"step": 0} if every else {}), OTHERS)
    with torch.inference_mode(mode=False):
        made = own_subject(model, inputs, lengths, label=label_of(model), calling=options, **data)
        if every:
            if made.left:
                raise UsageError("step='all' is for sequences padded on the right: give them so.")
            return explain_every_step(made.subject, method, seed, made.target)
        attribution = explain_subject(made.subject, method, seed)
    if made.subject.batch.layout is not None:
        return JointAttribution(attribution, made.subject.batch.layout)
    if not made.left:
        return attribution
    reference_values = attribution.reference
    return dataclasses.replace(
        attribution,
        values=made.aligned(attribution.values),
        reference=None if reference_values is None else made.aligned(reference_values),
    )


def label_of(model: object) -> str:
    """Name of a model in messages: that of its class, or of its function."""
    return str(getattr(model, "__name__", type(model).__name__))
