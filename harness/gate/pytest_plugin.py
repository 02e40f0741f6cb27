"""The gate as a plug-in of pytest: ``pytest --xrnnbench-baseline=FOLDER`` and the fixture ``explanation_gate``.

    def test_explanations_are_no_worse(explanation_gate):
        explanation_gate(Benchmark(["adding"], ["mine.py:Mine"], ["auroc", "forward-passes"]))

Pytest loads this module wherever xrnnbench is installed, so it imports nothing until the fixture is asked for.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..execution.run import Run
    from ..results.scored_cells import Results
    from .changes import Rule
    from .gate import Comparison

_BASELINE, _MARGIN = "--xrnnbench-baseline", "--xrnnbench-margin"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; see ``pytest --help``."""
    group = parser.getgroup("xrnnbench", "explanations of recurrent networks")
    group.addoption(
        _BASELINE,
        type=_folder,
        metavar="FOLDER",
        help="what explanation_gate compares with: see 'xrnnbench bless'",
    )
    group.addoption(
        _MARGIN, type=_share, metavar="SHARE", help="how large a change must be (default: 0.02 of a metric's scale)"
    )


@runtime_checkable
class _Runnable(Protocol):
    """A benchmark; importing the class would load torch, which comparing two kept runs does not need."""

    def run(self, out: str | os.PathLike[str]) -> Run:
        """Run it into a folder."""


class Gate:
    """Compares runs with one baseline, and fails the test that asked if the run is worse.

    Attributes:
        baseline: what is compared with.
        rule: when a change counts.
    """

    def __init__(self, baseline: Results, rule: Rule, folder: Callable[[str], Path]) -> None:
        self.baseline = baseline
        self.rule = rule
        self._folder = folder

    def __call__(self, run: Results | _Runnable | str | os.PathLike[str]) -> Comparison:
        """Compare a run, the folder of one, or what a benchmark gives; the test goes on if it is no worse.

        Args:
            run: a benchmark is run into a temporary folder first.

        Raises:
            UsageError: the run cannot be read, or is not finished.
        """
        from .gate import compare  # noqa: PLC0415  # pytest loads this module in runs that do not need it
        from .gate_report import text  # noqa: PLC0415  # as above

        comparison = compare(self._results(run), self.baseline, self.rule)
        if comparison.status:
            pytest.fail(text(comparison), pytrace=False)
        return comparison

    def _results(self, run: Results | _Runnable | str | os.PathLike[str]) -> Results:
        from ..execution.archive import read_results  # noqa: PLC0415  # as above

        if isinstance(run, (str, os.PathLike)):
            return read_results(run)
        return run.run(self._folder("xrnnbench")) if isinstance(run, _Runnable) else run


@pytest.fixture(scope="session")
def explanation_gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Call it with a run, its folder or a benchmark: the test fails if explanations are worse than the baseline's."""
    folder = request.config.getoption(_BASELINE)
    if folder is None:
        pytest.skip(f"there is no baseline to compare with: give the folder of one by {_BASELINE}=FOLDER")
    from ...errors import UsageError  # noqa: PLC0415  # as above
    from ..execution.archive import read_results  # noqa: PLC0415  # as above
    from .changes import Rule  # noqa: PLC0415  # as above

    margin = request.config.getoption(_MARGIN)
    try:
        return Gate(read_results(folder), Rule() if margin is None else Rule(margin), tmp_path_factory.mktemp)
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text!r} is not there: 'xrnnbench bless RUN {text}' makes a baseline")
    return path.absolute()


def _share(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.02, at least 0")
    return found
