"""Command line: the application, its errors, and the order of its commands.

Each command is a function in the room that it belongs to, and imports what it needs only when it is called, so that
help is fast.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, XrnnbenchError, XrnnbenchWarning
from .execution import commands as execution
from .execution import doctor_commands
from .explore import commands as explore
from .gate import commands as gate

if TYPE_CHECKING:
    from typing import TextIO

app = typer.Typer(
    name="xrnnbench",
    help="Measure whether explanations of recurrent networks are true.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Options of earlier versions, and what they are called now.
RENAMED = {"--output": "--save", "--beside": "--reference-rows"}


def main() -> None:
    """Entry point: an error is one sentence on the standard error stream and exit status 2; a warning is one too."""
    try:
        _refuse_renamed(sys.argv[1:])
        with warnings.catch_warnings():
            warnings.showwarning = _showing(warnings.showwarning)
            app()
    except XrnnbenchError as error:
        print(f"xrnnbench: {error}", file=sys.stderr)  # noqa: T201  # the command line's own output
        sys.exit(2)


def _showing(others: Callable[..., None]) -> Callable[..., None]:
    """Function that shows a warning of the package as one sentence, since no line of a user's program caused it.

    Args:
        others: shows all other warnings.
    """

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: TextIO | str | None
    ) -> None:
        if issubclass(category, XrnnbenchWarning):
            print(f"xrnnbench: warning: {message}", file=sys.stderr)  # noqa: T201  # the command line's own output
        else:
            others(message, category, filename, lineno, *rest)

    return show


def _refuse_renamed(words: list[str]) -> None:
    """Name the new option where a command line has one of an earlier version.

    Raises:
        UsageError: it has.
    """
    for word in words:
        option = word.partition("=")[0]
        if option in RENAMED:
            raise UsageError(f"The option {option} is now {RENAMED[option]}: write {RENAMED[option]} in its place.")


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Measure whether explanations of recurrent networks are true."""


# The order of work: run and read, guard, look at what there is, publish.
COMMANDS: dict[str, Callable[..., None]] = {
    "run": execution.run,
    "plan": execution.plan,
    "merge": execution.merge,
    "leaderboard": execution.leaderboard,
    "doctor": doctor_commands.doctor,
    "explain": explore.explain,
    "inspect": explore.inspect,
    "compare": gate.compare,
    "bless": gate.bless,
    "costs": gate.costs,
    "list": explore.list_,
    "show": explore.show,
    "check": explore.check,
    "download": explore.download,
    "pages": explore.pages,
    "publish": execution.publish,
}
for _name, _command in COMMANDS.items():
    app.command(name=_name)(_command)
