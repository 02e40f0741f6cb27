"""Contextual decomposition: the contribution of each step alone, without its interactions with other steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import DataError, UnsupportedModelError
from ...plugins import register
from ...tasks.engine.batching import in_batches, rows_per_batch
from ..base import Explainer, Need
from .advice import advised
from .decomposition import Decomposition, decompose

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Five tensors accompany each of the model's own; a batch with this many times fewer rows stays in the cache.
_ROWS_DIVISOR = 4


@register
@dataclass(frozen=True)
class ContextualDecomposition(Explainer):
    """Contribution of a single step to the score, which is the relevant stream of the score with that step as the span.

    The user's own module is run once for each step. Every tensor is the sum of three streams: a relevant one, due to
    the step alone and with the model's constants; an irrelevant one, due to the other steps and to all interactions;
    and a bias. Through a function, the contribution of a stream is the difference that it makes, averaged over both
    orders of adding the streams. In a product, a term is relevant if no factor is irrelevant and one is relevant. In an
    LSTM i, f and the candidate are decomposed and the output gate is not; in a GRU both gates are. The contribution of
    the biases alone within a step belongs to the step. Attention weights, the scales of a normalisation and divisors
    are not decomposed; they multiply each stream. The selected element of a maximum keeps its streams. Any other
    operation is split as one function of all its arguments. One that gives no numbers, or that is not defined for one
    of the streams alone, is an error that names it.

    The values do not sum to the score, because joint contributions of several steps are in none of them. :meth:`spans`
    decomposes the score for any span. The method distinguishes steps, but not the features of a step, because the bias
    of a step belongs to none of its features.

    Cost: n forward sequence-equivalents for a sequence of n steps, counted; each takes the arithmetic of four to six,
        because the streams are computed in addition to the total.
    Fails where: the score depends on interactions, which count as irrelevant for every single step; or on the attention
        weights themselves. In a cell that is written out by hand, the output gate is a factor like any other, and the
        bias remains a separate stream: the values differ from those of the fused layer.
    Source: Murdoch, Liu & Yu 2018, section 3.2, arXiv:1801.05453. The published code counts the biases of a span's last
        step as irrelevant (``i < stop`` in one place, ``i <= stop`` in another), and therefore those of every single
        step; here they are relevant, as those of the span's other steps are.
    """

    name: ClassVar[str] = "contextual-decomposition"
    group: ClassVar[str] = "propagation"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    granularity: ClassVar[Literal["any", "step"]] = "step"
    source: ClassVar[str] = "Murdoch et al. 2018"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        instance, step = view.batch.valid.nonzero(as_tuple=True)
        attributions = torch.zeros(view.batch.inputs.shape[:2], dtype=view.batch.inputs.dtype)
        for rows in _row_batches(view, instance):
            keep = torch.zeros(len(rows), attributions.shape[1], dtype=torch.bool)
            keep[torch.arange(len(rows)), step[rows]] = True
            attributions[instance[rows], step[rows]] = self._decompose(view, instance[rows], keep).relevant
        return attributions

    def spans(self, subject: Subject, keep: Tensor, instance: Tensor | None = None) -> Decomposition:
        """Contextual decomposition of the explained score for any spans.

        Args:
            subject: the model and the sequences to explain.
            keep: bool[V, T], the span of each row: its relevant steps, which need not be consecutive.
            instance: int64[V], the index of each row's sequence; by default row i is sequence i.

        Returns:
            relevant, irrelevant and bias float[V].

        Raises:
            DataError: ``keep`` is not boolean, or has another shape than the rows and steps.
            UnsupportedModelError: an operation has no rule, or the parts do not sum to the score.
        """
        view = subject.continuous()
        instance = torch.arange(len(keep)) if instance is None else instance
        rows, steps = len(instance), view.batch.inputs.shape[1]
        if keep.dtype != torch.bool or keep.shape != (rows, steps):
            raise DataError(f"The spans are {keep.dtype}{list(keep.shape)}, not bool[{rows}, {steps}].")
        parts = torch.zeros(3, len(keep), dtype=view.batch.inputs.dtype)
        with view.isolated():
            for selection in _row_batches(view, instance):
                decomposition = self._decompose(view, instance[selection], keep[selection])
                parts[:, selection] = torch.stack(
                    [decomposition.relevant, decomposition.irrelevant, decomposition.bias]
                )
        return Decomposition(*parts)

    def _decompose(self, view: Subject, instance: Tensor, keep: Tensor) -> Decomposition:
        """Contextual decomposition of rows, as :func:`_decompose_rows`; a refusal names methods that work."""
        try:
            return _decompose_rows(view, instance, keep)
        except UnsupportedModelError as error:
            raise advised(error, view, self.name) from error


def _row_batches(view: Subject, instance: Tensor) -> list[Tensor]:
    """Batches of rows of similar length, as indices into ``instance`` int64[V]."""
    size = max(1, rows_per_batch(view.model, view.batch.inputs.shape[1]) // _ROWS_DIVISOR)
    return in_batches(view.batch.lengths[instance], size, equal=False)


def _decompose_rows(view: Subject, instance: Tensor, keep: Tensor) -> Decomposition:
    """Contextual decomposition of the score for rows of some sequences: ``keep`` is bool[V, T]."""
    rows = view.select(instance)
    parts = torch.zeros(3, len(keep), dtype=view.batch.inputs.dtype)
    for part, score in rows.scorers():
        steps = int(rows.batch.lengths[part].max())
        decomposition = decompose(
            score, rows.batch.inputs[part, :steps], keep[part, :steps], view.score[instance[part]]
        )
        parts[:, part] = torch.stack([decomposition.relevant, decomposition.irrelevant, decomposition.bias])
    return Decomposition(*parts)
