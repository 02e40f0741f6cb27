"""Subject of an explanation: a trained model with the batch to explain, and the only way to run that model.

Every forward and backward pass goes through this module. So passes are counted exactly, identical inputs are run once,
batches have an efficient size, models do not see padding, and the user's module is unchanged afterwards.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from ..errors import ContractError, DataError, UnsupportedModelError, XrnnbenchError
from .data.batch import Batch, Competence, Granularity, Names, Outputs
from .data.masking import features_of, granularity_of
from .data.padding_side import padded_right
from .engine.adapters import AdaptedModel, NoOutputStepError, PredictFunction, TargetScore, adapter_of
from .engine.batching import device_of, few_sequences, in_batches, rows_if_shared, rows_per_batch
from .engine.cost import Cost, CountingHook
from .engine.embedded_inputs import CategoryEmbeddings, EmbeddedInputs, find_category_calls
from .engine.embedding import EmbeddedModel, EmbeddingCall, find_embedding_call, innermost
from .engine.isolation import undisturbed
from .engine.layer_model import LayerModel, LayerOutput, find_layer_output, watched
from .engine.layer_sharing import LayerSharing
from .engine.run_variants import Runner
from .engine.several_inputs import SeveralInputs, several_inputs_of
from .engine.shared_prefixes import Shareable, search_pays, shareable
from .engine.signature import (
    GIVEN_INPUTS,
    MODEL_INPUTS,
    OUTPUT_STEP,
    PADDING,
    PRESENT_CELLS,
    Attentive,
    ImplicitlyAttentive,
    call,
    check_output,
    check_scores,
    last_linear_input,
    takes_lengths,
)
from .engine.variants import Given, Variants
from .models.origins import GIVEN
from .models.retraining import Retraining

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Attentive", "Cost", "ImplicitlyAttentive", "Subject"]

Scale = Literal["raw", "probability"]

_EMBEDDING_TOLERANCE = 1e-4
# Shares of the way to other values of a feature at which its derivative is taken.
_ON_THE_WAY = (0.13, 0.31, 0.47, 0.68, 0.86)
# Number of sequences on which a shared run is compared with plain forward passes.
_SHARED_TRIED = 4


class _Isolation:
    """State of :meth:`Subject.isolated`; a token subject and its embedding view share it, as they share the model."""

    def __init__(self) -> None:
        self.entered = False


@dataclass(eq=False)
class Subject:
    """A model, the batch whose outputs are explained, and the reference that replaces removed features.

    Attributes:
        model: any module taking (inputs) or (inputs, lengths) and returning scores float[B, K] or float[B]. The lengths
            are given to the parameter that is named after them, such as ``lengths`` or ``seq_len``.
        batch: the B sequences to explain; their inputs are int64[B, T] tokens or float[B, T, D] features.
        reference: values that replace removed features, in the shape and dtype of ``batch.inputs``.
        target: int64[B], index of the explained output of each sequence; by default the predicted class, or output 0.
        background: other sequences of the same kind, from which replacements may be drawn.
        outputs_are: ``"logits"``, ``"probabilities"`` (both: classification), ``"values"`` (regression), or, for a
            classifier with one output, ``"binary-logit"`` z, whose scores are (−z, z), or ``"binary-probability"`` p,
            whose scores are (1 − p, p).
        granularity: ``"step"`` if a step is removed and explained as a whole, ``"cell"`` for each feature of a step.
        competence: the model's held-out score; None if it was not measured.
        names: names of features, outputs and tokens.
        label: the model's name in error messages.
        retraining: how to train the model again; None if that is not known.
        model_origin: origin of the model; see :mod:`xrnnbench.tasks.models.origins`.
        caveats: sentences that a reader of the explanations must know, such as a promise that the model breaks.
        probe: whether the subject was made to probe another one; attributions of it carry values only.
        targets_known: whether the targets of the batch are the correct outputs, and not only placeholders.
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
    caveats: tuple[str, ...] = ()
    probe: bool = False
    targets_known: bool = True
    cost: Cost = field(default_factory=Cost)
    _isolation: _Isolation = field(default_factory=_Isolation, repr=False)

    def __post_init__(self) -> None:
        if self.reference.shape != self.batch.inputs.shape or self.reference.dtype != self.batch.inputs.dtype:
            raise DataError(
                f"The reference is {self.reference.dtype}{list(self.reference.shape)} and the inputs are "
                f"{self.batch.inputs.dtype}{list(self.batch.inputs.shape)}: they must agree."
            )
        if self.granularity is None:
            self.granularity = granularity_of(self.batch)
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
        """Shape of an attribution: (B, T) or (B, T, D)."""
        return tuple(self.batch.inputs.shape if self.granularity == "cell" else self.batch.inputs.shape[:2])

    @cached_property
    def valid(self) -> Tensor:
        """Mask of the features: bool, of :attr:`shape`, False on padding."""
        return self.batch.cells if self.granularity == "cell" else self.batch.valid

    def features(self, granularity: Granularity) -> Tensor:
        """Mask bool[B, N] of the features: steps (N = T) or cells (N = T·D, in the order of time), False on padding."""
        return features_of(self.batch, granularity)

    @property
    def classification(self) -> bool:
        """Whether the outputs are scores of classes."""
        return self.outputs_are != "values"

    # ---- running the model --------------------------------------------------------------------------------------

    def outputs(self, variants: Variants) -> Tensor:
        """Scores float[V, K] of variants of the batch's sequences; identical variants are run once.

        They are on the CPU, without gradients, and in the dtype that the model returns. So are all scores below.

        Args:
            variants: sequences derived from those of the batch, such as ``Given(rows, instance)`` or
                ``Masked(keep, instance)``.

        Raises:
            ContractError: the model did not return a finite tensor of scores.
        """
        if not len(variants.instance):
            return self.batch_outputs[:0]
        with self.isolated(), torch.no_grad():
            if self._shares:
                return replace(self._runner, shared=cast("Shareable", self.model)).run(variants)
            steps = len(variants.instance) * self.batch.inputs.shape[1]
            layers = LayerSharing(self.model, steps, self._rows_if_shared, self.cost)
            if not layers:
                return self._runner.run(variants)
            with layers.active():
                return replace(self._runner, layers=layers, call=layers.counted(self.forward)).run(variants)

    def scores(self, variants: Variants, scale: Scale = "raw") -> Tensor:
        """Explained score float[V] of each variant: its output at the target of the sequence that it is derived from.

        Args:
            variants: sequences derived from those of the batch.
            scale: ``"raw"`` for the output itself (logit, value), ``"probability"`` for the class probability;
                regression has no probabilities and gives the value for both.
        """
        outputs = self.scaled(self.outputs(variants), scale)
        return outputs.gather(1, self.target[variants.instance, None]).squeeze(1)

    def scaled(self, outputs: Tensor, scale: Scale) -> Tensor:
        """Outputs float[V, K] converted from raw outputs to a scale; see :meth:`scores`."""
        return self.logits(outputs).softmax(1) if scale == "probability" and self.gives_logits else outputs

    @property
    def gives_logits(self) -> bool:
        """Whether the raw outputs are logits, from which :meth:`logits` and a softmax make probabilities."""
        return self.outputs_are in {"logits", "binary-logit"}

    def logits(self, outputs: Tensor) -> Tensor:
        """Logits float[…, K], whose softmax are the class probabilities, from raw outputs that are logits.

        The raw scores of a classifier with one logit z are (−z, z), so that each class has the whole logit as its
        score; their halves are the logits of the two classes.
        """
        return outputs / 2 if self.outputs_are == "binary-logit" else outputs

    @cached_property
    def batch_outputs(self) -> Tensor:
        """Raw outputs float[B, K] of the batch itself; not counted as cost, because they are known in advance."""
        return self.uncounted(self.batch.inputs)

    @cached_property
    def reference_outputs(self) -> Tensor:
        """Raw outputs float[B, K] of the reference; not counted as cost."""
        return self.uncounted(self.reference)

    def uncounted(self, inputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """Raw outputs float[R, K] of inputs, without counting the passes.

        Args:
            inputs: [R, T(, D)], of this subject's kind.
            rows: int64[R], the sequences that they stand for; by default the whole batch.
        """
        before = self.cost.copy()
        outputs = self.outputs(Given(inputs, rows))
        self._restore(before)
        return outputs

    def run_uncounted(self) -> None:
        """Run the batch, one sequence alone, and the gradients of a few, without counting the passes."""
        before = self.cost.copy()
        few, shortest = few_sequences(self.batch.lengths), int(self.batch.lengths.argmin())
        inputs = self.batch.inputs
        with suppress(XrnnbenchError):
            self.outputs(Given(inputs))
            self.outputs(Given(inputs[shortest : shortest + 1], torch.tensor([shortest])))
            if self.differentiable and not self.batch.tokens:
                self.gradients(inputs[few], few)
        self._restore(before)

    @property
    def score(self) -> Tensor:
        """Raw explained score f(x), float[B], of each sequence."""
        return self.batch_outputs.gather(1, self.target[:, None]).squeeze(1)

    @property
    def reference_score(self) -> Tensor:
        """Raw explained score f(x⁰), float[B], of each reference."""
        return self.reference_outputs.gather(1, self.target[:, None]).squeeze(1)

    def gradients(
        self, points: Tensor, instance: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Raw explained score and its gradient at some points.

        Args:
            points: float[V, T, D], inputs of this subject's kind; for a token model, call :meth:`continuous` first.
            instance: int64[V], the sequence that each point belongs to, which decides its length, target and context;
                by default one point for each sequence, in order.
            lengths: int64[V], the number of steps of each point; by default that of its sequence.

        Returns:
            scores float[V] and gradients float[V, T, D], exactly 0 on padding.

        Raises:
            UnsupportedModelError: the model has no gradient with respect to its inputs.
        """
        instance = torch.arange(len(points)) if instance is None else instance
        lengths = self.batch.lengths[instance] if lengths is None else lengths
        scores, gradients = points.new_empty(len(points)), torch.zeros_like(points)
        with self.isolated(), torch.enable_grad():
            for rows in self._chunks(lengths, gradients=True):
                steps = int(lengths[rows].max())
                chunk = points[rows, :steps].detach().clone().requires_grad_()
                # a copy, because a module may write into its input, and torch allows no writing into a leaf
                outputs = self.forward(chunk.clone(), lengths[rows], instance[rows])
                chosen = outputs.gather(1, self.target[instance[rows], None]).squeeze(1)
                gradient = self._gradient(chosen.sum(), chunk)
                if gradient is None:
                    raise UnsupportedModelError(
                        f"{self.label} has no gradient with respect to its inputs (it detaches them, or computes "
                        "outside torch): use a perturbation method such as occlusion."
                    )
                scores[rows] = chosen.detach()
                gradients[rows, :steps] = gradient
        return scores, gradients * (torch.arange(points.shape[1]) < lengths[:, None])[:, :, None]

    def _gradient(self, score: Tensor, wrt: Tensor) -> Tensor | None:
        """Derivative of a score with respect to a tensor; None if the score does not depend on it.

        Raises:
            UnsupportedModelError: autograd cannot differentiate the model.
        """
        if not score.requires_grad:
            return None
        try:
            return torch.autograd.grad(score, wrt, allow_unused=True)[0]
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UnsupportedModelError(
                f"{self.label} cannot be differentiated ({reason}): use a perturbation method such as occlusion."
            ) from error

    @cached_property
    def represents(self) -> bool:
        """Whether the model supports :meth:`representations`; found by running one sequence, which is not counted."""
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
        """Representations float[V, H] of some points: the input of the linear layer that is called last.

        If that layer reads several output steps at once, the input of the explained step is returned.

        Args:
            points: [V, T(, D)], inputs of this subject's kind.
            instance: int64[V], the sequence that each point belongs to, which decides its length and context.

        Raises:
            UnsupportedModelError: no linear layer is called, or it does not read one vector for each sequence.
        """
        lengths = self.batch.lengths[instance]
        vectors: list[tuple[Tensor, Tensor]] = []
        with self.isolated(), torch.no_grad():
            for rows in self._chunks(lengths):
                arguments = points[rows, : int(lengths[rows].max())], lengths[rows], instance[rows]
                inputs = last_linear_input(self._base, functools.partial(self.forward, *arguments))
                if inputs is not None and self.adapter is not None and self.adapter.batch_size is not None:
                    inputs = inputs[: len(rows)]
                vectors.append((rows, self._one_vector_each(inputs, instance[rows]).cpu()))
        return torch.cat([part for _, part in vectors])[torch.cat([rows for rows, _ in vectors]).argsort()]

    def _one_vector_each(self, inputs: Tensor | None, instance: Tensor) -> Tensor:
        """Vectors float[V, H] from a layer's input float[V, H], or float[V, U, H] for U output steps."""
        if inputs is not None and inputs.dim() == 3 and OUTPUT_STEP in self.batch.context:  # [V, U, H]
            steps = self.batch.context[OUTPUT_STEP][instance]
            if len(inputs) == len(instance) and int(steps.max()) < inputs.shape[1]:
                inputs = inputs[torch.arange(len(inputs)), steps]
        if inputs is None or inputs.dim() != 2 or len(inputs) != len(instance):  # [V, H]
            raise UnsupportedModelError(
                f"{self.label} has no linear layer that reads its scores from one vector for each sequence, so it has "
                "no representation."
            )
        return inputs

    def scorers(self) -> Iterator[tuple[Tensor, TargetScore]]:
        """Parts of the batch of an efficient size, each with its explained score as a module.

        They serve methods that need a module (propagation, captum's). Use them inside :meth:`isolated`, which counts
        the passes; methods and metrics are called inside of it.

        Yields:
            rows int64[R] of the batch, and the module for these rows. It takes float[R, t, D] (int64[R, t] of a token
            model), where t is the longest length of the rows, and returns float[R]. It also takes k · R inputs, k
            copies of the rows one after the other, as captum stacks its points.
        """
        # captum stacks each part upon its references: rows of one length need no other order
        for rows in self._chunks(self.batch.lengths, equal=self._falling):
            yield (
                rows,
                TargetScore(self.model, self.batch.lengths[rows], self.target[rows], self.label, self._context(rows)),
            )

    def reduced(self, values: Tensor) -> Tensor:
        """Attributions of cells float[B, T, D] in the :attr:`shape` of this subject: for steps, summed over D.

        Those of the vectors that stand for categories in :meth:`continuous` are summed for each category.
        """
        if self.batch.layout is not None and self.batch.layout.categories:
            values = self._categories_embedded.embedded.summed(values, self.batch.layout)
        return values.sum(2) if self.granularity == "step" else values

    def sizes(self, values: Tensor) -> Tensor:
        """Sizes of gradients or inputs float[B, T, D] of :meth:`continuous`, in the :attr:`shape` of this subject.

        The size of a cell is its absolute value. Where a step is one feature, or a vector stands for a category, it is
        the Euclidean norm.
        """
        if self.granularity == "step":
            norms: Tensor = values.norm(dim=2)
            return norms
        if self.batch.layout is not None and self.batch.layout.categories:
            return self._categories_embedded.embedded.summed(values.square(), self.batch.layout).sqrt()
        return values.abs()

    @property
    def differentiable(self) -> bool:
        """Whether the model may have gradients; one that wraps a plain function has none."""
        return not any(isinstance(module, PredictFunction) for module in self.model.modules())

    @property
    def scripted(self) -> bool:
        """Whether a part of the model is TorchScript, whose operations cannot be followed one by one."""
        return any(isinstance(module, torch.jit.ScriptModule) for module in self.model.modules())

    @cached_property
    def categories(self) -> tuple[int | str, ...]:
        """Features that the model reads as ids of categories, or rounds, though they are given as floats.

        They are numbered; those of several inputs have the names of these, with the number of the column. The scores
        have no derivative by them, and depend on them all the same, in jumps. Found by running at most eight sequences,
        which are not counted.
        """
        if self.batch.tokens or not self.differentiable:
            return ()
        few = few_sequences(self.batch.lengths)
        before = self.cost.copy()
        try:
            _, gradients = self.gradients(self.batch.inputs[few], few)
            flat = (gradients == 0).all(0)
            return tuple(
                name
                for name, steps, column in self._float_features()
                if bool(flat[steps, column].all()) and self._decides(steps, column, few)
            )
        except XrnnbenchError:
            return ()
        finally:
            self._restore(before)

    def _float_features(self) -> list[tuple[int | str, slice, int]]:
        """Names of the features that are given as floats, with their steps and their column."""
        layout = self.batch.layout
        if layout is None:
            return [(column, slice(None), column) for column in range(self.batch.inputs.shape[2])]
        return [
            (part.name if part.columns == 1 else f"{part.name}.{column}", part.span, column)
            for part in layout
            for column in range(part.columns)
            if not part.categories
        ]

    def _decides(self, steps: slice, column: int, few: Tensor) -> bool:
        """Whether scores of some sequences change with one feature in jumps only.

        Other values are those of the reference and of other steps and sequences. A feature that is merely saturated has
        a derivative somewhere on the way to them.
        """
        inputs = self.batch.inputs[few]
        own, present = inputs[:, steps, column], self.batch.cells[few][:, steps, column]
        plain = self.outputs(Given(inputs, few))
        for values in (self.reference[few][:, steps, column], own.flip(1), own.roll(1, 0)):
            other = inputs.clone()
            other[:, steps, column] = torch.where(present, values, own)
            if torch.equal(self.outputs(Given(other, few)), plain):
                continue
            way = torch.cat([torch.lerp(inputs, other, share) for share in _ON_THE_WAY])
            _, gradients = self.gradients(way, few.repeat(len(_ON_THE_WAY)))
            return bool((gradients[:, steps, column] == 0).all())
        return False

    @property
    def attentive(self) -> bool:
        """Whether the model returns its attention weights (:class:`Attentive`)."""
        return hasattr(self._base, "forward_with_attention")

    @property
    def attended(self) -> Tensor:
        """Mask bool[B, T] of the steps that attention covers; of several inputs, those of one."""
        if self.adapter is None or self.adapter.attended is None:
            return self.batch.valid
        first, steps = self.adapter.attended
        step = torch.arange(self.batch.inputs.shape[1])
        return self.batch.valid & (step >= first) & (step < first + steps)

    @property
    def selective(self) -> bool:
        """Whether the model shows how it selects its variables: by ``forward_with_selection``, of several inputs."""
        several = several_inputs_of(self._base)
        return several is not None and hasattr(several.model, "forward_with_selection")

    def selection(self) -> Tensor:
        """Weights float[B, S, D] with which the model selects the variables of its inputs, 0 on padding.

        Raises:
            UnsupportedModelError: the model does not show them.
        """
        if not self.selective:
            raise UnsupportedModelError(f"{self.label} does not show how it selects its variables.")
        weights = torch.zeros_like(self.batch.inputs)
        with self.isolated(), torch.no_grad(), nullcontext() if self.adapter is None else self.adapter.restored():
            for rows in self._chunks(self.batch.lengths):
                context = {name: value for name, value in self._context(rows).items() if name != OUTPUT_STEP}
                shown = self.model if isinstance(self.model, EmbeddedInputs) else self._several
                weights[rows] = shown.selection(self.batch.inputs[rows], context)
                self.cost.ran(len(rows), self.batch.inputs.shape[1])
        return weights * self.batch.cells

    def attention(self) -> Tensor:
        """The model's attention weights float[B, T] for the batch, 0 on padding.

        Raises:
            UnsupportedModelError: the model does not return its attention weights.
        """
        with torch.no_grad():
            return self._attention(gradient=False)[0]

    def attention_gradients(self) -> tuple[Tensor, Tensor]:
        """Attention weights and the derivatives of the raw explained score with respect to them, both float[B, T].

        Raises:
            UnsupportedModelError: the model does not return its attention weights.
        """
        with torch.enable_grad():
            return self._attention(gradient=True)

    @cached_property
    def shows_values(self) -> bool:
        """Whether the model returns the vectors its attention averages; found by running one sequence, not counted."""
        if not self.attentive:
            return False
        before = self.cost.copy()
        row = torch.tensor([int(self.batch.lengths.argmin())])
        with self.isolated(), torch.no_grad():
            outputs = self._attend(self.batch.inputs[row, : int(self.batch.lengths[row])], row)
        self._restore(before)
        return len(outputs) > 2

    def attention_values(self) -> tuple[Tensor, Tensor]:
        """Attention weights float[B, T] and the Euclidean norms float[B, T] of the vectors they average.

        Raises:
            UnsupportedModelError: the model does not return them.
        """
        weights = torch.zeros(self.batch.inputs.shape[:2], dtype=self.batch_outputs.dtype)
        norms = torch.zeros_like(weights)
        with torch.no_grad():
            for rows, steps, (_, attention, *values) in self._attended():
                if not values:
                    raise UnsupportedModelError(
                        f"{self.label} does not return the vectors that its attention averages: let "
                        "forward_with_attention return them as a third tensor, float[B, T, H]."
                    )
                weights[rows, :steps] = self._weights(attention, rows, steps).cpu()
                norms[rows, :steps] = values[0].norm(dim=2).cpu()
        return weights * self.batch.valid, norms * self.batch.valid

    @property
    def implicitly_attentive(self) -> bool:
        """Whether the model's states are weighted sums over the steps (:class:`ImplicitlyAttentive`)."""
        return getattr(self.model, "implicitly_attentive", False) is True

    def implicit_attention(self, *, norms: bool = False) -> Tensor:
        """Weights float[B, T] with which the steps enter what the scores are computed from, 0 on padding.

        Args:
            norms: whether the weight of a step is multiplied by the norm of the value that it weighs.

        Raises:
            UnsupportedModelError: the model's states are not weighted sums over the steps.
        """
        if not self.implicitly_attentive:
            raise UnsupportedModelError(
                f"{self.label} has no recurrent layers that are linear in their states, so it has no implicit "
                "attention: use a method that does not read it."
            )
        model, device = cast("ImplicitlyAttentive", self.model), device_of(self.model)
        weights = torch.zeros(self.batch.inputs.shape[:2], dtype=self.batch_outputs.dtype)
        with self.isolated(), torch.no_grad():
            for rows in self._chunks(self.batch.lengths):
                steps = int(self.batch.lengths[rows].max())
                inputs = self.batch.inputs[rows, :steps].to(device)
                weights[rows, :steps] = model.implicit_attention(
                    inputs, self.batch.lengths[rows].to(device), norms=norms
                ).cpu()
                self.cost.ran(len(rows), steps)
        return weights * self.batch.valid

    def _attention(self, *, gradient: bool) -> tuple[Tensor, Tensor]:
        """Attention weights float[B, T], and their gradients float[B, T] if ``gradient``, else zeros."""
        weights = torch.zeros(self.batch.inputs.shape[:2], dtype=self.batch_outputs.dtype)
        gradients = torch.zeros_like(weights)
        for rows, steps, (scores, attention, *_) in self._attended():
            weights[rows, :steps] = self._weights(attention.detach(), rows, steps).cpu()
            if gradient:
                chosen = scores.gather(1, self.target[rows, None]).sum()
                slope = self._gradient(chosen, attention) if attention.requires_grad else None
                if slope is None:
                    raise UnsupportedModelError(
                        f"{self.label} does not compute its scores from the attention weights that it returns: use the "
                        "method attention, which only reads them."
                    )
                gradients[rows, :steps] = self._weights(slope, rows, steps).cpu()
                self.cost.backward += len(rows)
        return weights * self.batch.valid, gradients * self.batch.valid

    def _weights(self, weights: Tensor, rows: Tensor, steps: int) -> Tensor:
        """Attention weights float[R, T] of some rows, or their derivatives, from those that the model returned."""
        adapter, padding = self.adapter, self.batch.context.get(PADDING)
        if adapter is not None and adapter.attention is not None:
            weights = adapter.weights_of(weights, len(rows), steps if padding is None else padding.shape[1])
        elif adapter is not None and adapter.batch_size is not None:
            weights = weights[: len(rows)]
        weights = self._at_step(weights, rows)
        if adapter is not None and adapter.left:
            weights = padded_right(weights, self.batch.lengths[rows])
        return weights[:, :steps]

    def _at_step(self, weights: Tensor, rows: Tensor) -> Tensor:
        """Weights float[R, T] of the explained output step, from float[R, U, T] of all; others are returned as is."""
        if OUTPUT_STEP not in self.batch.context or weights.dim() != 3:  # [B, U, T]
            return weights
        return weights[torch.arange(len(rows)), self.batch.context[OUTPUT_STEP][rows]]

    def _attended(self) -> Iterator[tuple[Tensor, int, tuple[Tensor, ...]]]:
        """Parts of the batch: rows int64[R], their longest length, and the output of ``forward_with_attention``."""
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
        """Context in which the model may be used freely; passes are counted, and its state is restored on exit.

        Nested contexts have no further effect: the outermost one counts and restores. Methods and metrics are called
        inside of one.

        Args:
            doer: name of the code that works inside, for the error message if it changes the model or the data; empty
                if only the model itself runs.

        Raises:
            ContractError: the model's weights or the data were changed inside.
        """
        if self._isolation.entered:
            yield
            return
        with undisturbed(self.model, doer, self.data(), self.run_uncounted):
            self._isolation.entered = True
            handle = self._base.register_forward_hook(CountingHook(self._count), with_kwargs=True)
            try:
                yield
            finally:
                handle.remove()
                self._isolation.entered = False

    def forward(self, inputs: Tensor, lengths: Tensor, instance: Tensor, origins: Tensor | None = None) -> Tensor:
        """Checked scores float[N, K] of one call of the model, on the CPU; equal rows are run as often as they come.

        Args:
            inputs: [N, T(, D)], of this subject's kind.
            lengths: int64[N].
            instance: int64[N], the sequence of the batch that each row is derived from.
            origins: int64[N, W], the step of its sequence that each step comes from; None if none was moved.

        Raises:
            ContractError: the model did not return a finite tensor of scores.
            UnsupportedModelError: the model fails on these inputs.
        """
        device = device_of(self.model)
        with self._explained_errors(lengths, instance):
            output = call(self.model, inputs.to(device), lengths.to(device), self._context(instance, device, origins))
        return check_output(output, len(inputs), self.label).cpu()

    @contextmanager
    def _explained_errors(self, lengths: Tensor, instance: Tensor) -> Iterator[None]:
        """Context that explains an error of the user's own model.

        Args:
            lengths: int64[N], of the sequences that are run.
            instance: int64[N], the sequence of the batch that each is derived from.

        Raises:
            UnsupportedModelError: the model fails.
        """
        shorter = bool((lengths < self.batch.lengths[instance]).any())
        try:
            yield
        except NoOutputStepError as error:
            if not shorter:
                raise
            raise UnsupportedModelError(
                f"{self.label} has no such output step for sequences shorter than those it was given: use a method "
                "that keeps their length, such as occlusion or kernel-shap, or say padding='keep'."
            ) from error
        except XrnnbenchError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or "no reason given"
            if shorter:
                raise UnsupportedModelError(
                    f"{self.label} cannot take sequences shorter than those it was given ({type(error).__name__}: "
                    f"{reason}): use a method that keeps their length, such as occlusion or kernel-shap."
                ) from error
            raise UnsupportedModelError(
                f"{self.label} cannot take the inputs that it is given here ({type(error).__name__}: {reason}): use a "
                "method and a reference that keep to values which the model knows, such as ids that exist."
            ) from error

    # ---- other subjects made from this one ----------------------------------------------------------------------

    def continuous(self) -> Subject:
        """The subject with real-valued inputs: itself, or its token model seen from the embeddings.

        The embedding view has inputs, reference and background float[B, T, E], where E is the size of an embedding. Its
        sequences, targets, granularity (steps) and counter of passes are those of this subject.

        Raises:
            UnsupportedModelError: there is no single embedding through which all influence of the tokens passes.
        """
        several = self.batch.layout
        if not self.batch.tokens and (several is None or not several.categories):
            return self
        return self._embedded

    def at_layer(self, name: str) -> Subject:
        """A subject whose inputs are the output sequence of a layer, float[B, T, H]; separate cost.

        Its reference is the layer's output for the reference. What reaches the scores beside this output stays as it is
        for the sequence itself, so that the score of the reference is not that of this subject's reference.

        Args:
            name: dotted name of the layer in the user's module, such as ``"encoder"``.

        Raises:
            UnsupportedModelError: there is no such layer, or it returns no sequence of as many steps as the inputs; or
                the model has several inputs, or padding on the left.
        """
        if self.batch.layout is not None or not self.differentiable:
            raise UnsupportedModelError(
                f"{self.label} {'has several inputs' if self.differentiable else 'is a function'}, so it cannot be "
                "explained at one of its layers."
            )
        if self.adapter is not None and self.adapter.left:
            raise UnsupportedModelError(
                f"{self.label} is given sequences padded on the left: say padding='cut' to explain one of its layers."
            )
        longest = self.batch.lengths.argmax()[None]
        steps = int(self.batch.lengths[longest])
        size = None if self.adapter is None else self.adapter.batch_size
        width = self.batch.inputs.shape[1] if PADDING in self.batch.context else steps
        rows = longest.expand(2) if width == 1 and size is None else longest  # another number than that of the steps
        inner = innermost(self._base)
        with self.isolated(), torch.no_grad():
            output = find_layer_output(
                inner,
                name,
                lambda: self.forward(self.batch.inputs[rows, :steps], self.batch.lengths[rows], rows),
                (size or len(rows), width),
            )
            hidden, reference = (self._outputs_of(output, values) for values in (self.batch.inputs, self.reference))
        context = {**self.batch.context, MODEL_INPUTS: self.batch.inputs}
        truths = {key: truth for key, truth in self.batch.truths.items() if truth.values.dim() == 2}  # of steps
        view = replace(
            self,
            model=LayerModel(self.model, output),
            batch=replace(self.batch, inputs=hidden, context=context, truths=truths),
            reference=reference,
            background=None,
            granularity=None,
            names=replace(self.names, features=(), vocabulary=()),
            retraining=None,
            cost=Cost(),
            _isolation=_Isolation(),
        )
        view._check_read(name)  # noqa: SLF001  # of the same class
        return view

    def _check_read(self, layer: str) -> None:
        """Refuse a layer whose output sequence does not reach the scores; what is run for it is not counted."""
        moved = [self.reference, (self.batch.inputs + 1) * self.batch.cells]
        if all(torch.equal(self.replaced(hidden).batch_outputs, self.batch_outputs) for hidden in moved):
            raise UnsupportedModelError(
                f"The scores of {self.label} do not change with the output sequence of the layer {layer!r}, perhaps "
                "because they read its last state: name a layer whose sequence they read."
            )
        self._restore(Cost())

    def _outputs_of(self, output: LayerOutput, inputs: Tensor) -> Tensor:
        """Output sequences float[B, T, H] of a layer for some inputs of the batch, 0 on padding."""
        hidden: Tensor | None = None
        for rows in self._chunks(self.batch.lengths):
            steps = int(self.batch.lengths[rows].max())
            found: list[Tensor] = []
            with watched(
                output.layer, lambda _, __, values, found=found: found.append(output.sequence(values).detach().cpu())
            ):
                self.forward(inputs[rows, :steps], self.batch.lengths[rows], rows)
            values = torch.cat([each[:, :steps] for each in found])[: len(rows)]
            if self._falling:
                values = values[self.batch.lengths[rows].argsort(descending=True, stable=True).argsort()]
            if hidden is None:
                hidden = values.new_zeros(len(self), inputs.shape[1], values.shape[2])
            hidden[rows, :steps] = values
        assert hidden is not None  # noqa: S101  # a batch has a sequence
        return hidden * self.batch.valid[..., None]

    def replaced(self, inputs: Tensor) -> Subject:
        """A subject with other inputs of the same shape; same model, targets and references, separate cost.

        Args:
            inputs: in the shape and dtype of ``batch.inputs``.
        """
        batch = replace(self.batch, inputs=inputs)
        return replace(self, batch=batch, cost=Cost(), probe=True, _isolation=_Isolation())

    def select(self, rows: Tensor | slice) -> Subject:
        """A subject with some of the sequences and a separate cost.

        Args:
            rows: int64[R] or a slice of the batch.
        """
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
        """A subject with another model; same batch, target and references, separate cost.

        Args:
            model: has the inputs and outputs of this subject's model. If that is a token model, the other one reads
                tokens too: call this method on the token subject, then :meth:`continuous`.
        """
        return replace(self, model=model, competence=None, cost=Cost(), probe=True, _isolation=_Isolation())

    # ---- internals ----------------------------------------------------------------------------------------------

    @property
    def _base(self) -> nn.Module:
        """The user's module, also if the subject is an embedding view."""
        return self.model.model if isinstance(self.model, EmbeddedModel | EmbeddedInputs | LayerModel) else self.model

    @property
    def adapter(self) -> AdaptedModel | None:
        """The adapter of a module with another calling convention; None if the module needs none."""
        return adapter_of(self.model)

    @property
    def _falling(self) -> bool:
        """Whether the model takes sequences in the order of falling length only."""
        return self.adapter is not None and self.adapter.falling

    def data(self) -> dict[str, Tensor]:
        """Tensors that all methods share and none may change, by their names in error messages."""
        tensors = {
            "the inputs": self.batch.inputs,
            "the lengths": self.batch.lengths,
            "the targets": self.batch.targets,
            "the reference": self.reference,
            "the outputs": self.target,
            **{f"the context {name!r} of what": value for name, value in self.batch.context.items()},
        }
        if self.background is not None:
            tensors["the background of what"] = self.background.inputs
        if "_embedded" in self.__dict__:
            tensors["the embedded inputs"] = self.continuous().batch.inputs
            tensors["the embedded reference"] = self.continuous().reference
        return tensors | {f"the truth {name!r} of what": truth.values for name, truth in self.batch.truths.items()}

    def _count(self, _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: object) -> None:
        """Forward hook on the user's module that counts its forward passes, and its backward passes by another hook."""
        rows, steps = [*arguments, *named.values()][0].shape[:2]
        if PADDING in self.batch.context:  # every run has the given width
            steps = self.batch.context[PADDING].shape[1]
        self.cost.ran(rows, steps)
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _: self._count_backward(rows))

    def _count_backward(self, rows: int) -> None:
        self.cost.backward += rows

    @cached_property
    def _shares(self) -> bool:
        """Whether variants are run with shared prefixes; if so, the model's results are checked on a few sequences.

        Raises:
            ContractError: the scores of a shared run are not those of ``forward``.
        """
        if self.batch.context or not shareable(self.model):
            return False
        if not search_pays(cast("Shareable", self.model), self.batch.inputs.shape[1]):
            return False
        few = self.batch.lengths.argsort(stable=True)[-_SHARED_TRIED:]
        if not self.takes_lengths:
            few = few[self.batch.lengths[few] == self.batch.lengths[few].max()]
        lengths, variants = self.batch.lengths[few], Given(self.batch.inputs[few], few)
        runner = replace(self._runner, shared=cast("Shareable", self.model))
        trees = runner.trees(runner.hashes(variants, torch.arange(len(few)), lengths), lengths)
        before = self.cost.copy()
        shared = runner.shared_run(variants, torch.arange(len(few)), lengths, trees)
        plain = self.forward(variants.inputs[:, : int(lengths.max())], lengths, few)
        self._restore(before)
        if (shared - plain).abs().max() > _EMBEDDING_TOLERANCE * (1 + plain.abs().max()):
            raise ContractError(
                f"{self.label} shares prefixes (reader, read_out), but the scores differ from those of its forward: "
                "correct reader and read_out, or set shared_directions = 0."
            )
        return True

    @property
    def _runner(self) -> Runner:
        return Runner(
            batch=self.batch,
            reference=self.reference,
            call=self.forward,
            check=lambda outputs, rows: check_output(outputs, rows, self.label),
            cost=self.cost,
            size=self._rows_per_batch,
            equal=not self.takes_lengths,
            device=device_of(self.model),
            falling=self._falling,
            moves=self.adapter is not None and bool(self.adapter.along),
        )

    def _chunks(self, lengths: Tensor, *, gradients: bool = False, equal: bool = False) -> list[Tensor]:
        """Batches of positions into lengths int64[N]; of one length each if ``equal`` or the model takes no lengths."""
        rows = self._most_rows(gradients=True) if gradients else self._rows_per_batch
        return in_batches(lengths, rows, equal=equal or not self.takes_lengths, falling=self._falling)

    @cached_property
    def _rows_per_batch(self) -> int:
        return self._most_rows(gradients=False)

    @property
    def _rows_if_shared(self) -> int:
        """Number of rows that are run at once where recurrent layers share; more than else, if the model takes any."""
        if self.adapter is not None and self.adapter.batch_size is not None:
            return self._rows_per_batch
        return rows_if_shared(self.model, self.batch.inputs.shape[1])

    def _most_rows(self, *, gradients: bool) -> int:
        """Number of rows that are run at once: at most the size of a batch, where the model takes one size only."""
        rows = rows_per_batch(self.model, self.batch.inputs.shape[1], gradients=gradients)
        fixed = None if self.adapter is None else self.adapter.batch_size
        return rows if fixed is None else min(rows, fixed)

    @cached_property
    def takes_lengths(self) -> bool:
        """Whether sequences of different lengths are run together; if not, the model must not see padding."""
        if self.adapter is not None and self.adapter.unpadded:
            return False
        return PADDING in self.batch.context or takes_lengths(self.model, self.batch.context)

    def _context(
        self, instance: Tensor, device: torch.device | None = None, origins: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Context of some sequences; what runs along the steps moves with them."""
        context = {name: value[instance].to(device) for name, value in self.batch.context.items()}
        if origins is not None and self.adapter is not None:
            for name in self.adapter.along:
                order = origins.to(device).view(*origins.shape, *[1] * (context[name].dim() - 2))
                context[name] = context[name].gather(1, order.expand(*origins.shape, *context[name].shape[2:]))
        return context

    def _attend(self, inputs: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """Checked output of ``forward_with_attention`` for some rows of the batch."""
        model, device = cast("Attentive", self.model), device_of(self.model)
        lengths, context = self.batch.lengths[rows].to(device), self._context(rows, device)
        with self._explained_errors(self.batch.lengths[rows], rows):
            scores, weights, *values = model.forward_with_attention(inputs.to(device), lengths, **context)
        # forward_with_attention is not forward: the hook does not see it
        self.cost.ran(*inputs.shape[:2])
        if self._weights(weights, rows, inputs.shape[1]).shape != inputs.shape[:2]:
            raise UnsupportedModelError(
                f"{self.label} shows attention of shape {list(weights.shape)} for inputs of "
                f"{list(inputs.shape[:2])} steps."
            )
        # the weights stay on their device and in the graph: derivatives with respect to them are taken
        return check_output(scores, len(inputs), self.label).cpu(), weights, *values

    def _restore(self, cost: Cost) -> None:
        """Reset the cost to an earlier copy."""
        self.cost.restore(cost)

    @cached_property
    def _embedded(self) -> Subject:
        """The embedding view of a token subject, or of one of several inputs with categories."""
        tokens = self.batch.tokens
        view = self._embedded_tokens() if tokens else self._embedded_categories()
        several = "reads its categories in more ways than through embeddings (as masks, or shifted)"
        self._check_embedded(
            view.batch_outputs,
            self.batch_outputs,
            "reads its tokens in more ways than through one embedding" if tokens else several,
        )
        kind = "tokens" if tokens else "categories"
        self._check_embedded(
            view.reference_outputs,
            self.reference_outputs,
            f"treats the {kind} of the reference otherwise (a mask?)",
        )
        return view

    def _embedded_categories(self) -> Subject:
        """The view of several inputs in which embeddings are in the place of categories."""
        embeddings = self._categories_embedded
        with torch.no_grad(), nullcontext() if self.adapter is None else self.adapter.restored():
            background = self.background
            if background is not None:
                background = self._with_embedded(background, embeddings)
            batch, reference = self._with_embedded(self.batch, embeddings), embeddings.of(self.reference)
        batch = replace(
            batch, context={**batch.context, GIVEN_INPUTS: self.batch.inputs}
        )  # whose ids the model goes on to read
        model = EmbeddedInputs(self.model, embeddings, self._several)
        return replace(self, model=model, batch=batch, reference=reference, background=background)

    @staticmethod
    def _with_embedded(batch: Batch, embeddings: CategoryEmbeddings) -> Batch:
        """A batch of several inputs with embeddings in the place of categories, without its truths."""
        mask = batch.cells
        shown = embeddings.embedded.filled.expand(len(mask), -1, -1).clone()
        for part, own in zip(embeddings.plain, embeddings.embedded, strict=True):
            sizes = torch.tensor(own.sizes or (1,) * part.columns)
            shown[:, own.span, : own.columns] = mask[:, part.span, : part.columns].repeat_interleave(sizes, 2)
        inputs = embeddings.of(batch.inputs)
        return replace(batch, inputs=inputs, mask=shown, layout=embeddings.embedded, truths={})

    @property
    def _several(self) -> SeveralInputs:
        """The adapter of several inputs."""
        several = several_inputs_of(self._base)
        if several is None:
            raise TypeError(f"{self.label} has one input.")
        return several

    @cached_property
    def _categories_embedded(self) -> CategoryEmbeddings:
        """How the model embeds the categories of its inputs; found by running two rows, which are not counted."""
        before = self.cost.copy()
        rows = self.batch.valid.sum(1).argmax().expand(2)
        context = {
            name: value for name, value in self._context(rows).items() if name not in {GIVEN_INPUTS, PRESENT_CELLS}
        }
        try:
            with self.isolated(), torch.no_grad():
                return find_category_calls(
                    self._base,
                    self._several,
                    lambda coded: self._numbered_run(coded.to(self.batch.inputs.dtype), rows, context),
                    self.label,
                )
        finally:
            self._restore(before)

    def _numbered_run(self, coded: Tensor, rows: Tensor, context: dict[str, Tensor]) -> None:
        """Run the model on inputs whose categories are numbers of cells; scores do not matter.

        Raises:
            UnsupportedModelError: the model fails on them.
        """
        device = device_of(self.model)
        own = {name: value.to(device) for name, value in context.items()}
        with self._explained_errors(self.batch.lengths[rows], rows):
            call(self._base, coded.to(device), self.batch.lengths[rows].to(device), own)

    def _embedded_tokens(self) -> Subject:
        """The view of a token subject from its embeddings."""
        entry = self._embedding_call()
        embedding = entry.embedding
        model = EmbeddedModel(self.model, entry)
        device = device_of(embedding)
        with torch.no_grad(), nullcontext() if self.adapter is None else self.adapter.restored():
            inputs, reference = (embedding(tokens.to(device)).cpu() for tokens in (self.batch.inputs, self.reference))
            background = self.background
            if background is not None:
                background = replace(background, inputs=embedding(background.inputs.to(device)).cpu(), truths={})
        batch = replace(self.batch, inputs=inputs)
        return replace(self, model=model, batch=batch, reference=reference, background=background)

    def _embedding_call(self) -> EmbeddingCall:
        """The call in which the model embeds its tokens, found by running one sequence, which is not counted."""
        row = torch.tensor([int(self.batch.lengths.argmax())])
        tokens = self.batch.inputs[row, : int(self.batch.lengths[row])]
        before = self.cost.copy()
        try:
            with self.isolated(), torch.no_grad():
                return find_embedding_call(
                    self.model,
                    lambda changed: self.forward(changed, self.batch.lengths[row], row),
                    tokens,
                    self.label,
                    lambda changed: self._presented(changed, row),
                )
        finally:
            self._restore(before)

    def _presented(self, inputs: Tensor, row: Tensor) -> Tensor:
        """Inputs of one sequence, int64[1], as an adapter gives them to the module, batch-first."""
        if self.adapter is None:
            return inputs
        parts, _ = self.adapter.arranged(inputs, self.batch.lengths[row], self._context(row))
        return parts[0].inputs

    def _check_embedded(self, embedded: Tensor, outputs: Tensor, fault: str) -> None:
        """Check that outputs float[B, K] from embeddings equal those from tokens.

        Raises:
            UnsupportedModelError: they differ; the fault is named in the message.
        """
        if (embedded - outputs).abs().max() > _EMBEDDING_TOLERANCE * (1 + outputs.abs().max()):
            ordinary = (
                "tokens, such as <unk>" if self.batch.tokens else "ids, give whole numbers that are no ids as floats"
            )
            raise UnsupportedModelError(
                f"{self.label} {fault}, so gradients with respect to its embedding would miss part of their "
                f"influence: give a reference of ordinary {ordinary}, or use a method such as occlusion."
            )

    def _check_target(self) -> None:
        if self.target.dtype != torch.int64 or self.target.shape != (len(self),):
            raise DataError(f"The target is {self.target.dtype}{list(self.target.shape)}, not int64[{len(self)}].")

    def check(self) -> Subject:
        """Run the batch once and check that the model's outputs, the target and the classes fit each other.

        Returns:
            the subject itself.

        Raises:
            DataError: they do not fit; the message says what to change.
        """
        check_scores(self._first_run(), self.target, self.outputs_are, self.label)
        return self

    def _first_run(self) -> Tensor:
        """Outputs for the batch; every error becomes a DataError, because no method is at fault yet."""
        try:
            return self.batch_outputs
        except DataError:
            raise
        except ContractError as error:
            raise DataError(str(error)) from error
        except Exception as raised:  # noqa: BLE001  # whatever a user's model raises
            fault = raised.__cause__ if isinstance(raised, UnsupportedModelError) and raised.__cause__ else raised
            reason = " ".join(str(fault).split()) or "no reason given"
            shape = f"{self.batch.inputs.dtype}{list(self.batch.inputs.shape)}"
            raise DataError(
                f"{self.label} cannot take the inputs {shape} ({type(fault).__name__}: {reason}): check that its "
                "forward takes (inputs) or (inputs, lengths) of that kind."
            ) from fault
