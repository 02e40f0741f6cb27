"""Task made of a user's own model and data."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from ...errors import DataError
from ...fingerprints import fingerprint, tensors_fingerprint
from ..base import Task
from ..data.batch import Batch, Granularity, Names, Outputs, Truth
from ..engine.adapters import PredictFunction
from ..models.retraining import Retraining
from ..subject import Subject
from .arrays import retraining_from, truths_from
from .calling_options import calling_of
from .preparing import contract_of, prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike

_ARGUMENTS = (
    "reference", "truth", "background", "granularity", "names", "context", "step", "retraining", "targets", "lengths",
)  # fmt: skip
_LABEL = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, eq=False)
class GivenTask(Task):
    """A user's trained model with the sequences to explain.

    Made by :func:`task_from_model`. The task has one model (seed 0) and the name that the user gives it. Stored results
    are reused only while the weights, the data and the code of the model's classes stay the same. The model's
    competence is not measured.

    Truth: as given.

    Attributes:
        label: name of the task, in kebab-case.
        model: module taking (inputs) or (inputs, lengths) and returning scores float[B, K].
        batch: the sequences to explain.
        reference: replacement of removed features, with the shape and dtype of ``batch.inputs``.
        background: other sequences, from which replacements may be drawn.
        outputs: kind of the model's outputs.
        granularity: see :class:`Subject`.
        names: names of features, outputs and tokens.
        retraining: recipe for training such a model again; None if unknown.
        caveats: promises that the model breaks, a sentence each; see :mod:`xrnnbench.tasks.contract`.
    """

    name: ClassVar[str] = "given"
    application: ClassVar[str] = "given"
    source: ClassVar[str] = "given by the user"
    licence: ClassVar[str] = "the user's"
    citation: ClassVar[str] = "the user's"
    trainable: ClassVar[bool] = False

    label: str
    model: nn.Module = field(repr=False)
    batch: Batch = field(repr=False)
    reference: Tensor = field(repr=False)
    background: Batch | None = field(default=None, repr=False)
    outputs: Outputs = "logits"
    granularity: Granularity | None = None
    names: Names = field(default_factory=Names, repr=False)
    retraining: Retraining | None = field(default=None, repr=False)
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # results carry the user's name for the task, not the name of the class
        object.__setattr__(self, "name", self.label)

    @classmethod
    def of(  # noqa: PLR0913  # the signature is the contract with users
        cls,
        model: nn.Module | Callable[..., Any],
        inputs: ArrayLike | Tensor,
        lengths: ArrayLike | Tensor | None,
        targets: ArrayLike | Tensor,
        *,
        reference: ArrayLike | Tensor | None = None,
        truth: Truth | Mapping[str, Truth] | None = None,
        label: str = "my-model",
        background: Batch | ArrayLike | Tensor | None = None,
        granularity: Granularity | None = None,
        names: Names | None = None,
        context: Mapping[str, ArrayLike | Tensor] | None = None,
        step: int | ArrayLike | Tensor | None = None,
        retraining: Retraining | None = None,
        ids: Sequence[str] = (),
        **calling: Any,  # noqa: ANN401  # the options of Calling, which checks them
    ) -> GivenTask:
        """Make a task of a user's model and data, after checking them and the promises that the model must keep.

        Args:
            model: a module on the CPU taking (inputs) or (inputs, lengths), returning scores; or a plain function of
                arrays that does. A function has no gradients, so only methods without gradients explain it.
            inputs: tokens [B, T] (whole numbers) or features [B, T, D], right-padded; tensors or NumPy arrays.
                Features are converted to the floating-point dtype of the model. Numbers beyond the lengths are not
                looked at. A list of sequences of different lengths, or a packed sequence, brings its own lengths.
            lengths: [B]; None if all sequences have the full length.
            targets: classes [B] (whole numbers), or values [B] or [B, K]. For a model with one output, 0 and 1 are
                classes, whatever their type.
            reference: replacement of removed features, of the shape of inputs or broadcast to it. By default 0 for
                features; for tokens the ``padding_idx`` of the model's embedding, or token 0.
            truth: true relevance of the inputs to the outputs, if known; several readings by name.
            label: name of the task, in kebab-case.
            background: other inputs of the same kind, full-length if not a :class:`Batch`.
            granularity: whether steps or cells are explained; see :class:`Subject`.
            names: names of features, outputs and tokens.
            context: further inputs of the model, arrays [B, …] by the name of forward's parameter; never perturbed.
                What runs along the steps, [B, T, …], is cut with them. A hidden state may be a tuple of tensors.
            step: index of the explained output step, one for all sequences or [B], for a model that returns scores
                float[B, U, K].
            retraining: recipe for training such a model again, for the metrics and interventions that need it; only
                for a module that takes (inputs, lengths) and returns scores.
            ids: what identifies each sequence, B different strings; empty where nothing does.
            calling: ``outputs``, ``part``, ``attention``, ``batch_first``, ``time_first_scores``, ``padding``,
                ``along``, ``batch_size``, ``contract`` and ``contract_tolerance``; see
                :class:`xrnnbench.tasks.custom.calling_options.Calling`.

        Raises:
            DataError: the model or the data do not fit, or the model breaks a promise; the message names the problem
                and the way out.
        """
        _check_label(label)
        options = calling_of(calling, (*_ARGUMENTS, "name"))
        _check_choice("granularity", granularity, (None, *get_args(Granularity)))
        with torch.inference_mode(mode=False):
            ready = prepared(
                model,
                inputs,
                lengths,
                targets,
                label=f"task {label!r}",
                calling=options,
                reference=reference,
                background=background,
                context=context,
                step=step,
                truths=truths_from(truth),
            )
            task = cls(
                label=label,
                model=ready.model,
                batch=replace(ready.batch, ids=tuple(ids)),
                reference=ready.reference,
                background=ready.background,
                outputs=ready.outputs,
                granularity=granularity,
                names=names or Names(),
                retraining=retraining_from(retraining, ready.batch, ready.model, label),
            )
            subject = task.subject(0)
            task._check_outputs(subject.batch_outputs)
            object.__setattr__(task, "caveats", contract_of(subject, options).caveats)
        return task

    def subject(self, seed: int) -> Subject:  # noqa: ARG002  # there is one model
        """See :meth:`Task.subject`; the same for every seed."""
        return Subject(
            model=self.model,
            batch=self.batch,
            reference=self.reference,
            background=self.background,
            outputs_are=self.outputs,
            granularity=self.granularity,
            names=self.names,
            label=f"task {self.label!r}",
            retraining=self.retraining,
            caveats=self.caveats,
        ).check()

    @property
    def spec(self) -> str:
        """Name of the task, as given by the user."""
        return self.label

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters that can be written as text; :meth:`identity` has fingerprints of all others."""
        return {"outputs": self.outputs, "granularity": self.granularity}

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`; includes fingerprints of weights, data, code and outputs."""
        weights = tensors_fingerprint(dict(self.model.named_parameters()) | dict(self.model.named_buffers()))
        return super().identity() | {
            "weights": weights,
            "data": tensors_fingerprint(dict(self._data())),
            "code": fingerprint([repr(self.model), *_sources(self.model), *_recipe(self.retraining)]),
            "behaviour": self._behaviour(),
        }

    def _behaviour(self) -> str:
        """Fingerprint of the outputs for batch and reference.

        The outputs may depend on state that no other fingerprint covers.
        """
        subject = self.subject(0)
        return tensors_fingerprint({"batch": subject.batch_outputs, "reference": subject.reference_outputs})

    def _data(self) -> Iterator[tuple[str, Tensor]]:
        """Names and values of all tensors that the identity covers, except the weights."""
        retraining = self.retraining
        batches = {"batch": self.batch, "background": self.background}
        batches |= {"train": retraining.train, "test": retraining.test} if retraining is not None else {}
        for name, batch in batches.items():
            if batch is not None:
                yield f"{name} inputs", batch.inputs
                yield f"{name} lengths", batch.lengths
                yield f"{name} targets", batch.targets
        yield "reference", self.reference
        for name, value in self.batch.context.items():
            yield f"context {name}", value
        for name, truth in self.batch.truths.items():
            meaning = f"{truth.semantics} {truth.signed} {truth.toward}{'' if truth.retrospective else ' by step'}"
            yield f"truth {name} {meaning}", truth.values

    def _check_outputs(self, outputs: Tensor) -> None:
        """Refuse classes beyond the outputs float[B, K], or target values of another shape."""
        targets, count = self.batch.targets, outputs.shape[1]
        if self.outputs == "values":
            if targets.shape != outputs.shape:
                raise DataError(
                    f"The targets are values {list(targets.shape)}, and {self.label!r} returns {list(outputs.shape)}: "
                    "give a target for each output."
                )
            return
        wrong = (targets < 0) | (targets >= count)
        if wrong.any():
            raise DataError(
                f"Sequence {int(wrong.nonzero()[0])} has target {int(targets[wrong][0])}, and {self.label!r} has "
                f"{count} outputs: classes go from 0 to {count - 1}."
            )


def task_from_model(
    model: nn.Module | Callable[..., Any],
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None,
    targets: ArrayLike | Tensor,
    reference: ArrayLike | Tensor | None = None,
    truth: Truth | Mapping[str, Truth] | None = None,
    name: str = "my-model",
    **options: Any,  # noqa: ANN401  # passed on to GivenTask.of, which types and checks them
) -> GivenTask:
    """Task of a user's own model and data; arguments, options and errors are those of :meth:`GivenTask.of`."""
    return GivenTask.of(model, inputs, lengths, targets, reference=reference, truth=truth, label=name, **options)


def _check_label(label: str) -> None:
    """Refuse a task name that is not kebab-case."""
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise DataError(f"The name {label!r} is not kebab-case, such as 'my-model': use a-z, 0-9 and hyphens.")


def _sources(model: nn.Module) -> list[str]:
    """Source code of the model's classes and functions, for the fingerprint.

    Classes of torch are left out: the model's ``repr`` names them, and the run records the version of torch.
    """
    classes = {type(module) for module in model.modules()}
    own_classes = sorted(
        (class_ for class_ in classes if not class_.__module__.startswith("torch.")),
        key=lambda class_: (class_.__module__, class_.__qualname__),
    )
    functions = [module.function for module in model.modules() if isinstance(module, PredictFunction)]
    return [
        *(f"{class_.__module__}.{class_.__qualname__}\n{_source(class_)}" for class_ in own_classes),
        *(
            f"{getattr(function, '__qualname__', type(function).__name__)}\n{_source(function)}"
            for function in functions
        ),
    ]


def _recipe(retraining: Retraining | None) -> list[str]:
    """Everything but the data that determines a retrained model, as text for the fingerprint."""
    if retraining is None:
        return []
    basis = retraining.options.basis(retraining.train)
    sources = (_source(part) for part in (type(retraining), retraining.network))
    return [repr(retraining.recipe), *sources, *([fingerprint(basis)] if basis else [])]


def _source(part: object) -> str:
    """Source code of a class or function; empty if it is not available."""
    try:
        return inspect.getsource(part)  # type: ignore[arg-type]  # an object without source raises TypeError
    except (OSError, TypeError):  # typed at a prompt: only the name is known
        return ""


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices if choice is not None)
        raise DataError(f"{name}={value!r} is not one of {listed}: say one of these, or leave it out.")
