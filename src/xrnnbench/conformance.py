"""Findings of the conformance kits: one for each rule of a plug-in's contract."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from .error_places import place_of
from .errors import XrnnbenchError
from .plugins import configure, find
from .spec_files import file_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .plugins import Plugin

Status = Literal["passed", "failed", "not tested"]


@dataclass(frozen=True)
class Finding:
    """Result of the check of one rule.

    Attributes:
        check: the rule, in a few words: ``"trained twice to the bit"``.
        passed: whether the rule is kept; None if it was not tested.
        detail: the observation; if the check failed, also the expectation; if the rule was not tested, the reason.
        hidden_by: the rule whose error left this one untested; empty if there is none.
    """

    check: str
    passed: bool | None
    detail: str = ""
    hidden_by: str = ""

    @property
    def failed(self) -> bool:
        """Whether the rule is broken."""
        return self.passed is False

    @property
    def status(self) -> Status:
        """The finding in a word or two."""
        return "not tested" if self.passed is None else "passed" if self.passed else "failed"

    def __str__(self) -> str:
        """``passed  check: detail``, as the command line prints it."""
        line = f"{'FAILED' if self.failed else self.status}  {self.check}"
        return f"{line}: {self.detail}" if self.detail else line


@dataclass(frozen=True)
class NotTested:
    """Result of a check that has nothing to judge.

    Attributes:
        reason: why, in a few words: ``"the method does not claim completeness"``.
    """

    reason: str


@dataclass(frozen=True)
class Observation:
    """Result of a check whose observation is of interest in any case.

    Attributes:
        kept: whether the rule is kept.
        detail: the observation.
    """

    kept: bool
    detail: str


# A check returns the violation, or an empty text if the rule is kept; or one of the above.
Result: TypeAlias = "str | NotTested | Observation"


class Examination:
    """Examination of one plug-in: its findings so far, and the errors that were seen.

    The same error proves nothing new: the rule under which it is seen first has failed, and the others were not tested.

    Args:
        plugin: the plug-in.

    Attributes:
        findings: one for each rule that was checked.
    """

    def __init__(self, plugin: Plugin) -> None:
        self.findings: list[Finding] = []
        self._plugin = plugin
        self._errors: dict[str, str] = {}

    def check(self, rule: str, check: Callable[[], Result]) -> Finding:
        """Check a rule, keep the finding and return it; see :meth:`judge`."""
        return self.add(self.judge(rule, check))

    def judge(self, rule: str, check: Callable[[], Result]) -> Finding:
        """Finding of one check. An exception is a violation too, unless it was seen before.

        Args:
            rule: the rule, in a few words, unlike those of all other findings.
            check: returns the violation or an empty text, or another :data:`Result`.
        """
        try:
            result = check()
        # SystemExit would end the command with a status of the plug-in's choice
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the author has to see any exception in the report
            result = sentence = self.sentence(error)
            if (first := self._errors.setdefault(sentence, rule)) != rule:
                return hidden(rule, first)
        if isinstance(result, NotTested):
            return Finding(rule, passed=None, detail=result.reason)
        if isinstance(result, Observation):
            return Finding(rule, result.kept, result.detail)
        return Finding(rule, passed=not result, detail=result)

    def add(self, *findings: Finding) -> Finding:
        """Keep findings, and return the last one."""
        self.findings += findings
        return findings[-1]

    def sentence(self, error: BaseException) -> str:
        """An exception in one line: the message of an error of xrnnbench, and the place of any other one."""
        if isinstance(error, XrnnbenchError):
            return str(error)
        place = place_of(error, type(self._plugin))
        message = " ".join(str(error).split()) or "no message"
        return f"raised {type(error).__name__}: {message} ({place})"


def hidden(rule: str, by: str) -> Finding:
    """Finding about a rule that was not tested because of an error that another rule has shown."""
    return Finding(rule, passed=None, detail=f"not judged, for the error of {by!r}", hidden_by=by)


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

    return Examination(plugin).check("the spec builds the same plug-in", rebuilt)


def report(findings: Sequence[Finding]) -> Iterator[str]:
    """Lines for people: a finding each, an error once, and the numbers of findings.

    Rules that were not tested because of the same error are counted in one line below it.
    """
    more = Counter(finding.hidden_by for finding in findings)
    for finding in findings:
        if not finding.hidden_by:
            yield str(finding)
            if number := more[finding.check]:
                yield f"not tested  {number} more {'rule' if number == 1 else 'rules'}, for the same error"
    numbers = Counter(finding.status for finding in findings)
    yield ", ".join(f"{numbers[status]} {status}" for status in ("passed", "failed", "not tested"))
