"""F-Fidelity: faithfulness by removal, asked of a model to which missing features are nothing new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch
from torch import Tensor

from ...errors import ParameterError
from ...fingerprints import seed_from
from ...plugins import register
from ...tasks.data.masking import at_most
from ...tasks.engine.variants import Masked
from ...tasks.interventions.mask_training import mask_trained
from ..base import Direction, Evidence, Family, Metric
from ..removal.curves import counts_of_fractions
from ..removal.features import orders
from ..removal.outcomes import evidence_sign
from ..removal.retraining import ranking

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Values of the masks and orders made at once, some twenty bytes each.
_VALUES_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True)
class _Fidelity(Metric):
    """What the two share: the model trained on, and the removals it is asked about."""

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
        drops = evidence.get(key, self._drops)
        return drops[:, 0 if self.part == "removed" else 1]

    def _drops(self, evidence: Evidence) -> Tensor:
        """float64[B, 2]: how far the score falls without features of the top, and without features of the rest."""
        subject = evidence.subject
        asked = mask_trained(subject, self.beta, self.epochs)
        whole = _read(evidence, asked, asked.batch_outputs, torch.arange(len(subject)))
        features = subject.features(evidence.attribution.granularity).shape[1]
        at_once = max(1, _VALUES_AT_ONCE // (2 * len(self.sizes) * self.samples * features))
        chunks = torch.arange(len(subject)).split(at_once)
        scores = torch.cat([self._scores(evidence, asked, chunk) for chunk in chunks])
        return whole[:, None] - scores.mean((1, 3))

    def _scores(self, evidence: Evidence, asked: Subject, chunk: Tensor) -> Tensor:
        """float64[C, sizes, 2, samples]: scores of some sequences without what was drawn from the top and the rest."""
        valid = evidence.subject.features(evidence.attribution.granularity)
        ranks = _ranks(ranking(evidence.subject, evidence.attribution, "evidence"), valid, chunk, self.samples)
        k = counts_of_fractions(valid, self.sizes)[chunk]
        top = ranks[:, None] < k[:, :, None, None]
        parts = torch.stack([top, ~top & valid[chunk][:, None, None]], 2)
        most = at_most(valid[chunk].sum(1), self.beta)[:, None, None, None]
        count = torch.minimum(at_most(parts.sum(4), self.alpha), most)
        keys = removal_keys(valid, chunk, self.samples)[:, None, None]
        keep = keys.masked_fill(~parts, torch.inf).argsort(4).argsort(4) >= count[..., None]
        shape = (
            asked.batch.inputs.shape[1:2]
            if evidence.attribution.granularity == "step"
            else asked.batch.inputs.shape[1:]
        )
        instance = chunk.repeat_interleave(count[0].numel())
        outputs = asked.outputs(Masked(keep.reshape(-1, *shape), instance))
        return _read(evidence, asked, outputs, instance).view(count.shape)


@register
@dataclass(frozen=True)
class FFidelity(_Fidelity):
    """How far the score falls without random ones of the features ranked first, asked of a model trained for it (Fid+).

        mean over sizes s and draws R of  g(x) − g(x without R),   R: min(⌈α·k⌉, ⌈β·n⌉) of the top k = ⌈s·n⌉ features

    g is the explained model trained on for a few epochs, on the task's own training data with up to ⌈β·n⌉ features of
    each sequence removed at random in each minibatch: sequences that lack that many are then nothing new to it, and
    what its score loses is the features' worth. It is trained without regard to any explanation, so that nothing leaks
    as it may in ROAR, and once for all methods. Of a large explanation only so much is removed as it knows.

    * Removal by the task's reference; the score is that of ``comprehensiveness``: the probability of the explained
      class, or s·value for regression, s = sign(f(x) − f(x⁰)) of the explained model. Features are steps or cells, as
      the method tells them apart; g was trained on those of the task.
    * The draws depend on the number of the sequence and of its features only: one key for each draw and feature, of
      which the smallest go; all methods and both metrics share them. Ties: one random break for each draw.
    * Always defined. From −1 to 1 for classification.
    * Cost: one training of ``epochs`` epochs for each model, shared by all methods; 2 · sizes · samples forward passes
      of each sequence for each method, shared with ``f-fidelity-kept``.

    Args:
        sizes: the s: how large an explanation is, as a share of all features.
        alpha: the share of the explanation, or of the rest, that is removed.
        beta: the largest share of all features that is removed, in training and here.
        samples: draws of each sequence and size.
        epochs: of the training.

    Source: Zheng et al. 2024 (F-Fidelity), §4, FFid+, with their α = .5 and β = .1; the probability for their accuracy,
    and exactly so many features removed where their code removes each with a chance.
    """

    name: ClassVar[str] = "f-fidelity"
    direction: ClassVar[Direction] = "higher"
    part: ClassVar[Literal["removed", "kept"]] = "removed"


@register
@dataclass(frozen=True)
class FFidelityKept(_Fidelity):
    """How far the score falls without random ones of the features not ranked first, of a model trained for it (Fid−).

        mean over sizes s and draws R of  g(x) − g(x without R),   R: min(⌈α·(n − k)⌉, ⌈β·n⌉) of all but the top k

    with k = ⌈s·n⌉. Lower is better: what an explanation leaves out should not be missed. Model, removal, draws, range
    and cost as for ``f-fidelity``, which shares them. Where the top is everything, nothing is removed and the fall is
    0. Always defined.

    Args:
        sizes: the s: how large an explanation is, as a share of all features.
        alpha: the share of the explanation, or of the rest, that is removed.
        beta: the largest share of all features that is removed, in training and here.
        samples: draws of each sequence and size.
        epochs: of the training.

    Source: Zheng et al. 2024 (F-Fidelity), §4, FFid−; see ``f-fidelity``.
    """

    name: ClassVar[str] = "f-fidelity-kept"
    direction: ClassVar[Direction] = "lower"
    part: ClassVar[Literal["removed", "kept"]] = "kept"


def removal_keys(valid: Tensor, instance: Tensor, count: int) -> Tensor:
    """float64[C, count, N]: random keys of each instance's features, ∞ on padding; the smallest are removed first.

    They depend on the number of the instance and of its valid features only.

    Args:
        valid: bool[B, N] of the whole batch.
        instance: int64[C], the instances to draw for.
        count: draws of each.
    """
    keys = torch.full((len(instance), count, valid.shape[1]), torch.inf, dtype=torch.float64)
    for row, number in enumerate(instance.tolist()):
        rng = torch.Generator().manual_seed(seed_from("random removal", number))
        keys[row, :, valid[number]] = torch.rand(count, int(valid[number].sum()), generator=rng, dtype=torch.float64)
    return keys


def _ranks(values: Tensor, valid: Tensor, chunk: Tensor, samples: int) -> Tensor:
    """int64[C, samples, N]: the place of each feature in each draw; the same in all where nothing is tied."""
    found = orders(values, valid, chunk, samples)
    first = torch.searchsorted(found.instance, chunk)
    last = torch.searchsorted(found.instance, chunk, right=True) - 1
    return found.ranks[torch.minimum(first[:, None] + torch.arange(samples), last[:, None])]


def _read(evidence: Evidence, asked: Subject, outputs: Tensor, instance: Tensor) -> Tensor:
    """float64[V]: outputs float[V, K] on the evidence scale; in float64, in which probabilities near 1 still differ."""
    target = evidence.subject.target[instance, None]
    chosen = asked.scaled(outputs.double(), "probability").gather(1, target).squeeze(1)
    return chosen * evidence_sign(evidence.subject)[instance]
