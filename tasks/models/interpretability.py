"""What a network can be trained for beside its task, so that it becomes easier to explain."""

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
# Sequences on which it is tried what a network shows of itself.
_SHOWN: Final = 2


@dataclass(frozen=True)
class Interpretability:
    """How much a network is trained for beside its task; 0, the default, is nothing.

    To the loss of each minibatch is added the mean over its sequences of

        entropy · H(a) / ln n  +  diversity · max(0, conicity(h))  −  supervision · ln Σ_{t ∈ R} a_t

    where a sequence has n steps, attention a, hidden states h, and a rationale R, the steps that are relevant.

    Attributes:
        entropy: weight of the attention's entropy, from 0 (one step has it all) to 1 (all have the same): the larger
            the weight, the sharper the attention.
        diversity: weight of the conicity of the hidden states, the mean of the cosines between each and their mean
            (Mohankumar et al. 2020, equations 1 and 2): the larger the weight, the less the states resemble each
            other. Below 0, where a few long states stand against many short ones, nothing more is gained, unlike in
            the paper: there is no end to that way, and a network that takes it forgets its task.
        supervision: weight of the attention that misses the rationale, −ln of what falls on it; how it is spread
            over the rationale is left to the network. The rationale is what is relevant in the first truth of the
            training sequences that is not an alignment; a sequence without a relevant step adds nothing.
        masking: the largest share of a sequence's features replaced by the reference: in every minibatch a number of
            them drawn uniformly from 0 to ⌈masking·n⌉, which ones at random, as
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
    def wanted(self) -> dict[str, float]:
        """Those that are not 0."""
        return {name: float(value) for name, value in vars(self).items() if value}

    @property
    def penalised(self) -> bool:
        """Whether anything is added to the loss."""
        return bool(self.wanted.keys() - {"masking"})

    def basis(self, train: Batch) -> dict[str, Any]:
        """What weights rest on by reason of these options, ready for JSON; empty if all are off."""
        truth = rationale_of(train) if self.supervision else None
        relevant = {"rationales": tensors_fingerprint({"relevant": truth.relevant})} if truth is not None else {}
        return self.wanted | relevant


class Shown(NamedTuple):
    """What a network shows of one pass.

    Attributes:
        scores: as ``forward`` gives them, or after each step.
        states: float[B, T, H], meaning nothing on padding; None if it does not show them.
        attention: float[B, T], or float[B, U, T] for each of U output steps; 0 on padding; None if there is none.
    """

    scores: Tensor
    states: Tensor | None
    attention: Tensor | None


def plain_scores(model: nn.Module, batch: Batch) -> Tensor:
    """The scores that a network is trained by: of the sequences, or of each step where each has its own target."""
    if by_step(batch):
        return cast("Tensor", cast("Any", model).step_scores(batch.inputs, batch.lengths))
    return cast("Tensor", model(batch.inputs, batch.lengths, **batch.context))


def shown(model: nn.Module, batch: Batch) -> Shown:
    """The scores that a network is trained by, with the states and the attention that made them, in one graph.

    It shows them by ``forward_with_states``, as :class:`xrnnbench.tasks.models.networks.RecurrentNet` does, or by
    ``forward_with_attention`` (:class:`xrnnbench.tasks.engine.calling.Attentive`).
    """
    if (show := getattr(model, "forward_with_states", None)) is not None:
        return Shown(*show(batch.inputs, batch.lengths, by_step=by_step(batch), **batch.context))
    if (show := getattr(model, "forward_with_attention", None)) is not None and not by_step(batch):
        scores, attention, *more = show(batch.inputs, batch.lengths, **batch.context)
        return Shown(scores, more[0] if more else None, attention)
    return Shown(plain_scores(model, batch), None, None)


def by_step(batch: Batch) -> bool:
    """Whether every step of the sequences has a class of its own."""
    return batch.targets.dim() == 2 and not batch.targets.is_floating_point() and not batch.context


def misfit(options: Interpretability, model: nn.Module, train: Batch, reference_of: ReferenceOf | None) -> str:
    """Why a network cannot be trained so, in a few words that begin with the option; empty if it can.

    Args:
        options: what is asked for.
        model: a fresh network; it is left in evaluation mode.
        train: what it is to learn from.
        reference_of: what stands for absence; None if nothing is known to.
    """
    if options.masking and reference_of is None:
        return f"masking={options.masking}: the reference serves no other sequences than the explained ones"
    if not options.penalised:
        return ""
    some = train.select(slice(0, _SHOWN))
    with torch.no_grad():
        found, plain = shown(model.eval(), some), plain_scores(model, some)
    reasons = {
        "entropy": _without_attention(found),
        "diversity": "" if found.states is not None else "the network does not show its states",
        "supervision": _without_attention(found) or _unsupervised(found, train),
    }
    if not torch.allclose(found.scores, plain, rtol=1e-4, atol=1e-6):
        reasons = dict.fromkeys(reasons, "what the network shows of itself does not give the scores that it returns")
    return next((f"{name}={value}: {reasons[name]}" for name, value in options.wanted.items() if reasons.get(name)), "")


def penalty(options: Interpretability, found: Shown, batch: Batch) -> Tensor:
    """What is added to the loss of a minibatch: float[], the mean over its sequences; see :class:`Interpretability`.

    Args:
        options: that fit the network.
        found: what it showed of the minibatch.
        batch: the minibatch.
    """
    parts = [found.scores.new_zeros(())]
    if options.entropy:
        parts.append(options.entropy * _spread(cast("Tensor", found.attention), batch).mean())
    if options.diversity:
        parts.append(options.diversity * conicity(cast("Tensor", found.states), batch.valid).clamp_min(0).mean())
    if options.supervision:
        relevant = relevant_steps(cast("Truth", rationale_of(batch)))
        parts.append(options.supervision * missed(cast("Tensor", found.attention), relevant).mean())
    return torch.stack(parts).sum()


def normalised_entropy(attention: Tensor, valid: Tensor) -> Tensor:
    """−Σ a ln a / ln n: from 0, one step has it all, to 1, all have the same; 0 where there is one step only.

    Args:
        attention: float[…, T], the weights of each sequence's steps.
        valid: bool[…, T], broadcastable: the n steps there are.

    Returns:
        float[…].
    """
    valid = valid.expand(attention.shape)
    # 1 stands for padding, and a weight that underflowed has no slope: ln 0 would spoil every gradient
    safe = attention.clamp_min(torch.finfo(attention.dtype).tiny).where(valid, 1.0)
    longest = valid.sum(-1).clamp_min(2).to(attention.dtype).log()
    return -(safe * safe.log()).sum(-1) / longest


def conicity(states: Tensor, valid: Tensor) -> Tensor:
    """float[B]: mean cosine between the states float[B, T, H] at valid bool[B, T] steps and the mean of these.

    1: all point the same way; 0: they point everywhere; below 0: a few long ones stand against many short ones.
    Source: Mohankumar et al. 2020, equations 1 and 2.
    """
    count = valid.sum(1)
    row = valid.nonzero()[:, 0]
    there = states[valid]  # padding holds anything, and 0 in its place would have no direction
    mean = states.new_zeros(len(states), states.shape[2]).index_add(0, row, there) / count[:, None]
    cosines = F.cosine_similarity(there, mean[row], dim=1)
    return states.new_zeros(len(states)).index_add(0, row, cosines) / count


def missed(attention: Tensor, relevant: Tensor) -> Tensor:
    """float[B]: −ln of the attention float[B, T] on relevant bool[B, T] steps; 0 for a sequence that has none."""
    mass = (attention * relevant).sum(1).clamp_min(torch.finfo(attention.dtype).tiny)
    return -mass.where(relevant.any(1), 1.0).log()


def masked(batch: Batch, share: float, reference_of: ReferenceOf, rng: torch.Generator) -> Batch:
    """A minibatch without some of its features; what is gone is no part of its truths any more."""
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
    """The truth that attention can be supervised by, the first that is no alignment; None if there is none."""
    return next((truth for truth in batch.truths.values() if truth.semantics in _RATIONALES), None)


def relevant_steps(truth: Truth) -> Tensor:
    """bool[B, T]: the steps of which anything is relevant."""
    return truth.relevant.any(2) if truth.relevant.dim() == 3 else truth.relevant


def _spread(attention: Tensor, batch: Batch) -> Tensor:
    """float[B]: the attention's entropy; where each output step has one, its mean over those that are no padding."""
    if attention.dim() == 2:
        return normalised_entropy(attention, batch.valid)
    said = (batch.targets != 0).to(attention.dtype)
    return (normalised_entropy(attention, batch.valid[:, None]) * said).sum(1) / said.sum(1).clamp_min(1)


def _without_attention(found: Shown) -> str:
    return "the network has no attention" if found.attention is None else ""


def _unsupervised(found: Shown, train: Batch) -> str:
    if found.attention is not None and found.attention.dim() == 3:
        return "the network has one attention for each output step, and a rationale is about the whole output"
    if rationale_of(train) is None:
        return "the training sequences have no truth to serve as rationale"
    return ""
