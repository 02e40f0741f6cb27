"""Interventions that replace a feature by a value: reference, zero, mean, a token, or a value of another sequence."""

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

# Names of the token for out-of-vocabulary words, in small letters.
_UNKNOWN: Final = frozenset({"<unk>", "[unk]", "unk", "<oov>", "[oov]", "oov", "<unknown>", "unknown"})


@register
@dataclass(frozen=True)
class Reference(Intervention):
    """Replacement by the subject's own reference, the input that its task defines as absence.

    The attributions of most methods are relative to the same reference, so it is the default everywhere.

    Source: Sundararajan et al. 2017, arXiv:1703.01365, §1 (baseline).
    """

    name: ClassVar[str] = "reference"
    source: ClassVar[str] = "Sundararajan et al. 2017, arXiv:1703.01365, §1"

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        return (subject,)


@dataclass(frozen=True)
class _NumericValue(Intervention):
    """Replacement by a numeric value; for tokens it applies to their embeddings, which become the inputs."""

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        if subject.batch.layout is not None and subject.batch.layout.categories:
            listed = ", ".join(subject.batch.layout.categories)
            return f"{listed} are categories, which have no {self.name}: remove by the reference"
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
class Zero(_NumericValue):
    """Replacement by 0 in every value; for tokens, the zero vector replaces the embedding.

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
class Mean(_NumericValue):
    """Mean imputation: the mean of each feature over the steps of the background; for tokens, of their embeddings.

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
        if background.layout is None:
            mean: Tensor = background.inputs[background.valid].mean(0)
            return (dataclasses.replace(view, reference=mean.expand_as(view.reference).clone()),)
        reference = view.reference.clone()
        for part in background.layout:
            own = background.valid[:, part.span]
            reference[:, part.span] = background.inputs[:, part.span][own].mean(0)
        return (dataclasses.replace(view, reference=torch.where(view.batch.cells, reference, view.reference)),)


@dataclass(frozen=True)
class _TokenValue(Intervention):
    """Replacement of every removed token by one fixed token.

    Class attributes:
        called: the kind of token, for messages.
    """

    called: ClassVar[str]

    def token(self, subject: Subject) -> int | None:
        """The number of the replacing token; None if the subject's vocabulary has no such token."""
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
            return f"its vocabulary has {max(sizes)} tokens, numbered from 0, and no token {token}"
        return ""

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        return (dataclasses.replace(subject, reference=torch.full_like(subject.reference, self.token(subject) or 0)),)


@register
@dataclass(frozen=True)
class Pad(_TokenValue):
    """Replacement by the padding token: the ``padding_idx`` of the model's embedding, or token 0.

    Source: ERASER, DeYoung et al. 2020, arXiv:1911.03429, §4.2, for models that mask what is erased.
    """

    name: ClassVar[str] = "pad"
    called: ClassVar[str] = "padding token"
    source: ClassVar[str] = "DeYoung et al. 2020, arXiv:1911.03429, §4.2"

    def token(self, subject: Subject) -> int:
        """See :meth:`_TokenValue.token`."""
        known = {m.padding_idx for m in subject.model.modules() if isinstance(m, nn.Embedding)} - {None}
        return known.pop() or 0 if len(known) == 1 else 0


@register
@dataclass(frozen=True)
class Unknown(_TokenValue):
    """Replacement by the unknown-word token, found by its name in the vocabulary (``<unk>``, ``[UNK]``, ``<oov>`` …).

    Unlike padding, this token has usually occurred inside training sequences.

    Source: Kim et al. 2020, arXiv:2010.13984, §1, on what replaces an erased word.
    """

    name: ClassVar[str] = "unk"
    called: ClassVar[str] = "token of unknown words"
    source: ClassVar[str] = "Kim et al. 2020, arXiv:2010.13984"

    def token(self, subject: Subject) -> int | None:
        """See :meth:`_TokenValue.token`."""
        vocabulary = subject.names.vocabulary
        return next((number for number, word in enumerate(vocabulary) if word.lower() in _UNKNOWN), None)


@register
@dataclass(frozen=True)
class Token(_TokenValue):
    """Replacement by any token, given by its number: the mask token of the user's own vocabulary, for example.

    Args:
        id: the number of the token.

    Source: as ``pad``.
    """

    name: ClassVar[str] = "token"
    called: ClassVar[str] = "tokens"
    source: ClassVar[str] = "DeYoung et al. 2020, arXiv:1911.03429, §4.2"

    id: int = 0

    def __post_init__(self) -> None:
        if self.id < 0:
            raise ParameterError(f"token: id={self.id} does not fit; tokens are numbered from 0.")

    def token(self, subject: Subject) -> int:  # noqa: ARG002  # the number is a parameter
        """See :meth:`_TokenValue.token`."""
        return self.id


@register
@dataclass(frozen=True)
class Marginal(Intervention):
    """Replacement by the values of other sequences at the same step, drawn from the background.

    Scores are means over the draws, so a removed feature is averaged out over the values that occur at its step. The
    donor sequences of an instance are drawn once, the same for all masks, from the background sequences that are at
    least as long. Where there is none, a shorter donor repeats its last step.

    Args:
        draws: donors of each instance. Every evaluation of the model costs so many times as much.

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
            dataclasses.replace(subject, reference=_donor_values(subject, donors[:, draw]))
            for draw in range(self.draws)
        )

    def _donors(self, subject: Subject) -> Tensor:
        """int64[B, draws]: rows of the background that donate their values to each instance."""
        lengths = _background(subject).lengths
        donors = torch.empty(len(subject), self.draws, dtype=torch.int64)
        for row, length in enumerate(subject.batch.lengths.tolist()):
            rng = torch.Generator().manual_seed(seed_from("marginal", row))
            long_enough = (lengths >= length).nonzero().squeeze(1)
            pool = long_enough if len(long_enough) else torch.arange(len(lengths))
            donors[row] = pool[torch.randint(len(pool), (self.draws,), generator=rng)]
        return donors


def _donor_values(subject: Subject, donors: Tensor) -> Tensor:
    """Inputs [B, T(, D)] of each instance's donor, step by step; after its end the last step is repeated."""
    background = _background(subject)
    donor_steps = background.nearest_steps(donors, torch.arange(subject.batch.inputs.shape[1]))
    return background.inputs[donors[:, None], donor_steps]


def _background(subject: Subject) -> Batch:
    """The background sequences of a subject, which must have some."""
    if subject.background is None:
        raise UnsupportedModelError(f"{subject.label} has no background data.")
    return subject.background
