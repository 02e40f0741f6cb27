"""The gate as a plug-in of pytest: ``pytest --xrnnbench-baseline=FOLDER`` and the fixture ``explanation_gate``.

    def test_explanations_are_no_worse(explanation_gate):
        explanation_gate(Benchmark(["adding"], ["mine.py:Mine"], ["auroc", "forward-passes"]))

Pytest loads this module wherever xrnnbench is installed, so it imports the rest of xrnnbench only for the fixture.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..execution.run import Run
    from ..results.scored_cells import Results
    from .changes import GateSettings
    from .comparison import Comparison

_BASELINE, _MARGIN = "--xrnnbench-baseline", "--xrnnbench-margin"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the gate; see ``pytest --help``."""
    group = parser.getgroup("xrnnbench", "explanations of recurrent networks")
    group.addoption(
        _BASELINE,
        type=_folder,
        metavar="FOLDER",
        help="baseline that explanation_gate compares with: see 'xrnnbench bless'",
    )
    group.addoption(
        _MARGIN, type=_share, metavar="SHARE", help="smallest change that counts (default: 0.02 of a metric's scale)"
    )


@runtime_checkable
class _Runnable(Protocol):
    """Protocol of a benchmark; importing the class would load torch, which comparing two stored runs does not need."""

    def run(self, out: str | os.PathLike[str]) -> Run:
        """Run the benchmark into a folder."""


class Gate:
    """Comparison of runs with one baseline, which fails the test that calls it if the run is worse.

    Attributes:
        baseline: the results that runs are compared with.
        rule: margin and significance level.
    """

    def __init__(self, baseline: Results, settings: GateSettings, folder: Callable[[str], Path]) -> None:
        self.baseline = baseline
        self.rule = settings
        self._folder = folder

    def __call__(self, run: Results | _Runnable | str | os.PathLike[str]) -> Comparison:
        """Compare a run with the baseline, and fail the test if the run is worse or not comparable.

        Args:
            run: a run, its folder, or a benchmark, which is run into a temporary folder first.

        Returns:
            the comparison, if the run is no worse.

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
        from ...errors import FailedCellsWarning  # noqa: PLC0415  # as above
        from ..execution.archive import read_results  # noqa: PLC0415  # as above

        if isinstance(run, (str, os.PathLike)):
            return read_results(run)
        if not isinstance(run, _Runnable):
            return run
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FailedCellsWarning)  # the comparison has the failed cells
            return run.run(self._folder("xrnnbench"))


@pytest.fixture(scope="session")
def explanation_gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Gate to call with a run, its folder or a benchmark: the test fails if attributions are worse than the baseline's.

    Skips the test if pytest was called without a baseline.
    """
    folder = request.config.getoption(_BASELINE)
    if folder is None:
        pytest.skip(f"there is no baseline to compare with: give the folder of one by {_BASELINE}=FOLDER")
    from ...errors import UsageError  # noqa: PLC0415  # as above
    from ..execution.archive import read_results  # noqa: PLC0415  # as above
    from .changes import GateSettings  # noqa: PLC0415  # as above

    margin = request.config.getoption(_MARGIN)
    try:
        return Gate(
            read_results(folder), GateSettings() if margin is None else GateSettings(margin), tmp_path_factory.mktemp
        )
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)


def _folder(text: str) -> Path:
    """Absolute path of an existing folder."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text!r} does not exist: 'xrnnbench bless RUN {text}' makes a baseline")
    return path.absolute()


def _share(text: str) -> float:
    """Number from an option, at least 0 and finite."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.02, at least 0")
    return share
