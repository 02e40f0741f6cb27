"""The order of the methods over several tasks: by mean rank, by corrected mean, beside what they cost, and how firm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .cells import Source
from .statistics import Estimate


@dataclass(frozen=True)
class Standing:
    """How the methods stand over some tasks, by the headline; only methods scored on each of them take part.

    Attributes:
        scope: ``""`` for all tasks, or the application they are of.
        tasks: their specs.
        methods: best mean rank first.
        ranks: the mean over tasks of each method's rank, 1 the best, by its spec; tied methods share their mean rank.
        friedman: Friedman's χ² of the ranks and its p-value; None with fewer than two tasks or three methods.
        critical: Nemenyi's critical difference of mean ranks at 5 %; None as above.
        cliques: the largest sets of neighbours whose mean ranks differ by less than that, each with its best first.
        corrected: the mean over tasks of (score − random) / (best known − random), by spec; empty where chance is not
            known.
        cost: mean over tasks of the passes an explanation takes, in forward passes of one sequence, by spec.
        front: the methods no other beats in the corrected mean, or the mean, without costing more.
        without: for each task, the order of the methods over all others.
        firmness: for each task, Kendall's τ-b between the order without it and the order of all.
    """

    scope: str
    tasks: tuple[str, ...]
    methods: tuple[Source, ...]
    ranks: Mapping[str, float]
    friedman: tuple[float, float] | None = None
    critical: float | None = None
    cliques: tuple[tuple[str, ...], ...] = ()
    corrected: Mapping[str, Estimate] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    front: frozenset[str] = frozenset()
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    firmness: Mapping[str, float] = field(default_factory=dict)
