"""What a model says when features are gone: the outputs of variants, read in every way that a metric reads them.

Scores are on the *evidence scale*: the probability of the explained class for classification; s·value for regression,
where s = sign(f(x) − f(x⁰)), so that removing evidence lowers it in both. The sign is that of the subject's own
reference under every intervention, because it is the difference the attributions speak of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# A model that hands out probabilities has lost those below what float32 holds; they count as this, and not as nothing.
_LEAST: Final = float(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a model says of M rows of J variants.

    One number of each variant is kept, from which the others follow exactly: the log-odds of the explained class, which
    lose nothing where a probability is next to 0 or 1; for regression the value.

    Attributes:
        kept: float64[M, J], ln p/(1 − p) of the explained class; s·value for regression.
        decides: bool[M, J], whether the explained class is the predicted one; False for regression.
        way: float64[M], how far the outputs go from the first variant to the last, Σ_j ‖F(j) − F(j + 1)‖₁, F being all
            class probabilities, or all values for regression.
        classes: whether the outputs are scores of classes.
    """

    kept: Tensor
    decides: Tensor
    way: Tensor
    classes: bool

    @property
    def score(self) -> Tensor:
        """float64[M, J], on the evidence scale."""
        return self.kept.sigmoid() if self.classes else self.kept

    @property
    def log_odds(self) -> Tensor:
        """float64[M, J], ln p/(1 − p) of the explained class; NaN for regression."""
        return self.kept if self.classes else torch.full_like(self.kept, torch.nan)

    @property
    def log_probability(self) -> Tensor:
        """float64[M, J], ln p of the explained class; NaN for regression."""
        return functional.logsigmoid(self.log_odds)

    @classmethod
    def room(cls, rows: int, variants: int, *, classes: bool) -> Outcome:
        """Room for so many rows of so many variants, to be :meth:`put` there.

        Taken at once: small parts, kept until they are joined, would lie between what is needed only for a moment and
        keep the process from using that memory again.
        """
        kept, decides = (torch.empty(rows, variants, dtype=dtype) for dtype in (torch.float64, torch.bool))
        return cls(kept, decides, torch.empty(rows, dtype=torch.float64), classes)

    def put(self, rows: slice, part: Outcome) -> None:
        """Write some rows."""
        for name in ("kept", "decides", "way"):
            getattr(self, name)[rows] = getattr(part, name)


def outcome_of(subject: Subject, outputs: Tensor, instance: Tensor, sign: Tensor) -> Outcome:
    """Read outputs float[M, J, K] of variants of the instances int64[M].

    Args:
        subject: whose outputs they are.
        outputs: raw.
        instance: whose target is read.
        sign: float64[B], see :func:`evidence_sign`.
    """
    # in float64, in which probabilities near 1 still differ
    outputs = outputs.double()
    target = subject.target[instance][:, None, None].expand(*outputs.shape[:2], 1)
    logits = subject.outputs_are == "logits"
    scaled = outputs.softmax(2) if logits else outputs
    way = scaled.diff(dim=1).abs().sum(2).sum(1)
    chosen = outputs.gather(2, target).squeeze(2)
    if not subject.classification:
        none = torch.zeros_like(chosen, dtype=torch.bool)
        return Outcome(chosen * sign[instance, None], none, way, classes=False)
    decides = scaled.argmax(2) == target.squeeze(2)
    if logits:
        others = outputs.scatter(2, target, -torch.inf).logsumexp(2)
        return Outcome(chosen - others, decides, way, classes=True)
    rest = scaled.sum(2) - chosen
    return Outcome(chosen.clamp_min(_LEAST).log() - rest.clamp_min(_LEAST).log(), decides, way, classes=True)


def evidence_sign(subject: Subject) -> Tensor:
    """s, float64[B]: 1 for classification; for regression the sign of f(x) − f(x⁰), and 1 where they are equal."""
    if subject.classification:
        return torch.ones(len(subject), dtype=torch.float64)
    return 1.0 - 2.0 * (subject.score < subject.reference_score).double()
