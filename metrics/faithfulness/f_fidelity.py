"""F-Fidelity: faithfulness by removal, measured on a model that is fine-tuned on sequences with missing features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch
from torch import Tensor

from ...errors import ParameterError
from ...fingerprints import seed_from
from ...plugins import register
from ...tasks.data.masking import ceil_share, feature_shape
from ...tasks.engine.variants import Masked
from ...tasks.interventions.mask_training import mask_trained
from ..base import Direction, Evidence, Family, Metric
from ..removal.curves import counts_of_fractions
from ..removal.features import orders
from ..removal.outcomes import evidence_sign
from ..removal.retraining import ranking

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Values of the masks and orders that are computed at once, about twenty bytes each.
_VALUES_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True)
class _FFidelityBase(Metric):
    """Base class of the two F-Fidelity metrics, with the fine-tuned model and the removals that they share."""

    family: ClassVar[Family] = "faithfulness"
    needs_retraining: ClassVar[bool] = True
    source: ClassVar[str] = "Zheng et al. 2024 (F-Fidelity), arXiv:2410.02970, §4"
    part: ClassVar[Literal["removed", "kept"]]

    sizes: tuple[float, ...] = (0.1, 0.3, 0.5)
    alpha: float = 0.5
    beta: float = 0.1
    samples: int = 20
    epochs: int = 5

    def __post_init__(self) -> None:
        shares = (*self.sizes, self.alpha, self.beta)
        if not self.sizes or not all(0 < share <= 1 for share in shares) or min(self.samples, self.epochs) < 1:
            raise ParameterError(
                f"{self.name}: sizes={self.sizes}, alpha={self.alpha}, beta={self.beta}, samples={self.samples}, "
                f"epochs={self.epochs} does not fit; shares are above 0 and at most 1, numbers positive."
            )

    @property
    def intervention(self) -> str:
        """See :attr:`Metric.intervention`."""
        return "reference"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        key = "f-fidelity", self.sizes, self.alpha, self.beta, self.samples, self.epochs
        score_drops = evidence.get(key, self._score_drops)
        return score_drops[:, 0 if self.part == "removed" else 1]

    def _score_drops(self, evidence: Evidence) -> Tensor:
        """Drop of the score without features of the top, and without features of the rest; float64[B, 2]."""
        subject = evidence.subject
        tuned = mask_trained(subject, self.beta, self.epochs)
        unperturbed = _evidence_scores(evidence, tuned, tuned.batch_outputs, torch.arange(len(subject)))
        features = subject.features(evidence.attribution.granularity).shape[1]
        at_once = max(1, _VALUES_AT_ONCE // (2 * len(self.sizes) * self.samples * features))
        chunks = torch.arange(len(subject)).split(at_once)
        scores = torch.cat([self._scores(evidence, tuned, chunk) for chunk in chunks])
        return unperturbed[:, None] - scores.mean((1, 3))

    def _scores(self, evidence: Evidence, tuned: Subject, chunk: Tensor) -> Tensor:
        """Scores of some sequences without features drawn from the top, and from the rest.

        Args:
            evidence: the cell.
            tuned: the fine-tuned model.
            chunk: int64[C], the sequences.

        Returns:
            float64[C, sizes, 2, samples].
        """
        valid = evidence.subject.features(evidence.attribution.granularity)
        ranks = _ranks(ranking(evidence.subject, evidence.attribution, "evidence"), valid, chunk, self.samples)
        k = counts_of_fractions(valid, self.sizes)[chunk]
        top = ranks[:, None] < k[:, :, None, None]
        parts = torch.stack([top, ~top & valid[chunk][:, None, None]], 2)
        limit = ceil_share(valid[chunk].sum(1), self.beta)[:, None, None, None]
        count = torch.minimum(ceil_share(parts.sum(4), self.alpha), limit)
        keys = removal_keys(valid, chunk, self.samples)[:, None, None]
        keep = keys.masked_fill(~parts, torch.inf).argsort(4).argsort(4) >= count[..., None]
        shape = feature_shape(tuned.batch, evidence.attribution.granularity)
        instance = chunk.repeat_interleave(count[0].numel())
        outputs = tuned.outputs(Masked(keep.reshape(-1, *shape), instance))
        return _evidence_scores(evidence, tuned, outputs, instance).view(count.shape)


@register
@dataclass(frozen=True)
class FFidelity(_FFidelityBase):
    """Drop of a fine-tuned model's score when random features among those ranked first are removed (Fid+).

        mean over sizes s and draws R of  g(x) − g(x without R),   R: min(⌈α·k⌉, ⌈β·n⌉) of the top k = ⌈s·n⌉ features

    g is the explained model, fine-tuned for a few epochs on the task's own training data, with up to ⌈β·n⌉ features of
    each sequence removed at random in each minibatch. Sequences that lack so many features are then within its training
    distribution, and the drop of its score measures the features' importance. The fine-tuning does not depend on any
    explanation: nothing can leak as it may in ROAR, and it is done once for all methods. Of a large explanation no more
    features are removed than in the fine-tuning.

    * Removal by the task's reference; the score is that of ``comprehensiveness``: the probability of the explained
      class, or s·value for regression, s = sign(f(x) − f(x⁰)) of the explained model. Features are steps or cells,
      whichever the method attributes to; in the fine-tuning of g they are those of the task.
    * The draws depend only on the index of the sequence and its number of features: each draw has a random key for each
      feature, and the features with the smallest keys are removed. All methods and both metrics share them. Ties: one
      random order for each draw.
    * Always defined. From −1 to 1 for classification.
    * Cost: one fine-tuning of ``epochs`` epochs for each model, shared by all methods; 2 · sizes · samples forward
      passes of each sequence for each method, shared with ``f-fidelity-kept``.

    Args:
        sizes: the s: sizes of the explanation, as shares of all features.
        alpha: the share of the explanation, or of the rest, that is removed.
        beta: largest share of all features that is removed, in the fine-tuning and in the evaluation.
        samples: number of draws for each sequence and size.
        epochs: number of epochs of the fine-tuning.

    Source: Zheng et al. 2024 (F-Fidelity), §4, FFid+, with their α = .5 and β = .1; the probability instead of their
    accuracy, and an exact number of removed features where their code removes each with a probability.
    """

    name: ClassVar[str] = "f-fidelity"
    direction: ClassVar[Direction] = "higher"
    part: ClassVar[Literal["removed", "kept"]] = "removed"


@register
@dataclass(frozen=True)
class FFidelityKept(_FFidelityBase):
    """Drop of a fine-tuned model's score when random features among those not ranked first are removed (Fid−).

        mean over sizes s and draws R of  g(x) − g(x without R),   R: min(⌈α·(n − k)⌉, ⌈β·n⌉) of all but the top k

    with k = ⌈s·n⌉. Lower is better: removing features outside of the explanation should not change the score. Model,
    removal, draws, range and cost are those of ``f-fidelity``. Where the top holds all features, nothing is removed and
    the drop is 0. Always defined.

    Args:
        sizes: the s: sizes of the explanation, as shares of all features.
        alpha: the share of the explanation, or of the rest, that is removed.
        beta: largest share of all features that is removed, in the fine-tuning and in the evaluation.
        samples: number of draws for each sequence and size.
        epochs: number of epochs of the fine-tuning.

    Source: Zheng et al. 2024 (F-Fidelity), §4, FFid−; see ``f-fidelity``.
    """

    name: ClassVar[str] = "f-fidelity-kept"
    direction: ClassVar[Direction] = "lower"
    part: ClassVar[Literal["removed", "kept"]] = "kept"


def removal_keys(valid: Tensor, instance: Tensor, count: int) -> Tensor:
    """Random keys of the features of each instance, float64[C, count, N]; those with the smallest are removed first.

    They depend only on the index of the instance and its number of valid features; ∞ on padding.

    Args:
        valid: bool[B, N] of the whole batch.
        instance: int64[C], the instances to draw for.
        count: number of draws of each instance.
    """
    keys = torch.full((len(instance), count, valid.shape[1]), torch.inf, dtype=torch.float64)
    for row, number in enumerate(instance.tolist()):
        rng = torch.Generator().manual_seed(seed_from("random removal", number))
        keys[row, :, valid[number]] = torch.rand(count, int(valid[number].sum()), generator=rng, dtype=torch.float64)
    return keys


def _ranks(values: Tensor, valid: Tensor, chunk: Tensor, samples: int) -> Tensor:
    """Rank of each feature in each draw, int64[C, samples, N]; the same in all draws where nothing is tied."""
    return orders(values, valid, chunk, samples).numbered(chunk, torch.arange(samples))


def _evidence_scores(evidence: Evidence, tuned: Subject, outputs: Tensor, instance: Tensor) -> Tensor:
    """Scores on the evidence scale, float64[V], of the fine-tuned model's outputs float[V, K].

    In float64 probabilities near 1 still differ.
    """
    target = evidence.subject.target[instance, None]
    chosen = tuned.scaled(outputs.double(), "probability").gather(1, target).squeeze(1)
    return chosen * evidence_sign(evidence.subject)[instance]
