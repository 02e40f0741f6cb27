"""Grid of a run: its plug-ins and the keys of its cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from ...errors import UsageError
from ...methods.base import Explainer
from ...metrics.base import Metric
from ...plugins import build
from ...tasks.base import Task
from ..results.cells import Key, PluginInfo, plugin_info

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...plugins import Plugin


@dataclass(frozen=True)
class Grid:
    """Grid of a run: every method on every model of every task, scored by every metric.

    Attributes:
        tasks, methods, metrics: plug-ins with their stored descriptions, in the order of the suite.
        seeds, explainer_seeds: as in :class:`xrnnbench.harness.suites.suite.Suite`.
    """

    tasks: tuple[tuple[PluginInfo, Task], ...]
    methods: tuple[tuple[PluginInfo, Explainer], ...]
    metrics: tuple[tuple[PluginInfo, Metric], ...]
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
            cast("tuple[tuple[PluginInfo, Task], ...]", _built("task", tasks)),
            cast("tuple[tuple[PluginInfo, Explainer], ...]", _built("method", methods)),
            cast("tuple[tuple[PluginInfo, Metric], ...]", _built("metric", metrics)),
            tuple(seeds),
            tuple(explainer_seeds),
        )

    def with_methods(self, methods: Sequence[str | Plugin]) -> Grid:
        """Copy of the grid with other methods.

        Raises:
            UsageError: one cannot be built, or two are the same.
        """
        return replace(self, methods=cast("tuple[tuple[PluginInfo, Explainer], ...]", _built("method", methods)))

    def seeds_of(self, task: Task) -> tuple[int, ...]:
        """Model seeds of a task: those it brings along, or only the first, if its model does not depend on the seed."""
        if task.model_seeds:
            return task.model_seeds
        return self.seeds if task.trainable else self.seeds[:1]

    def keys(self, info: PluginInfo, seed: int) -> Iterator[tuple[Key, Explainer]]:
        """Keys of the cells of one model: each method, with each explainer seed if it draws random numbers."""
        for method_info, method in self.methods:
            for explainer_seed in self.explainer_seeds if method.stochastic else self.explainer_seeds[:1]:
                yield Key(info, method_info, seed, explainer_seed), method

    def all_keys(self) -> Iterator[Key]:
        """Keys of all cells, task by task."""
        for info, task in self.tasks:
            for seed in self.seeds_of(task):
                for key, _ in self.keys(info, seed):
                    yield key

    def summary(self) -> dict[str, Any]:
        """Grid as it is stored in ``run.json``: enough to read the run without any plug-in."""
        return {
            "tasks": [info.model_dump(mode="json") for info, _ in self.tasks],
            "methods": [info.model_dump(mode="json") for info, _ in self.methods],
            "metrics": [info.model_dump(mode="json") for info, _ in self.metrics],
        }


def _built(kind: str, specs: Sequence[str | Plugin]) -> tuple[tuple[PluginInfo, Plugin], ...]:
    """Build plug-ins of one kind from their specs."""
    built: list[tuple[PluginInfo, Plugin]] = []
    for spec in specs:
        plugin = build(kind, spec)
        try:
            info = plugin_info(plugin)
            info.digest  # noqa: B018  # computed here, so that the message about a parameter that JSON lacks names the plug-in
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"The parameters of {kind} {plugin.name!r} cannot be written as JSON ({error}): use numbers, text, "
                "booleans and tuples of them."
            ) from error
        if any(info.spec == other.spec for other, _ in built):
            raise UsageError(f"Two {kind}s are named {info.spec!r}: leave one out, or give one another name.")
        built.append((info, plugin))
    return tuple(built)
