"""What the script and the style find things by: every method, metric, task and family is a number, its name is text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...leaderboard.leaderboard import Leaderboard
from ...results.scored_cells import control
from ..number_format import titled

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Names:
    """The numbers of a board's plug-ins, in the order of the board, as classes of elements.

    Attributes:
        board: the board.
    """

    board: Leaderboard
    methods: Mapping[str, int] = field(init=False)
    metrics: Mapping[str, int] = field(init=False)
    tasks: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        board = self.board
        tasks = [table.task for table in board.tables]
        for name, sources in (("methods", board.methods), ("metrics", board.metrics), ("tasks", tasks)):
            object.__setattr__(self, name, {source.spec: place for place, source in enumerate(sources)})

    def method(self, spec: str) -> str:
        """The class of whatever is about a method; empty if there is no such method."""
        return f"m{self.methods[spec]}" if spec in self.methods else ""

    def metric(self, spec: str) -> str:
        """The class of whatever is about a metric."""
        return f"x{self.metrics[spec]}" if spec in self.metrics else ""

    def task(self, spec: str) -> str:
        """The class of whatever is about a task."""
        return f"t{self.tasks[spec]}" if spec in self.tasks else ""

    def family(self, family: str) -> str:
        """The class of whatever is about a family of metrics."""
        return f"f{self.board.families.index(family)}" if family in self.board.families else ""

    def column(self, head: str) -> str:
        """The class of a column by its head: of a metric or a task; empty if it is of neither."""
        return self._heads.get(head, "")

    @cached_property
    def _heads(self) -> dict[str, str]:
        found = {spec: self.task(spec) for spec in self.tasks}
        return found | {titled(metric): self.metric(metric.spec) for metric in self.board.metrics}

    @cached_property
    def controls(self) -> frozenset[str]:
        """Specs of the methods that are there to be compared with."""
        return frozenset(method.spec for method in self.board.methods if control(method))

    def group(self, spec: str) -> str:
        """The class of a method's group: ``g0`` for controls, further ones by the order of the board."""
        return self._groups[self._of[spec]]

    def groups_of(self, specs: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """The groups of these methods, each with its class."""
        found = dict.fromkeys(self._of[spec] for spec in specs)
        return tuple(sorted(((name or "other", self._groups[name]) for name in found), key=lambda pair: pair[1]))

    @cached_property
    def _of(self) -> dict[str, str]:
        return {method.spec: method.facts.get("group", "") for method in self.board.methods}

    @cached_property
    def _groups(self) -> dict[str, str]:
        names = [name for name in sorted(set(self._of.values())) if name != "control"]
        # seven colours can be told apart; groups beyond them share the last
        return {"control": "g0"} | {name: f"g{min(place, 7)}" for place, name in enumerate(names, 1)}

    def row(self, head: str, label: str) -> str:
        """The class of a row by the head of its column and its label; empty if it is about none of these."""
        find = {"method": self.method, "metric": self.metric, "without": self.task}.get(head)
        return "" if find is None else find(label)

    def family_of(self, heads: Sequence[str]) -> str:
        """The class of the family that all these columns are of; empty if there is none."""
        families = {titled(metric): metric.facts.get("family", "") for metric in self.board.metrics}
        found = {families.get(head) for head in heads}
        family = next(iter(found), None)
        return self.family(family) if len(found) == 1 and family is not None else ""

    def filters(self) -> dict[str, Any]:
        """What the script filters by, ready for JSON."""
        return {
            "methods": [
                {"name": method.spec, "group": method.facts.get("group", ""), "control": control(method)}
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
