"""What a model says when features are gone: the outputs of variants, read in every way that a metric reads them.

Scores are on the *evidence scale*: the probability of the explained class for classification; s·value for regression,
where s = sign(f(x) − f(x⁰)), so that removing evidence lowers it in both. The sign is that of the subject's own
reference under every intervention, because it is the difference the attributions speak of.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..tasks.subject import Subject

# A model that hands out probabilities has lost those below what float32 holds; they count as this, and not as nothing.
_LEAST: Final = float(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a model says of M rows of J variants.

    Attributes:
        score: float64[M, J], on the evidence scale.
        log_probability: float64[M, J], ln p of the explained class; NaN for regression.
        log_odds: float64[M, J], ln p/(1 − p); NaN for regression.
        decides: bool[M, J], whether the explained class is the predicted one; False for regression.
        moves: float64[M, J − 1], ‖F(j) − F(j + 1)‖₁ of neighbouring variants, F being all class probabilities, or all
            values for regression.
    """

    score: Tensor
    log_probability: Tensor
    log_odds: Tensor
    decides: Tensor
    moves: Tensor

    def columns(self, begin: int, end: int) -> Outcome:
        """The variants from one place to before another."""
        last = max(begin, end - 1)
        cut = {
            field.name: getattr(self, field.name)[:, begin : last if field.name == "moves" else end]
            for field in fields(self)
        }
        return Outcome(**cut)


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
    scaled = outputs.softmax(2) if subject.outputs_are == "logits" else outputs
    chosen = scaled.gather(2, target).squeeze(2)
    moves = scaled.diff(dim=1).abs().sum(2)
    if not subject.classification:
        nothing = torch.full_like(chosen, torch.nan)
        return Outcome(
            chosen * sign[instance, None], nothing, nothing, torch.zeros_like(chosen, dtype=torch.bool), moves
        )
    decides = scaled.argmax(2) == target.squeeze(2)
    if subject.outputs_are == "logits":
        own = outputs.gather(2, target).squeeze(2)
        others = outputs.scatter(2, target, -torch.inf).logsumexp(2)
        log_probability = outputs.log_softmax(2).gather(2, target).squeeze(2)
        return Outcome(chosen, log_probability, own - others, decides, moves)
    log_probability = chosen.clamp_min(_LEAST).log()
    rest = (scaled.sum(2) - chosen).clamp_min(_LEAST).log()
    return Outcome(chosen, log_probability, log_probability - rest, decides, moves)


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Rows below each other."""
    return Outcome(
        **{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Outcome)}
    )


def evidence_sign(subject: Subject) -> Tensor:
    """s, float64[B]: 1 for classification; for regression the sign of f(x) − f(x⁰), and 1 where they are equal."""
    if subject.classification:
        return torch.ones(len(subject), dtype=torch.float64)
    return 1.0 - 2.0 * (subject.score < subject.reference_score).double()
