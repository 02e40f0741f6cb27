"""Contextual decomposition: what each step contributes on its own, without its interactions with the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import DataError
from ...plugins import register
from ...tasks.engine.batching import in_batches, rows_per_batch
from ..base import Explainer, Need
from .decomposition import Decomposition, decompose

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# A row carries five tensors beside the model's own; so many fewer rows keep a batch in the cache.
_FEWER = 4


@register
@dataclass(frozen=True)
class ContextualDecomposition(Explainer):
    """The part of the score that a step makes on its own: its relevant stream, with that step as the span.

    The user's own module is run once for each step. Beside every tensor run a relevant stream, made by the step alone
    and with the model's constants, an irrelevant one, made by the other steps and by all interactions, and a bias. A
    function is shared out by what each stream adds, averaged over both orders; a product is relevant where no factor is
    irrelevant and one is relevant. In an LSTM i, f and the candidate are decomposed and the output gate is not; in a
    GRU both gates are; what the biases alone make within a step belongs to the step. Attention weights, the scales of a
    normalisation and what divides are not decomposed, and weigh the streams as they are; a maximum takes its winner's
    streams along. An operation without a rule is an error that names it.

    The values do not sum to the score: what steps make together is in none of them. :meth:`spans` decomposes the score
    for any span. Steps are told apart, not the features of one: a step's bias belongs to no feature of it.

    Cost: n forward sequence-equivalents for a sequence of n steps, counted; each takes the arithmetic of four to six,
        for the streams are run beside the total.
    Fails where: what matters are interactions, which count as irrelevant for every single step; or the attention
        weights themselves. Cells written out by hand have an output gate that looks like any other factor, and a bias
        that stays apart: their values differ from the fused layer's.
    Source: Murdoch, Liu & Yu 2018, section 3.2, arXiv:1801.05453. The published code keeps the biases of a span's last
        step irrelevant (``i < stop`` beside ``i <= stop``), and so of every single step; here they are relevant, as
        those of its other steps are.
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
        found = torch.zeros(view.batch.inputs.shape[:2], dtype=view.batch.inputs.dtype)
        for rows in _portions(view, instance):
            keep = torch.zeros(len(rows), found.shape[1], dtype=torch.bool)
            keep[torch.arange(len(rows)), step[rows]] = True
            found[instance[rows], step[rows]] = _decomposed(view, instance[rows], keep).relevant
        return found

    def spans(self, subject: Subject, keep: Tensor, instance: Tensor | None = None) -> Decomposition:
        """The decomposition of the explained score for any spans.

        Args:
            subject: what to explain.
            keep: bool[V, T], the relevant steps of each row; they need not follow each other.
            instance: int64[V], the sequence that each row is of; by default in order.

        Returns:
            relevant, irrelevant and bias float[V].

        Raises:
            DataError: the spans do not fit the sequences.
            UnsupportedModelError: an operation has no rule, or the parts do not add up to the score.
        """
        view = subject.continuous()
        instance = torch.arange(len(keep)) if instance is None else instance
        rows, steps = len(instance), view.batch.inputs.shape[1]
        if keep.dtype != torch.bool or keep.shape != (rows, steps):
            raise DataError(f"The spans are {keep.dtype}{list(keep.shape)}, not bool[{rows}, {steps}].")
        parts = torch.zeros(3, len(keep), dtype=view.batch.inputs.dtype)
        with view.isolated():
            for portion in _portions(view, instance):
                made = _decomposed(view, instance[portion], keep[portion])
                parts[:, portion] = torch.stack([made.relevant, made.irrelevant, made.bias])
        return Decomposition(*parts)


def _portions(view: Subject, instance: Tensor) -> list[Tensor]:
    """Positions into instance int64[V]: rows to run at once, of similar length."""
    size = max(1, rows_per_batch(view.model, view.batch.inputs.shape[1]) // _FEWER)
    return in_batches(view.batch.lengths[instance], size, equal=False)


def _decomposed(view: Subject, instance: Tensor, keep: Tensor) -> Decomposition:
    """The decomposition for rows of some sequences."""
    rows = view.select(instance)
    parts = torch.zeros(3, len(keep), dtype=view.batch.inputs.dtype)
    for part, score in rows.scorers():
        steps = int(rows.batch.lengths[part].max())
        made = decompose(score, rows.batch.inputs[part, :steps], keep[part, :steps], view.score[instance[part]])
        parts[:, part] = torch.stack([made.relevant, made.irrelevant, made.bias])
    return Decomposition(*parts)
