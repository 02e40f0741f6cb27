"""Findings of the conformance kits: one for each rule of a plug-in's contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import XrnnbenchError
from .plugins import configure, find
from .spec_files import file_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from .plugins import Plugin


@dataclass(frozen=True)
class Finding:
    """Result of the check of one rule.

    Attributes:
        check: the rule, in a few words: ``"trained twice to the bit"``.
        passed: whether the rule is kept.
        detail: the observation; if the check failed, also the expectation.
    """

    check: str
    passed: bool
    detail: str = ""

    def __str__(self) -> str:
        """``passed  check: detail``, as the command line prints it."""
        line = f"{'passed' if self.passed else 'FAILED'}  {self.check}"
        return f"{line}: {self.detail}" if self.detail else line


def checked(name: str, check: Callable[[], str]) -> Finding:
    """The finding of one check, which returns the violation or an empty text; an exception is a violation too."""
    try:
        violation = check()
    except XrnnbenchError as error:
        violation = str(error)
    except Exception as error:  # noqa: BLE001  # the author of the plug-in has to see any exception in the report
        violation = f"raised {type(error).__name__}: {error}"
    return Finding(name, passed=not violation, detail=violation)


def checked_spec(plugin: Plugin) -> Finding:
    """Whether the spec of a plug-in builds an equal plug-in."""

    def rebuilt() -> str:
        # a class in a file is found by its path and not by its name
        cls = type(plugin) if plugin.source_hash else find(plugin.kind, plugin.name)
        other = configure(cls, plugin.spec.partition(":")[2])
        # a spec shows the name of a plug-in that comes from a file, not its path: only identities can be compared
        from_file = any(file_spec(str(plugin.parameters.get(name, ""))) for name in plugin.uses)
        same = other.identity() == plugin.identity() if from_file else other == plugin
        return "" if same else f"{plugin.spec!r} builds another {plugin.kind}: {other!r}"

    return checked("the spec builds the same plug-in", rebuilt)
