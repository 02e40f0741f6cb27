"""Messages of the command line about the cells that it left out of results, and why."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from ..explore.options import relative_path
from ..results.notices import few
from .run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..results.scored_cells import Results


@contextlib.contextmanager
def saying_notices(*results: Results) -> Iterator[None]:
    """Context at whose end it is said on the standard error stream what was left out of results, also after an error.

    Args:
        results: runs or archives; archives have no notices.
    """
    try:
        yield
    finally:
        for run in results:
            if isinstance(run, Run):
                for sentence in few(run.store.new_notices(), str(relative_path(run.folder))):
                    typer.echo(f"{relative_path(run.folder)}: {sentence}", err=True)
