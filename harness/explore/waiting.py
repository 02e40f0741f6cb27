"""A spinner on the terminal for work that takes its time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ...visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def waiting(message: str) -> Iterator[None]:
    """Show a message with a spinner on the terminal while the work inside takes its time."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(Text(visible(message))):
        yield
