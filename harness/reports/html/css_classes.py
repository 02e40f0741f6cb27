"""CSS classes of methods, metrics, tasks and families, by which the script and the style find their elements.

A class is a letter and a number, since the names of plug-ins may hold any character.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...leaderboard.leaderboard import Leaderboard
from ...results.scored_cells import is_control
from ..number_format import format_metric

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class CssClasses:
    """The CSS classes of a leaderboard's methods, metrics, tasks, families and groups.

    Attributes:
        board: the leaderboard.
        methods, metrics, tasks: the number of each by its spec, in the order of the board.
    """

    board: Leaderboard
    methods: Mapping[str, int] = field(init=False)
    metrics: Mapping[str, int] = field(init=False)
    tasks: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        board = self.board
        tasks = [table.task for table in board.tables]
        for name, sources in (("methods", board.methods), ("metrics", board.metrics), ("tasks", tasks)):
            object.__setattr__(self, name, {source.spec: number for number, source in enumerate(sources)})

    def method(self, spec: str) -> str:
        """Return the class of a method's elements; empty if there is no such method."""
        return f"m{self.methods[spec]}" if spec in self.methods else ""

    def metric(self, spec: str) -> str:
        """Return the class of a metric's elements; empty if there is no such metric."""
        return f"x{self.metrics[spec]}" if spec in self.metrics else ""

    def task(self, spec: str) -> str:
        """Return the class of a task's elements; empty if there is no such task."""
        return f"t{self.tasks[spec]}" if spec in self.tasks else ""

    def family(self, family: str) -> str:
        """Return the class of the elements of a family of metrics; empty if there is no such family."""
        return f"f{self.board.families.index(family)}" if family in self.board.families else ""

    def column(self, head: str) -> str:
        """Return the class of a column by its head, a metric or a task; empty if it is neither."""
        return self._heads.get(head, "")

    @cached_property
    def _heads(self) -> dict[str, str]:
        """The class of each possible head of a column."""
        tasks = {spec: self.task(spec) for spec in self.tasks}
        return tasks | {format_metric(metric): self.metric(metric.spec) for metric in self.board.metrics}

    @cached_property
    def controls(self) -> frozenset[str]:
        """Specs of the controls among the methods."""
        return frozenset(method.spec for method in self.board.methods if is_control(method))

    def group(self, spec: str) -> str:
        """Return the class of a method's group: ``g0`` for controls, then ``g1``, … by the name of the group."""
        return self._group_classes[self._group_of[spec]]

    def groups_of(self, specs: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Return the groups of some methods, each with its class."""
        groups = dict.fromkeys(self._group_of[spec] for spec in specs)
        pairs = ((group or "other", self._group_classes[group]) for group in groups)
        return tuple(sorted(pairs, key=lambda pair: pair[1]))

    @cached_property
    def _group_of(self) -> dict[str, str]:
        """The group of each method."""
        return {method.spec: method.facts.get("group", "") for method in self.board.methods}

    @cached_property
    def _group_classes(self) -> dict[str, str]:
        """The class of each group."""
        groups = [group for group in sorted(set(self._group_of.values())) if group != "control"]
        # the style has seven distinct colours; further groups share the last
        return {"control": "g0"} | {group: f"g{min(number, 7)}" for number, group in enumerate(groups, 1)}

    def row(self, head: str, label: str) -> str:
        """Return the class of a row by the head of the first column and the row's label; empty for other heads."""
        class_of = {"method": self.method, "metric": self.metric, "without": self.task}.get(head)
        return "" if class_of is None else class_of(label)

    def family_of(self, heads: Sequence[str]) -> str:
        """Return the class of the family of all these columns; empty if they are not of one family."""
        families = {format_metric(metric): metric.facts.get("family", "") for metric in self.board.metrics}
        distinct = {families.get(head) for head in heads}
        family = next(iter(distinct), None)
        return self.family(family) if len(distinct) == 1 and family is not None else ""

    def filters(self) -> dict[str, Any]:
        """Return the data that the script filters by, as plain values for JSON."""
        return {
            "methods": [
                {"name": method.spec, "group": method.facts.get("group", ""), "control": is_control(method)}
                for method in self.board.methods
            ],
            "metrics": [
                {"name": metric.spec, "family": metric.facts.get("family", "")} for metric in self.board.metrics
            ],
            "tasks": [
                {"name": table.task.spec, "application": table.task.facts.get("application", "")}
                for table in self.board.tables
            ],
            "families": list(self.board.families),
        }
