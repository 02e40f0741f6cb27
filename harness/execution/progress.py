"""Progress of a run: a bar with the remaining time on a terminal, a line for each task elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from ...visible_text import visible

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Reporter(Protocol):
    """Protocol of a receiver of progress, a context manager around the work."""

    def __enter__(self) -> Self:
        """Start the display."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the display."""

    def begin(self, steps: int) -> None:
        """Set the number of steps."""

    def doing(self, step: str) -> None:
        """Name the step that begins."""

    def done(self) -> None:
        """Count a step as done."""

    def line(self, text: str) -> None:
        """Print a line that remains on the screen or in the log."""


class Silent:
    """Reporter without output."""

    def __enter__(self) -> Self:
        """See :class:`Reporter`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See :class:`Reporter`."""

    def begin(self, steps: int) -> None:
        """See :class:`Reporter`."""

    def doing(self, step: str) -> None:
        """See :class:`Reporter`."""

    def done(self) -> None:
        """See :class:`Reporter`."""

    def line(self, text: str) -> None:
        """See :class:`Reporter`."""


class Lines(Silent):
    """Reporter of plain lines on the standard error stream, for logs."""

    def line(self, text: str) -> None:
        """See :class:`Reporter`."""
        print(visible(text), file=sys.stderr, flush=True)  # noqa: T201  # printing is its purpose


class Bar:
    """Reporter with a progress bar below the lines."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("checking stored results", total=None)

    def __enter__(self) -> Self:
        """See :class:`Reporter`."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See :class:`Reporter`."""
        self._progress.stop()

    def begin(self, steps: int) -> None:
        """See :class:`Reporter`."""
        self._progress.update(self._task, total=steps)

    def doing(self, step: str) -> None:
        """See :class:`Reporter`."""
        self._progress.update(self._task, description=visible(step))

    def done(self) -> None:
        """See :class:`Reporter`."""
        self._progress.advance(self._task)

    def line(self, text: str) -> None:
        """See :class:`Reporter`."""
        self._progress.console.print(Text(visible(text)))


def reporter() -> Reporter:
    """Reporter for the standard error stream: a bar on a terminal, lines otherwise."""
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Lines()
