"""Task made of a user's own model and data."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ...errors import DataError
from ...file_modules import stable_name
from ...fingerprints import fingerprint, tensors_fingerprint
from ...plugins import kebab
from ..base import Task
from ..data.batch import Batch, Granularity, Names, Outputs, Truth
from ..engine.adapters import PredictFunction
from ..models.retraining import Retraining
from ..subject import Subject
from .arrays import retraining_from
from .own_subject import divided, own_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike

    from .calling_options import Calling

    Model = nn.Module | Callable[..., Any]


@dataclass(frozen=True, eq=False)
class GivenTask(Task):
    """A user's trained model with the sequences to explain.

    Made by :func:`task_from_model`. The task has one model (seed 0), or several trainings of it (seeds 0, 1, …), and
    the name that the user gives it. Stored results are reused only while the weights, the data and the code of the
    model's classes stay the same. The model's competence is not measured, so every model is explained.

    Truth: as given.

    Attributes:
        label: name of the task, any text.
        model: module taking (inputs) or (inputs, lengths) and returning scores float[B, K].
        batch: the sequences to explain.
        reference: replacement of removed features, with the shape and dtype of ``batch.inputs``.
        background: other sequences, from which replacements may be drawn.
        outputs: kind of the model's outputs.
        granularity: see :class:`Subject`.
        names: names of features, outputs and tokens.
        retraining: recipe for training such a model again; None if unknown.
        caveats: promises that the model breaks, a sentence each; see :mod:`xrnnbench.tasks.contract`.
        target: int64[B], the explained outputs; None for the predicted ones.
        targets_known: whether the targets of the batch are the correct outputs, and not only placeholders.
        further: tasks of the other trainings of the model, on the same data.
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
    target: Tensor | None = field(default=None, repr=False)
    targets_known: bool = True
    further: tuple[GivenTask, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        # folders carry the user's name for the task, not the name of the class
        object.__setattr__(self, "name", kebab(self.label))

    @classmethod
    def of(
        cls,
        model: Model | Sequence[Model],
        inputs: ArrayLike | Tensor,
        lengths: ArrayLike | Tensor | None = None,
        targets: ArrayLike | Tensor | None = None,
        *,
        label: str = "my-model",
        retraining: Retraining | None = None,
        **options: Any,  # noqa: ANN401  # the arguments of own_subject and the options of Calling, which check them
    ) -> GivenTask:
        """Make a task of a user's model and data; arguments and errors are those of :func:`task_from_model`."""
        if not isinstance(label, str) or not label.strip():
            raise DataError(f"The name {label!r} is no name for a task: give some text, such as 'my-model'.")
        data, calling = divided(options, ("name", "retraining"))
        data |= {"inputs": inputs, "lengths": lengths, "targets": targets}
        models: list[Any] = list(model) if isinstance(model, list | tuple | nn.ModuleList) else [model]
        if not models:
            raise DataError(f"Task {label!r} is given no model: give one, or several trainings of one.")
        with torch.inference_mode(mode=False):
            tasks = [cls._single(each, data, calling, label, retraining) for each in models]
        kinds = {(task.outputs, task.subject(0).batch_outputs.shape[1]) for task in tasks}
        if len(kinds) > 1:
            raise DataError(f"The models of task {label!r} have different outputs: give trainings of one model.")
        return replace(tasks[0], further=tuple(tasks[1:]))

    @classmethod
    def _single(
        cls, model: Model, data: Mapping[str, Any], calling: Calling, label: str, retraining: Retraining | None
    ) -> GivenTask:
        """The task of one model."""
        made = own_subject(model, label=f"task {label!r}", calling=calling, **data)
        subject = made.subject
        return cls(
            label=label,
            model=subject.model,
            batch=subject.batch,
            reference=subject.reference,
            background=subject.background,
            outputs=subject.outputs_are,
            granularity=data.get("granularity"),
            names=subject.names,
            retraining=retraining_from(retraining, subject.batch, subject.model, label),
            caveats=subject.caveats,
            target=made.target,
            targets_known=subject.targets_known,
        )

    @property
    def model_seeds(self) -> tuple[int, ...]:
        """See :attr:`Task.model_seeds`: one for each training that was given."""
        return tuple(range(1 + len(self.further))) if self.further else ()

    def subject(self, seed: int) -> Subject:
        """See :meth:`Task.subject`; the only model for every seed, or the training of this number.

        Raises:
            DataError: there is no such training.
        """
        if self.further and seed:
            if not 0 < seed <= len(self.further):
                raise DataError(f"Task {self.label!r} has {1 + len(self.further)} models, and no seed {seed}.")
            return self.further[seed - 1].subject(0)
        return Subject(
            model=self.model,
            batch=self.batch,
            reference=self.reference,
            target=self.target,  # type: ignore[arg-type]  # None asks for the prediction
            background=self.background,
            outputs_are=self.outputs,
            granularity=self.granularity,
            names=self.names,
            label=f"task {self.label!r}",
            retraining=self.retraining,
            caveats=self.caveats,
            targets_known=self.targets_known,
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
        own = {
            "weights": weights,
            "data": tensors_fingerprint(dict(self._data())),
            "code": fingerprint([repr(self.model), *_sources(self.model), *_recipe(self.retraining)]),
            "behaviour": self._behaviour(),
        }
        # what was not given adds nothing, so that identities from before are the same
        further = {
            "label": self.label if self.label != self.name else None,
            "target": None if self.target is None else tensors_fingerprint({"target": self.target}),
            "targets": None if self.targets_known else "not known",
            "ids": fingerprint(self.batch.ids) if self.batch.ids else None,
            "further": [task.identity() for task in self.further] or None,
        }
        return super().identity() | own | {name: value for name, value in further.items() if value is not None}

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


def task_from_model(
    model: Model | Sequence[Model],
    inputs: ArrayLike | Tensor,
    lengths: ArrayLike | Tensor | None = None,
    targets: ArrayLike | Tensor | None = None,
    reference: ArrayLike | Tensor | None = None,
    truth: Truth | Mapping[str, Truth] | None = None,
    name: str = "my-model",
    **options: Any,  # noqa: ANN401  # passed on to GivenTask.of, which types and checks them
) -> GivenTask:
    """Task of a user's own model and data, to be used in a grid next to other tasks.

    Arguments have the meaning that they have in :func:`xrnnbench.explain`. All are copied and never changed. The model
    is checked before anything is explained, as there.

    Args:
        model: a module on the CPU, or a plain function of arrays; or several trainings of one model in a list, which
            are the seeds 0, 1, … of the task.
        inputs: tokens [B, T] (whole numbers) or features [B, T, D].
        lengths: [B]; by default all sequences have T steps.
        targets: correct outputs: classes [B], numbers or names of outputs, or values [B] or [B, K]. Without them,
            methods that measure the quality of the model do not apply.
        reference: replacement of removed features, broadcast to the inputs; by default 0 for features; for tokens the
            ``padding_idx`` of the model's embedding, or token 0.
        truth: true relevance of the inputs to the outputs, if known, in the layout of the inputs; several readings by
            name.
        name: name of the task in results, any text; folders are called by its kebab-case.
        options: ``target`` (the explained output, its number or name, one for all or [B]; by default the predicted
            class, or output 0), ``background``, ``context``, ``step``, ``granularity``, ``names``, and ``ids``
            (identifiers of the sequences, by which the gate recognises them in other runs); ``retraining``, a recipe of
            training such a model again, for metrics and interventions that need it (only for a module that takes
            (inputs, lengths) and returns scores); and the options of calling, such as ``outputs``, ``part``,
            ``attention``, ``batch_first`` and ``padding``: see
            :class:`xrnnbench.tasks.custom.calling_options.Calling`.

    Raises:
        DataError: the model or the data do not fit, or the model breaks a promise; the message names the problem and
            the way out.
    """
    return GivenTask.of(model, inputs, lengths, targets, reference=reference, truth=truth, label=name, **options)


def _sources(model: nn.Module) -> list[str]:
    """Source code of the model's classes and functions, for the fingerprint.

    Classes of torch are left out: the model's ``repr`` names them, and the run records the version of torch.
    """
    classes = {type(module) for module in model.modules()}
    own_classes = sorted(
        (class_ for class_ in classes if not class_.__module__.startswith("torch.")),
        key=lambda class_: (stable_name(class_.__module__), class_.__qualname__),
    )
    functions = [module.function for module in model.modules() if isinstance(module, PredictFunction)]
    return [
        *(f"{stable_name(class_.__module__)}.{class_.__qualname__}\n{_source(class_)}" for class_ in own_classes),
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
