"""Interventions that are values: the reference, zero, the mean, a token, a value drawn from other sequences."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import torch
from torch import Tensor, nn

from ...errors import ParameterError, UnsupportedModelError
from ...fingerprints import seed_from
from ...plugins import register
from .base import Intervention

if TYPE_CHECKING:
    from ..data.batch import Batch
    from ..subject import Subject

# How vocabularies call the token of words they do not know.
_UNKNOWN: Final = frozenset({"<unk>", "[unk]", "unk", "<oov>", "[oov]", "oov", "<unknown>", "unknown"})


@register
@dataclass(frozen=True)
class Reference(Intervention):
    """The subject's own reference: what its task says stands for absence.

    It is also what the attributions of most methods are relative to, so that it is the default everywhere.

    Source: Sundararajan et al. 2017, arXiv:1703.01365, §1 (baseline).
    """

    name: ClassVar[str] = "reference"
    source: ClassVar[str] = "Sundararajan et al. 2017, arXiv:1703.01365, §1"

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        return (subject,)


@dataclass(frozen=True)
class _OfNumbers(Intervention):
    """Values that tokens have only by their embeddings, from which a token model is then seen."""

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        if not subject.batch.tokens:
            return ""
        if not subject.differentiable:
            return f"tokens have no {self.name} without an embedding: remove by pad, or by the reference"
        try:
            subject.continuous()
        except UnsupportedModelError as error:
            return str(error).removesuffix(".")
        return ""


@register
@dataclass(frozen=True)
class Zero(_OfNumbers):
    """0 in every value; of tokens, the zero vector in the place of the embedding.

    Source: Li, Monroe & Jurafsky 2016, arXiv:1612.08220, §3.
    """

    name: ClassVar[str] = "zero"
    source: ClassVar[str] = "Li, Monroe & Jurafsky 2016, arXiv:1612.08220, §3"

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        view = subject.continuous()
        return (dataclasses.replace(view, reference=torch.zeros_like(view.reference)),)


@register
@dataclass(frozen=True)
class Mean(_OfNumbers):
    """The mean of each feature over the steps of the background; of tokens, the mean of its embeddings.

    Source: mean imputation, Hooker et al. 2019, arXiv:1806.10758, §3.
    """

    name: ClassVar[str] = "mean"
    source: ClassVar[str] = "Hooker et al. 2019, arXiv:1806.10758, §3"

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        if subject.background is None:
            return "the task has no background data to take the mean of"
        return super().unfit(subject)

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        view = subject.continuous()
        background = _background(view)
        mean: Tensor = background.inputs[background.valid].mean(0)
        return (dataclasses.replace(view, reference=mean.expand_as(view.reference).clone()),)


@dataclass(frozen=True)
class _OfTokens(Intervention):
    """One token in the place of every one removed."""

    called: ClassVar[str]

    def token(self, subject: Subject) -> int | None:
        """Which one; None if the subject has none of that sort."""
        raise NotImplementedError

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        if not subject.batch.tokens:
            return f"numbers have no {self.called}: remove by zero or mean"
        token = self.token(subject)
        if token is None:
            return f"its vocabulary names no {self.called}: give its number by token:id=…"
        sizes = {m.num_embeddings for m in subject.model.modules() if isinstance(m, nn.Embedding)}
        if len(sizes) == 1 and token >= max(sizes):
            return f"its vocabulary has {max(sizes)} tokens and none of number {token}"
        return ""

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        return (dataclasses.replace(subject, reference=torch.full_like(subject.reference, self.token(subject) or 0)),)


@register
@dataclass(frozen=True)
class Pad(_OfTokens):
    """The padding token: what the model's embedding says it is, or token 0.

    Source: ERASER, DeYoung et al. 2020, arXiv:1911.03429, §4.2, for models that mask what is erased.
    """

    name: ClassVar[str] = "pad"
    called: ClassVar[str] = "padding token"
    source: ClassVar[str] = "DeYoung et al. 2020, arXiv:1911.03429, §4.2"

    def token(self, subject: Subject) -> int:
        """See :meth:`_OfTokens.token`."""
        known = {m.padding_idx for m in subject.model.modules() if isinstance(m, nn.Embedding)} - {None}
        return known.pop() or 0 if len(known) == 1 else 0


@register
@dataclass(frozen=True)
class Unknown(_OfTokens):
    """The token of unknown words, found by its name in the vocabulary (``<unk>``, ``[UNK]``, ``<oov>`` …).

    Unlike padding, the model has usually met it inside sequences.

    Source: Kim et al. 2020, arXiv:2010.13984, §1, on what replaces an erased word.
    """

    name: ClassVar[str] = "unk"
    called: ClassVar[str] = "token of unknown words"
    source: ClassVar[str] = "Kim et al. 2020, arXiv:2010.13984"

    def token(self, subject: Subject) -> int | None:
        """See :meth:`_OfTokens.token`."""
        vocabulary = subject.names.vocabulary
        return next((number for number, word in enumerate(vocabulary) if word.lower() in _UNKNOWN), None)


@register
@dataclass(frozen=True)
class Token(_OfTokens):
    """Any token, by its number: one that stands for a masked word in the user's own vocabulary.

    Args:
        id: its number.

    Source: as ``pad``.
    """

    name: ClassVar[str] = "token"
    called: ClassVar[str] = "tokens"
    source: ClassVar[str] = "DeYoung et al. 2020, arXiv:1911.03429, §4.2"

    id: int = 0

    def __post_init__(self) -> None:
        if self.id < 0:
            raise ParameterError(f"token: id={self.id} does not fit; tokens are numbered from 0.")

    def token(self, subject: Subject) -> int:  # noqa: ARG002  # it is given
        """See :meth:`_OfTokens.token`."""
        return self.id


@register
@dataclass(frozen=True)
class Marginal(Intervention):
    """The values of another sequence at the same step, drawn from the background; scores are means over the draws.

    What is removed is the knowledge of which of the values that occur there occurred here. Donors are drawn for each
    instance, the same for all masks, from those at least as long; where there is none, one that is too short gives its
    last step.

    Args:
        draws: donors of each instance. Everything that is asked costs so many times as much.

    Source: interventional expectation, Janzing et al. 2020, arXiv:1910.13413, eq. 3.
    """

    name: ClassVar[str] = "marginal"
    source: ClassVar[str] = "Janzing et al. 2020, arXiv:1910.13413, eq. 3"

    draws: int = 4

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ParameterError(f"marginal: draws={self.draws} does not fit; it must be positive.")

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        return "" if subject.background is not None else "the task has no background data to draw from"

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        donors = self._donors(subject)
        return tuple(
            dataclasses.replace(subject, reference=_values(subject, donors[:, draw])) for draw in range(self.draws)
        )

    def _donors(self, subject: Subject) -> Tensor:
        """int64[B, draws]: which sequence of the background gives its values."""
        lengths = _background(subject).lengths
        found = torch.empty(len(subject), self.draws, dtype=torch.int64)
        for row, length in enumerate(subject.batch.lengths.tolist()):
            rng = torch.Generator().manual_seed(seed_from("marginal", row))
            fitting = (lengths >= length).nonzero().squeeze(1)
            pool = fitting if len(fitting) else torch.arange(len(lengths))
            found[row] = pool[torch.randint(len(pool), (self.draws,), generator=rng)]
        return found


def _values(subject: Subject, donors: Tensor) -> Tensor:
    """Inputs [B, T(, D)]: what each instance's donor has at each step."""
    background = _background(subject)
    steps = torch.arange(subject.batch.inputs.shape[1])
    place = torch.minimum(steps, background.lengths[donors, None] - 1)
    return background.inputs[donors[:, None], place]


def _background(subject: Subject) -> Batch:
    if subject.background is None:
        raise UnsupportedModelError(f"{subject.label} has no background data.")
    return subject.background
