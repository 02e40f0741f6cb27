"""Model outputs after removal, as probability, log-odds, decision and path length.

x is a sequence, x⁰ the reference of its task, whatever replaces features in this removal. Scores are on the *evidence
scale*: the probability of the explained class for classification, and s·value for regression, where s = sign(f(x) −
f(x⁰)). In both cases removing evidence lowers the score. The sign is the same under every intervention, because f(x) −
f(x⁰) is what attributions explain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# A model that returns probabilities cannot represent those below the range of float32; they count as this, not as 0.
_LEAST: Final = float(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Model outputs of M rows of J variants.

    One number is stored for each variant, from which the scores follow exactly. For classification it is the log-odds
    of the explained class, which stay exact where a probability is close to 0 or 1; for regression it is the value.

    Attributes:
        stored: float64[M, J], ln p/(1 − p) of the explained class; s·value for regression.
        decides: bool[M, J], whether the explained class is the predicted one; False for regression.
        path_length: float64[M], length of the path of the outputs from the first variant to the last,
            Σ_j ‖F(j) − F(j + 1)‖₁, where F are all class probabilities, or all values for regression.
        classification: whether the outputs are class scores.
    """

    stored: Tensor
    decides: Tensor
    path_length: Tensor
    classification: bool

    @property
    def score(self) -> Tensor:
        """Score on the evidence scale, float64[M, J]."""
        return self.stored.sigmoid() if self.classification else self.stored

    @property
    def log_odds(self) -> Tensor:
        """Log-odds ln p/(1 − p) of the explained class, float64[M, J]; NaN for regression."""
        return self.stored if self.classification else torch.full_like(self.stored, torch.nan)

    @property
    def log_probability(self) -> Tensor:
        """Log-probability ln p of the explained class, float64[M, J]; NaN for regression."""
        return functional.logsigmoid(self.log_odds)

    @classmethod
    def empty(cls, rows: int, variants: int, *, classification: bool) -> Outcome:
        """Allocate an outcome of this size, to be filled by :meth:`write`.

        The memory is allocated at once. Small parts that are kept until they are joined would lie between short-lived
        tensors and keep the process from reusing that memory.
        """
        stored, decides = (torch.empty(rows, variants, dtype=dtype) for dtype in (torch.float64, torch.bool))
        return cls(stored, decides, torch.empty(rows, dtype=torch.float64), classification)

    def write(self, rows: slice, part: Outcome) -> None:
        """Overwrite some rows with those of another outcome."""
        for name in ("stored", "decides", "path_length"):
            getattr(self, name)[rows] = getattr(part, name)


def outcome_of(subject: Subject, outputs: Tensor, instance: Tensor, sign: Tensor) -> Outcome:
    """Outcome of the raw outputs of variants.

    Args:
        subject: the model and the explained targets.
        outputs: float[M, J, K], raw.
        instance: int64[M], the instance of each row, whose target is read.
        sign: float64[B], see :func:`evidence_sign`.
    """
    # in float64 probabilities near 1 still differ
    outputs = outputs.double()
    target = subject.target[instance][:, None, None].expand(*outputs.shape[:2], 1)
    logits = subject.gives_logits
    outputs = subject.logits(outputs) if logits else outputs
    scaled = outputs.softmax(2) if logits else outputs
    path_length = scaled.diff(dim=1).abs().sum(2).sum(1)
    chosen = outputs.gather(2, target).squeeze(2)
    if not subject.classification:
        undecided = torch.zeros_like(chosen, dtype=torch.bool)
        return Outcome(chosen * sign[instance, None], undecided, path_length, classification=False)
    decides = scaled.argmax(2) == target.squeeze(2)
    if logits:
        others = outputs.scatter(2, target, -torch.inf).logsumexp(2)
        return Outcome(chosen - others, decides, path_length, classification=True)
    rest = scaled.sum(2) - chosen
    log_odds = chosen.clamp_min(_LEAST).log() - rest.clamp_min(_LEAST).log()
    return Outcome(log_odds, decides, path_length, classification=True)


def evidence_sign(subject: Subject) -> Tensor:
    """Sign of evidence s, float64[B]: 1 for classification; for regression that of f(x) − f(x⁰), 1 where that is 0."""
    if subject.classification:
        return torch.ones(len(subject), dtype=torch.float64)
    return 1.0 - 2.0 * (subject.score < subject.reference_score).double()
