"""The subject of an explanation: a trained model with the batch to explain, and the only way to run that model.

Every forward and backward pass goes through here, so that it can be counted exactly, run once for identical inputs,
batched at a good size, kept from seeing padding, and done without leaving a trace on the user's module.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from ..errors import ContractError, DataError, UnsupportedModelError, XrnnbenchError
from .data.batch import Batch, Competence, Granularity, Names, Outputs
from .engine.batching import device_of, in_batches, rows_per_batch
from .engine.calling import (
    OUTPUT_STEP,
    Attentive,
    EmbeddedModel,
    Entry,
    PredictFunction,
    TargetScore,
    call,
    check_output,
    check_scores,
    find_entry,
    last_read,
    takes_lengths,
)
from .engine.cost import Cost, CountingHook
from .engine.isolation import undisturbed
from .engine.run_variants import Runner
from .engine.shared_prefixes import Shareable, large, shareable
from .engine.variants import Given, Variants
from .models.origins import GIVEN
from .models.retraining import Retraining

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Attentive", "Cost", "Subject"]

Scale = Literal["raw", "probability"]

_EMBEDDING_TOLERANCE = 1e-4
# Sequences on which a model's offer to share is tried.
_SHARES_SHOWN = 4


@dataclass
class _Isolation:
    """Whether somebody is inside; shared by a token subject and its embedding view, which are one model."""

    entered: bool = False


@dataclass(eq=False)
class Subject:
    """A model, the batch whose outputs are to be explained, and what stands for absence.

    Attributes:
        model: any module taking (inputs) or (inputs, lengths) and returning scores float[B, K] or float[B]. A second
            argument is taken for lengths when its name contains ``len``.
        batch: the B sequences to explain.
        reference: the shape and dtype of ``batch.inputs``: what a removed feature is replaced with.
        target: int64[B], which output of each sequence is explained; by default the predicted class, or output 0.
        background: other sequences of the same kind, from which replacements may be drawn.
        outputs_are: ``"logits"``, ``"probabilities"`` (both: classification) or ``"values"`` (regression).
        granularity: ``"step"`` if a step is replaced and explained as a whole, ``"cell"`` for each feature of a step.
        competence: how good the model is; None where nobody measured it.
        label: what to call it in messages.
        retraining: how to train such a model again; None where nobody knows.
        model_origin: where the model is from; see :mod:`xrnnbench.tasks.models.origins`.
        cost: passes so far.
    """

    model: nn.Module
    batch: Batch
    reference: Tensor
    target: Tensor = field(default=None)  # type: ignore[assignment]  # None is replaced by the prediction on creation
    background: Batch | None = None
    outputs_are: Outputs = "logits"
    granularity: Granularity | None = None
    competence: Competence | None = None
    names: Names = field(default_factory=Names)
    label: str = "the model"
    retraining: Retraining | None = field(default=None, repr=False)
    model_origin: str = GIVEN
    cost: Cost = field(default_factory=Cost)
    _isolation: _Isolation = field(default_factory=_Isolation, repr=False)

    def __post_init__(self) -> None:
        if self.reference.shape != self.batch.inputs.shape or self.reference.dtype != self.batch.inputs.dtype:
            raise DataError(
                f"The reference is {self.reference.dtype}{list(self.reference.shape)} and the inputs are "
                f"{self.batch.inputs.dtype}{list(self.batch.inputs.shape)}: they must agree."
            )
        if self.granularity is None:
            self.granularity = "step" if self.batch.tokens or self.batch.inputs.shape[2] == 1 else "cell"
        if self.target is None:
            self.target = torch.zeros(len(self), dtype=torch.int64)
            if self.classification:
                self.target = self._first_run().argmax(1)
        self._check_target()

    def __len__(self) -> int:
        return len(self.batch)

    # ---- shapes -------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an attribution: (B, T) or (B, T, D)."""
        return tuple(self.batch.inputs.shape if self.granularity == "cell" else self.batch.inputs.shape[:2])

    @cached_property
    def valid(self) -> Tensor:
        """bool, :attr:`shape`: the features there are, False on padding."""
        valid = self.batch.valid
        return valid[:, :, None].expand(self.shape) if self.granularity == "cell" else valid

    def features(self, granularity: Granularity) -> Tensor:
        """bool[B, N]: the features there are, steps (N = T) or cells (N = T·D), in the order of time."""
        valid = self.batch.valid
        if granularity == "step":
            return valid
        return valid[:, :, None].expand(self.batch.inputs.shape).flatten(1)

    @property
    def classification(self) -> bool:
        """Whether the outputs are scores of classes."""
        return self.outputs_are != "values"

    # ---- running the model --------------------------------------------------------------------------------------

    def outputs(self, variants: Variants) -> Tensor:
        """Scores float[V, K] of variants of the batch's sequences; identical ones are run once.

        Raises:
            ContractError: the model did not return a finite tensor of scores.
        """
        if not len(variants.instance):
            return self.batch_outputs[:0]
        with self.isolated(), torch.no_grad(), self._shorter(variants.lengths(self.batch), variants.instance):
            shared = cast("Shareable", self.model) if self._shares else None
            return replace(self._runner, shared=shared).run(variants)

    def scores(self, variants: Variants, scale: Scale = "raw") -> Tensor:
        """The explained score float[V] of each variant.

        Args:
            variants: sequences derived from those of the batch.
            scale: ``"raw"`` for the output itself (logit, value), ``"probability"`` for the class probability;
                regression has no probabilities and gives the value for both.
        """
        outputs = self.scaled(self.outputs(variants), scale)
        return outputs.gather(1, self.target[variants.instance, None]).squeeze(1)

    def scaled(self, outputs: Tensor, scale: Scale) -> Tensor:
        """Outputs float[V, K] on a scale."""
        return outputs.softmax(1) if scale == "probability" and self.outputs_are == "logits" else outputs

    @cached_property
    def batch_outputs(self) -> Tensor:
        """float[B, K]: the raw outputs for the batch itself; not counted: they are known before anything is asked."""
        return self._uncounted(self.batch.inputs)

    @cached_property
    def reference_outputs(self) -> Tensor:
        """float[B, K]: the raw outputs for the reference; not counted."""
        return self._uncounted(self.reference)

    @property
    def score(self) -> Tensor:
        """f(x), float[B]: the raw explained score of each sequence."""
        return self.batch_outputs.gather(1, self.target[:, None]).squeeze(1)

    @property
    def reference_score(self) -> Tensor:
        """f(x⁰), float[B]: the raw explained score of each reference."""
        return self.reference_outputs.gather(1, self.target[:, None]).squeeze(1)

    def gradients(
        self, points: Tensor, instance: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The raw explained score and its gradient at some points.

        Args:
            points: float[V, T, D], inputs of this subject's kind; of a token model use :meth:`continuous` first.
            instance: int64[V], the sequence each point belongs to (its length, target and context); by default in
                order.
            lengths: int64[V], how many steps each point has; by default as many as its sequence.

        Returns:
            scores float[V] and gradients float[V, T, D], exactly 0 on padding.
        """
        instance = torch.arange(len(points)) if instance is None else instance
        lengths = self.batch.lengths[instance] if lengths is None else lengths
        scores, gradients = points.new_empty(len(points)), torch.zeros_like(points)
        with self.isolated(), torch.enable_grad(), self._shorter(lengths, instance):
            for rows in self._chunks(lengths, gradients=True):
                steps = int(lengths[rows].max())
                chunk = points[rows, :steps].detach().clone().requires_grad_()
                chosen = (
                    self._call(chunk, lengths[rows], instance[rows])
                    .gather(1, self.target[instance[rows], None])
                    .squeeze(1)
                )
                found = torch.autograd.grad(chosen.sum(), chunk, allow_unused=True)[0] if chosen.requires_grad else None
                if found is None:
                    raise UnsupportedModelError(
                        f"{self.label} has no gradient with respect to its inputs (it detaches them, or leaves torch "
                        "on the way): use a perturbation method such as occlusion."
                    )
                scores[rows] = chosen.detach()
                gradients[rows, :steps] = found
        return scores, gradients * (torch.arange(points.shape[1]) < lengths[:, None])[:, :, None]

    @cached_property
    def represents(self) -> bool:
        """Whether :meth:`representations` has an answer; asking runs one sequence, uncounted."""
        before = self.cost.copy()
        row = torch.tensor([int(self.batch.lengths.argmin())])
        try:
            self.representations(self.batch.inputs[row], row)
        except UnsupportedModelError:
            return False
        finally:
            self._restore(before)
        return True

    def representations(self, points: Tensor, instance: Tensor) -> Tensor:
        """What the model reads its scores from: the input of the linear layer that is called last, float[V, H].

        Where that layer reads several output steps at once, the explained one counts.

        Args:
            points: [V, T(, D)], inputs of this subject's kind.
            instance: int64[V], the sequence each point belongs to (its length and context).

        Raises:
            UnsupportedModelError: no linear layer is called, or it does not read one vector for each sequence.
        """
        lengths = self.batch.lengths[instance]
        found: list[tuple[Tensor, Tensor]] = []
        with self.isolated(), torch.no_grad():
            for rows in self._chunks(lengths):
                given = points[rows, : int(lengths[rows].max())], lengths[rows], instance[rows]
                read = last_read(self._base, functools.partial(self._call, *given))
                found.append((rows, self._one_for_each(read, instance[rows]).cpu()))
        return torch.cat([read for _, read in found])[torch.cat([rows for rows, _ in found]).argsort()]

    def _one_for_each(self, read: Tensor | None, instance: Tensor) -> Tensor:
        """float[V, H] from what a layer read, float[V, H] or, for each output step, float[V, U, H]."""
        if read is not None and read.dim() == 3 and OUTPUT_STEP in self.batch.context:  # [V, U, H]
            steps = self.batch.context[OUTPUT_STEP][instance]
            if len(read) == len(instance) and int(steps.max()) < read.shape[1]:
                read = read[torch.arange(len(read)), steps]
        if read is None or read.dim() != 2 or len(read) != len(instance):  # [V, H]
            raise UnsupportedModelError(
                f"{self.label} has no linear layer that reads its scores from one vector for each sequence, so it has "
                "no representation."
            )
        return read

    def scorers(self) -> Iterator[tuple[Tensor, TargetScore]]:
        """The batch in parts of a good size, each with its explained score as a module.

        For methods that must hold the module itself (propagation, captum's). Enter :meth:`isolated` around it; what
        goes through the model is counted there.

        Yields:
            rows int64[R] of the batch, and the score of those rows; cut their inputs to their longest length.
        """
        for rows in self._chunks(self.batch.lengths):
            yield (
                rows,
                TargetScore(self.model, self.batch.lengths[rows], self.target[rows], self.label, self._context(rows)),
            )

    def reduced(self, values: Tensor) -> Tensor:
        """Contributions of cells float[B, T, D] in this subject's :attr:`shape`: summed where a step is one feature."""
        return values.sum(2) if self.granularity == "step" else values

    @property
    def differentiable(self) -> bool:
        """Whether there are gradients to be had: not of a plain function."""
        return not any(isinstance(module, PredictFunction) for module in self.model.modules())

    @property
    def attentive(self) -> bool:
        """Whether the model shows its attention weights (:class:`Attentive`)."""
        return hasattr(self._base, "forward_with_attention")

    def attention(self) -> Tensor:
        """The model's attention weights of the batch, float[B, T], 0 on padding.

        Raises:
            UnsupportedModelError: the model does not show its attention.
        """
        with torch.no_grad():
            return self._attention(gradient=False)[0]

    def attention_gradients(self) -> tuple[Tensor, Tensor]:
        """Attention weights and the derivatives of the raw score with respect to them, both float[B, T].

        Raises:
            UnsupportedModelError: the model does not show its attention.
        """
        with torch.enable_grad():
            return self._attention(gradient=True)

    @cached_property
    def shows_values(self) -> bool:
        """Whether the model also shows what its attention averages; asking runs one sequence, uncounted."""
        if not self.attentive:
            return False
        before = self.cost.copy()
        row = torch.tensor([int(self.batch.lengths.argmin())])
        with self.isolated(), torch.no_grad():
            found = self._attend(self.batch.inputs[row, : int(self.batch.lengths[row])], row)
        self._restore(before)
        return len(found) > 2

    def attention_values(self) -> tuple[Tensor, Tensor]:
        """Attention weights float[B, T] and the sizes float[B, T] of the vectors they average.

        Raises:
            UnsupportedModelError: the model does not show them.
        """
        weights = torch.zeros(self.batch.inputs.shape[:2], dtype=self.batch_outputs.dtype)
        sizes = torch.zeros_like(weights)
        with torch.no_grad():
            for rows, steps, (_, found, *values) in self._attended():
                if not values:
                    raise UnsupportedModelError(
                        f"{self.label} does not show what its attention averages: let forward_with_attention return it "
                        "as a third thing, float[B, T, H]."
                    )
                weights[rows, :steps] = self._at_step(found, rows).cpu()
                sizes[rows, :steps] = values[0].norm(dim=2).cpu()
        return weights * self.batch.valid, sizes * self.batch.valid

    def _attention(self, *, gradient: bool) -> tuple[Tensor, Tensor]:
        weights = torch.zeros(self.batch.inputs.shape[:2], dtype=self.batch_outputs.dtype)
        gradients = torch.zeros_like(weights)
        for rows, steps, (scores, found, *_) in self._attended():
            weights[rows, :steps] = self._at_step(found.detach(), rows).cpu()
            if gradient:
                chosen = scores.gather(1, self.target[rows, None]).sum()
                gradients[rows, :steps] = self._at_step(torch.autograd.grad(chosen, found)[0], rows).cpu()
                self.cost.backward += len(rows)
        return weights * self.batch.valid, gradients * self.batch.valid

    def _at_step(self, weights: Tensor, rows: Tensor) -> Tensor:
        """float[B, T] of what a model shows for each output step, float[B, U, T]."""
        if OUTPUT_STEP not in self.batch.context or weights.dim() != 3:  # [B, U, T]
            return weights
        return weights[torch.arange(len(rows)), self.batch.context[OUTPUT_STEP][rows]]

    def _attended(self) -> Iterator[tuple[Tensor, int, tuple[Tensor, ...]]]:
        """Parts of the batch: rows, their longest length, and what the model shows of its attention to them."""
        if not self.attentive:
            raise UnsupportedModelError(
                f"{self.label} shows no attention: give it a method forward_with_attention(inputs, lengths) that "
                "returns scores and weights, or use a method that does not read attention."
            )
        with self.isolated():
            for rows in self._chunks(self.batch.lengths):
                steps = int(self.batch.lengths[rows].max())
                yield rows, steps, self._attend(self.batch.inputs[rows, :steps], rows)

    @contextmanager
    def isolated(self, doer: str = "") -> Iterator[None]:
        """Inside, the model may be used freely and every sequence through it is counted; outside, nothing shows.

        Entering twice is entering once, so that what is counted is what the outermost user did.
        """
        if self._isolation.entered:
            yield
            return
        with undisturbed(self.model, doer, self._data()):
            self._isolation.entered = True
            handle = self._base.register_forward_hook(CountingHook(self._count), with_kwargs=True)
            try:
                yield
            finally:
                handle.remove()
                self._isolation.entered = False

    # ---- other subjects made from this one ----------------------------------------------------------------------

    def continuous(self) -> Subject:
        """This subject with real-valued inputs: itself, or the token model seen from its embeddings.

        Raises:
            UnsupportedModelError: no embedding through which all of the tokens' influence passes.
        """
        if not self.batch.tokens:
            return self
        if "_continuous" not in self.__dict__:
            self.__dict__["_continuous"] = self._embedded()
        found: Subject = self.__dict__["_continuous"]
        return found

    def replaced(self, inputs: Tensor) -> Subject:
        """The same model, targets and references with other inputs of the same shape, and a cost of its own."""
        batch = replace(self.batch, inputs=inputs)
        return replace(self, batch=batch, cost=Cost(), _isolation=_Isolation())

    def select(self, rows: Tensor | slice) -> Subject:
        """Some of the sequences, with a cost of its own."""
        batch = self.batch.select(rows)
        reference = self.reference[rows][:, : batch.inputs.shape[1]]
        return replace(
            self,
            batch=batch,
            reference=reference,
            target=self.target[rows],
            cost=Cost(),
            _isolation=_Isolation(),
        )

    def with_model(self, model: nn.Module) -> Subject:
        """The same question put to another model: its batch, target and references, and a cost of its own.

        Args:
            model: takes and returns what this subject's model does. Of a token model it reads tokens: ask the token
                subject, and then for its :meth:`continuous`.
        """
        return replace(self, model=model, competence=None, cost=Cost(), _isolation=_Isolation())

    # ---- the inside ---------------------------------------------------------------------------------------------

    @property
    def _base(self) -> nn.Module:
        """The user's module, below an embedding view."""
        return self.model.model if isinstance(self.model, EmbeddedModel) else self.model

    def _data(self) -> dict[str, Tensor]:
        """What is shared with other methods and so must not be written to, by the name an error gives it."""
        found = {
            "the inputs": self.batch.inputs,
            "the lengths": self.batch.lengths,
            "the targets": self.batch.targets,
            "the reference": self.reference,
            "the outputs": self.target,
            **{f"the context {name!r} of what": value for name, value in self.batch.context.items()},
        }
        if self.background is not None:
            found["the background of what"] = self.background.inputs
        if "_continuous" in self.__dict__:
            found["the embedded inputs"] = self.continuous().batch.inputs
            found["the embedded reference"] = self.continuous().reference
        return found | {f"the truth {name!r} of what": truth.values for name, truth in self.batch.truths.items()}

    def _count(self, _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: object) -> None:
        """Forward hook on the user's module: the one place where passes are counted."""
        rows, steps = [*arguments, *named.values()][0].shape[:2]
        self.cost.ran(rows, steps)
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _: self._count_backward(rows))

    def _count_backward(self, rows: int) -> None:
        self.cost.backward += rows

    @cached_property
    def _shares(self) -> bool:
        """Whether variants are run by what they have in common.

        Raises:
            ContractError: the model offers it, and it does not give what forward does.
        """
        if self.batch.context or not shareable(self.model):
            return False
        if not large(cast("Shareable", self.model), self.batch.inputs.shape[1]):
            return False
        few = self.batch.lengths.argsort(stable=True)[-_SHARES_SHOWN:]
        if not self._takes_lengths:
            few = few[self.batch.lengths[few] == self.batch.lengths[few].max()]
        lengths, shown = self.batch.lengths[few], Given(self.batch.inputs[few], few)
        runner = replace(self._runner, shared=cast("Shareable", self.model))
        planned = runner.planned(runner.prints(shown, torch.arange(len(few)), lengths), lengths)
        before = self.cost.copy()
        found = runner.shared_run(shown, torch.arange(len(few)), lengths, planned)
        plain = self._call(shown.inputs[:, : int(lengths.max())], lengths, few)
        self._restore(before)
        if (found - plain).abs().max() > _EMBEDDING_TOLERANCE * (1 + plain.abs().max()):
            raise ContractError(
                f"{self.label} offers to share common beginnings (reader, read_out), and they do not give what its "
                "forward does: mend them, or set shared_directions = 0."
            )
        return True

    @contextmanager
    def _shorter(self, lengths: Tensor, instance: Tensor) -> Iterator[None]:
        """What a model of one fixed length raises when it is given shorter sequences, in a sentence."""
        try:
            yield
        except XrnnbenchError:
            raise
        except Exception as error:
            if not bool((lengths < self.batch.lengths[instance]).any()):
                raise
            reason = " ".join(str(error).split()) or "no reason given"
            raise UnsupportedModelError(
                f"{self.label} cannot take sequences shorter than those it was given ({type(error).__name__}: "
                f"{reason}): use a method that keeps their length, such as occlusion or kernel-shap."
            ) from error

    @property
    def _runner(self) -> Runner:
        return Runner(
            batch=self.batch,
            reference=self.reference,
            call=self._call,
            check=lambda outputs, rows: check_output(outputs, rows, self.label),
            cost=self.cost,
            size=self._rows_per_batch,
            equal=not self._takes_lengths,
            device=device_of(self.model),
        )

    def _chunks(self, lengths: Tensor, *, gradients: bool = False) -> list[Tensor]:
        """Positions into lengths int64[N], in batches."""
        steps = self.batch.inputs.shape[1]
        rows = rows_per_batch(self.model, steps, gradients=True) if gradients else self._rows_per_batch
        return in_batches(lengths, rows, equal=not self._takes_lengths)

    @cached_property
    def _rows_per_batch(self) -> int:
        return rows_per_batch(self.model, self.batch.inputs.shape[1])

    @cached_property
    def _takes_lengths(self) -> bool:
        return takes_lengths(self.model, self.batch.context)

    def _call(self, inputs: Tensor, lengths: Tensor, instance: Tensor) -> Tensor:
        device = device_of(self.model)
        output = call(self.model, inputs.to(device), lengths.to(device), self._context(instance, device))
        return check_output(output, len(inputs), self.label).cpu()

    def _context(self, instance: Tensor, device: torch.device | None = None) -> dict[str, Tensor]:
        return {name: value[instance].to(device) for name, value in self.batch.context.items()}

    def _attend(self, inputs: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        attend, device = cast("Attentive", self.model), device_of(self.model)
        lengths, context = self.batch.lengths[rows].to(device), self._context(rows, device)
        scores, weights, *values = attend.forward_with_attention(inputs.to(device), lengths, **context)
        # forward_with_attention is not forward: the hook does not see it
        self.cost.ran(*inputs.shape[:2])
        if self._at_step(weights, rows).shape != inputs.shape[:2]:
            raise UnsupportedModelError(
                f"{self.label} shows attention of shape {list(weights.shape)} for inputs of "
                f"{list(inputs.shape[:2])} steps."
            )
        # the weights stay where they are: derivatives with respect to them are asked for
        return check_output(scores, len(inputs), self.label).cpu(), weights, *values

    def _uncounted(self, inputs: Tensor) -> Tensor:
        before = self.cost.copy()
        found = self.outputs(Given(inputs))
        self._restore(before)
        return found

    def _restore(self, cost: Cost) -> None:
        """Make undone what was counted since a copy was taken."""
        self.cost.restore(cost)

    def _embedded(self) -> Subject:
        entry = self._entry()
        embedding = entry.embedding
        model = EmbeddedModel(self.model, entry)
        device = device_of(embedding)
        with torch.no_grad():
            inputs, reference = (embedding(tokens.to(device)).cpu() for tokens in (self.batch.inputs, self.reference))
            background = self.background
            if background is not None:
                background = replace(background, inputs=embedding(background.inputs.to(device)).cpu(), truths={})
        batch = replace(self.batch, inputs=inputs)
        found = replace(self, model=model, batch=batch, reference=reference, background=background)
        self._check_embedded(
            found.batch_outputs, self.batch_outputs, "reads its tokens in more ways than through one embedding"
        )
        self._check_embedded(
            found.reference_outputs, self.reference_outputs, "treats the tokens of the reference otherwise (a mask?)"
        )
        return found

    def _entry(self) -> Entry:
        """Where the model embeds its tokens; one sequence is enough to see it."""
        row = torch.tensor([int(self.batch.lengths.argmax())])
        tokens = self.batch.inputs[row, : int(self.batch.lengths[row])]
        before = self.cost.copy()
        try:
            with self.isolated(), torch.no_grad():
                return find_entry(
                    self.model, lambda given: self._call(given, self.batch.lengths[row], row), tokens, self.label
                )
        finally:
            self._restore(before)

    def _check_embedded(self, seen: Tensor, outputs: Tensor, otherwise: str) -> None:
        """Outputs from embeddings must be those from tokens, of the batch and of the reference alike."""
        if (seen - outputs).abs().max() > _EMBEDDING_TOLERANCE * (1 + outputs.abs().max()):
            raise UnsupportedModelError(
                f"{self.label} {otherwise}, so gradients with respect to its embedding would miss part of their "
                "influence: give a reference of ordinary tokens, such as <unk>, or use a method such as occlusion."
            )

    def _check_target(self) -> None:
        if self.target.dtype != torch.int64 or self.target.shape != (len(self),):
            raise DataError(f"The target is {self.target.dtype}{list(self.target.shape)}, not int64[{len(self)}].")

    def check(self) -> Subject:
        """Run the batch once and see that the model's outputs, the target and the classes fit each other.

        Raises:
            DataError: they do not; the sentence says what to change.
        """
        check_scores(self._first_run(), self.target, self.outputs_are, self.label)
        return self

    def _first_run(self) -> Tensor:
        """The outputs for the batch; what goes wrong there is about the user's model or data, not about a method."""
        try:
            return self.batch_outputs
        except DataError:
            raise
        except ContractError as error:
            raise DataError(str(error)) from error
        except Exception as error:
            reason = " ".join(str(error).split()) or "no reason given"
            shape = f"{self.batch.inputs.dtype}{list(self.batch.inputs.shape)}"
            raise DataError(
                f"{self.label} cannot take the inputs {shape} ({type(error).__name__}: {reason}): check that its "
                "forward takes (inputs) or (inputs, lengths) of that kind."
            ) from error
