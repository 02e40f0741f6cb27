"""The grid: the plug-ins of a run and the places of its cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from ...errors import UsageError
from ...methods.base import Explainer
from ...metrics.base import Metric
from ...plugins import build
from ...tasks.base import Task
from ..results.cells import Key, Source, source_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...plugins import Plugin


@dataclass(frozen=True)
class Grid:
    """Every method on every model of every task, judged by every metric.

    Attributes:
        tasks, methods, metrics: each plug-in with the name it has in cells, in the order of the suite.
        seeds, explainer_seeds: as in :class:`xrnnbench.harness.suites.suite.Suite`.
    """

    tasks: tuple[tuple[Source, Task], ...]
    methods: tuple[tuple[Source, Explainer], ...]
    metrics: tuple[tuple[Source, Metric], ...]
    seeds: tuple[int, ...]
    explainer_seeds: tuple[int, ...]

    @classmethod
    def of(
        cls,
        tasks: Sequence[str | Plugin],
        methods: Sequence[str | Plugin],
        metrics: Sequence[str | Plugin],
        seeds: Sequence[int],
        explainer_seeds: Sequence[int],
    ) -> Grid:
        """Build all plug-ins from their specs.

        Raises:
            UsageError: one cannot be built, or two are the same.
        """
        return cls(
            cast("tuple[tuple[Source, Task], ...]", _built("task", tasks)),
            cast("tuple[tuple[Source, Explainer], ...]", _built("method", methods)),
            cast("tuple[tuple[Source, Metric], ...]", _built("metric", metrics)),
            tuple(seeds),
            tuple(explainer_seeds),
        )

    def with_methods(self, methods: Sequence[str | Plugin]) -> Grid:
        """The same with other methods.

        Raises:
            UsageError: one cannot be built, or two are the same.
        """
        return replace(self, methods=cast("tuple[tuple[Source, Explainer], ...]", _built("method", methods)))

    def seeds_of(self, task: Task) -> tuple[int, ...]:
        """The model seeds of a task: the first only, if its model does not depend on the seed."""
        return self.seeds if task.trainable else self.seeds[:1]

    def keys(self, source: Source, seed: int) -> Iterator[tuple[Key, Explainer]]:
        """The cells of one model: each method, with each explainer seed if it draws random numbers."""
        for method_source, method in self.methods:
            for explainer_seed in self.explainer_seeds if method.stochastic else self.explainer_seeds[:1]:
                yield Key(source, method_source, seed, explainer_seed), method

    def all_keys(self) -> Iterator[Key]:
        """The places of all cells, task by task."""
        for source, task in self.tasks:
            for seed in self.seeds_of(task):
                for key, _ in self.keys(source, seed):
                    yield key

    def summary(self) -> dict[str, Any]:
        """The grid as it is kept in ``run.json``: enough to read the run without a single plug-in."""
        return {
            "tasks": [source.model_dump(mode="json") for source, _ in self.tasks],
            "methods": [source.model_dump(mode="json") for source, _ in self.methods],
            "metrics": [source.model_dump(mode="json") for source, _ in self.metrics],
        }


def _built(kind: str, specs: Sequence[str | Plugin]) -> tuple[tuple[Source, Plugin], ...]:
    found: list[tuple[Source, Plugin]] = []
    for spec in specs:
        plugin = build(kind, spec)
        try:
            source = source_of(plugin)
            source.digest  # noqa: B018  # asked for here, so that a parameter JSON does not have is said by name
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"The parameters of {kind} {plugin.name!r} cannot be written as JSON ({error}): use numbers, text, "
                "booleans and tuples of them."
            ) from error
        if any(source.spec == other.spec for other, _ in found):
            raise UsageError(f"Two {kind}s are named {source.spec!r}: leave one out, or give one another name.")
        found.append((source, plugin))
    return tuple(found)
