"""TimeSHAP: Shapley values of steps, features or cells of a sequence, with its insignificant past as one player."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.variants import Masked
from ..base import Explainer, Need
from ..surrogate.shapley import KernelShap

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Limit of the masks held at once, in bytes.
_MASKS_AT_ONCE = 1 << 26


@register
@dataclass(frozen=True)
class TimeShap(Explainer):
    """Shapley values by kernel regression, where the players are steps, features over time, or cells.

    The method first prunes the past. In a game of two players, a prefix of the sequence and the rest, the prefix is
    insignificant if its Shapley value is within the tolerance. The longest insignificant prefix becomes one player. The
    other players depend on the level:

    * ``event``: each later step;
    * ``feature``: each column over all later steps;
    * ``cell``: each cell where one of the ``top`` later steps crosses one of the ``top`` columns, by size of their
      values at the other two levels; the other cells of each of those steps; the other cells of each of those columns;
      and all remaining cells.

    The value of a player is shared equally among its steps or cells, so that the values sum to f(x) − f(x⁰) at every
    level. The feature level gives all later steps the same values. Where a step is one feature, only the event level
    applies.

    Parameters:
        level: ``"event"``, ``"feature"``, ``"cell"``, or ``"auto"``: cells, or events where a step is one feature.
        samples: coalitions for each regression, as in ``kernel-shap``; with all coalitions, the values are exact.
        tolerance: η as a share of |f(x) − f(x⁰)|; 0 prunes nothing. (In the paper, scores are probabilities and η is
            absolute.)
        top: number of steps and of columns at level ``cell``.
        scale: ``"raw"`` for the score itself, whose values sum to f(x) − f(x⁰), or ``"probability"`` of the class.

    Cost: 2 T forward sequence-equivalents for a sequence of T steps to prune it, if the tolerance is not 0, and
        min(2⌊samples / 2⌋, 2ⁿ) for n players; at level ``cell`` those of the other two levels as well.
    Fails where: kernel-shap does; and where players that can replace each other are in the pruned past.
    Source: Bento et al. 2021, arXiv:2012.00073, with its pruning algorithm; the remaining cells as in the timeshap
        package.
    """

    name: ClassVar[str] = "timeshap"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"time"})
    stochastic: ClassVar[bool] = True
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "Bento et al. 2021"

    level: Literal["auto", "event", "feature", "cell"] = "auto"
    samples: int = 2048
    tolerance: float = 0.025
    top: int = 3
    scale: Literal["raw", "probability"] = "raw"

    def __post_init__(self) -> None:
        if self.samples < 4:  # empty, full and one pair
            raise ParameterError(f"timeshap: samples={self.samples} does not fit (at least 4).")
        if not 0 <= self.tolerance < 1:
            raise ParameterError(f"timeshap: tolerance={self.tolerance} does not fit (0 or more, below 1).")
        if self.top < 1:
            raise ParameterError(f"timeshap: top={self.top} does not fit (at least 1).")
        # values of probabilities sum to a difference of probabilities and not to f(x) − f(x⁰)
        object.__setattr__(self, "complete", self.scale == "raw")
        object.__setattr__(self, "granularity", "step" if self.level == "event" else "any")

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        if self.level in {"feature", "cell"} and subject.granularity == "step":
            return f"a step has no {self.level}s of its own"
        players = self._largest_game(subject)
        # with only as many equations as values, any scores would fit: ask for twice as many
        if self.samples < (least := min(4 * players, 1 << players)):
            return f"there are {players} players, which need samples={least} or more"
        return super().applicable(subject)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        seeds = torch.randint(2**62, (len(subject),), generator=rng).tolist()
        later = self._later_steps(subject)
        level = self._level(subject)
        if level == "event":
            return self._step_values(subject, seeds, _events(later))
        features = self._step_values(subject, seeds, _features(later, subject.shape[2]))
        if level == "feature":
            return features
        events = self._step_values(subject, seeds, _events(later))
        # the last step is never pruned, and has each column's share
        last = features[torch.arange(len(subject)), subject.batch.lengths - 1]
        return self._step_values(subject, seeds, _crossings(later, events, last, self.top))

    def _level(self, subject: Subject) -> str:
        """Level at which a subject is explained."""
        if self.level != "auto":
            return self.level
        return "event" if subject.granularity == "step" else "cell"

    def _largest_game(self, subject: Subject) -> int:
        """Largest number of players of a regression, with the pruned past and the remaining cells of level ``cell``."""
        steps, columns = int(subject.batch.lengths.max()), subject.batch.inputs.shape[-1]
        level = self._level(subject)
        if level == "event":
            return steps
        if level == "feature":
            return columns + 1
        return max(steps, columns + 1, (min(self.top, steps) + 1) * (min(self.top, columns) + 1) + 1)

    def _later_steps(self, subject: Subject) -> Tensor:
        """Whether each step is kept by the pruning, bool[B, T]."""
        valid = subject.batch.valid
        if self.tolerance == 0:
            return valid
        later = valid.clone()
        steps = torch.arange(valid.shape[1])
        for rows in torch.arange(len(subject)).split(max(1, _MASKS_AT_ONCE // (2 * valid.shape[1] ** 2))):
            # prefixes of length 0, 1, … up to all steps but the last; and for each the steps after it
            sizes = subject.batch.lengths[rows]
            cuts = torch.cat([torch.arange(size) for size in sizes.tolist()])
            in_prefix = steps < cuts[:, None]
            of = rows.repeat_interleave(sizes)
            scores = subject.scores(Masked(torch.cat([in_prefix, ~in_prefix]), of.repeat(2)), self.scale).double()
            for row, prefix, suffix in zip(
                rows.tolist(), *(half.split(sizes.tolist()) for half in scores.chunk(2)), strict=True
            ):
                span = suffix[0] - prefix[0]
                share = (prefix - prefix[0] + suffix[0] - suffix) / 2
                slight = (share.abs() <= self.tolerance * span.abs())[1:].nonzero()
                later[row, : int(slight[-1]) + 1 if len(slight) else 0] = False
        return later

    def _step_values(self, subject: Subject, seeds: list[int], players: Tensor) -> Tensor:
        """Values of steps or cells: the value of each player, shared equally among its steps or cells.

        Args:
            subject: model and batch.
            seeds: seeds of the coalitions of each sequence.
            players: int64[B, T(, D)], the player of each step or cell; entries on padding are ignored.

        Returns:
            float of the players' shape, 0 on padding.
        """
        regression = KernelShap(samples=self.samples)
        valid = subject.batch.valid if players.dim() == 2 else subject.valid  # [B, T]
        values = torch.zeros(players.shape, dtype=torch.float64)
        rows_at_once = max(
            1, _MASKS_AT_ONCE // (regression.coalitions(self._largest_game(subject)) * players[0].numel())
        )
        for rows in torch.arange(len(subject)).split(rows_at_once):
            kept, games = [], []
            for row in rows.tolist():
                own_players, player, sizes = players[row][valid[row]].unique(return_inverse=True, return_counts=True)
                masks, solve = regression.design(len(own_players), seeds[row])
                keep = torch.ones(len(masks), *players.shape[1:], dtype=torch.bool)
                keep[:, valid[row]] = masks[:, player]
                kept.append(keep)
                games.append((row, solve, player, sizes))
            of = rows.repeat_interleave(torch.tensor([len(keep) for keep in kept]))
            scores = subject.scores(Masked(torch.cat(kept), of), self.scale).double()
            parts = scores.split([len(keep) for keep in kept])
            for (row, solve, player, sizes), scores_of_row in zip(games, parts, strict=True):
                values[row, valid[row]] = (solve(scores_of_row) / sizes)[player]
        return values.to(subject.batch_outputs.dtype)


def _events(later: Tensor) -> Tensor:
    """Players of level ``event``, int64[B, T]: one for each later step, and −1 for the pruned steps."""
    return torch.where(later, torch.arange(later.shape[1]), -1)


def _features(later: Tensor, columns: int) -> Tensor:
    """Players of level ``feature``, int64[B, T, D]: one for each column of the later steps, −1 for the pruned steps."""
    return torch.where(later[:, :, None], torch.arange(columns), -1)


def _crossings(later: Tensor, events: Tensor, features: Tensor, top: int) -> Tensor:
    """Players of level ``cell``, int64[B, T, D]: one for each cell where a top step and a top column cross.

    The other cells of each top step, the other cells of each top column, and all remaining cells are one player each;
    pruned steps are −1.

    Args:
        later: bool[B, T], steps that are not pruned.
        events: float[B, T], values of the steps.
        features: float[B, D], values of the columns.
        top: number of top steps and of top columns.
    """
    size = events.abs().masked_fill(~later, -1)
    # 0 for steps and columns that are not among the top, else their rank from 1
    step, column = (
        torch.zeros(values.shape, dtype=torch.int64).scatter(
            1, (order := values.argsort(dim=1, descending=True, stable=True)[:, :top]),
            torch.arange(1, order.shape[1] + 1).expand_as(order),
        )
        for values in (size, features.abs())
    )  # fmt: skip
    players = step[:, :, None] * (top + 1) + column[:, None]
    return torch.where(later[:, :, None], players, -1)
