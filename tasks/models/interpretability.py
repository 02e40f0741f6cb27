"""Training for interpretability: further terms of the loss, and masking, that make a network easier to explain."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ParameterError
from ...fingerprints import tensors_fingerprint
from ..data.masking import features_of, granularity_of, random_removal, replaced

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..data.batch import Batch, Truth

    ReferenceOf = Callable[[Batch], Tensor]

# Alignments are about one output step, and attention has one for each; the others are about the whole output.
_RATIONALES: Final = frozenset({"rationale", "human-rating", "planted", "coefficient", "shapley"})
# Number of sequences on which a network's internals are compared with its scores.
_TRIED: Final = 2


@dataclass(frozen=True)
class Interpretability:
    """Options of training for interpretability; 0, the default, switches an option off.

    The loss of each minibatch is increased by the mean over its sequences of

        entropy · H(a) / ln n  +  diversity · max(0, conicity(h))  −  supervision · ln Σ_{t ∈ R} a_t

    where a sequence has n steps, attention a, hidden states h, and a rationale R, the set of its relevant steps.

    Attributes:
        entropy: weight of the attention's normalised entropy, which goes from 0 (one step has all the attention) to 1
            (uniform attention): the larger the weight, the sharper the attention.
        diversity: weight of the conicity of the hidden states, the mean of the cosines between each and their mean
            (Mohankumar et al. 2020, equations 1 and 2): the larger the weight, the less the states resemble each
            other. Unlike in the paper, a conicity below 0, where a few long states point against many short ones,
            reduces the loss no further: it could fall without end, and the network would forget its task.
        supervision: weight of −ln of the attention that falls on the rationale; how it is distributed over the
            rationale is left to the network. The rationale is the set of relevant steps in the first truth of the
            training sequences that is not an alignment; a sequence without a relevant step adds nothing.
        masking: the largest share of a sequence's features replaced by the reference. In every minibatch their number
            is drawn uniformly from 0 to ⌈masking·n⌉, then which ones, as
            :func:`xrnnbench.tasks.interventions.mask_training.mask_trained` does after training.

    Raises:
        ParameterError: a weight is negative or not finite, or the share is above 1.

    Source: diversity: Mohankumar et al., "Towards Transparent and Explainable Attention Models", ACL 2020. Supervised
    attention: Liu et al., "Neural Machine Translation with Supervised Attention", COLING 2016.
    """

    entropy: float = 0.0
    diversity: float = 0.0
    supervision: float = 0.0
    masking: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if not 0 <= weight < math.inf or (name == "masking" and weight > 1):
                fits = "a share from 0 to 1" if name == "masking" else "a weight of at least 0"
                raise ParameterError(f"{name}={weight} does not fit (it is {fits}).")

    @property
    def active(self) -> dict[str, float]:
        """Options that are not 0, by name."""
        return {name: float(value) for name, value in vars(self).items() if value}

    @property
    def penalised(self) -> bool:
        """Whether an option adds a term to the loss."""
        return bool(self.active.keys() - {"masking"})

    def basis(self, train: Batch) -> dict[str, Any]:
        """Facts by which these options determine the weights, ready for JSON; empty if all are off.

        Args:
            train: the training sequences, whose rationales count if ``supervision`` is on.
        """
        truth = rationale_of(train) if self.supervision else None
        relevant = {"rationales": tensors_fingerprint({"relevant": truth.relevant})} if truth is not None else {}
        return self.active | relevant


class Internals(NamedTuple):
    """Scores of a network in one forward pass, with its hidden states and attention.

    Attributes:
        scores: as ``forward`` returns them, or after each step.
        states: float[B, T, H], meaningless on padding; None if the network does not return them.
        attention: float[B, T], or float[B, U, T] for each of U output steps; 0 on padding; None if there is none.
    """

    scores: Tensor
    states: Tensor | None
    attention: Tensor | None


def training_scores(model: nn.Module, batch: Batch) -> Tensor:
    """Scores that enter the training loss: of the sequences, or of each step where each step has its own target."""
    if has_step_targets(batch):
        return cast("Tensor", cast("Any", model).step_scores(batch.inputs, batch.lengths))
    return cast("Tensor", model(batch.inputs, batch.lengths, **batch.context))


def internals(model: nn.Module, batch: Batch) -> Internals:
    """Scores that enter the training loss, with the hidden states and the attention they come from, in one graph.

    The network returns them from ``forward_with_states``, as :class:`xrnnbench.tasks.models.networks.RecurrentNet`
    does, or from ``forward_with_attention`` (:class:`xrnnbench.tasks.engine.signature.Attentive`).
    """
    if (forward := getattr(model, "forward_with_states", None)) is not None:
        return Internals(*forward(batch.inputs, batch.lengths, by_step=has_step_targets(batch), **batch.context))
    if (forward := getattr(model, "forward_with_attention", None)) is not None and not has_step_targets(batch):
        scores, attention, *more = forward(batch.inputs, batch.lengths, **batch.context)
        return Internals(scores, more[0] if more else None, attention)
    return Internals(training_scores(model, batch), None, None)


def has_step_targets(batch: Batch) -> bool:
    """Whether every step of the sequences has a class of its own."""
    return batch.targets.dim() == 2 and not batch.targets.is_floating_point() and not batch.context


def unsupported_option(
    options: Interpretability, model: nn.Module, train: Batch, reference_of: ReferenceOf | None
) -> str:
    """The first option that a network or its data do not support, with the reason; empty if all are supported.

    Args:
        options: the options of the training.
        model: a fresh network; it is left in evaluation mode.
        train: the training sequences.
        reference_of: gives the reference of any batch; None if there is none for other than the explained sequences.
    """
    if options.masking and reference_of is None:
        return f"masking={options.masking}: the reference serves no other sequences than the explained ones"
    if not options.penalised:
        return ""
    sample = train.select(slice(0, _TRIED))
    with torch.no_grad():
        inside, scores = internals(model.eval(), sample), training_scores(model, sample)
    reasons = {
        "entropy": _without_attention(inside),
        "diversity": "" if inside.states is not None else "the network does not show its states",
        "supervision": _without_attention(inside) or _without_rationale(inside, train),
    }
    if not torch.allclose(inside.scores, scores, rtol=1e-4, atol=1e-6):
        reasons = dict.fromkeys(reasons, "the scores that the network shows with its states differ from its own")
    return next((f"{name}={value}: {reasons[name]}" for name, value in options.active.items() if reasons.get(name)), "")


def penalty(options: Interpretability, inside: Internals, batch: Batch) -> Tensor:
    """Term float[] added to the loss of a minibatch, the mean over its sequences; see :class:`Interpretability`.

    Args:
        options: options that the network supports.
        inside: the network's scores, states and attention for the minibatch.
        batch: the minibatch.
    """
    parts = [inside.scores.new_zeros(())]
    if options.entropy:
        parts.append(options.entropy * _attention_entropy(cast("Tensor", inside.attention), batch).mean())
    if options.diversity:
        parts.append(options.diversity * conicity(cast("Tensor", inside.states), batch.valid).clamp_min(0).mean())
    if options.supervision:
        relevant = relevant_steps(cast("Truth", rationale_of(batch)))
        parts.append(options.supervision * supervision_loss(cast("Tensor", inside.attention), relevant).mean())
    return torch.stack(parts).sum()


def normalised_entropy(attention: Tensor, valid: Tensor) -> Tensor:
    """Normalised entropy −Σ a ln a / ln n of attention.

    It goes from 0, where one step has all the attention, to 1, where all steps have the same. It is 0 for a sequence
    of one step.

    Args:
        attention: float[…, T], the weights of each sequence's steps.
        valid: bool[…, T], broadcastable: the n steps of the sequence, False on padding.

    Returns:
        float[…].
    """
    valid = valid.expand(attention.shape)
    # padding counts as 1, and a weight that underflowed has no slope: ln 0 would make every gradient NaN
    safe = attention.clamp_min(torch.finfo(attention.dtype).tiny).where(valid, 1.0)
    longest = valid.sum(-1).clamp_min(2).to(attention.dtype).log()
    return -(safe * safe.log()).sum(-1) / longest


def conicity(states: Tensor, valid: Tensor) -> Tensor:
    """Conicity float[B] of hidden states: the mean cosine between the states of a sequence and their mean.

    1: all states point the same way; 0: they point in all directions; below 0: a few long ones point against many short
    ones.

    Args:
        states: float[B, T, H].
        valid: bool[B, T], False on padding.

    Source: Mohankumar et al. 2020, equations 1 and 2.
    """
    count = valid.sum(1)
    row = valid.nonzero()[:, 0]
    own = states[valid]  # without padding, whose states are arbitrary; a zero there would have no direction
    mean = states.new_zeros(len(states), states.shape[2]).index_add(0, row, own) / count[:, None]
    cosines = F.cosine_similarity(own, mean[row], dim=1)
    return states.new_zeros(len(states)).index_add(0, row, cosines) / count


def supervision_loss(attention: Tensor, relevant: Tensor) -> Tensor:
    """Loss float[B] of supervised attention: −ln of the attention on the relevant steps.

    Args:
        attention: float[B, T].
        relevant: bool[B, T]; a sequence without a relevant step has loss 0.
    """
    mass = (attention * relevant).sum(1).clamp_min(torch.finfo(attention.dtype).tiny)
    return -mass.where(relevant.any(1), 1.0).log()


def mask_batch(batch: Batch, share: float, reference_of: ReferenceOf, rng: torch.Generator) -> Batch:
    """A minibatch with random features replaced by the reference; their truth values become 0.

    Args:
        batch: the minibatch.
        share: the largest share of a sequence's features that is replaced.
        reference_of: gives the reference of any batch.
        rng: random generator.
    """
    gone = random_removal(features_of(batch, granularity_of(batch)), share, rng)
    cells = gone.view(*batch.inputs.shape[:2], -1)
    truths = {
        name: dataclasses.replace(
            truth, values=truth.values.masked_fill(cells if truth.values.dim() == 3 else cells.all(2), 0)
        )
        for name, truth in batch.truths.items()
    }
    return dataclasses.replace(replaced(batch, gone, reference_of(batch)), truths=truths)


def rationale_of(batch: Batch) -> Truth | None:
    """The truth that supervises attention: the first that is no alignment; None if there is none."""
    return next((truth for truth in batch.truths.values() if truth.semantics in _RATIONALES), None)


def relevant_steps(truth: Truth) -> Tensor:
    """Mask bool[B, T] of the steps with a relevant feature."""
    return truth.relevant.any(2) if truth.relevant.dim() == 3 else truth.relevant


def _attention_entropy(attention: Tensor, batch: Batch) -> Tensor:
    """Normalised entropy float[B] of the attention, averaged over the output steps that are no padding."""
    if attention.dim() == 2:
        return normalised_entropy(attention, batch.valid)
    produced = (batch.targets != 0).to(attention.dtype)
    return (normalised_entropy(attention, batch.valid[:, None]) * produced).sum(1) / produced.sum(1).clamp_min(1)


def _without_attention(inside: Internals) -> str:
    """The reason why attention cannot be trained; empty if the network has attention."""
    return "the network has no attention" if inside.attention is None else ""


def _without_rationale(inside: Internals, train: Batch) -> str:
    """The reason why attention cannot be supervised; empty if it can."""
    if inside.attention is not None and inside.attention.dim() == 3:
        return "the network has one attention for each output step, and a rationale is about the whole output"
    if rationale_of(train) is None:
        return "the training sequences have no truth to serve as rationale"
    return ""
