"""What a run says while it works: a bar with the time left on a terminal, a line for each task anywhere else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self


class Reporter(Protocol):
    """Told what happens; used as a context around the work."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def begin(self, steps: int) -> None:
        """So many steps are ahead."""

    def doing(self, what: str) -> None:
        """The next step begins."""

    def done(self) -> None:
        """A step is done."""

    def line(self, text: str) -> None:
        """Something to be read later, too."""


class Silent:
    """Says nothing."""

    def __enter__(self) -> Self:
        """See :class:`Reporter`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See :class:`Reporter`."""

    def begin(self, steps: int) -> None:
        """See :class:`Reporter`."""

    def doing(self, what: str) -> None:
        """See :class:`Reporter`."""

    def done(self) -> None:
        """See :class:`Reporter`."""

    def line(self, text: str) -> None:
        """See :class:`Reporter`."""


class Lines(Silent):
    """Plain lines on the standard error stream, for logs."""

    def line(self, text: str) -> None:
        """See :class:`Reporter`."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # saying is what it is for


class Bar:
    """A bar with the time left, below the lines."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("looking at what is kept", total=None)

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

    def doing(self, what: str) -> None:
        """See :class:`Reporter`."""
        self._progress.update(self._task, description=what)

    def done(self) -> None:
        """See :class:`Reporter`."""
        self._progress.advance(self._task)

    def line(self, text: str) -> None:
        """See :class:`Reporter`."""
        self._progress.console.print(text, markup=False, highlight=False)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A sign of life on the terminal while something takes its time."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def reporter() -> Reporter:
    """A bar if somebody watches the standard error stream, lines if not."""
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Lines()
